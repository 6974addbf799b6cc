"""The kinds of values that keys of gfwd.toml have, each of which reads, writes and describes itself.

What is wrong with a value, marshmallow collects from all of them; flaws.py finds where it stands. Each kind takes an
`example`, in TOML, for whoever has to be told what would be right, and `says` what the key means, for editors.
"""

from collections.abc import Callable, Hashable, Mapping
from datetime import date, time
from typing import Any, Final, Generic, NamedTuple, NoReturn, TypeVar

from marshmallow import Schema, ValidationError, fields

from gfwd.rules.fields import FieldError, quote

T = TypeVar("T")

MISSING: Final = "missing"
UNKNOWN: Final = "unknown"
"""Marks that marshmallow hands back for keys that are not there, or should not be; flaws.py has the words."""

_MARKS: Final[dict[str, str | list[Any] | dict[Any, Any]]] = {"required": MISSING}
_GROUP_MARKS: Final = {"unknown": UNKNOWN}


class Flaw(NamedTuple):
    """What is wrong with a value, and at which of its characters."""

    text: str
    offset: int = 0


def refuse(text: str, offset: int = 0) -> NoReturn:
    raise ValidationError([Flaw(text, offset)])


def refuse_keys(flaws: Mapping[str, Any]) -> None:
    """Refuse keys of a table for what they are together: each with its flaw, or with those of what is in it."""
    if flaws:
        raise ValidationError(
            {
                key: [Flaw(flaw) if flaw != MISSING else flaw] if isinstance(flaw, str) else flaw
                for key, flaw in flaws.items()
            }
        )


class Group(Schema):
    """A table whose keys are known."""

    error_messages = _GROUP_MARKS


class Text(fields.Field[T], Generic[T]):
    """Text that `read` understands, and that `write` gives back.

    read raises FieldError or ValueError. numbers: whether a number may stand there without quotes.
    """

    default_error_messages = _MARKS

    def __init__(
        self,
        read: Callable[[str], T],
        write: Callable[[T], str] = str,
        *,
        example: str,
        numbers: bool = False,
        says: str = "",
        **more: Any,
    ) -> None:
        super().__init__(metadata=_about(says), **more)
        self.read = read
        self.write = write
        self.example = example
        self.numbers = numbers

    def _deserialize(self, value: object, *_: object, **__: object) -> T:
        if self.numbers and isinstance(value, int) and not isinstance(value, bool):
            value = _digits(value)
        if not isinstance(value, str):
            refuse(f"{_shown(value)}: here stands text, such as {self.example}")
        try:
            return self.read(value)
        except FieldError as error:
            refuse(error.text, error.offset)
        except ValueError as error:
            refuse(str(error))

    def _serialize(self, value: T | None, *_: object, **__: object) -> str | None:
        return None if value is None else self.write(value)


class Word(fields.Field[str]):
    """One of a few words."""

    default_error_messages = _MARKS

    def __init__(self, *words: str, says: str = "", **more: Any) -> None:
        super().__init__(metadata=_about(says), **more)
        self.words = words
        self.example = f'"{words[0]}"'

    def _deserialize(self, value: object, *_: object, **__: object) -> str:
        if not isinstance(value, str) or value not in self.words:
            *some, last = (f'"{word}"' for word in self.words)
            refuse(f"{_shown(value)}: here stands {', '.join(some)} or {last}")
        return value


class Number(fields.Field[int]):
    """A whole number from `least` to `most`; or, if there is one, the `word` that says that there is none."""

    default_error_messages = _MARKS

    def __init__(
        self, least: int, most: int, *, example: str, word: str | None = None, says: str = "", **more: Any
    ) -> None:
        super().__init__(metadata=_about(says), **more)
        self.least = least
        self.most = most
        self.word = word
        self.example = example

    def _deserialize(self, value: object, *_: object, **__: object) -> int | None:  # type: ignore[override]
        if self.word is not None and value == self.word:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not self.least <= value <= self.most:
            range_text = f"a number from {self.least} to {self.most}, such as {self.example}"
            refuse(f"{_shown(value)}: here stands {range_text}" + (f', or "{self.word}"' if self.word else ""))
        return value


class Switch(fields.Field[bool]):
    """true or false."""

    default_error_messages = _MARKS

    def __init__(self, *, example: str, says: str = "", **more: Any) -> None:
        super().__init__(metadata=_about(says), **more)
        self.example = example

    def _deserialize(self, value: object, *_: object, **__: object) -> bool:
        if not isinstance(value, bool):
            refuse(f"{_shown(value)}: here stands true or false, without quotes, such as {self.example}")
        return value


