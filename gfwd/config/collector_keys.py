"""The keys of [collector.NAME] and [group.NAME]."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from marshmallow import Schema, post_load, pre_dump, validates_schema
from marshmallow.fields import Field

from gfwd.config import values
from gfwd.config.collectors import Known, parse_group_name, parse_own_name
from gfwd.config.dns_keys import RESOLVE
from gfwd.config.kinds import Flaw, Group, Named, Number, Several, Table, Text, Word, refuse_keys
from gfwd.rules import model
from gfwd.rules.fields import FieldError, parse_collector, quote
from gfwd.rules.model import LAST_PORT, NO_OPTIONS, Check, Collector, Options

RATE_MOST: Final = 1_000_000_000
"""Datagrams a second: more than any line carries."""

VLAN_MOST: Final = 4_094
"""IEEE 802.1Q §9.6: 0 is none, and 4,095 nobody's."""

_TTL_MOST: Final = 255
_DAY: Final = 86_400  # seconds
_TRIES_MOST: Final = 1_000

_CHECKS: Final = '"none", "arp", "icmp", "tcp:9995" or "http://192.0.2.9:8080/health"'
_URL: Final = re.compile(r"http://(?P<host>\[[^]/]*\]|[^/:?#@\[\]]*)(:(?P<port>[0-9]{1,5}))?(?P<path>/[!\"$-~]*)?")
_OF_A_CHECK: Final = ("interval", "rise", "fall")


def collectors_field(known: Known) -> Named:
    """All of [collector], which is loaded as Collectors by name."""
    example = '[collector.flow] with host = "flow.example.net"'
    return Named(
        Text(parse_own_name, example="flow"),
        Table(_collector_keys(known), example=example),
        example=example,
        join=_join_collector,
        attribute="collectors",
        says="Collectors that rules can name.",
    )


def groups_field(known: Known) -> Named:
    """All of [group], which is loaded as Groups by name."""
    example = '[group.farm] with members = ["flow", "10.2.2.6"]'
    return Named(
        Text(parse_group_name, example="farm"),
        Table(_group_keys(known), example=example),
        example=example,
        join=lambda name, group: group._replace(name=name) if isinstance(group, model.Group) else group,
        attribute="groups",
        says="Groups that rules can name: each datagram goes to one of the members.",
    )


def _join_collector(name: str, collector: Any) -> Any:
    if not isinstance(collector, Collector):  # but what is left of one in a text that is not all TOML
        return collector
    collector = collector._replace(name=name)
    backups = collector.options.backup if collector.options else ()
    flaws = {
        number: [Flaw(f"{quote(str(backup))} is where {name} itself is: write another collector, or remove it")]
        for number, backup in enumerate(backups)
        if name == str(backup) or collector.place() == backup.place()
    }
    refuse_keys({"backup": flaws} if flaws else {})
    return collector


def _collector_keys(known: Known) -> Schema:
    return _Collector.from_dict({**_destination_keys(known), **_option_keys(known), **_check_keys()})()


def _destination_keys(known: Known) -> dict[str, Field[Any]]:
    return {
        "host": Text(
            known.host,
            required=True,
            example='"flow.example.net"',
            says="Its address, or its name in the DNS.",
        ),
        "port": Number(1, LAST_PORT, example="9995", says="Its UDP port. Default: each datagram keeps its own."),
    }


def _option_keys(known: Known) -> dict[str, Field[Any]]:
    return {
        "source": Word(
            "keep",
            "own",
            says='The source address of what it gets: "keep", the exporter\'s (default), or "own", gfwd\'s.',
        ),
        "source_port": Number(
            1, LAST_PORT, example="2055", says="The source port of what it gets. Default: the exporter's."
        ),
        "ttl": Number(
            1,
            _TTL_MOST,
            example="64",
            word="decrement",
            says='The TTL, or hop limit, of what it gets. Default: "decrement", one less than it came with.',
        ),
        "sample": Number(1, RATE_MOST, example="10", says="It gets one datagram of so many. Default: 1, all."),
        "limit": Number(1, RATE_MOST, example="50000", says="It gets so many datagrams a second at most."),
        "resolve": Word(
            *RESOLVE,
            says='Which addresses of its name get copies: "first", the first of each family; "all", each a copy;'
            ' "prefer-v4", "prefer-v6", the first of that family, or of the other where there is none. Default: as'
            " [dns] says.",
        ),
        "backup": Several(
            Text(known.backup, example='"flow2"'),
            example='["flow2", "10.2.2.9:9995"]',
            same=Collector.nameless,
            says="Who gets its datagrams while it is down: the first of these collectors that is not. Their own backups"
            " are not asked then.",
        ),
        "out": Text(
            values.port_text,
            example='"xdp:eth1"',
            says="The port that what it gets leaves by, one of those that lead to collectors. Default: the one that the"
            " best route leaves by.",
        ),
        "vlan": Number(
            1,
            VLAN_MOST,
            example="100",
            says="The VLAN that what it gets leaves in. Default: that of the interface that the route leaves by, or of"
            " the port ([vlans]), or none.",
        ),
    }


