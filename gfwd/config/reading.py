"""gfwd.toml → Config, or all that is wrong with it."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from marshmallow import ValidationError

from gfwd.config.collectors import Known
from gfwd.config.document import Document, read_document
from gfwd.config.flaws import Found, in_table
from gfwd.config.keys import all_keys
from gfwd.config.model import Config
from gfwd.config.places import Lines, Place
from gfwd.config.rule_keys import APPLY
from gfwd.errors import ConfigError, Problem
from gfwd.rules import classic
from gfwd.rules.file import read_text
from gfwd.rules.listen import named_ports
from gfwd.rules.model import EVERY_EXPORTER, Prefix, Rule, RuleSet


def load(path: str | os.PathLike[str]) -> Config:
    """Read a gfwd.toml, and the rules file that it names.

    Raises ConfigError, naming the file that cannot be read, or all that is wrong with both.
    """
    return parse(read_text(path, "the configuration"), os.fspath(path))


def control_socket(path: str | os.PathLike[str]) -> str | None:
    """The control socket that a gfwd.toml names, whatever else is wrong with it and its rules: who wants to ask a gfwd
    that runs, or end it, need not mend them first. None: it names none. Raises ConfigError, of the file or the name.
    """
    text, name = read_text(path, "the configuration"), os.fspath(path)
    document = read_document(text, name)
    if "control" not in document.data:
        if document.problems:  # one of which may be that line
            raise ConfigError(document.problems)
        return None
    keys = all_keys()
    try:
        socket: str = keys.fields["control"].deserialize(document.data["control"])
    except ValidationError as error:
        flaws = in_table(keys, {"control": error.messages}, document.root, document.text)
        raise ConfigError([Problem(name, *document.lines.of(offset), reason) for offset, reason in flaws]) from None
    return socket


def parse(text: str, path: str) -> Config:
    """Read the text of a gfwd.toml, whose name says where its rules file is. Raises ConfigError as load() does."""
    document = read_document(text, path)
    data, lines = document.data, document.lines
    problems = list(document.problems)
    # Of a text that is not all TOML, more may have been meant to be there, so nothing that is missing is complained of.
    is_whole = not problems

    def note(found: Iterator[Found]) -> None:
        problems.extend(Problem(path, *lines.of(offset), reason) for offset, reason in found)

    own, apply = _meaning(data, "address") or (), _meaning(data, "apply") or APPLY[0]
    known = _known(data, own) if is_whole else Known(own)
    keys = all_keys(known, apply)
    loaded: dict[str, Any] = {}
    try:
        loaded = keys.load(data, partial=not is_whole)
    except ValidationError as error:
        note(in_table(keys, error.messages, document.root, document.text))
    ruleset = None
    name = _meaning(data, "rules")
    if name is not None and "rule" not in data:
        try:
            ruleset = _applied(apply, classic.load(os.path.join(os.path.dirname(path), name), known.receiver))
        except ConfigError as error:
            problems += error.problems
    elif not problems:
        ruleset = RuleSet(path, _with_lines(loaded["rule"], document.root.at("rule"), lines))
    if ruleset is not None and not problems:
        note(_nothing_to_listen_on(document, loaded, ruleset))
    if ruleset is None or problems:
        raise ConfigError(sorted(problems))
    exporters = loaded.pop("exporters", EVERY_EXPORTER)
    return _config(path, loaded, ruleset._replace(exporters=exporters), _lines_of_names(document))


def _config(path: str, loaded: dict[str, Any], ruleset: RuleSet, lines: Mapping[str, int]) -> Config:
    ports = loaded.pop("ports")
    inputs, outputs = ((*ports.get(way, ()), *ports.get("both", ())) for way in ("in", "out"))
    loaded.setdefault("workers", len(loaded.get("cpus", ())) or 1)
    has_tables = "rule" in loaded
    for key in ("rules", "rule", "apply"):  # which `ruleset` is made of
        loaded.pop(key, None)
    return Config(
        path=path, rules=ruleset, inputs=inputs, outputs=outputs, lines=lines, has_tables=has_tables, **loaded
    )


def _meaning(data: Mapping[str, Any], key: str) -> Any:
    """What one key means, before all is read, since others are judged by it; None where it is not there, or wrong."""
    if key not in data:
        return None
    try:
        return all_keys().fields[key].deserialize(data[key])
    except ValidationError:
        return None


def _known(data: Mapping[str, Any], own: Collection[Prefix]) -> Known:
    """The collectors and groups with a name, before all is read, since rules, groups and collectors name them."""
    known = Known(own, _by_name(data, "collector"), _by_name(data, "group"))
    for _ in range(2):  # once without what their backups are, and once with it
        known = replace(known, collectors=_by_name(data, "collector", known))
    return replace(known, groups=_by_name(data, "group", known))


def _by_name(data: Mapping[str, Any], key: str, known: Known | None = None) -> dict[str, Any]:
    """What each table of [collector] or [group] means; None where something is wrong, and for all without `known`."""
    tables = data.get(key)
    if not isinstance(tables, dict):
        return {}
    if known is None:
        return dict.fromkeys(tables)
    field = all_keys(known).fields[key]
    found: dict[str, Any] = {}
    for name, table in tables.items():
        try:
            found |= field.deserialize({name: table})
        except ValidationError:
            found[name] = None
    return found


def _applied(apply: str, ruleset: RuleSet) -> RuleSet:
    """The rules of a rules file, which cannot say where they apply."""
    if apply != "all":
        return ruleset
    return ruleset._replace(
        rules=tuple(rule._replace(applies_always=rule.priority is not None) for rule in ruleset.rules)
    )


def _lines_of_names(document: Document) -> dict[str, int]:
    """Where each [collector.NAME] and [group.NAME] stands."""
    return {
        str(name): document.lines.of(place.key)[0]
        for key in ("collector", "group")
        if key in document.data
        for name, place in document.root.at(key).inside.items()
    }


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