class Several(fields.List[T], Generic[T]):
    """A list of one or more, or of `least`.

    unique: whether one that comes twice is a mistake; two are one if `same` makes the same of both.
    """

    default_error_messages = _MARKS
    inner: fields.Field[T]

    def __init__(
        self,
        inner: fields.Field[T],
        *,
        example: str,
        least: int = 1,
        unique: bool = True,
        same: Callable[[T], Hashable] = lambda one: one,
        says: str = "",
        **more: Any,
    ) -> None:
        super().__init__(inner, metadata=_about(says), **more)
        self.example = example
        self.least = least
        self.unique = unique
        self.same = same

    def _deserialize(self, value: object, *_: object, **more: Any) -> Any:
        if not isinstance(value, list):
            refuse(f"{_shown(value)}: here stands a list, such as {self.example}")
        if not value:
            refuse(f"the list is empty: write {self.example}, or leave the key out")
        if len(value) < self.least:
            refuse(f"the list is too short: write {self.least} or more, such as {self.example}")
        read: list[T] = []
        flaws: dict[int, Any] = {}
        seen = set()
        for number, one in enumerate(value):
            try:
                meaning = self.inner.deserialize(one, **more)
            except ValidationError as error:
                flaws[number] = error.messages
                continue
            read.append(meaning)
            if not self.unique:
                continue
            key = self.same(meaning)
            if key in seen:
                flaws[number] = [Flaw(_twice(one))]
            seen.add(key)
        if flaws:
            raise ValidationError(flaws, valid_data=read)
        return tuple(read)


class Table(fields.Nested):
    """A table whose keys are known."""

    default_error_messages = _MARKS

    def __init__(self, nested: Schema, *, example: str, says: str = "", **more: Any) -> None:
        super().__init__(nested, metadata=_about(says), **more)
        self.example = example

    def _deserialize(self, value: object, *arguments: Any, **more: Any) -> Any:
        if not isinstance(value, dict):
            refuse(f"{_shown(value)}: here stands a table: write {self.example}")
        return super()._deserialize(value, *arguments, **more)


class Named(fields.Dict):
    """A table whose keys are names that somebody chose. No two of them may mean the same.

    join: makes one of a name and its value, and may refuse() the value for what they are together.
    """

    default_error_messages = _MARKS

    def __init__(
        self,
        keys: fields.Field[Any],
        values: fields.Field[Any],
        *,
        example: str,
        join: Callable[[Any, Any], Any] = lambda _, value: value,
        says: str = "",
        **more: Any,
    ) -> None:
        super().__init__(keys, values, metadata=_about(says), **more)
        self.example = example
        self.join = join

    def _deserialize(self, value: object, *arguments: Any, **more: Any) -> Any:
        if not isinstance(value, dict):
            refuse(f"{_shown(value)}: here stands a table: write {self.example}")
        flaws: dict[str, Any] = {}
        try:
            read = super()._deserialize(value, *arguments, **more)  # type: ignore[no-untyped-call]
        except ValidationError as error:
            assert isinstance(error.messages, dict)
            flaws, read = error.messages, error.valid_data
        assert self.key_field is not None
        seen: set[object] = set()
        for key in value:
            if "key" in flaws.get(key, {}):
                continue
            meaning = self.key_field.deserialize(key)
            if meaning in seen:
                flaws.setdefault(key, {})["key"] = [Flaw(_twice(key))]
            seen.add(meaning)
            if key not in flaws:
                try:
                    read[meaning] = self.join(meaning, read[meaning])
                except ValidationError as error:
                    flaws[key] = {"value": error.messages}
        if flaws:
            raise ValidationError(flaws)
        return read


def _about(says: str) -> dict[str, str]:
    """What a field says of itself, under the name that a JSON schema has for it."""
    return {"description": says} if says else {}


def _twice(value: object) -> str:
    return f"{_shown(value)} stands here twice: keep one of the two"


def _shown(value: object) -> str:
    """A value as a message names it: as it is written, or only what it is where that may be long."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return quote(_digits(value))[1:-1]
    if isinstance(value, date | time):
        return f"{value} is a date or a time"
    if isinstance(value, dict):
        return "this is a table (which a key with dots makes, where it is not in quotes)"
    return "this is a list"


def _digits(value: float) -> str:
    try:
        return str(value)
    except ValueError:  # hexadecimal numbers may have more digits than Python writes in decimal
        return hex(int(value))
