"""A change of addresses that waits for its neighbours, in virtual time."""

from __future__ import annotations

import pytest

from gfwd.daemon.course import Setting
from gfwd.daemon.move import LONGEST_S, Move
from gfwd.native.core import NeighbourState
from gfwd.rules.model import ALL_PORTS, RuleSet

SETTING = Setting(rules=RuleSet("x", ()), own=(), listen=ALL_PORTS, addresses={}, macs={}, gateways={})
PENDING, READY, FAILED = NeighbourState.PENDING, NeighbourState.READY, NeighbourState.FAILED


@pytest.mark.parametrize("states", [[], [READY], [READY, FAILED], [FAILED]])
def test_what_is_known_is_not_waited_for(states):
    move = Move(SETTING, 10)
    assert move.is_due(10)
    move.begin(10)
    assert not move.waits(10, states)


def test_it_waits_for_a_while():
    move = Move(SETTING, 10)
    now = 10.0
    looks = 0
    while True:
        assert move.is_due(now)
        move.begin(now)
        if not move.waits(now, [READY, PENDING]):
            break
        looks += 1
        assert now < move.deadline() <= 10 + LONGEST_S
        assert not move.is_due(now)
        now = move.deadline()
    assert now == 10 + LONGEST_S and looks > 10


def test_names_that_go_on_moving_hold_up_nobody_for_long():
    """Each time others have moved, the move begins anew; slots that nothing leads to yet are kept for 5 s."""
    move, now = Move(SETTING, 10), 10.0
    while now < 20:
        move.begin(now)
        if not move.waits(now, [PENDING]):
            break
        now += 0.5
        move = Move(SETTING, now, move)
    assert 10 + LONGEST_S <= now < 15


def test_what_fails_is_tried_again_and_not_at_once():
    move = Move(SETTING, 10)
    move.begin(10)  # and then something fails
    assert not move.is_due(10.5)
    assert move.is_due(move.deadline()) and move.deadline() <= 12
