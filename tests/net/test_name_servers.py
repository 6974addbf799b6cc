"""Lookups against real servers (dnsmasq, unbound) and against one that does what no server should, in a namespace."""

from __future__ import annotations

import resource
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import dns.message
import pytest

from gfwd.daemon.names import exchange
from gfwd.daemon.names.names import first_look
from gfwd.daemon.names.resolver import look_up
from gfwd.daemon.names.sources import Asking
from gfwd.dns.name import Answer, Bad, Good
from gfwd.dns.servers import Server, read_resolv_conf
from gfwd.rules.model import Address
from tests.name_server import NameServer, answer_to
from tests.net.network import Host, ipv4

HOSTS = {"flow.example.net": ("10.2.2.40", "2001:db8::40"), "four.example.net": ("10.2.2.44",)}
MANY = [f"10.3.0.{n}" for n in range(1, 61)]  # more than a datagram of 512 bytes holds
LO = "127.0.0.1"
PATIENCE_S = 20.0


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as made:
        made.up("lo")
        yield made


def asking(*servers: tuple[str, int], **more: Any) -> Asking:
    return Asking(
        servers=tuple(Server(ipv4(ip), port) for ip, port in servers), timeout=more.pop("timeout", 2.0), **more
    )


def found(at: Host, name: str, how: Asking) -> Answer:
    with at.inside():
        return look_up(name, how)


def texts(answer: Answer) -> list[str]:
    return sorted(str(a) for one in answer.values() if isinstance(one, Good) for a in one.addresses)


def whys(answer: Answer) -> set[str]:
    return {one.why for one in answer.values() if isinstance(one, Bad)}


# ---- real servers ----


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}, which is not installed")


def started(stack: ExitStack, at: Host, command: list[str], port: int) -> None:
    """It runs to the end of the test, and listens by now."""
    process = at.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end() -> None:
        process.kill()
        process.wait()

    stack.callback(end)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None, f"{command[0]} has ended"
        assert time.monotonic() < deadline, f"{command[0]} does not listen"
        with at.socket(kind=socket.SOCK_STREAM) as its:
            if its.connect_ex((LO, port)) == 0:
                return
        time.sleep(0.02)


@pytest.fixture
def dnsmasq(host, tmp_path) -> Iterator[Callable[..., Asking]]:
    need("dnsmasq")
    with ExitStack() as stack:

        def start(*lines: str) -> Asking:
            conf = tmp_path / "dnsmasq.conf"
            records = [f"host-record={name},{','.join(found)}" for name, found in HOSTS.items()]
            records += [f"address=/many.example.net/{address}" for address in MANY]
            base = ["user=root", "listen-address=127.0.0.1", "bind-interfaces", "port=5301", "no-resolv", "no-hosts"]
            base += ["local=/#/", "cname=alias.example.net,flow.example.net", "local-ttl=300", "no-daemon"]
            conf.write_text("\n".join([*base, *records, *lines]) + "\n")
            started(stack, host, ["dnsmasq", f"--conf-file={conf}"], 5301)
            return asking((LO, 5301))

        yield start


@pytest.fixture
def unbound(host, tmp_path) -> Iterator[Callable[..., Asking]]:
    need("unbound")
    with ExitStack() as stack:

        def start(*lines: str) -> Asking:
            conf = tmp_path / "unbound.conf"
            kinds = {True: "AAAA", False: "A"}
            records = [
                f"local-data: '{name}. 300 IN {kinds[':' in address]} {address}'"
                for name, addresses in [*HOSTS.items(), ("many.example.net", MANY)]
                for address in addresses
            ]
            records.append("local-data: 'alias.example.net. 60 IN CNAME flow.example.net.'")
            base = [
                "username: ''",
                "chroot: ''",
                f"directory: '{tmp_path}'",
                "pidfile: ''",
                "use-syslog: no",
                "do-daemonize: no",
            ]
            base += [
                "interface: 127.0.0.1@5302",
                "local-zone: 'example.net.' static",
                "local-zone: 'example.org.' static",
                "module-config: 'iterator'",
            ]
            conf.write_text("server:\n" + "".join(f"  {line}\n" for line in [*base, *records, *lines]))
            started(stack, host, ["unbound", "-d", "-c", str(conf)], 5302)
            return asking((LO, 5302))

        yield start


