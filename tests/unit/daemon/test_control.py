"""The control socket by itself: real sockets, and nobody behind it but the test."""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gfwd.daemon.control import Control, Question, Reply, ask
from gfwd.errors import GfwdError

PATIENCE_S = 20.0
ROOM = 16


class Asked:
    """A control socket whose questions wait until the test answers them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replies: list[Reply] = []
        self.control = Control(path, self._take)

    def _take(self, _question: Question, reply: Reply) -> None:
        self.replies.append(reply)

    def connect(self, question: bytes = b'{"do": "reload"}\n') -> socket.socket:
        its = socket.socket(socket.AF_UNIX)
        its.settimeout(PATIENCE_S)
        its.connect(str(self.path))
        its.sendall(question)
        return its

    def look_until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end
            self.control.look()
            time.sleep(0.001)


@pytest.fixture
def asked(tmp_path) -> Iterator[Asked]:
    its = Asked(tmp_path / "control")
    with its.control:
        yield its


def test_what_is_no_socket_is_left_alone(tmp_path):
    """The path may be a slip of the pen: control = "/usr/local/etc/gfwd.toml"."""
    precious = tmp_path / "gfwd.toml"
    precious.write_text("precious")
    with pytest.raises(GfwdError, match="there is something else, which is no socket"):
        Control(precious, lambda _question, _reply: None)
    assert precious.read_text() == "precious"


def test_who_finds_no_room_is_answered_later(asked):
    """Sixteen wait for a reload that takes its time; one more waits with them, and is told nothing wrong."""
    waiting = [asked.connect() for _ in range(ROOM)]
    asked.look_until(lambda: len(asked.replies) == ROOM)
    answers: list[object] = []
    one_more = threading.Thread(target=lambda: answers.append(ask(asked.path, {"do": "status"}, PATIENCE_S)))
    one_more.start()
    for _ in range(20):
        asked.control.look()
    assert len(asked.replies) == ROOM
    asked.replies[0]("reloaded")
    deadline = asked.control.deadline()
    assert deadline is not None and deadline <= time.monotonic()  # there is room, and somebody has to look
    asked.look_until(lambda: len(asked.replies) == ROOM + 1)
    asked.replies[-1]("fine")
    one_more.join(PATIENCE_S)
    assert answers == ["fine"]
    assert json.loads(waiting[0].makefile().readline()) == {"ok": "reloaded"}
    for its in waiting:
        its.close()


def test_no_more_files(asked):
    """Forwarding does not end for it, it is not tried again at once, and who asks is answered when there are some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = socket.socket(socket.AF_UNIX)
    used = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 8, hard))
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                used.append(os.open(os.devnull, os.O_RDONLY))
        client.connect(str(asked.path))
        client.sendall(b'{"do": "status"}\n')
        asked.control.look()
        deadline = asked.control.deadline()
        assert deadline is not None and deadline > time.monotonic()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in used:
            os.close(fd)
    asked.look_until(lambda: asked.replies)
    client.close()


def test_a_question_that_is_nested_too_deep(asked):
    with asked.connect(b"[" * 4_000 + b"\n") as client:
        asked.look_until(lambda: asked.replies)
        asked.replies[0](GfwdError("not known"))
        assert json.loads(client.makefile().readline())["error"] == "not known"


def test_nobody_is_asked_in_vain_for_long(tmp_path):
    """One that hangs answers nobody, and the kernel lets only so many wait."""
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(path))
        hanging.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(path))
            for _ in range(2):
                with pytest.raises(GfwdError, match="gfwd does not answer"):
                    ask(path, {"do": "status"}, 0.1)
