"""Tries against real peers: hosts that answer ping or do not, TCP servers, and HTTP servers good, bad and odd."""

from __future__ import annotations

import http.server
import os
import resource
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from gfwd.daemon.probe import http as http_probe
from gfwd.daemon.probe import icmp, tcp
from gfwd.daemon.probe.prober import Prober
from gfwd.health.watch import Outcome, Verdict
from gfwd.rules.model import Address
from tests.net.network import PATIENCE_S, Host, ipv4, veth, wait_until

ROOT = Path(__file__).parents[2]
PEER, SECOND, ABSENT, ELSEWHERE = (ipv4(text) for text in ("10.0.0.2", "10.0.0.3", "10.0.0.99", "192.0.2.1"))
PEER6, SECOND6 = Address(6, (0xFD00 << 112) + 2), Address(6, (0xFD00 << 112) + 3)
SHORT_S, LONG_S = 0.3, 20.0  # for tries that are to fail, and for those that are not


class Pair:
    """We (10.0.0.1, fd00::1) and a peer (10.0.0.2 and .3, fd00::2 and ::3), on one cable."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.us, self.peer = Host(), Host()
        stack.callback(self.us.close)
        stack.callback(self.peer.close)
        veth(self.us, "out0", self.peer, "in0")
        for host, name, lasts in ((self.us, "out0", (1,)), (self.peer, "in0", (2, 3))):
            host.sysctl(f"ipv6/conf/{name}/accept_dad", 0)
            host.up(name)
            for last in lasts:
                host.address(name, f"10.0.0.{last}/24")
                host.address(name, f"fd00::{last}/64")
        # A cable that has just come up may lose the first question for a neighbour.
        wait_until(lambda: self.answers(PEER) and self.answers(PEER6), lambda: None)

    def answers(self, address: Address) -> bool:
        return self.icmp(address, seconds=SHORT_S).verdict is Verdict.SUCCESS

    def silence(self) -> None:
        """The peer's kernel does not answer echo requests any more."""
        self.peer.sysctl("ipv4/icmp_echo_ignore_all", 1)
        self.peer.sysctl("ipv6/icmp/echo_ignore_all", 1)

    def swallow(self) -> None:
        """Whatever the peer would answer us is lost."""
        self.peer.ip.route("add", dst="10.0.0.1/32", type=6)  # RTN_BLACKHOLE

    def icmp(self, *addresses: Address, seconds: float = LONG_S) -> Outcome:
        with self.us.inside():
            return icmp.probe(addresses, seconds)

    def tcp(self, *addresses: Address, port: int = 9995, seconds: float = LONG_S) -> Outcome:
        with self.us.inside():
            return tcp.probe(addresses, port, seconds)

    def http(self, url: str = "http://10.0.0.2:8080/health", seconds: float = LONG_S) -> Outcome:
        with self.us.inside():
            return http_probe.probe(url, seconds)

    def listen(self, port: int, address: str = "10.0.0.2") -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = self.stack.enter_context(self.peer.socket(family, socket.SOCK_STREAM))
        server.bind((address, port))
        server.listen()
        return server

    def serve(self, handle: Callable[[socket.socket], object]) -> None:
        """Do this with every connection to port 8080, until the test is over."""
        server = self.listen(8080)
        server.settimeout(0.05)
        over = threading.Event()

        def work() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    made, _ = server.accept()
                    made.settimeout(PATIENCE_S)
                    with made, suppress(OSError):
                        handle(made)

        thread = threading.Thread(target=work)
        thread.start()
        self.stack.callback(thread.join)
        self.stack.callback(over.set)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(stack)


# ---- icmp ----


@pytest.mark.parametrize("address", [PEER, PEER6])
def test_a_host_that_answers(pair, address):
    outcome = pair.icmp(address)
    assert (outcome.verdict, outcome.target) == (Verdict.SUCCESS, f"icmp {address}")
    assert outcome.what.startswith("an answer after ")


@pytest.mark.parametrize("address", [PEER, PEER6])
def test_a_host_that_is_silent(pair, address):
    pair.silence()
    assert pair.icmp(address, seconds=SHORT_S) == (
        Verdict.FAILURE,
        "no answer to an echo request in 0.3 s",
        f"icmp {address}",
    )


