"""Networks of namespaces around a running `gfwd run`: hosts, cables, exporters, collectors, and the command itself."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import struct
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from fcntl import ioctl
from functools import lru_cache
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

import pytest

from gfwd.daemon.namespaces import Namespace
from gfwd.errors import GfwdError
from tests import frames
from tests.net.network import QUICK, Host

BOTH_ARMS = "--in", "xdp:in0", "--out", "xdp:out0", "--json"
PATIENCE_S = 60.0
"""How long a test waits for what must happen: long, since the machine may be busy with other things."""
WAVE = 100
"""So many datagrams are under way at most: a veth keeps 256 packets, and what is more is lost."""

_AF_XDP = 44
_ETH_P_IP = 0x0800
_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_IGNORE_OUTGOING = 23  # linux/if_packet.h
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_SIOCETHTOOL = 0x8946  # linux/sockios.h
_ETHTOOL_STXCSUM = 0x17  # linux/ethtool.h
_ETHTOOL_SGRO = 0x2C


def require() -> None:
    """Skip where the kernel has no namespaces for us, or no AF_XDP, and with that no live forwarding."""
    if os.uname().sysname != "Linux":
        pytest.skip("gfwd runs on Linux only as yet")
    if os.geteuid() != 0:
        pytest.skip("needs root, to make network namespaces")
    try:
        Namespace().close()
        socket.socket(_AF_XDP, socket.SOCK_RAW).close()
    except (GfwdError, OSError) as error:
        pytest.skip(f"needs network namespaces and AF_XDP: {error}")


def wait_until(condition: Callable[[], object], what: Callable[[], str] = lambda: "it never happened") -> None:
    """Look again and again until the condition holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.002)


# ---- hosts and cables ----


def host(stack: ExitStack, *, speaks_ipv6: bool = False) -> Host:
    """A host that forwards nothing, and takes packets from anybody."""
    new = Host()
    stack.callback(new.close)
    for name in ("all", "default"):
        new.sysctl(f"ipv4/conf/{name}/rp_filter", 0)
        new.sysctl(f"ipv4/conf/{name}/arp_notify", 1)  # who has another MAC says so
        new.sysctl(f"ipv6/conf/{name}/disable_ipv6", int(not speaks_ipv6))
    return new


def cable(a: Host, name: str, b: Host, its: str, *, queues: int = 1, mtu: int = 1500, up: bool = True) -> None:
    """Connect two hosts by a veth pair that behaves like a wire, and bring both ends up.

    Checksums are finished before a packet leaves: a veth would carry those of local sockets unfinished. With GRO, a
    veth has queues of its own and keeps the order of packets, whichever CPUs they are sent on.
    """
    ends = {"num_tx_queues": queues, "num_rx_queues": queues, "mtu": mtu}
    a.ip.link("add", kind="veth", ifname=name, **ends, peer={"ifname": its, "net_ns_fd": b.fileno(), **ends})
    for end, interface in ((a, name), (b, its)):
        for setting, value in QUICK.items():
            end.sysctl(f"ipv4/neigh/{interface}/{setting}", value)
        _ethtool(end, interface, _ETHTOOL_STXCSUM, 0)
        _ethtool(end, interface, _ETHTOOL_SGRO, 1)
        if up:
            end.up(interface)


def _ethtool(at: Host, interface: str, command: int, value: int) -> None:
    with at.socket() as anything:
        wish = array("B", struct.pack("=II", command, value))  # struct ethtool_value
        ioctl(anything, _SIOCETHTOOL, struct.pack("16sP8x", interface.encode(), wish.buffer_info()[0]))


def switch(its: Host, *interfaces: str) -> None:
    """Make a host an Ethernet switch between these interfaces of its."""
    its.ip.link("add", kind="bridge", ifname="switch")
    for interface in interfaces:
        its.ip.link("set", index=its.index(interface), master=its.index("switch"))
    its.up("switch")


def route(at: Host, to: str, **way: Any) -> None:
    """`ip route add`: via="10.1.0.3", or dev="e0"."""
    if "dev" in way:
        way = {"oif": at.index(way.pop("dev")), "scope": 253, **way}
    if "via" in way:
        way = {"gateway": way.pop("via"), **way}
    at.ip.route("add", dst=to, **way)


def xdp_programs(at: Host, interface: str) -> int:
    """How many XDP programs are attached to an interface, as `ip -d link` says: 0 or 1."""
    link = at.ip.get_links(at.index(interface))[0]
    return int((link.get("IFLA_XDP").get("IFLA_XDP_ATTACHED") or 0) != 0)


def udp_counter(at: Host, name: str) -> int:
    """A counter of UDP of the host's kernel (RFC 4113, and Linux' own), such as NoPorts and InCsumErrors."""
    with at.inside():
        lines = Path("/proc/thread-self/net/snmp").read_text("ascii").splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith("Udp:"))
    return int(values[names.index(name)])


