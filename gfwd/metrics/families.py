"""All metrics that a gfwd that runs has for Prometheus. docs/metrics.md says the same; a test holds the two together.

A name says its unit where it has one, and ends in _total where it only grows (prometheus.io, Metric and label naming).
"""

from typing import Final

from gfwd.metrics.exposition import Family

_COLLECTOR: Final = ("collector",)
_PORT: Final = ("port",)
_COUNTS: Final = ("protocol", "counts")

# ---- gfwd as a whole ----

BUILD_INFO: Final = Family("gfwd_build_info", "gauge", "1; the version of gfwd", ("version",))
START_TIME: Final = Family("gfwd_start_time_seconds", "gauge", "When it was started, since 1970")
RULES: Final = Family("gfwd_rules", "gauge", "Rules in force")
COLLECTORS: Final = Family("gfwd_collectors", "gauge", "Collectors that rules name")
RELOADS: Final = Family("gfwd_reloads_total", "counter", "Reloads, by what came of them: done or failed", ("result",))
RELOAD_SUCCESSFUL: Final = Family(
    "gfwd_last_reload_successful", "gauge", "1 where the last reload was done, or there was none; 0 where it failed"
)
RELOAD_TIME: Final = Family(
    "gfwd_last_reload_timestamp_seconds",
    "gauge",
    "When the last reload with this result was, since 1970; for done, at first that of the start",
    ("result",),
)
PLANS_TAKEN: Final = Family(
    "gfwd_plans_taken_total", "counter", "Forwarding plans that workers have taken up, each worker by itself"
)

# ---- the frame ledger ----

FRAMES_RECEIVED: Final = Family("gfwd_frames_received_total", "counter", "Frames that came to gfwd")
FRAMES_FORWARDED: Final = Family("gfwd_frames_forwarded_total", "counter", "Frames of which at least one copy was sent")
FRAMES_PASSED: Final = Family(
    "gfwd_frames_passed_total", "counter", "Frames that were not gfwd's, and were passed on untouched"
)
FRAMES_PUNTED: Final = Family("gfwd_frames_punted_total", "counter", "Frames that gfwd looks at itself: ARP, ND, ICMP")
FRAMES_PENDING: Final = Family("gfwd_frames_pending", "gauge", "Frames of which no copy was sent yet, and some wait")
FRAMES_DROPPED: Final = Family("gfwd_frames_dropped_total", "counter", "Frames that went nowhere, by cause", ("cause",))

# ---- the copy ledger: of all collectors, also of those that are no longer named ----

COPIES_WANTED: Final = Family("gfwd_copies_wanted_total", "counter", "Copies that rules asked for")
COPIES_SENT: Final = Family("gfwd_copies_sent_total", "counter", "Copies that were sent")
COPIES_SENT_BYTES: Final = Family(
    "gfwd_copies_sent_bytes_total", "counter", "Bytes of copies that were sent, as frames without CRC"
)
COPIES_PENDING: Final = Family("gfwd_copies_pending", "gauge", "Copies that wait for their neighbour")
COPIES_DROPPED: Final = Family("gfwd_copies_dropped_total", "counter", "Copies that were dropped, by cause", ("cause",))

# ---- the copy ledger of each collector ----

COLLECTOR_WANTED: Final = Family(
    "gfwd_collector_copies_wanted_total", "counter", "Copies for a collector that rules asked for", _COLLECTOR
)
COLLECTOR_SENT: Final = Family(
    "gfwd_collector_copies_sent_total", "counter", "Copies for a collector that were sent", _COLLECTOR
)
COLLECTOR_SENT_BYTES: Final = Family(
    "gfwd_collector_copies_sent_bytes_total",
    "counter",
    "Bytes of copies for a collector that were sent, as frames without CRC",
    _COLLECTOR,
)
COLLECTOR_PENDING: Final = Family(
    "gfwd_collector_copies_pending", "gauge", "Copies for a collector that wait for their neighbour", _COLLECTOR
)
COLLECTOR_DROPPED: Final = Family(
    "gfwd_collector_copies_dropped_total",
    "counter",
    "Copies for a collector that were dropped, by cause",
    (*_COLLECTOR, "cause"),
)

# ---- health ----

COLLECTOR_UP: Final = Family(
    "gfwd_collector_up", "gauge", "0 where its check says that it is down, 1 else; of those with a check", _COLLECTOR
)
COLLECTOR_STATE_AGE: Final = Family(
    "gfwd_collector_state_age_seconds", "gauge", "For how long its check has said the same", _COLLECTOR
)

# ---- names ----

NAME_STATE: Final = Family("gfwd_name_state", "gauge", "1; what is known of a collector's name", ("host", "state"))
NAME_ADDRESSES: Final = Family("gfwd_name_addresses", "gauge", "Addresses of a name that copies go to", ("host",))
NAME_AGE: Final = Family(
    "gfwd_name_age_seconds", "gauge", "Since the answer came that its addresses are from", ("host",)
)
NAME_TTL: Final = Family(
    "gfwd_name_ttl_seconds", "gauge", "For how long that answer holds; 0 where it is used on", ("host",)
)
NAME_LOOKUPS: Final = Family("gfwd_name_lookups_total", "counter", "Lookups of a name that have ended", ("host",))
NAME_FAILURES: Final = Family(
    "gfwd_name_failures_total", "counter", "Lookups of a name without an answer, or without a part of it", ("host",)
)

