"""The packet core's deliberately simple twin: docs/packets.md, step by step, in plain Python.

It shares nothing with the code under test. Rules are scanned one after the other, IPv4 header checksums are computed
over the whole header, UDP checksums by arithmetic modulo 65535. Where the core is quick, the twin is obvious; they
must agree on every byte, every verdict and every counter.

Functions stand in the order in which a frame meets them. What is known of exporters and remembered of datagrams stands
in memory.py, which fragments belong together in fragments.py, whom a group chooses in choice.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.oracle.choice import Chance, share_of, winners
from tests.oracle.fragments import Fragments, Key
from tests.oracle.leaving import Change, Packet
from tests.oracle.memory import Memory, Pace
from tests.oracle.sums import (
    ipv4_header_checksum,
    number,
    ones_complement_sum,
    put_u16,
    u16,
    updated_udp_checksum,
)

Prefix = tuple[int, int, int]
"""Family (4 or 6), the network's address as a number, prefix length in bits."""

FORWARDED, PASSED, PUNTED, PENDING, SENT = "forwarded", "passed", "punted", "pending", "sent"
SHORT, BAD_CHECKSUM, TTL_EXPIRED, FRAGMENT_LOST = "short", "bad_checksum", "ttl_expired", "fragment_lost"
NO_RULE, FAMILY_MISMATCH, NO_COLLECTOR, TOO_BIG = "no_rule", "family_mismatch", "no_collector", "too_big"
NEIGHBOUR_FAILED, NEIGHBOUR_PENDING_FULL = "neighbour_failed", "neighbour_pending_full"
DENIED, RATE_LIMITED, LOOP = "denied", "rate_limited", "loop"
SAMPLED_OUT, COLLECTOR_LIMIT = "sampled_out", "collector_limit"

VLAN_TYPES = (0x8100, 0x88A8, 0x9100)
ICMP, UDP, ICMPV6 = 1, 17, 58
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
UDP_HEADER_LENGTH = 8
BITS = {4: 32, 6: 128}


@dataclass(frozen=True)
class TwinTarget:
    """One collector of a rule, as it stands after names and next hops were looked up."""

    collector: int
    family: int | None  # None: the name never resolved
    address: int | None  # None: the name never resolved
    port: int | None  # None: the datagram's own is kept
    state: Literal["ready", "pending", "failed"]  # of the neighbour, at the start
    mac: bytes  # the neighbour's; means something when it is ready
    egress: int  # index into TwinConfig.ports
    neighbour: int | None = None  # who shares a next hop shares its queue; None: a next hop of the collector's own
    other: int | None = None  # a name's IPv6 address, where `address` is IPv4 and there are both
    place: str = ""  # host and port, as rules write them
    own_source: bool = False  # copies leave with gfwd's own source address, …
    source_port: int | None = None  # … with this source port, …
    ttl: int | None = None  # … with this TTL
    tags: Sequence[tuple[int, int]] | None = None  # … with these VLAN tags
    sample: int = 1  # one in so many leaves
    limit: int | None = None  # so many a second leave
    backups: tuple[TwinTarget, ...] = ()
    is_down: bool = False

    @property
    def next_hop(self) -> tuple[str, int]:
        """The key under which copies for this target wait."""
        return ("collector", self.collector) if self.neighbour is None else ("neighbour", self.neighbour)


Balance = Literal["exporter", "flow", "round-robin"]


@dataclass(frozen=True)
class TwinGroup:
    """Collectors of which one gets the copy."""

    name: str
    balance: Balance
    members: tuple[TwinTarget, ...]
    turn: int = 0  # groups with the same number take turns together


Receiver = TwinTarget | TwinGroup


@dataclass(frozen=True)
class TwinRule:
    """(source, destination port) → targets. No source: every address of both families."""

    source: Prefix | None
    ports: Sequence[tuple[int, int]]  # both ends belong to the range
    targets: Sequence[Receiver]
    priority: str | None  # "A" … "Z"; None: a default, used when no other rule matches
    order: int  # the line's place in the file: of equals, the later wins
    excepted: Sequence[Prefix] = ()  # of the source, whom it is not for
    applies_always: bool = False  # apply = "all"
    counter: int = 0  # where the plan counts it; for whoever compares counters


@dataclass(frozen=True)
class TwinPort:
    """A place where frames come in or go out."""

    mac: bytes
    keep_tags: bool = False
    tags: Sequence[tuple[int, int]] = ()  # (type, TCI), outermost first
    mtu: int = 0  # of the IP packet; 0: no limit
    buffer: int = 0  # the longest frame that fits; 0: no limit
    has_host_stack: bool = True
    punts_closed: bool = False
    punts_too_big: bool = False
    out_only: bool = False  # nothing that comes in here is ours
    own: Sequence[tuple[int, int]] = ()  # gfwd's own addresses there: family and address


@dataclass(frozen=True)
class TwinConfig:
    """What is gfwd's own, its ports, and who may send."""

    own: Sequence[Prefix] | Literal["all"]
    listen: frozenset[int] | Literal["all"]
    ports: Sequence[TwinPort]
    allow: Sequence[Prefix] = ()  # nobody else may; empty: everybody may
    deny: Sequence[Prefix] = ()
    limit: int | None = None  # datagrams a second of each exporter
    limits: Sequence[tuple[Prefix, int | None]] = ()  # the same, by prefix


