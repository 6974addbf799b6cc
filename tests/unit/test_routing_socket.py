"""FreeBSD's routing socket, with a kernel that answers late, badly, or not at all."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gfwd.errors import GfwdError
from gfwd.l2 import routing_socket, rtsock
from gfwd.l2.routing_socket import RoutingSocket, Table
from gfwd.rules.model import Address

RECORDED = json.loads(Path(__file__, "../../data/freebsd-13.2.json").resolve().read_text("ascii"))
DESTINATION = Address(4, 0x0A090101)
NEWS = [bytes.fromhex(said) for said in RECORDED["news route"]]


def answer(seq: int, error: int = 0, pid: int | None = None) -> bytes:
    data = bytearray.fromhex(RECORDED["get 10.9.1.1"])
    for at, value in ((16, os.getpid() if pid is None else pid), (20, seq), (24, error)):
        data[at : at + 4] = value.to_bytes(4, "little")
    return bytes(data)


class Kernel(socket.socket):
    """The socket that gfwd has, with the kernel behind it. say: what comes of the question of that number, which counts
    from 1. problems: what becomes of the first questions.
    """

    def __init__(self, ours: socket.socket, end: socket.socket) -> None:
        super().__init__(fileno=ours.detach())
        self.end = end
        self.asked = 0
        self.problems: list[OSError] = []
        self.say: Callable[[int], list[bytes]] = lambda seq: [answer(seq)]

    def send(self, data: bytes, *_: int) -> int:  # type: ignore[override]
        if self.problems:
            raise self.problems.pop(0)
        self.asked += 1
        (question,) = rtsock.messages(data)
        assert isinstance(question, rtsock.Route)
        for message in self.say(question.seq):
            self.end.send(message)
        return len(data)


class Net:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ours, self.end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.kernel = Kernel(ours, self.end)
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", lambda *_: self.kernel)
            self.routing = RoutingSocket()


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Iterator[Net]:
    monkeypatch.setattr(routing_socket, "_ANSWER_S", 0.05)
    its = Net(monkeypatch)
    yield its
    its.routing.close()
    its.end.close()


def test_answered(net):
    route = net.routing.route(DESTINATION)
    assert (str(route.destination), route.index) == ("10.9.1.0/24", 3)
    assert net.routing.heard is Table.NONE


def test_only_its_own_answer_counts(net):
    net.kernel.say = lambda seq: [answer(seq, errno.ESRCH, pid=1), answer(seq - 1, errno.ESRCH), *NEWS, answer(seq)]
    assert net.routing.route(DESTINATION) is not None
    assert net.routing.heard is Table.ROUTES


def test_no_route(net):
    net.kernel.say = lambda seq: [answer(seq, errno.ESRCH)]
    assert net.routing.route(DESTINATION) is None
    net.kernel.problems = [OSError(errno.ENETUNREACH, "Network is unreachable")]
    assert net.routing.route(DESTINATION) is None
    assert net.routing.heard is Table.NONE


def test_an_answer_that_is_lost_is_asked_for_again(net):
    net.kernel.say = lambda seq: [answer(seq)] if seq == 3 else NEWS
    assert net.routing.route(DESTINATION) is not None
    assert net.kernel.asked == 3


def test_a_question_that_finds_no_room_is_asked_again(net):
    net.kernel.problems = [OSError(errno.ENOBUFS, "No buffer space available")]
    assert net.routing.route(DESTINATION) is not None


def test_news_without_end_are_no_answer(net):
    net.kernel.recv = lambda _: NEWS[0]
    with pytest.raises(GfwdError, match="does not answer"):
        net.routing.route(DESTINATION)


def test_news_that_were_lost(net):
    overflow = iter([OSError(errno.ENOBUFS, "No buffer space available"), BlockingIOError()])

    def fail(_: int) -> bytes:
        raise next(overflow)

    net.kernel.recv = fail
    net.routing.listen()
    assert net.routing.heard == Table.LINKS | Table.NEIGHBOURS | Table.ROUTES | Table.ADDRESSES


def test_silence_is_no_answer(net):
    net.kernel.say = lambda _: NEWS
    with pytest.raises(GfwdError, match=r"^the route to 10.9.1.1: error: the kernel does not answer$"):
        net.routing.route(DESTINATION)
    assert net.kernel.asked == 3
    assert net.routing.heard is Table.ROUTES


def test_what_the_kernel_refuses(net):
    net.kernel.problems = [OSError(errno.ENOMEM, "Cannot allocate memory")] * 3
    with pytest.raises(GfwdError, match=r"^the route to 10.9.1.1: error: Cannot allocate memory$"):
        net.routing.route(DESTINATION)
    assert net.routing.heard is Table.ROUTES  # to be asked again


def test_news(net):
    net.routing.listen()
    assert net.routing.heard is Table.NONE
    for name, table in (("up", Table.LINKS), ("ping", Table.NEIGHBOURS), ("route", Table.ROUTES)):
        for said in RECORDED[f"news {name}"]:
            net.end.send(bytes.fromhex(said))
        net.routing.heard = Table.NONE
        net.routing.listen()
        assert net.routing.heard is table


def test_close_twice(net):
    net.routing.close()
    net.routing.close()
