"""The JSON schema for editors, and the page about the keys: both know every key that there is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gfwd.config.json_schema import json_schema, schema_text

ROOT = Path(__file__).parents[3]


def test_the_file_is_what_the_code_gives() -> None:
    assert (ROOT / "packaging" / "gfwd.schema.json").read_text("utf-8") == schema_text(), (
        "make it anew: python -m gfwd.config.json_schema > packaging/gfwd.schema.json"
    )


def described(schema: Any) -> Iterator[tuple[str, Any]]:
    """All keys, with what is said about each."""
    for key, about in schema.get("properties", {}).items():
        yield key, about
        yield from described(about)
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            yield from described(schema[inner])


def test_every_key_says_what_it_means() -> None:
    keys = dict(described(json_schema()))
    assert keys.keys() >= {"ports", "in", "both", "collector", "host", "rule", "priority", "listen", "neighbours"}
    for key, about in keys.items():
        assert about["description"].endswith("."), key


def test_the_page_about_the_keys_has_them_all() -> None:
    page = (ROOT / "docs" / "config.md").read_text("utf-8")
    for key, _ in described(json_schema()):
        assert re.search(rf"^\| `[^|]*\b{key}\b[^|]*` \|", page, re.MULTILINE), key
