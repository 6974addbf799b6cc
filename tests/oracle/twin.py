"""The packet core's deliberately simple twin: docs/packets.md, step by step, in plain Python.

It shares nothing with the code under test. Rules are scanned one after the other, IPv4 header checksums are computed
over the whole header, UDP checksums by arithmetic modulo 65535. Where the core is quick, the twin is obvious; they
must agree on every byte, every verdict and every counter.

Functions stand in the order in which a frame meets them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Prefix = tuple[int, int, int]
"""Family (4 or 6), the network's address as a number, prefix length in bits."""

FORWARDED, PASSED, PUNTED, PENDING, SENT = "forwarded", "passed", "punted", "pending", "sent"
SHORT, BAD_CHECKSUM, TTL_EXPIRED, FRAGMENT_LOST = "short", "bad_checksum", "ttl_expired", "fragment_lost"
NO_RULE, FAMILY_MISMATCH, NO_COLLECTOR, TOO_BIG = "no_rule", "family_mismatch", "no_collector", "too_big"
NEIGHBOUR_FAILED, NEIGHBOUR_PENDING_FULL = "neighbour_failed", "neighbour_pending_full"

VLAN_TYPES = (0x8100, 0x88A8, 0x9100)
ICMP, UDP, ICMPV6 = 1, 17, 58
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
UDP_PORTS_LENGTH, UDP_HEADER_LENGTH = 4, 8
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

    @property
    def next_hop(self) -> tuple[str, int]:
        """The key under which copies for this target wait."""
        return ("collector", self.collector) if self.neighbour is None else ("neighbour", self.neighbour)


@dataclass(frozen=True)
class TwinRule:
    """(source, destination port) → targets. No source: every address of both families."""

    source: Prefix | None
    ports: Sequence[tuple[int, int]]  # both ends belong to the range
    targets: Sequence[TwinTarget]
    priority: str | None  # "A" … "Z"; None: a default, used when no other rule matches
    order: int  # the line's place in the file: of equals, the later wins


@dataclass(frozen=True)
class TwinPort:
    """A place where frames come in or go out."""

    mac: bytes
    keep_tags: bool = False
    tags: Sequence[tuple[int, int]] = ()  # (type, TCI), outermost first
    mtu: int = 0  # of the IP packet; 0: no limit
    buffer: int = 0  # the longest frame that fits; 0: no limit
    has_host_stack: bool = True
    out_only: bool = False  # nothing that comes in here is ours


@dataclass(frozen=True)
class TwinConfig:
    """What is gfwd's own, and its ports."""

    own: Sequence[Prefix] | Literal["all"]
    listen: frozenset[int] | Literal["all"]
    ports: Sequence[TwinPort]


@dataclass(frozen=True)
class Datagram:
    """A frame that is ours and sound. Places are byte offsets into the frame."""

    frame: bytes
    ingress: int
    family: int
    source: int
    destination: int
    port: int
    ip_at: int  # two bytes before it stands the EtherType; 12 bytes into the frame, the tags begin
    udp_at: int
    ip_length: int


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
    datagram: Datagram | None = None  # where it is ours and sound
    rule: TwinRule | None = None  # that it met


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


@dataclass(frozen=True)
class _Waiting:
    datagram: Datagram
    target: TwinTarget
    flight: _Flight


