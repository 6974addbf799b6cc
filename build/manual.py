"""Writes the manual pages of which the code knows a part: packaging/man/gfwd.8 and gfwd.toml.5.

    python build/manual.py [--out DIR]

Beside each page stands what people have written of it, gfwd.8.in and gfwd.toml.5.in; a line @OPTIONS@, @COMMANDS@ or
@KEYS@ in it is where gfwd's own options go, the commands with all of theirs, both in the words of --help, or the keys,
in the words that editors show.
The language is mdoc(7).
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from marshmallow import Schema

import native

sys.path.insert(0, str(native.ROOT))

from gfwd.cli import command_line
from gfwd.config.json_schema import json_schema
from gfwd.config.keys import all_keys
from gfwd.config.kinds import Named, Table

MAN = native.ROOT / "packaging/man"
DOCUMENTS = "/usr/local/share/doc/gfwd"

_SIGNS = str.maketrans({"\\": "\\e", "…": "...", "–": "\\(en", "×": "\\(mu"})
_WIDTH = 78
_DELIMITERS = frozenset(".,:;()[]?!|")


def pages() -> dict[str, str]:
    """The name of each page that is written here, and all that is in it."""
    marks = {"@OPTIONS@": options(), "@COMMANDS@": commands(), "@KEYS@": keys()}
    texts = {name: (MAN / f"{name}.in").read_text("utf-8") for name in ("gfwd.8", "gfwd.toml.5")}
    for mark, lines in marks.items():
        whole = "".join(f"{line}\n" for line in lines)
        texts = {name: text.replace(f"{mark}\n", whole) for name, text in texts.items()}
    return {name: "".join(f"{line}\n" for line in _folded(text.splitlines())) for name, text in texts.items()}


# ---- commands ----


def options() -> Iterator[str]:
    """Those that stand before a command, or alone."""
    yield ".Bl -tag -width Ds"
    for action in command_line()._actions:
        if action.option_strings:
            yield from _option(action)
    yield ".El"


def commands() -> Iterator[str]:
    """All commands as a list, and the options of each as a list in it."""
    yield ".Bl -tag -width Ds"
    yield from _command((), command_line())
    yield ".El"


def _command(names: tuple[str, ...], parser: argparse.ArgumentParser) -> Iterator[str]:
    inner = next((each for each in parser._actions if isinstance(each, argparse._SubParsersAction)), None)
    if inner is not None:
        shown = {each.dest for each in inner._choices_actions}  # without those that gfwd calls itself by
        for name, command in inner.choices.items():
            if name in shown:
                yield from _command((*names, name), command)
        return
    actions = [each for each in parser._actions if each.dest != "help"]
    yield ".It Xo"
    yield from (f".Cm {name}" for name in names)
    yield from _usage(parser, actions)
    yield ".Xc"
    yield from prose(parser.description)
    yield ".Bl -tag -width Ds"
    for action in actions:
        yield from _option(action)
    yield ".El"
    if parser.epilog:
        yield ".Pp"
        yield from prose(parser.epilog)


def _usage(parser: argparse.ArgumentParser, actions: Iterable[argparse.Action]) -> Iterator[str]:
    """What may stand behind the command, as usage messages have it."""
    together = [group._group_actions for group in parser._mutually_exclusive_groups]
    for action in actions:
        others = next((its for its in together if action in its), [action])
        if action is not others[0]:
            continue  # they stand with the first of them
        words = " | ".join(_called(each, shortest=True) for each in others)
        is_needed = action.required or any(
            group.required and action in group._group_actions for group in parser._mutually_exclusive_groups
        )
        if not is_needed:
            yield f".Op {words}"
        elif len(others) > 1:
            yield f".Pq {words}"
        else:
            yield f".{words}"


def _called(action: argparse.Action, shortest: bool) -> str:
    """An option with its value, or an argument, as macros without the leading dot."""
    values = _values(action)
    if not action.option_strings:
        repeated = " ..." if action.nargs == "+" else ""
        return values + (f" Op Ar{values[2:]}{repeated}" if repeated else "")
    flags = action.option_strings[:1] if shortest else action.option_strings
    return " , ".join(f"Fl {flag[1:]}{' ' + values if values else ''}" for flag in flags)


def _values(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices is not None:
        return " | ".join(f"Cm {choice}" for choice in action.choices)
    return f"Ar {_word(str(action.metavar or action.dest.upper()))}"


def _option(action: argparse.Action) -> Iterator[str]:
    yield f".It {_called(action, shortest=False)}"
    assert action.help, f"{action.dest} says nothing of itself"
    yield from prose(_sentence(action.help % {"default": action.default}))


# ---- keys ----


def keys() -> Iterator[str]:
    """First those that are in no table, then table by table."""
    properties = json_schema()["properties"]
    tables = {name: about for name, about in properties.items() if _table_of(about) is not None}
    yield ".Ss Before the first table"
    yield from _keys({name: about for name, about in properties.items() if name not in tables})
    for name, about in tables.items():
        yield from _table(name, about)


def _table_of(about: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What is in the table, or in each of the tables, that a key stands for; None: it is none."""
    if about.get("type") == "array" and about["items"].get("type") == "object":
        return dict(about["items"])
    return about if about.get("type") == "object" else None