def test_an_address_that_nobody_has(pair):
    """The kernel finds out by ARP, if it does so in time."""
    outcome = pair.icmp(ABSENT, seconds=3)
    assert outcome.verdict is Verdict.FAILURE
    assert outcome.what in ("No route to host", "no answer to an echo request in 3 s")


def test_an_address_without_a_route(pair):
    assert pair.icmp(ELSEWHERE) == (Verdict.FAILURE, "Network is unreachable", f"icmp {ELSEWHERE}")


def test_one_of_two_is_enough(pair):
    pair.peer.sysctl("ipv4/icmp_echo_ignore_all", 1)
    for others in ((PEER, PEER6), (ELSEWHERE, PEER6), (ABSENT, PEER6)):
        assert pair.icmp(*others).verdict is Verdict.SUCCESS
    assert pair.icmp(ELSEWHERE, PEER, seconds=SHORT_S).verdict is Verdict.FAILURE


def answer4(request: bytes, identifier: int, sequence: int, spoilt: int) -> bytes:
    """The ICMP message that answers this IP packet, with this added to the fields that make it the answer."""
    header = (request[0] & 15) * 4
    found, number = struct.unpack_from(">HH", request, header + 4)
    fields = (found + identifier) & 0xFFFF, (number + sequence) & 0xFFFF
    total = sum(fields)
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">BBHHH", 0, 0, (~total + spoilt) & 0xFFFF, *fields)


@pytest.mark.parametrize(
    ("identifier", "sequence", "spoilt", "source", "verdict"),
    [
        (0, 0, 0, "10.0.0.2", Verdict.SUCCESS),
        (1, 0, 0, "10.0.0.2", Verdict.FAILURE),
        (0, 1, 0, "10.0.0.2", Verdict.FAILURE),
        (0, -1, 0, "10.0.0.2", Verdict.FAILURE),
        (0, 0, 1, "10.0.0.2", Verdict.FAILURE),
        (0, 0, 0, "10.0.0.3", Verdict.FAILURE),
    ],
)
def test_only_the_answer_counts(pair, identifier, sequence, spoilt, source, verdict):
    """The peer's kernel is silent, and the test answers: by another identifier, number, checksum or address."""
    pair.silence()
    with pair.peer.socket(kind=socket.SOCK_RAW, protocol=socket.IPPROTO_ICMP) as raw:
        raw.bind((source, 0))
        with pair.peer.socket(kind=socket.SOCK_RAW, protocol=socket.IPPROTO_ICMP) as ear:
            ear.settimeout(PATIENCE_S)
            answered = threading.Event()

            def answer() -> None:
                while not answered.is_set():
                    request = ear.recv(2_000)
                    if request[(request[0] & 15) * 4] == 8:
                        raw.sendto(answer4(request, identifier, sequence, spoilt), ("10.0.0.1", 0))
                        answered.set()

            thread = threading.Thread(target=answer)
            thread.start()
            outcome = pair.icmp(PEER, seconds=LONG_S if verdict is Verdict.SUCCESS else 1.0)
            thread.join()
    assert outcome.verdict is verdict and answered.is_set()


def test_two_tries_at_once_do_not_take_each_others_answers(pair):
    pair.peer.ip.addr("del", index=pair.peer.index("in0"), address="10.0.0.3", prefixlen=24)
    found: dict[Address, Outcome] = {}

    def ask(address: Address) -> None:
        found[address] = pair.icmp(address, seconds=LONG_S if address == PEER else 1.0)

    threads = [threading.Thread(target=ask, args=(address,)) for address in (PEER, SECOND)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found[PEER].verdict, found[SECOND].verdict) == (Verdict.SUCCESS, Verdict.FAILURE)


def test_without_the_right_to_ask():
    """Nothing is known of the collector then."""
    ask = (
        "from gfwd.daemon.probe.icmp import probe; from gfwd.rules.model import Address;"
        "print(probe([Address(4, 0x7F000001)], 1))"
    )
    command = ["setpriv", "--bounding-set", "-net_raw", sys.executable, "-c", ask]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "UNTRIED" in done.stdout and "echo requests take root, or CAP_NET_RAW" in done.stdout


