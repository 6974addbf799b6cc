"""Whatever a file holds, there are rules that gfwd reads as they were meant, or a ConfigError, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfwd.errors import ConfigError
from gfwd.imports import nfcapd, pmacct, samplicator
from gfwd.imports.imported import Imported
from gfwd.imports.report import LARGEST_FILE, read_text
from gfwd.rules.classic import parse

FOLDER = Path(__file__).parents[2] / "golden" / "import"
CONFIG = "plugins: tee\ntee_receivers: r\npre_tag_map: m\n"
POOLS = (FOLDER / "tee_receivers_a.lst").read_text()
READERS: dict[str, Callable[[str], Imported]] = {
    "samplicator.conf": lambda text: samplicator.import_file(text, "x", None),
    "nfcapd.service": lambda text: nfcapd.import_file(text, "x", None),
    "nfacctd.conf": lambda text: pmacct.import_file(text, "x", None, lambda _: POOLS),
    "tee_receivers_a.lst": lambda text: pmacct.import_file(CONFIG, "x", None, lambda path: text if path == "r" else ""),
    "pretag.map": lambda text: pmacct.import_file(CONFIG, "x", None, lambda path: text if path == "m" else POOLS),
}
BITS = st.sampled_from([*"\0\n\t :/[],-=#!*0123456789", "\udcff", "²", "/0", "255.0.0.255", "::", "\\\n", "'"])


@st.composite
def texts(draw: st.DrawFn, sample: str) -> str:
    """A sample with some of it written over and cut short, or anything."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.text(max_size=60) | st.lists(BITS, max_size=20).map("".join))
    text = sample
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(BITS) + text[at + draw(st.integers(0, 3)) :]
    return text[: draw(st.just(len(text)) | st.integers(0, len(text)))]


@pytest.mark.parametrize("name", READERS)
def test_any_text(name: str) -> None:
    @settings(max_examples=200)
    @given(texts((FOLDER / name).read_text()))
    def holds(text: str) -> None:
        try:
            outcome = READERS[name](text)
        except ConfigError as error:
            assert error.problems
            return
        if outcome.rules:
            again = parse(outcome.text(), "again").rules
            assert [rule._replace(line=0) for rule in again] == [rule._replace(line=0) for rule in outcome.rules]

    holds()


def test_a_name_cannot_leave_its_comment():
    text = samplicator.import_file("10.0.0.1: 192.0.2.1", "x\ndefault * 192.0.2.66", None).text()
    assert text == "# x\\ndefault * 192.0.2.66:1\n10.0.0.1  2000  192.0.2.1:2000  A\n"


def test_many_lines():
    text = "".join(f"10.{i >> 8}.{i & 255}.0/24: 192.0.2.1/{i + 1} 192.0.2.2\n" for i in range(20_000))
    outcome = samplicator.import_file(f"10.0.0.0/8: 192.0.2.3\n{text}", "x", None)
    assert len(outcome.rules) == 20_001
    assert {len(rule.collectors) for rule in outcome.rules[1:]} == {3}


def test_files_that_are_no_configuration(tmp_path):
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    for path in (str(large), str(tmp_path), str(tmp_path / "none"), "a\0b"):
        with pytest.raises(ConfigError):
            read_text(path)