@dataclass(frozen=True)
class Datagram:
    """A frame that is ours and sound: a datagram, or its first fragment. Places are byte offsets into the frame."""

    frame: bytes
    ingress: int
    family: int
    source: int
    destination: int
    port: int
    ip_at: int  # two bytes before it stands the EtherType; 12 bytes into the frame, the tags begin
    udp_at: int
    ip_length: int
    fragment: int | None = None  # of a first fragment the identification

    @property
    def key(self) -> Key:
        """What its fragments have in common."""
        return self.family, self.source, self.destination, self.fragment or 0

    @property
    def exporter(self) -> tuple[int, int]:
        """Family and source address."""
        return self.family, self.source

    @property
    def source_port(self) -> int:
        """Of UDP."""
        return u16(self.frame, self.udp_at)

    @property
    def ttl(self) -> int:
        """TTL or hop limit."""
        return self.frame[self.ip_at + (8 if self.family == 4 else 7)]

    @property
    def payload(self) -> bytes:
        """Of UDP, as long as UDP says; of a first fragment, what it has of it."""
        end = min(self.udp_at + u16(self.frame, self.udp_at + 4), self.ip_at + self.ip_length)
        return self.frame[self.udp_at + UDP_HEADER_LENGTH : end]

    @property
    def ident(self) -> int | None:
        """The identification, which IPv6 has not."""
        return u16(self.frame, self.ip_at + 4) if self.family == 4 else None


@dataclass(frozen=True)
class Fragment:
    """A fragment of which it is not known whether it is ours (a later one), or known that it is not (a first one)."""

    frame: bytes
    ingress: int
    family: int
    source: int
    destination: int
    ident: int
    ip_at: int
    ip_length: int
    is_first: bool

    @property
    def key(self) -> Key:
        """What it has in common with the others of its datagram."""
        return self.family, self.source, self.destination, self.ident

    @property
    def ttl(self) -> int:
        """TTL or hop limit."""
        return self.frame[self.ip_at + (8 if self.family == 4 else 7)]


Parsed = Datagram | Fragment | str
"""What parse() gives: a string is the place where the frame ends."""


@dataclass(frozen=True)
class TooBig:
    """What Python is told of a frame that could not leave: how it begins, and how long its packet could have been."""

    beginning: bytes
    mtu: int


@dataclass(frozen=True)
class Output:
    """A frame that left."""

    egress: int
    frame: bytes


@dataclass(frozen=True)
class Copy:
    """Where one wanted copy ended: "sent", "pending" or a drop cause."""

    collector: int
    place: str


@dataclass(frozen=True)
class Outcome:
    """Where a frame ended: "forwarded", "passed", "punted", "pending" or a drop cause; and what it gave rise to."""

    place: str
    outputs: tuple[Output, ...] = ()
    copies: tuple[Copy, ...] = ()
    datagram: Datagram | Fragment | None = None  # where it is ours and sound
    rules: tuple[TwinRule, ...] = ()  # that it met, best first
    counted: bool = False  # whether it counts for them
    last: TwinTarget | None = None  # of those that copies went to, where its copy may leave as it lies
    too_big: tuple[TooBig, ...] = ()
    sent_to: tuple[tuple[TwinTarget, _Hop | None], ...] = ()  # by copies: who was to get them, and where
    before: tuple[Outcome, ...] = ()  # of a first fragment: what became of those that had waited for it


@dataclass
class Ledger:
    """Every frame and every copy in exactly one place."""

    frames: Counter[str] = field(default_factory=Counter)
    copies: dict[int, Counter[str]] = field(default_factory=dict)  # by collector
    sent_bytes: Counter[int] = field(default_factory=Counter)  # by collector; of the frames as they came in

    def add(self, outcome: Outcome) -> None:
        """Enter a frame and its copies."""
        self.frames[outcome.place] += 1
        for copy in outcome.copies:
            self.copies.setdefault(copy.collector, Counter())[copy.place] += 1

    def move_frame(self, place: str) -> None:
        """A frame that was pending has ended."""
        self.frames[PENDING] -= 1
        self.frames[place] += 1

    def move_copy(self, collector: int, place: str) -> None:
        """A copy that was pending has ended."""
        self.copies[collector][PENDING] -= 1
        self.copies[collector][place] += 1

    def as_dict(self) -> dict[str, object]:
        """Both ledgers; drop causes that never occurred are left out."""
        places = (FORWARDED, PASSED, PUNTED, PENDING)
        return {
            "received": self.frames.total(),
            **{place: self.frames[place] for place in places},
            "drops": {cause: n for cause, n in self.frames.items() if n and cause not in places},
            "copies": _copy_ledger(sum(self.copies.values(), Counter())),
        }

    def by_collector(self) -> dict[int, dict[str, object]]:
        """The copy ledger of each collector that a copy was wanted for."""
        return {collector: _copy_ledger(counter) for collector, counter in self.copies.items()}


