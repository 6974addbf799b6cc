"""Writes packaging/completion/: what bash, zsh and fish complete after `gfwd`, from the options that the commands have.

    python build/completion.py

A test says when that is due. Nothing of gfwd is started when somebody presses Tab: the files say all that there is.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path("packaging/completion")

FILES = ("FILE", "PATH", "OLD", "NEW", "CAPTURE")
"""What help calls a file, beside all that end in .pcap."""
PORTS = ("inputs", "outputs", "both")
"""Arguments that are ports: xdp:eth0."""


@dataclass(frozen=True, slots=True)
class Value:
    """What an option, or a place on the line, takes. name: as in the help. kind: file, port, choice or other."""

    name: str
    kind: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """names: -c, --config. value: None: it takes none. again: it may be given more than once."""

    names: tuple[str, ...]
    help: str
    value: Value | None
    again: bool


@dataclass(frozen=True, slots=True)
class Command:
    """words: bench core; none: gfwd itself. places: its arguments without a name, in turn; again: the last one may come
    more than once.
    """

    words: tuple[str, ...]
    help: str
    options: tuple[Option, ...]
    places: tuple[Value, ...]
    again: bool
    inner: tuple["Command", ...]

    def all(self) -> Iterator["Command"]:
        yield self
        for command in self.inner:
            yield from command.all()


def command_of(parser: argparse.ArgumentParser, words: tuple[str, ...] = (), help: str = "") -> Command:
    """What a parser knows."""
    options, places, inner, again = [], [], [], False
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            about = {choice.dest: choice.help or "" for choice in action._choices_actions}
            inner = [command_of(one, (*words, name), about.get(name, "")) for name, one in action.choices.items()]
        elif action.option_strings:
            value = None if action.nargs == 0 else _value(action)
            is_append = isinstance(action, argparse._AppendAction)
            options.append(Option(tuple(action.option_strings), _plain(action, parser), value, is_append))
        else:
            places.append(_value(action))
            again = action.nargs in ("+", "*")
    return Command(words, help, tuple(options), tuple(places), again, tuple(inner))


def _value(action: argparse.Action) -> Value:
    name = str(action.metavar or action.dest.upper())
    if action.choices:
        return Value(name, "choice", tuple(map(str, action.choices)))
    if action.dest in PORTS:
        return Value(name, "port")
    return Value(name, "file" if name in FILES or name.endswith(".pcap") else "other")


def _plain(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """Its help up to the first remark in brackets, or after a semicolon: a list of them is no page."""
    text = (action.help or "") % {"prog": parser.prog, "default": action.default}
    return text.split(" (")[0].split(";")[0]


# ---- bash ----

BASH = """\
# What bash completes after gfwd. Made by build/completion.py.

_gfwd_ports() {
	local interface
	for interface in /sys/class/net/*; do
		[[ -e $interface ]] && printf 'xdp:%s\\n' "${interface##*/}"
	done
}

# What the option of a command takes: file, port, other, or words to choose from; nothing: it takes nothing.
_gfwd_takes() {
	case $1 in
@TAKES@
	esac
}

# The commands inside a command.
_gfwd_inner() {
	case $1 in
@INNER@
	esac
}

# What stands at a place of a command: behind so many others.
_gfwd_place() {
	case $1 in
@PLACES@
	esac
}

_gfwd_options() {
	case $1 in
@OPTIONS@
	esac
}

