"""What a host says of its names: resolv.conf, whom to ask and what is put behind a name; hosts, what need not be asked.

A line that means nothing here is passed over, as every resolver does (resolv.conf(5), hosts(5)).
"""

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

from gfwd.rules.model import Address

PORT: Final = 53
PORT_TLS: Final = 853
"""RFC 7858 §3.1."""

_SERVERS_MOST: Final = 3  # MAXNS of resolv.h
_SEARCH_MOST: Final = 6
_NDOTS_MOST: Final = 15
_TIMEOUT_MOST_S: Final = 30
_ATTEMPTS_MOST: Final = 5
_NAME_MOST: Final = 253  # characters, without the final dot


class Server(NamedTuple):
    """A name server. zone: the interface, of an address that is one link's only."""

    address: Address
    port: int
    zone: str = ""

    def __str__(self) -> str:
        host = f"{self.address}%{self.zone}" if self.zone else str(self.address)
        if self.port == PORT:
            return host
        return f"[{host}]:{self.port}" if self.address.family == 6 else f"{host}:{self.port}"


class ResolvConf(NamedTuple):
    """What a resolv.conf says. timeout: seconds that a server has to answer; None: it does not say. attempts: how often
    all servers are asked in turn.
    """

    servers: tuple[Server, ...]
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout: int | None = None
    attempts: int = 2


def read_resolv_conf(text: str) -> ResolvConf:
    """Where it names no server, the one on this host is asked."""
    found = ResolvConf(())
    for words in _lines(text, "#;"):
        match words:
            case ["nameserver", address, *_]:
                server = _server(address)
                if server is not None and len(found.servers) < _SERVERS_MOST:
                    found = found._replace(servers=(*found.servers, server))
            case ["search" | "domain", *domains]:
                found = found._replace(search=search_list(domains))
            case ["options", *options]:
                for option in options:
                    found = _with_option(found, option)
    return found if found.servers else found._replace(servers=(Server(Address(4, 0x7F000001), PORT),))


def read_hosts(text: str) -> dict[str, tuple[Address, ...]]:
    """The addresses of each name, in the order of the lines; names in lower case."""
    found: dict[str, dict[Address, None]] = {}
    for address_text, *names in _lines(text, "#"):
        server = _server(address_text)
        if server is not None and not server.zone:
            for name in names:
                found.setdefault(name.lower().removesuffix("."), {})[server.address] = None
    return {name: tuple(addresses) for name, addresses in found.items()}


def search_list(domains: Iterable[str]) -> tuple[str, ...]:
    """Each once, in lower case and without the final dot; the root is none."""
    clean = (domain.lower().removesuffix(".") for domain in domains)
    return tuple(dict.fromkeys(domain for domain in clean if _is_name(domain)))[:_SEARCH_MOST]


def candidates(host: str, search: Iterable[str], ndots: int) -> tuple[str, ...]:
    """The names that a host may be meant by, in the order in which they are asked for: one with fewer dots than `ndots`
    first within the domains of the search list, another one first as it is.
    """
    within = [f"{host}.{domain}" for domain in search]
    names = [host, *within] if host.count(".") >= ndots else [*within, host]
    return tuple(dict.fromkeys(name for name in names if len(name) <= _NAME_MOST))


def _lines(text: str, comments: str) -> Iterable[list[str]]:
    for line in text.splitlines():
        for mark in comments:
            line = line.partition(mark)[0]  # noqa: PLW2901
        words = line.split()
        if len(words) > 1:
            yield words


def _server(text: str) -> Server | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    zone = (found.scope_id or "") if isinstance(found, IPv6Address) else ""
    return Server(Address(4 if found.version == 4 else 6, int(found)), PORT, zone)


def _with_option(conf: ResolvConf, option: str) -> ResolvConf:
    key, _, digits = option.partition(":")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        return conf
    number = int(digits)
    match key:
        case "ndots":
            return conf._replace(ndots=min(number, _NDOTS_MOST))
        case "timeout":
            return conf._replace(timeout=max(1, min(number, _TIMEOUT_MOST_S)))
        case "attempts":
            return conf._replace(attempts=max(1, min(number, _ATTEMPTS_MOST)))
    return conf


def _is_name(text: str) -> bool:
    """Whether dnspython will take it: labels of 1 to 63 characters that need no escape."""
    return text.isascii() and all(
        0 < len(label) < 64 and label.replace("-", "").replace("_", "").isalnum() for label in text.split(".")
    )