class Twin:
    """The core with one worker, ports that always have room, and a clock that stands still."""

    def __init__(self, rules: Sequence[TwinRule], config: TwinConfig, pending_limit: int = 1024) -> None:
        self.rules = rules
        self.config = config
        self.pending_limit = pending_limit  # copies, for each neighbour
        self.ledger = Ledger()
        self._neighbours: dict[tuple[str, int], tuple[str, bytes]] = {}  # what has changed since the start
        self._queues: dict[tuple[str, int], list[_Waiting]] = {}

    def forward(self, frame: bytes, ingress: int = 0) -> Outcome:
        """Do with one frame what docs/packets.md says, and enter it into the ledger."""
        datagram = parse(frame, self.config, ingress)
        if self.config.ports[ingress].out_only and datagram != PUNTED:
            datagram = PASSED
        if isinstance(datagram, str):
            outcome = Outcome(datagram)
        else:
            rule = match(self.rules, datagram)
            outcome = Outcome(NO_RULE, datagram=datagram) if rule is None else self._transmit(datagram, rule)
        self.ledger.add(outcome)
        return outcome

    def set_neighbour(self, next_hop: tuple[str, int], state: str, mac: bytes = bytes(6)) -> list[Output]:
        """A neighbour's state has changed: what waits for it is sent, or given up, in the order of arrival."""
        self._neighbours[next_hop] = (state, mac)
        if state == PENDING:
            return []
        return [out for waiting in self._queues.pop(next_hop, []) for out in self._settle(waiting, state, mac)]

    def _transmit(self, datagram: Datagram, rule: TwinRule) -> Outcome:
        flight = _Flight(sent=0, waiting=0)
        outputs: list[Output] = []
        copies: list[Copy] = []
        for target in each_collector_once(rule.targets):
            place = self._admit(datagram, target, flight)
            if place == SENT:
                place = self._send(datagram, target, self._neighbour(target)[1], outputs)
            flight.sent += place == SENT
            flight.waiting += place == PENDING
            copies.append(Copy(target.collector, place))
        if flight.sent:
            place = FORWARDED
        elif flight.waiting:
            place = PENDING
        else:
            place = copies[0].place
        return Outcome(place, tuple(outputs), tuple(copies), datagram, rule)

    def _admit(self, datagram: Datagram, target: TwinTarget, flight: _Flight) -> str:
        """Transmit's steps 1 to 4: "sent" when nothing stands in the copy's way."""
        if target.address is None:
            return NO_COLLECTOR
        if target.family != datagram.family:
            return FAMILY_MISMATCH
        mtu = self.config.ports[target.egress].mtu
        if mtu and datagram.ip_length > mtu:
            return TOO_BIG
        state = self._neighbour(target)[0]
        if state == "failed":
            return NEIGHBOUR_FAILED
        if state == "ready":
            return SENT
        queue = self._queues.setdefault(target.next_hop, [])
        if len(queue) >= self.pending_limit:
            return NEIGHBOUR_PENDING_FULL
        queue.append(_Waiting(datagram, target, flight))
        return PENDING

    def _send(self, datagram: Datagram, target: TwinTarget, mac: bytes, outputs: list[Output]) -> str:
        """Transmit's step 5: the frame must fit as it came in, and as it leaves. The ports here always have room."""
        frame = rewrite(datagram, target, mac, self.config)
        buffer = self.config.ports[target.egress].buffer
        if buffer and max(len(datagram.frame), len(frame)) > buffer:
            return TOO_BIG
        outputs.append(Output(target.egress, frame))
        self.ledger.sent_bytes[target.collector] += len(datagram.frame)
        return SENT

    def _neighbour(self, target: TwinTarget) -> tuple[str, bytes]:
        return self._neighbours.get(target.next_hop, (target.state, target.mac))

    def _settle(self, waiting: _Waiting, state: str, mac: bytes) -> list[Output]:
        outputs: list[Output] = []
        place = NEIGHBOUR_FAILED
        if state == "ready":
            place = self._send(waiting.datagram, waiting.target, mac, outputs)
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


def parse(frame: bytes, config: TwinConfig, ingress: int) -> Datagram | str:
    """The datagram when it is ours and sound; else the place where the frame ends."""
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
    return PUNTED if ethertype == 0x0806 and punts else PASSED  # a third tag passes here, as any other type does


def parse_ipv4(frame: bytes, ip_at: int, config: TwinConfig, ingress: int) -> Datagram | str:
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
    fragment = offset != 0 or more  # 5
    if not fragment and payload < UDP_HEADER_LENGTH:  # 6
        return SHORT
    has_port = offset == 0 and payload >= UDP_PORTS_LENGTH
    if has_port and not is_listened(config, u16(frame, udp_at + 2)):  # 7
        return PASSED
    if ones_complement_sum(frame[ip_at:udp_at]) != 0xFFFF:  # 8
        return BAD_CHECKSUM
    if fragment:  # 9
        return FRAGMENT_LOST
    if not UDP_HEADER_LENGTH <= u16(frame, udp_at + 4) <= payload:  # 10
        return SHORT
    if frame[ip_at + 8] <= 1:  # 11
        return TTL_EXPIRED
    source = number(frame, ip_at + 12, 4)
    return Datagram(frame, ingress, 4, source, destination, u16(frame, udp_at + 2), ip_at, udp_at, total)


def parse_ipv6(frame: bytes, ip_at: int, config: TwinConfig, ingress: int) -> Datagram | str:
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
    if not fragment and payload < UDP_HEADER_LENGTH:  # 6
        return SHORT
    has_port = not later and payload >= UDP_PORTS_LENGTH
    if has_port and not is_listened(config, u16(frame, udp_at + 2)):  # 7
        return PASSED
    if fragment:  # 8
        return FRAGMENT_LOST
    if not UDP_HEADER_LENGTH <= u16(frame, udp_at + 4) <= payload:  # 9
        return SHORT
    if u16(frame, udp_at + 6) == 0:  # 10
        return BAD_CHECKSUM
    if frame[ip_at + 7] <= 1:  # 11
        return TTL_EXPIRED
    source = number(frame, ip_at + 8, 16)
    return Datagram(frame, ingress, 6, source, destination, u16(frame, udp_at + 2), ip_at, udp_at, length)


def walk_extension_headers(frame: bytes, ip_at: int, end: int) -> tuple[int, int, bool, bool] | str:
    """The last next-header value, where what it names begins, whether this is a fragment, and whether a later one."""
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
                return frame[at], at + size, True, offset != 0
        header, at = frame[at], at + size
    return header, at, False, False


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
    return any(low <= datagram.port <= high for low, high in rule.ports)


