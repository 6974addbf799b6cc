"""A card and the host stack behind it: what is not ours passes between them as it came; forwarding waits for neither.

Port 0 is the card, port 1 its host stack, port 2 where datagrams leave; all are memory ports.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random

import pytest

from gfwd.native.core import CoreError, Limits, NeighbourState
from gfwd.plan.blueprint import PlanPort
from gfwd.rules.model import Prefix
from tests.cores import Rig, balances, mac, plan_from
from tests.fragments import split
from tests.frames import arp_request, datagram

LIMITS = Limits(rules=16, collectors=16, neighbours=4, exporters=16, flows=64, frame_bytes=512, ring_slots=16)
OWN, OTHER, EXPORTER = 0x0A020201, 0x0A020202, 0x0A020203
CARD, HOST, OUT = 0, 1, 2
PORTS = (PlanPort(passes_to=HOST), PlanPort(passes_to=CARD, out_only=True), PlanPort())
SLOTS = 64


def to(address: int, number: int, size: int = 0) -> bytes:
    """A sound datagram to an address, with a number and so many bytes more."""
    return datagram(4, EXPORTER, address, (40_000, 514), number.to_bytes(4) + bytes(size))


def numbers(frames: Sequence[bytes]) -> list[int]:
    return [int.from_bytes(frame[42:46]) for frame in frames]


def dropped(its: Rig) -> dict[str, int]:
    return {cause: n for cause, n in its.core.frames().drops.items() if n}


def go_round(its: Rig) -> None:
    """Twice: the card gets its slots back when the worker asks it for more."""
    its.worker.step()
    its.worker.step()


@contextmanager
def rig(
    egress: int = OUT,
    *,
    region_of: Sequence[int] = (0, 0, 0),
    buffers: Sequence[int] = (512,),
    ports: tuple[PlanPort, ...] = PORTS,
) -> Iterator[Rig]:
    """One collector behind a port; address 10.2.2.1 is ours."""
    own = (Prefix(4, OWN, 32), Prefix(6, OWN, 128))
    with Rig(LIMITS, region_of, buffers, SLOTS) as its:
        its.core.set_neighbour(0, mac(0), NeighbourState.READY)
        its.core.publish(plan_from("default * 192.0.2.1", ports=ports, egress=(egress,), own=own))
        yield its
        assert balances(its.core, 1)


@pytest.mark.parametrize("region_of", [(0, 0, 0), (0, 1, 0), (0, 1, 2)])
@pytest.mark.parametrize("egress", [OUT, CARD])
def test_both_ways_at_once(region_of: tuple[int, ...], egress: int) -> None:
    """In one region buffers are exchanged, between two frames are copied; order is kept in each direction."""
    rng = Random(f"host {region_of} {egress}")
    ours: list[int] = []
    up: list[bytes] = []
    down: list[bytes] = []
    left: dict[int, list[bytes]] = {CARD: [], HOST: [], OUT: []}
    with rig(egress, region_of=region_of, buffers=(512, 512, 512)) as its:
        for number in range(2_000):
            frame = to(rng.choice((OWN, OTHER)), number, rng.randrange(400))
            if rng.random() < 0.3:
                assert its.core.arrive(HOST, frame)
                down.append(frame)
            else:
                assert its.core.arrive(CARD, frame)
                if frame == to(OWN, number, len(frame) - 46):
                    ours.append(number)
                else:
                    up.append(frame)
            if rng.random() < 0.1 or number % 20 == 0:
                its.worker.step()
                for port in left:
                    left[port] += its.left(port)
        its.worker.step()
        for port in left:
            left[port] += its.left(port)
        forwarded = [frame for frame in left[egress] if frame[:6] == mac(0)]
        assert numbers(forwarded) == ours
        assert left[HOST] == up
        assert [frame for frame in left[CARD] if frame[:6] != mac(0)] == down
        ledger = its.core.frames()
        assert (ledger.forwarded, ledger.passed, dropped(its)) == (len(ours), len(up) + len(down), {})


def test_whatever_is_not_ours_passes() -> None:
    frames = [
        arp_request(EXPORTER, OWN),
        to(OTHER, 1),
        datagram(6, EXPORTER, OTHER, (1, 514), b"six"),
        datagram(4, EXPORTER, OTHER, (1, 514), b"tagged", [(0x88A8, 7), (0x8100, 30)]),
        bytes(14),
        bytes(12) + b"\x88\xcc" + bytes(100),
    ]
    with rig() as its:
        for frame in frames:
            assert its.core.arrive(CARD, frame)
        its.worker.step()
        assert its.left(HOST) == frames
        assert its.punted() == []  # the host answers for itself
        assert its.core.frames().passed == len(frames)


def test_nothing_from_the_host_is_ours() -> None:
    """Its own datagrams to a collector, or to us, are not forwarded by rules; nor are they judged."""
    frames = [to(OWN, 1), arp_request(OWN, EXPORTER), b"", bytes(5), to(OWN, 2)[:20], to(OWN, 3)[:-1]]
    with rig() as its:
        for frame in frames:
            assert its.core.arrive(HOST, frame)
        its.worker.step()
        assert its.left(CARD) == frames
        assert (its.left(OUT), its.punted()) == ([], [])
        assert (its.core.frames().passed, its.core.exporters()[1:]) == (len(frames), [])


@pytest.mark.parametrize("region_of", [(0, 0, 0), (0, 1, 0)])
def test_a_host_that_is_full_stops_nothing(region_of: tuple[int, ...]) -> None:
    with rig(region_of=region_of, buffers=(512, 512)) as its:
        left: list[bytes] = []
        for number in range(200):
            assert its.core.arrive(CARD, to(OTHER, number))
            assert its.core.arrive(CARD, to(OWN, number))
            its.worker.step()
            left += its.left(OUT)
        assert numbers(left) == list(range(200))
        assert dropped(its) == {"host_full": 200 - (SLOTS - 1)}
        assert numbers(its.left(HOST)) == list(range(SLOTS - 1))
        assert its.core.arrive(CARD, to(OTHER, 777))
        its.worker.step()
        assert numbers(its.left(HOST)) == [777]


def test_a_full_host_within_one_burst() -> None:
    """Ours between the others: their runs end and begin again, and none is lost."""
    with rig() as its:
        for number in range(3 * 60):
            assert its.core.arrive(CARD, to(OTHER if number % 3 else OWN, number))
            if number % 60 == 59:
                go_round(its)
        assert numbers(its.left(OUT)) == list(range(0, 180, 3))
        assert numbers(its.left(HOST)) == [number for number in range(180) if number % 3][: SLOTS - 1]
        assert dropped(its) == {"host_full": 120 - (SLOTS - 1)}


def test_a_full_card_stops_the_reading_of_ours_only() -> None:
    """One-armed: what is ours waits in the ring for room; the host's frames do not, and are lost."""
    with rig(egress=CARD) as its:
        for number in range(SLOTS - 1):
            assert its.core.arrive(CARD, to(OWN, number))
        go_round(its)
        for number in range(100, 110):
            assert its.core.arrive(HOST, to(OTHER, number))
            assert its.core.arrive(CARD, to(OWN, number))
        its.worker.step()
        assert dropped(its) == {"host_full": 10}
        assert numbers(its.left(CARD)) == list(range(SLOTS - 1))
        its.worker.step()
        assert numbers(its.left(CARD)) == list(range(100, 110))
        assert its.core.arrive(HOST, to(OTHER, 5))
        its.worker.step()
        assert numbers(its.left(CARD)) == [5]


