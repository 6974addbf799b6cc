"""Limits that two layers must agree on, and of which neither may ask the other."""

from gfwd.native import core
from gfwd.rules import classic


def test_the_core_has_room_for_the_collectors_of_any_rule():
    assert classic.COLLECTORS_MAX == core.TARGETS_MAX