# ---- tcp ----


@pytest.mark.parametrize(("address", "text"), [(PEER, "10.0.0.2:9995"), (PEER6, "[fd00::2]:9995")])
def test_a_server_that_is_there(pair, address, text):
    server = pair.listen(9995, str(address))
    outcome = pair.tcp(address)
    assert (outcome.verdict, outcome.target) == (Verdict.SUCCESS, f"tcp {text}")
    server.settimeout(PATIENCE_S)
    made, _ = server.accept()
    with made:
        made.settimeout(PATIENCE_S)
        assert made.recv(1) == b""  # it is closed, and not left open


def test_a_port_that_nobody_listens_on(pair):
    assert pair.tcp(PEER) == (Verdict.FAILURE, "Connection refused", "tcp 10.0.0.2:9995")
    assert pair.tcp(PEER6).what == "Connection refused"


def test_connections_that_are_swallowed(pair):
    pair.listen(9995)
    pair.swallow()
    assert pair.tcp(PEER, seconds=SHORT_S) == (Verdict.FAILURE, "no connection in 0.3 s", "tcp 10.0.0.2:9995")


def test_one_connection_of_two_is_enough(pair):
    pair.listen(9995, "fd00::2")
    pair.swallow()
    assert pair.tcp(PEER, PEER6).verdict is Verdict.SUCCESS
    assert pair.tcp(ELSEWHERE, PEER6).verdict is Verdict.SUCCESS
    assert pair.tcp(ELSEWHERE, SECOND6).what == "Network is unreachable, Connection refused"


# ---- http ----


def says(answer: bytes) -> Callable[[socket.socket], object]:
    """A server that reads the request, and answers so."""

    def handle(made: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            data = made.recv(1_000)
            if not data:
                return
            request += data
        made.sendall(answer)

    return handle


def drips(made: socket.socket) -> None:
    """A byte of a good answer now and then, for longer than anybody waits."""
    for byte in b"HTTP/1.1 200 " + b"O" * 1_000:
        made.sendall(bytes([byte]))
        time.sleep(0.05)


def resets(made: socket.socket) -> None:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    ("answer", "verdict", "what"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Verdict.SUCCESS, "it answers 200"),
        (b"HTTP/1.0 204 No Content\r\n\r\n", Verdict.SUCCESS, "it answers 204"),
        (b"HTTP/1.1 299\n", Verdict.SUCCESS, "it answers 299"),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://10.0.0.2:8080/\r\n\r\n", Verdict.FAILURE, "it answers 301"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", Verdict.FAILURE, "it answers 404"),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", Verdict.FAILURE, "it answers 500"),
        (b"HTTP/1.1 2000 Odd\r\n\r\n", Verdict.FAILURE, "an answer that is not HTTP"),
        (b"\0\xff garbage\r\n" * 100, Verdict.FAILURE, "an answer that is not HTTP"),
        (b"x" * 100_000, Verdict.FAILURE, "an answer that is not HTTP"),
        (b"", Verdict.FAILURE, "closed without an answer"),
    ],
)
def test_what_a_server_answers(pair, answer, verdict, what):
    pair.serve(says(answer))
    assert pair.http() == (verdict, what, "http://10.0.0.2:8080/health")


def test_a_server_that_never_answers(pair):
    over = threading.Event()
    pair.serve(lambda _: over.wait(PATIENCE_S))
    assert pair.http(seconds=SHORT_S) == (Verdict.FAILURE, "no answer in 0.3 s", "http://10.0.0.2:8080/health")
    over.set()


def test_a_server_that_drips(pair):
    pair.serve(drips)
    assert pair.http(seconds=SHORT_S).what == "no answer in 0.3 s"


def test_a_server_that_resets(pair):
    pair.serve(resets)
    assert pair.http().what in ("Connection reset by peer", "Broken pipe")


def test_no_server(pair):
    assert pair.http().what == "Connection refused"
    pair.swallow()
    assert pair.http(seconds=SHORT_S).what == "no connection in 0.3 s"


