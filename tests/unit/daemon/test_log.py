"""The log: events as lines, places that take them or do not, and the page about all of them."""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.config.model import LogSetting
from gfwd.daemon.log import events, outputs, writer
from gfwd.daemon.log.event import Event, Kind, Level
from gfwd.daemon.log.lines import json_line, text_lines
from gfwd.daemon.log.outputs import File, Syslog
from gfwd.daemon.log.writer import Log

ROOT = Path(__file__).parents[3]
ALL = {name: kind for name, kind in vars(events).items() if isinstance(kind, Kind)}
PATIENCE_S = 60.0


def event(text: str, kind: Kind = events.LINK_DOWN) -> Event:
    return kind(text, port="xdp:eth0")


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


# ---- lines ----


def test_lines() -> None:
    its = Event(events.LINK_DOWN, "xdp:eth0: error: …", {"port": "xdp:eth0"}, at=1_772_357_400.125)
    assert text_lines(its) == ["xdp:eth0: error: …"]
    assert text_lines(its, is_timed=True) == ["2026-03-01T09:30:00.125Z xdp:eth0: error: …"]
    several = Event(events.FAILED, "one\ntwo", {}, its.at)
    assert text_lines(several, is_timed=True) == ["2026-03-01T09:30:00.125Z one", "2026-03-01T09:30:00.125Z two"]
    assert json.loads(json_line(its)) == {
        "time": "2026-03-01T09:30:00.125Z",
        "level": "error",
        "event": "link_down",
        "message": "xdp:eth0: error: …",
        "port": "xdp:eth0",
    }


@given(st.text(st.characters()), st.floats(0, 1 << 33))
def test_any_text_is_a_line_that_prints(text: str, at: float) -> None:
    """Lone surrogates too: Python has them for bytes of names that are no text."""
    its = Event(events.LINK_DOWN, text, {"port": text}, at)
    several = text_lines(events.FAILED(text))
    assert len(several) == text.count("\n") + 1
    assert all(line.isprintable() for line in (*several, *text_lines(its))) and len(text_lines(its)) == 1
    line = json_line(its)
    assert line.isprintable() and line.encode().decode() == line
    told = json.loads(line)
    assert told["message"] == told["port"] == re.sub("[\ud800-\udfff]", "\ufffd", text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["time"])


def test_what_stands_in_a_report_does_not_print_either() -> None:
    line = json_line(events.STATUS("x", report={"a\x1b\x9b\u2028\u202e": ["\n", "\U000e0001"]}))
    assert line.isprintable()
    assert json.loads(line)["report"] == {"a\x1b\x9b\u2028\u202e": ["\n", "\U000e0001"]}


# ---- the page, and the code ----


def test_the_page_has_all_events_as_they_are() -> None:
    page = (ROOT / "docs" / "log.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (error|warning|info) \|([^|]*)\| [^|]+ \|$", page, re.MULTILINE)
    written = [(name, level, tuple(re.findall(r"`(\w+)`", keys))) for name, level, keys in rows]
    assert written == [(kind.name, str(kind.level), kind.fields) for kind in ALL.values()]
    for key in ("time", "level", "event", "message"):
        assert f"\n| `{key}` |" in page
        assert not any(key in kind.fields for kind in ALL.values())


