"""Collectors that stand for several places."""

from __future__ import annotations

from gfwd.native import core
from gfwd.plan.places import places_of, spread
from gfwd.rules.model import Address, Check, Collector, Group, Options

A, B, C = (Address(4, 0x0A020200 + n) for n in range(3))
X, Y = (Address(6, (0x20010DB8 << 96) + n) for n in range(2))
PLAIN = Collector("192.0.2.1", 514, Address(4, 0xC0000201))
FLOW = Collector("flow.example.net", 9995, None, "flow", Options(sample=2, check=Check("icmp"), resolve="all"))


def hosts(*receivers: Collector) -> list[str]:
    return [one.place() for one in receivers]


def test_a_place_has_an_address_and_the_options_of_the_whole():
    places = places_of(FLOW, (A, B, X))
    assert list(places.values()) == [(A, X), (B,)]
    for place in places:
        assert (str(place), place.port, place.options) == ("flow", 9995, Options(sample=2))
    assert hosts(*places) == ["10.2.2.0:9995", "10.2.2.1:9995"]


def test_each_place_gets_a_copy_and_is_a_member():
    places = {FLOW: places_of(FLOW, (A, B))}
    assert spread((PLAIN,), places, (), None) == (PLAIN,)
    found = spread((FLOW, PLAIN), places, (), None)
    assert found == (*places[FLOW], PLAIN)
    (group,) = spread((Group("farm", "flow", (PLAIN, FLOW)),), places, (), None)
    assert isinstance(group, Group) and group.members == (PLAIN, *places[FLOW])


def test_by_family():
    places = {FLOW: places_of(FLOW, (A, B, X))}
    first, second = places[FLOW]
    assert spread((FLOW,), places, (), 4) == (first, second)
    assert spread((FLOW,), places, (), 6) == (first,)
    only_v4 = {FLOW: places_of(FLOW, (A, B))}
    assert len(spread((FLOW,), only_v4, (), 6)) == 2  # which is counted as family_mismatch, as ever


def test_one_that_is_down_is_one_again_and_a_backup_has_its_places():
    lonely = FLOW
    assert spread((lonely,), {lonely: places_of(lonely, (A, B))}, {lonely}, None) == (lonely,)
    plain = PLAIN._replace(options=Options(backup=(FLOW,)))
    places = {FLOW: places_of(FLOW, (A, B))}
    assert spread((plain,), places, (), None) == (plain,)
    assert spread((plain,), places, {plain}, None) == tuple(places[FLOW])
    backed = FLOW._replace(options=Options(backup=(PLAIN,), resolve="all"))
    assert spread((backed,), {backed: places_of(backed, (A, B))}, {backed}, None) == (backed,)


def test_no_more_than_a_datagram_can_have():
    many = [Address(4, 0x0A030000 + n) for n in range(32)]
    named = [FLOW._replace(host=f"flow{n}.example.net", name=f"flow{n}") for n in range(100)]
    found = spread(tuple(named), {one: places_of(one, many) for one in named}, (), None)
    assert len(found) == core.TARGETS_MAX
    assert {str(one) for one in found} == {str(one) for one in named}
