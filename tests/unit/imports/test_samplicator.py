"""samplicator's configurations. The format is that of its README.md and read_config.c, the matching samplicate.c's."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfwd.errors import ConfigError
from gfwd.imports.imported import Imported
from gfwd.imports.samplicator import import_command, import_file
from gfwd.imports.sources import masked, without
from gfwd.rules.model import Address, Prefix, address_text
from tests.unit.imports.importing import receivers, said


def turned(text: str) -> Imported:
    return import_file(text, "s.conf", ((9995, 9995),))


def errors(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        turned(text)
    return [str(problem) for problem in caught.value.problems]


# ---- Against a stupid model ----


class Line(NamedTuple):
    family: int
    value: int
    mask: int
    receivers: frozenset[str]

    def text(self) -> str:
        if self.family == 4:
            return (
                f"{address_text(4, self.value)}/{address_text(4, self.mask)}: {' '.join(map(written, self.receivers))}"
            )
        length = self.mask.bit_count()
        return f"[{address_text(6, self.value)}]/{length}: {' '.join(map(written, self.receivers))}"

    def matches(self, source: Address) -> bool:
        """As match_addr_p() does, but with all bits of an IPv6 address."""
        if self.family == 4 and self.value == 0:
            return True
        if self.family == 6 and self.mask == 0:
            return True
        return self.family == source.family and source.value & self.mask == self.value


def written(receiver: str) -> str:
    host, _, port = receiver.rpartition(":")
    return f"{host}/{port}"


RECEIVERS = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "[2001:db8::9]:1", "[2001:db8::9]:2", "log.example.net:1"]
VALUES = st.sampled_from([0, 0, 1, 2, 3, 0x0A000000, 0x0A000100, 0x0A000101, 0x0A010001, 0x0A800000, 0xC0000001])
MASKS = st.integers(0, 32).map(lambda n: (1 << 32) - (1 << n)) | st.sampled_from([0xFF00FFFF, 0xFFFF00FE, 0xFE7FFFFE])


@st.composite
def lines(draw: st.DrawFn) -> Line:
    some = frozenset(draw(st.lists(st.sampled_from(RECEIVERS), min_size=1, max_size=3)))
    if draw(st.integers(0, 3)):
        value, mask = draw(VALUES), draw(MASKS)
        return Line(4, value & mask if draw(st.booleans()) else value, mask, some)
    mask = (1 << 128) - (1 << 128 - draw(st.integers(0, 8) | st.sampled_from([32, 48, 127, 128])))
    value = draw(st.sampled_from([0, 1, 0x20 << 120, 0x20010DB8 << 96, (0x20010DB8 << 96) + 1]))
    return Line(6, value & mask, mask, some)


SOURCES = st.builds(Address, st.just(4), VALUES | st.integers(0, (1 << 32) - 1)) | st.builds(
    Address, st.just(6), st.sampled_from([1, 2, 0x20 << 120, 0x20010DB8 << 96, (0x20010DB8 << 96) + 1, 1 << 127])
)


@settings(max_examples=400)
@given(st.lists(lines(), min_size=1, max_size=7), st.lists(SOURCES, min_size=1, max_size=12))
def test_the_same_receivers_as_samplicator(config: list[Line], sources: list[Address]) -> None:
    outcome = turned("".join(f"{line.text()}\n" for line in config))
    near = [Address(4, line.value ^ bit) for line in config if line.family == 4 for bit in (0, 1, 0x100, 0x01000000)]
    for source in [*sources, *near]:
        wanted = set().union(*(line.receivers for line in config if line.matches(source)))
        other = "192.0.2." if source.family == 6 else "["  # gfwd keeps the source, and so its family
        assert receivers(outcome, source) == {receiver for receiver in wanted if not receiver.startswith(other)}


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_a_mask_with_gaps(value: int, mask: int, address: int) -> None:
    """The last eight bits stand for all: the addresses above them are left out by the mask's first 24."""
    prefixes = masked(4, value, 0xFFFFFF00 | mask)
    assert any(prefix.holds(Prefix(4, address, 32)) for prefix in prefixes) == (address & mask == value)
    assert len(set(prefixes)) == len(prefixes)


@given(st.integers(0, 8), st.lists(st.tuples(st.integers(0, 255), st.integers(0, 8)), max_size=5))
def test_what_is_left_of_a_prefix(length: int, holes: list[tuple[int, int]]) -> None:
    whole = Prefix(4, 0, 24 + length)
    cut = [Prefix(4, value >> 8 - n << 8 - n, 24 + n) for value, n in holes]
    parts = without(whole, [hole for hole in cut if whole.holds(hole)])
    for value in range(256):
        address = Prefix(4, value, 32)
        is_left = whole.holds(address) and not any(hole.holds(address) for hole in cut if whole.holds(hole))
        assert sum(part.holds(address) for part in parts) == is_left


# ---- What is said ----