# ---- frames ----


class Arrived(NamedTuple):
    """A UDP datagram over IPv4 off the wire. Both checksums have been looked at."""

    to_mac: bytes
    from_mac: bytes
    ttl: int
    source: str
    destination: str
    ports: tuple[int, int]
    payload: bytes


def arrived(frame: bytes) -> Arrived:
    """Take a frame apart; one whose checksums are wrong fails the test."""
    header = (frame[14] & 15) * 4
    ip, segment = frame[14 : 14 + header], frame[14 + header : 14 + int.from_bytes(frame[16:18])]
    assert frames.checksum(ip) == 0, f"IPv4 checksum: {frame.hex()}"
    assert frames.checksum(ip[12:20] + struct.pack(">HH", frames.UDP, len(segment)) + segment) == 0, frame.hex()
    source_port, port, length = struct.unpack_from(">HHH", segment)
    assert length == len(segment)
    addresses = _text(ip[12:16]), _text(ip[16:20])
    return Arrived(frame[:6], frame[6:12], frame[22], *addresses, (source_port, port), segment[8:])


@lru_cache
def _text(address: bytes) -> str:
    return str(IPv4Address(address))


class Wire(AbstractContextManager["Wire"]):
    """The end of a cable: what comes in there off the wire, and raw frames onto it."""

    def __init__(self, at: Host, interface: str, *, protocol: int = _ETH_P_ALL) -> None:
        self.socket = at.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 32 << 20)
        self.socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self.socket.bind((interface, protocol))
        self.socket.setblocking(False)

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, frame: bytes) -> None:
        self.socket.send(frame)

    def take(self) -> list[bytes]:
        """All frames that have come since the last call."""
        found: list[bytes] = []
        while True:
            try:
                found.append(self.socket.recv(16_384))
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENETDOWN:  # said once; what comes when the link is up again does come
                    raise


class Collector(AbstractContextManager["Collector"]):
    """The wire's end at a collector, and the datagrams that have come there, whomever they are for."""

    def __init__(self, at: Host, interface: str) -> None:
        self.at, self.interface = at, interface
        self._wire = Wire(at, interface, protocol=_ETH_P_IP)
        self.frames: list[bytes] = []

    def __exit__(self, *_: object) -> None:
        self._wire.__exit__()

    def fileno(self) -> int:
        return self._wire.socket.fileno()

    def look(self) -> int:
        """Take what has come; returns how many datagrams that are by now."""
        self.frames += [frame for frame in self._wire.take() if frame[23] == frames.UDP]
        return len(self.frames)

    def wait_for(self, number: int) -> None:
        """Until so many datagrams have come, since the collector is there."""
        wait_until(lambda: self.look() >= number, lambda: f"{len(self.frames)} of {number} datagrams came")
        assert len(self.frames) == number

    def arrived(self) -> list[Arrived]:
        self.look()
        return [arrived(frame) for frame in self.frames]

    def payloads(self) -> list[bytes]:
        return [one.payload for one in self.arrived()]


# ---- the command ----


def balances(account: Mapping[str, Any]) -> bool:
    """Whether both ledgers balance: that of the frames, and that of the copies, in all and of each collector."""
    places = sum(account[place] for place in ("forwarded", "passed", "punted", "pending"))
    ledgers = [account["copies"], *account["collectors"].values()]
    return account["received"] == places + sum(account["drops"].values()) and all(
        copies["wanted"] == copies["sent"] + copies["pending"] + sum(copies["drops"].values()) for copies in ledgers
    )


class Ended(NamedTuple):
    """How a gfwd ended."""

    status: int
    out: str
    said: str

    def account(self) -> dict[str, Any]:
        """What --json has printed. Both ledgers balance, and ours = received + lost + unread: or the test fails."""
        assert self.out.count("\n") == 1, self.out
        account: dict[str, Any] = json.loads(self.out)
        assert balances(account), account
        ports = account["ports"].values()
        not_received = sum(port["lost"] + port["unread"] for port in ports)
        assert sum(port["ours"] for port in ports) == account["received"] + not_received
        return account

    def drops(self, ledger: str = "") -> dict[str, int]:
        """Those of the frames, or of a collector's copies ("copies": of all), without zeros."""
        account = self.account()
        drops = account if not ledger else account["copies"] if ledger == "copies" else account["collectors"][ledger]
        return {cause: n for cause, n in drops["drops"].items() if n}


