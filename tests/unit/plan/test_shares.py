"""Who of a group gets what: evenly, and nothing moves that need not."""

from __future__ import annotations

from collections import Counter
from math import sqrt

from hypothesis import given, settings
from hypothesis import strategies as st

from gfwd.plan.shares import SHARES, share_of, shares
from gfwd.rules.model import Address, Collector, Family
from tests.oracle import choice

DEVIATIONS = 6  # one draw in a thousand million lies further away


def collector(host: int, port: int | None = None) -> Collector:
    address = Address(4, host)
    return Collector(str(address), port, address)


COLLECTORS = st.builds(collector, st.integers(0, 2**32 - 1), st.none() | st.integers(1, 65_535))
MEMBERS = st.lists(COLLECTORS, min_size=2, max_size=8, unique=True)


@settings(max_examples=30, deadline=None)
@given(MEMBERS, st.data())
def test_who_goes_leaves_only_its_own_parts(members: list[Collector], data: st.DataObject) -> None:
    """The other way round: who comes takes only what it gets."""
    gone = data.draw(st.sampled_from(members))
    rest = [member for member in members if member != gone]
    before, after = shares(members), shares(rest)
    for part in range(SHARES):
        if members[before[part]] != gone:
            assert rest[after[part]] == members[before[part]]


@settings(max_examples=30, deadline=None)
@given(MEMBERS, st.randoms(use_true_random=False))
def test_the_order_and_the_names_of_members_do_not_matter(members: list[Collector], rng: object) -> None:
    other = [member._replace(name=f"name{at}") for at, member in enumerate(reversed(members))]
    before, after = shares(members), shares(other)
    assert [members[place].place() for place in before] == [other[place].place() for place in after]


@settings(max_examples=30, deadline=None)
@given(MEMBERS)
def test_members_get_as_much_as_chance_gives(members: list[Collector]) -> None:
    """Each part is one throw of a die with as many sides as there are members."""
    got = Counter(shares(members))
    even = 1 / len(members)
    tolerance = DEVIATIONS * sqrt(SHARES * even * (1 - even))
    assert all(abs(got[place] - SHARES * even) < tolerance for place in range(len(members)))


@settings(max_examples=20, deadline=None)
@given(MEMBERS)
def test_the_twin_has_the_same_winners(members: list[Collector]) -> None:
    assert tuple(shares(members)) == choice.winners(tuple(member.place() for member in members))


@given(st.sampled_from((4, 6)), st.integers(0, 2**128 - 1), st.none() | st.tuples(*[st.integers(0, 65_535)] * 2))
def test_the_twin_has_the_same_parts(family: Family, value: int, flow: tuple[int, int] | None) -> None:
    source = Address(family, value if family == 6 else value >> 96)
    assert share_of(source, flow) == choice.share_of(family, source.value, flow)


def test_neighbouring_exporters_and_ports_are_in_all_parts() -> None:
    """Eight throws for each part: neither holds much more than its share, and none stays empty beyond chance."""
    for parts in (
        Counter(share_of(Address(4, 0x0A00_0000 + host)) for host in range(8 * SHARES)),
        Counter(share_of(Address(6, (0x2001_0DB8 << 96) + (host << 64))) for host in range(8 * SHARES)),
        Counter(share_of(Address(4, 1), (port, 514)) for port in range(8 * SHARES)),
    ):
        assert max(parts.values()) < 8 + DEVIATIONS * sqrt(8) + 4  # Poisson's tail is longer than Gauss's
        assert SHARES - len(parts) < 20  # of 4096, one or two are expected


def test_places_are_told_apart_by_port() -> None:
    assert len(set(shares([collector(1, 514), collector(1, 515), collector(1)]))) == 3
