"""The own addresses of a port without a host stack: which of them we answer for, and what is to be sent for them.

Each has a Claim. Time is an argument; what is to be done is returned.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from gfwd.l2 import arp, nd
from gfwd.l2.arp import Arp
from gfwd.l2.claim import TIMINGS, Claim, Do
from gfwd.l2.nd import Neighbour
from gfwd.l2.statement import Statement
from gfwd.rules.model import Address

Word = Literal["taken", "free", "claimed"]
_WORDS: Final[dict[Do, Word]] = {Do.SAY_TAKEN: "taken", Do.SAY_FREE: "free", Do.SAY_CLAIMED: "claimed"}


@dataclass(frozen=True, slots=True)
class Send:
    """A frame is to leave."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Say:
    """The operator is to know of an address: somebody (mac) has it; nobody has it any more; somebody claims ours."""

    word: Word
    address: Address
    mac: bytes | None


Act = Send | Say


class OwnAddresses:
    """random: a number from 0 up to 1; see Claim."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._mac = bytes(6)
        self._tags = b""
        self._others: frozenset[bytes] = frozenset()
        self._claims: dict[Address, Claim] = {}

    def follow(
        self, mac: bytes, addresses: Iterable[Address], now: float, *, tags: bytes = b"", others: Iterable[bytes] = ()
    ) -> None:
        """The addresses as they are from now on; new ones are claimed, and all of them where the MAC is another.

        others: MACs of our other ports, which may have the same addresses. tags: VLAN tags of what we send unasked.
        """
        known = self._claims if mac == self._mac else {}
        self._mac, self._tags, self._others = mac, tags, frozenset(others) - {mac}
        self._claims = {
            address: known.get(address) or Claim(TIMINGS[address.family], self._random, now) for address in addresses
        }

    def __contains__(self, address: Address) -> bool:
        """Whether it is one of ours that we answer for."""
        claim = self._claims.get(address)
        return claim is not None and claim.is_used

    def is_sure(self, address: Address) -> bool:
        """Whether one of ours has turned out to be nobody else's."""
        return self._claims[address].is_sure

    def first(self, family: int) -> Address | None:
        """The first of a family that we answer for."""
        return next((address for address in self._claims if address.family == family and address in self), None)

    def deadline(self) -> float | None:
        """When `advance` wants to be called; None: never, as it stands."""
        return min((its.deadline for its in self._claims.values() if its.deadline is not None), default=None)

    def advance(self, now: float) -> list[Act]:
        """What is due by now."""
        return [act for address, its in self._claims.items() for act in self._acts(address, None, its.advance(now))]

    def heard(self, said: Statement, now: float) -> list[Act]:
        """Somebody says where an address is."""
        claim, mac = self._claims.get(said.address), said.mac or said.source
        if claim is None or mac == self._mac or mac in self._others:
            return []
        return self._acts(said.address, mac, claim.conflict(now))

    def _acts(self, address: Address, mac: bytes | None, what: Iterable[Do]) -> list[Act]:
        acts: list[Act] = []
        for do in what:
            if do in _WORDS:
                acts.append(Say(_WORDS[do], address, mac))
            else:
                acts.append(Send(self._probe(address) if do is Do.PROBE else self._announcement(address)))
        return acts

    def _probe(self, address: Address) -> bytes:
        if address.family == 4:
            return arp.build(arp.probe(self._mac, address, self._tags))
        return nd.build(nd.probe(self._mac, address, self._tags))

    def _announcement(self, address: Address) -> bytes:
        if address.family == 4:
            return arp.build(arp.announcement(self._mac, address, self._tags))
        return nd.build(nd.announcement(self._mac, address, self._tags))

    # ---- answers ----

    def answer(self, asked: Arp | Neighbour) -> bytes | None:
        """The answer to a question for one of our addresses; None: it is none, or we have none."""
        if asked.target not in self:
            return None
        if isinstance(asked, Arp):
            # One who asks for what he says is his own asks nothing: that is a conflict, and has its own pace.
            is_question = asked.operation == arp.REQUEST and asked.sender != asked.target
            return arp.build(arp.reply(asked, self._mac)) if is_question else None
        if asked.kind != nd.SOLICITATION:
            return None
        return nd.build(nd.advertise(asked, self._mac, is_sure=self.is_sure(asked.target)))
