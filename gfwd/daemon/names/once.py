"""Collectors' names, looked up once, for commands that do not run on.

Through the host's own resolver (hosts file, DNS, whatever it is set up to ask), or through the servers that gfwd.toml
names.
"""

import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread

from gfwd.config.model import DnsSetting
from gfwd.daemon.names import sources
from gfwd.dns.choice import preferred, resolve_of
from gfwd.dns.name import Bad, Good
from gfwd.errors import GfwdError, UsageError
from gfwd.rules.fields import unreachable
from gfwd.rules.model import Address, Collector, Family, Prefix

_FAMILIES: dict[int, Family] = {socket.AF_INET: 4, socket.AF_INET6: 6}
_THREADS = 16

ADVICE = "give the collector's address instead, or mend the name (hosts file, /etc/resolv.conf)"

Answer = tuple[Address, ...] | str
"""A name's addresses, or why it has none."""


def addresses(collectors: Iterable[Collector], dns: DnsSetting | None = None) -> dict[Collector, tuple[Address, ...]]:
    """Each collector's addresses that copies may go to, in the resolver's order. Raises GfwdError naming all that have
    none.

    dns: see look_up().
    """
    found: dict[Collector, tuple[Address, ...]] = {}
    failures: dict[str, None] = {}
    for collector, answer in look_up(collectors, dns).items():
        if isinstance(answer, str):
            failures[f"error: collector {collector.host}: {answer}"] = None
        else:
            found[collector] = answer
    if failures:
        raise GfwdError("\n".join([*failures, ADVICE]))
    return found


def look_up(collectors: Iterable[Collector], dns: DnsSetting | None = None) -> dict[Collector, Answer]:
    """Each collector's addresses that copies may go to, in the resolver's order; or why it has none.

    dns: where it names servers, they are asked, and not the host's resolver.
    """
    wanted = tuple(collectors)
    ask, dns = _look_up, dns or DnsSetting()
    if dns.servers:
        asking = sources.load(dns)
        ask = partial(_ask_servers, asking=asking)
    answers = _look_up_all({collector.host for collector in wanted if collector.address is None}, ask)
    return {
        collector: _preferred(answers[collector.host], collector, dns)
        if collector.address is None
        else (collector.address,)
        for collector in wanted
    }


def _preferred(answer: Answer, collector: Collector, dns: DnsSetting) -> Answer:
    return answer if isinstance(answer, str) else preferred(answer, resolve_of(collector, dns.resolve))


def refuse_own(path: str, own: Iterable[Prefix], addresses: Mapping[Collector, tuple[Address, ...]]) -> None:
    """What is sent to an own address comes back. A whole network of ours may hold collectors all the same.

    path: of the rules. Raises UsageError that names all such collectors.
    """
    loops = with_own_address(own, addresses)
    if loops:
        raise UsageError(
            "\n".join(f"{path}: error: collector {collector} is gfwd's own address" for collector in loops)
            + "\nwhat is sent there would come back; name another collector, or another --address"
        )


def with_own_address(own: Iterable[Prefix], addresses: Mapping[Collector, tuple[Address, ...]]) -> list[Collector]:
    """Collectors that gfwd would send to itself."""
    ours = {Address(prefix.family, prefix.value) for prefix in own if prefix.size == 1}
    return [collector for collector, found in addresses.items() if ours.intersection(found)]


def _look_up_all(hosts: Collection[str], ask: Callable[[str], Answer]) -> dict[str, Answer]:
    """Many at a time, since a name server that is down takes its time, and in threads that ^C need not wait for."""
    waiting: SimpleQueue[str] = SimpleQueue()
    answers: SimpleQueue[tuple[str, Answer]] = SimpleQueue()
    for host in hosts:
        waiting.put(host)

    def look_up_what_waits() -> None:
        while True:
            try:
                host = waiting.get_nowait()
            except Empty:
                return
            answers.put((host, ask(host)))

    for _ in range(min(len(hosts), _THREADS)):
        Thread(target=look_up_what_waits, name="names", daemon=True).start()
    return dict(answers.get() for _ in hosts)


def _look_up(host: str) -> Answer:
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    found = dict.fromkeys(
        Address(_FAMILIES[family], int.from_bytes(socket.inet_pton(family, str(sockaddr[0]))))
        for family, _, _, _, sockaddr in answers
        if family in _FAMILIES and "%" not in str(sockaddr[0])
    )
    return _usable(found)


def _ask_servers(host: str, asking: sources.Asking) -> Answer:
    from gfwd.daemon.names import resolver

    try:
        answer = resolver.look_up(host, asking)
    except Exception as error:  # or who waits for it would wait for ever
        return f"{type(error).__name__}: {error}"
    found = [address for one in answer.values() if isinstance(one, Good) for address in one.addresses]
    return _usable(found) if found else next(one.why for one in answer.values() if isinstance(one, Bad))


def _usable(found: Iterable[Address]) -> Answer:
    found = tuple(found)
    usable = [address for address in found if unreachable(address) is None]
    if not usable:
        reasons = (f"its address is {address}, and {unreachable(address)}" for address in found)
        return next(reasons, "it has no address that a collector can have")
    # Most exporters speak IPv4, and a collector of the other family can get nothing from them.
    return tuple(sorted(usable, key=lambda address: address.family))