def _copy_ledger(copies: Counter[str]) -> dict[str, object]:
    drops = {cause: n for cause, n in copies.items() if n and cause not in (SENT, PENDING)}
    return {"wanted": copies.total(), SENT: copies[SENT], PENDING: copies[PENDING], "drops": drops}


@dataclass
class _Flight:
    """A frame with copies that wait: what decides where it ends."""

    sent: int
    waiting: int

    @property
    def place(self) -> str | None:
        """Where the frame is, as long as a copy was sent or waits."""
        if self.sent:
            return FORWARDED
        return PENDING if self.waiting else None


@dataclass(frozen=True)
class _Hop:
    """Which of its addresses a collector gets a copy at, and which source address it has; None: its own."""

    family: int
    address: int
    source: int | None


@dataclass(frozen=True)
class _Waiting:
    datagram: Datagram | Fragment
    target: TwinTarget
    hop: _Hop
    flight: _Flight


class Twin:
    """The core with one worker, and ports that always have room. What time it is, each frame says.

    seeds, exporters: as the core's, whose chance the first is, and in whose table of exporters so many have room.
    fragments: so many datagrams in fragments are followed.
    """

    def __init__(
        self,
        rules: Sequence[TwinRule],
        config: TwinConfig,
        pending_limit: int = 1024,
        seeds: tuple[int, int] = (0, 0),
        exporters: int = 65_536,
        fragments: int = 1_024,
    ) -> None:
        self.rules = rules
        self._senders_of: Sequence[TwinRule] | None = None  # whose senders were looked for last
        self._found_senders: set[tuple[int, int]] = set()
        self.config = config
        self.pending_limit = pending_limit  # copies, for each neighbour
        self.ledger = Ledger()
        self.memory = Memory(seeds)
        self.fragments: Fragments[Fragment, Outcome] = Fragments(fragments)
        self._neighbours: dict[tuple[str, int], tuple[str, bytes]] = {}  # what has changed since the start
        self._queues: dict[tuple[str, int], list[_Waiting]] = {}
        self._chance = Chance(seeds[0])
        self._turns: Counter[int] = Counter()
        self._places_left = exporters
        self._paces: dict[tuple[int, int], Pace | None] = {}  # of exporters; None: it found no room in the table
        self._pace_of_rest = Pace()
        self._collector_paces: dict[int, Pace] = {}
        self._idents: Counter[int] = Counter()  # of packets that gfwd makes itself: how many have left by each port
        self._first_ident = seeds[1]
        self.fragments_made = 0

    def forward(self, frame: bytes, ingress: int = 0, now: int = 0) -> Outcome:
        """Do with one frame what docs/packets.md says, and enter it into the ledger. now: ns."""
        return self.take(self.parse(frame, ingress), now)

    def parse(self, frame: bytes, ingress: int) -> Parsed:
        """The datagram or fragment when it is ours and sound, as far as can be seen; else where the frame ends."""
        parsed = parse(frame, self.config, ingress)
        return PASSED if self.config.ports[ingress].out_only and parsed != PUNTED else parsed

    def take(self, parsed: Parsed, now: int) -> Outcome:
        """Do the rest with what parse() gave."""
        if isinstance(parsed, str):
            outcome = Outcome(parsed)
        elif isinstance(parsed, Datagram) and parsed.fragment is None:
            outcome = self._match(parsed, now)
        elif isinstance(parsed, Datagram) or parsed.is_first:
            outcome = self._first(parsed, now)
        else:
            outcome = self._later(parsed, now)
        self.ledger.add(outcome)
        return outcome

    def waiting_for(self, parsed: Parsed) -> int:
        """How many fragments wait for this one."""
        if isinstance(parsed, str) or (isinstance(parsed, Datagram) and parsed.fragment is None):
            return 0
        followed = self.fragments.find(parsed.key)
        return 0 if followed is None else len(followed.waiting)

    def _first(self, parsed: Datagram | Fragment, now: int) -> Outcome:
        """What becomes of a first fragment, and then of those that wait for it."""
        self._lose(self.fragments.expire(now))
        followed, lost = self.fragments.begin(parsed.key, now)
        self._lose(lost)
        decision = self._match(parsed, now) if isinstance(parsed, Datagram) else Outcome(PASSED)
        followed.decision = decision
        before = []
        for fragment in followed.waiting:
            outcome = replace(self._follow(fragment, decision), last=None)
            self.ledger.frames[PENDING] -= 1
            self.ledger.add(outcome)
            before.append(outcome)
        followed.waiting.clear()
        return replace(decision, before=tuple(before))

    def _later(self, fragment: Fragment, now: int) -> Outcome:
        self._lose(self.fragments.expire(now))
        followed = self.fragments.find(fragment.key)
        if followed is not None and followed.decision is not None:
            return self._follow(fragment, followed.decision)
        self._lose(self.fragments.wait(fragment.key, fragment, now))
        return Outcome(PENDING)

    def _lose(self, fragments: Iterable[Fragment]) -> None:
        for _ in fragments:
            self.ledger.move_frame(FRAGMENT_LOST)

    def _follow(self, fragment: Fragment, first: Outcome) -> Outcome:
        """What the first one got, it gets, too: from the same collectors, at the same places."""
        if not first.copies:
            datagram = None if first.datagram is None else fragment
            return Outcome(first.place, datagram=datagram, rules=first.rules)
        flight = _Flight(sent=0, waiting=0)
        outputs: list[Output] = []
        copies: list[Copy] = []
        for copy, (target, hop) in zip(first.copies, first.sent_to, strict=True):
            place = copy.place
            if place in (SENT, PENDING):
                place = self._reach(fragment, target, hop)
            if place == SENT:
                place = self._send_or_wait(fragment, target, hop, flight, outputs)
            copies.append(Copy(target.collector, place))
        place = flight.place or copies[0].place
        last = self._last(fragment, first.sent_to)
        return Outcome(place, tuple(outputs), tuple(copies), fragment, first.rules, counted=True, last=last)

    def _last(
        self, datagram: Datagram | Fragment, sent_to: Sequence[tuple[TwinTarget, _Hop | None]]
    ) -> TwinTarget | None:
        """The last of those that copies went to, where its copy may leave as it lies."""
        target, hop = sent_to[-1]
        return target if hop is not None and self._leaves_as_it_lies(datagram, target, hop) else None

    def _match(self, datagram: Datagram, now: int) -> Outcome:
        """Match's steps by their numbers."""
        if is_from_us(self.config, datagram) or datagram.exporter in self._senders():  # 1
            return Outcome(LOOP, datagram=datagram)
        is_suspect = self.memory.suspects(*datagram.exporter, datagram.port, datagram.ttl)
        rules = applying(self.rules, datagram)
        if is_denied(self.config, datagram):  # 3, which comes before 2 where both are so
            return Outcome(DENIED, datagram=datagram)
        if not rules:  # 2
            return Outcome(NO_RULE, datagram=datagram)
        self._meet(datagram.exporter)
        if not self._is_slow_enough(datagram, now):  # 4
            return Outcome(RATE_LIMITED, datagram=datagram, rules=rules)
        if (is_suspect or any(map(may_write_ttl, receivers_of(rules)))) and self._comes_back(datagram, now):  # 5
            return Outcome(LOOP, datagram=datagram, rules=rules)
        return self._transmit(datagram, rules, now)

    def _senders(self) -> set[tuple[int, int]]:
        """The addresses that copies may leave with, where a collector is to get gfwd's own; by family and number."""
        if self._senders_of is not self.rules:
            self._senders_of = self.rules
            self._found_senders = {
                (family, own)
                for rule in self.rules
                for receiver in rule.targets
                for member in (receiver.members if isinstance(receiver, TwinGroup) else [receiver])
                for target in (member, *member.backups)
                if target.own_source
                for family in (target.family, None if target.other is None else 6)
                if (own := self._own(target, family)) is not None and family is not None
            }
        return self._found_senders

    def _meet(self, exporter: tuple[int, int]) -> None:
        if exporter not in self._paces:
            self._paces[exporter] = Pace() if self._places_left > 0 else None
            self._places_left -= 1

    def _is_slow_enough(self, datagram: Datagram, now: int) -> bool:
        pace = self._paces[datagram.exporter]
        if pace is None:
            return self._pace_of_rest.allows(self.config.limit, now)
        return pace.allows(limit_of(self.config, datagram), now)

    def _comes_back(self, datagram: Datagram, now: int) -> bool:
        its = datagram
        return self.memory.comes_back(*its.exporter, its.source_port, its.ident, its.payload, its.ttl, now)

    def set_neighbour(self, next_hop: tuple[str, int], state: str, mac: bytes = bytes(6)) -> list[Output]:
        """A neighbour's state has changed: what waits for it is sent, or given up, in the order of arrival."""
        self._neighbours[next_hop] = (state, mac)
        if state == PENDING:
            return []
        return [out for waiting in self._queues.pop(next_hop, []) for out in self._settle(waiting, state, mac)]

    def _transmit(self, datagram: Datagram, rules: tuple[TwinRule, ...], now: int) -> Outcome:
        flight = _Flight(sent=0, waiting=0)
        outputs: list[Output] = []
        copies: list[Copy] = []
        too_big: list[TooBig] = []
        receivers = receivers_of(rules)
        targets = each_collector_once(self._choose(receiver, datagram) for receiver in receivers)
        sent_to = tuple((target, self._hop(target, datagram.family)) for target in targets)
        for target, hop in sent_to:
            place = self._admit(datagram, target, hop, now)
            if place == TOO_BIG and hop is not None and self.config.ports[datagram.ingress].punts_too_big:
                more = 20 if (datagram.family, hop.family) == (6, 4) else 0
                too_big.append(TooBig(datagram.frame[:1280], self.config.ports[target.egress].mtu + more))
            if place == SENT:
                place = self._send_or_wait(datagram, target, hop, flight, outputs)
            copies.append(Copy(target.collector, place))
        return Outcome(
            flight.place or copies[0].place,
            tuple(outputs),
            tuple(copies),
            datagram,
            rules,
            counted=True,
            last=self._last(datagram, sent_to),
            too_big=tuple(too_big),
            sent_to=sent_to,
        )

    def _choose(self, receiver: Receiver, datagram: Datagram) -> TwinTarget:
        """The collector that gets the receiver's copy."""
        if isinstance(receiver, TwinTarget):
            return stand_in(receiver) or receiver
        members = [member for member in receiver.members if stand_in(member)] or list(receiver.members)
        if len(members) == 1:
            member = members[0]
        elif receiver.balance == "round-robin":
            member = members[self._turns[receiver.turn] % len(members)]
            self._turns[receiver.turn] += 1
        else:
            ports = (datagram.source_port, datagram.port) if receiver.balance == "flow" else None
            part = share_of(*datagram.exporter, ports)
            member = members[winners(tuple(one.place for one in members))[part]]
        return stand_in(member) or member

    def _hop(self, target: TwinTarget, family: int) -> _Hop | None:
        """Where a copy of a datagram of this family goes; None: nowhere."""
        if target.is_down or target.family is None or target.address is None:
            return None
        hops = [_Hop(target.family, target.address, None)]
        if target.other is not None:
            hops.append(_Hop(6, target.other, None))
        if target.own_source:
            hops = [replace(hop, source=self._own(target, hop.family)) for hop in hops]
            hops = [hop for hop in hops if hop.source is not None]
        of_its_family = [hop for hop in hops if hop.family == family]
        return next(iter(of_its_family + hops), None)

    def _own(self, target: TwinTarget, family: int | None) -> int | None:
        """gfwd's own address of that family where the target's copies leave."""
        return next((own for own_family, own in self.config.ports[target.egress].own if own_family == family), None)

    def _admit(self, datagram: Datagram, target: TwinTarget, hop: _Hop | None, now: int) -> str:
        """Transmit's steps 1 to 6: "sent" when nothing stands in the copy's way."""
        if hop is None:  # 1
            return NO_COLLECTOR
        if hop.family != datagram.family and not target.own_source:  # 2
            return FAMILY_MISMATCH
        place = self._reach(datagram, target, hop)
        if place != SENT:
            return place
        if target.sample > 1 and not self._chance.takes(target.sample) and not has_template(datagram.payload):  # 5
            return SAMPLED_OUT
        pace = self._collector_paces.setdefault(target.collector, Pace())
        return SENT if pace.allows(target.limit, now) else COLLECTOR_LIMIT  # 6

    def _reach(self, datagram: Datagram | Fragment, target: TwinTarget, hop: _Hop | None) -> str:
        """Steps 3 and 4."""
        assert hop is not None
        if packet_of(datagram).cannot_leave(change_of(datagram, target, hop), self.config.ports[target.egress].mtu):
            return TOO_BIG
        return NEIGHBOUR_FAILED if self._neighbour(target)[0] == "failed" else SENT

    def _send_or_wait(
        self,
        datagram: Datagram | Fragment,
        target: TwinTarget,
        hop: _Hop | None,
        flight: _Flight,
        outputs: list[Output],
    ) -> str:
        """Steps 7 and 8."""
        state, mac = self._neighbour(target)
        if state == "ready":
            place = self._send(datagram, target, hop, mac, outputs)
            flight.sent += place == SENT
            return place
        queue = self._queues.setdefault(target.next_hop, [])
        if len(queue) >= self.pending_limit:
            return NEIGHBOUR_PENDING_FULL
        assert hop is not None
        queue.append(_Waiting(datagram, target, hop, flight))
        flight.waiting += 1
        return PENDING

    def _send(
        self, datagram: Datagram | Fragment, target: TwinTarget, hop: _Hop | None, mac: bytes, outputs: list[Output]
    ) -> str:
        """Transmit's steps 8 and 9. The ports here always have room."""
        assert hop is not None
        egress = self.config.ports[target.egress]
        if self._leaves_as_it_lies(datagram, target, hop):
            frames = [rewrite(datagram, target, hop, mac, self.config)]
            longest = max(len(datagram.frame), len(frames[0]))
        else:
            packet, change = packet_of(datagram), change_of(datagram, target, hop)
            ident = (self._first_ident + self._idents[target.egress]) % (1 << 32)
            packets = packet.leaves_as(change, egress.mtu, ident)
            # Its MTU may be another one since it began to wait.
            if packets is None or packet.cannot_leave(change, egress.mtu):
                return TOO_BIG
            head = ethernet(datagram, target, mac, egress, 0x0800 if hop.family == 4 else 0x86DD)
            frames = [head + one for one in packets]
            longest = max(map(len, frames))
            if not egress.buffer or longest <= egress.buffer:
                if packet.lacks_checksum(change):
                    return BAD_CHECKSUM
                self._idents[target.egress] += packet.takes_ident(change, packets)
                self.fragments_made += len(frames) if len(frames) > 1 else 0
        if egress.buffer and longest > egress.buffer:
            return TOO_BIG
        outputs += (Output(target.egress, frame) for frame in frames)
        self.ledger.sent_bytes[target.collector] += len(datagram.frame)
        return SENT

    def _leaves_as_it_lies(self, datagram: Datagram | Fragment, target: TwinTarget, hop: _Hop) -> bool:
        """Whether it leaves in one packet of its own family."""
        mtu = self.config.ports[target.egress].mtu
        return hop.family == datagram.family and not (mtu and datagram.ip_length > mtu)

    def _neighbour(self, target: TwinTarget) -> tuple[str, bytes]:
        return self._neighbours.get(target.next_hop, (target.state, target.mac))

    def _settle(self, waiting: _Waiting, state: str, mac: bytes) -> list[Output]:
        outputs: list[Output] = []
        place = NEIGHBOUR_FAILED
        if state == "ready":
            place = self._send(waiting.datagram, waiting.target, waiting.hop, mac, outputs)
        self.ledger.move_copy(waiting.target.collector, place)
        flight = waiting.flight
        flight.waiting -= 1
        if place == SENT:
            if not flight.sent:
                self.ledger.move_frame(FORWARDED)
            flight.sent += 1
        elif not flight.sent and not flight.waiting:
            self.ledger.move_frame(place)  # the cause of the copy that gave up last
        return outputs


