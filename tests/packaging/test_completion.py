"""What the shells complete after `gfwd`: the shells themselves are asked."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import completion as recipe
from gfwd.cli import command_line
from tests.packaging.conftest import ROOT

FOLDER = ROOT / "packaging" / "completion"

pytestmark = [pytest.mark.recipe, pytest.mark.pure]

PATIENCE_S = 60.0
GFWD = recipe.command_of(command_line())
COMMANDS = {command.words[0] for command in GFWD.inner}
Complete = Callable[[str], set[str]]


def test_the_files_are_what_the_code_gives():
    for name, text in recipe.texts().items():
        assert (FOLDER / name).read_text("utf-8") == text, "make them anew: python build/completion.py"


def test_every_command_and_option_is_in_every_file():
    for name in ("gfwd.bash", "_gfwd", "gfwd.fish"):
        text = (FOLDER / name).read_text("utf-8")
        for command in GFWD.all():
            assert all(word in text for word in command.words)
            for option in command.options:
                for one in option.names:
                    spelled = one if name != "gfwd.fish" else f"-{'l' if one[1] == '-' else 's'} {one.lstrip('-')}"
                    assert spelled in text, (name, command.words, one)


# ---- shells ----


class Terminal:
    """An interactive shell at a terminal, as a person has one."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._at, its = pty.openpty()
        environment = {
            "PATH": os.environ["PATH"],
            "TERM": "dumb",
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "999",
        }
        self._shell = subprocess.Popen(
            command, stdin=its, stdout=its, stderr=its, cwd=folder, env=environment, start_new_session=True
        )
        os.close(its)
        self._heard = b""

    def type(self, text: str) -> None:
        os.write(self._at, text.encode())

    def wait_for(self, pattern: str) -> str:
        """The first group of what is heard, and not before."""
        end = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern.encode(), self._heard)):
            assert time.monotonic() < end, self._heard
            if select.select([self._at], [], [], 0.1)[0]:
                self._heard += os.read(self._at, 65_536)
        self._heard = self._heard[found.end() :]
        return found[1].decode()

    def close(self) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._at)


# Both shells can put all that they would offer on the line; then that line is printed, and taken back.
BASH = r"""
PS1= ; bind 'set enable-bracketed-paste off'; bind 'set completion-query-items 0'
shows() { printf '\n<%s>\n' "$READLINE_LINE"; READLINE_LINE=; READLINE_POINT=0; }
bind '"\C-t": insert-completions'; bind -x '"\C-g": shows'
"""
ZSH = r"""
PS1= ; unsetopt zle_bracketed_paste prompt_cr prompt_sp 2>/dev/null; zle_bracketed_paste=()
autoload -Uz compinit && compinit -u -D
insert_all() { compstate[insert]=all compstate[list]= }
all_matches() { comppostfuncs=(insert_all); _main_complete }
zle -C all-matches complete-word all_matches
zstyle ':completion:*' insert-tab false
bindkey -e; bindkey '^T' all-matches
shows() { print; print -r -- "<$BUFFER>"; BUFFER= }; zle -N shows; bindkey '^G' shows
"""


def at_terminal(command: list[str], setup: str, folder: Path, line: str) -> set[str]:
    (folder / "setup").write_text(setup)
    terminal = Terminal(command, folder)
    try:
        terminal.type(". ./setup; echo re''ady\n")
        terminal.wait_for(r"(ready)\r?\n")
        terminal.type(line + "\x14\x07")
        done = terminal.wait_for(r"\n<([^\n]*)>\r?\n")
    finally:
        terminal.close()
    begun = line.rpartition(" ")[0] + " "
    assert done.startswith(begun), done
    found = {word.rstrip("=") for word in done.removeprefix(begun).split()}  # zsh offers --rules=, too
    return set() if found == {line.rpartition(" ")[2]} and not done.endswith(" ") else found


@pytest.fixture(params=["bash", "zsh", "fish"])
def complete(request, tmp_path) -> Complete:
    """The words that this shell offers for the last one of a line."""
    shell = shutil.which(request.param)
    if shell is None:
        pytest.skip(f"needs {request.param}: apt-get install {request.param}")
    for name in ("gfwd.toml", "gfwd.rules", "in.pcap"):
        (tmp_path / name).touch()
    if request.param == "bash":
        setup = f"{BASH}. '{FOLDER}/gfwd.bash'\n"
        return lambda line: at_terminal([shell, "--norc", "--noprofile", "-i"], setup, tmp_path, line)
    if request.param == "zsh":
        setup = f"fpath=('{FOLDER}' $fpath)\n{ZSH}"
        return lambda line: at_terminal([shell, "-f", "-i"], setup, tmp_path, line)

    def fish(line: str) -> set[str]:
        done = subprocess.run(
            [shell, "--no-config", "-c", f"source '{FOLDER}/gfwd.fish'; complete -C '{line}'"],
            cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            capture_output=True, text=True, timeout=PATIENCE_S, check=True,
        )  # fmt: skip
        assert done.stderr == ""
        return {offer.split("\t")[0] for offer in done.stdout.splitlines()}

    return fish


def test_commands(complete):
    assert complete("gfwd ") >= COMMANDS
    assert complete("gfwd re") == {"reload", "replay"}
    assert complete("true; gfwd re") == {"reload", "replay"}


def test_commands_inside_a_command(complete):
    assert complete("gfwd bench c") == {"core", "counted"}


def test_options(complete):
    assert complete("gfwd unknown --s") == {"--suggest", "--sort", "--since"}
    assert complete("gfwd bench core --r") == {"--repeats", "--rounds"}
    assert complete("gfwd replay in.pcap --rules gfwd.rules --ou") == {"--output"}


def test_choices(complete):
    assert complete("gfwd unknown --sort ") == {"rate", "packets", "last"}
    assert complete("gfwd import n") == {"nfcapd"}
    assert complete("gfwd import ") == {"samplicator", "pmacct", "nfcapd"}
    assert "pmacct" not in complete("gfwd import nfcapd ")


def test_files_where_a_file_is_wanted(complete):
    assert complete("gfwd check -c gfwd.t") == {"gfwd.toml"}
    assert complete("gfwd replay in") == {"in.pcap"}
    assert complete("gfwd diff gfwd.rules gfwd.r") == {"gfwd.rules"}
    assert complete("gfwd import nfcapd gfwd.r") == {"gfwd.rules"}


def test_no_files_where_none_is_wanted(complete):
    assert complete("gfwd explain in") == set()
    assert complete("gfwd run --workers in") == set()
    assert complete("gfwd in") == {"inspect"}


def test_interfaces(complete):
    if os.uname().sysname != "Linux":
        pytest.skip("xdp: is Linux'")
    found = complete("gfwd run --out xdp:l")
    assert found in ({"xdp:lo"}, {"xdp\\:lo"})  # zsh puts a backslash before the colon, which means the same


def test_after_options_with_values(complete):
    """A value is no command, even where it bears the name of one."""
    assert complete("gfwd run --control bench --w") == {"--workers"}
    assert complete("gfwd explain 10.2.2.3:514 --rules gfwd.rules --sou") == {"--source-port"}
