"""One session of the lab: network, traffic and gfwd brought together, and what came of it."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, NamedTuple

from gfwd.daemon.lab.arrivals import Tally
from gfwd.daemon.lab.exchange import Exchange, Progress
from gfwd.daemon.lab.forwarder import Account, Forwarder
from gfwd.daemon.lab.network import LabNetwork
from gfwd.daemon.lab.scene import OWN_RULES, Place, Scene
from gfwd.daemon.lab.traffic import RULES
from gfwd.errors import GfwdError
from gfwd.metrics.ledger import Ledger
from gfwd.rules.model import Address

_LAST_S = 0.2  # what the forwarder sends at its very end arrives within


class Running(NamedTuple):
    """The forwarder. said: on its stderr, until it was ready."""

    pid: int
    said: str


class Losses(NamedTuple):
    """Copies that were lost: before gfwd had their datagram; in gfwd, by its own ledger; between it and the collectors;
    and in the collectors' sockets, because the lab did not read them fast enough.
    """

    before_gfwd: int
    in_gfwd: int
    behind_gfwd: int
    in_sockets: int


class Collected(NamedTuple):
    """What arrived at one address. exporters: how many it has heard of."""

    place: Place
    tally: Tally
    exporters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was sent, in how many seconds, and what became of it.

    misdirected: what came to a collector's port that no rule names. bad_checksum: what a collector's kernel has refused
    for that. account, losses: None where gfwd has not said what it did. said: by gfwd on stderr, since it was ready.
    problem: what went wrong with it.
    """

    sent: int
    seconds: float
    collectors: Mapping[Address, Collected]
    misdirected: int
    bad_checksum: int
    account: Account | None
    losses: Losses | None
    said: str
    problem: str | None

    @property
    def rate(self) -> float:
        """Datagrams a second, as reached."""
        return self.sent / self.seconds if self.seconds else 0.0

    @property
    def total(self) -> Tally:
        return sum((collected.tally for collected in self.collectors.values()), Tally())

    @property
    def is_as_the_rules_say(self) -> bool:
        """Whether all that was sent arrived where the rules say, as it was sent and in order, and nothing else did."""
        arrived_well = self.total.is_as_wanted and not self.misdirected and not self.bad_checksum
        return self.sent > 0 and arrived_well and self.problem is None

    def as_json(self) -> dict[str, Any]:
        """All of it as objects of JSON; under `gfwd`, what gfwd itself has said."""
        return {
            "as_the_rules_say": self.is_as_the_rules_say,
            "sent": self.sent,
            "seconds": round(self.seconds, 3),
            "rate": round(self.rate, 1),
            **self.total._asdict(),
            "misdirected": self.misdirected,
            "bad_checksum": self.bad_checksum,
            "lost_where": None if self.losses is None else self.losses._asdict(),
            "collectors": {
                str(address): {"place": found.place.value, **found.tally._asdict(), "exporters": found.exporters}
                for address, found in self.collectors.items()
            },
            "said": self.said.splitlines(),
            "gfwd": None if self.account is None else self.account.written,
            "problem": self.problem,
        }


def run(scene: Scene, started: Callable[[Running], None], watch: Callable[[Progress], None]) -> Outcome:
    """Make the network, start gfwd in it, send, and show `watch` once a second how far it is.

    ^C ends the sending; a second one ends everything. Raises GfwdError where the network cannot be made, or gfwd does
    not start.
    """
    rules, text = (OWN_RULES, RULES) if scene.lab.rules is None else (scene.lab.rules, None)
    with LabNetwork(scene) as network, Forwarder(network.gfwd.namespace, rules, text) as forwarder:
        before = forwarder.said()
        started(Running(forwarder.pid, before))
        exchange = Exchange(scene, network)
        with _interruptible() as is_interrupted:
            seconds = exchange.send(lambda: is_interrupted() or forwarder.has_ended(), watch)
            exchange.settle(forwarder.has_ended)
        account, problem = _stop(forwarder)
        exchange.receive_for(_LAST_S)
        meanwhile = forwarder.said().removeprefix(before).strip()
        return _outcome(scene, network, exchange, seconds, account, meanwhile, problem)


def refuse_where_it_cannot_be() -> None:
    """Raises GfwdError where there is no Linux, or its user is not root."""
    system = os.uname().sysname
    if system != "Linux":
        raise GfwdError(f"gfwd lab: error: it is made of Linux' network namespaces, and this is {system}")
    if os.geteuid() != 0:
        raise GfwdError(
            "gfwd lab: error: only root may make network namespaces and AF_XDP sockets; run it with sudo "
            "(it changes nothing outside of the namespaces that it makes)"
        )


def _stop(forwarder: Forwarder) -> tuple[Account | None, str | None]:
    early = forwarder.has_ended()
    try:
        account = forwarder.stop()
    except GfwdError as error:
        return None, str(error)
    return account, "gfwd run: error: it ended before it was told to" if early else None


def _outcome(
    scene: Scene,
    network: LabNetwork,
    exchange: Exchange,
    seconds: float,
    account: Account | None,
    said: str,
    problem: str | None,
) -> Outcome:
    collectors = {address: Collected(scene.places[address], *found) for address, found in exchange.tallies().items()}
    counters = [host.udp_counters() for host in network.collectors.values()]
    in_sockets = sum(counter["RcvbufErrors"] + counter["MemErrors"] for counter in counters)
    total = sum((collected.tally for collected in collectors.values()), Tally())
    return Outcome(
        sent=exchange.sent,
        seconds=seconds,
        collectors=collectors,
        misdirected=sum(counter["NoPorts"] for counter in counters),
        bad_checksum=sum(counter["InCsumErrors"] for counter in counters),
        account=account,
        losses=None if account is None else _losses(scene, total, account.ledger, in_sockets),
        said=said,
        problem=problem,
    )


def _losses(scene: Scene, total: Tally, ledger: Ledger, in_sockets: int) -> Losses:
    """Of copies for IPv6 collectors, the lab wants none."""
    copies = [
        ledger.collectors[str(collector)]
        for collector in scene.ruleset.collectors()
        if collector.address in scene.places and str(collector) in ledger.collectors
    ]
    seen, sent = sum(copy.wanted for copy in copies), sum(copy.sent for copy in copies)
    before, inside = max(0, total.wanted - seen), max(0, seen - sent)
    return Losses(before, inside, max(0, total.lost - before - inside - in_sockets), in_sockets)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Says whether ^C was pressed, to whom must not be torn out of the midst of something. The second one does that."""
    interrupted = False
    before = signal.getsignal(signal.SIGINT)

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, before)

    if before is not signal.SIG_IGN:  # else started in the background, where ^C is meant for others
        signal.signal(signal.SIGINT, note)
    try:
        yield lambda: interrupted
    finally:
        signal.signal(signal.SIGINT, before)
