"""Config → its one canonical text, which reads back as the same configuration.

The rules stand in it as [[rule]] tables, wherever they came from, so that it needs no other file.
"""

from dataclasses import fields
from typing import Any

import tomli_w

from gfwd.config.keys import all_keys
from gfwd.config.model import Config
from gfwd.rules.model import Rule


def canonical_text(config: Config) -> str:
    """All that a configuration holds, in TOML; comments are gone."""
    keys = all_keys()
    held: dict[str, Any] = {field.name: getattr(config, field.name) for field in fields(config)}
    rules = held.pop("rules")
    held |= {"rule": rules.rules, "exporters": rules.exporters}
    if config.inputs == config.outputs:
        held["ports"] = {"both": config.inputs}
    else:
        held["ports"] = {"in": config.inputs, "out": config.outputs}
    return tomli_w.dumps(_without_nothing(keys.dump(held)))


def rule_table(rule: Rule) -> str:
    """One rule as a [[rule]] table of its own; its collectors are written as it calls them."""
    (table,) = all_keys().dump({"rule": [rule]})["rule"]
    return "[[rule]]\n" + tomli_w.dumps(_without_nothing(table))


def _without_nothing(value: Any) -> Any:
    """TOML has no word for nothing: what is not there is not written."""
    if isinstance(value, list):
        return [_without_nothing(one) for one in value]
    if not isinstance(value, dict):
        return value
    written = {key: _without_nothing(inner) for key, inner in value.items()}
    return {key: inner for key, inner in written.items() if inner not in (None, [], {})}
