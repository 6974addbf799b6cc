"""What gfwd explain says of drawn configurations, with all options, is what the core does with drawn traffic."""

from __future__ import annotations

import io
import json
import struct
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

from hypothesis import given, note, settings
from hypothesis import strategies as st

from gfwd.cli import main
from gfwd.daemon.explain import Live
from gfwd.daemon.report import HealthReport, WayReport
from gfwd.plan.blueprint import Blueprint
from tests.captures import Frame, pcap_file
from tests.e2e.test_replay import ledger, records
from tests.frames import datagram

OURS = {4: "10.2.2.1", 6: "2001:db8:1::1"}
EXPORTERS = "10.2.2.3", "10.2.2.4", "10.2.2.200", "10.9.0.1", "2001:db8:1::3", "2001:db8:1::4", "2001:db8:2::3"
PREFIXES = {
    "10.0.0.0/8": ["10.2.2.3", "10.2.2.0/24", "10.2.2.128/25", "10.9.0.0/16"],
    "10.2.2.0/24": ["10.2.2.3", "10.2.2.4", "10.2.2.0/30"],
    "10.2.2.3": [],
    "2001:db8::/32": ["2001:db8:1::/48", "2001:db8:1::3"],
    "2001:db8:1::/48": ["2001:db8:1::3"],
    "*": ["10.2.2.0/24", "10.2.2.3", "2001:db8:1::/48", "2001:db8:1::4"],
}
PORTS = 162, 514, 2055
SOURCE_PORTS = 4000, 4001
HOSTS = "10.2.3.40", "10.2.3.41", "2001:db8:3::40"
NAMES = {name: (f"10.2.3.{last}", f"2001:db8:3::{last}") for last, name in enumerate(("aa", "bb", "cc", "dd"), 50)}
GROUPS = "gg", "hh"
STAMP = 1_000_000_000  # ns; all datagrams come at once


# ---- what is drawn ----


