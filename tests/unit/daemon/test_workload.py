"""What the core is measured with is what it is said to be."""

from collections import Counter

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from gfwd.daemon.workload import OPTIONS, Case, frames, parse_case, rules_text, ruleset
from gfwd.rules.classic import parse
from gfwd.rules.model import ALL_PORTS, Group, Options


def test_a_case_reads_back():
    case = Case(rules=7, collectors=2, exporters=3, frame_bytes=1_514, flood=50)
    assert parse_case(str(case)) == case
    assert parse_case("flood=100") == Case(flood=100)
    assert parse_case("option=group,rules=3") == parse_case(str(Case(rules=3, option="group")))


@pytest.mark.parametrize(
    "text", ["", "rules", "rules=", "rules=0", "rules=x", "rules=1_0", "size=1", "rules=1,,flood=1", "flood=101",
             "frame_bytes=59", "frame_bytes=2049", "collectors=129", "option=", "option=colour"]
)  # fmt: skip
def test_no_case(text):
    with pytest.raises(ValueError, match=r"write NAME=N|is a number from|option is one of"):
        parse_case(text)


def test_the_mix_of_rules():
    rules = parse(rules_text(Case(rules=10_001, collectors=3)), "bench").rules
    assert len(rules) == 10_001
    assert rules[-1].priority is None
    assert all(len(rule.collectors) == 3 for rule in rules)
    sources = Counter("any" if rule.source is None else rule.source.length for rule in rules[:-1])
    assert (sources[32], sources["any"]) == (7_000, 1_000)
    assert set(sources) == {32, "any", *range(8, 31)}
    ports = Counter(
        "any" if rule.ports == ALL_PORTS else "one" if sum(hi - lo + 1 for lo, hi in rule.ports) == 1 else "more"
        for rule in rules[:-1]
    )
    assert ports["one"] == pytest.approx(5_000, rel=0.05)
    assert ports["more"] == pytest.approx(3_333, rel=0.05)
    assert ports["any"] == pytest.approx(1_667, rel=0.1)


def test_what_options_add():
    text = rules_text(Case(rules=10, collectors=2))
    plain = ruleset(text, "none")
    assert plain == parse(text, "bench")
    options = {name: {one.options for one in ruleset(text, name).collectors()} for name in OPTIONS}
    assert options["own"] == {Options(own_source=True)}
    assert options["translated"] == {Options(own_source=True)}
    assert {one.address.family for one in ruleset(text, "translated").collectors() if one.address} == {6}
    assert options["ttl"] == {Options(ttl=64)}
    assert options["sample"] == {Options(sample=2)}
    assert options["limit"] == {Options(limit=1_000_000_000)}
    assert all(options[name] == {None} for name in ("none", "group", "all", "exporters"))
    assert all(isinstance(one, Group) for rule in ruleset(text, "group").rules for one in rule.receivers)
    assert [rule.applies_always for rule in ruleset(text, "all").rules] == [False] * 10 + [True]
    assert len(ruleset(text, "all").collectors()) == 3
    assert ruleset(text, "exporters").exporters.limit == 1_000_000_000
    assert ruleset(text, "resolved") == ruleset(text, "followed") == plain
    assert len({ruleset(text, name) for name in OPTIONS}) == len(OPTIONS) - 2


@pytest.mark.parametrize("size", [60, 188, 1_514])
def test_frames_are_sound(size):
    case = Case(rules=10, exporters=20, frame_bytes=size)
    data = bytes(frames(case))
    packets = [Ether(data[at : at + size]) for at in range(0, len(data), size)]
    assert len(packets) == len({packet[IP].src for packet in packets}) == 20
    for packet in packets:
        assert packet[IP].len == size - 14
        assert packet[UDP].len == size - 34
        checksum = packet[IP].chksum
        del packet[IP].chksum
        assert Ether(bytes(packet))[IP].chksum == checksum


def test_a_flood_hardly_ever_repeats_and_known_exporters_do():
    case = Case(rules=10, exporters=100, frame_bytes=60, flood=50)
    data = bytes(frames(case))
    flows = Counter(data[at + 26 : at + 30] + data[at + 36 : at + 38] for at in range(0, len(data), 60))
    known = [n for n in flows.values() if n > 100]
    assert len(known) == 100
    assert sum(known) == pytest.approx(sum(flows.values()) / 2, rel=0.01)
    assert len(flows) == pytest.approx(262_144, rel=0.01)
