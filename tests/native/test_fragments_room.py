"""Where all leaves by one port, the core stops reading until there is room for all that one frame gives rise to: the
parts that it is cut into, whichever headers they have, and the fragments that have waited for it. What finds no room,
or waits in vain, is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gfwd.native.core import Limits, NeighbourState
from gfwd.plan.blueprint import PlanPort
from gfwd.rules import classic
from gfwd.rules.model import Address, Options
from tests.cores import Rig, balances, mac, plan_of_rules, with_options
from tests.fragments import split
from tests.frames import (
    DESTINATION_OPTIONS,
    HOP_BY_HOP,
    IPV6,
    UDP,
    chain,
    datagram,
    ethernet,
    ipv6,
    options_header,
    udp,
)

EXPORTER, OWN = 0x0A020203, 0x0A020201
EXPORTER6, OWN6 = 0x20010DB8_00000000_00000000_00000003, 0x20010DB8_00000000_00000000_00000001
PORTS = (4_000, 514)
SLOTS = 32
LIMITS = Limits(rules=1, collectors=2, neighbours=2, exporters=64, flows=64)


@contextmanager
def rig(collectors: str, mtu: int, egress: tuple[int, ...] = (1, 1)) -> Iterator[Rig]:
    """Frames come in by port 0 and leave by port 1, or by these, with gfwd's own source address."""
    ruleset = classic.parse(f"default * {collectors}", "room.rules")
    own = Address(4, OWN), Address(6, OWN6)
    plan = plan_of_rules(
        with_options(ruleset, {name: Options(own_source=True) for name in collectors.split()}),
        ports=(PlanPort(own=own), PlanPort(mtu=mtu, own=own)),
        egress=egress,
    )
    with Rig(LIMITS, (0, 0), (2_048,), SLOTS) as its:
        for slot in range(2):
            its.core.set_neighbour(slot, mac(slot), NeighbourState.READY)
        its.core.publish(plan)
        yield its