# ---- who sends ----

EXPORTERS: Final = Family(
    "gfwd_exporters", "gauge", "Exporters told apart since the start; one counts for each worker that has seen it"
)
UNKNOWN_SOURCES: Final = Family(
    "gfwd_unknown_sources", "gauge", "Pairs of source and port without a rule that are told apart now"
)
RULE_DATAGRAMS: Final = Family("gfwd_rule_datagrams_total", "counter", "Datagrams that a rule has matched", ("rule",))
RULE_BYTES: Final = Family(
    "gfwd_rule_bytes_total", "counter", "Bytes of datagrams that a rule has matched, as frames without CRC", ("rule",)
)

# ---- ports and neighbours ----

PORT_INFO: Final = Family("gfwd_port_info", "gauge", "1; how the port is open", ("port", "mode"))
PORT_UP: Final = Family("gfwd_port_up", "gauge", "0 where something went wrong with it since it was opened", _PORT)
PORT_OURS: Final = Family("gfwd_port_ours_frames_total", "counter", "AF_XDP: frames for gfwd", _PORT)
PORT_LOST: Final = Family(
    "gfwd_port_lost_frames_total", "counter", "AF_XDP: frames for gfwd for which there was no room", _PORT
)
PORT_UNREAD: Final = Family(
    "gfwd_port_unread_frames", "gauge", "AF_XDP: frames for gfwd that no worker has taken yet", _PORT
)
PORT_PASSED: Final = Family("gfwd_port_passed_frames_total", "counter", "AF_XDP: frames left to the kernel", _PORT)
PORT_UNSENT: Final = Family("gfwd_port_unsent_frames", "gauge", "AF_XDP: frames sent that have not left yet", _PORT)
NEIGHBOURS: Final = Family("gfwd_neighbours", "gauge", "Next hops in use, by state", ("state",))
ANSWERED: Final = Family(
    "gfwd_port_answers_total",
    "counter",
    "Answers that gfwd made itself: ARP, ND, echo, RARP, ICMP errors, by what became of them: sent, limited or lost",
    ("port", "kind", "result"),
)

# ---- what stands beside the ledgers ----

CACHE_HITS: Final = Family("gfwd_match_cache_hits_total", "counter", "Datagrams whose rule the cache knew")
LOOKUPS: Final = Family("gfwd_match_lookups_total", "counter", "Datagrams whose rule had to be looked up")
SWAPPED: Final = Family("gfwd_copies_swapped_total", "counter", "Copies that left in the buffer that they came in")
COPIED: Final = Family("gfwd_copies_copied_total", "counter", "Copies that left in another buffer")
FRAGMENTS_MADE: Final = Family(
    "gfwd_fragments_made_frames_total", "counter", "Frames that copies longer than a port's MTU left in"
)
LOOKERS: Final = Family("gfwd_lookers", "gauge", "Who looks at datagrams now: gfwd inspect --live, gfwd run --debug")
TAPPED: Final = Family("gfwd_tap_datagrams_total", "counter", "Datagrams handed out for inspection")
TAP_LOST: Final = Family(
    "gfwd_tap_lost_datagrams_total", "counter", "Datagrams for inspection for which there was no room"
)
LOSS_DATAGRAMS: Final = Family(
    "gfwd_loss_datagrams", "gauge", "Datagrams whose sequence numbers were followed", _COUNTS
)
LOSS_RECEIVED: Final = Family(
    "gfwd_loss_received", "gauge", "What these say that they hold, in what they count", _COUNTS
)
LOSS_LOST: Final = Family(
    "gfwd_loss_lost", "gauge", "What has not come, by sequence numbers, in what they count", _COUNTS
)
LOSS_REORDERED: Final = Family("gfwd_loss_reordered_datagrams", "gauge", "Datagrams that came late", _COUNTS)
LOSS_DOUBLED: Final = Family("gfwd_loss_doubled_datagrams", "gauge", "Datagrams that came once more", _COUNTS)
LOSS_RESTARTS: Final = Family("gfwd_loss_restarts", "gauge", "Sequences that began anew", _COUNTS)
LOSS_NOT_FOLLOWED: Final = Family(
    "gfwd_loss_not_followed_datagrams_total",
    "counter",
    "Datagrams on ports where sequence numbers are followed, and theirs were not: numberless, streams or ipfix",
    ("why",),
)
INJECTED: Final = Family("gfwd_injected_frames_total", "counter", "Frames that gfwd made itself")
INJECT_LOST: Final = Family(
    "gfwd_inject_lost_frames_total", "counter", "Frames that gfwd made itself and for which there was no room"
)

# ---- the listener itself ----

ANSWERS: Final = Family("gfwd_metrics_answers_total", "counter", "Requests for metrics, by HTTP status", ("code",))
CUT_OFF: Final = Family(
    "gfwd_metrics_cut_off_total", "counter", "Connections ended by gfwd before they had their answer: late, or too many"
)

FAMILIES: Final = tuple(its for its in globals().values() if isinstance(its, Family))
"""In the order in which they stand here."""
