"""Collectors' names, looked up once, through the host's own resolver (hosts file, DNS, whatever it is set up to ask)."""

import socket
from collections.abc import Iterable

from gfwd.errors import GfwdError
from gfwd.rules.model import Address, Collector, Family

_FAMILIES: dict[int, Family] = {socket.AF_INET: 4, socket.AF_INET6: 6}


def addresses(collectors: Iterable[Collector]) -> dict[Collector, tuple[Address, ...]]:
    """Each collector's addresses, in the resolver's order, IPv4 first. Raises GfwdError naming all that have none."""
    found: dict[Collector, tuple[Address, ...]] = {}
    asked: dict[str, tuple[Address, ...]] = {}
    failures: list[str] = []
    for collector in collectors:
        if collector.address is not None:
            found[collector] = (collector.address,)
            continue
        if collector.host not in asked:
            try:
                asked[collector.host] = _look_up(collector.host)
            except OSError as error:
                asked[collector.host] = ()
                failures.append(f"error: collector {collector.host}: {error.strerror or error}")
        found[collector] = asked[collector.host]
    if failures:
        advice = "give the collector's address instead, or mend the name (hosts file, /etc/resolv.conf)"
        raise GfwdError("\n".join([*failures, advice]))
    return found


def _look_up(host: str) -> tuple[Address, ...]:
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    found = dict.fromkeys(
        Address(_FAMILIES[family], int.from_bytes(socket.inet_pton(family, str(sockaddr[0]))))
        for family, _, _, _, sockaddr in answers
        if family in _FAMILIES and "%" not in str(sockaddr[0])
    )
    # Most exporters speak IPv4, and a collector of the other family can get nothing from them.
    return tuple(sorted(found, key=lambda address: address.family))
