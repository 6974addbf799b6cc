"""The keys of [dns]: how the names of collectors become addresses."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, get_args

from marshmallow import Schema, post_load, validates_schema

from gfwd.config import values
from gfwd.config.kinds import Flaw, Group, Number, Several, Switch, Text, Word, refuse_keys
from gfwd.config.model import DnsSetting, NameServer
from gfwd.rules.model import Resolve

RESOLVE: Final = get_args(Resolve)

_USUAL: Final = DnsSetting()
_WEEK: Final = 604_800  # seconds
_YEAR: Final = 31_536_000
_TIMEOUT_MOST: Final = 30
_SERVERS_MOST: Final = 8


class _Dns(Group):
    servers = Several(
        Text(values.name_server, example='"192.0.2.53"'),
        example='["192.0.2.53", "[2001:db8::53]:5353"]',
        says="Name servers, by address, with a port or without. Default: those of the host (/etc/resolv.conf).",
    )
    search = Several(
        Text(values.domain, example='"example.net"'),
        example='["example.net"]',
        says="Domains that are put behind names. Default: as the host says; with servers, none.",
    )
    tls = Text(
        values.domain,
        example='"dns.example.net"',
        says="The servers are asked by DNS over TLS, and have this name in their certificates. Default: without TLS.",
    )
    dnssec = Word(
        "off",
        "required",
        says='"required": only answers that the server has validated count; it takes tls, or a server on this host.'
        ' Default: "off".',
    )
    ttl_min = Number(
        1, _WEEK, example="10", says=f"Seconds: a shorter TTL counts as long as that. Default: {_USUAL.ttl_min}."
    )
    ttl_max = Number(
        1, _WEEK, example="3600", says=f"Seconds: a longer TTL counts as long as that. Default: {_USUAL.ttl_max}."
    )
    max_stale = Number(
        0,
        _YEAR,
        example="86400",
        says="So many seconds beyond its TTL the last answer is used where there is no other. Default: 0, without end.",
    )
    timeout = Number(
        1, _TIMEOUT_MOST, example="2", says="Seconds that a server has to answer. Default: as the host says, or 2."
    )
    hosts = Switch(example="false", says="Whether the host's hosts file counts, too, and before all. Default: true.")
    resolve = Word(
        *RESOLVE,
        says='Which addresses of a name get copies: "first" (default), the first of each family; "all", each a copy;'
        ' "prefer-v4", "prefer-v6", the first of that family, or of the other where there is none.',
    )

    also: ClassVar = {"dependencies": {"tls": ["servers"]}}

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def check(self, loaded: Mapping[str, Any], written: Mapping[str, Any], partial: bool | None, **_: Any) -> None:
        flaws: dict[str, Any] = {}
        servers = loaded.get("servers", ())
        if not partial and "tls" in written and "servers" not in written:
            flaws["tls"] = 'it is not known whose name that is: write servers = ["192.0.2.53"], too'
        if len(servers) > _SERVERS_MOST:
            flaws["servers"] = {_SERVERS_MOST: [Flaw(f"{_SERVERS_MOST} servers are asked at most: remove the rest")]}
        elif loaded.get("dnssec") == "required" and "tls" not in written:
            far = {number: one for number, one in enumerate(servers) if not _is_near(one)}
            text = "anybody on the way could say that its answers are validated: write tls, or name one on this host"
            if far and isinstance(servers, tuple):
                flaws["servers"] = {number: [Flaw(f"{one}: {text}")] for number, one in far.items()}
        least, most = loaded.get("ttl_min", _USUAL.ttl_min), loaded.get("ttl_max", _USUAL.ttl_max)
        if least is not None and most is not None and least > most:
            key = "ttl_min" if "ttl_min" in written else "ttl_max"
            flaws[key] = f"ttl_min is {least}, and ttl_max {most}: the one is to be less than the other"
        refuse_keys(flaws)

    @post_load
    def make(self, loaded: dict[str, Any], partial: bool | None, **_: Any) -> Any:
        return loaded if partial else DnsSetting(**loaded)


def _is_near(server: object) -> bool:
    return not isinstance(server, NameServer) or server.address.is_loopback


def dns_keys() -> Schema:
    """The table, which is loaded as a DnsSetting."""
    return _Dns()
