"""Who looks at datagrams: whose they are, what became of them, what is lost, and plans that nobody could look by."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfwd.native.core import (
    DROP_CAUSES,
    FORWARD,
    NONE,
    TAP_SOURCES_MAX,
    TAPS_MAX,
    WAIT,
    Core,
    CoreError,
    Limits,
    NeighbourState,
)
from gfwd.plan.blueprint import PlanPort
from gfwd.plan.taps import Tap, with_taps
from gfwd.rules import classic
from gfwd.rules.model import ALL_PORTS, Exporters, Prefix, merge_ports
from gfwd.rules.space import RuleSpace
from tests.cores import Rig, mac, plan_from, plan_of_rules
from tests.flows import V9, flow_set, message
from tests.fragments import split
from tests.frames import datagram

LIMITS = Limits(rules=16, collectors=16, neighbours=4, exporters=16, flows=64, frame_bytes=512, ring_slots=64)
OWN, EXPORTER = 0x0A020201, 0x0A020203
RULES = """\
10.2.2.0/24 514 192.0.2.1 A
10.2.0.0/16 2055-2060 192.0.2.1 B
2001:db8::/32 * 2001:db8:9::1 C
"""
SOURCES = (EXPORTER, 0x0A020303, 0x0A030303, 0x0B000001)
SOURCES6 = ((0x20010DB8 << 96) + 5, (0x20010DB9 << 96) + 5)
PORTS = (514, 2054, 2055, 2060, 2061, 65_535)


def rig(plan: bytes, limits: Limits = LIMITS) -> Rig:
    its = Rig(limits, (0,), (1_024,), 128)
    its.core.publish(plan)
    for slot in range(limits.neighbours):
        its.core.set_neighbour(slot, mac(slot), NeighbourState.READY)
    return its


def sent(family: int = 4, source: int = EXPORTER, port: int = 514, payload: bytes = b"") -> bytes:
    own = OWN if family == 4 else (0x20010DB8 << 96) + 1
    return datagram(family, source, own, (40_000, port), payload)


# -- Whose it is ------------------------------------------------------------------------------------------------------

prefixes = st.one_of(
    st.builds(
        lambda source, length: Prefix(4, source >> 32 - length << 32 - length, length),
        st.sampled_from(SOURCES),
        st.sampled_from((0, 8, 15, 16, 23, 24, 31, 32)),
    ),
    st.builds(
        lambda source, length: Prefix(6, source >> 128 - length << 128 - length, length),
        st.sampled_from(SOURCES6),
        st.sampled_from((0, 16, 31, 32, 64, 127, 128)),
    ),
)
some_ports = st.lists(st.sampled_from(PORTS), max_size=3).map(lambda its: merge_ports((p, p) for p in its) or ALL_PORTS)
taps = st.lists(
    st.builds(
        Tap,
        number=st.integers(0, TAPS_MAX - 1),
        sources=st.lists(prefixes, max_size=3),
        ports=some_ports,
        rules=st.none() | st.sets(st.integers(0, 2)),
        every=st.integers(1, 4),
    ),
    max_size=6,
    unique_by=lambda tap: tap.number,
)
arrivals = st.lists(
    st.tuples(st.just(4), st.sampled_from(SOURCES), st.sampled_from(PORTS))
    | st.tuples(st.just(6), st.sampled_from(SOURCES6), st.sampled_from(PORTS)),
    max_size=20,
)


def rule_of(space: RuleSpace, family: int, source: int, port: int) -> int:
    """By looking at all of them."""
    for number, (rule,) in enumerate(space.outcomes):
        its = rule.source
        is_from_there = its is not None and its.family == family and its.value <= source <= its.last
        if is_from_there and any(first <= port <= last for first, last in rule.ports):
            return number
    return NONE


def is_wanted(tap: Tap, family: int, source: int, port: int, rule: int) -> bool:
    """Of a filter, word for word."""
    from_there = any(one.family == family and one.value <= source <= one.last for one in tap.sources)
    return (
        (from_there or not tap.sources)
        and any(first <= port <= last for first, last in tap.ports)
        and (tap.rules is None or rule in tap.rules)
    )


@settings(max_examples=150, deadline=None)
@given(those=taps, before=taps, came=arrivals)
def test_each_gets_what_he_looks_for(
    those: Sequence[Tap], before: Sequence[Tap], came: Sequence[tuple[int, int, int]]
) -> None:
    """Whoever looked before, and however many do so now."""
    space = RuleSpace(classic.parse(RULES, "hand.rules"))
    plan = with_taps(with_taps(plan_from(RULES), before), those)
    assert plan == with_taps(plan_from(RULES), those)
    turns = dict.fromkeys((tap.number for tap in those), 0)
    expected: list[tuple[bytes, int, int]] = []
    with rig(plan) as its:
        for family, source, port in came:
            frame, rule = sent(family, source, port), rule_of(space, family, source, port)
            assert its.core.arrive(0, frame)
            whose = 0
            for tap in those:
                if is_wanted(tap, family, source, port, rule):
                    turns[tap.number] += 1
                    whose |= (turns[tap.number] % tap.every == 0) << tap.number
            if whose:
                expected.append((frame, rule, whose))
        its.worker.step()
        assert [(one.frame, one.rule, one.taps) for one in its.tapped()] == expected
        counts = its.core.taps()
        assert {tap.number: counts[tap.number].matched for tap in those} == turns
        assert all(one.lost == 0 for one in counts)


# -- What he gets -----------------------------------------------------------------------------------------------------


def fates(its: Rig) -> list[int]:
    return [one.fate for one in its.tapped()]


def test_what_became_of_it() -> None:
    text = "10.2.2.3 * 192.0.2.1 A\n10.2.2.4 * 192.0.2.2 A\n10.2.2.5 * 192.0.2.1 192.0.2.3 A\n"
    ruleset = classic.parse(text, "hand.rules")
    ruleset = ruleset._replace(exporters=Exporters(deny=(Prefix(4, 0x0A020209, 32),)))
    with rig(plan_of_rules(ruleset, taps=[Tap()])) as its:
        its.core.set_neighbour(1, None, NeighbourState.PENDING)
        its.core.set_neighbour(2, None, NeighbourState.FAILED)
        for last in (3, 4, 5, 9, 7):
            its.core.arrive(0, sent(source=0x0A020200 + last))
        its.worker.step()
        cause = DROP_CAUSES.index
        assert fates(its) == [FORWARD, WAIT, FORWARD, cause("denied"), cause("no_rule")]
        its.core.set_neighbour(0, None, NeighbourState.FAILED)
        its.core.arrive(0, sent())
        its.worker.step()
        assert fates(its) == [cause("neighbour_failed")]


def test_limits_and_loops_have_their_cause() -> None:
    ruleset = classic.parse("* * 192.0.2.1 A", "hand.rules")._replace(exporters=Exporters(limit=1))
    with rig(plan_of_rules(ruleset, own=(Prefix(4, OWN, 32),), taps=[Tap()])) as its:
        for source in (EXPORTER, EXPORTER, OWN):
            its.core.arrive(0, sent(source=source))
        its.worker.step()
        assert fates(its) == [FORWARD, DROP_CAUSES.index("rate_limited"), DROP_CAUSES.index("loop")]


def test_a_frame_is_seen_as_it_came() -> None:
    """Although its buffer, rewritten, has left by then."""
    with rig(plan_from("* * 192.0.2.1:9999 A", taps=[Tap()])) as its:
        its.core.arrive(0, sent(payload=b"as it came"), time=123_456_789)
        its.worker.step()
        (left,), (seen,) = its.left(0), its.tapped()
        assert seen.frame == sent(payload=b"as it came") != left
        assert seen.time == 123_456_789


def test_templates_come_beside_the_sample() -> None:
    with_template = message(V9, flow_set(0, bytes(8)))
    with rig(plan_from("* * 192.0.2.1 A", taps=[Tap(number=5, every=3), Tap(number=9)])) as its:
        for payload in (with_template, message(V9, flow_set(256)), with_template):
            its.core.arrive(0, sent(port=2055, payload=payload))
        its.worker.step()
        assert [(one.taps, one.templates) for one in its.tapped()] == [
            (1 << 9, 1 << 5),
            (1 << 9, 0),
            (1 << 5 | 1 << 9, 0),
        ]
        assert its.core.taps()[5] == (3, 2, 0)


def test_who_has_lost_some_is_told_where() -> None:
    """The gap is his alone, and stands at the next that he gets."""
    both = [Tap(number=0, ports=((1, 1),)), Tap(number=1, ports=((2, 2),))]
    with rig(plan_from("* * 192.0.2.1 A", taps=both), replace(LIMITS, ring_slots=2)) as its:
        for port in (1, 2, 1, 1):
            its.core.arrive(0, sent(port=port))
        its.worker.step()
        assert [(one.taps, one.gaps) for one in its.tapped()] == [(1, 0), (2, 0)]
        for port in (2, 1):
            its.core.arrive(0, sent(port=port))
        its.worker.step()
        its.core.arrive(0, sent(port=1))
        assert [(one.taps, one.gaps) for one in its.tapped()] == [(2, 0), (1, 1)]
        its.worker.step()
        assert [(one.taps, one.gaps) for one in its.tapped()] == [(1, 0)]
        assert its.core.taps()[:2] == [(5, 3, 2), (2, 2, 0)]
        assert its.core.work().tap_lost == 2
        assert len(its.left(0)) == 7


@pytest.mark.parametrize("family", [4, 6])
def test_of_fragments_the_first_is_seen(family: int) -> None:
    """Once, whenever it comes; by who wants whole datagrams only, none."""
    source = EXPORTER if family == 4 else SOURCES6[0]
    pieces = split(sent(family, source, payload=bytes(range(200))), 14, (10, 20), 7)
    assert len(pieces) == 3
    with rig(plan_from("* * 192.0.2.1 A", taps=[Tap(number=0), Tap(number=1, is_whole=True)])) as its:
        for piece in (pieces[1], pieces[0], pieces[2]):
            its.core.arrive(0, piece)
        its.worker.step()
        assert [(one.frame, one.taps) for one in its.tapped()] == [(pieces[0], 1)]
        assert its.core.frames().received == 3


def test_what_nobody_looks_for_takes_the_short_way() -> None:
    """Its buffer leaves from where it lies, in the order in which all came."""
    with rig(plan_from("* * 192.0.2.1 A", taps=[Tap(ports=((7, 7),))])) as its:
        ports = [514, 7, 515, 516, 7, 517]
        for port in ports:
            its.core.arrive(0, sent(port=port))
        its.worker.step()
        assert [int.from_bytes(frame[36:38]) for frame in its.left(0)] == ports
        assert len(its.tapped()) == 2
        assert its.core.work().swapped == 6


# -- Plans that nobody could look by ----------------------------------------------------------------------------------


def refused(plan: bytes, match: str) -> None:
    with Core(LIMITS) as core:
        core.port_mem(core.region(rings=2, slots=8))
        with pytest.raises(CoreError, match=match):
            core.publish(plan)


@pytest.mark.parametrize(
    ("its", "match"),
    [
        ([Tap(number=TAPS_MAX)], "number 32"),
        ([Tap(number=3), Tap(number=3)], "tap 1 has number 3"),
        ([Tap(every=0)], "takes one in 0"),
        ([Tap(sources=[Prefix(4, 0, 0)] * (TAP_SOURCES_MAX + 1))], "65 sources"),
        ([Tap(number=n % TAPS_MAX) for n in range(TAPS_MAX + 1)], "33 taps"),
    ],
)
def test_who_cannot_look(its: Sequence[Tap], match: str) -> None:
    refused(plan_from("* * 192.0.2.1 A", ports=(PlanPort(),), taps=its), match)


@pytest.mark.parametrize(("at", "match"), [(8, "sources from"), (16, "ports or rules"), (20, "ports or rules")])
def test_sections_end_somewhere(at: int, match: str) -> None:
    """first_source, ports, and rules of the tap, which stands behind all other sections."""
    plain = plan_from("* * 192.0.2.1 A")
    plan = bytearray(with_taps(plain, [Tap(sources=[Prefix(4, 0, 0)], ports=((1, 1),), rules=[0])]))
    struct.pack_into("=I", plan, len(plain) + at, 100_000)
    refused(bytes(plan), match)
