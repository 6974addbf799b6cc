"""The text of gfwd.toml: what stands where, and what is said where it is no TOML."""

import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from gfwd.config.document import read_document
from gfwd.config.places import _SCALAR, Lines, Place
from tests.unit.config.test_golden import FOLDER

EVERYTHING = (FOLDER / "everything.toml").read_text()
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=4)
SCALARS = st.one_of(TEXTS, st.integers(-99, 99), st.booleans(), st.floats(allow_nan=False), st.datetimes())
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))

ODD = "\n".join(
    [
        "# [not.a.table]",
        "a.\"b c\".'d' = 1",
        'a.e=[ # "',
        '  "]", [ ], [{x.y = "}"}, [1,]], """',
        "#\"]\"\"\" , '''it''s''' ]",
        "[a.f]",
        "g = 1979-05-27 07:32:00 # a blank in a value",
        '  [[ many . "in\\u0064eed" ]]',
        'k = """"two quotes"" and \\""" three"""""',
        "  [many.indeed.inside]",
        "k = ''''quoted''''",
        "[[many.indeed]]",
        '"" = true',
    ]
)


def check(value: Any, place: Place, text: str) -> None:
    """All of a value has its place, and nothing else has."""
    if isinstance(value, dict | list):
        parts = dict(enumerate(value)) if isinstance(value, list) else value
        assert list(place.inside) == list(parts) or place.inside.keys() == parts.keys()
        for key, inner in parts.items():
            check(inner, place.inside[key], text)
    else:
        found = _SCALAR.match(text, place.value)
        assert found is not None
        assert tomllib.loads(f"value = {found.group()}")["value"] == value


@pytest.mark.parametrize("text", [ODD, EVERYTHING, "", "#", "a=1", "[a]", "[[a]]"])
def test_all_has_its_place(text: str) -> None:
    document = read_document(text, "odd.toml")
    assert document.problems == []
    check(document.data, document.root, document.text)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_all_of_any_text_has_its_place(data: dict[str, Any]) -> None:
    document = read_document(tomli_w.dumps(data), "some.toml")
    assert document.problems == [] and document.data == data
    check(document.data, document.root, document.text)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_places_as_an_editor_shows_them(end: str) -> None:
    document = read_document("\ufeff# é\n  é.b = [ 1,\n\t'é', 2 ]\n".replace("é", "e").replace("\n", end), "x")
    lines = Lines(document.text)
    assert lines.of(document.root.at("e").key) == (2, 3)
    assert lines.of(document.root.at("e", "b").key) == (2, 5)
    assert [lines.of(document.root.at("e", "b", n).value) for n in range(3)] == [(2, 11), (3, 2), (3, 7)]


def said(text: str) -> list[str]:
    return [f"{problem.line}:{problem.column}: {problem.text}" for problem in read_document(text, "x").problems]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("a = 1\na = 2\na = 3\nb = 1", ["2:1: \"a = 2\": TWICE", "3:1: \"a = 3\": TWICE"]),
        ("a = 1\n[a]\nb = 2\n[c]\n[c]\n[d]", ["2:1: \"[a]\": TWICE", "5:1: \"[c]\": TWICE"]),
        ("a = {b = 1, b = 2}", ['1:18: "a = {b = 1, b = 2}": TWICE']),
        ("a = [1\nb = 2\n", ['2:1: "a = [1": the list is not closed: text needs quotes, two entries a comma between '
                             "them, the end a ]"]),
        ('a = """x\nb = 1\n[', ['1:1: "a = """x": not TOML: unterminated string']),
        ("= 1\n= 2", ['1:1: "= 1": this is no statement: write KEY = VALUE, or [TABLE]',
                      '2:1: "= 2": this is no statement: write KEY = VALUE, or [TABLE]']),
        ("b = 1\na = " + "[" * 9_999, [f'2:1: "a = {"[" * 75}…": this is nested too deep']),
        ("a = " + "1" * 9_999, [f'1:1: "a = {"1" * 75}…": no number is as long here']),
    ],
)  # fmt: skip
def test_mistakes(text: str, messages: list[str]) -> None:
    twice = "the same name stands further up: keep one of the two"
    assert said(text) == [message.replace("TWICE", twice) for message in messages]


def test_a_header_that_is_wrong_takes_its_keys_along() -> None:
    document = read_document("[a]\nb = 1\n[[c]\nb = 2\nd = 3\n[e]\n", "x")
    assert document.data == {"a": {"b": 1}, "e": {}}
    assert len(document.problems) == 1


def test_many_mistakes_are_cut_short() -> None:
    messages = said("x\n" * 30)
    assert len(messages) == 21
    assert messages[-1] == "31:1: of the mistakes, 20 are named: mend these first"


def test_very_many_dots() -> None:
    depth = 2_000  # tomllib takes its time
    document = read_document(".".join("a" * depth) + " = 1", "x")
    assert document.problems == []
    assert document.root.at(*"a" * depth).value == 2 * depth + 2