_gfwd() {
	local line=${COMP_LINE:0:COMP_POINT} words word command="" place=0 skips="" cur prev offered i
	# Words by spaces, since bash parts them at colons, too. A space behind a backslash is none.
	# shellcheck disable=SC2162
	IFS=$' \\t' read -a words <<<"$line"
	[[ $line == *[[:space:]] ]] && words+=("")
	cur=${words[${#words[@]} - 1]}
	prev=${words[${#words[@]} - 2]}
	for ((i = 1; i < ${#words[@]} - 1; i++)); do
		word=${words[i]}
		if [[ -n $skips ]]; then
			skips=""
		elif [[ $word == -* ]]; then
			[[ -n $(_gfwd_takes "$command $word") ]] && skips=1
		elif [[ " $(_gfwd_inner "$command") " == *" $word "* ]]; then
			command+=" $word"
		else
			((place += 1))
		fi
	done
	if [[ $cur == --*=* ]]; then
		prev=${cur%%=*}
		cur=${cur#*=}
		skips=1
	fi
	if [[ -n $skips ]]; then
		offered=$(_gfwd_takes "$command $prev")
	elif [[ $cur == -* ]]; then
		offered=$(_gfwd_options "$command")
	else
		offered=$(_gfwd_inner "$command")$(_gfwd_place "$command $place")
	fi
	case $offered in
	file) return ;; # bash's own way
	port) offered=$(_gfwd_ports) ;;
	other) offered="" ;;
	esac
	compopt +o default
	mapfile -t COMPREPLY < <(compgen -W "$offered" -- "$cur")
	# What stands before a colon is no part of the word that bash replaces.
	[[ $cur == *:* && $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
}

complete -o default -F _gfwd gfwd
"""


def bash(gfwd: Command) -> str:
    takes, inner, places, options = [], [], [], []
    for command in gfwd.all():
        words = "".join(f" {word}" for word in command.words)
        options.append(_case([words], " ".join(name for option in command.options for name in option.names)))
        for option in command.options:
            if option.value is not None:
                takes.append(_case([f"{words} {name}" for name in option.names], _bash_value(option.value)))
        if command.inner:
            inner.append(_case([words], " ".join(one.words[-1] for one in command.inner)))
        for number, value in enumerate(command.places):
            is_last = command.again and number == len(command.places) - 1
            places.append(_case([f"{words} {'*' if is_last else number}"], _bash_value(value)))
    text = BASH
    for name, lines in (("TAKES", takes), ("INNER", inner), ("PLACES", places), ("OPTIONS", options)):
        text = text.replace(f"@{name}@", "\n".join(lines))
    return text


def _bash_value(value: Value) -> str:
    return " ".join(value.choices) if value.choices else value.kind


def _case(patterns: list[str], words: str) -> str:
    quoted = " | ".join(f'"{one[:-1]}"*' if one.endswith("*") else f'"{one}"' for one in patterns)
    return f'\t{quoted}) echo "{words}" ;;'


# ---- zsh ----

ZSH = """\
#compdef gfwd
# What zsh completes after gfwd. Made by build/completion.py.

_gfwd_ports() {
  local -a ports
  ports=(xdp:${^$(print -r -- /sys/class/net/*(N:t))})
  compadd -a ports
}

@FUNCTIONS@

_gfwd "$@"
"""


def zsh(gfwd: Command) -> str:
    # zsh looks for a function when it is called, so they may stand in any order.
    return ZSH.replace("@FUNCTIONS@", "\n\n".join(_zsh_function(command) for command in gfwd.all()))


def _zsh_function(command: Command) -> str:
    name = "_".join(("_gfwd", *command.words))
    specs = [spec for option in command.options for spec in _zsh_option(option)]
    if not command.inner:
        for number, value in enumerate(command.places, 1):
            is_last = command.again and number == len(command.places)
            specs.append(_quoted(f"{'*' if is_last else number}:{_zsh_value(value)}"))
        return f"{name}() {{\n  _arguments {_lines(specs)}\n}}"
    specs += [_quoted("1:command:->command"), _quoted("*::argument:->argument")]
    inner = "\n".join(f"      {_quoted(f'{one.words[-1]}:{_escaped(one.help)}')}" for one in command.inner)
    calls = "\n".join(f"    {one.words[-1]}) {'_'.join(('_gfwd', *one.words))} ;;" for one in command.inner)
    return f"""\
{name}() {{
  local curcontext=$curcontext state line
  typeset -A opt_args
  _arguments -C {_lines(specs)}
  case $state in
  command)
    local -a commands=(
{inner}
    )
    _describe -t commands command commands
    ;;
  argument)
    case $line[1] in
{calls}
    esac
    ;;
  esac
}}"""


def _zsh_option(option: Option) -> Iterator[str]:
    again = "*" if option.again else f"({' '.join(option.names)})"
    for name in option.names:
        value = "" if option.value is None else f":{_zsh_value(option.value)}"
        joined = "=" if option.value is not None and name.startswith("--") else ""
        yield _quoted(f"{again}{name}{joined}[{_escaped(option.help)}]{value}")


def _zsh_value(value: Value) -> str:
    does = {"file": "_files", "port": "_gfwd_ports", "choice": f"({' '.join(value.choices)})", "other": " "}
    return f"{_escaped(value.name)}:{does[value.kind]}"


def _lines(specs: list[str]) -> str:
    return " \\\n    ".join(specs)


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\[]:" else letter for letter in text)


def _quoted(text: str) -> str:
    """For zsh: between single quotes."""
    return "'" + text.replace("'", "'\\''") + "'"


# ---- fish ----

FISH = """\
# What fish completes after gfwd. Made by build/completion.py.

# Whether the line so far is of this command, such as `bench core`.
function __gfwd_at
    set -l words (commandline -opc)
    set -e words[1]
    set -l number (count $argv)
    test (count $words) -ge $number; and test "$words[1..$number]" = "$argv"
end

# Whether nothing but this command is there yet.
function __gfwd_only
    set -l words (commandline -opc)
    set -e words[1]
    test "$words" = "$argv"
end

# Whether more is there behind this command.
function __gfwd_behind
    __gfwd_at $argv; and not __gfwd_only $argv
end

function __gfwd_ports
    for interface in /sys/class/net/*
        echo xdp:(string replace -r '.*/' '' $interface)
    end
end

complete -c gfwd -f
@LINES@
"""


def fish(gfwd: Command) -> str:
    lines = []
    for command in gfwd.all():
        words = " ".join(command.words)
        at = f"complete -c gfwd -n '__gfwd_at {words}'" if words else "complete -c gfwd -n __gfwd_only"
        only = f"complete -c gfwd -n '__gfwd_only {words}'" if words else "complete -c gfwd -n __gfwd_only"
        lines += [f"{only} -a {one.words[-1]} -d {_fish_quoted(one.help)}" for one in command.inner]
        # A word to choose comes first, and is chosen once; files come behind it, and otherwise anywhere.
        behind = any(value.kind == "choice" for value in command.places)
        for place in (one for one in command.places if one.kind != "other"):
            where = "only" if place.kind == "choice" else "behind" if behind else "at"
            lines.append(f"complete -c gfwd -n '__gfwd_{where} {words}' {_fish_value(place)}")
        for option in command.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            value = "" if option.value is None else f" -r {_fish_value(option.value)}"
            lines.append(f"{at} {names}{value} -d {_fish_quoted(option.help)}")
    return FISH.replace("@LINES@", "\n".join(lines))


def _fish_value(value: Value) -> str:
    does = {
        "file": "-F",
        "port": "-f -a '(__gfwd_ports)'",
        "choice": f"-f -a '{' '.join(value.choices)}'",
        "other": "-f",
    }
    return does[value.kind]


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# ---- all of them ----


def texts() -> dict[str, str]:
    """By file name."""
    from gfwd.cli import command_line

    gfwd = command_of(command_line())
    return {"gfwd.bash": bash(gfwd), "_gfwd": zsh(gfwd), "gfwd.fish": fish(gfwd)}


def main() -> int:
    sys.path.insert(0, str(ROOT))
    for name, text in texts().items():
        (ROOT / FOLDER / name).write_text(text, "utf-8")
        print(FOLDER / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