def wins(rule: TwinRule, other: TwinRule) -> bool:
    """Whether, of two rules that match, the first is used."""
    mine, its = rule.priority or "default", other.priority or "default"  # "default" sorts after every capital letter
    return mine < its or (mine == its and rule.order > other.order)


def each_collector_once(targets: Iterable[TwinTarget]) -> list[TwinTarget]:
    """The targets in their order, without those whose collector was named before."""
    once: dict[int, TwinTarget] = {}
    for target in targets:
        once.setdefault(target.collector, target)
    return list(once.values())


def rewrite(datagram: Datagram, target: TwinTarget, mac: bytes, config: TwinConfig) -> bytes:
    """The frame as it leaves for a collector whose address is known."""
    assert target.address is not None
    frame, ip_at, udp_at = datagram.frame, datagram.ip_at, datagram.udp_at
    packet = bytearray(frame[ip_at:])
    udp = udp_at - ip_at
    before = bytes(packet)
    if datagram.family == 4:
        packet[8] -= 1
        packet[16:20] = target.address.to_bytes(4, "big")
        put_u16(packet, 10, ipv4_header_checksum(bytes(packet[:udp])))
        address = slice(16, 20)
    else:
        packet[7] -= 1
        packet[24:40] = target.address.to_bytes(16, "big")
        address = slice(24, 40)
    if target.port is not None:
        put_u16(packet, udp + 2, target.port)
    old = u16(before, udp + 6)
    if old != 0:  # only IPv4 comes here with 0: the exporter computed none
        # The words under the checksum that can have changed. Hop limit and TTL are in no pseudo-header.
        covered = before[address] + before[udp + 2 : udp + 4], bytes(packet[address] + packet[udp + 2 : udp + 4])
        put_u16(packet, udp + 6, updated_udp_checksum(old, *covered))
    egress = config.ports[target.egress]
    keeps = target.egress == datagram.ingress or egress.keep_tags
    tags = frame[12 : ip_at - 2] if keeps else b"".join(put_tag(*tag) for tag in egress.tags)
    return mac + egress.mac + tags + frame[ip_at - 2 : ip_at] + bytes(packet)


def ipv4_header_checksum(header: bytes) -> int:
    """RFC 791: the complement of the one's complement sum of the header, its checksum field taken as zero.

    The core updates the field by RFC 1624's equation 3 instead, HC' = ~(~HC + ~m + m'), and must come to the same
    number: parse let only correct headers through, so ~HC and the sum of the other words are equal modulo 65535, and
    so are ~HC' and the sum of the new words. Both ~HC' and that sum are folded from something that is not 0 (each
    holds the word with the protocol, 17, in it), so both lie in 1 … 0xffff, where no two numbers are equal modulo
    65535. Hence neither ever gives 0xffff as checksum, not even where the incoming one was 0xffff, the other spelling
    of 0.
    """
    return 0xFFFF - ones_complement_sum(header[:10] + bytes(2) + header[12:])


def updated_udp_checksum(old: int, before: bytes, after: bytes) -> int:
    """The checksum (not 0) after the words `before` under it became `after`.

    One's complement addition of 16-bit words is addition modulo 65535, where 0x0000 and 0xffff are two spellings of
    one number, and complement is negation. So RFC 1624's equation 3, HC' = ~(~HC + ~m + m'), says HC' ≡ HC + m - m',
    whichever words are left in or out of the sum because they stayed the same; and as UDP reserves the spelling 0 for
    "none" (RFC 768), the result is the one such number in 1 … 0xffff. The core's folding ends at 0 or 0xffff in the
    last case, according to how many words it summed; it sends 0 as 0xffff, so it comes to the same spelling.

    A correct checksum is -(sum of all words), spelled in 1 … 0xffff. It becomes -(sum) + m - m', which is minus the
    sum of the new words in the same spelling: correct again, bit for bit what the exporter would have computed. A
    checksum that was wrong by d stays wrong by d.
    """
    return (old - 1 + sum(words(before)) - sum(words(after))) % 65535 + 1


def ones_complement_sum(data: bytes) -> int:
    """The 16-bit words of data, added with the carry brought round (RFC 1071)."""
    total = sum(words(data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def words(data: bytes) -> list[int]:
    """The big-endian 16-bit words of data, whose length is even."""
    return [u16(data, at) for at in range(0, len(data), 2)]


def u16(data: bytes, at: int) -> int:
    """The big-endian 16-bit number at an offset."""
    return data[at] << 8 | data[at + 1]


def number(data: bytes, at: int, size: int) -> int:
    """The big-endian number of some bytes at an offset."""
    return int.from_bytes(data[at : at + size], "big")


def put_u16(data: bytearray, at: int, value: int) -> None:
    """Store a big-endian 16-bit number."""
    data[at : at + 2] = value.to_bytes(2, "big")


def put_tag(kind: int, tci: int) -> bytes:
    """A VLAN tag as it stands in a frame."""
    return kind.to_bytes(2, "big") + tci.to_bytes(2, "big")
