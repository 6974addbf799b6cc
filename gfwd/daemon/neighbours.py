"""Neighbours: from the next hops that the plan wants to the MACs that the core has.

Each slot has a machine (l2/neighbour.py) that says when to ask and what to tell. Whom to ask depends on the port:
where it has a host stack, the kernel keeps the table, and we ask it and listen to its news; where it has none, we speak
ARP on the wire ourselves, and answer for our own addresses there.
"""

import heapq
import random as system_random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from gfwd.daemon.log import events
from gfwd.daemon.log.event import Event, Say
from gfwd.errors import GfwdError
from gfwd.l2 import arp
from gfwd.l2.errors import FrameError
from gfwd.l2.kernel import (
    Change,
    EntryState,
    InterfaceAddress,
    Kernel,
    LinkChange,
    NeighbourChange,
    Reread,
    sender,
)
from gfwd.l2.neighbour import Action, Ask, Neighbour, State, Tell, Timing
from gfwd.native.core import NeighbourState, Record
from gfwd.rules.model import Address, Family

WIRE_TIMING = Timing()

_STATES = {
    State.PENDING: NeighbourState.PENDING,
    State.READY: NeighbourState.READY,
    State.FAILED: NeighbourState.FAILED,
}
_GROUP_BIT = 0x01  # of a MAC's first byte: it is no single host's (IEEE 802)


class Place(NamedTuple):
    """Where neighbours are looked for: behind an interface (its index), or behind one of the core's ports."""

    kind: Literal["interface", "port"]
    number: int


class Asker(Protocol):
    """Somebody who can be asked for the neighbours of one place."""

    @property
    def place(self) -> Place: ...

    def timing_of(self, address: Address) -> Timing: ...

    def ask(self, address: Address, mac: bytes | None) -> NeighbourChange | None:
        """Ask the one that had this MAC, or everyone (None). Returns what is known of it already, if anything.

        Raises GfwdError where nobody can be asked.
        """


@dataclass(frozen=True, slots=True)
class KernelAsker:
    """The kernel, for an interface by its index. It decides itself whom to ask."""

    kernel: Kernel
    index: int

    @property
    def place(self) -> Place:
        return Place("interface", self.index)

    def timing_of(self, address: Address) -> Timing:
        return self.kernel.timing(address)

    def ask(self, address: Address, mac: bytes | None) -> NeighbourChange | None:
        return self.kernel.ask(self.index, address)


@dataclass(frozen=True, slots=True, kw_only=True)
class WireAsker:
    """ARP on the wire behind a port of the core that has no host stack.

    inject: sends a frame out of a port; False: not now (Worker.inject). mac: the port's. addresses: our own there.
    tags: VLAN tags of what we ask, 0, 4 or 8 bytes.
    """

    inject: Callable[[int, bytes], bool]
    port: int
    mac: bytes
    addresses: Sequence[InterfaceAddress]
    tags: bytes = b""
    timing: Timing = WIRE_TIMING

    @property
    def place(self) -> Place:
        return Place("port", self.port)

    def timing_of(self, address: Address) -> Timing:
        return self.timing

    def ask(self, address: Address, mac: bytes | None) -> NeighbourChange | None:
        """A question that finds no room is lost like one on the wire. ARP knows IPv4 only: IPv6 has FAILED at once."""
        own = sender(self.addresses, address)
        if own is None or address.family != 4:
            return NeighbourChange(self.port, address, None, EntryState.FAILED)
        frame = arp.request(self.mac, own, address, to=mac or arp.BROADCAST, tags=self.tags)
        self.inject(self.port, arp.build(frame))
        return None

    def owns(self, address: Address) -> bool:
        """Whether the address is one of ours."""
        return any(own.address == address for own in self.addresses)

    def answer(self, asked: arp.Arp) -> None:
        """Answer a request for an address of ours, whoever asks."""
        self.inject(self.port, arp.build(arp.reply(asked, self.mac)))


@dataclass(slots=True)
class _Slot:
    """What a slot of the core stands for.

    port: its name in log lines. said: the last MAC that was named in one. is_silent: the last said that it is silent.
    queued: the deadline that is in the heap for it.
    """

    machine: Neighbour
    address: Address
    asker: Asker
    port: str
    said: bytes | None = None
    is_silent: bool = False
    queued: float | None = None

    def __str__(self) -> str:
        return f"neighbour {self.address} on {self.port}"


