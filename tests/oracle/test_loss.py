"""Loss proof of a gfwd that runs, against gfwd inspect --loss of the same frames: every capture that there is."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gfwd.daemon.capture.datagrams import ETHERNET
from gfwd.daemon.capture.file import CaptureFile
from gfwd.daemon.capture.source import Capture
from gfwd.daemon.inspect import Inspect, Inspection, loss
from gfwd.daemon.loss import LossProof
from gfwd.daemon.report import Report
from gfwd.metrics.ledger import Ledger
from gfwd.native.core import Limits, NeighbourState
from gfwd.rules.model import ALL_PORTS
from tests.cores import Rig, mac, plan_from
from tests.frames import datagram
from tests.netflow import a_set, ipfix, template

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
OURS = Path(__file__).parents[1] / "data" / "exporters.pcap"
LIMITS = Limits(rules=2, collectors=2, neighbours=2, exporters=64, flows=64, frame_bytes=65_536, ring_slots=64)


def rig(limits: Limits = LIMITS) -> Rig:
    its = Rig(limits, (0,), (65_536,), 64)
    its.core.set_neighbour(0, mac(0), NeighbourState.READY)
    its.core.publish(plan_from("* * 192.0.2.1 A\n", follow=ALL_PORTS))
    return its


def answer(its: Rig, proof: LossProof) -> dict[str, Any]:
    return proof.answer(Report(Ledger(its.core.frames(), {}, ()), its.core.work(), (), ()))


def look(proof: LossProof) -> None:
    """At all that has been handed out, as the main loop does, only sooner: a look ends when it has taken too long."""
    for _ in range(LIMITS.ring_slots):
        proof.advance(time.monotonic() + 1)


def drive(its: Rig, proof: LossProof, frames: Sequence[bytes]) -> None:
    for frame in frames:
        assert its.core.arrive(0, frame)
        its.worker.step()
        its.left(0)
        look(proof)


def by_stream(found: Sequence[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    keys = "exporter", "source_port", "protocol", "version", "source_id", "agent"
    return {
        tuple(one[key] for key in keys): {k: v for k, v in one.items() if k not in ("first", "last")} for one in found
    }


def captures() -> list[Path]:
    index = CORPUS / "index.jsonl"
    lines = index.read_text("utf-8").splitlines() if index.is_file() else []
    return [OURS, *(CORPUS / json.loads(line)["file"] for line in lines)]


def ethernet_frames(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [one.data for one in CaptureFile(file).frames() if one.link_type == ETHERNET]


@pytest.mark.parametrize("path", captures(), ids=lambda path: path.name)
def test_a_gfwd_that_runs_finds_what_the_inspector_finds(path):
    frames = ethernet_frames(path)
    if not frames:
        pytest.skip("no Ethernet")
    with Inspection(Inspect(), Capture(str(path))) as inspection, rig() as its:
        proof = LossProof(its.core, [its.worker])
        proof.is_on = True
        drive(its, proof, frames)
        assert its.core.work().ipfix_lost == 0
        found = answer(its, proof)
        expected = by_stream(list(loss(inspection).plain()))
        broken = {cause: its.core.frames().drops[cause] for cause in ("short", "bad_checksum", "ttl_expired")}
        if any(broken.values()):
            pytest.skip(f"a gfwd that runs drops some of these before it knows that they are for it: {broken}")
        assert by_stream(found["streams"]) == expected


# ---- IPFIX that comes faster than it can be followed ----

OWN = 0x0A020201
SOURCE = 0x0A000001


def records(first: int, n: int) -> bytes:
    """A datagram whose n records are those from `first` on."""
    return datagram(4, SOURCE, OWN, (9, 4739), ipfix(a_set(256, bytes(4 * n)), sequence=first))


def test_across_a_gap_of_the_ring_nothing_is_known():
    known = datagram(4, SOURCE, OWN, (9, 4739), ipfix(a_set(2, template(256, [(8, 4)])), sequence=0))
    with rig() as its:
        proof = LossProof(its.core, [its.worker])
        proof.is_on = True
        drive(its, proof, [known, records(0, 3), records(3, 2), records(7, 1)])
        (one,) = answer(its, proof)["streams"]
        assert (one["counted"], one["lost"], one["unproven"]) == (6, 2, 0)
        # More than the ring has room for, of which some are missing: nobody can tell.
        for n in range(100):
            assert its.core.arrive(0, records(8 + 2 * n, 1 if n == 90 else 2))
            its.worker.step()
            its.left(0)
        look(proof)
        drive(its, proof, [records(208, 1), records(209, 1), records(213, 1)])
        found = answer(its, proof)
        (one,) = found["streams"]
        assert found["not_followed"]["ipfix_without_room"] == 100 - LIMITS.ring_slots
        assert (one["unproven"], one["lost"]) == (1, 2 + 3)
        assert one["counted"] == 6 + 2 * LIMITS.ring_slots + 3


def test_across_a_time_in_which_nobody_followed_nothing_is_known():
    known = datagram(4, SOURCE, OWN, (9, 4739), ipfix(a_set(2, template(256, [(8, 4)])), sequence=0))
    with rig() as its:
        proof = LossProof(its.core, [its.worker])
        proof.is_on = True
        drive(its, proof, [known, records(0, 3), records(5, 2)])
        its.core.publish(plan_from("* * 192.0.2.1 A\n"))
        drive(its, proof, [records(7, 3)])
        its.core.publish(plan_from("* * 192.0.2.1 A\n", follow=ALL_PORTS))
        drive(its, proof, [records(10, 1), records(12, 1)])
        (one,) = answer(its, proof)["streams"]
        assert (one["counted"], one["lost"], one["unproven"]) == (3 + 2 + 2, 2 + 1, 1)


def test_streams_of_ipfix_that_find_no_room_and_those_that_make_it(monkeypatch):
    """As many as the limits say, and no more; anybody can make up more."""
    monkeypatch.setattr("gfwd.daemon.loss._STALE_S", -1.0)
    payload = ipfix(a_set(2, template(256, [(8, 4)])), sequence=0)
    with rig(replace(LIMITS, streams=8)) as its:
        proof = LossProof(its.core, [its.worker])
        proof.is_on = True
        drive(its, proof, [datagram(4, SOURCE + n, OWN, (9, 4739), payload) for n in range(20)])
        found = answer(its, proof)
        assert (len(found["streams"]), found["gone"]["datagrams"]) == (8, 12)
        assert found["not_followed"]["streams_without_room"] == 0
        assert sum(one.findings.datagrams for one in proof.totals()) == 20


def test_who_does_not_ask_is_left_alone():
    with rig() as its:
        proof = LossProof(its.core, [its.worker])
        assert proof.deadline() is None
        look(proof)
        proof.is_on = True
        assert proof.deadline() is not None


def test_totals_are_those_of_all_streams():
    with rig() as its:
        proof = LossProof(its.core, [its.worker])
        proof.is_on = True
        drive(its, proof, ethernet_frames(OURS))
        streams, totals = answer(its, proof)["streams"], proof.totals()
        for name in ("datagrams", "counted", "lost", "doubled"):
            by_kind: dict[tuple[str, str], int] = {}
            for one in streams:
                kind = one["protocol"], one["counts"]
                by_kind[kind] = by_kind.get(kind, 0) + one[name]
            told = {
                (its.protocol, its.counts): getattr(its.findings, name) for its in totals if its.protocol != "other"
            }
            assert told == by_kind