@st.composite
def collectors(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """The keys of a [collector.NAME]."""
    keys: dict[str, Any] = {"host": draw(st.sampled_from(NAMES[name]))}
    options = {
        "port": st.sampled_from([2055, 9995]),
        "source": st.just("own"),
        "source_port": st.just(5000),
        "ttl": st.sampled_from([1, 255]),
        "sample": st.just(3),
        "limit": st.just(15),
        "backup": st.lists(st.sampled_from([*(set(NAMES) - {name}), HOSTS[0]]), min_size=1, max_size=2, unique=True),
    }
    for key in draw(st.sets(st.sampled_from(sorted(options)), max_size=3)):
        keys[key] = draw(options[key])
    return keys


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """The keys of a [[rule]]."""
    source = draw(st.sampled_from([*PREFIXES, "default"]))
    keys: dict[str, Any] = {
        "source": source,
        "ports": draw(st.sampled_from(["*", "514", "162,2055"])),
        "collectors": draw(st.lists(st.sampled_from([*NAMES, *GROUPS, *HOSTS]), min_size=2, max_size=4, unique=True)),
    }
    if source != "default":
        keys["priority"] = draw(st.sampled_from("ABC"))
        keys["apply"] = draw(st.sampled_from(["best", "all"]))
    if PREFIXES.get(source):
        keys["except"] = draw(st.lists(st.sampled_from(PREFIXES[source]), max_size=2, unique=True))
    return keys


@st.composite
def configurations(draw: st.DrawFn) -> str:
    some_prefixes = st.lists(st.sampled_from([prefix for prefix in PREFIXES if prefix != "*"]), max_size=2, unique=True)
    exporters: dict[str, Any] = {}
    if draw(st.booleans()):
        exporters = {"allow": draw(some_prefixes), "deny": draw(some_prefixes)}
    if draw(st.booleans()):
        exporters["limit"] = draw(st.sampled_from([1, 15]))
    rates = draw(st.dictionaries(st.sampled_from(["10.2.2.0/24", "10.2.2.3", "::/0"]), st.sampled_from([0, 1, 15, 50])))
    lines = [
        f"address = {json.dumps([*OURS.values()])}",
        'listen = "162,514,2055"',
        'ports.both = ["xdp:eth0"]',
    ]
    for name in NAMES:
        lines += table(f"[collector.{name}]", draw(collectors(name)))
    for name in GROUPS:
        members = draw(st.lists(st.sampled_from([*NAMES, *HOSTS[:2]]), min_size=2, max_size=4, unique=True))
        balance = draw(st.sampled_from(["exporter", "flow", "round-robin"]))
        lines += table(f"[group.{name}]", {"members": members, "balance": balance})
    lines += table("[exporters]", exporters)
    lines += table("[exporters.limits]", {f'"{prefix}"': rate for prefix, rate in rates.items()})
    for rule in draw(st.lists(rules(), min_size=2, max_size=6)):
        lines += table("[[rule]]", rule)
    return "\n".join(lines)


def table(head: str, keys: dict[str, Any]) -> list[str]:
    return [head, *(f"{key} = {json.dumps(value)}" for key, value in keys.items() if value != [])]


class Datagram(NamedTuple):
    source: str
    source_port: int
    port: int

    def frame(self, number: int) -> bytes:
        """Its number is what it carries."""
        source = ip_address(self.source)
        ours = ip_address(OURS[source.version])
        payload = struct.pack(">I", number)
        return datagram(source.version, int(source), int(ours), (self.source_port, self.port), payload)

    def point(self) -> str:
        return f"[{self.source}]:{self.port}" if ":" in self.source else f"{self.source}:{self.port}"


TRAFFIC = st.lists(
    st.builds(Datagram, st.sampled_from(EXPORTERS), st.sampled_from(SOURCE_PORTS), st.sampled_from(PORTS)),
    min_size=5,
    max_size=40,
)


DOWN = st.sets(st.sampled_from(sorted(NAMES)))


# ---- what is said, and what is done ----


@contextmanager
def known(down: Collection[str]) -> Iterator[None]:
    """A gfwd runs, which knows all ways, and that these collectors are down; replay's plan knows it, too."""
    addresses = {*HOSTS, *(address for both in NAMES.values() for address in both)}
    reports = (WayReport(one, one, "out", None, "ready", OURS[ip_address(one).version]) for one in addresses)
    ways = {report.goal(): report for report in reports}
    health = {one: HealthReport(one, "icmp", "down" if one in down else "up", 9, "x", None) for one in NAMES}

    def blueprint(**parts: Any) -> Blueprint:
        return Blueprint(**parts, down=frozenset(one for one in parts["routes"] if str(one) in down))

    with (
        patch("gfwd.cli.explain._live", lambda _: Live(ways, health)),
        patch("gfwd.daemon.replay.Blueprint", blueprint),
    ):
        yield


def gfwd(*words: str | Path) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(list(map(str, words)))
    return status, out.getvalue(), err.getvalue()


def explained(config: Path, traffic: Sequence[Datagram], *options: str) -> list[dict[str, Any]]:
    status, out, err = gfwd("explain", *(one.point() for one in traffic), "-c", config, "--json", *options)
    told = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (int(not all(one["rules"] for one in told)), "")
    return told


Sent = tuple[str, int, str, int, int]
"""A copy on the wire: source, its port, destination, its port, TTL."""


class Slot(NamedTuple):
    """A copy that is wanted. ways: how it may leave. may_stay: it need not. drop: why it surely does not."""

    ways: list[Sent]
    may_stay: bool
    drop: str | None


def slots(told: dict[str, Any], sent: Datagram) -> Iterator[Slot]:
    """One for each copy; the members of a group of which one gets it have one together."""
    by_group: defaultdict[object, list[dict[str, Any]]] = defaultdict(list)
    for number, copy in enumerate(told["copies"]):
        by_group[copy["group"] if copy["one_of"] else number].append(copy)
    for copies in by_group.values():
        leaving = [copy for copy in copies if copy["drop"] is None]
        stays = len(leaving) < len(copies) or any(copy["sample"] > 1 or copy["limit"] for copy in leaving)
        # Whom a group may choose, and who is named beside it, or may be another's choice, gets one copy of the two.
        elsewhere = [one for one in told["copies"] if one not in copies and (one["one_of"] or copies[0]["one_of"])]
        others = {one["collector"] for one in elsewhere}
        coincides = any(copy["collector"] in others for copy in copies)
        drops = {copy["drop"] for copy in copies}
        drop = drops.pop() if not leaving and not coincides and len(drops) == 1 else None
        yield Slot([way(copy, sent) for copy in leaving], stays or coincides, drop)


def way(copy: dict[str, Any], sent: Datagram) -> Sent:
    assert (copy["own"] is None) == (copy["source"] == "keep")
    return (
        copy["own"] or sent.source,
        copy["source_port"] or sent.source_port,
        copy["address"],
        copy["port"],
        copy["ttl"] or 63,
    )


def taken_apart(frame: bytes) -> tuple[int, Sent]:
    """The number that it carries, and how it left."""
    if frame[12:14] == b"\x08\x00":
        source, to, ttl, udp = frame[26:30], frame[30:34], frame[22], 34
    else:
        source, to, ttl, udp = frame[22:38], frame[38:54], frame[21], 54
    source_port, port, _, _, number = struct.unpack_from(">HHHHI", frame, udp)
    return number, (str(ip_address(source)), source_port, str(ip_address(to)), port, ttl)


def could_be(found: Sequence[Sent], wanted: Sequence[Slot]) -> bool:
    """Whether these are the copies that left, in order."""
    if not wanted:
        return not found
    slot, *rest = wanted
    if found and found[0] in slot.ways and could_be(found[1:], rest):
        return True
    return (slot.may_stay or not slot.ways) and could_be(found, rest)


def is_taken(told: dict[str, Any], taken: int) -> bool:
    """Whether an exporter of which so many were taken is within its limit: docs/packets.md, for all at one moment."""
    if told["limit"] is None or told["limit"]["rate"] is None:
        return True
    apart_ns = 1_000_000_000 // told["limit"]["rate"]
    return bool(taken * apart_ns <= 100_000_000)


@settings(max_examples=100)
@given(configurations(), TRAFFIC)
def test_explain_is_what_the_core_does(text: str, traffic: list[Datagram]) -> None:
    check(text, traffic)


@settings(max_examples=100)
@given(configurations(), TRAFFIC, DOWN)
def test_while_collectors_are_down(text: str, traffic: list[Datagram], down: set[str]) -> None:
    with known(down):
        check(text, traffic, "--live")


def check(text: str, traffic: Sequence[Datagram], *options: str) -> None:
    note(text)
    with TemporaryDirectory() as folder:
        config, capture, out = (Path(folder, name) for name in ("gfwd.toml", "in.pcap", "out.pcap"))
        config.write_text(text)
        if gfwd("check", "-c", config)[0] == 2:  # not all that is drawn is right
            return
        frames = [one.frame(number) for number, one in enumerate(traffic)]
        capture.write_bytes(pcap_file([Frame(STAMP, frame, len(frame)) for frame in frames], resolution="ns"))
        told = explained(config, traffic, *options)
        certain = {port: explained(config, traffic, *options, "--source-port", str(port)) for port in SOURCE_PORTS}
        status, accounting, _ = gfwd("replay", capture, "-o", out, "-c", config, "--json")
        assert status == 0
        counted = ledger(accounting)
        found: defaultdict[int, list[Sent]] = defaultdict(list)
        for _, frame in records(out):
            number, sent = taken_apart(frame)
            found[number].append(sent)
    compare(traffic, told, certain, counted, found)


def compare(
    traffic: Sequence[Datagram],
    told: Sequence[dict[str, Any]],
    certain: dict[int, list[dict[str, Any]]],
    counted: dict[str, Any],
    found: dict[int, list[Sent]],
) -> None:
    drops, by_rule, taken, wanted = Counter[str](), Counter[str](), Counter[str](), 0
    stay = Counter[str]()
    for number, sent in enumerate(traffic):
        for its in (told[number], certain[sent.source_port][number]):
            wants = list(slots(its, sent))
            cause = "denied" if its["denied"] else "no_rule" if not its["rules"] else None
            if cause is None and not is_taken(its, taken[sent.source]):
                cause = "rate_limited"
            if cause is not None:
                assert found[number] == []
                assert (cause == "rate_limited") == bool(its["rules"])
            else:
                assert could_be(found[number], wants), (sent, its["copies"], found[number])
        drops[cause or "taken"] += 1
        if cause is None:
            taken[sent.source] += 1
            wanted += len(wants)
            by_rule.update(f"{rule['path']}:{rule['line']}" for rule in its["rules"])
            stay.update(slot.drop for slot in wants if slot.drop is not None)
    for cause in ("denied", "no_rule", "rate_limited"):
        assert counted["drops"][cause] == drops[cause]
    # Who is a group's choice by turns, and gets a copy anyway, is told twice, and gets one.
    has_turns = any(copy["one_of"] for its in told for copy in its["copies"])
    assert counted["copies"]["wanted"] == wanted or (has_turns and counted["copies"]["wanted"] < wanted)
    assert {place: n["packets"] for place, n in counted["rules"].items() if n["packets"]} == by_rule
    assert all(counted["copies"]["drops"][cause] >= n for cause, n in stay.items())
