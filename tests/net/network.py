"""Small networks of namespaces, wired by the kernel's own veth pairs."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from pyroute2 import IPRoute

from gfwd.daemon.namespaces import Namespace
from gfwd.rules.model import Address

PATIENCE_S = 20.0
"""How long a test waits for what must happen: long, since the machine may be busy with other things."""

# A tenth of the kernel's own times, so that silence is noticed within the time of a test.
QUICK = {"retrans_time_ms": 100, "base_reachable_time_ms": 2_000, "delay_first_probe_time": 1, "locktime": 0}


class Host(Namespace):
    """A host."""

    def __init__(self) -> None:
        super().__init__()
        with self.inside():
            self.ip = IPRoute()
        self.sysctl("ipv6/conf/default/accept_dad", 0)  # an own address is good at once

    def __enter__(self) -> Host:
        return self

    def close(self) -> None:
        self.ip.close()
        super().close()

    def sysctl(self, name: str, value: int) -> None:
        with self.inside():  # /proc/sys/net is that of the thread that looks at it
            Path("/proc/sys/net", name).write_text(str(value), "ascii")

    def index(self, name: str) -> int:
        return int(self.ip.link_lookup(ifname=name)[0])

    def up(self, name: str, *, mac: str | None = None) -> None:
        self.ip.link("set", index=self.index(name), state="up", **({} if mac is None else {"address": mac}))

    def down(self, name: str) -> None:
        self.ip.link("set", index=self.index(name), state="down")

    def address(self, name: str, address: str) -> None:
        self.ip.addr("add", index=self.index(name), address=address)

    def mac(self, name: str) -> bytes:
        text = self.ip.get_links(self.index(name))[0].get("IFLA_ADDRESS")
        return bytes.fromhex(text.replace(":", ""))

    def set_mac(self, name: str, mac: str) -> None:
        self.ip.link("set", index=self.index(name), address=mac)

    def neighbour(self, address: str) -> str | None:
        """The MAC that this host's kernel has for an address."""
        for entry in self.ip.get_neighbours():
            if entry.get("NDA_DST") == address:
                mac: str | None = entry.get("NDA_LLADDR")
                return mac
        return None


def veth(a: Host, name: str, b: Host, its_name: str) -> None:
    """A cable between two hosts; both ends are down. Behind it their kernels ask and forget quickly."""
    a.ip.link("add", ifname=name, kind="veth", peer={"ifname": its_name, "net_ns_fd": b.fileno()})
    for host, end in ((a, name), (b, its_name)):
        for setting, value in QUICK.items():
            for family in ("ipv4", "ipv6"):
                host.sysctl(f"{family}/neigh/{end}/{setting}", value)


def ipv4(text: str) -> Address:
    return Address(4, int.from_bytes(bytes(map(int, text.split(".")))))


def wait_until(
    condition: Callable[[], object],
    step: Callable[[], object],
    files: Iterable[int] = (),
    patience: float = PATIENCE_S,
) -> None:
    """Step until the condition holds; between two steps wait for one of the files, but not for long."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it never happened"
        select.select(list(files), [], [], 0.005)
        step()
