/*
 * The contract between the C core and its one Python importer, gfwd/native/core.py.
 *
 * Read by the C compiler (through fw.h) and, word for word, by cffi's cdef(): therefore no include guard,
 * no #include and no attribute stands here. Sizes that both sides rely on are asserted in fw.h.
 * Integers are in host order unless a comment says otherwise; addresses and MACs in byte arrays are in network order.
 */

enum {
	FW_ABI = 5,			/* the first field of a plan; raised when a structure below changes */
	FW_BURST = 64,			/* frames that go through the path together */
	FW_WAITING_MAX = 1024,		/* copies that wait for one neighbour, per worker */
	FW_TARGETS_MAX = 128,		/* copies of one datagram */
	FW_SHARES = 4096,		/* parts that exporters and flows are divided into, for balancing */
	FW_PORTS_MAX = 64,		/* also the most rings that a worker reads */
	FW_XDP_HEADROOM = 256,		/* AF_XDP: what a buffer holds before a frame (XDP_PACKET_HEADROOM) */
	FW_UNKNOWN_PAYLOAD = 24,	/* kept of a datagram that no rule wants */
	FW_TAPS_MAX = 32,		/* that look at datagrams at a time */
	FW_TAP_SOURCES_MAX = 64,	/* prefixes that one of them looks for */
	FW_TOLD_BYTES = 1280,		/* at most, of a packet that was too big to leave: an ICMP error has no room for more */
	FW_ERROR_BYTES = 512
};

/*
 * Where a frame's way ends. The drop causes come first, so that a fate is also an index into drops[];
 * their names in the ledgers are these names in lower case, without FW_DROP_.
 */
enum fw_fate {
	FW_DROP_SHORT,			/* cut, or a length inside that cannot be true */
	FW_DROP_BAD_CHECKSUM,
	FW_DROP_TTL_EXPIRED,
	FW_DROP_NO_RULE,
	FW_DROP_DENIED,			/* its exporter is one that may not send */
	FW_DROP_RATE_LIMITED,		/* its exporter sends more than it may */
	FW_DROP_LOOP,			/* it has been here before, or came from gfwd itself */
	FW_DROP_NO_COLLECTOR,
	FW_DROP_SAMPLED_OUT,		/* not the one in N that the collector gets */
	FW_DROP_COLLECTOR_LIMIT,	/* more a second than the collector is to get */
	FW_DROP_NEIGHBOUR_PENDING_FULL,
	FW_DROP_NEIGHBOUR_FAILED,
	FW_DROP_FAMILY_MISMATCH,
	FW_DROP_TX_FULL,
	FW_DROP_TOO_BIG,
	FW_DROP_FRAGMENT_LOST,
	FW_DROP_PUNT_FULL,		/* the punt ring was full: Python is behind */
	FW_DROP_PORT_FAILED,		/* the port to leave by is broken, or gone */
	FW_DROP_HOST_FULL,		/* between card and host stack there was no room */
	FW_DROP_CAUSES,			/* how many there are */

	FW_PASS = FW_DROP_CAUSES,	/* not ours; the host stack's where the port has one */
	FW_PUNT,			/* for Python: enum fw_punts */
	FW_WAIT,			/* a copy waits for its neighbour */
	FW_FORWARD,
	FW_SUSPECT,			/* not an end: it may have been here before, which is to be looked at */
	FW_TAPPED,			/* nor is this: nothing is known against it, and somebody wants to look at it */
	FW_FRAGMENT			/* nor is this: a later fragment, which goes where the first of its datagram goes */
};

/* What Python gets of what comes in by a port. */
enum fw_punts {
	FW_PUNTS_NEIGHBOURHOOD = 1,	/* ARP, RARP, ND and ICMP: there is no host stack behind it */
	FW_PUNTS_CLOSED = 2,		/* UDP for our addresses, and ports that nobody listens on */
	FW_PUNTS_TOO_BIG = 4		/* how a datagram begins that was too big to leave; it is counted as dropped all the same */
};

enum fw_neigh_state { FW_NEIGH_EMPTY, FW_NEIGH_PENDING, FW_NEIGH_READY, FW_NEIGH_FAILED };

