"""The bar of inspect: where somebody looks, and only while it takes long."""

import fcntl
import io
import os
import pty
import re
import struct
import termios

import pytest

from gfwd.cli import progress
from gfwd.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(progress, "_FIRST_S", -1.0)
    monkeypatch.setattr(progress, "_EVERY_S", 0.0)


def test_a_bar_that_goes(impatient):
    terminal = Terminal()
    with Progress(1_000, terminal, is_wanted=True) as bar:
        bar.tick(500)
        assert terminal.getvalue() == f"\r[{'#' * 20}{'.' * 20}]  50%"
        bar.clear()
        assert terminal.getvalue().endswith(f"\r{' ' * 48}\r")
        bar.tick(2_000)  # a file that grew
        assert terminal.getvalue().endswith(f"[{'#' * 40}] 100%")
    assert terminal.getvalue().endswith("\r")


@pytest.mark.parametrize(
    ("size", "stream", "is_wanted"),
    [(None, Terminal(), True), (0, Terminal(), True), (9, io.StringIO(), True), (9, Terminal(), False)],
)
def test_no_bar(impatient, size, stream, is_wanted):
    with Progress(size, stream, is_wanted=is_wanted) as bar:
        bar.tick(5)
    assert stream.getvalue() == ""
    with Progress(9, None, is_wanted=True) as bar:
        bar.tick(5)


def test_no_bar_for_what_is_soon_over():
    terminal = Terminal()
    with Progress(9, terminal, is_wanted=True) as bar:
        bar.tick(5)
    assert terminal.getvalue() == ""


def test_a_number_where_nobody_knows_how_much_there_is(impatient):
    terminal = Terminal()
    with Progress(None, terminal, is_wanted=True, counts="datagram") as bar:
        bar.tick(1)
        bar.tick(1_234)
    assert terminal.getvalue().startswith("\r1 datagram so far\r1,234 datagrams so far\r")
    assert terminal.getvalue().endswith("\r")


def test_a_narrow_terminal(impatient):
    """Nothing that is written is as wide as the terminal: it would wrap, and stay."""
    ours, its = pty.openpty()
    with open(ours, "rb", buffering=0) as screen, open(its, "w") as terminal:
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
        with Progress(1_000, terminal, is_wanted=True) as bar:
            bar.tick(500)
            bar.tick(1_000)
        written = os.read(screen.fileno(), 4_096).decode()
    lines = re.split("[\r\n]+", written)
    assert f"[{'#' * 21}] 100%" in lines
    assert max(map(len, lines)) == 29
