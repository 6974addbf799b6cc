"""gfwd inspect for people: a line a datagram, its records below it, and the two tables."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gfwd.cli import loss_text
from gfwd.metrics.table import table_text
from gfwd.metrics.words import many, rate_text
from gfwd.netflow.message import FlowSet, Kind, Message, protocol_text
from gfwd.netflow.printable import printable
from gfwd.netflow.template import VARIABLE, Field, Template

if TYPE_CHECKING:
    from gfwd.daemon.inspect import Losses, Seen, Summed
    from gfwd.daemon.tap.verdict import Verdict
    from gfwd.netflow.summary import Exporter

_NS = 1_000_000_000
_TEXT_MOST = 200  # characters of a line of syslog

_SUMMARY_HEADS = (
    *("exporter", "sends", "datagrams", "rate", "records", "templates", "sets without", "sampling"),
    *("lost", "clock", "flawed"),
)


# ---- a line a datagram ----


def datagrams(those: Iterable["Seen"], *, with_records: bool) -> Iterator[str]:
    for seen in those:
        its = seen.datagram
        yield (
            f"{_time(seen.time)} {_end(seen.exporter, its.source_port)} > "
            f"{_end(seen.destination, its.destination_port)} {_line(seen.message)}"
            f"{'' if seen.live is None else f'  => {_verdict(seen.live.verdict)}'}"
        )
        if with_records:
            yield from (f"    {line}" for line in _records(seen.message))


def _time(ns: int) -> str:
    """As a clock on the wall here shows it; a time that no calendar has, as a number of seconds."""
    seconds, rest = divmod(ns, _NS)
    try:
        text = f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        text = str(seconds)
    return f"{text}.{rest // 1000:06}"


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _verdict(its: "Verdict") -> str:
    """What became of it, by which rules, and who gets it: to 10.2.2.6, one of a, b; gfwd.rules:3."""
    if its.way is None or not its.way.rules:
        return f"dropped: {its.fate}" if its.is_dropped() else its.fate
    names = [one if isinstance(one, str) else f"one of {', '.join(one['one_of'])}" for one in its.way.collectors]
    to, rules = f"to {', '.join(names)}", f"rule {', '.join(its.way.rules)}"
    if its.is_dropped():
        return f"dropped: {its.fate}; {rules} {to}"
    return f"{to}; {rules}" if its.fate == "forwarded" else f"waits for a neighbour, {to}; {rules}"


def _line(its: Message) -> str:
    parts = [protocol_text(its.protocol, its.version), many(its.length, "byte")]
    for name, value in (("count", its.count), ("sequence", its.sequence), ("source", its.source_id)):
        if value is not None:
            parts.append(f"{name} {value}")
    if its.sys_uptime is not None:
        parts.append(f"up {its.sys_uptime / 1000:.3f} s")
    if its.sampling is not None:
        parts.append(f"sampling 1:{its.sampling}")
    parts += [f"{name} {_shown(value)}" for name, value in its.details.items() if value is not None]
    parts += _sets(its.sets)
    if its.samples is not None:
        kinds = Counter(one.kind for one in its.samples())
        parts += [f"{n} × {kind}" for kind, n in kinds.items()]
    if its.flaw is not None:
        parts.append(f"flaw: {its.flaw}")
    return ", ".join(parts)


def _sets(those: list[FlowSet]) -> Iterator[str]:
    """256: 24 records; 257: no template."""
    for its in those:
        if its.kind is Kind.DATA:
            n = "no template" if its.n_records is None else many(its.n_records, "record")
            yield n if its.id is None else f"set {its.id}: {n}"
        else:
            ids = " ".join(str(one.id) for one in its.templates)
            what = "options template" if its.kind is Kind.OPTIONS_TEMPLATE else "template"
            yield f"{what} {ids}" if ids else f"no {what}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(value, _TEXT_MOST) if isinstance(value, str) else str(value)


# ---- records ----


def _records(its: Message) -> Iterator[str]:
    for one in its.sets:
        name = "records" if one.id is None else f"set {one.id}"
        yield f"{name}: {one.kind.value.replace('_', ' ')}, {many(one.length, 'byte')}"
        for template in one.templates:
            yield f"  template {template.id}: {', '.join(_fields(template))}"
        if one.kind is Kind.DATA:
            yield from _data(one)
    for sample in its.samples() if its.samples is not None else ():
        head = f"{sample.kind} sample, {many(sample.length, 'byte')}"
        more = (
            *(("sequence", sample.sequence), ("source", sample.source_id), ("sampling 1:", sample.sampling)),
            ("dropped", sample.drops or None),
        )
        yield ", ".join([head, *(f"{name} {value}".replace(": ", ":") for name, value in more if value is not None)])
        yield from (f"  {record.kind}, {many(record.length, 'byte')}" for record in sample.records)


def _data(its: FlowSet) -> Iterator[str]:
    records = its.records()
    if records is None:
        yield "  no template for it yet"
    for record in records or ():
        yield f"  {_pairs(record)}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_value, value))
    if isinstance(value, dict):
        return _list(value)
    return printable(value) if isinstance(value, str) else str(value)


def _list(its: dict[str, Any]) -> str:
    """Of RFC 6313: allOf[ingressInterface 1,2]; allOf[256 {a=1 b=2} {a=3 b=4}]; allOf[256 {a=1}; 257 no template]."""
    if "values" in its:
        inside = f"{its['element']} {_value(its['values'])}".rstrip()
    else:
        inside = "; ".join(_sub_list(one) for one in its.get("lists", [its]))
    return f"{its['semantic']}[{inside}]"


def _sub_list(its: dict[str, Any]) -> str:
    if its["records"] is None:
        return f"{its['template']} no template"
    return " ".join([str(its["template"]), *(f"{{{_pairs(one)}}}" for one in its["records"])])


def _pairs(record: dict[str, Any]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in record.items())


def _fields(its: Template) -> Iterator[str]:
    for at, one in enumerate(its.fields):
        mark = "scope " if at < its.n_scope else ""
        yield f"{mark}{one.name}({_length(its, one)})"


def _length(its: Template, one: Field) -> str:
    return "variable" if its.is_variable and one.length == VARIABLE else str(one.length)


# ---- tables ----


def summary(found: "Summed") -> Iterator[str]:
    those = found.summary.exporters
    if not those:
        yield "no datagram matched"
        return
    yield table_text(_SUMMARY_HEADS, [_summary_row(found, name, its) for name, its in those.items()], texts=(7,))


def _summary_row(found: "Summed", name: str, its: "Exporter") -> tuple[object, ...]:
    rate = its.rate()
    numbered = found.lost.get(name)
    lost: Counter[str] = Counter()
    for counts, n in (numbered or {}).items():
        lost[counts.partition(" ")[0].removesuffix("s")] += n  # records so far are records
    return (
        name,
        ", ".join(protocol_text(*protocol) for protocol in its.protocols),
        its.datagrams,
        "" if rate is None else rate_text(rate),
        its.records,
        found.templates[name],
        its.nameless_sets,
        ", ".join(f"1:{value:g}" for value in sorted(its.sampling)),
        # Where nothing has a number, nobody knows.
        "" if numbered is None else ", ".join(many(n, what) for what, n in lost.items() if n) or "0",
        "" if its.skew is None else _skew(*its.skew),
        its.flaws,
    )


def _skew(least: int, most: int) -> str:
    """How far its clock is ahead of the capture's, or behind it (-); to the second, as the header has it."""
    first, last = (f"{one:+,}" if one else "0" for one in (least, most))
    return f"{first} s" if least == most else f"{first} … {last} s"


def loss(found: "Losses") -> Iterator[str]:
    yield loss_text.table(found.plain()) or "no datagram with a sequence number matched"
    if found.streams.without:
        yield f"\nand {many(found.streams.without, 'datagram')} without a sequence number"