/* ---- the plan: one block of memory, written by gfwd/plan, read by the workers ---- */

/* A port as the plan sees it. */
struct fw_plan_port {
	uint8_t mac[6];			/* source MAC of what leaves here */
	uint8_t keep_tags;		/* not 0: VLAN tags stay, whichever port a frame came in by */
	uint8_t tags_bytes;		/* 0, 4 or 8: the VLAN tags of what leaves here … */
	uint8_t tags[8];		/* … as they stand in the frame, type first */
	uint32_t mtu;			/* longest IP packet that leaves here; 0: no limit */
	uint32_t punts;			/* bits of enum fw_punts */
	uint32_t passes_to;		/* the port that gets, as it came, what is not ours; FW_NONE: none */
	uint32_t out_only;		/* not 0: nothing that comes in here is ours; behind it is a host stack, or collectors only */
};

/* A rule's collector, ready to be written into a frame. */
struct fw_plan_target {
	uint8_t address[16];		/* IPv4 in the first four bytes */
	uint8_t family;			/* 4, 6, or 0 for a name without an address */
	uint8_t port_bytes[2];		/* UDP destination port, network order; both 0: keep the datagram's */
	uint8_t unused;
	uint32_t neighbour;		/* neighbour slot; 0 for family 0 */
	uint32_t egress;		/* number of the port that it leaves by; 0 for family 0, which leaves by none */
	uint32_t collector;		/* counter slot */
};

struct fw_plan_rule {
	uint32_t first_target;
	uint32_t n_targets;		/* 0: not all of its datagrams go to the same targets without further ado … */
	uint32_t counter;		/* counter slot */
	uint32_t special;		/* … and here it stands what becomes of them */
};

/* What becomes of datagrams that do not just go to a rule's targets. Rules that apply together are one of these. */
struct fw_plan_special {
	uint32_t fate;			/* FW_FORWARD, or the drop cause of all */
	uint32_t first_choice;		/* one copy for each */
	uint32_t n_choices;
	uint32_t first_counter;		/* counter slots, of all rules that apply */
	uint32_t n_counters;
	uint32_t writes_ttl;		/* not 0: some of its targets are to get a TTL of their own */
};

enum fw_balance { FW_BALANCE_EXPORTER, FW_BALANCE_FLOW, FW_BALANCE_ROUND_ROBIN };

/* A copy that goes to one of several targets. */
struct fw_plan_choice {
	uint32_t first_member;		/* in members, which has target numbers */
	uint32_t n_members;		/* FW_SHARES: by hash; any number: by turns; 1: there is no choice */
	uint32_t balance;
	uint32_t turn;			/* a number below limits.collectors: which turns it takes */
};

/* How a copy leaves, beyond its target, which has the same number. All 0: as any other does. */
struct fw_plan_option {
	uint8_t source[16];		/* source address, of the target's family; IPv4 in the first four bytes */
	uint8_t source_port_bytes[2];	/* UDP source port, network order; both 0: keep the datagram's */
	uint8_t has_source;		/* 0: keep the datagram's source address */
	uint8_t ttl;			/* 0: one less than it came with */
	uint32_t sample;		/* one in so many leaves; 0 or 1: all do */
	uint32_t limit_ns;		/* from one copy to the next, on average, at least; 0: no limit */
	uint8_t has_tags;		/* not 0: it leaves with the tags below, whatever the port's are … */
	uint8_t tags_bytes;		/* … 0, 4 or 8 bytes of them … */
	uint8_t unused[2];
	uint8_t tags[8];		/* … as they stand in the frame, type first */
};

/* IPv4 exporters from `start` up to the next one's start may send one datagram in so many nanoseconds; 0: any number. */
struct fw_plan_pace4 {
	uint32_t start;
	uint32_t ns;
};

struct fw_plan_pace6 {
	uint64_t start_hi;
	uint64_t start_lo;
	uint64_t ns;
};

/* All rules that were written for one source prefix. A parent is the next shorter prefix around it that has rules. */
struct fw_plan_node {
	uint32_t parent;		/* always a smaller number than its own; FW_NONE at the top */
	uint32_t first_range;
	uint32_t n_ranges;
	uint32_t best;			/* smallest rule number here and in all parents: nothing above can beat it */
};