def _table(name: str, about: Mapping[str, Any]) -> Iterator[str]:
    its = _table_of(about)
    assert its is not None
    named = its.get("additionalProperties")
    if about["type"] == "array":
        head = f"[[{name}]]"
    elif named and named.get("type") == "object":
        head, its = f"[{name}.NAME]", named
    else:
        head = f"[{name}]"
    yield f".Ss {_word(head)}"
    yield from prose(about["description"])
    if "properties" not in its:
        yield "For instance"
        yield f".Li {_quoted(_example(name))} ."
        return
    inner = {key: more for key, more in its["properties"].items() if _table_of(more) is not None}
    yield from _keys({key: more for key, more in its["properties"].items() if key not in inner})
    for key, more in inner.items():
        yield from _table(f"{name}.{key}", more)


def _example(name: str) -> str:
    """A line of a table whose keys are names that somebody chose."""
    group: Schema = all_keys()
    *tables, last = name.split(".")
    for table in tables:
        field = group.fields[table]
        assert isinstance(field, Table)
        group = field.schema
    field = group.fields[last]
    assert isinstance(field, Named)
    return field.example.partition(" with ")[2] or field.example


def _keys(properties: Mapping[str, Any]) -> Iterator[str]:
    yield ".Bl -tag -width Ds"
    for name, about in properties.items():
        yield f".It Ic {name} No = {_kind(about)}"
        yield from prose(about["description"])
        examples = [_toml(example) for example in about.get("examples", ())]
        if examples and "enum" not in about and about.get("type") != "boolean":
            yield "For instance"
            yield f".Li {_quoted(f'{name} = {examples[0]}')} ."
    yield ".El"


def _kind(about: Mapping[str, Any]) -> str:
    """What may stand there, as macros."""
    if "anyOf" in about:
        return " | ".join(_kind(one) for one in about["anyOf"])
    if "const" in about:
        return f"Li {_quoted(_toml(about['const']))}"
    if "enum" in about:
        return " | ".join(f"Li {_quoted(_toml(word))}" for word in about["enum"])
    if about["type"] == "array":
        return f"Bq {_kind(about['items'])} , ..."
    if about["type"] == "integer":
        return f"Ar {about['minimum']}\\(en{about['maximum']}"
    if about["type"] == "boolean":
        return "Li true | Li false"
    return "Ar text | Ar number" if isinstance(about["type"], list) else "Ar text"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


# ---- mdoc ----


def prose(text: str | None) -> Iterator[str]:
    """Text as lines of mdoc: each sentence begins one, and none begins with what would make it a macro."""
    whole = re.sub(r"\bdocs/([a-z]+\.md)", rf"{DOCUMENTS}/\1", text or "")
    for sentence in re.split(r"(?<=[.?!])\s+", " ".join(whole.split())):
        line = sentence.translate(_SIGNS)
        if line:
            yield f"\\&{line}" if line[0] in ".'" else line


def _sentence(text: str) -> str:
    """A help text, which begins small and ends without a full stop. What begins with a name ("pmacct: …") stays so."""
    is_name = text.split(maxsplit=1)[0].endswith(":")
    return (text if is_name else text[0].upper() + text[1:]) + ("" if text.endswith(".") else ".")


def _folded(lines: Iterable[str]) -> Iterator[str]:
    """Lines of text in two, or more, where they are longer than mandoc(1) likes; examples stay as they are."""
    is_literal = False
    for line in lines:
        is_literal = line.startswith(".Bd -literal") or (is_literal and line != ".Ed")
        if is_literal or line.startswith("."):
            yield line
        else:
            for part in textwrap.wrap(line, _WIDTH, break_long_words=False, break_on_hyphens=False):
                yield f"\\&{part}" if part[0] in ".'" else part


def _word(text: str) -> str:
    """One argument of a macro; a delimiter at its end belongs to it."""
    its = text.translate(_SIGNS)
    return its + "\\&" if its[-1] in _DELIMITERS else its


def _quoted(text: str) -> str:
    """As one argument, whatever is in it."""
    return '"' + text.translate(_SIGNS).replace('"', '""') + '"'


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes the manual pages of which the code knows a part.")
    parser.add_argument("--out", type=Path, default=MAN, metavar="DIR", help="instead of packaging/man")
    arguments = parser.parse_args()
    for name, text in pages().items():
        (arguments.out / name).write_text(text, "utf-8")
        print(arguments.out / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
