"""Whom to ask for names, by gfwd.toml and the files of this host."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gfwd.config.model import DnsSetting
from gfwd.dns.servers import PORT, PORT_TLS, ResolvConf, Server, read_hosts, read_resolv_conf
from gfwd.rules.model import Address

RESOLV_CONF: Final = "/etc/resolv.conf"
HOSTS: Final = "/etc/hosts"

_TIMEOUT_S: Final = 2.0
_FILE_MOST: Final = 1 << 20  # characters that are read of a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What a lookup needs. timeout: seconds that a server has to answer. attempts: how often all are asked in turn.
    tls: the name in their certificates; None: without TLS. needs_ad: only validated answers count. hosts: names that
    need not be asked for.
    """

    servers: tuple[Server, ...]
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout: float = _TIMEOUT_S
    attempts: int = 2
    tls: str | None = None
    needs_ad: bool = False
    hosts: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)


def files(dns: DnsSetting) -> tuple[str, ...]:
    """Those that say something of it."""
    return (*([] if dns.servers else [RESOLV_CONF]), *([HOSTS] if dns.hosts else []))


def load(dns: DnsSetting) -> Asking:
    """As the files are now; one that cannot be read says nothing."""
    usual = PORT_TLS if dns.tls else PORT
    conf = ResolvConf(tuple(Server(one.address, one.port or usual) for one in dns.servers))
    if not dns.servers:
        conf = read_resolv_conf(_text(RESOLV_CONF))
    return Asking(
        servers=conf.servers,
        search=conf.search if dns.search is None else dns.search,
        ndots=conf.ndots,
        timeout=dns.timeout or conf.timeout or _TIMEOUT_S,
        attempts=conf.attempts,
        tls=dns.tls,
        needs_ad=dns.dnssec == "required",
        hosts=read_hosts(_text(HOSTS)) if dns.hosts else {},
    )


def _text(path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return file.read(_FILE_MOST)
    except OSError:
        return ""