/* Destination ports lo to hi, both included, belong to this rule. Ranges of a node are sorted and do not overlap. */
struct fw_plan_range {
	uint16_t lo;
	uint16_t hi;
	uint32_t rule;
};

/* IPv4 sources from `start` up to the next segment's start have `node` as their longest prefix. */
struct fw_plan_segment4 {
	uint32_t start;
	uint32_t node;
};

struct fw_plan_segment6 {
	uint64_t start_hi;
	uint64_t start_lo;
	uint64_t node;
};

/* An address is ours when (address & mask) == value, all three in network order. */
struct fw_plan_own4 {
	uint8_t value[4];
	uint8_t mask[4];
};

struct fw_plan_own6 {
	uint64_t value_hi;
	uint64_t value_lo;
	uint64_t mask_hi;
	uint64_t mask_lo;
};

/* An address that copies leave with: what comes from there, gfwd has sent. */
struct fw_plan_sender {
	uint64_t hi;			/* host order; IPv4: 0 … */
	uint64_t lo;			/* … and the address */
	uint64_t family;
};

/*
 * Somebody looks at datagrams: he gets copies of those of ours that come from one of the sources, to one of the ports, and met one
 * of the rules. Where they come in fragments, of the first.
 */
struct fw_plan_tap {
	uint32_t number;		/* below FW_TAPS_MAX: the bit in a record, and the place in fw_read_taps() */
	uint32_t every;			/* one in so many; those with templates come beside them */
	uint32_t first_source;
	uint32_t n_sources;		/* 0: all */
	uint32_t ports;			/* where in tap_bits 2,048 words begin, a bit for each port; FW_NONE: all */
	uint32_t rules;			/* where in tap_bits a bit for each rule begins; FW_NONE: all, and those that no rule wants */
	uint32_t whole;			/* not 0: no fragments */
	uint32_t unused;
};

/* As fw_plan_own6, in host order; IPv4 in value_lo. */
struct fw_plan_tap_source {
	uint64_t value_hi;
	uint64_t value_lo;
	uint64_t mask_hi;
	uint64_t mask_lo;
	uint64_t family;
};

/*
 * The head of a plan. A section is an offset in bytes from the plan's start, a multiple of 8, and a number of entries.
 * Rules stand best first, so that of all rules that match, the smallest number wins.
 */
struct fw_plan {
	uint32_t abi;
	uint32_t generation;		/* set by the core: every published plan has its own */
	uint64_t bytes;
	uint32_t only_egress;		/* all targets leave by this port; FW_NONE where there are several */
	uint32_t n_taps;		/* 0: nobody looks */
	uint32_t top4_shift;		/* source address >> this = its place in top4 */
	uint32_t n_ports;
	uint32_t n_targets;
	uint32_t n_rules;
	uint32_t n_nodes;
	uint32_t n_ranges;
	uint32_t n_own4;
	uint32_t n_own6;
	uint32_t n_top4;		/* top4[i], top4[i + 1]: first segment, and last, to look at for that place */
	uint32_t n_segments4;
	uint32_t n_segments6;
	uint32_t n_options;		/* as many as targets; 0: no target has one */
	uint32_t n_specials;
	uint32_t n_choices;
	uint32_t n_members;
	uint32_t n_counters;
	uint32_t n_paces4;		/* 0, and n_paces6 too: no exporter has a limit */
	uint32_t n_paces6;
	uint32_t pace_of_rest;		/* of all exporters together that found no room in the table */
	uint32_t n_others;		/* as many as targets; 0: no target has one */
	uint32_t n_senders;
	uint32_t n_follow;		/* 2,048; 0: no port asks for it */
	uint32_t n_tap_sources;
	uint32_t n_tap_bits;
	uint64_t listen;		/* 2,048 × uint32_t: a bit for each UDP port, port 0 the lowest of the first word */
	uint64_t any;			/* 65,536 × uint32_t: the best rule with source `*`, or default; FW_NONE: none */
	uint64_t ports;
	uint64_t targets;
	uint64_t rules;
	uint64_t nodes;
	uint64_t ranges;
	uint64_t own4;
	uint64_t own6;
	uint64_t top4;
	uint64_t segments4;
	uint64_t segments6;
	uint64_t options;
	uint64_t specials;
	uint64_t choices;
	uint64_t members;		/* uint32_t: target numbers */
	uint64_t counters;		/* uint32_t: counter slots */
	uint64_t paces4;
	uint64_t paces6;
	uint64_t others;		/* uint32_t, by target: the same collector's target in the other family; FW_NONE: none */
	uint64_t senders;
	uint64_t follow;		/* as `listen`: ports on which sequence numbers are followed */
	uint64_t taps;			/* these three stand last, so that others can be put in their place */
	uint64_t tap_sources;
	uint64_t tap_bits;		/* uint32_t */
};

