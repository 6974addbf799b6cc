"""The manual pages: they know every command, option and key that there is, and mandoc(1) has nothing to say."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gfwd.cli import command_line
from gfwd.config.json_schema import json_schema
from tests.packaging.conftest import ROOT
from tests.unit.config.test_json_schema import described

pytestmark = pytest.mark.recipe

MAN = ROOT / "packaging/man"
PAGES = sorted(MAN.glob("*.[58]"))


def test_these_are_all() -> None:
    assert [page.name for page in PAGES] == ["gfwd-rules.5", "gfwd.8", "gfwd.toml.5"]


def test_the_pages_are_what_the_code_gives(tmp_path) -> None:
    subprocess.run([sys.executable, str(ROOT / "build/manual.py"), "--out", str(tmp_path)], check=True)
    made = {page.name: page.read_text("utf-8") for page in tmp_path.iterdir()}
    assert made.keys() == {"gfwd.8", "gfwd.toml.5"}
    for name, text in made.items():
        assert (MAN / name).read_text("utf-8") == text, "make them anew: make manual"


def commands(parser: argparse.ArgumentParser, *names: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Those that --help shows, by all their words."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in inner:
        for shown in action._choices_actions:
            yield from commands(action.choices[shown.dest], *names, shown.dest)
    if names and not inner:
        yield " ".join(names), parser


def all_commands() -> dict[str, argparse.ArgumentParser]:
    return dict(commands(command_line()))


def test_every_option_without_a_command_is_there() -> None:
    its = (MAN / "gfwd.8").read_text("utf-8").partition("\n.Sh COMMANDS\n")[0]
    for action in command_line()._actions:
        for option in action.option_strings:
            assert re.search(rf"^\.It (.* )?Fl {re.escape(option[1:])}( |$)", its, re.MULTILINE), option


@pytest.mark.parametrize("name", all_commands())
def test_every_option_of_every_command_is_there(name) -> None:
    head = "".join(f".Cm {word}\n" for word in name.split())
    _, found, behind = (MAN / "gfwd.8").read_text("utf-8").partition(f"\n.It Xo\n{head}")
    assert found
    its = behind.partition("\n.It Xo\n")[0]
    for action in all_commands()[name]._actions:
        for option in set(action.option_strings) - {"-h", "--help"}:
            assert re.search(rf"^\.It (.* )?Fl {re.escape(option[1:])}( |$)", its, re.MULTILINE), option
        if not action.option_strings and action.metavar:
            assert re.search(rf"^\.It Ar {re.escape(str(action.metavar))}( |$)", its, re.MULTILINE), action.metavar


def test_every_key_is_there_with_its_words() -> None:
    page = " ".join((MAN / "gfwd.toml.5").read_text("utf-8").split())
    for key, about in described(json_schema()):
        assert re.search(rf"\.It Ic {key} |\.Ss \[+([a-z]+\.)?{key}(\.NAME)?\]", page), key
        start = about["description"].replace("…", "...").partition("(docs/")[0].strip()
        assert start in page, key


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_mandoc_has_nothing_to_say(page: Path, tmp_path) -> None:
    if not shutil.which("mandoc"):
        pytest.skip("no mandoc: apt-get install mandoc (FreeBSD has it)")
    done = subprocess.run(["mandoc", "-T", "lint", str(page)], capture_output=True, text=True, check=False)
    # Pages of FreeBSD, and ours, which are not installed here.
    said = [line for line in done.stdout.splitlines() if "referenced manual not found" not in line]
    assert said == []
    broken = tmp_path / page.name
    broken.write_text(page.read_text("utf-8").replace(".Sh NAME", ".Sh NAM"))
    done = subprocess.run(["mandoc", "-T", "lint", str(broken)], capture_output=True, text=True, check=False)
    assert "NAME" in done.stdout  # it does look