@pytest.mark.parametrize(
    "probe",
    [
        pytest.param(lambda url, port: tcp.probe([Address(4, 0x7F000001)], port, LONG_S), id="tcp"),
        pytest.param(lambda url, port: http_probe.probe(url, LONG_S), id="http"),
        pytest.param(lambda url, port: icmp.probe([Address(4, 0x7F000001)], LONG_S), id="icmp"),
    ],
)
@pytest.mark.parametrize("left", [0, 1])
def test_no_more_files(probe, left):
    """That gfwd has run out of them says nothing of the collector, which must not go down for it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server, Prober() as prober:
        port = server.getsockname()[1]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 8, hard))
            with suppress(OSError):
                while True:
                    used.append(os.open(os.devnull, os.O_RDONLY))
            for _ in range(left):
                os.close(used.pop())
            prober.ask("it", 1, lambda: probe(f"http://127.0.0.1:{port}/", port))
            assert select.select([prober], [], [], LONG_S)[0]
            ((_, _, outcome),) = prober.taken()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in used:
                os.close(fd)
    assert (outcome.verdict, outcome.what) == (Verdict.UNTRIED, "Too many open files")


def test_what_is_asked_for(pair):
    """By the eyes of a server that others have written."""
    asked: list[tuple[str, str | None, str | None]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Host"], self.headers["Connection"]))
            self.send_response(200 if self.path == "/state%20of/it?full=1&x" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    def handle(made: socket.socket) -> None:
        Handler(made, made.getpeername(), None)  # type: ignore[arg-type]  # it does not ask its server for anything

    pair.serve(handle)
    assert pair.http("http://10.0.0.2:8080/state of/it?full=1&x").what == "it answers 200"
    assert pair.http("http://10.0.0.2:8080").what == "it answers 404"
    assert asked == [("/state%20of/it?full=1&x", "10.0.0.2:8080", "close"), ("/", "10.0.0.2:8080", "close")]


def test_a_name_that_has_no_address(pair):
    outcome = pair.http("http://nowhere.invalid/")
    assert outcome.verdict is Verdict.FAILURE and outcome.what.startswith("nowhere.invalid: ")


@pytest.mark.parametrize("url", ["https://10.0.0.2/", "10.0.0.2", "http://", "http://10.0.0.2:99999/"])
def test_what_is_no_url(pair, url):
    assert pair.http(url).verdict is Verdict.UNTRIED


# ---- in threads ----


def test_tries_wait_for_each_other_only_where_they_are_for_the_same(pair):
    pair.silence()
    with Prober() as prober:
        with pair.us.inside():  # threads stand where they were begun
            prober.ask("silent", 1, lambda: icmp.probe([PEER], 2.0))
            prober.ask("silent", 2, lambda: icmp.probe([PEER], 2.0))
            prober.ask("refused", 1, lambda: tcp.probe([PEER], 9995, 2.0))
            prober.ask("broken", 1, lambda: Outcome(Verdict.SUCCESS, "", str(1 // 0)))
        found = list(taken(prober, 3))
        assert {(who, number): outcome.what for who, number, outcome in found} == {
            ("broken", 1): "ZeroDivisionError: integer division or modulo by zero",
            ("refused", 1): "Connection refused",
            ("silent", 1): "no answer to an echo request in 2 s",
        }
        assert found[-1][0] == "silent"
        prober.ask("silent", 3, lambda: Outcome(Verdict.SUCCESS, ""))
        assert [number for _, number, _ in taken(prober, 1)] == [3]
        assert list(prober.taken()) == []


def taken(prober: Prober, number: int) -> Iterator[tuple[object, int, Outcome]]:
    """So many outcomes, in the order in which they came."""
    while number:
        assert select.select([prober], [], [], PATIENCE_S)[0], "nothing came"
        for ended in prober.taken():
            number -= 1
            yield ended


def test_a_prober_that_has_ended_hears_nothing_more(pair):
    """And what was still being tried ends quietly."""
    pair.silence()
    ended = threading.Event()

    def probe() -> Outcome:
        outcome = icmp.probe([PEER], SHORT_S)
        ended.set()
        return outcome

    with Prober() as prober, pair.us.inside():
        prober.ask("silent", 1, probe)
    assert ended.wait(PATIENCE_S)
