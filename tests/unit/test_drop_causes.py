"""docs/drops.md names every drop cause that the core counts, and no other."""

import re
from pathlib import Path

from gfwd.native.core import DROP_CAUSES

PAGE = Path(__file__).parents[2] / "docs" / "drops.md"


def test_each_cause_has_its_row() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(DROP_CAUSES)