def parse(frame: bytes, config: TwinConfig, ingress: int) -> Parsed:
    """The datagram or fragment when it is ours and sound, as far as can be seen; else where the frame ends."""
    if len(frame) < 14:
        return SHORT
    punts = not config.ports[ingress].has_host_stack
    at = 12
    for _ in range(2):
        if u16(frame, at) in VLAN_TYPES:
            at += 4
            if len(frame) < at + 2:
                return SHORT
    ethertype = u16(frame, at)
    if ethertype == 0x0800:
        return parse_ipv4(frame, at + 2, config, ingress)
    if ethertype == 0x86DD:
        return parse_ipv6(frame, at + 2, config, ingress)
    return (
        PUNTED if ethertype in (0x0806, 0x8035) and punts else PASSED
    )  # a third tag passes here, as any other type does


def parse_ipv4(frame: bytes, ip_at: int, config: TwinConfig, ingress: int) -> Parsed:
    """RFC 791, the steps of docs/packets.md by their numbers."""
    left = len(frame) - ip_at
    if left < 20:  # 1
        return SHORT
    if frame[ip_at] >> 4 != 4:
        return PASSED
    destination = number(frame, ip_at + 16, 4)
    ours = is_own(config, 4, destination)
    protocol = frame[ip_at + 9]
    if protocol != UDP:  # 2
        return PUNTED if protocol == ICMP and ours and not config.ports[ingress].has_host_stack else PASSED
    if not ours:  # 3
        return PASSED
    header = 4 * (frame[ip_at] & 0x0F)
    total = u16(frame, ip_at + 2)
    if header < 20 or header > left or total < header or total > left:  # 4
        return SHORT
    udp_at, payload = ip_at + header, total - header
    offset, more = u16(frame, ip_at + 6) & 0x1FFF, bool(u16(frame, ip_at + 6) & 0x2000)
    source, ident, ttl = number(frame, ip_at + 12, 4), u16(frame, ip_at + 4), frame[ip_at + 8]
    is_right = ones_complement_sum(frame[ip_at:udp_at]) == 0xFFFF
    if offset != 0:  # 5
        if not is_right:
            return BAD_CHECKSUM
        if ttl <= 1:
            return TTL_EXPIRED
        return Fragment(frame, ingress, 4, source, destination, ident, ip_at, total, is_first=False)
    if payload < UDP_HEADER_LENGTH:  # 6
        return SHORT
    port = u16(frame, udp_at + 2)
    if not is_listened(config, port):  # 7
        if more:
            closed = Fragment(frame, ingress, 4, source, destination, ident, ip_at, total, is_first=True)
            return closed if is_right else PASSED
        return PUNTED if config.ports[ingress].punts_closed else PASSED
    if not is_right:  # 8
        return BAD_CHECKSUM
    if not UDP_HEADER_LENGTH <= u16(frame, udp_at + 4) <= (0xFFFF if more else payload):  # 9
        return SHORT
    if ttl <= 1:  # 10
        return TTL_EXPIRED
    fragment = ident if more else None
    return Datagram(frame, ingress, 4, source, destination, port, ip_at, udp_at, total, fragment)


