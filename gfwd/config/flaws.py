"""What marshmallow hands back about wrong values → what is wrong with them, and where it stands."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from marshmallow import Schema
from marshmallow.exceptions import SCHEMA
from marshmallow.fields import Field

from gfwd.config.kinds import MISSING, UNKNOWN, Flaw, Named, Several, Table
from gfwd.config.places import Place
from gfwd.rules.fields import quote

Found = tuple[int, str]
"""The offset of a mistake, and what is said of it."""


def in_table(group: Schema, messages: Any, place: Place, text: str) -> Iterator[Found]:
    """All that is wrong with a table whose keys are known."""
    known = {field.data_key or name: field for name, field in group.fields.items()}
    for key, more in messages.items():
        if key in known:
            yield from _in_value(known[key], more, place, key, text)
        elif key == SCHEMA and UNKNOWN not in more:
            yield from _leaves(more, place.key, place.key)
        else:
            yield place.at(key).key, _unknown(key, list(known))


def _in_value(field: Field[Any], messages: Any, holder: Place, key: str | int, text: str) -> Iterator[Found]:
    """All that is wrong with a value, which `holder` holds, and with what is in it."""
    place = holder.at(key)
    if isinstance(messages, list):
        if MISSING in messages:
            yield place.key, _missing(field, key)
        else:
            yield from _leaves(messages, place.value, place.value + _quotes(text, place.value))
        return
    if isinstance(messages.get(SCHEMA), list) and isinstance(field, Several):
        yield from _leaves(messages[SCHEMA], place.value, place.value)
    if isinstance(field, Table):
        yield from in_table(field.schema, messages, place, text)
    elif isinstance(field, Several):
        for number, more in messages.items():
            if number != SCHEMA:
                yield from _in_value(field.inner, more, place, number, text)
    elif isinstance(field, Named):
        for name, parts in messages.items():
            if "key" in parts:
                yield from _leaves(parts["key"], place.at(name).key, place.at(name).key)
            if "value" in parts and field.value_field is not None:
                yield from _in_value(field.value_field, parts["value"], place, name, text)


def _leaves(messages: list[Flaw], start: int, inside: int) -> Iterator[Found]:
    """Flaws of one value: of the whole of it, or, where its text shows as it is, of one of its characters."""
    for flaw in messages:
        yield (inside + flaw.offset if flaw.offset and inside > start else start), flaw.text


def _quotes(text: str, offset: int) -> int:
    """How many characters stand before the text of a value: 1 for its quote; 0 where not every one shows as itself."""
    quote_mark = text[offset : offset + 1]
    if quote_mark not in ("'", '"') or text.startswith(quote_mark * 2, offset):
        return 0
    inside = text[offset + 1 : text.find(quote_mark, offset + 1)]
    return 0 if "\\" in inside else 1


def _missing(field: Field[Any], key: str | int) -> str:
    example = getattr(field, "example", "it")
    if isinstance(field, Table | Named):
        return f"there is no table {key}: write {example}"
    return f"{key} is missing: write {key} = {example}"


def _unknown(key: str, known: list[str]) -> str:
    close = get_close_matches(key, known, 1)
    if close:
        return f"there is no key {quote(key)}: did you mean {close[0]}?"
    return f"there is no key {quote(key)} here: there are {', '.join(known[:-1])} and {known[-1]}"
