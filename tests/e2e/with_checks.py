"""gfwd as it will be when gfwd.toml has keys for checks and backups: they are read here, the rest is gfwd's own.

python -m tests.e2e.with_checks run -c gfwd.toml
"""

import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from gfwd.cli import main
from gfwd.config import reading
from gfwd.config.model import Config
from gfwd.rules.model import Check, Collector, Options


def load(path: str | os.PathLike[str]) -> Config:
    """In the place of reading.load()."""
    data = tomllib.loads(Path(path).read_text())
    keys = {name: _taken(table) for name, table in data.get("collector", {}).items()}
    config = reading.parse(tomli_w.dumps(data), os.fspath(path))
    made: dict[Collector, Collector] = {}
    for name, its in keys.items():
        options = Options(check=_check(its), backup=tuple(_named(config, keys, one) for one in its.get("backup", ())))
        made[config.collectors[name]] = _named(config, keys, name)._replace(options=options)
    rules = tuple(
        rule._replace(receivers=tuple(made.get(one, one) for one in rule.collectors)) for rule in config.rules.rules
    )
    return Config(**{**_fields(config), "rules": config.rules._replace(rules=rules)})


def _taken(table: dict[str, Any]) -> dict[str, Any]:
    return {key: table.pop(key) for key in ("check", "interval", "rise", "fall", "backup") if key in table}


def _named(config: Config, keys: dict[str, dict[str, Any]], name: str) -> Collector:
    """Without its backups, which are not followed for one that is a backup."""
    check = _check(keys[name])
    return config.collectors[name]._replace(name=name, options=Options(check=check) if check else None)


def _check(its: dict[str, Any]) -> Check | None:
    kind, _, port = its.get("check", "none").partition(":")
    times = {key: its[key] for key in ("interval", "rise", "fall") if key in its}
    if kind == "none":
        return None
    if kind == "http":
        return Check("http", url=its["check"], **times)
    return Check(kind, port=int(port) if port else None, **times)


def _fields(config: Config) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__slots__}


if __name__ == "__main__":
    reading.load = load
    sys.exit(main())