class Neighbours:
    """The machines of all slots. `now` is the same clock everywhere, in seconds.

    set_neighbour: the core's door (Core.set_neighbour). say: takes events for the log. random: see Neighbour.
    """

    def __init__(
        self,
        set_neighbour: Callable[[int, bytes | None, NeighbourState], None],
        say: Say,
        random: Callable[[], float] = system_random.random,
    ) -> None:
        self._set_neighbour = set_neighbour
        self._say = say
        self._wires: dict[int, WireAsker] = {}
        self._random = random
        self._slots: dict[int, _Slot] = {}
        self._numbers: dict[tuple[Place, Address], int] = {}
        self._due: list[tuple[float, int]] = []  # heap of deadlines; those that have moved on are still in it
        self._troubles: dict[tuple[Place, Family], str] = {}  # why nobody can be asked there

    def follow_wires(self, wires: Iterable[WireAsker]) -> None:
        """The ports without a host stack, with the addresses that we have there now."""
        self._wires = {wire.port: wire for wire in wires}

    # ---- what is wanted ----

    def want(self, slot: int, port: str, address: Address, asker: Asker, now: float) -> None:
        """The slot stands for this neighbour, and no other slot does. Where it does already, nothing changes."""
        current = self._slots.get(slot)
        if current is not None and (current.address, current.asker.place) == (address, asker.place):
            current.asker, current.port = asker, port
            return
        self.forget(slot)
        self._slots[slot] = new = _Slot(Neighbour(asker.timing_of(address), self._random), address, asker, port)
        self._numbers[asker.place, address] = slot
        self._do(slot, new, new.machine.wanted(now), now)

    def fix(self, slot: int, mac: bytes) -> None:
        """The slot's neighbour has this MAC for good, by configuration."""
        self.forget(slot)
        self._set_neighbour(slot, mac, NeighbourState.READY)

    def forget(self, slot: int) -> None:
        """Nobody wants the slot's neighbour any more. The core keeps what it knows until the slot is wanted again."""
        old = self._slots.pop(slot, None)
        # The neighbour may have another slot by now.
        if old is not None and self._numbers.get((old.asker.place, old.address)) == slot:
            del self._numbers[old.asker.place, old.address]

    # ---- what happens ----

    def deadline(self) -> float | None:
        """When `advance` wants to be called next; None: not before something else happens."""
        while self._due:
            deadline, slot = self._due[0]
            if slot in self._slots and self._slots[slot].machine.deadline == deadline:
                return deadline
            heapq.heappop(self._due)
        return None

    def advance(self, now: float) -> None:
        """Do what is due by now."""
        while (deadline := self.deadline()) is not None and deadline <= now:
            slot = heapq.heappop(self._due)[1]
            its = self._slots[slot]
            its.queued = None
            self._do(slot, its, its.machine.advance(now), now)

    def kernel_changed(self, change: Change, now: float) -> None:
        """News from the kernel."""
        if isinstance(change, NeighbourChange):
            slot = self._numbers.get((Place("interface", change.index), change.address))
            if slot is not None:
                self._entry(slot, change, now)
        elif isinstance(change, LinkChange):
            if change.link.is_up and change.link.has_carrier:
                self._link_came_up(change.link.index, now)
        elif isinstance(change, Reread):
            self._reread(change, now)

    def punted(self, record: Record, now: float) -> None:
        """A frame from the core. What is no ARP for us is let be."""
        wire = self._wires.get(record.port)
        if wire is None:
            return
        try:
            frame = arp.parse(record.frame)
        except FrameError:
            return
        if frame.sender_mac == wire.mac or frame.sender_mac[0] & _GROUP_BIT or not any(frame.sender_mac):
            return
        self._heard(wire, frame, now)
        if frame.operation == arp.REQUEST and wire.owns(frame.target):
            wire.answer(frame)

    # ---- what follows ----

    def _heard(self, wire: WireAsker, frame: arp.Arp, now: float) -> None:
        slot = self._numbers.get((wire.place, frame.sender))
        if slot is None:
            return
        its = self._slots[slot]
        is_to_us = frame.operation == arp.REPLY and frame.destination == wire.mac and wire.owns(frame.target)
        if is_to_us and its.machine.takes_answer(frame.sender_mac):
            self._do(slot, its, its.machine.answered(frame.sender_mac, now), now)
        else:
            self._do(slot, its, its.machine.heard(frame.sender_mac, now), now)

    def _entry(self, slot: int, entry: NeighbourChange, now: float) -> None:
        """An entry of the kernel's: its word on a new MAC is taken, and what is not confirmed is asked for."""
        its = self._slots[slot]
        machine = its.machine
        is_new = entry.mac is not None and entry.mac != machine.mac
        if entry.state is EntryState.FAILED:
            self._do(slot, its, machine.silent(now), now)
        elif entry.state is EntryState.DELETED:
            self._do(slot, its, machine.lost(now), now)
        elif entry.mac is not None and (is_new or entry.state in (EntryState.CONFIRMED, EntryState.FIXED)):
            is_fixed = entry.state is EntryState.FIXED
            self._do(slot, its, machine.answered(entry.mac, now, is_fixed=is_fixed), now)
        if entry.state in (EntryState.ASKED, EntryState.STALE) or (is_new and entry.state is EntryState.PROBED):
            self._do(slot, its, machine.doubted(now), now)

    def _link_came_up(self, index: int, now: float) -> None:
        place = Place("interface", index)
        for slot, its in self._slots.items():
            if its.asker.place == place:
                self._do(slot, its, its.machine.wanted(now), now)

    def _reread(self, tables: Reread, now: float) -> None:
        entries = {(entry.index, entry.address): entry for entry in tables.neighbours}
        for slot, its in self._slots.items():
            kind, index = its.asker.place
            if kind == "interface":
                none = NeighbourChange(index, its.address, None, EntryState.DELETED)
                self._entry(slot, entries.get((index, its.address), none), now)

    def _do(self, slot: int, its: _Slot, actions: Iterable[Action], now: float) -> None:
        for action in actions:
            if isinstance(action, Tell):
                self._tell(slot, its, action)
            else:
                self._ask(slot, its, action, now)
        deadline = its.machine.deadline
        if deadline is not None and deadline != its.queued:
            heapq.heappush(self._due, (deadline, slot))
        its.queued = deadline

    def _ask(self, slot: int, its: _Slot, question: Ask, now: float) -> None:
        at = its.asker.place, its.address.family
        try:
            known = its.asker.ask(its.address, question.mac)
        except GfwdError as error:
            # It counts as a question without an answer, and the next one may find a way again.
            if str(error) not in self._troubles.values():
                self._say(events.NEIGHBOUR_NOT_ASKED(str(error), neighbour=str(its.address), port=its.port))
            self._troubles[at] = str(error)
            return
        self._troubles.pop(at, None)
        if known is None:
            return
        # What was known before is an answer only where we know nothing, or where nobody need be asked.
        is_first = its.machine.mac is None and known.mac is not None
        if is_first or known.state in (EntryState.FIXED, EntryState.FAILED):
            self._entry(slot, known, now)

    def _tell(self, slot: int, its: _Slot, news: Tell) -> None:
        self._set_neighbour(slot, news.mac, _STATES[news.state])
        if news.state is State.FAILED and not its.is_silent:
            its.is_silent = True
            self._say(events.NEIGHBOUR_FAILED(f"{its} does not answer", neighbour=str(its.address), port=its.port))
        elif news.mac is not None and (its.is_silent or news.mac != its.said):
            self._say(_found(its, news.mac))
            its.is_silent, its.said = False, news.mac


def _found(its: _Slot, mac: bytes) -> Event:
    now, address = mac.hex(":"), str(its.address)
    if its.said is None or its.said == mac:
        return events.NEIGHBOUR_READY(f"{its} is {now}", neighbour=address, port=its.port, mac=now)
    before = its.said.hex(":")
    return events.NEIGHBOUR_MOVED(
        f"{its} has moved from {before} to {now}", neighbour=address, port=its.port, mac=now, mac_before=before
    )