def parse_ipv6(frame: bytes, ip_at: int, config: TwinConfig, ingress: int) -> Parsed:
    """RFC 8200, the steps of docs/packets.md by their numbers."""
    left = len(frame) - ip_at
    if left < 40:  # 1
        return SHORT
    if frame[ip_at] >> 4 != 6:
        return PASSED
    destination = number(frame, ip_at + 24, 16)
    if not is_own(config, 6, destination):  # 2
        is_for_all = destination >> 120 == 0xFF and frame[ip_at + 6] == ICMPV6
        return PUNTED if is_for_all and not config.ports[ingress].has_host_stack else PASSED
    length = 40 + u16(frame, ip_at + 4)
    if length > left:  # 3
        return SHORT
    walked = walk_extension_headers(frame, ip_at, ip_at + length)  # 4
    if isinstance(walked, str):
        return walked
    last, udp_at, fragment, later = walked
    if last != UDP:  # 5
        return PUNTED if last == ICMPV6 and not config.ports[ingress].has_host_stack else PASSED
    payload = ip_at + length - udp_at
    source, ttl = number(frame, ip_at + 8, 16), frame[ip_at + 7]
    if later:  # 6
        assert fragment is not None
        if ttl <= 1:
            return TTL_EXPIRED
        return Fragment(frame, ingress, 6, source, destination, fragment, ip_at, length, is_first=False)
    if payload < UDP_HEADER_LENGTH:  # 7
        return SHORT
    port = u16(frame, udp_at + 2)
    if not is_listened(config, port):  # 8
        if fragment is not None:
            return Fragment(frame, ingress, 6, source, destination, fragment, ip_at, length, is_first=True)
        return PUNTED if config.ports[ingress].punts_closed else PASSED
    if not UDP_HEADER_LENGTH <= u16(frame, udp_at + 4) <= (payload if fragment is None else 0xFFFF):  # 9
        return SHORT
    if u16(frame, udp_at + 6) == 0:  # 10
        return BAD_CHECKSUM
    if ttl <= 1:  # 11
        return TTL_EXPIRED
    return Datagram(frame, ingress, 6, source, destination, port, ip_at, udp_at, length, fragment)