/* ---- counters ---- */

struct fw_frame_ledger {
	uint64_t received;
	uint64_t forwarded;
	uint64_t passed;
	uint64_t punted;
	uint64_t pending;
	uint64_t drops[FW_DROP_CAUSES];
};

struct fw_copy_ledger {
	uint64_t wanted;
	uint64_t sent;
	uint64_t sent_bytes;		/* of the frames as they came in, without CRC; a copy counts once, whatever it leaves as */
	uint64_t pending;
	uint64_t drops[FW_DROP_CAUSES];
};

/* What stands outside both ledgers. */
struct fw_work {
	uint64_t swapped;		/* copies that left in the buffer that they came in */
	uint64_t copied;
	uint64_t fragments_made;	/* frames that copies too long for a port's MTU left in */
	uint64_t cache_hits;
	uint64_t lookups;		/* cache misses: full lookups */
	uint64_t tapped;
	uint64_t tap_lost;		/* the tap ring was full */
	uint64_t injected;
	uint64_t inject_lost;		/* the port was full */
	uint64_t plans;			/* plans that were taken up */
	/* On ports where sequence numbers are followed: datagrams … */
	uint64_t numberless;		/* … that have none, or none that is known */
	uint64_t unfollowed;		/* … of streams that found no room */
	uint64_t ipfix;			/* … of IPFIX, for Python */
	uint64_t ipfix_lost;		/* the ring was full */
};

struct fw_count {
	uint64_t packets;
	uint64_t bytes;
};

/* What one of those who look has got, and what not. */
struct fw_tap_count {
	uint64_t matched;		/* datagrams that he looks for */
	uint64_t taken;			/* … and has got, or can: those of his sample, and for their templates */
	uint64_t lost;			/* … and has not: the tap ring was full, or they were longer than a record */
};

struct fw_exporter {
	uint8_t address[16];
	uint32_t family;		/* 4 or 6; 0: all that found no room in the table, or that no rule wants */
	uint32_t unused;
	uint64_t packets;
	uint64_t bytes;
};

/* A source of datagrams of ours that no rule wants. */
struct fw_unknown {
	uint8_t address[16];
	uint32_t family;		/* 4 or 6; 0: all that are not told apart, of one worker: packets and bytes say something */
	uint16_t port;			/* that it sends to */
	uint16_t source_port;		/* of the last datagram */
	uint64_t packets;
	uint64_t bytes;			/* of the frames as they came in, without CRC */
	uint64_t first;			/* ns since 1970: the frame's stamp, or the clock */
	uint64_t last;
	uint32_t length;		/* of the last datagram's payload … */
	uint32_t unused;
	uint8_t payload[FW_UNKNOWN_PAYLOAD];	/* … and how it begins; behind its end 0 */
};

/* What sequence numbers say, since the first datagram. */
struct fw_findings {
	uint64_t datagrams;
	uint64_t in_order;		/* that had the number that they should have */
	uint64_t counted;		/* what they say that they hold, doubled ones left out … */
	uint64_t lost;			/* … and what is missing, both in what the exporter counts */
	uint64_t reordered;		/* datagrams, as the next two */
	uint64_t doubled;
	uint64_t strays;		/* so late, or so far off, that they are neither */
	uint64_t restarts;
	uint64_t unproven;		/* datagrams before which some may have come that were not followed */
};

enum fw_counts { FW_COUNTS_DATAGRAMS, FW_COUNTS_FLOWS, FW_COUNTS_RECORDS };