@pytest.mark.parametrize("server", ["dnsmasq", "unbound"])
def test_a_real_server(host, server, request):
    how = request.getfixturevalue(server)()
    answer = found(host, "flow.example.net", how)
    assert texts(answer) == ["10.2.2.40", "2001:db8::40"]
    assert [one.ttl for one in answer.values() if isinstance(one, Good)] == [300, 300]
    four = found(host, "four.example.net", how)
    assert texts(four) == ["10.2.2.44"] and not whys(four)
    assert whys(found(host, "nobody.example.net", how)) == {"there is no such name (NXDOMAIN)"}
    assert texts(found(host, "many.example.net", how)) == sorted(MANY)  # after truncation, by TCP
    within = Asking(servers=how.servers, search=("example.org", "example.net"))
    assert texts(found(host, "flow", within)) == ["10.2.2.40", "2001:db8::40"]


def test_an_alias_of_dnsmasq(host, dnsmasq):
    assert texts(found(host, "alias.example.net", dnsmasq())) == ["10.2.2.40", "2001:db8::40"]


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    need("openssl")
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", f"/CN={name}"]
    subprocess.run([*command, "-addext", f"subjectAltName=DNS:{name}"], check=True, capture_output=True)
    return key, cert


def test_dns_over_tls(host, unbound, tmp_path, monkeypatch):
    """The certificate has to be of the name that is expected, and by somebody whom the host trusts."""
    key, cert = certificate(tmp_path, "dns.example.net")
    unbound("interface: 127.0.0.1@8530", f"tls-service-key: '{key}'", f"tls-service-pem: '{cert}'", "tls-port: 8530")
    how = asking((LO, 8530), tls="dns.example.net", attempts=1)
    exchange._tls.cache_clear()
    assert whys(found(host, "flow.example.net", how)) == {
        "its certificate is not good: self-signed certificate (127.0.0.1:8530)"
    }
    monkeypatch.setattr(exchange, "_tls", lambda: ssl.create_default_context(cafile=str(cert)))
    assert texts(found(host, "flow.example.net", how)) == ["10.2.2.40", "2001:db8::40"]
    (why,) = whys(found(host, "flow.example.net", asking((LO, 8530), tls="other.example.net", attempts=1)))
    assert "certificate is not good" in why and "other.example.net" in why
    (why,) = whys(found(host, "flow.example.net", asking((LO, 5302), tls="dns.example.net", attempts=1)))
    assert why.endswith("(127.0.0.1:5302)")  # there is no TLS


# ---- faults ----


@pytest.fixture
def server(host) -> Iterator[NameServer]:
    with NameServer(LO, at=host, other="127.0.0.2") as made:
        made.zone |= {name: list(addresses) for name, addresses in HOSTS.items()}
        made.ttl = 300
        yield made


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("servfail", "SERVFAIL"),
        ("refused", "REFUSED"),
        ("silence", "no answer in 0.3 s"),
        ("wrong_id", "no answer in 0.3 s, but 2 datagrams that are none"),
        ("wrong_question", "no answer in 0.3 s, but 2 datagrams that are none"),
        ("wrong_source", "no answer in 0.3 s"),
        ("garbage", "no answer in 0.3 s, but 8 datagrams that are none"),
    ],
)
def test_the_next_server_is_asked(host, server, mode, why):
    with NameServer("127.0.0.3", at=host) as good:
        good.zone |= server.zone
        server.mode = mode
        how = asking((LO, 53), timeout=0.3, attempts=1)
        assert whys(found(host, "flow.example.net", how)) == {f"{why} (127.0.0.1)"}
        how = asking((LO, 53), ("127.0.0.3", 53), timeout=0.3)
        assert texts(found(host, "flow.example.net", how)) == ["10.2.2.40", "2001:db8::40"]
        assert server.asked["flow.example.net"] and good.asked["flow.example.net"]


@pytest.mark.parametrize("whole", [set(), {"AAAA"}])
def test_one_family_that_is_cut_off_does_not_take_the_other_with_it(host, server, whole):
    """By TCP, the server says nothing of it."""
    server.mode, server.unsaid, server.whole = "truncated", {"A"}, whole
    answer = found(host, "flow.example.net", asking((LO, 53), timeout=0.3, attempts=1))
    assert texts(answer) == ["2001:db8::40"]
    assert len(whys(answer)) == 1 and "no answer in 0.3 s" in whys(answer).pop()


def test_the_same_answer_again_and_again(host):
    """Whoever sends them does not answer the other question by it, and has not all of the time."""
    with host.inside():
        its = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    its.bind((LO, 53))
    with its, ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        answer = pool.submit(found, host, "flow.example.net", asking((LO, 53), timeout=60.0, attempts=1))
        data, who = its.recvfrom(4096)  # IPv4 is asked for first
        same = answer_to(dns.message.from_wire(data), {"flow.example.net": ["10.2.2.40"]}, 300).to_wire()
        while not answer.done():
            with suppress(OSError):
                its.sendto(same, who)
    assert texts(answer.result()) == ["10.2.2.40"] and time.monotonic() - began < 50


