"""gfwd.toml as a whole: what it means, and that nothing that a file may hold is met by surprise."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfwd.config.canonical import canonical_text
from gfwd.config.model import USUAL_DNS, Config, LogSetting, Sizes
from gfwd.config.port_name import PortName
from gfwd.config.reading import control_socket, load, parse
from gfwd.errors import ConfigError
from gfwd.rules.classic import COLLECTORS_MAX
from gfwd.rules.model import (
    EVERY_EXPORTER,
    NO_OPTIONS,
    Address,
    Check,
    Collector,
    Exporters,
    Group,
    Options,
    Prefix,
    Rule,
)
from tests.unit.config.test_golden import FOLDER

ROOT = Path(__file__).parents[3]
LEAST = """
ports.both = ["xdp:eth0"]
[[rule]]
source = "10.2.2.3"
ports = 514
collectors = ["10.2.2.6"]
priority = "A"
"""
V4 = Collector("10.2.2.6", None, Address(4, 0x0A020206))


def reasons(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "gfwd.toml")
    return [problem.text for problem in caught.value.problems]


def test_the_least_that_is_enough() -> None:
    config = parse(LEAST, "etc/gfwd.toml")
    eth0 = (PortName("xdp", "eth0"),)
    rule = Rule(Prefix(4, 0x0A020203, 32), ((514, 514),), (V4,), "A", 3)
    assert (config.rules.path, config.rules.rules) == ("etc/gfwd.toml", (rule,))
    assert config == Config(path="etc/gfwd.toml", rules=config.rules, inputs=eth0, outputs=eth0)


def test_the_sample() -> None:
    config = load(ROOT / "packaging" / "gfwd.toml.sample")
    assert list(config.collectors) == ["flow", "syslog"]
    # What is commented out there is right, too.
    text = (ROOT / "packaging" / "gfwd.toml.sample").read_text()
    text = re.sub(r'^# (?!rules|both)(?=[a-z_]+ = |\[[a-z.]+\]|"1)', "", text, flags=re.MULTILINE)
    more = parse(text, "sample")
    assert more.own and more.listen and more.macs and more.watch and more.cpus == (2, 3)
    assert more.log == LogSetting(format="json", to="syslog", level="warning")
    assert more.gateways and more.sizes == Sizes()
    assert all(
        getattr(more.dns, one.name) != getattr(USUAL_DNS, one.name)
        for one in fields(USUAL_DNS)
        if "ttl" not in one.name
    )
    assert more.groups.keys() == {"farm"} and more.rules.exporters.limits
    assert more.rules.rules[0].excepted and more.rules.rules[0].applies_always
    options = more.collectors["flow"].options
    assert options is not None
    assert all(one != usual for one, usual in zip(options, NO_OPTIONS, strict=True))


def test_options_and_groups_in_a_rule() -> None:
    more = """
        [collector.flow]
        host = "10.2.2.6"
        ttl = 3
        backup = ["spare"]
        check = "tcp:80"
        [collector.spare]
        host = "10.2.2.7"
        backup = ["flow"]
        [collector.usual]
        host = "10.2.2.8"
        source = "keep"
        ttl = "decrement"
        [group.farm]
        members = ["flow", "usual"]
    """
    config = parse(
        LEAST.replace('"10.2.2.6"', '"farm", "usual", "10.2.2.8", "flow"').replace("[[", more + "[[", 1), "x"
    )
    flow, spare, usual = (config.collectors[name] for name in ("flow", "spare", "usual"))
    farm = Group("farm", "exporter", (flow, usual))
    assert config.rules.rules[0].receivers == (farm, usual, flow)
    assert config.rules.rules[0].collectors == (flow, usual)
    assert config.groups == {"farm": farm}
    assert usual == V4._replace(host="10.2.2.8", address=Address(4, 0x0A020208), name="usual", options=None)
    assert spare.options == Options(backup=(flow.alone(),)), "whose own backups are not asked"
    assert flow.options == Options(ttl=3, backup=(spare.alone(),), check=Check("tcp", port=80))
    assert (spare.alone().options, spare.alone().name) == (None, "spare")
    assert [config.lines[name] for name in ("flow", "farm")] == [4, 16]


def test_who_applies_where() -> None:
    of_default = LEAST.replace('priority = "A"', "").replace('"10.2.2.3"', '"default"')
    for first, own, applies in (("", "", False), ("best", "all", True), ("all", "", True), ("all", "best", False)):
        text = f'apply = "{first}"\n' * bool(first) + LEAST + f'apply = "{own}"\n' * bool(own)
        text += of_default[of_default.index("[[") :]
        assert [rule.applies_always for rule in parse(text, "x").rules.rules] == [applies, False], (first, own)


def test_exporters() -> None:
    assert parse(LEAST, "x").rules.exporters == parse(LEAST + "[exporters]", "x").rules.exporters == EVERY_EXPORTER
    text = LEAST + '[exporters]\nlimit = 5\ndeny = ["10.0.0.0/8"]\nlimits = {"10.1.2.3" = 0, "10.1.0.0/16" = 7}'
    ten, one, few = Prefix(4, 0x0A000000, 8), Prefix(4, 0x0A010203, 32), Prefix(4, 0x0A010000, 16)
    assert parse(text, "x").rules.exporters == Exporters((), (ten,), 5, ((one, None), (few, 7)))


def test_the_rules_file_is_seen_from_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "some.rules").write_text("default 514 10.2.2.6")
    (tmp_path / "etc" / "gfwd.toml").write_text('rules = "some.rules"\nports.both = ["xdp:eth0"]')
    monkeypatch.chdir(tmp_path)
    assert load("etc/gfwd.toml").rules.path == "etc/some.rules"
    (tmp_path / "gfwd.toml").write_text(f'rules = "{tmp_path}/etc/some.rules"\nports.both = ["xdp:eth0"]')
    assert load("gfwd.toml").rules.path == f"{tmp_path}/etc/some.rules"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", "a\0b"):
        with pytest.raises(ConfigError, match="cannot read the configuration"):
            load(path)
    (tmp_path / "utf16.toml").write_bytes("workers = 1".encode("utf-16"))
    with pytest.raises(ConfigError, match="this is UTF-16"):
        load(tmp_path / "utf16.toml")


def test_the_most_collectors() -> None:
    names = [f"10.2.{n >> 8}.{n & 255}" for n in range(COLLECTORS_MAX + 1)]

    def with_collectors(chosen: list[str]) -> str:
        return LEAST.replace('["10.2.2.6"]', str(chosen))

    most = [*names[:-1], names[0]]
    assert len(parse(with_collectors(most), "x").rules.rules[0].collectors) == COLLECTORS_MAX
    with pytest.raises(ConfigError) as caught:
        parse(with_collectors([*most, names[-1]]), "x")
    (problem,) = caught.value.problems
    line = with_collectors([*most, names[-1]]).split("\n")[problem.line - 1]
    assert line[problem.column - 1 :].startswith(f"'{names[-1]}'")


def test_what_is_wrong_in_a_broken_file_is_said_and_what_may_be_missing_is_not() -> None:
    broken = LEAST.replace("source =", "source").replace("ports.both", "wokers = 2\nports.both")
    assert [reason[:40] for reason in reasons(broken)] == [
        'there is no key "wokers": did you mean w',
        '"source "10.2.2.3"": not TOML: expected ',
    ]
    assert len(reasons(LEAST + "x")) == 1
    assert len(reasons(LEAST.replace("[[rule]]", "[[rule]"))) == 1


def test_a_name_for_the_marks_of_the_reader() -> None:
    """`_schema` is what the library has for mistakes of a whole table; a key may be called so all the same."""
    for table in ("", "[ports]", "[neighbours]", "[collector._schema]", "[collector]", "[[rule]]"):
        for value in ("1", "[1]", "{x = 1}"):
            with pytest.raises(ConfigError) as caught:
                parse(f"{table}\n_schema = {value}", "gfwd.toml")
            assert 2 in [problem.line for problem in caught.value.problems]


def test_text_of_hostile_keys_has_no_power() -> None:
    for key in ("\\u001b[31m", "\\n", "\\u202e"):
        for text in (f'"{key}" = 1', f'[neighbours]\n"{key}" = 1', f'[collector."{key}"]', f'rules = "{key}"'):
            assert all(reason.isprintable() for reason in reasons(text))


# ---- whatever a file holds ----

SAMPLES = [path.read_bytes() for path in sorted(FOLDER.glob("*.toml"))] + [LEAST.encode()]
PIECES = [
    b"[",
    b"]",
    b"[[",
    b'"',
    b"'",
    b'"""',
    b"'''",
    b"{",
    b"}",
    b"=",
    b".",
    b",",
    b"\n",
    b"#",
    b"\\",
    b"\0",
    b"\xff",
]
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 9), st.sampled_from(PIECES) | st.binary(max_size=5)), max_size=4
)


