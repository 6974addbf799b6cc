"""A TOML text cut into its statements: headers of tables, keys with their values, and comments between them.

It holds for a text with mistakes as well, so that one can be reported, its statement taken out, and the rest read.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

# Groups are not possessive: re of Python 3.11.2, which Debian 12 has, gets those wrong.
_TOKEN: Final = re.compile(
    r'''
      (?P<newline> \n )
    | (?P<open>    [\[{] )
    | (?P<close>   [\]}] )
    | (?:                                                  # what brackets and line ends within mean nothing
          \#[^\n]*+
        | """ (?: [^"\\] | \\. | "{1,2}(?!") )* (?: "{3,5} | \Z )   # a string that nobody ends goes on to the end …
        | \'\'\' (?: [^'] | '{1,2}(?!') )* (?: '{3,5} | \Z )
        | "   (?: [^"\\\n] | \\[^\n] )* "?                # … of the line, if it is one of a single line
        | '   [^'\n]*+ '?
      )
    | [^\n\[\]{}\#"']++
    ''',
    re.VERBOSE | re.DOTALL,
)
_BLANK: Final = re.compile(r"[ \t\n]*+")


class Kind(Enum):
    HEADER = "["  # of a table
    COMMENT = "#"  # that stands by itself
    PAIR = "="  # a key with its value, or whatever else


_KINDS: Final = {"[": Kind.HEADER, "#": Kind.COMMENT}


class Statement(NamedTuple):
    """A statement from its first character to behind its last line; empty lines before it do not count."""

    start: int
    end: int
    kind: Kind


def statements(text: str) -> Iterator[Statement]:
    """All statements of a text, in order; between them there are only blanks."""
    position = _skip(text, 0)
    while position < len(text):
        kind = _KINDS.get(text[position], Kind.PAIR)
        end = _end(text, position, kind)
        yield Statement(position, end, kind)
        position = _skip(text, end)


def _end(text: str, position: int, kind: Kind) -> int:
    """Where the statement ends that begins here: with a line, and, if it is a pair, outside of all brackets."""
    depth = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        assert token is not None  # there is an alternative for every character
        position = token.end()
        if token.lastgroup == "open":
            depth += 1
        elif token.lastgroup == "close":
            depth -= 1
        elif token.lastgroup == "newline" and (depth <= 0 or kind is Kind.HEADER):
            break
    return position


def _skip(text: str, position: int) -> int:
    """Go past blanks and line ends."""
    blank = _BLANK.match(text, position)
    assert blank is not None  # nothing at all is blank, too
    return blank.end()