def test_a_flood_of_what_is_no_answer_is_always_called_the_same(host):
    """Or it would be said anew each time."""
    with host.inside():
        its = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    its.bind((LO, 53))
    with its, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(found, host, "flow.example.net", asking((LO, 53), timeout=20.0, attempts=1))
        _, who = its.recvfrom(4096)
        while not answer.done():
            with suppress(OSError):
                its.sendto(b"?", who)
    assert whys(answer.result()) == {"no answer in 20 s, but more than 1,000 datagrams that are none (127.0.0.1)"}


@pytest.mark.parametrize("zone", ["²", "a\0b", "nobody", "99999999999999"])
def test_a_server_behind_an_interface_that_cannot_be(host, server, zone):
    """The others are asked all the same."""
    conf = read_resolv_conf(f"nameserver fe80::1%{zone}\nnameserver {LO}\n")
    assert len(conf.servers) == 2
    answer = found(host, "flow.example.net", Asking(servers=conf.servers))
    assert texts(answer) == ["10.2.2.40", "2001:db8::40"]


def test_the_first_look_with_many_open_files(host, server):
    """As gfwd has with many queues, and may have (run.py): select(2) knows 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, hard), hard))
    try:
        with ExitStack() as stack, host.inside():
            while stack.enter_context(open("/dev/null", "rb")).fileno() < 1_100:
                pass
            answers = first_look(["flow.example.net"], asking((LO, 53)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert texts(answers["flow.example.net"]) == ["10.2.2.40", "2001:db8::40"]


def test_nobody_listens(host):
    began = time.monotonic()
    how = asking((LO, 53), timeout=30)
    assert whys(found(host, "flow.example.net", how)) == {"Connection refused (127.0.0.1)"}
    assert time.monotonic() - began < 10


def test_there_is_no_way_to_the_server(host):
    assert whys(found(host, "flow.example.net", asking(("192.0.2.53", 53)))) == {"Network is unreachable (192.0.2.53)"}


def test_a_ttl_of_zero(host, server):
    server.ttl = 0
    answer = found(host, "flow.example.net", asking((LO, 53)))
    assert answer[4] == Good((ipv4("10.2.2.40"),), 0)


def test_aliases_that_the_server_leaves_to_be_asked_for(host, server):
    """As those do that only know their own zones."""
    server.aliases["www.example.net"] = "flow.example.net"
    assert texts(found(host, "www.example.net", asking((LO, 53)))) == ["10.2.2.40", "2001:db8::40"]
    server.aliases["loop.example.net"] = "loop.example.net"
    assert whys(found(host, "loop.example.net", asking((LO, 53), attempts=1))) == {
        "a chain of aliases without an end (127.0.0.1)"
    }


def test_only_validated_answers(host, server):
    """By a server that nobody stands before: this host's own."""
    how = asking((LO, 53), needs_ad=True, attempts=1)
    assert whys(found(host, "flow.example.net", how)) == {"not validated (dnssec) (127.0.0.1)"}
    server.mode = "ad"
    assert texts(found(host, "flow.example.net", how)) == ["10.2.2.40", "2001:db8::40"]
    host.address("lo", "192.0.2.53/32")
    with NameServer("192.0.2.53", at=host) as far:
        far.zone |= server.zone
        far.mode = "ad"
        how = asking(("192.0.2.53", 53), needs_ad=True, attempts=1)
        assert whys(found(host, "flow.example.net", how)) == {"validated, perhaps, but by whom (dnssec) (192.0.2.53)"}


def test_the_search_list_ends_where_nobody_knows(host, server):
    """That a server does not answer must not lead to another name."""
    server.zone["flow.example.net.example.org"] = ["10.9.9.9"]
    server.mode = "servfail"
    how = asking((LO, 53), search=("example.org",), attempts=1)
    assert whys(found(host, "flow.example.net", how)) == {"SERVFAIL (127.0.0.1)"}
    server.mode = "answer"
    del server.zone["flow.example.net"]
    assert texts(found(host, "flow.example.net", how)) == ["10.9.9.9"]


def test_the_hosts_file_comes_first(host, server):
    listed = {"flow.example.net": (ipv4("10.9.9.9"), Address(6, 1 << 120))}
    answer = found(host, "flow.example.net", asking((LO, 53), hosts=listed))
    assert answer == {4: Good(listed["flow.example.net"][:1], None), 6: Good(listed["flow.example.net"][1:], None)}
    assert not server.asked