def test_frames_longer_than_the_others_buffers() -> None:
    with rig(region_of=(0, 1, 0), buffers=(512, 128)) as its:
        for size in (128, 129, 512):
            assert its.core.arrive(CARD, to(OTHER, size, size - len(to(OTHER, 0))))
        its.worker.step()
        assert numbers(its.left(HOST)) == [128]
        assert dropped(its) == {"too_big": 2}


def test_tags_and_mtu_are_for_datagrams() -> None:
    """What passes is not rewritten, whatever the ports are set to."""
    ports = (
        PlanPort(passes_to=HOST, tags=bytes.fromhex("8100001e"), mtu=100, mac=mac(9)),
        PlanPort(passes_to=CARD, out_only=True, tags=bytes.fromhex("8100001f"), mtu=100, mac=mac(8)),
        PlanPort(),
    )
    frames = [to(OTHER, 1, 300), datagram(4, EXPORTER, OTHER, (1, 514), bytes(9), [(0x8100, 5)])]
    with rig(ports=ports) as its:
        for frame in frames:
            assert its.core.arrive(CARD, frame)
            assert its.core.arrive(HOST, frame)
        its.worker.step()
        assert its.left(HOST) == its.left(CARD) == frames


def test_without_a_host_port_it_is_only_counted() -> None:
    with rig(ports=(PlanPort(), PlanPort(), PlanPort())) as its:
        assert its.core.arrive(CARD, to(OTHER, 1))
        its.worker.step()
        assert its.left(HOST) == []
        assert its.core.frames().passed == 1


def test_a_worker_reaches_the_host() -> None:
    plan = plan_from("default * 192.0.2.1", ports=PORTS, egress=(OUT,), own=(Prefix(4, OWN, 32),))
    with Rig(LIMITS, (), ()) as its:
        region = its.core.region(6, SLOTS)
        for _ in range(3):
            its.core.port_mem(region)
        its.core.worker([(CARD, 0)], [(OUT, 0)])
        with pytest.raises(CoreError, match=r"^plan: a worker has no TX ring on port 1$"):
            its.core.publish(plan)


def test_fragments_of_what_nobody_listens_for_go_to_the_host() -> None:
    """In whatever order they come: the host puts them together. Those of ours stay ours."""
    sound = datagram(4, EXPORTER, OWN, (40_000, 53), bytes(300))
    first, second, third = split(sound, 14, (10, 20), 1)
    ours = split(to(OWN, 7, 300), 14, (10, 20), 2)
    own = (Prefix(4, OWN, 32),)
    with Rig(LIMITS, (0, 0, 0), (512,), SLOTS) as its:
        its.core.set_neighbour(0, mac(0), NeighbourState.READY)
        its.core.publish(plan_from("* 514 192.0.2.1 A", ports=PORTS, egress=(OUT,), own=own, listen=((514, 514),)))
        for frame in (third, ours[1], first, ours[0], second, ours[2]):
            its.core.arrive(CARD, frame)
        go_round(its)
        assert its.left(HOST) == [first, third, second]
        assert [frame[20:22] for frame in its.left(OUT)] == [piece[20:22] for piece in ours]
        assert (its.core.frames().passed, its.core.frames().forwarded) == (3, 3)
        assert sum(exporter.packets for exporter in its.core.exporters()) == 3
        assert balances(its.core, 1)
