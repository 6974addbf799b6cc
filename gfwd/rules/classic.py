"""The classic rules file: one rule a line, `SOURCE PORT COLLECTORS… PRIORITY` or `default PORT COLLECTORS…`.

Fields are parted by white space, `#` starts a comment, collectors may also be parted by commas. A good line
is read in one go; only a line that turns out to be bad is looked at a second time, to find everything that is
wrong with it, and in which column.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Final, TypeVar

from gfwd.errors import ConfigError, Problem
from gfwd.rules.fields import (
    PRIORITIES,
    FieldError,
    parse_collector,
    parse_ports,
    parse_priority,
    parse_source,
    quote,
)
from gfwd.rules.model import ALL_PORTS, Collector, Prefix, Rule, RuleSet

T = TypeVar("T")

COLLECTORS_MAX: Final = 128
"""Collectors of one rule. The core has room for no more."""

_DEFAULT: Final = "default"
_BYTE_ORDER_MARK: Final = "\ufeff"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_FIELD: Final = re.compile(r"\S+")  # finds what str.split() does, and where
_COLLECTOR: Final = re.compile(r"[^\s,]+")
_NOT_TEXT: Final = re.compile("[\0\ud800-\udfff]")  # NUL, and the stand-ins for bytes that are not UTF-8


def load(path: str | os.PathLike[str]) -> RuleSet:
    """Read a rules file. Raises ConfigError, naming the file where it cannot be read, or all its bad lines."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            data = file.read()
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError([Problem(name, 0, 0, f"cannot read the rules: {reason}")]) from None
    if data.startswith(_UTF16_MARKS):
        raise ConfigError([Problem(name, 1, 1, "this is UTF-16: save the file as UTF-8")])
    # Bytes that are not UTF-8 become stand-ins, so that their lines are reported together with all other bad ones.
    return parse(data.decode("utf-8", "surrogateescape"), name)


def parse(text: str, path: str) -> RuleSet:
    """Read the text of a rules file, whose name is only used in messages.

    Raises ConfigError with all that is wrong with any line, or where there is no rule at all.
    """
    lines = _split_lines(text)
    is_plain = text.isascii() and "\0" not in text
    problems = [] if is_plain else _take_out_binary_lines(lines, path)
    read_rule = _rule_reader()
    rules: list[Rule] = []
    for number, line in enumerate(lines, 1):
        content = line.partition("#")[0] if "#" in line else line
        fields = content.split()
        if not fields:
            continue
        try:
            rules.append(read_rule(fields, number))
        except FieldError:
            problems += [Problem(path, number, column, reason) for column, reason in _line_problems(content)]
    if problems:
        raise ConfigError(sorted(problems))
    if not rules:
        raise ConfigError([Problem(path, 1, 1, "no rules: write at least one, such as: default * 192.0.2.7")])
    return RuleSet(path, tuple(rules))


def _split_lines(text: str) -> list[str]:
    """The lines as an editor numbers them: str.splitlines() would also part them at form feeds and the like."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.removeprefix(_BYTE_ORDER_MARK).split("\n")


def _take_out_binary_lines(lines: list[str], path: str) -> list[Problem]:
    """Empty the lines that hold more than text, be it in a comment: they are the mark of a damaged file."""
    problems = []
    for number, line in enumerate(lines, 1):
        found = _NOT_TEXT.search(line)
        if found:
            code = ord(found.group())
            reason = "a NUL byte: is the file damaged?" if code == 0 else "not UTF-8: save the file as UTF-8"
            problems.append(Problem(path, number, found.start() + 1, reason))
            lines[number - 1] = ""
    return problems


def _rule_reader() -> Callable[[list[str], int], Rule]:
    """Make the reader of good lines. It works out each field's text once, however often it comes."""
    source_of = cache(parse_source)
    ports_of = cache(parse_ports)
    collector_of = cache(parse_collector)

    @cache
    def collectors_of(texts: tuple[str, ...]) -> tuple[Collector, ...]:
        names = [name for text in texts for name in text.split(",") if name]
        collectors = tuple(dict.fromkeys(map(collector_of, names)))  # one that comes twice counts once
        if len(collectors) > COLLECTORS_MAX:
            raise FieldError("too many collectors")
        return collectors

    def read_rule(fields: list[str], line: int) -> Rule:
        """Turn the fields of a line into a rule. Raises FieldError where anything at all is wrong with them."""
        if fields[0] == _DEFAULT:
            source, priority, collector_texts = None, None, fields[2:]
        else:
            source, priority, collector_texts = source_of(fields[0]), parse_priority(fields[-1]), fields[2:-1]
        collectors = collectors_of(tuple(collector_texts))
        if not collectors:
            raise FieldError("no collectors")
        rule = Rule(source, ports_of(fields[1]), collectors, priority, line)
        if not rule.can_send():
            raise FieldError("source and collectors of different families")
        return rule

    return read_rule


