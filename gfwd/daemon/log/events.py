"""All kinds of events. docs/log.md says what each means; a test holds the two together."""

from typing import Final

from gfwd.daemon.log.event import Kind, Level

_ERROR, _WARNING, _INFO = Level.ERROR, Level.WARNING, Level.INFO

# ---- gfwd as a whole ----

FORWARDING: Final = Kind("forwarding", _INFO, ("own", "listen"))
OWN_CHANGED: Final = Kind("own_changed", _WARNING, ("own",))
FAILED: Final = Kind("failed", _ERROR, (), is_long=True)
STOPPING: Final = Kind("stopping", _INFO, ("why",))
STATUS: Final = Kind("status", _INFO, ("report",), is_long=True)
RELOADED: Final = Kind("reloaded", _INFO, ("file", "rules", "collectors"))
RELOAD_FAILED: Final = Kind("reload_failed", _ERROR, ("file",), is_long=True)
RULE_WARNING: Final = Kind("rule_warning", _WARNING, ("file", "line"))
RULE_WARNINGS_MORE: Final = Kind("rule_warnings_more", _WARNING, ("file", "number"))
UPDATE_FAILED: Final = Kind("update_failed", _ERROR, ())

# ---- listeners ----

METRICS_LISTEN: Final = Kind("metrics_listen", _INFO, ("address",))
METRICS_END: Final = Kind("metrics_end", _INFO, ("address",))
METRICS_FAILED: Final = Kind("metrics_failed", _ERROR, ("address",))

# ---- collectors and neighbours ----

COLLECTOR_NO_WAY: Final = Kind("collector_no_way", _WARNING, ("collector", "address"))
COLLECTOR_HAS_WAY: Final = Kind("collector_has_way", _INFO, ("collector", "address", "port"))
COLLECTOR_DOWN: Final = Kind("collector_down", _WARNING, ("collector",))
COLLECTOR_STILL_DOWN: Final = Kind("collector_still_down", _WARNING, ("collector",))
COLLECTOR_UP: Final = Kind("collector_up", _INFO, ("collector",))
COLLECTOR_NOT_CHECKED: Final = Kind("collector_not_checked", _WARNING, ("collector",))
COLLECTOR_NO_SOURCE: Final = Kind("collector_no_source", _WARNING, ("collector", "port"))
NEXT_HOP_OUT: Final = Kind("next_hop_out", _WARNING, ("neighbour", "port"))
NEXT_HOP_BACK: Final = Kind("next_hop_back", _INFO, ("neighbour", "port"))
NEIGHBOUR_READY: Final = Kind("neighbour_ready", _INFO, ("neighbour", "port", "mac"))
NEIGHBOUR_MOVED: Final = Kind("neighbour_moved", _INFO, ("neighbour", "port", "mac", "mac_before"))
NEIGHBOUR_FAILED: Final = Kind("neighbour_failed", _WARNING, ("neighbour", "port"))
NEIGHBOUR_NOT_ASKED: Final = Kind("neighbour_not_asked", _ERROR, ("neighbour", "port"))
NEIGHBOUR_CONTESTED: Final = Kind("neighbour_contested", _WARNING, ("neighbour", "port", "mac", "mac_claimed"))

# ---- our own addresses, where no host stack looks after them ----

ADDRESS_TAKEN: Final = Kind("address_taken", _ERROR, ("port", "address", "mac"))
ADDRESS_FREE: Final = Kind("address_free", _INFO, ("port", "address"))
ADDRESS_CLAIMED: Final = Kind("address_claimed", _WARNING, ("port", "address", "mac"))
ICMP_NOT_SENT: Final = Kind("icmp_not_sent", _WARNING, ("port",))

# ---- names ----

NAME_RESOLVED: Final = Kind("name_resolved", _INFO, ("name", "addresses"))
NAME_MOVED: Final = Kind("name_moved", _INFO, ("name", "addresses", "before"))
NAME_FAILED: Final = Kind("name_failed", _WARNING, ("name", "why"))
NAME_ANSWERED: Final = Kind("name_answered", _INFO, ("name",))
NAME_STALE: Final = Kind("name_stale", _WARNING, ("name", "addresses"))
NAME_GONE: Final = Kind("name_gone", _WARNING, ("name",))
NAME_REFUSED: Final = Kind("name_refused", _WARNING, ("name", "address"))
DNS_SERVERS: Final = Kind("dns_servers", _INFO, ("servers",))

# ---- ports and their links ----

PORT_FAILED: Final = Kind("port_failed", _ERROR, ("port",))
PORT_WARNING: Final = Kind("port_warning", _WARNING, ("port",))
MTU_SMALLER: Final = Kind("mtu_smaller", _WARNING, ("port", "mtu", "mtu_in"))
LINK_UP: Final = Kind("link_up", _INFO, ("port",))
LINK_NO_CARRIER: Final = Kind("link_no_carrier", _WARNING, ("port",))
LINK_DOWN: Final = Kind("link_down", _ERROR, ("port",))
LINK_GONE: Final = Kind("link_gone", _ERROR, ("port",))
LINK_BROUGHT_UP: Final = Kind("link_brought_up", _WARNING, ("port",))
LINK_STAYS_DOWN: Final = Kind("link_stays_down", _ERROR, ("port",))
FRAMES_UNREAD: Final = Kind("frames_unread", _WARNING, ("port", "frames"))
FRAMES_UNSENT: Final = Kind("frames_unsent", _WARNING, ("port", "frames"))

# ---- cards in order ----

CARD_CHANGED: Final = Kind("card_changed", _INFO, ("port",))
CARD_NOT_IN_ORDER: Final = Kind("card_not_in_order", _WARNING, ("port",))
CARD_TAKEN: Final = Kind("card_taken", _WARNING, ("port",))
CARD_NOT_RECORDED: Final = Kind("card_not_recorded", _WARNING, ("port",))
CARD_PUT_BACK: Final = Kind("card_put_back", _INFO, ("port",))
CARD_NOT_PUT_BACK: Final = Kind("card_not_put_back", _WARNING, ("port",))
CARD_GONE: Final = Kind("card_gone", _INFO, ("port",))
CARD_RECORD_BROKEN: Final = Kind("card_record_broken", _WARNING, ("file",))

# ---- the log itself ----

LOG_FAILED: Final = Kind("log_failed", _ERROR, ("to",))
LOG_INCOMPLETE: Final = Kind("log_incomplete", _WARNING, ("events",))
