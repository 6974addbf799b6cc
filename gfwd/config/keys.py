"""All keys of gfwd.toml: of which kind each is, what it means, and which of them go together.

Whoever adds a key writes it here, beside the others of its table, or in the file of its table, and in model.py what it
becomes. Reading, the canonical text, the JSON schema and what is said about mistakes follow from that.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from marshmallow import Schema, post_load, validates_schema
from marshmallow.fields import Field

from gfwd.config import values
from gfwd.config.collector_keys import VLAN_MOST, collectors_field, groups_field
from gfwd.config.collectors import NOTHING_KNOWN, Known
from gfwd.config.dns_keys import dns_keys
from gfwd.config.exporter_keys import exporter_keys
from gfwd.config.kinds import Flaw, Group, Named, Number, Several, Switch, Table, Text, Word, refuse_keys
from gfwd.config.model import USUAL_SIZES, IcmpSetting, Listeners, LogSetting, Sizes
from gfwd.config.rule_keys import APPLY, rule_keys
from gfwd.rules.fields import parse_prefix, quote

SIZE_MOST: Final = 1 << 24
FRAGMENTS_MOST: Final = 1 << 16
STREAMS_MOST: Final = 1 << 20
"""What the core's tables can hold."""

_MOST: Final = 65_535  # workers, and the number of a CPU: more than any host has
_ECHO_MOST: Final = 10_000  # more than that, and neighbours would have to wait
_METRICS_RULES_MOST: Final = 10_000  # a page of some megabytes


def all_keys(known: Known = NOTHING_KNOWN, apply: str = APPLY[0]) -> Schema:
    """The whole file. known: of the collectors that rules may name. apply: what the file says of it for all rules.

    What it loads are fields of Config, but for `ports`, `rules`, `rule`, `apply` and `exporters`.
    """
    a_rule = '[[rule]] with source = "10.2.2.3"'
    keys: dict[str, Field[Any]] = {
        "collector": collectors_field(known),
        "group": groups_field(known),
        "rule": Several(
            Table(rule_keys(known, apply), example=a_rule),
            example=a_rule,
            unique=False,
            says="The rules, in the order in which a rules file has them.",
        ),
    }
    return _Whole.from_dict(keys)()


class _Ports(Group):
    also: ClassVar = {"anyOf": [{"required": ["in", "out"]}, {"required": ["both"]}]}

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def check(self, _loaded: Mapping[str, Any], written: Mapping[str, Any], partial: bool | None, **_: Any) -> None:
        ways = {"in": "that exporters send to", "out": "that leads to collectors"}
        flaws: dict[str, Any] = {
            way: f'there is no port {which}: write {way} = ["xdp:eth0"], or both = ["xdp:eth0"]'
            for way, which in ways.items()
            if not partial and way not in written and "both" not in written
        }
        names = {way: written[way] for way in (*ways, "both") if isinstance(written.get(way), list)}
        elsewhere = [name for way in ways for name in names.get(way, [])]
        seconds = {
            number: [Flaw(f'{quote(name)} stands in "in" or "out", too: "both" says all of that, so remove it there')]
            for number, name in enumerate(names.get("both", []))
            if isinstance(name, str) and name in elsewhere
        }
        refuse_keys({**flaws, "both": seconds} if seconds else flaws)


def _ports() -> Schema:
    name = Text(values.port, example='"xdp:eth0"')
    return _Ports.from_dict(
        {
            "in": Several(name, example='["xdp:eth0"]', says="Ports that exporters send to."),
            "out": Several(name, example='["xdp:eth1"]', says="Ports that lead to collectors."),
            "both": Several(name, example='["xdp:eth0"]', says="Ports that are both."),
        }
    )()


class _Limits(Group):
    @post_load
    def make(self, loaded: dict[str, Any], partial: bool | None, **_: Any) -> Any:
        return loaded if partial else Sizes(**loaded)


def _limits() -> Schema:
    says = {
        "exporters": "Exporters that are counted, and limited, each by itself; all others are one.",
        "flows": "Pairs of exporter and port for which the rule is remembered; others are looked up each time.",
        "unknown": "Exporters that no rule wants, for gfwd unknown.",
        "fragments": "Datagrams whose fragments are followed, and fragments that wait for the first one of theirs.",
        "streams": "Exporters' source ports and domains whose sequence numbers are followed, where loss says so.",
    }
    most = {"fragments": FRAGMENTS_MOST, "streams": STREAMS_MOST}
    return _Limits.from_dict(
        {
            key: Number(1, most.get(key, SIZE_MOST), example=str(usual), says=f"{says[key]} Default: {usual}.")
            for key, usual in USUAL_SIZES._asdict().items()
        }
    )()


