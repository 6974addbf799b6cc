"""A port of the core without a host stack: there gfwd itself asks for neighbours, and answers for its own addresses.

What it says is made in l2 (answers.py, own.py); here it meets the core, the log and the counters.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from gfwd.daemon.log import events
from gfwd.daemon.log.event import Event, Say
from gfwd.daemon.place import Place, vlan_of
from gfwd.errors import GfwdError
from gfwd.l2 import arp, ethernet, nd
from gfwd.l2 import own as own_addresses
from gfwd.l2.answers import Answers, Kind
from gfwd.l2.hearing import Heard
from gfwd.l2.kernel import EntryState, InterfaceAddress, NeighbourChange, sender
from gfwd.l2.neighbour import Timing
from gfwd.l2.own import Act, OwnAddresses
from gfwd.rules.model import Address

WIRE_TIMING: Final = Timing()

Result = Literal["sent", "limited", "lost"]
"""What became of an answer: too many have been sent of late; there was no room for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireAsker:
    """ARP and neighbour discovery on the wire behind a port.

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
        return Place("port", self.port, vlan_of(self.tags))

    @property
    def link_local(self) -> Address:
        """Our address on this link alone: one that is ours anyway, else what the MAC makes of it."""
        named = (own.address for own in self.addresses if own.address.family == 6 and own.address.is_link_local)
        return next(named, None) or nd.link_local(self.mac)

    def own(self) -> tuple[Address, ...]:
        """All that we answer for."""
        return tuple(dict.fromkeys([*(own.address for own in self.addresses), self.link_local]))

    def timing_of(self, address: Address) -> Timing:
        return self.timing

    def ask(self, address: Address, mac: bytes | None) -> NeighbourChange | None:
        """A question that finds no room is lost like one on the wire.

        With IPv6, the one who asks is always the link-local address: the core punts what is for that, wherever it is.
        """
        if address.family == 6:
            question = nd.solicit(self.mac, self.link_local, address, to=mac, tags=self.tags)
            self.inject(self.port, nd.build(question))
            return None
        own = sender(self.addresses, address)
        if own is None:
            return NeighbourChange(self.port, address, None, EntryState.FAILED)
        frame = arp.request(self.mac, own, address, to=mac or arp.BROADCAST, tags=self.tags)
        self.inject(self.port, arp.build(frame))
        return None


class Wire:
    """One such port, or a VLAN behind one. name: as the operator knows it. counts: of the port's answers. say: takes
    events for the log. random: see Claim.
    """

    def __init__(
        self,
        asker: WireAsker,
        name: str,
        counts: Counter[tuple[Kind, Result]],
        say: Say,
        random: Callable[[], float],
    ) -> None:
        self.asker, self.name, self.counts, self._say = asker, name, counts, say
        self._own = OwnAddresses(random)
        self._answers = Answers(asker.mac, self._own, 0, {})

    def follow(
        self, asker: WireAsker, others: Sequence[bytes], echo: int, rarp: Mapping[bytes, Address], now: float
    ) -> None:
        """How it is from now on. others: MACs of our other ports. echo, rarp: see Answers."""
        self.asker = asker
        self._own.follow(asker.mac, asker.own(), now, tags=asker.tags, others=others)
        self._answers.follow(asker.mac, echo, rarp)

    def deadline(self) -> float | None:
        """When `advance` wants to be called; None: never, as it stands."""
        return self._own.deadline()

    def advance(self, now: float) -> None:
        """Do what is due by now."""
        self._do(self._own.advance(now))

    def is_for(self, frame: bytes) -> bool:
        """Whether a frame is for us, or for many; a card may take those for others, too."""
        destination = frame[:6]
        return destination == self.asker.mac or not ethernet.is_single(destination)

    def heard(self, heard: Heard, now: float, *, is_there: bool) -> None:
        """Answer it, where there is an answer, and defend what is ours. is_there: it is not from another VLAN, where
        others may have the same addresses.
        """
        if is_there and isinstance(heard, arp.Arp | nd.Neighbour):
            said = heard.statement()
            if said is not None:
                self._do(self._own.heard(said, now))
        answer = self._answers.to(heard, now)
        if answer is None:
            return
        if answer.frame is None:
            self.counts[answer.kind, "limited"] += 1
        else:
            self.send(answer.kind, answer.frame)

    def send(self, kind: Kind, frame: bytes) -> None:
        """A frame leaves, and is counted."""
        self.counts[kind, "sent" if self._send(frame) else "lost"] += 1

    def _send(self, frame: bytes) -> bool:
        try:
            return self.asker.inject(self.asker.port, frame)
        except GfwdError:  # it is longer than what can leave, or there is no way into the VLAN, as neighbours say
            return False

    def _do(self, acts: Sequence[Act]) -> None:
        for act in acts:
            if isinstance(act, own_addresses.Send):
                self._send(act.frame)
            else:
                self._say(self._event(act))

    def _event(self, act: own_addresses.Say) -> Event:
        address, mac = str(act.address), "" if act.mac is None else act.mac.hex(":")
        where = f"{self.name}: {address}"
        if act.word == "taken":
            text = (
                f"{where}: error: {mac} has this address of gfwd's; gfwd does not answer for it there until it is free"
            )
            return events.ADDRESS_TAKEN(text, port=self.name, address=address, mac=mac)
        if act.word == "claimed":
            text = f"{where}: warning: {mac} says that it has this address of gfwd's; gfwd says so, too"
            return events.ADDRESS_CLAIMED(text, port=self.name, address=address, mac=mac)
        return events.ADDRESS_FREE(
            f"{where}: nobody else has this address any more; gfwd answers for it", port=self.name, address=address
        )