def walk_extension_headers(frame: bytes, ip_at: int, end: int) -> tuple[int, int, int | None, bool] | str:
    """The last next-header value, where what it names begins, a fragment's identification, and is it a later one?"""
    header, at = frame[ip_at + 6], ip_at + 40
    while header in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS):
        if at + 8 > end:  # none of them is shorter
            return SHORT
        size = 8 if header == FRAGMENT else 8 + 8 * frame[at + 1]
        if at + size > end:
            return SHORT
        if header == ROUTING and frame[at + 3] != 0:
            return PASSED
        if header == FRAGMENT:
            offset, more = u16(frame, at + 2) >> 3, bool(u16(frame, at + 2) & 1)
            if offset or more:
                return frame[at], at + size, number(frame, at + 4, 4), offset != 0
        header, at = frame[at], at + size
    return header, at, None, False


def is_own(config: TwinConfig, family: int, address: int) -> bool:
    """Whether an address is one of gfwd's own."""
    return isinstance(config.own, str) or any(within(own, family, address) for own in config.own)


def is_listened(config: TwinConfig, port: int) -> bool:
    """Whether gfwd listens on a port."""
    return isinstance(config.listen, str) or port in config.listen


def within(prefix: Prefix, family: int, address: int) -> bool:
    """Whether an address stands under a prefix."""
    its_family, network, length = prefix
    shift = BITS[its_family] - length
    return its_family == family and address >> shift == network >> shift