def _line_problems(content: str) -> list[tuple[int, str]]:
    """Everything that is wrong with a bad line, which is not blank and has no comment: (column, reason)."""
    problems: list[tuple[int, str]] = []

    def read(parse_field: Callable[[str], T], field: re.Match[str]) -> T | None:
        try:
            return parse_field(field.group())
        except FieldError as error:
            problems.append((field.start() + error.offset + 1, error.text))
            return None

    end = len(content.rstrip())
    source_field, *others = _FIELD.finditer(content)
    is_default = source_field.group() == _DEFAULT
    source = None if is_default else read(parse_source, source_field)
    if not others:
        shape = "default PORT COLLECTORS" if is_default else "SOURCE PORT COLLECTORS PRIORITY"
        problems.append((end + 1, f"the line ends too early: write {shape}"))
        return problems
    ports_field, *others = others
    read(parse_ports, ports_field)

    collectors_end = end
    if others and _stands_for_priority(others[-1].group(), is_default):
        priority_field = others[-1]
        collectors_end = priority_field.start()
        if is_default:
            letter = quote(priority_field.group())
            problems.append((collectors_end + 1, f"default has no priority, as it comes last: remove {letter}"))
        else:
            read(parse_priority, priority_field)
    elif not is_default:
        problems.append((end + 1, "the priority is missing: end the line with one letter, A (best) to Z"))

    problems_so_far = len(problems)
    collector_fields = list(_COLLECTOR.finditer(content, ports_field.end(), collectors_end))
    collectors = [read(parse_collector, field) for field in collector_fields]
    if not collectors:
        problems.append((collectors_end + 1, "the collectors are missing: write one or more behind the port"))
    problems += _number_problem(collectors, collector_fields)
    if source is not None and collectors and len(problems) == problems_so_far:
        problems += _family_problem(source, [collector for collector in collectors if collector], collector_fields[0])
    return problems


def _stands_for_priority(text: str, is_default: bool) -> bool:
    """Whether the last field is meant as a priority. Behind a default, which has none, only a letter can be."""
    return text.upper() in PRIORITIES if is_default else len(text) == 1


def _number_problem(
    collectors: Sequence[Collector | None], fields: Sequence[re.Match[str]]
) -> Iterator[tuple[int, str]]:
    """Point at the first collector that is too much; bad ones (None) have been reported, and do not count here."""
    seen: set[Collector] = set()
    for collector, field in zip(collectors, fields, strict=True):
        if collector is not None:
            seen.add(collector)
        if len(seen) > COLLECTORS_MAX:
            yield field.start() + 1, f"a rule has {COLLECTORS_MAX} collectors at most: remove those from here on"
            return


def _family_problem(
    source: Prefix, collectors: list[Collector], first_field: re.Match[str]
) -> Iterator[tuple[int, str]]:
    if not Rule(source, ALL_PORTS, tuple(collectors), None, 0).can_send():
        wanted, unwanted = ("IPv4", "IPv6") if source.family == 4 else ("IPv6", "IPv4")
        yield (
            first_field.start() + 1,
            f"the source is {wanted} and every collector {unwanted}, so no datagram could ever be sent: "
            f"write an {wanted} collector, or a name",
        )