class _Log(Group):
    format = Word("text", "json", says='Lines for people, "text", or for machines, "json".')
    to = Text(
        values.log_place,
        example='"syslog"',
        says='Where lines go: "stderr", "syslog", or a file by its whole path. Default: "stderr".',
    )
    level = Word("info", "warning", "error", says='What is less than this is left out. Default: "info".')

    @post_load
    def make(self, loaded: dict[str, Any], partial: bool | None, **_: Any) -> Any:
        return loaded if partial else LogSetting(**loaded)


class _Icmp(Group):
    echo = Number(
        0,
        _ECHO_MOST,
        example="100",
        says="So many replies to echo requests a second on each port without a host stack; 0: none. Default: 100.",
    )
    port_unreachable = Switch(
        example="true",
        says="Whether who sends to a port that nobody listens on is told so, on ports without a host stack."
        " Default: false.",
    )
    too_big = Switch(
        example="true",
        says="Whether exporters are told that a datagram was too big to leave, and what would not be. Default: false.",
    )

    @post_load
    def make(self, loaded: dict[str, Any], partial: bool | None, **_: Any) -> Any:
        return loaded if partial else IcmpSetting(**loaded)


class _Listeners(Group):
    metrics = Text(
        values.endpoint,
        example='"127.0.0.1:9055"',
        says="The address and port where Prometheus asks for metrics (docs/metrics.md). Default: nobody listens.",
    )
    metrics_rules = Number(
        1,
        _METRICS_RULES_MOST,
        example="200",
        says="So many rules at most have metrics of their own. Default: none has.",
    )

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def check(self, _loaded: Mapping[str, Any], written: Mapping[str, Any], partial: bool | None, **_: Any) -> None:
        if not partial and "metrics_rules" in written and "metrics" not in written:
            refuse_keys({"metrics_rules": 'nobody can ask for them: write metrics = "127.0.0.1:9055", too'})

    @post_load
    def make(self, loaded: dict[str, Any], partial: bool | None, **_: Any) -> Any:
        return loaded if partial else Listeners(**loaded)