def _check_keys() -> dict[str, Field[Any]]:
    def number(most: int, default: int, says: str) -> Number:
        return Number(1, most, example=str(default), says=f"{says} Default: {default}. Only with a check.")

    return {
        "check": Text(
            _parse_check,
            _check_text,
            example='"icmp"',
            says='How gfwd finds out whether it is up: "none" (default: it counts as up), "arp" (the neighbour answers,'
            ' by ARP or ND), "icmp" (it answers an echo), "tcp:PORT" (it accepts a connection), or "http://…" (the page'
            " is there).",
        ),
        "interval": number(_DAY, Check("icmp").interval, "Seconds from one try of the check to the next."),
        "rise": number(_TRIES_MOST, Check("icmp").rise, "So many tries in a row must succeed until it is up again."),
        "fall": number(_TRIES_MOST, Check("icmp").fall, "So many tries in a row must fail until it is down."),
    }


class _Collector(Group):
    also: ClassVar = {"dependencies": {key: ["check"] for key in _OF_A_CHECK}}

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def judge(self, loaded: Mapping[str, Any], written: Mapping[str, Any], partial: bool | None, **_: Any) -> None:
        if not partial and written.get("check", "none") == "none":
            advice = 'write check = "icmp", or remove it'
            refuse_keys({key: f"there is no check for it: {advice}" for key in _OF_A_CHECK if key in written})
        host = loaded.get("host")
        if "resolve" in written and host is not None and parse_collector(host).address is not None:
            refuse_keys({"resolve": "an address has nothing to be looked up: remove it, or write a name"})

    @post_load
    def make(self, loaded: dict[str, Any], partial: bool | None, **_: Any) -> Any:
        """Without a name: whoever knows it puts it in."""
        if partial:
            return loaded
        return parse_collector(loaded["host"])._replace(port=loaded.get("port"), options=_options(loaded))

    @pre_dump
    def take_apart(self, collector: Collector, **_: Any) -> dict[str, Any]:
        """What is as it is where nothing is said is not said."""
        options, usual = collector.options or NO_OPTIONS, NO_OPTIONS._asdict()
        said = {key: value for key, value in options._asdict().items() if value != usual[key]}
        check = said.get("check")
        if check is not None:
            said |= {
                key: getattr(check, key) for key in _OF_A_CHECK if getattr(check, key) != Check._field_defaults[key]
            }
        source = {"source": "own"} if said.pop("own_source", False) else {}
        return {"host": collector.host, "port": collector.port, **source, **said}


def _options(loaded: Mapping[str, Any]) -> Options | None:
    """None where all is as it is where nothing is said."""
    check = loaded.get("check")
    if check is not None:
        check = check._replace(**{key: loaded[key] for key in _OF_A_CHECK if key in loaded})
    options = Options(
        own_source=loaded.get("source") == "own",
        source_port=loaded.get("source_port"),
        ttl=loaded.get("ttl"),
        sample=loaded.get("sample", NO_OPTIONS.sample),
        limit=loaded.get("limit"),
        backup=loaded.get("backup", ()),
        check=check,
        out=loaded.get("out"),
        vlan=loaded.get("vlan"),
        resolve=loaded.get("resolve"),
    )
    return None if options == NO_OPTIONS else options


def _parse_check(text: str) -> Check | None:
    if text == "none":
        return None
    if text == "arp":
        return Check("arp")
    if text == "icmp":
        return Check("icmp")
    kind, _, rest = text.partition(":")
    if kind == "tcp":
        return Check("tcp", port=_parse_port(rest))
    if kind == "http":
        return Check("http", url=_parse_url(rest if rest.startswith("http:") else text))
    if kind == "https":
        raise FieldError(f"{quote(text)}: gfwd asks without TLS: write http://…, or tcp:443")
    raise FieldError(f"{quote(text)} is no check: write {_CHECKS}")


def _parse_port(text: str) -> int:
    if not (re.fullmatch(r"[1-9][0-9]{0,4}", text) and int(text) <= LAST_PORT):
        raise FieldError(f"{quote(text)} is not a port to connect to: write a number from 1 to {LAST_PORT}")
    return int(text)


def _parse_url(text: str) -> str:
    """Read a URL (RFC 3986) without user or fragment, and return its canonical text."""
    parts = _URL.fullmatch(text)
    if parts is None:
        raise FieldError(f"{quote(text)} is no address of a page: write http://192.0.2.9:8080/health")
    host = parse_collector(parts["host"]).host  # which says what is wrong with it
    host = f"[{host}]" if ":" in host else host
    port = f":{_parse_port(parts['port'])}" if parts["port"] else ""
    return f"http://{host}{port}{parts['path'] or '/'}"


def _check_text(check: Check) -> str:
    if check.kind == "tcp":
        return f"tcp:{check.port}"
    return check.url or check.kind


def _group_keys(known: Known) -> Schema:
    return _Members.from_dict(
        {
            "members": Several(
                Text(known.member, example='"flow"'),
                required=True,
                example='["flow", "10.2.2.6"]',
                least=2,
                same=Collector.nameless,
                says="Collectors, two or more, each as in a rule.",
            ),
            "balance": Word(
                "exporter",
                "flow",
                "round-robin",
                load_default="exporter",
                says='What goes to the same member: "exporter" (default), all of an exporter; "flow", all from one port'
                ' of an exporter to one port; "round-robin", nothing: the members take turns.',
            ),
        }
    )()


class _Members(Group):
    @post_load
    def make(self, loaded: dict[str, Any], partial: bool | None, **_: Any) -> Any:
        """Without a name: whoever knows it puts it in."""
        return loaded if partial else model.Group("", loaded["balance"], loaded["members"])
