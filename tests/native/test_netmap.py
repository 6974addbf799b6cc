"""The netmap port on an emulated kernel (netmap_kernel.c), alone and under the whole core, under ASan and UBSan."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gfwd.plan.blueprint import PlanPort
from gfwd.rules.model import Prefix
from tests.cores import plan_from
from tests.native.conftest import Harness

pytestmark = pytest.mark.skipif("GFWD_CORE" in os.environ, reason="sanitized in every run: once is enough")

Built = Callable[[str], Harness]
PORT_SCENARIOS = (
    "structures",
    "names",
    "open_errors",
    "busy",
    "odd_rings",
    "pipe_ends",
    "vale_ports",
    "slow_card",
    "waking",
    "sync_errors",
    "broken_rings",
    "reinitialised",
    "reset",
    "bad_tx_slot",
)
TWO, THREE = (PlanPort(),) * 2, (PlanPort(),) * 3
TO_ONE, TO_TWO = "default * 192.0.2.1", "default * 192.0.2.1 192.0.2.2"
TO_FOUR = "default * 192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4"
CARD, HOST, OUT = PlanPort(passes_to=1), PlanPort(passes_to=0, out_only=True), PlanPort()
ONE_WAY = plan_from(TO_ONE, ports=TWO, egress=(1,))
TWO_WAYS = plan_from(TO_TWO, ports=THREE, egress=(1, 2))
PLANS = {
    "swap": ONE_WAY,
    "copy": ONE_WAY,
    "collectors": plan_from(TO_FOUR, ports=THREE, egress=(1, 2, 1, 0)),
    "odd_slots": ONE_WAY,
    "lost_port": TWO_WAYS,
    "lying_ring": TWO_WAYS,
    "thread": ONE_WAY,
    "half_lost": TWO_WAYS,
    "blocked": ONE_WAY,
    "host": plan_from(TO_ONE, ports=(CARD, HOST, OUT), egress=(2,), own=(Prefix(4, 0x0A020201, 32),)),
}


@pytest.mark.parametrize("scenario", PORT_SCENARIOS)
def test_port(scenario: str, harness: Built) -> None:
    harness("netmap_port")(scenario)


@pytest.mark.parametrize("scenario", PLANS)
def test_core(scenario: str, harness: Built, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    plan.write_bytes(PLANS[scenario])
    for seed in range(2):
        harness("netmap_forward")(scenario, plan, str(seed))