def is_from_us(config: TwinConfig, datagram: Datagram) -> bool:
    """Whether the source is one of gfwd's own addresses, each of which is a prefix of full length."""
    source = (datagram.family, datagram.source, BITS[datagram.family])
    return not isinstance(config.own, str) and source in config.own


def is_denied(config: TwinConfig, datagram: Datagram) -> bool:
    """Whether its exporter may not send."""

    def among(prefixes: Sequence[Prefix]) -> bool:
        return any(within(prefix, datagram.family, datagram.source) for prefix in prefixes)

    return among(config.deny) or (len(config.allow) > 0 and not among(config.allow))


def limit_of(config: TwinConfig, datagram: Datagram) -> int | None:
    """How many a second its exporter may send: the longest prefix that holds its address says."""
    longest, found = -1, config.limit
    for prefix, limit in config.limits:
        if prefix[2] > longest and within(prefix, datagram.family, datagram.source):
            longest, found = prefix[2], limit
    return found


def applying(rules: Iterable[TwinRule], datagram: Datagram) -> tuple[TwinRule, ...]:
    """The rules that apply, best first."""
    matching = [rule for rule in rules if matches(rule, datagram)]
    always = [rule for rule in matching if rule.applies_always]
    best = match([rule for rule in matching if not rule.applies_always], datagram)
    if best is not None and (best.priority is not None or not always):
        always.append(best)
    return tuple(sorted(always, key=lambda rule: (rule.priority or "default", -rule.order)))


def match(rules: Iterable[TwinRule], datagram: Datagram) -> TwinRule | None:
    """The best of all the rules that match: A before Z before default, then the one written later."""
    best: TwinRule | None = None
    for rule in rules:
        if matches(rule, datagram) and (best is None or wins(rule, best)):
            best = rule
    return best


def matches(rule: TwinRule, datagram: Datagram) -> bool:
    """Whether a rule speaks of this source and destination port."""
    if rule.source is not None and not within(rule.source, datagram.family, datagram.source):
        return False
    if not any(low <= datagram.port <= high for low, high in rule.ports):
        return False
    return not any(within(hole, datagram.family, datagram.source) for hole in rule.excepted)


def wins(rule: TwinRule, other: TwinRule) -> bool:
    """Whether, of two rules that match, the first is used."""
    mine, its = rule.priority or "default", other.priority or "default"  # "default" sorts after every capital letter
    return mine < its or (mine == its and rule.order > other.order)


def each_once(receivers: Iterable[Receiver]) -> list[Receiver]:
    """The receivers in their order, without those that were named before."""
    once: dict[int | str, Receiver] = {}
    for receiver in receivers:
        once.setdefault(receiver.name if isinstance(receiver, TwinGroup) else receiver.collector, receiver)
    return list(once.values())


def each_collector_once(targets: Iterable[TwinTarget]) -> list[TwinTarget]:
    """The targets in their order, without those whose collector came before."""
    once: dict[int, TwinTarget] = {}
    for target in targets:
        once.setdefault(target.collector, target)
    return list(once.values())


