"""All keys of gfwd.toml: of which kind each is, what it means, and which of them go together.

Whoever adds a key writes it here, beside the others of its table, and in model.py what it becomes. Reading, the
canonical text, the JSON schema and what is said about mistakes follow from that.
"""

from collections.abc import Callable, Collection, Mapping
from enum import Enum
from typing import Any, ClassVar, Final

from marshmallow import Schema, ValidationError, post_load, pre_dump, validates_schema
from marshmallow.fields import Field

from gfwd.config import values
from gfwd.config.collectors import host_reader, parse_own_name
from gfwd.config.kinds import MISSING, Choice, Flaw, Group, Named, Number, Several, Switch, Table, Text
from gfwd.config.model import LogSetting
from gfwd.rules.classic import COLLECTORS_MAX, TOO_MANY, never_sent
from gfwd.rules.fields import parse_collector, parse_ports, parse_priority, parse_source, quote
from gfwd.rules.model import LAST_PORT, Collector, Prefix, Rule, ports_text

ReadCollector = Callable[[str], Collector]
WriteCollector = Callable[[Collector], str]

_MOST: Final = 65_535  # workers, and the number of a CPU: more than any host has


def all_keys(
    read_collector: ReadCollector = parse_collector,
    write_collector: WriteCollector = str,
    own: Collection[Prefix] = (),
) -> Schema:
    """The whole file. read_collector and write_collector know what the collectors of a rule may be; own: as in Config.

    What it loads are fields of Config, but for `ports`, `rules` and `rule`.
    """
    a_collector, a_rule = '[collector.flow] with host = "flow.example.net"', '[[rule]] with source = "10.2.2.3"'
    keys: dict[str, Field[Any]] = {
        "collector": Named(
            Text(parse_own_name, example="flow"),
            Table(collector_keys(own), example=a_collector),
            example=a_collector,
            attribute="collectors",
            says="Collectors that rules can name.",
        ),
        "rule": Several(
            Table(_rule_keys(read_collector, write_collector), example=a_rule),
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
        _refuse({**flaws, "both": seconds} if seconds else flaws)


def _ports() -> Schema:
    name = Text(values.port, example='"xdp:eth0"')
    return _Ports.from_dict(
        {
            "in": Several(name, example='["xdp:eth0"]', says="Ports that exporters send to."),
            "out": Several(name, example='["xdp:eth1"]', says="Ports that lead to collectors."),
            "both": Several(name, example='["xdp:eth0"]', says="Ports that are both."),
        }
    )()


class _Log(Group):
    format = Choice(("text", "json"), example='"json"', says='Lines for people, "text", or for machines, "json".')
    to = Text(
        values.log_place,
        example='"syslog"',
        says='Where lines go: "stderr", "syslog", or a file by its whole path. Default: "stderr".',
    )
    level = Choice(
        ("info", "warning", "error"), example='"warning"', says='What is less than this is left out. Default: "info".'
    )

    @post_load
    def make(self, loaded: dict[str, Any], partial: bool | None, **_: Any) -> Any:
        return loaded if partial else LogSetting(**loaded)


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
        says="A Unix socket by which gfwd status, reload, stop and neighbours ask, for this user only. Default: none.",
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
    ports = Table(
        _ports(),
        required=True,
        example='[ports] with in = ["xdp:eth0"] and out = ["xdp:eth1"]',
        says="The ports that datagrams come and go by.",
    )
    neighbours = Named(
        Text(values.address, example='"192.0.2.254"'),
        Text(values.mac, values.mac_text, example='"02:00:00:00:00:01"'),
        example='[neighbours] with "192.0.2.254" = "02:00:00:00:00:01"',
        attribute="macs",
        says="The MAC of each neighbour (a collector, or the gateway before it) that is not asked for it.",
    )

    also: ClassVar = {"oneOf": [{"required": ["rules"]}, {"required": ["rule"]}]}

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def check(self, loaded: Mapping[str, Any], written: Mapping[str, Any], partial: bool | None, **_: Any) -> None:
        flaws = {}
        if "rules" in written and "rule" in written:
            flaws["rules"] = "rules and [[rule]] both say what goes where: keep one of the two"
        if not partial and "rules" not in written and "rule" not in written:
            flaws["rules"] = 'there are no rules: write rules = "gfwd.rules", or [[rule]] tables'
        workers, cpus = loaded.get("workers"), loaded.get("cpus")
        if workers and isinstance(cpus, tuple) and len(cpus) != workers:
            flaws["cpus"] = f"{len(cpus)} CPUs for {workers} workers: write one for each"
        _refuse(flaws)


def collector_keys(own: Collection[Prefix] = ()) -> Schema:
    """A [collector.NAME], which is loaded as a Collector."""
    return _Collector.from_dict(
        {
            "host": Text(
                host_reader(own),
                required=True,
                example='"flow.example.net"',
                says="Its address, or its name in the DNS.",
            ),
            "port": Number(1, LAST_PORT, example="9995", says="Its UDP port. Default: each datagram keeps its own."),
        }
    )()


class _Collector(Group):
    @post_load
    def make(self, loaded: dict[str, Any], partial: bool | None, **_: Any) -> Any:
        return loaded if partial else parse_collector(loaded["host"])._replace(port=loaded.get("port"))


class _Default(Enum):
    """The source of a rule that counts only where no other one matches."""

    default = "default"

    def __str__(self) -> str:
        return self.value


def _rule_keys(read_collector: ReadCollector, write_collector: WriteCollector) -> Schema:
    return _Rule.from_dict(
        {
            "source": Text(
                lambda text: _Default.default if text == str(_Default.default) else parse_source(text),
                lambda source: str(source or "*"),
                required=True,
                example='"10.2.2.3"',
                says='Exporters: an address, a prefix, "*" for all, or "default".',
            ),
            "ports": Text(
                parse_ports,
                ports_text,
                required=True,
                example='"514"',
                numbers=True,
                says='Destination ports: "514", "9995-9999", a list of both "514,9995-9999", or "*".',
            ),
            "collectors": Several(
                Text(read_collector, write_collector, example='"10.2.2.6"'),
                required=True,
                example='["10.2.2.6"]',
                unique=False,
                says=(
                    "Who gets a copy: a [collector.NAME] by its NAME, or an address or a name of the DNS (with a dot), "
                    "each with a port behind a colon or without."
                ),
            ),
            "priority": Text(
                parse_priority,
                example='"A"',
                says="A letter, A is the best; default has none. Of equal rules, the one written later wins.",
            ),
        }
    )()


class _Rule(Group):
    also: ClassVar = {"if": {"properties": {"source": {"const": "default"}}}, "else": {"required": ["priority"]}}

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def check(self, loaded: Mapping[str, Any], written: Mapping[str, Any], partial: bool | None, **_: Any) -> None:
        flaws: dict[str, Any] = {}
        source, collectors = loaded.get("source"), loaded.get("collectors", ())
        if source is _Default.default and "priority" in written:
            flaws["priority"] = "default has no priority, as it comes last: remove it"
        if not partial and "source" in loaded and source is not _Default.default and "priority" not in written:
            flaws["priority"] = MISSING
        if len(set(collectors)) > COLLECTORS_MAX:
            number = next(n for n in range(len(collectors)) if len(set(collectors[: n + 1])) > COLLECTORS_MAX)
            flaws["collectors"] = {number: [Flaw(TOO_MANY)]}
        elif isinstance(source, Prefix) and isinstance(collectors, tuple) and collectors:  # a list: some are wrong
            reason = never_sent(source, collectors)
            if reason:
                flaws["collectors"] = {0: [Flaw(reason)]}
        _refuse(flaws)

    @post_load
    def make(self, loaded: dict[str, Any], partial: bool | None, **_: Any) -> Any:
        """Line 0: a reader who knows where it stands puts it in."""
        if partial:
            return loaded
        source = None if loaded["source"] is _Default.default else loaded["source"]
        collectors = tuple(dict.fromkeys(loaded["collectors"]))  # one that comes twice counts once
        return Rule(source, loaded["ports"], collectors, loaded.get("priority"), 0)

    @pre_dump
    def take_apart(self, rule: Rule, **_: Any) -> dict[str, Any]:
        return {
            **rule._asdict(),
            "source": _Default.default if rule.priority is None else rule.source or "*",
            "collectors": rule.receivers,
        }


def _refuse(flaws: Mapping[str, Any]) -> None:
    """Refuse keys for what they are together: each with its flaw, or with those of what is in it."""
    if flaws:
        raise ValidationError(
            {
                key: [Flaw(flaw) if flaw != MISSING else flaw] if isinstance(flaw, str) else flaw
                for key, flaw in flaws.items()
            }
        )