/* Datagrams whose sequence numbers go on from each other. */
struct fw_stream {
	uint8_t address[16];		/* of the exporter */
	uint8_t agent[16];		/* sFlow: for whom it sends */
	uint32_t family;		/* 4 or 6; 0: all of one worker that gave up their places: findings say something */
	uint32_t agent_family;		/* 4 or 6: sFlow; 0: NetFlow */
	uint16_t source_port;
	uint16_t version;		/* of NetFlow, or of sFlow */
	uint32_t domain;		/* source ID, engine type << 8 | engine ID, or sub-agent; 0 in NetFlow v7 */
	uint32_t counts;		/* enum fw_counts: what its numbers count */
	uint32_t unused;
	uint64_t first;			/* datagram, ns since 1970: the frame's stamp, or the clock */
	uint64_t last;
	struct fw_findings findings;
};

/* ---- frames between the core and Python ---- */

/* The head of a record in a punt, tap, IPFIX or inject ring; the frame follows. */
struct fw_record {
	uint64_t time;			/* ns since 1970: as the port stamps; else, tap: the clock, and 0 elsewhere */
	uint32_t bytes;			/* of the frame */
	uint32_t port;			/* came in by, or is to leave by */
	uint32_t rule;			/* tap: the rule's number in the plan; else FW_NONE */
	uint32_t generation;		/* tap: of that plan */
	uint32_t mtu;			/* punt: it is longer than what it was to leave by takes, bytes of IP; 0: it is none of these */
	uint32_t interruption;		/* IPFIX: another number than before: some between the two were not handed out */
	/* tap: */
	uint32_t fate;			/* where its way ended: enum fw_fate */
	uint32_t taps;			/* whose it is: a bit for each number */
	uint32_t templates;		/* who gets it beside the sample, for the templates in it */
	uint32_t gaps;			/* of both, who has lost some since the last one from this ring */
};

/* ---- life ---- */

struct fw_limits {
	uint32_t rules;			/* counter slots */
	uint32_t collectors;		/* counter slots */
	uint32_t neighbours;		/* neighbour slots */
	uint32_t exporters;		/* counted apart, per worker; the rest is one */
	uint32_t flows;			/* places in the match cache, per worker */
	uint32_t frame_bytes;		/* longest frame that can wait, or be punted, tapped, injected */
	uint32_t ring_slots;		/* records in each punt, tap, IPFIX and inject ring */
	uint32_t unknown;		/* sources without a rule that are told apart, per worker; rounded up */
	uint32_t fragments;		/* datagrams whose fragments are followed, and fragments that wait for a first, per worker */
	uint32_t streams;		/* whose sequence numbers are followed, per worker */
	uint64_t seeds[2];		/* random: keep outsiders from choosing colliding addresses */
};

enum fw_run { FW_RUN_STOPPED, FW_RUN_ENDED, FW_RUN_FAILED };

struct fw_core;
struct fw_region;
struct fw_umem;
struct fw_worker;

/* The number that stands for "none" wherever a number is expected. */
uint32_t fw_none(void);
/* "drop_short" … in the order of enum fw_fate; NULL beyond the last drop cause. */
const char *fw_drop_name(unsigned cause);

/* All that can fail writes one line into `error` (FW_ERROR_BYTES long) and returns NULL or -1. */
struct fw_core *fw_core_new(const struct fw_limits *limits, char *error);
void fw_core_free(struct fw_core *core);

/* Copies, checks, and makes it the plan of all workers; the plan before is freed as soon as no worker reads it. */
int fw_publish(struct fw_core *core, const void *plan, size_t bytes, char *error);
/* Of the plan in force; 0: there is none. */
uint32_t fw_generation(const struct fw_core *core);
/* Plans that are still in memory (the current one and those that a worker has not passed yet), after freeing what can be. */
unsigned fw_plans(struct fw_core *core);
/* The rule that the full lookup finds in the current plan; address in network order. */
uint32_t fw_lookup(struct fw_core *core, unsigned family, const uint8_t *address, uint16_t port);

/* One 8-byte store. mac has 6 bytes; NULL where the state needs none. -1: no such slot. */
int fw_set_neighbour(struct fw_core *core, uint32_t slot, const uint8_t *mac, unsigned state);