def fill(its: Rig, frames: int, family: int, copies: int) -> None:
    """So many frames leave, and nobody takes them off the ring."""
    source, own = (EXPORTER, OWN) if family == 4 else (EXPORTER6, OWN6)
    for _ in range(frames // copies):
        assert its.core.arrive(0, datagram(family, source, own, PORTS))
    its.worker.step()


def drained(its: Rig) -> int:
    """How many frames leave, as often as there is room again."""
    n, left = 0, its.left(1)
    while left:
        n += len(left)
        its.worker.step()
        left = its.left(1)
    return n


@pytest.mark.parametrize("collectors", ["192.0.2.1", "192.0.2.1 192.0.2.2", "2001:db8::9", "2001:db8::9 192.0.2.2"])
@pytest.mark.parametrize("family", [4, 6])
def test_those_that_waited_may_be_longer_than_their_first(collectors: str, family: int) -> None:
    names = collectors.split()
    copies, mtu = len(names), 128
    source, own, header = (EXPORTER, OWN, 20) if family == 4 else (EXPORTER6, OWN6, 48)
    first, later = split(datagram(family, source, own, PORTS, bytes(600 // copies)), 14, [1], ident=7)
    with rig(collectors, mtu) as its:
        fill(its, 26, family, copies)
        assert its.core.arrive(0, later)
        assert its.core.arrive(0, first)
        its.worker.step()
        assert its.core.frames().received == 26 // copies + 1  # the first one has not been read yet
        assert its.core.frames().pending == 1
        rooms = [(mtu - (48 if ":" in name else 20)) // 8 * 8 for name in names]
        parts = sum(1 + -(-(len(later) - 14 - header) // room) for room in rooms)
        assert drained(its) == 26 + parts
        assert its.core.work().fragments_made == parts - copies
        assert its.core.frames().forwarded == 26 // copies + 2
        assert its.core.frames().pending == 0
        assert balances(its.core, copies)


@pytest.mark.parametrize("kind", [HOP_BY_HOP, DESTINATION_OPTIONS])
def test_extension_headers_stand_in_each_part(kind: int) -> None:
    """Hop-by-hop options do; destination options are cut with the rest, and nobody looks which it is beforehand."""
    segment = udp(6, EXPORTER6, OWN6, PORTS, bytes(400))
    first, payload = chain([(kind, options_header(200))], UDP, segment)
    with rig("2001:db8::9", mtu=304) as its:
        fill(its, 26, 6, 1)
        assert its.core.arrive(0, ethernet(ipv6(payload, EXPORTER6, OWN6, next_header=first), IPV6))
        its.worker.step()
        assert its.core.frames().received == 26
        assert drained(its) == 26 + its.core.work().fragments_made
        assert its.core.work().fragments_made == (8 if kind == HOP_BY_HOP else 3)
        assert its.core.frames().forwarded == 27
        assert its.core.collectors(1)[0].drops["tx_full"] == 0
        assert balances(its.core, 1)


def test_where_nobody_waits_for_room_all_parts_leave_or_none() -> None:
    """Two collectors behind two ports: one that is full stops nothing, and no part leaves of what has no room."""
    with rig("192.0.2.1 192.0.2.2", 128, egress=(1, 0)) as its:
        for _ in range(28):
            assert its.core.arrive(0, datagram(4, EXPORTER, OWN, PORTS))
        its.worker.step()
        assert len(its.left(0)) == 28
        for _ in range(2):  # the second time there is room again
            assert its.core.arrive(0, datagram(4, EXPORTER, OWN, PORTS, bytes(600)))
            its.worker.step()
            assert len(its.left(0)) == 1
            left = len(its.left(1))
            its.worker.step()
        assert left == its.core.work().fragments_made == 6
        behind_1, behind_0 = its.core.collectors(2)
        assert (behind_1.sent, behind_1.drops["tx_full"], behind_0.sent) == (29, 1, 30)
        assert balances(its.core, 2)


def test_what_waited_for_its_neighbour_waits_for_room_for_all_its_parts() -> None:
    with rig("192.0.2.1 192.0.2.2", mtu=128) as its:
        its.core.set_neighbour(0, None, NeighbourState.PENDING)
        for piece in split(datagram(4, EXPORTER, OWN, PORTS, bytes(1_200)), 14, [60], ident=7):
            assert its.core.arrive(0, piece)
        its.worker.step()
        sent = drained(its)
        for _ in range(27):
            assert its.worker.inject(1, datagram(4, OWN, EXPORTER, PORTS))
        its.core.set_neighbour(0, mac(0), NeighbourState.READY)
        its.worker.step()
        assert drained(its) == 27 + sent
        assert its.core.work().fragments_made == 2 * sent
        assert [ledger.sent for ledger in its.core.collectors(2)] == [2, 2]
        assert its.core.frames().pending == 0 and balances(its.core, 2)


def test_a_later_fragment_waits_for_room_for_all_its_copies() -> None:
    first, later = split(datagram(4, EXPORTER, OWN, PORTS, bytes(600)), 14, [1], ident=7)
    with rig("192.0.2.1 192.0.2.2", mtu=128) as its:
        assert its.core.arrive(0, first)
        its.worker.step()
        assert drained(its) == 2
        fill(its, 20, 4, copies=2)
        assert its.core.arrive(0, later)
        its.worker.step()
        assert its.core.frames().received == 11  # there is room for one copy, and not for both
        assert drained(its) == 20 + 2 * 6
        assert its.core.frames().forwarded == 12
        assert balances(its.core, 2)


def test_what_waits_for_its_first_one_is_lost_when_a_worker_ends() -> None:
    later = split(datagram(4, EXPORTER, OWN, PORTS, bytes(600)), 14, [1], ident=7)[1]
    with rig("192.0.2.1", mtu=128) as its:
        assert its.core.arrive(0, later)
        its.worker.step()
        assert its.core.frames().pending == 1 and balances(its.core, 1)
        its.worker.stop()
        its.worker.run()  # which ends before its first round
        assert its.core.frames().pending == 0 and balances(its.core, 1)
        assert its.core.frames().drops["fragment_lost"] == 1
