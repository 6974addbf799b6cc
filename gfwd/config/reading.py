"""gfwd.toml → Config, or all that is wrong with it."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from marshmallow import ValidationError

from gfwd.config.collectors import collector_reader
from gfwd.config.document import Document, read_document
from gfwd.config.flaws import Found, in_table
from gfwd.config.keys import all_keys, collector_keys
from gfwd.config.kinds import Table
from gfwd.config.model import Config
from gfwd.config.places import Lines, Place
from gfwd.errors import ConfigError, Problem
from gfwd.rules import classic
from gfwd.rules.file import read_text
from gfwd.rules.listen import named_ports
from gfwd.rules.model import Collector, Rule, RuleSet


def load(path: str | os.PathLike[str]) -> Config:
    """Read a gfwd.toml, and the rules file that it names.

    Raises ConfigError, naming the file that cannot be read, or all that is wrong with both.
    """
    return parse(read_text(path, "the configuration"), os.fspath(path))


def parse(text: str, path: str) -> Config:
    """Read the text of a gfwd.toml, whose name says where its rules file is. Raises ConfigError as load() does."""
    document = read_document(text, path)
    data, lines = document.data, document.lines
    problems = list(document.problems)
    # Of a text that is not all TOML, more may have been meant to be there, so nothing that is missing is complained of.
    is_whole = not problems

    def note(found: Iterator[Found]) -> None:
        problems.extend(Problem(path, *lines.of(offset), reason) for offset, reason in found)

    own = _meaning(data, "address") or ()
    read_collector = collector_reader(_named(data) if is_whole else None, own)
    keys = all_keys(read_collector, own=own)
    loaded: dict[str, Any] = {}
    try:
        loaded = keys.load(data, partial=not is_whole)
    except ValidationError as error:
        note(in_table(keys, error.messages, document.root, document.text))
    ruleset = None
    name = _meaning(data, "rules")
    if name is not None and "rule" not in data:
        try:
            ruleset = classic.load(os.path.join(os.path.dirname(path), name), read_collector)
        except ConfigError as error:
            problems += error.problems
    elif not problems:
        ruleset = RuleSet(path, _with_lines(loaded["rule"], document.root.at("rule"), lines))
    if ruleset is not None and not problems:
        note(_nothing_to_listen_on(document, loaded, ruleset))
    if ruleset is None or problems:
        raise ConfigError(sorted(problems))
    return _config(path, loaded, ruleset)


def _config(path: str, loaded: dict[str, Any], ruleset: RuleSet) -> Config:
    ports = loaded.pop("ports")
    inputs, outputs = ((*ports.get(way, ()), *ports.get("both", ())) for way in ("in", "out"))
    loaded.setdefault("workers", len(loaded.get("cpus", ())) or 1)
    del loaded["rules" if "rules" in loaded else "rule"]
    return Config(path=path, rules=ruleset, inputs=inputs, outputs=outputs, **loaded)


def _meaning(data: Mapping[str, Any], key: str) -> Any:
    """What one key means, before all is read, since others are judged by it; None where it is not there, or wrong."""
    try:
        return all_keys().fields[key].deserialize(data[key])
    except (KeyError, ValidationError):
        return None


def _named(data: Mapping[str, Any]) -> dict[str, Collector | None]:
    """The collectors with a name, before all is read, since rules name them; None for one with something wrong."""
    tables = data.get("collector")
    if not isinstance(tables, dict):
        return {}
    group = Table(collector_keys(), example="")
    found: dict[str, Collector | None] = {}
    for name, table in tables.items():
        try:
            found[name] = group.deserialize(table)
        except ValidationError:
            found[name] = None
    return found


def _with_lines(rules: Iterable[Rule], place: Place, lines: Lines) -> tuple[Rule, ...]:
    """The rules, each with the line of its [[rule]]."""
    return tuple(rule._replace(line=lines.of(place.at(n).key)[0]) for n, rule in enumerate(rules))


def _nothing_to_listen_on(document: Document, loaded: Mapping[str, Any], ruleset: RuleSet) -> Iterator[Found]:
    if "listen" not in loaded and not named_ports(ruleset):
        yield (
            document.root.at("rule" if "rule" in loaded else "rules", 0).key,
            "no rule names a port, and on all of them gfwd would carry off answers to the host's own questions (DNS, "
            'NTP, DHCP): write listen = "514,2055,9990-9999"; or, where the address is gfwd\'s alone, listen = "all"',
        )