/* Ports. `slots` per ring, `buffer_bytes` per slot. Ports in one region swap buffers, others copy. Return the port's number. */
struct fw_region *fw_region_new(struct fw_core *core, unsigned rings, unsigned slots, unsigned buffer_bytes, char *error);
int fw_port_mem(struct fw_core *core, struct fw_region *region, unsigned ring_pairs, char *error);
int fw_port_pcap_in(struct fw_core *core, struct fw_region *region, const char *path, char *error);
int fw_port_pcap_out(struct fw_core *core, struct fw_region *region, const char *path, char *error);
/* What went wrong on a port since it was opened; NULL: nothing. */
const char *fw_port_error(struct fw_core *core, unsigned port);
/* Flushes what is still to be written and closes the file. */
int fw_port_close(struct fw_core *core, unsigned port, char *error);

/*
 * A port of netmap, by its name in netmap(4): netmap:ix0, netmap:ix0-1, netmap:ix0-0-3, netmap:ix0^, netmap:x{1, vale0:a. Ports that
 * netmap keeps in one memory region swap buffers.
 */
int fw_port_netmap(struct fw_core *core, const char *name, char *error);
/* RX and TX rings of a port. -1: no such port. */
int fw_port_rings(struct fw_core *core, unsigned port, unsigned *rx, unsigned *tx);
/* The port is gone, as somebody else has found out: nothing can be sent any more, and nothing comes. */
void fw_port_fail(struct fw_core *core, unsigned port, const char *why);

/* ---- AF_XDP: interfaces of Linux ---- */

/* What a port turned out to be, and what was counted before the core saw anything. */
struct fw_xdp_port {
	uint32_t is_native;		/* 0: generic mode … */
	uint32_t refused;		/* … since the driver refused native mode, with this errno */
	uint32_t is_zero_copy;
	uint32_t unused;
	uint64_t ours;			/* frames that the XDP program handed over: received, or lost */
	uint64_t passed;		/* frames that it left to the kernel */
	uint64_t lost;			/* frames of ours for which the kernel found no buffer or no room */
	uint64_t unread;		/* frames of ours that no worker has taken yet: ours = received + lost + unread */
	uint64_t unsent;		/* frames that were sent, and that the kernel has not taken yet */
};

/* RX and TX queues that an interface has now. */
int fw_xdp_queues(const char *interface, unsigned *rx, unsigned *tx, char *error);
/*
 * Memory that ports share: for so many sockets (a port has one for each queue, be it RX, TX or both), and so many TX queues, of
 * all of them; buffer_bytes is 2,048 or 4,096, and frames may be FW_XDP_HEADROOM less.
 * `copies`: the kernel copies between card and memory, even where a driver could do without.
 */
struct fw_umem *fw_umem_new(struct fw_core *core, unsigned sockets, unsigned tx_queues, unsigned buffer_bytes,
    unsigned copies, char *error);
/* Opens the first so many queues. -2: it takes memory with `copies`, since not all ports can do without. */
int fw_port_xdp(struct fw_core *core, struct fw_umem *umem, const char *interface, unsigned rx_queues,
    unsigned tx_queues, char *error);
/* From now on, what the plan in force calls ours comes to the port; or, with `on` 0, nothing does. */
int fw_xdp_redirect(struct fw_core *core, unsigned port, unsigned on, char *error);
/* -1: no such port of AF_XDP. */
int fw_xdp_read(struct fw_core *core, unsigned port, struct fw_xdp_port *sum);

/* ---- memory ports ---- */

/*
 * The wire behind a memory port: a frame that arrives (1; 0: the ring is full, or the frame longer than a buffer; -1: no such
 * port or ring) at a time in ns since 1970 (0: none, the clock says), and one that has left (its length; -1: none; -2: no such
 * port or ring).
 */
int fw_mem_arrive(struct fw_core *core, unsigned port, unsigned ring, const uint8_t *frame, uint32_t bytes, uint64_t time);
int fw_mem_leave(struct fw_core *core, unsigned port, unsigned ring, uint8_t *frame, uint32_t room);

