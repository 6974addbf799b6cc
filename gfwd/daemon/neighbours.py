"""Neighbours: from the next hops that the plan wants to the MACs that the core has.

Each slot has a machine (l2/neighbour.py) that says when to ask and what to tell. Whom to ask depends on the port:
where it has a host stack, the kernel keeps the table, and we ask it and listen to its news; where it has none, we ask
and listen on the wire ourselves (wire.py).
"""

import heapq
import math
import random as system_random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from gfwd.daemon.log import events
from gfwd.daemon.log.event import Event, Say
from gfwd.daemon.place import Place
from gfwd.daemon.wire import WireAsker
from gfwd.errors import GfwdError
from gfwd.l2.kernel import (
    Change,
    EntryState,
    Kernel,
    LinkChange,
    NeighbourChange,
    Reread,
)
from gfwd.l2.neighbour import Action, Ask, Neighbour, State, Tell, Timing
from gfwd.l2.pace import Turns
from gfwd.l2.statement import Statement
from gfwd.native.core import NeighbourState
from gfwd.rules.model import Address, Family

_STATES = {
    State.PENDING: NeighbourState.PENDING,
    State.READY: NeighbourState.READY,
    State.FAILED: NeighbourState.FAILED,
}
_QUESTIONS_A_SECOND = 200  # of one place, after so many at once …
_QUESTIONS_AT_ONCE = 50
_CONTESTED_S = 60.0  # from one word on a neighbour whose address somebody else claims to the next


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


@dataclass(slots=True)
class _Slot:
    """What a slot of the core stands for.

    port: its name in log lines. said: the last MAC that was named in one. is_silent: the last said that it is silent.
    queued: the deadline that is in the heap for it. claimed: another MAC that somebody has named since its own was
    confirmed. contested: when that was last said.
    """

    machine: Neighbour
    address: Address
    asker: Asker
    port: str
    said: bytes | None = None
    is_silent: bool = False
    queued: float | None = None
    claimed: bytes | None = None
    contested: float = -math.inf

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
        self._random = random
        self._slots: dict[int, _Slot] = {}
        self._numbers: dict[tuple[Place, Address], int] = {}
        self._due: list[tuple[float, int]] = []  # heap of deadlines; those that have moved on are still in it
        self._troubles: dict[tuple[Place, Family], str] = {}  # why nobody can be asked there
        self._turns: dict[Place, Turns] = {}  # so that neighbours that go stale together are not asked for together

    # ---- what is wanted ----

    def want(self, slot: int, port: str, address: Address, asker: Asker, now: float) -> None:
        """The slot stands for this neighbour, and no other slot does. Where it does already, nothing changes."""
        current = self._slots.get(slot)
        if current is not None and (current.address, current.asker.place) == (address, asker.place):
            current.asker, current.port = asker, port
            return
        self.forget(slot)
        turns = self._turns.setdefault(asker.place, Turns(_QUESTIONS_A_SECOND, _QUESTIONS_AT_ONCE))
        machine = Neighbour(asker.timing_of(address), self._random, turns.turn)
        self._slots[slot] = new = _Slot(machine, address, asker, port)
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
                self._came_up("interface", change.link.index, now)
        elif isinstance(change, Reread):
            self._reread(change, now)

    def port_came_up(self, number: int, now: float) -> None:
        """There is a link again, and on the wire behind that port nobody else asks."""
        self._came_up("port", number, now)

    def heard(self, wire: WireAsker, said: Statement, now: float) -> None:
        """On a wire without a host stack, somebody says where an address is."""
        slot = self._numbers.get((wire.place, said.address))
        if slot is None:
            return
        its = self._slots[slot]
        machine = its.machine
        mac = said.mac or (said.source if machine.state is State.PROBE else None)  # an answer to one may leave it out
        if mac is None or mac == wire.mac:
            return
        is_to_us = said.asked_by in wire.own() and said.destination == wire.mac
        if is_to_us and machine.takes_answer(mac, now):
            if its.claimed not in (None, mac):
                self._say_contested(its, mac, now)
            its.claimed = None
            self._do(slot, its, machine.answered(mac, now), now)
        else:
            its.claimed = mac if machine.mac not in (None, mac) else its.claimed
            self._do(slot, its, machine.heard(mac, now), now)

    # ---- what follows ----

    def _say_contested(self, its: _Slot, mac: bytes, now: float) -> None:
        """Somebody has claimed it, and the one that we knew is still there."""
        if its.claimed is None or mac != its.said or now - its.contested < _CONTESTED_S:
            return
        its.contested = now
        ours, other = mac.hex(":"), its.claimed.hex(":")
        self._say(
            events.NEIGHBOUR_CONTESTED(
                f"{its}: warning: {other} says that it has this address, too; {ours} still answers, and is kept",
                neighbour=str(its.address),
                port=its.port,
                mac=ours,
                mac_claimed=other,
            )
        )

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

    def _came_up(self, kind: str, number: int, now: float) -> None:
        for slot, its in self._slots.items():
            if its.asker.place[:2] == (kind, number):
                self._do(slot, its, its.machine.wanted(now), now)

    def _reread(self, tables: Reread, now: float) -> None:
        entries = {(entry.index, entry.address): entry for entry in tables.neighbours}
        for slot, its in self._slots.items():
            kind, index, _ = its.asker.place
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