class Live(AbstractContextManager["Live"]):
    """A gfwd that was started in a host. It says nothing to pipes, which nobody would empty meanwhile."""

    def __init__(self, command: Sequence[str | Path], at: Namespace) -> None:
        with ExitStack() as stack:
            self._out: IO[bytes] = stack.enter_context(TemporaryFile())
            self._err: IO[bytes] = stack.enter_context(TemporaryFile())
            self.process = at.start(list(map(str, command)), stdout=self._out, stderr=self._err)
            stack.callback(self.kill)
            self._stack = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def said(self) -> str:
        return _content(self._err)

    def wait_for(self, *words: str) -> None:
        """Until it has said all of these."""
        wait_until(
            lambda: all(word in self.said() for word in words) or self.process.poll() is not None,
            lambda: f"{words} not in:\n{self.said()}",
        )
        assert all(word in self.said() for word in words), f"{words} not in:\n{self.said()}"

    def send(self, number: int) -> None:
        """To the process that was started, as an operator does."""
        self.process.send_signal(number)

    def freeze(self) -> None:
        """Stop it in its tracks, until it is thawed: what is sent meanwhile waits in its rings."""
        self.send(signal.SIGSTOP)
        wait_until(lambda: self._stat()[0] == "T")

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def cpu_s(self) -> float:
        """Seconds of CPU time that it has used."""
        return sum(map(int, self._stat()[11:13])) / os.sysconf("SC_CLK_TCK")

    def _stat(self) -> list[str]:
        """/proc/PID/stat from the third field on."""
        return Path(f"/proc/{self.process.pid}/stat").read_text("ascii").rpartition(")")[2].split()

    def ended(self) -> Ended:
        """Wait until it ends by itself."""
        wait_until(lambda: self.process.poll() is not None, lambda: f"it goes on; it said:\n{self.said()}")
        said = self.said()
        assert "Traceback" not in said, said
        return Ended(self.process.returncode, _content(self._out), said)

    def stop(self, number: int = signal.SIGTERM) -> Ended:
        self.send(number)
        return self.ended()

    def kill(self) -> None:
        """End it at once, where it has not ended yet."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _content(file: IO[bytes]) -> str:
    """All that was written so far, without a move of the place where the writer goes on."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()


# ---- a small site ----


class Site(AbstractContextManager["Site"]):
    """The least that gfwd can stand in: exporter e0 — in0 gfwd out0 — c0 collector.

    The exporter is 10.0.0.2 and sends to 10.0.0.1, the collector is 10.1.0.2, seen from 10.1.0.1.
    """

    def __init__(self, gfwd: Sequence[str], folder: Path, *, queues: int = 1, mtu: int = 1500) -> None:
        self.gfwd, self._folder = gfwd, folder
        with ExitStack() as stack:
            self.exporter, self.us, self.near = (host(stack) for _ in range(3))
            cable(self.exporter, "e0", self.us, "in0", queues=queues, mtu=mtu)
            cable(self.us, "out0", self.near, "c0", queues=queues, mtu=mtu)
            for at, interface, address in (
                (self.exporter, "e0", "10.0.0.2/24"),
                (self.us, "in0", "10.0.0.1/24"),
                (self.us, "out0", "10.1.0.1/24"),
                (self.near, "c0", "10.1.0.2/24"),
            ):
                at.address(interface, address)
            self.collector = stack.enter_context(Collector(self.near, "c0"))
            self.sender = stack.enter_context(self.exporter.socket())
            self.stack = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def rules(self, text: str) -> Path:
        path = self._folder / "gfwd.rules"
        path.write_text(text)
        return path

    def command(self, rules: str, *arguments: str) -> list[str | Path]:
        return [*self.gfwd, "run", "--rules", self.rules(rules), *arguments]

    def run(self, rules: str, *arguments: str, prefix: Sequence[str] = ()) -> Live:
        """Start gfwd between in0 and out0, its account as JSON; it is ready."""
        live = self.start(rules, *BOTH_ARMS, *arguments, prefix=prefix)
        live.wait_for("forwarding from")
        return live

    def forwards(self, payload: bytes) -> bool:
        """Whether a datagram of the exporter's arrives, and is the next one that does."""
        before = self.collector.look()
        self.sender.sendto(payload, ("10.0.0.1", 514))
        self.collector.wait_for(before + 1)
        return self.collector.payloads()[-1] == payload

    def wait_until_it_forwards(self, payload: bytes) -> None:
        """Send datagrams until one arrives: what was mended a moment ago, gfwd may not know of yet."""
        before = self.collector.look()

        def comes() -> bool:
            self.sender.sendto(payload, ("10.0.0.1", 514))
            return self.collector.look() > before

        wait_until(comes)

    def start(self, rules: str, *arguments: str, prefix: Sequence[str] = ()) -> Live:
        """Start gfwd in its place. It ends with the site at the latest."""
        return self.stack.enter_context(Live([*prefix, *self.command(rules, *arguments)], self.us))