/* Workers. A ring belongs to one worker. */
struct fw_worker *fw_worker_new(struct fw_core *core, char *error);
void fw_worker_free(struct fw_worker *worker);
int fw_worker_rx(struct fw_worker *worker, unsigned port, unsigned ring, char *error);
int fw_worker_tx(struct fw_worker *worker, unsigned port, unsigned ring, char *error);
/* One round over all rings of the worker: frames that were dealt with. */
unsigned fw_worker_step(struct fw_worker *worker);
/* Rounds until fw_worker_stop(), or the end of all inputs, or a port that failed: enum fw_run. */
int fw_worker_run(struct fw_worker *worker);
void fw_worker_stop(struct fw_worker *worker);
void fw_worker_wake(struct fw_worker *worker);
/* How many rounds it has begun, from any thread: one that hangs begins none. An idle one begins one a second. */
uint64_t fw_worker_rounds(const struct fw_worker *worker);

/* Becomes readable when frames were punted; to be read empty before they are taken. */
int fw_worker_bell(struct fw_worker *worker);
/* Rings between a worker and Python: length of the frame, or -1: none. One thread on Python's side of each. */
int fw_punt_take(struct fw_worker *worker, struct fw_record *record, uint8_t *frame, uint32_t room);
int fw_tap_take(struct fw_worker *worker, struct fw_record *record, uint8_t *frame, uint32_t room);
int fw_ipfix_take(struct fw_worker *worker, struct fw_record *record, uint8_t *frame, uint32_t room);
/* 1, or 0: full, 2: too long, or no such port */
int fw_inject(struct fw_worker *worker, unsigned port, const uint8_t *frame, uint32_t bytes);

/* Sums over all workers. */
void fw_read_frames(struct fw_core *core, struct fw_frame_ledger *sum);
void fw_read_work(struct fw_core *core, struct fw_work *sum);
void fw_read_collectors(struct fw_core *core, struct fw_copy_ledger *sum, uint32_t n);
void fw_read_rules(struct fw_core *core, struct fw_count *sum, uint32_t n);
/* FW_TAPS_MAX of them, by number. */
void fw_read_taps(struct fw_core *core, struct fw_tap_count *sum);
/* Fills at most n; returns how many there are. An exporter that two workers saw stands there twice. */
uint32_t fw_read_exporters(struct fw_core *core, struct fw_exporter *list, uint32_t n);
/*
 * Fills at most n; returns how many; list NULL: how many there is room for. Of every worker first what it does not tell apart;
 * a source that two workers saw stands there twice.
 */
uint32_t fw_read_unknown(struct fw_core *core, struct fw_unknown *list, uint32_t n);
/* In the same way: of every worker first what those found out that gave up their places. */
uint32_t fw_read_streams(struct fw_core *core, struct fw_stream *list, uint32_t n);

/* ---- measuring ---- */

/* Nanoseconds spent, all rounds together: the card's part (filling and emptying rings) is told apart from the forwarder's. */
struct fw_bench {
	uint64_t packets;
	uint64_t forward_ns;
	uint64_t fill_ns;
	uint64_t drain_ns;
};

/*
 * `frames` holds n frames of frame_bytes each, one after the other; `cursor` says which arrives next. number_at: where each has
 * a number of 32 bits that goes up by one each time that all have arrived; 0: nowhere.
 */
int fw_bench_core(struct fw_worker *worker, unsigned in, unsigned out, uint8_t *frames, uint32_t n, uint32_t frame_bytes,
    uint32_t number_at, uint32_t *cursor, uint32_t rounds, struct fw_bench *result);
/*
 * The measure beside it: the same rings and frames; two MAC addresses are rewritten and nothing else is looked at. Frames
 * leave in the buffers that they came in, or, where `copies` is not 0, as copies. To be freed before the core.
 */
struct fw_exchanger;
struct fw_exchanger *fw_exchanger_new(struct fw_core *core, unsigned in, unsigned out, unsigned copies, char *error);
void fw_exchanger_free(struct fw_exchanger *exchanger);
void fw_bench_exchange(struct fw_exchanger *exchanger, uint8_t *frames, uint32_t n, uint32_t frame_bytes,
    uint32_t *cursor, uint32_t rounds, struct fw_bench *result);
