"""Golden files: NAME.rules → NAME.ok, its canonical text, or NAME.err, the messages.

NAME.warn has the warnings on rules that are fine; without it there are none.
"""

from pathlib import Path

import pytest

from gfwd.errors import ConfigError
from gfwd.rules.canonical import canonical_text
from gfwd.rules.classic import parse
from gfwd.rules.warnings import warnings

FOLDER = Path(__file__).parents[2] / "golden" / "rules"
NAMES = sorted(path.stem for path in FOLDER.glob("*.rules"))


def golden(name: str, ending: str) -> str:
    """A golden file's text, line ends included; nothing where there is no such file."""
    path = FOLDER / f"{name}.{ending}"
    return path.read_bytes().decode() if path.exists() else ""


def test_every_file_belongs_to_some_rules() -> None:
    assert NAMES
    for path in FOLDER.iterdir():
        assert path.stem in NAMES and path.suffix in (".rules", ".ok", ".err", ".warn")


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    try:
        ruleset = parse(golden(name, "rules"), f"{name}.rules")
    except ConfigError as error:
        assert f"{error}\n" == golden(name, "err")
        assert golden(name, "ok") == golden(name, "warn") == ""
        return
    text = canonical_text(ruleset)
    assert text == golden(name, "ok")
    assert canonical_text(parse(text, name)) == text
    messages = warnings(ruleset)
    assert "".join(f"{message}\n" for message in messages) == golden(name, "warn")
    assert golden(name, "err") == ""
