"""Ports that rules name, and those that only one of two sets names."""

import pytest

from gfwd.rules.classic import parse
from gfwd.rules.listen import named_by_one, named_ports
from gfwd.rules.model import ports_text


@pytest.mark.parametrize(
    ("one", "other", "ports"),
    [
        ("* 514 a.example A", "* 514 b.example A", ""),
        ("* 514,2055 a.example A\n* 9995-9999 a.example A", "* 9996,514 a.example A", "2055,9995,9997-9999"),
        ("* 514,65535 a.example A", "* * a.example A", "514,65535"),
        ("* * a.example A", "* 514 a.example A", ""),
    ],
)
def test_named_by_one(one: str, other: str, ports: str) -> None:
    assert ports_text(named_by_one(parse(one, "one"), parse(other, "other"))) == ports


def test_star_names_none() -> None:
    assert named_ports(parse("* * a.example A\ndefault * a.example", "x")) == ()
