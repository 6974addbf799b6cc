"""The classic rules file: what is read from good lines, and what is said about bad ones, to the column."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.errors import ConfigError
from gfwd.rules.canonical import canonical_text
from gfwd.rules.classic import load, parse
from gfwd.rules.model import ALL_PORTS, Address, Collector, Prefix, Rule, RuleSet

SIX = Collector("10.2.2.6", None, Address(4, 0x0A020206))
NAME = Collector("flow.example.net", 9995, None)
HOST = Prefix(4, 0x0A020203, 32)


def problems(text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "x.rules")
    assert all(problem.path == "x.rules" and problem.kind == "error" for problem in caught.value.problems)
    return [(problem.line, problem.column, problem.text) for problem in caught.value.problems]


def test_the_sample_of_the_docs() -> None:
    text = (
        "# source         dst port   collectors                         priority\n"
        "10.2.2.3         8086       10.2.2.6                           A\n"
        "10.2.2.5         9996       10.2.2.6 flow.example.net:9995     A\n"
        "2001:db8:1::/48  *          [2001:db8::9]:2055                 B\n"
        "*                514        10.2.2.8,10.2.2.9                  C\n"
        "default          *          10.2.2.7\n"
    )
    nine = Collector("2001:db8::9", 2055, Address(6, 0x20010DB8 << 96 | 9))
    seven, eight, nine4 = (Collector(f"10.2.2.{n}", None, Address(4, 0x0A020200 + n)) for n in (7, 8, 9))
    assert parse(text, "sample") == RuleSet(
        "sample",
        (
            Rule(HOST, ((8086, 8086),), (SIX,), "A", 2),
            Rule(Prefix(4, 0x0A020205, 32), ((9996, 9996),), (SIX, NAME), "A", 3),
            Rule(Prefix(6, 0x20010DB80001 << 80, 48), ALL_PORTS, (nine,), "B", 4),
            Rule(None, ((514, 514),), (eight, nine4), "C", 5),
            Rule(None, ALL_PORTS, (seven,), None, 6),
        ),
    )


@pytest.mark.parametrize(
    "line",
    [
        "10.2.2.3 8086 10.2.2.6 flow.example.net:9995 A",
        "10.2.2.3\t8086\t10.2.2.6\tflow.example.net:9995\tA",
        "   10.2.2.3 8086 10.2.2.6,flow.example.net:9995 A   ",
        "10.2.2.3 8086 10.2.2.6, flow.example.net:9995 A#comment",
        "10.2.2.3 8086 10.2.2.6 ,FLOW.Example.Net.:9995 A # x # y",
        "10.2.2.3 8086 10.2.2.6,flow.example.net:9995,10.2.2.6 flow.example.net:9995 A",
        "10.2.2.3/32 8086-8086 10.2.2.6,,flow.example.net:9995, A",
        "10.2.2.3\u00a08086 10.2.2.6 flow.example.net:9995 A",
    ],
)
def test_spellings_of_one_line(line: str) -> None:
    assert parse(line, "x").rules == (Rule(HOST, ((8086, 8086),), (SIX, NAME), "A", 1),)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("10.2.2.3", [(1, 9, "the line ends too early: write SOURCE PORT COLLECTORS PRIORITY")]),
        ("default", [(1, 8, "the line ends too early: write default PORT COLLECTORS")]),
        (
            "10.2.2.3 514 # 10.2.2.6 A",
            [
                (1, 13, "the collectors are missing: write one or more behind the port"),
                (1, 13, "the priority is missing: end the line with one letter, A (best) to Z"),
            ],
        ),
        ("10.2.2.3 514 A", [(1, 14, "the collectors are missing: write one or more behind the port")]),
        ("10.2.2.3 514 , A", [(1, 16, "the collectors are missing: write one or more behind the port")]),
        ("default 514", [(1, 12, "the collectors are missing: write one or more behind the port")]),
        ("* 514 10.2.2.6", [(1, 15, "the priority is missing: end the line with one letter, A (best) to Z")]),
        ("* 514 10.2.2.6 a", [(1, 16, '"a": a priority is a capital letter: write A')]),
        ("* 514 10.2.2.6 1", [(1, 16, '"1" is not a priority: write one letter, A (best) to Z')]),
        ("* 514 10.2.2.6 Ä", [(1, 16, '"Ä" is not a priority: write one letter, A (best) to Z')]),
        ("* 514 10.2.2.6 ß", [(1, 16, '"ß" is not a priority: write one letter, A (best) to Z')]),
        ("default 514 10.2.2.6 A", [(1, 22, 'default has no priority, as it comes last: remove "A"')]),
        ("default 514 10.2.2.6 a", [(1, 22, 'default has no priority, as it comes last: remove "a"')]),
        (
            "* 514 B 10.2.2.6 A",
            [(1, 7, '"B": a single letter is a priority, and stands last in its line, behind a blank')],
        ),
        (
            "* 514 10.2.2.6,A",
            [
                (1, 16, '"A": a single letter is a priority, and stands last in its line, behind a blank'),
                (1, 17, "the priority is missing: end the line with one letter, A (best) to Z"),
            ],
        ),
        (
            "10.2.2.3 514 2001:db8::9 A",
            [
                (
                    1,
                    14,
                    "the source is IPv4 and every collector IPv6, so no datagram could ever be sent: "
                    'write an IPv4 collector, a name, or one that has source = "own" in gfwd.toml',
                )
            ],
        ),
        (
            "2001:db8::/32 0 10.2.2.6, 10.2.2.7 a",
            [
                (
                    1,
                    15,
                    '"0" is not a port: write a number from 1 to 65535, a range such as 9995-9999, '
                    "a list such as 514,9995-9999, or *",
                ),
                (
                    1,
                    17,
                    "the source is IPv6 and every collector IPv4, so no datagram could ever be sent: "
                    'write an IPv6 collector, a name, or one that has source = "own" in gfwd.toml',
                ),
                (1, 36, '"a": a priority is a capital letter: write A'),
            ],
        ),
        (
            "\t10.2.2.3/24  514,9-8  10.2.2.6,10.2.2.7:0, 224.0.0.1  b",
            [
                (1, 2, '"10.2.2.3/24" has bits set behind its length: write 10.2.2.0/24 or 10.2.2.3'),
                (1, 19, '"9-8" runs backwards: write 8-9'),
                (1, 42, '"0" is not a collector\'s port: write a number from 1 to 65535'),
                (
                    1,
                    45,
                    '"224.0.0.1": a multicast address is not one collector: write the collector\'s own address',
                ),
                (1, 56, '"b": a priority is a capital letter: write B'),
            ],
        ),
    ],
)
def test_bad_lines(line: str, expected: list[tuple[int, int, str]]) -> None:
    assert problems(line) == expected


def test_names_and_both_families_go_with_any_source() -> None:
    for line in ("10.2.2.3 1 2001:db8::9 10.2.2.6 A", "2001:db8::/32 1 flow A", "* 1 10.2.2.6 A", "default 1 ::2"):
        assert parse(line, "x").rules[0].can_send()


def test_a_thousand_bad_lines_are_all_named() -> None:
    text = "".join(f"10.2.2.3 {port} 10.2.2.6 A\n10.2.2.3 514 10.2.2.6\n" for port in range(66000, 67000))
    found = problems(text)
    assert [(line, column) for line, column, _ in found] == [
        place for line in range(1, 2001, 2) for place in ((line, 10), (line + 1, 22))
    ]
    assert all(f'"{66000 + line // 2}"' in text for line, column, text in found if column == 10)


@pytest.mark.parametrize("text", ["", "\n\n", "# only this\n", "\ufeff", " \t\r\n"])
def test_no_rules_is_an_error(text: str) -> None:
    assert problems(text) == [(1, 1, "no rules: write at least one, such as: default * 192.0.2.7")]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"# caf\xc3\xa9\r\n\r\n* 514 10.2.2.6 A\r\ndefault * 10.2.2.7\r\n", [3, 4]),
        (b"\xef\xbb\xbf* 514 10.2.2.6 A", [1]),
        (b"\xef\xbb\xbf# mark\n* 514 10.2.2.6 A", [2]),
        (b"# old\r* 514 10.2.2.6 A\rdefault * 10.2.2.7\r", [2, 3]),
        (b"# form feeds \x0c and \xe2\x80\xa8 are no line ends\n* 514\x0c10.2.2.6 A\n", [2]),
    ],
)
def test_load_reads_what_editors_write(tmp_path: Path, data: bytes, lines: list[int]) -> None:
    path = tmp_path / "a b.rules"
    path.write_bytes(data)
    ruleset = load(path)
    assert ruleset.path == str(path)
    assert [rule.line for rule in ruleset.rules] == lines


@pytest.mark.parametrize(
    ("data", "messages"),
    [
        (b"* 514 10.2.2.6 A\n* 514 10.\x002.2.6 A\n", ["2:10: error: a NUL byte: is the file damaged?"]),
        (b"* 514 10.2.2.6 A # \x00\n", ["1:20: error: a NUL byte: is the file damaged?"]),
        (
            b"* 0x 10.2.2.6 A\n# caf\xe9\n\xff\xff\n* 514 10.2.2.6 A\n",
            [
                '1:3: error: "0x" is not a port: write a number from 1 to 65535, a range such as 9995-9999, '
                "a list such as 514,9995-9999, or *",
                "2:6: error: not UTF-8: save the file as UTF-8",
                "3:1: error: not UTF-8: save the file as UTF-8",
            ],
        ),
        ("* 514 10.2.2.6 A\n".encode("utf-16"), ["1:1: error: this is UTF-16: save the file as UTF-8"]),
        (b"\xef\xbb\xbf* 514 10.2.2.6 a", ['1:16: error: "a": a priority is a capital letter: write A']),
        (b"* 514 10.2.2.6 a\r\n", ['1:16: error: "a": a priority is a capital letter: write A']),
    ],
)
def test_load_of_bad_files(tmp_path: Path, data: bytes, messages: list[str]) -> None:
    path = tmp_path / "bad.rules"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == "\n".join(f"{path}:{message}" for message in messages)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
)
def test_load_of_what_cannot_be_read(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    path = tmp_path / "some.rules"
    make(path)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: error: cannot read the rules: {reason}"
    assert caught.value.exit_status == 2


def test_load_of_an_impossible_path() -> None:
    with pytest.raises(ConfigError, match="cannot read the rules: embedded null byte"):
        load("a\0b")


# What fields of good and bad lines are made of. Whatever comes of it: rules, or one kind of exception.
PIECES = (
    *"019aAZé\0\ud800*/-,.:[]%#\t\r\n\x0c\u2028\ufeff",
    *("default", "DEFAULT", "10.2.2.3", "010.1.1.1", "10.0.0.0/8", "/255.0.0.0", "255.255.255.255", "224.0.0.1"),
    *("2001:db8::9", "[2001:db8::9]:2055", "::", "::ffff:10.2.2.3", "fe80::1%eth0", "514", "9995-9999", "65536"),
    *("flow.example.net", "x" * 64, " ", " ", " ", "\n"),
)
good_lines = st.sampled_from(
    ("10.2.2.3 514 10.2.2.6 A", "default * flow", "2001:db8::/32 1-9,514 [::2]:9 x.y:1, ::2 Z")
)
crumbs = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
broken_lines = st.builds(
    lambda line, place, crumb, length: line[:place] + crumb + line[place + length :],
    good_lines,
    st.integers(0, 50),
    crumbs,
    st.integers(0, 9),
)
texts = st.one_of(st.text(), st.lists(st.one_of(good_lines, crumbs, broken_lines), max_size=6).map("\n".join))


def outcome(text: str) -> RuleSet | ConfigError:
    try:
        return parse(text, "x")
    except ConfigError as error:
        return error


@given(texts)
def test_any_text_gives_rules_or_config_error(text: str) -> None:
    result = outcome(text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff").split("\n")
    if isinstance(result, ConfigError):
        assert result.problems
        for problem in result.problems:
            assert 1 <= problem.line <= len(lines)
            assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
            assert problem.text.isprintable()
        return
    with_content = [number for number, line in enumerate(lines, 1) if line.partition("#")[0].strip()]
    assert [rule.line for rule in result.rules] == with_content
    again = parse(canonical_text(result), "x")
    assert [rule._replace(line=0) for rule in again.rules] == [rule._replace(line=0) for rule in result.rules]


@given(st.lists(st.one_of(good_lines, crumbs, broken_lines), max_size=6))
def test_each_line_is_judged_for_itself(pieces: list[str]) -> None:
    lines = [piece.replace("\r", " ").replace("\n", " ").replace("\ufeff", " ") for piece in pieces]
    separate = []
    for number, line in enumerate(lines, 1):
        alone = outcome(line + "\n* 1 a.example A")  # never without any rule
        if isinstance(alone, ConfigError):
            separate += [(number, problem.column, problem.text) for problem in alone.problems]
    together = outcome("\n".join([*lines, "* 1 a.example A"]))
    found = together.problems if isinstance(together, ConfigError) else ()
    assert [(problem.line, problem.column, problem.text) for problem in found] == separate


@given(st.binary(max_size=80))
def test_any_bytes_give_rules_or_config_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.rules"
    path.write_bytes(data)
    try:
        assert load(path).rules
    except ConfigError as error:
        assert error.problems