class _Whole(Group):
    rules = Text(
        values.file_name,
        example='"gfwd.rules"',
        says="A rules file, seen from the folder of this one; or [[rule]] tables stand here instead.",
    )
    address = Several(
        Text(values.own_prefix, example='"192.0.2.1"'),
        example='["192.0.2.1"]',
        attribute="own",
        says="Addresses that exporters send to, or whole networks. Default: those that the kernel has on the ports that"
        " exporters send to.",
    )
    listen = Text(
        values.listen,
        values.listen_text,
        example='"514,2055,9990-9999"',
        numbers=True,
        says='UDP ports that are gfwd\'s, or "all". Default: those that the rules name.',
    )
    loss = Text(
        values.listen,
        values.listen_text,
        example='"2055,4739,6343"',
        numbers=True,
        says='UDP ports, or "all", on which sequence numbers are followed (NetFlow, IPFIX, sFlow), so that gfwd status'
        " --loss says what never came. Default: none.",
    )
    workers = Number(1, _MOST, example="2", says="Threads that forward. Default: one for each of cpus, or one.")
    cpus = Several(
        Number(0, _MOST, example="2"),
        example="[2, 3]",
        unique=False,
        says="The CPU for each worker. Default: the kernel chooses.",
    )
    control = Text(
        values.socket_path,
        example='"/var/run/gfwd/control"',
        says="A Unix socket by which gfwd status, unknown, names, reload, stop and neighbours ask, for this user only. "
        "Default: none.",
    )
    watch = Switch(
        example="true",
        says="Whether gfwd reloads when this file, or the rules file that it names, has changed. Default: false.",
    )
    log = Table(
        _Log(),
        example='[log] with format = "json"',
        says="What becomes of what gfwd says while it runs. Default: text on standard error.",
    )
    listeners = Table(
        _Listeners(),
        example='[listeners] with metrics = "127.0.0.1:9055"',
        says="What gfwd answers over the network. Default: nothing.",
    )
    dns = Table(
        dns_keys(),
        example='[dns] with servers = ["192.0.2.53"]',
        says="How the names of collectors become addresses (docs/names.md). Default: as the host is set up to ask.",
    )
    ports = Table(
        _ports(),
        required=True,
        example='[ports] with in = ["xdp:eth0"] and out = ["xdp:eth1"]',
        says="The ports that datagrams come and go by.",
    )
    neighbours = Named(
        Text(values.host, example='"192.0.2.254"'),
        Text(values.mac, values.mac_text, example='"02:00:00:00:00:01"'),
        example='[neighbours] with "192.0.2.254" = "02:00:00:00:00:01"',
        attribute="macs",
        says="The MAC of each neighbour (a collector, or the gateway before it) that is not asked for it.",
    )

    gateways = Named(
        Text(parse_prefix, example='"198.51.100.0/24"'),
        Text(values.host, example='"192.0.2.254"'),
        example='[gateways] with "198.51.100.0/24" = "192.0.2.254"',
        says="The gateway before collectors of a prefix. Default: as the host's routes say.",
    )
    vlans = Named(
        Text(values.port, example='"xdp:eth1"'),
        Number(1, VLAN_MOST, example="100"),
        example='[vlans] with "xdp:eth1" = 100',
        says="The VLAN that what leaves by a port leaves in: gfwd puts the tag on. Default: no tag, or that of the"
        " VLAN's interface that the route leaves by.",
    )
    rarp = Named(
        Text(values.mac, values.mac_text, example='"02:00:00:00:00:0b"'),
        Text(values.ipv4, example='"192.0.2.11"'),
        example='[rarp] with "02:00:00:00:00:0b" = "192.0.2.11"',
        says="The IPv4 address of each station that asks for its own by RARP, on ports without a host stack.",
    )
    icmp = Table(
        _Icmp(),
        example="[icmp] with too_big = true",
        says="What gfwd says by ICMP. Default: replies to echo requests, on ports without a host stack.",
    )
    limits = Table(
        _limits(),
        attribute="sizes",
        example="[limits] with exporters = 65536",
        says="How much each worker keeps.",
    )
    exporters = Table(
        exporter_keys(),
        example='[exporters] with deny = ["10.9.0.0/16"]',
        says="Whose datagrams are taken at all, before any rule is asked, and how many.",
    )
    apply = Word(
        *APPLY,
        says='What a rule does that does not say it itself, in a rules file, too: "best" (default), it applies where it'
        ' wins; "all", wherever it matches. "default" rules are always "best".',
    )

    also: ClassVar = {"oneOf": [{"required": ["rules"]}, {"required": ["rule"]}]}

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def check(self, loaded: Mapping[str, Any], written: Mapping[str, Any], partial: bool | None, **_: Any) -> None:
        flaws: dict[str, Any] = {}
        if "rules" in written and "rule" in written:
            flaws["rules"] = "rules and [[rule]] both say what goes where: keep one of the two"
        if not partial and "rules" not in written and "rule" not in written:
            flaws["rules"] = 'there are no rules: write rules = "gfwd.rules", or [[rule]] tables'
        workers, cpus = loaded.get("workers"), loaded.get("cpus")
        if workers and isinstance(cpus, tuple) and len(cpus) != workers:
            flaws["cpus"] = f"{len(cpus)} CPUs for {workers} workers: write one for each"
        flaws |= _names_twice(written.get("collector"), written.get("group"))
        if not partial:
            flaws |= _not_out(written)
        refuse_keys(flaws)


def _not_out(written: Mapping[str, Any]) -> dict[str, Any]:
    """Ports that something is to leave by, and that nothing leaves by. What is no port at all is said elsewhere."""
    ports, collectors, vlans = (written.get(key) for key in ("ports", "collector", "vlans"))
    named = [ports.get(way) for way in ("out", "both")] if isinstance(ports, dict) else []
    out = {name for names in named if isinstance(names, list) for name in map(_port_name, names) if name}
    if not out:
        return {}
    text = f"{{}} is no port that leads to collectors: write one of {', '.join(sorted(out))}, or name it in [ports]"

    def flaw(name: object) -> list[Flaw]:
        known = _port_name(name)
        return [Flaw(text.format(quote(known)))] if known and known not in out else []

    found: dict[str, Any] = {"collector": {}, "vlans": {}}
    for name, table in collectors.items() if isinstance(collectors, dict) else ():
        if isinstance(table, dict) and (its := flaw(table.get("out"))):
            found["collector"][name] = {"value": {"out": its}}
    for name in vlans if isinstance(vlans, dict) else ():
        if its := flaw(name):
            found["vlans"][name] = {"key": its}
    return {key: flaws for key, flaws in found.items() if flaws}


def _port_name(text: object) -> str | None:
    """The canonical name of a port; None: it is none."""
    try:
        return values.port_text(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _names_twice(collectors: object, groups: object) -> dict[str, Any]:
    """Rules name collectors and groups alike."""
    if not isinstance(collectors, dict) or not isinstance(groups, dict):
        return {}
    twice = {
        name: {"key": [Flaw(f"there is a [collector.{name}], too: choose another name for one of the two")]}
        for name in groups
        if name in collectors
    }
    return {"group": twice} if twice else {}
