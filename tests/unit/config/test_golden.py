"""Golden files: NAME.toml → NAME.ok, its canonical text, or NAME.err, the messages. NAME.rules: the rules it names."""

from pathlib import Path

import pytest

from gfwd.config.canonical import canonical_text
from gfwd.config.reading import load, parse
from gfwd.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "golden" / "config"
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml"))


def golden(name: str, ending: str) -> str:
    """A golden file's text, line ends included; nothing where there is no such file."""
    path = FOLDER / f"{name}.{ending}"
    return path.read_bytes().decode() if path.exists() else ""


def test_every_file_belongs_to_some_configuration() -> None:
    assert NAMES
    for path in FOLDER.iterdir():
        assert path.stem in NAMES and path.suffix in (".toml", ".rules", ".ok", ".err", ".warn")


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    try:
        config = load(f"{name}.toml")
    except ConfigError as error:
        assert f"{error}\n" == golden(name, "err")
        assert golden(name, "ok") == ""
        return
    text = canonical_text(config)
    assert text == golden(name, "ok")
    assert canonical_text(parse(text, name)) == text
    assert golden(name, "err") == ""