def said() -> Iterator[tuple[str, str, frozenset[str | None]]]:
    """Where in gfwd an event is made, which one, and with which fields."""
    for path in sorted((ROOT / "gfwd").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("events."):
                yield f"{path}:{node.lineno}", node.func.attr, frozenset(one.arg for one in node.keywords)  # type: ignore[attr-defined]


def test_every_event_is_said_somewhere_and_has_its_fields() -> None:
    found = list(said())
    assert {name for _, name, _ in found} == set(ALL)
    for place, name, fields in found:
        assert fields == set(ALL[name].fields), place
    for name, kind in ALL.items():
        assert kind.name == name.lower()


# ---- files ----


def test_a_file_that_is_moved_away_or_removed_or_cut_off(tmp_path: Path) -> None:
    path, old = tmp_path / "gfwd.log", tmp_path / "gfwd.log.1"
    path.write_text("before\n")
    file = File(str(path))
    file.write(Level.INFO, ["one", "two"])
    path.rename(old)
    file.write(Level.INFO, ["three"])
    assert (old.read_text(), path.read_text()) == ("before\none\ntwo\n", "three\n")
    assert path.stat().st_mode & 0o027 == 0
    path.unlink()
    file.write(Level.INFO, ["four"])
    os.truncate(path, 0)
    file.write(Level.INFO, ["five \udcff"])
    assert path.read_text() == "five \\udcff\n"
    file.close()


def test_a_line_that_was_torn_does_not_spoil_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that is full in the midst of a line, and has room again."""
    file = File(str(tmp_path / "gfwd.log"))
    real, written = os.write, []

    def write(fd: int, data: bytes) -> int:
        written.append(data)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        return real(fd, data[:3] if len(written) == 1 else data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):
        file.write(Level.INFO, ["torn apart"])
    file.write(Level.INFO, ["whole"])
    file.close()
    assert (tmp_path / "gfwd.log").read_text() == "tor\nwhole\n"


# ---- syslog ----


class Daemon:
    """A syslog daemon's socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(PATIENCE_S)

    def take(self) -> bytes:
        return self.socket.recv(65_536)

    def end(self) -> None:
        self.socket.close()
        with suppress(FileNotFoundError):
            self.path.unlink()


def test_syslog(tmp_path: Path) -> None:
    syslog = Syslog([str(tmp_path / "none"), str(tmp_path / "log")])
    with pytest.raises(FileNotFoundError):
        syslog.write(Level.ERROR, ["nobody hears"])
    daemon = Daemon(tmp_path / "log")
    syslog.write(Level.ERROR, ["one", "two …"])
    assert [daemon.take(), daemon.take()] == [
        f"<27>gfwd[{os.getpid()}]: {text}".encode() for text in ("one", "two …")
    ]  # daemon.err
    daemon.end()
    with pytest.raises(OSError, match=r"refused|No such file"):
        syslog.write(Level.ERROR, ["nobody hears"])
    again = Daemon(tmp_path / "log")
    syslog.write(Level.INFO, ["three"])
    assert again.take().startswith(b"<30>")  # daemon.info
    again.end()
    another = Daemon(tmp_path / "log")  # while we were not looking
    syslog.write(Level.WARNING, ["four"])
    assert another.take().startswith(b"<28>")
    another.end()
    syslog.close()


# ---- the writer ----


class Written:
    """An output that keeps what it gets; a test says when it fails, and when it hangs."""

    is_timed = False

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.trouble: OSError | None = None
        self.goes_on = threading.Event()
        self.goes_on.set()

    def write(self, _level: Level, lines: list[str]) -> None:
        self.goes_on.wait(PATIENCE_S)
        if self.trouble is not None:
            raise self.trouble
        self.lines += lines

    def close(self) -> None:
        pass


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Written:
    its = Written()
    for module in (outputs, writer):
        monkeypatch.setattr(module, "StandardError", lambda: its)
    return its


def test_what_is_said_stands_there_when_the_block_has_ended(stderr: Written) -> None:
    with Log() as log:
        for number in range(100):
            log.say(events.FAILED(f"{number}\nmore"))
    assert stderr.lines == [line for number in range(100) for line in (str(number), "more")]


def test_levels(stderr: Written) -> None:
    for level, most in (("info", 3), ("warning", 2), ("error", 1)):
        stderr.lines.clear()
        with Log() as log:
            log.take(LogSetting(level=level))  # type: ignore[arg-type]
            for kind in (events.LINK_DOWN, events.LINK_NO_CARRIER, events.LINK_UP):
                log.say(event(kind.name, kind))
        assert stderr.lines == ["link_down", "link_no_carrier", "link_up"][:most]


def test_a_log_that_hangs_holds_nobody_up_and_what_is_lost_is_counted(stderr: Written) -> None:
    with Log() as log:
        stderr.goes_on.clear()
        log.say(event("first"))
        wait_until(log._waiting.empty)
        started = time.monotonic()
        for number in range(writer._WAITING_MOST + 77):
            log.say(event(str(number)))
        assert time.monotonic() - started < PATIENCE_S / 10
        stderr.goes_on.set()
        wait_until(lambda: stderr.lines[-1:] == [str(writer._WAITING_MOST - 1)])
    assert len(stderr.lines) == 1 + writer._WAITING_MOST + 1
    assert "log: warning: 77 events before this one could not be written here" in stderr.lines


def test_a_log_that_hangs_does_not_keep_gfwd_from_ending(stderr: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_END_S", 0.05)
    stderr.goes_on.clear()
    with Log() as log:
        for number in range(2 * writer._WAITING_MOST):
            log.say(event(str(number)))
    stderr.goes_on.set()


def test_a_file_that_cannot_be_written_and_then_can(stderr: Written, tmp_path: Path) -> None:
    path = tmp_path / "not yet" / "gfwd.log"
    with Log() as log:
        log.take(LogSetting(to=str(path)))
        log.say(event("one"))
        log.say(event("two"))
        wait_until(lambda: len(stderr.lines) == 3)
        path.parent.mkdir()
        log.say(event("three"))
        wait_until(path.exists)
        log.say(event("four"))
    assert stderr.lines == [
        f"log: error: {path} cannot be written (No such file or directory); what should stand there comes here until "
        "it can",
        "one",
        "two",
    ]
    times, texts = zip(*(line.split(" ", 1) for line in path.read_text().splitlines()), strict=True)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", when) for when in times)
    assert list(texts) == [
        "log: warning: 2 events before this one could not be written here",
        "three",
        "four",
    ]


def test_a_full_disk(stderr: Written) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Log() as log:
        log.take(LogSetting(to="/dev/full", format="json"))
        log.say(event("one"))
    told = [json.loads(line) for line in stderr.lines]
    assert [its["event"] for its in told] == ["log_failed", "link_down"]
    assert (told[0]["to"], told[0]["level"]) == ("/dev/full", "error") and "No space left" in told[0]["message"]


def test_to_another_place_while_it_runs(stderr: Written, tmp_path: Path) -> None:
    with Log() as log:
        log.say(event("here"))
        wait_until(lambda: stderr.lines)
        log.take(LogSetting(to=str(tmp_path / "there"), format="json"))
        log.say(event("there"))
        wait_until((tmp_path / "there").exists)
        log.take(LogSetting())
        log.say(event("here again"))
    assert stderr.lines == ["here", "here again"]
    assert json.loads((tmp_path / "there").read_text())["message"] == "there"


def test_what_is_missing_is_counted_once(stderr: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said in time, and then there is no room for the event itself."""
    full, write = {"one", "two"}, stderr.write

    def write_what_finds_room(level: Level, lines: list[str]) -> None:
        if full & set(lines):
            raise OSError(28, "No space left on device")
        write(level, lines)

    monkeypatch.setattr(stderr, "write", write_what_finds_room)
    with Log() as log:
        for text in ("one", "two", "three"):
            log.say(event(text))
    one_more = "log: warning: 1 event before this one could not be written here"
    assert stderr.lines == [one_more, one_more, "three"]


def test_nothing_works(stderr: Written) -> None:
    stderr.trouble = OSError(28, "No space left on device")
    with Log() as log:
        log.take(LogSetting(to="/dev/full"))
        log.say(event("one"))
        log.take(LogSetting())
        log.say(event("two"))
        wait_until(log._waiting.empty)
        wait_until(lambda: log._missing == 2)
        stderr.trouble = None
        log.say(event("three"))
    assert stderr.lines == ["log: warning: 2 events before this one could not be written here", "three"]