def edited(data: bytes, edits: list[tuple[float, int, bytes]], keep: float) -> bytes:
    for place, length, new in edits:
        at = int(place * len(data))
        data = data[:at] + new + data[at + length :]
    return data[: round(keep * len(data))]


@settings(max_examples=500)
@given(st.builds(edited, st.sampled_from(SAMPLES), EDITS, st.just(1.0) | st.floats(0, 1)) | st.binary(max_size=60))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """A configuration that reads back, or messages of a line each, about a place that there is."""
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    try:
        config = load(path)
    except ConfigError as error:
        lines = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert error.problems
        assert len(str(error).split("\n")) == len(error.problems)
        for problem in error.problems:
            if problem.line:  # else it is about a rules file that is not there
                assert problem.path == str(path)
                assert 1 <= problem.line <= len(lines)
                assert 1 <= problem.column <= 3 * len(lines[problem.line - 1]) + 1
    else:
        text = canonical_text(config)
        assert canonical_text(parse(text, "again")) == text


@pytest.mark.parametrize(
    ("text", "socket"),
    [
        ('control = "/run/gfwd"\nintervall = 3\n', "/run/gfwd"),
        ('nonsense\ncontrol = "/run/gfwd"\n', "/run/gfwd"),
        ("intervall = 3\n", None),
        ("control = 3\n", "gfwd.toml:1:11: error: 3: here stands text"),
        ('\ncontrol = "gfwd"\n', "gfwd.toml:2:11: error: 'gfwd' cannot be a socket"),
        ('control "/run/gfwd"\n', "gfwd.toml:1:"),
        (None, "No such file"),
    ],
)
def test_the_control_socket_of_a_file_with_mistakes(tmp_path, text, socket):
    """Who wants to stop a gfwd that runs need not mend the file first; a name of the socket is never guessed."""
    path = tmp_path / "gfwd.toml"
    if text is not None:
        path.write_text(text)
    if socket is None or socket.startswith("/"):
        assert control_socket(path) == socket
    else:
        with pytest.raises(ConfigError, match=re.escape(socket)):
            control_socket(path)
