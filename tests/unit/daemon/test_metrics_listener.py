"""The listener for Prometheus, over real sockets: who asks for metrics gets them, whatever others do meanwhile."""

from __future__ import annotations

import errno
import os
import re
import resource
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.config.endpoint import Endpoint
from gfwd.config.values import endpoint as endpoint_of
from gfwd.daemon.listeners import http, metrics, server
from gfwd.daemon.listeners.metrics import MetricsListener
from gfwd.daemon.log.event import Event
from gfwd.errors import GfwdError

PATIENCE_S = 60.0
PAGE = b"gfwd_page 1\n"
GET = b"GET /metrics HTTP/1.1\r\nHost: gfwd\r\n\r\n"


def free(address: str = "127.0.0.1") -> Endpoint:
    """An endpoint that nobody has."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as its:
        try:
            its.bind((address, 0))
        except OSError as error:
            pytest.skip(f"this host has no {address}: {error}")
        port = its.getsockname()[1]
    return endpoint_of(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")


def connect(to: Endpoint) -> socket.socket:
    address = str(to.address).replace("0.0.0.0", "127.0.0.1")
    its = socket.create_connection((address, to.port), PATIENCE_S)
    its.settimeout(PATIENCE_S)
    return its


def all_of(its: socket.socket) -> bytes:
    """What comes until the other side ends it; a reset ends it, too."""
    found = b""
    with suppress(ConnectionResetError):
        while data := its.recv(1 << 16):
            found += data
    return found


def asked(to: Endpoint, request: bytes = GET) -> tuple[int, dict[str, str], bytes]:
    """Status, header and content of the answer."""
    with connect(to) as its:
        its.sendall(request)
        answer = all_of(its)
    head, end, content = answer.partition(b"\r\n\r\n")
    assert end, answer
    status, *fields = head.decode("ascii").split("\r\n")
    version, code, _ = status.split(" ", 2)
    assert version == "HTTP/1.1"
    return int(code), dict(field.split(": ", 1) for field in fields), content


class Looped:
    """A listener in a loop as service.py has one; longest: seconds that a look has taken."""

    def __init__(self, to: Endpoint | None, make: Callable[[], bytes] = lambda: PAGE) -> None:
        self.events: list[Event] = []
        self.listener = MetricsListener(to, self.events.append)
        self.longest = 0.0
        self.clients_most = 0
        self.looks = 0
        self._make = make
        self._todo: list[Callable[[], None]] = []
        self._is_over = False
        self._ear, self._mouth = socket.socketpair()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while not self._is_over:
            deadline = self.listener.deadline()
            seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self.listener.fileno(), self._ear.fileno()], [], [], seconds)
            if self._ear.fileno() in ready:
                self._ear.recv(1)
                for do in self._todo:
                    do()
                self._todo.clear()
            start = time.thread_time()  # what others take of the CPU is not its fault
            self.listener.look(self._make)
            self.longest = max(self.longest, time.thread_time() - start)
            self.looks += 1
            self.clients_most = max(self.clients_most, len(self.listener._server._clients))

    def do(self, what: Callable[[], None]) -> None:
        """In the loop, where the service does all it does; raises what it raises."""
        done = threading.Event()
        raised: list[BaseException] = []

        def run() -> None:
            try:
                what()
            except BaseException as error:
                raised.append(error)
            done.set()

        self._todo.append(run)
        self._mouth.send(b".")
        assert done.wait(PATIENCE_S)
        if raised:
            raise raised[0]

    def change(self, to: Endpoint | None, fails: bool = False) -> None:
        def to_there() -> None:
            with self.listener.changed_to(to):
                if fails:
                    raise GfwdError("what follows fails")

        self.do(to_there)

    def said(self) -> list[str]:
        return [event.kind.name for event in self.events]

    def close(self) -> None:
        self._is_over = True
        self._mouth.send(b".")
        self._thread.join(PATIENCE_S)
        self.listener.__exit__()
        self._ear.close()
        self._mouth.close()
        assert not self._thread.is_alive()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as its:
        yield its


@pytest.fixture
def run(stack: ExitStack) -> Callable[..., Looped]:
    def start(to: Endpoint | None, make: Callable[[], bytes] = lambda: PAGE) -> Looped:
        its = Looped(to, make)
        stack.callback(its.close)
        return its

    return start


@pytest.fixture
def to() -> Endpoint:
    return free()


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


# ---- what is asked ----


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_metrics(run, address):
    to = free(address)
    its = run(to)
    status, fields, content = asked(to)
    assert (status, content) == (200, PAGE)
    assert fields["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert (fields["Content-Length"], fields["Connection"]) == (str(len(PAGE)), "close")
    assert its.listener.answers[200] == 1
    assert [(event.kind.name, event.fields) for event in its.events] == [("metrics_listen", {"address": str(to)})]


def test_on_all_addresses_of_both_families(run):
    port = free("::").port
    run(endpoint_of(f"[::]:{port}"))
    for address in ("127.0.0.1", "[::1]"):
        assert asked(endpoint_of(f"{address}:{port}"))[0] == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.0\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\n\n", 200),
        (b"GET /metrics?collect=all HTTP/1.1\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 200),
        (b"GET /metrics/ HTTP/1.1\r\n\r\n", 404),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"POST /nothing HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"DELETE / HTTP/1.1\r\n\r\n", 405),
        (b"get /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics\r\n", 400),
        (b"GET /metrics HTTP/2.0\r\n\r\n", 400),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /m\xc3\xa9trics HTTP/1.1\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400),  # TLS
        (b"\r\n\r\n", 400),
    ],
)
def test_requests(run, to, request_, status):
    its = run(to)
    found, fields, content = asked(to, request_)
    assert found == status
    assert int(fields["Content-Length"]) == len(content) > 0
    assert (fields.get("Allow") == "GET, HEAD") == (status == 405)
    assert its.listener.answers[status] == 1
    assert asked(to)[2] == PAGE


@pytest.mark.parametrize("path", ["/", "/metrics", "/nothing"])
def test_head_is_get_without_the_content(run, to, path):
    run(to)
    status, fields, content = asked(to, f"GET {path} HTTP/1.1\r\n\r\n".encode())
    assert fields["Content-Length"] == str(len(content))
    assert asked(to, f"HEAD {path} HTTP/1.1\r\n\r\n".encode()) == (status, fields, b"")


def test_a_request_in_pieces(run, to):
    run(to)
    with connect(to) as its:
        for piece in (GET[:3], GET[3:25], GET[25:]):
            its.sendall(piece)
            time.sleep(0.02)  # so that they come one by one, mostly
        assert all_of(its).endswith(PAGE)


def test_who_has_asked_may_have_said_all(run, to):
    run(to)
    with connect(to) as its:
        its.sendall(GET)
        its.shutdown(socket.SHUT_WR)
        assert all_of(its).endswith(PAGE)


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda junk: b"GET /" + junk), st.integers(0, 60))
def test_whatever_comes_is_a_request_or_none(received, cut):
    """Nothing is raised, and what was decided stays so when more comes."""
    first, whole = http.request(received[:cut]), http.request(received)
    assert first is None or first.status != 400 or whole == first
    assert http.request(received + b"x" * http.REQUEST_MOST) is not None
    if whole is not None and whole.status == 200:
        assert whole.path.isascii() and whole.path.startswith("/")


# ---- those who are slow, or hostile ----


def test_who_says_nothing_is_let_go(run, to, monkeypatch):
    monkeypatch.setattr(server, "_ASK_S", 0.2)
    its = run(to)
    with connect(to) as silent, connect(to) as half:
        half.sendall(GET[:10])
        assert all_of(silent) == all_of(half) == b""
    assert its.listener.cut_off == 2
    assert asked(to)[2] == PAGE


def test_who_never_reads_is_let_go_and_holds_up_nobody(run, to, monkeypatch):
    monkeypatch.setattr(server, "_READ_S", 0.5)
    huge = PAGE * 2_000_000
    its = run(to, lambda: huge)
    with ExitStack() as clients:
        for _ in range(8):
            client = clients.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.connect((str(to.address), to.port))
            client.sendall(GET)
        assert asked(to, b"GET / HTTP/1.1\r\n\r\n")[0] == 200
        wait_until(lambda: its.listener.cut_off == 8)
    assert its.longest < 0.5


def test_a_large_page_comes_whole(run, to):
    huge = os.urandom(4 << 20)
    run(to, lambda: huge)
    assert asked(to)[2] == huge


@pytest.mark.parametrize("junk", [b"\x00\xff", b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 100, b"A"])
def test_megabytes_are_not_read(run, to, junk):
    """No more than a request may have is kept, and hardly more is read."""
    its = run(to)
    with connect(to) as client, suppress(ConnectionResetError, BrokenPipeError):
        for _ in range((64 << 20) // len(junk * 1_000)):
            client.sendall(junk * 1_000)
    wait_until(lambda: its.listener.answers[431] == 1)
    assert its.looks < 100
    assert asked(to)[2] == PAGE


def test_a_refusal_arrives_although_there_was_more_to_come(run, to):
    """A connection that is reset takes along what its client has not read yet, on some systems."""
    run(to)
    with connect(to) as its:
        its.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"y" * http.REQUEST_MOST)
        answer = b""
        while data := its.recv(1 << 16):  # which would raise ConnectionResetError
            answer += data
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_who_sends_byte_by_byte_is_let_go(run, to):
    its = run(to)
    with connect(to) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionResetError, BrokenPipeError):
            for byte in GET * 100:
                before = its.looks
                client.sendall(bytes([byte]) if byte not in b"\r\n" else b"x")
                end = time.monotonic() + 0.1
                while its.looks == before and time.monotonic() < end:
                    time.sleep(0.0005)
        wait_until(lambda: its.listener.cut_off == 1)
    assert asked(to)[2] == PAGE


def test_a_thousand_connections(run, to):
    """Few of them are held at once, few are taken in a second; who asks meanwhile is answered."""
    its = run(to)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4_096), hard), hard))
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    try:
        with ExitStack() as clients:
            for _ in range(1_000):
                client = clients.enter_context(socket.socket())
                client.setblocking(False)
                with suppress(BlockingIOError):
                    client.connect((str(to.address), to.port))
            if before:
                assert len(os.listdir("/proc/self/fd")) - before <= 1_000 + server._CLIENTS_MOST
            start = time.monotonic()
            assert asked(to)[2] == PAGE
            took = time.monotonic() - start
            wait_until(lambda: its.listener.cut_off >= 100)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert its.clients_most <= server._CLIENTS_MOST
    assert its.longest < 0.2
    assert took < PATIENCE_S / 2


def test_few_connections_are_taken_in_a_second(run, to):
    its = run(to)
    start = time.monotonic()
    for _ in range(250):
        assert asked(to)[0] == 200
    seconds = time.monotonic() - start
    assert seconds > 1.0  # a hundred in each second that has begun
    assert its.listener.answers[200] == 250


def test_without_descriptors_it_waits_for_one(run, to, monkeypatch):
    its = run(to)
    tries = []

    def accept(listening: socket.socket) -> tuple[socket.socket, object]:
        tries.append(listening)
        monkeypatch.undo()
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket.socket, "accept", accept)
    assert asked(to)[2] == PAGE
    assert len(tries) == 1 and its.looks < 20


def test_making_pages_takes_a_tenth_of_the_time(run, to):
    """Whoever asks without end gets the same page for a while."""
    made = []

    def make() -> bytes:
        made.append(time.monotonic())
        time.sleep(0.05)
        return b"gfwd_page %d\n" % len(made)

    run(to, make)
    pages = {asked(to)[2] for _ in range(80)}
    assert len(pages) == len(made) < 80
    assert all(later - earlier >= 0.5 for earlier, later in pairwise(made))
    wait_until(lambda: asked(to)[2] not in pages)  # but not for ever


# ---- where ----


def test_nobody_listens_where_nothing_is_said(run):
    its = run(None)
    assert its.listener.deadline() is None
    assert its.said() == []


def test_a_place_that_is_taken(to):
    with socket.create_server((str(to.address), to.port)):
        before = threading.active_count()
        with pytest.raises(GfwdError, match=rf"metrics: error: {re.escape(str(to))} cannot be opened: another program"):
            MetricsListener(to, lambda _: None)
        assert threading.active_count() == before


def test_an_address_that_is_not_here():
    with pytest.raises(GfwdError, match="this host does not have that address"):
        MetricsListener(endpoint_of("192.0.2.1:9055"), lambda _: None)


def test_a_change(run, to):
    its, other = run(to), free()
    its.change(other)
    assert asked(other)[2] == PAGE
    with pytest.raises(ConnectionRefusedError):
        connect(to)
    its.change(other)
    its.change(None)
    with pytest.raises(ConnectionRefusedError):
        connect(other)
    its.change(to)
    assert asked(to)[2] == PAGE
    assert its.said() == ["metrics_listen", "metrics_listen", "metrics_end", "metrics_listen"]


def test_who_has_asked_before_a_change_is_answered_after_it(run, to):
    its, other = run(to), free()
    with connect(to) as client:
        client.sendall(GET[:5])
        wait_until(lambda: its.clients_most == 1)
        its.change(other)
        client.sendall(GET[5:])
        assert all_of(client).endswith(PAGE)


def test_a_change_that_cannot_be(run, to):
    its, taken = run(to), free()
    with socket.create_server((str(taken.address), taken.port)):
        with pytest.raises(GfwdError, match="another program listens there"):
            its.change(taken)
        with pytest.raises(GfwdError, match="another program listens there"):
            its.do(lambda: its.listener.could_be(taken))
        assert asked(to)[2] == PAGE
    its.do(lambda: its.listener.could_be(taken))
    its.do(lambda: its.listener.could_be(to))
    assert its.said() == ["metrics_listen"]


def test_a_change_that_is_taken_back(run, to):
    its, other = run(to), free()
    for there in (other, None):
        with pytest.raises(GfwdError, match="what follows fails"):
            its.change(there, fails=True)
        assert asked(to)[2] == PAGE
        with pytest.raises(ConnectionRefusedError):
            connect(other)
    assert its.said() == ["metrics_listen"]


def test_from_one_address_to_all_of_them_and_back(run, to):
    """Both cannot be open at once, so the old one gives way; where that was for nothing, it is there again."""
    its, everywhere = run(to), endpoint_of(f"0.0.0.0:{to.port}")
    with pytest.raises(GfwdError, match="what follows fails"):
        its.change(everywhere, fails=True)
    assert asked(to)[2] == PAGE
    its.do(lambda: its.listener.could_be(everywhere))
    its.change(everywhere)
    assert asked(everywhere)[2] == PAGE
    its.change(to)
    assert asked(to)[2] == PAGE
    assert its.said() == ["metrics_listen"] * 3


def test_what_was_closed_for_a_change_and_cannot_be_opened_again_is_said(run, to, monkeypatch):
    its, everywhere = run(to), endpoint_of(f"0.0.0.0:{to.port}")

    def refused(endpoint: Endpoint) -> socket.socket:
        raise GfwdError(f"metrics: error: {endpoint} cannot be opened: no more sockets")

    monkeypatch.setattr(metrics, "_opened", refused)
    with pytest.raises(GfwdError, match="no more sockets"):
        its.change(everywhere)
    assert (its.said()[-1], str(its.events[-1])) == (
        "metrics_failed",
        f"metrics: error: {to} cannot be opened: no more sockets",
    )
    monkeypatch.undo()
    its.change(to)
    assert asked(to)[2] == PAGE


def test_connections_that_have_ended_are_not_in_the_way_of_a_restart(to):
    """TIME_WAIT belongs to who ends a connection first, which is the server."""
    for _ in range(3):
        its = Looped(to)
        assert asked(to)[0] == 200
        its.close()
