"""What comes back, in the core on memory rings: the wire turns round what leaves, as another forwarder would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from gfwd.native.core import Limits, NeighbourState
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.rules.model import ADDRESS_BITS, Address, Collector, Family, Options, Prefix, Rule, RuleSet
from gfwd.rules.space import RuleSpace
from tests.cores import Rig, balances, mac, plan_from
from tests.frames import checksum, datagram

LIMITS = Limits(rules=1, collectors=1, neighbours=1, exporters=16_384)
OWN, FIRST_EXPORTER = 0x0A020201, 0x0A030000


@pytest.fixture
def rig() -> Iterator[Rig]:
    """All that comes goes to one collector."""
    with Rig(LIMITS, (0,), (256,)) as its:
        its.core.set_neighbour(0, mac(0), NeighbourState.READY)
        its.core.publish(plan_from("* 514 192.0.2.1 A"))
        yield its


def sent(exporter: int, number: int) -> bytes:
    return datagram(4, FIRST_EXPORTER + exporter, OWN, (40_000, 514), number.to_bytes(8, "big"))


def turned_round(frame: bytes) -> bytes:
    """A hop further."""
    header = bytearray(frame[14:34])
    header[8] -= 1
    header[10:12] = bytes(2)
    header[10:12] = checksum(bytes(header)).to_bytes(2, "big")
    return frame[:14] + bytes(header) + frame[34:]


def departures(rig: Rig, arriving: Iterable[bytes]) -> Counter[bytes]:
    """How often each datagram leaves until nothing comes back any more, when all are under way together."""
    found = Counter[bytes]()
    under_way = list(arriving)
    while under_way:
        for frame in under_way:
            assert rig.core.arrive(0, frame)
        rig.worker.step()
        rig.worker.step()
        left = rig.left(0)
        rig.worker.step()
        found.update(frame[42:50] for frame in left)
        under_way = [turned_round(frame) for frame in left]
    assert balances(rig.core, 1)
    return found


def test_with_many_under_way(rig: Rig) -> None:
    """Each leaves once, whatever else is on its way round meanwhile."""
    number = 500
    assert max(departures(rig, (sent(0, n) for n in range(number))).values()) <= 3
    for batch in range(1, 21):
        again = departures(rig, (sent(0, n) for n in range(batch * number, (batch + 1) * number)))
        assert len(again) == number and set(again.values()) == {1}, batch
    assert rig.core.frames().drops["loop"] >= 21 * number


def test_of_many_exporters(rig: Rig) -> None:
    """Each is known by its own TTL, whoever else sends."""
    exporters, batch = 6_000, 500
    for turn in range(3):
        found = Counter[bytes]()
        for first in range(0, exporters, batch):
            found += departures(rig, (sent(n, turn * exporters + n) for n in range(first, first + batch)))
        assert len(found) == exporters
        assert max(found.values()) <= 3
    assert set(found.values()) == {1}


@pytest.mark.parametrize("family", [4, 6])
def test_what_left_with_an_address_that_nobody_sends_to(family: Family) -> None:
    """It is a loop wherever it comes in, although the address is not one that exporters send to."""
    sender, exporter, own, to = (Address(family, value) for value in (0xA0001, 0xB0001, 0xC0001, 0xD0001))
    collector = Collector(str(to), None, to, options=Options(own_source=True))
    rules = RuleSet("hand", (Rule(None, ((514, 514),), (collector,), "A", 1),))
    blueprint = Blueprint(
        space=RuleSpace(rules),
        routes={collector: Route(0, (Hop(to, 0, 0),))},
        ports=(PlanPort(own=(sender,)),),
        own=(Prefix(family, own.value, ADDRESS_BITS[family]),),
    )
    with Rig(LIMITS, (0,), (256,)) as its:
        its.core.set_neighbour(0, mac(0), NeighbourState.READY)
        its.core.publish(compile_plan(blueprint))
        for source in (exporter, sender, own):
            assert its.core.arrive(0, datagram(family, source.value, own.value, (40_000, 514), b"payload"))
        its.worker.step()
        (left,) = its.left(0)
        at = (26, 30) if family == 4 else (22, 38)
        assert int.from_bytes(left[slice(*at)]) == sender.value
        ledger = its.core.frames()
        assert (ledger.forwarded, ledger.drops["loop"]) == (1, 2)
        its.core.publish(compile_plan(replace(blueprint, ports=(PlanPort(own=(exporter,)),))))
        its.core.arrive(0, datagram(family, sender.value, own.value, (40_000, 514), b"an exporter's by now"))
        its.worker.step()
        assert its.core.frames().forwarded == 2
        assert balances(its.core, 1)