def test_overlapping_lines_are_united():
    outcome = turned("10.0.0.0/8: 192.0.2.1/1\n10.1.0.0/16: 192.0.2.2/2\n")
    assert outcome.text() == (
        "# s.conf:1\n10.0.0.0/8   9995  192.0.2.1:1              A\n"
        "# s.conf:1, s.conf:2\n10.1.0.0/16  9995  192.0.2.1:1 192.0.2.2:2  A\n"
    )
    assert outcome.is_whole()
    assert len(said(outcome, "note")) == 1


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("10.0.0.1: 192.0.2.1/1/10", "192.0.2.1/1/10 gets one datagram in 10, from gfwd all of them"),
        ("10.0.0.1: 192.0.2.1/1/1,64", "192.0.2.1/1/1,64 gets TTL 64; gfwd keeps"),
        ("10.0.0.1: 192.0.2.1/1 192.0.2.1/1", "192.0.2.1:1 would get a datagram more than once"),
        ("10.0.0.1: 192.0.2.1/1-200", '"192.0.2.1/1-200" stands for 200 receivers: those behind the 128th'),
        ("10.0.0.1: [2001:db8::1]", "[2001:db8::1]:2000 is left out: gfwd keeps the exporter's IPv4 address"),
        ("[2001:db8::]/32: 192.0.2.1", "samplicator compares only the first 8 bits of an IPv6 address"),
        ("0.0.0.0/0: [2001:db8::1]/1", "[2001:db8::1]:1 gets what IPv6 exporters send"),
        ("10.0.0.1/8: 192.0.2.1", 'left out: "10.0.0.1/8" has bits set behind its mask'),
        ("1.0.0.0/1.255.0.1: 192.0.2.1", "left out: the mask has so many gaps"),
        ("a.example.net: 192.0.2.1", 'left out: the source "a.example.net" is a name'),
        ("10.0.0.1: 127.0.0.1", 'left out: "127.0.0.1:2000": a loopback address'),
    ],
)
def test_what_is_different(line, warning):
    outcome = turned(f"{line}\n10.9.9.9: 192.0.2.9\n")
    assert any(text.startswith(f"1: {warning}") for text in said(outcome))
    assert not outcome.is_whole()
    assert "192.0.2.9:2000" in outcome.text()


def test_more_collectors_than_a_rule_holds():
    outcome = turned("10.0.0.0/8: 192.0.2.1/1+100\n10.1.0.0/16: 192.0.2.2/1+100\n")
    assert [len(rule.collectors) for rule in outcome.rules] == [100, 128]
    assert said(outcome)[0].startswith("2: 200 receivers, of which gfwd has room for 128 in a rule")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("10.0.0.1 192.0.2.1", "s.conf:1: error: no colon behind the source"),
        ("[2001:db8::1: 192.0.2.1", "s.conf:1: error: no colon behind the source"),
        ("10.0.0.256: 192.0.2.1", "s.conf:1:1: error: "),
        ("10.0.0.0/33: 192.0.2.1", 's.conf:1:1: error: "33" is neither the length of a prefix nor a netmask'),
        ("10.0.0.0/255.0.0: 192.0.2.1", 's.conf:1:1: error: "255.0.0" is neither'),
        ("*: 192.0.2.1", 's.conf:1:1: error: "*" is no source'),
        ("10.0.0.1: 192.0.2.1/0", 's.conf:1:11: error: "192.0.2.1/0": "0" is not a port'),
        ("10.0.0.1: 192.0.2.1/syslog", 's.conf:1:11: error: "192.0.2.1/syslog": "syslog" is not a port'),
        ("10.0.0.1: 192.0.2.1/9-8", 's.conf:1:11: error: "192.0.2.1/9-8"'),
        ("10.0.0.1: 192.0.2.1/1/x", 's.conf:1:11: error: "x" is not a frequency'),
        ("10.0.0.1: 192.0.2.1/1/1,256", 's.conf:1:11: error: "256" is not a TTL'),
        ("10.0.0.1: [2001:db8::1", 's.conf:1:11: error: "[2001:db8::1" is not a receiver'),
        ("10.0.0.1: @@", "s.conf:1:11: error: "),
        ("", "s.conf: error: no receivers in it"),
        ("# nothing", "s.conf: error: no receivers in it"),
    ],
)
def test_what_samplicator_would_refuse(line, error):
    found = errors(line)
    assert len(found) == 1
    assert found[0].startswith(error)


def test_all_errors_at_once():
    assert [text.partition(": ")[0] for text in errors("x\n10.0.0.1: y! z!\n")] == [
        "s.conf:1",
        "s.conf:2:11",
        "s.conf:2:14",
    ]


# ---- The command line ----


def test_a_command_line():
    files = {"/etc/s.conf": "10.0.0.0/8: 192.0.2.2/2\n"}
    line = "/opt/samplicator/bin/samplicate -S -c /etc/s.conf -p 162 -s 192.0.2.50 -d 0 -f 192.0.2.1/1"
    outcome = import_command(line, None, files.__getitem__)
    assert outcome.text() == (
        "# command line:1\ndefault     162  192.0.2.1:1\n"
        "# command line:1, /etc/s.conf:1\n10.0.0.0/8  162  192.0.2.1:1 192.0.2.2:2  A\n"
    )
    assert outcome.is_whole()
    assert said(outcome, "note") == ["1: -s 192.0.2.50: start gfwd run with --address 192.0.2.50"]


def test_what_a_command_line_does_else():
    outcome = import_command("samplicate -n -x 5 192.0.2.1/1", None, str)
    assert outcome.rules[0].ports == ((2000, 2000),)
    starts = [text.partition(":")[2].split(":")[0].strip() for text in said(outcome)]
    assert starts[1:] == ["-n", "-x"]
    assert said(outcome)[0].startswith("1: without -S, samplicate sends from its own address")


@pytest.mark.parametrize(
    "line", ["samplicate -p", "samplicate -Q 192.0.2.1", "samplicate -p 0 192.0.2.1", "samplicate 'x", "ls -l"]
)
def test_a_bad_command_line(line):
    with pytest.raises(ConfigError):
        import_command(line, None, str)