def receivers_of(rules: Iterable[TwinRule]) -> list[Receiver]:
    """Who is to get copies by these rules."""
    return list(each_once(receiver for rule in rules for receiver in rule.targets))


def who_may_get(receiver: Receiver) -> list[TwinTarget]:
    """Those that a copy for this receiver may go to."""
    if isinstance(receiver, TwinTarget):
        return [stand_in(receiver) or receiver]
    members = [member for member in receiver.members if stand_in(member)] or list(receiver.members)
    return [stand_in(member) or member for member in members]


def may_write_ttl(receiver: Receiver) -> bool:
    """Whether a copy for this receiver may be one that gets a TTL of its own."""
    return any(target.ttl is not None for target in who_may_get(receiver))


def stand_in(target: TwinTarget) -> TwinTarget | None:
    """Who gets a collector's copies: it, or the first of its backups that is not down; None: nobody."""
    return next((one for one in (target, *target.backups) if not one.is_down), None)


def has_template(payload: bytes) -> bool:
    """Whether NetFlow v9 (RFC 3954) or IPFIX (RFC 7011) has a template set in it, among the sets that can be walked."""
    if len(payload) < 4 or u16(payload, 0) not in (9, 10):
        return False
    at, ids = 20, (0, 1)
    if u16(payload, 0) == 10:
        at, ids = 16, (2, 3)
        payload = payload[: u16(payload, 2)]  # an IPFIX message says how long it is
    while len(payload) - at >= 4:
        length = u16(payload, at + 2)
        if not 4 <= length <= len(payload) - at:
            return False
        if u16(payload, at) in ids:
            return True
        at += length
    return False


def rewrite(datagram: Datagram | Fragment, target: TwinTarget, hop: _Hop, mac: bytes, config: TwinConfig) -> bytes:
    """The frame as it leaves for a collector whose address is known."""
    frame, ip_at = datagram.frame, datagram.ip_at
    packet = bytearray(frame[ip_at:])
    before = bytes(packet)
    ttl_at, size, addresses = (8, 4, slice(12, 20)) if datagram.family == 4 else (7, 16, slice(8, 40))
    packet[ttl_at] = datagram.ttl - 1 if target.ttl is None else target.ttl
    source = datagram.source if hop.source is None else hop.source
    packet[addresses] = source.to_bytes(size, "big") + hop.address.to_bytes(size, "big")
    if datagram.family == 4:
        put_u16(packet, 10, ipv4_header_checksum(bytes(packet[: 4 * (packet[0] & 15)])))
    if isinstance(datagram, Datagram):  # a later fragment has no UDP header
        rewrite_udp(packet, before, datagram.udp_at - ip_at, addresses, target)
    egress = config.ports[target.egress]
    return ethernet(datagram, target, mac, egress, u16(frame, ip_at - 2)) + bytes(packet)


def rewrite_udp(packet: bytearray, before: bytes, udp: int, addresses: slice, target: TwinTarget) -> None:
    """The ports, and the checksum: over the addresses, the ports, and what stays the same, be it in other fragments."""
    if target.source_port is not None:
        put_u16(packet, udp, target.source_port)
    if target.port is not None:
        put_u16(packet, udp + 2, target.port)
    old = u16(before, udp + 6)
    if old != 0:  # only IPv4 comes here with 0: the exporter computed none
        # The words under the checksum that can have changed. Hop limit and TTL are in no pseudo-header.
        ports = slice(udp, udp + 4)
        covered = before[addresses] + before[ports], bytes(packet[addresses] + packet[ports])
        put_u16(packet, udp + 6, updated_udp_checksum(old, *covered))


def ethernet(datagram: Datagram | Fragment, target: TwinTarget, mac: bytes, egress: TwinPort, ethertype: int) -> bytes:
    """The Ethernet header of a frame that leaves."""
    if egress.keep_tags or (target.tags is None and target.egress == datagram.ingress):
        tags = datagram.frame[12 : datagram.ip_at - 2]
    else:
        tags = b"".join(put_tag(*tag) for tag in (egress.tags if target.tags is None else target.tags))
    return mac + egress.mac + tags + ethertype.to_bytes(2, "big")


def packet_of(datagram: Datagram | Fragment) -> Packet:
    """The IP packet, without what stands behind it in the frame."""
    its = datagram
    udp_at = its.udp_at - its.ip_at if isinstance(its, Datagram) else None
    return Packet(its.frame[its.ip_at : its.ip_at + its.ip_length], udp_at)


def change_of(datagram: Datagram | Fragment, target: TwinTarget, hop: _Hop) -> Change:
    """How it leaves."""
    return Change(
        family=hop.family,
        source=datagram.source if hop.source is None else hop.source,
        destination=hop.address,
        source_port=target.source_port,
        port=target.port,
        ttl=datagram.ttl - 1 if target.ttl is None else target.ttl,
        is_own=hop.source is not None,
    )


def put_tag(kind: int, tci: int) -> bytes:
    """A VLAN tag as it stands in a frame."""
    return kind.to_bytes(2, "big") + tci.to_bytes(2, "big")
