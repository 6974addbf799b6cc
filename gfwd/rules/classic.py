"""The classic rules file: one rule a line, `SOURCE PORT COLLECTORS… PRIORITY` or `default PORT COLLECTORS…`.

Fields are parted by white space, `#` starts a comment, collectors may also be parted by commas. A good line
is read in one go; only a line that turns out to be bad is looked at a second time, to find everything that is
wrong with it, and in which column.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from gfwd.rules.file import read_text, split_lines, take_out_binary_lines
from gfwd.rules.model import ALL_PORTS, Collector, Prefix, Receiver, Rule, RuleSet, each_collector, each_once

T = TypeVar("T")

COLLECTORS_MAX: Final = 128
"""Collectors of one rule, those of its groups among them. The core has room for no more."""

TOO_MANY: Final = f"a rule has {COLLECTORS_MAX} collectors at most: remove those from here on"

_DEFAULT: Final = "default"
_FIELD: Final = re.compile(r"\S+")  # finds what str.split() does, and where
_COLLECTOR: Final = re.compile(r"[^\s,]+")

ReadReceiver = Callable[[str], Receiver]
"""The text of a collector, or of the name of a group → what it means. Raises FieldError."""


def load(path: str | os.PathLike[str], read_receiver: ReadReceiver = parse_collector) -> RuleSet:
    """Read a rules file. Raises ConfigError, naming the file where it cannot be read, or all its bad lines."""
    # Bytes that are not UTF-8 are stand-ins, so that their lines are reported together with all other bad ones.
    return parse(read_text(path, "the rules"), os.fspath(path), read_receiver)


def parse(text: str, path: str, read_receiver: ReadReceiver = parse_collector) -> RuleSet:
    """Read the text of a rules file, whose name is only used in messages.

    Raises ConfigError with all that is wrong with any line, or where there is no rule at all.
    """
    lines = split_lines(text)
    is_plain = text.isascii() and "\0" not in text
    problems = [] if is_plain else take_out_binary_lines(lines, path)
    read_rule = _rule_reader(read_receiver)
    rules: list[Rule] = []
    for number, line in enumerate(lines, 1):
        content = line.partition("#")[0] if "#" in line else line
        fields = content.split()
        if not fields:
            continue
        try:
            rules.append(read_rule(fields, number))
        except FieldError:
            found = _line_problems(content, read_receiver)
            problems += [Problem(path, number, column, reason) for column, reason in found]
    if problems:
        raise ConfigError(sorted(problems))
    if not rules:
        raise ConfigError([Problem(path, 1, 1, "no rules: write at least one, such as: default * 192.0.2.7")])
    return RuleSet(path, tuple(rules))


def _rule_reader(read_receiver: ReadReceiver) -> Callable[[list[str], int], Rule]:
    """Make the reader of good lines. It works out each field's text once, however often it comes."""
    source_of = cache(parse_source)
    ports_of = cache(parse_ports)
    receiver_of = cache(read_receiver)

    @cache
    def receivers_of(texts: tuple[str, ...]) -> tuple[Receiver, ...]:
        names = [name for text in texts for name in text.split(",") if name]
        receivers = each_once(map(receiver_of, names))
        if first_too_many(receivers) is not None:
            raise FieldError("too many collectors")
        return receivers

    def read_rule(fields: list[str], line: int) -> Rule:
        """Turn the fields of a line into a rule. Raises FieldError where anything at all is wrong with them."""
        if fields[0] == _DEFAULT:
            source, priority, collector_texts = None, None, fields[2:]
        else:
            source, priority, collector_texts = source_of(fields[0]), parse_priority(fields[-1]), fields[2:-1]
        receivers = receivers_of(tuple(collector_texts))
        if not receivers:
            raise FieldError("no collectors")
        rule = Rule(source, ports_of(fields[1]), receivers, priority, line)
        if not rule.can_send():
            raise FieldError("source and collectors of different families")
        return rule

    return read_rule


def _line_problems(content: str, read_receiver: ReadReceiver) -> list[tuple[int, str]]:
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
    receivers = [read(read_receiver, field) for field in collector_fields]
    if not receivers:
        problems.append((collectors_end + 1, "the collectors are missing: write one or more behind the port"))
    problems += _number_problem(receivers, collector_fields)
    if source is not None and receivers and len(problems) == problems_so_far:
        reason = never_sent(source, [receiver for receiver in receivers if receiver])
        problems += [(collector_fields[0].start() + 1, reason)] if reason else []
    return problems


def _stands_for_priority(text: str, is_default: bool) -> bool:
    """Whether the last field is meant as a priority. Behind a default, which has none, only a letter can be."""
    return text.upper() in PRIORITIES if is_default else len(text) == 1


def _number_problem(receivers: Sequence[Receiver | None], fields: Sequence[re.Match[str]]) -> Iterator[tuple[int, str]]:
    """Point at the first collector that is too much; bad ones (None) have been reported, and do not count here."""
    good = [(receiver, field) for receiver, field in zip(receivers, fields, strict=True) if receiver is not None]
    number = first_too_many([receiver for receiver, _ in good])
    if number is not None:
        yield good[number][1].start() + 1, TOO_MANY


def first_too_many(receivers: Sequence[Receiver]) -> int | None:
    """Which of them is the first that a rule has no room for; None: it has room for all."""
    if len(each_collector(receivers)) <= COLLECTORS_MAX:  # which nearly all rules are done with
        return None
    seen: set[Receiver] = set()
    collectors: set[Collector] = set()
    for number, receiver in enumerate(receivers):
        nameless = receiver.nameless()
        if nameless not in seen:
            seen.add(nameless)
            collectors.update(each_collector([receiver]))
        if len(collectors) > COLLECTORS_MAX:
            return number
    return None


def never_sent(source: Prefix, receivers: Iterable[Receiver]) -> str | None:
    """Why no datagram could ever be sent by a rule, where source and collectors are of different families."""
    if Rule(source, ALL_PORTS, tuple(receivers), None, 0).can_send():
        return None
    wanted, unwanted = ("IPv4", "IPv6") if source.family == 4 else ("IPv6", "IPv4")
    return (
        f"the source is {wanted} and every collector {unwanted}, so no datagram could ever be sent: "
        f'write an {wanted} collector, a name, or one that has source = "own" in gfwd.toml'
    )
