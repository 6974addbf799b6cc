"""Two hosts on one FreeBSD kernel, with gfwd between them: real stacks, sockets and programs on both cables.

gfwd's ends of the cables are in a routing table of their own (setfib(1)), and so is gfwd. So what the peers send to
gfwd's addresses leaves by the wire, although one kernel has all of them; and for gfwd the collectors are on its links.
"""

from __future__ import annotations

import ctypes
import json
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.freebsd.running import COMMAND, PATIENCE_S, Running
from tests.freebsd.wire import RelayedCable, sh

FIB = "1"
GFWD = {4: "10.78.1.1", 6: "fd78:1::1"}  # where exporters send to
EXPORTER = {4: "10.78.1.9", 6: "fd78:1::9"}
COLLECTOR = {4: "10.78.2.9", 6: "fd78:2::9"}
OWN = {4: "10.78.2.1", 6: "fd78:2::1"}  # gfwd's on the way to collectors
INET = {4: socket.AF_INET, 6: socket.AF_INET6}


class Hosts:
    """`into` is the cable to the exporter, `out` that to the collector; gfwd has the near ends."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        _need_fibs()
        self._stack, self.folder = stack, folder
        self.into, self.out = (self._cable(number) for number in (1, 2))
        self.control = folder / "control"

    def _cable(self, number: int) -> RelayedCable:
        cable = RelayedCable()
        self._stack.callback(cable.close)
        sh("ifconfig", cable.name, "fib", FIB)
        for name, host in ((cable.name, 1), (cable.far, 9)):
            sh("ifconfig", name, "inet", f"10.78.{number}.{host}/24")
            sh("ifconfig", name, "inet6", f"fd78:{number}::{host}/64", "no_dad")
        return cable

    def vlan(self, number: int) -> None:
        """An interface of that VLAN on both ends of `out`: 10.78.3.1 is gfwd's, 10.78.3.9 the other host's."""
        for beneath, host, fib in ((self.out.name, 1, FIB), (self.out.far, 9, "0")):
            name = sh("ifconfig", "vlan", "create", "vlan", str(number), "vlandev", beneath).strip()
            self._stack.callback(sh, "ifconfig", name, "destroy")
            sh("ifconfig", name, "fib", fib)
            sh("ifconfig", name, "inet", f"10.78.3.{host}/24", "up")

    def start(self, text: str, host: str = "") -> Running:
        """gfwd by this gfwd.toml, but for its ports. host: "*", or nothing."""
        self.write(text, host)
        return Running(self._stack, self.folder, "-c", str(self.folder / "gfwd.toml"), before=("setfib", FIB))

    def write(self, text: str, host: str = "") -> None:
        ports = f'in = ["netmap:{self.into.name}{host}"]\nout = ["netmap:{self.out.name}{host}"]\n'
        head = f'control = "{self.control}"\n'
        (self.folder / "gfwd.toml").write_text(f"{head}{text}\n[ports]\n{ports}", "utf-8")

    def ask(self, *arguments: str) -> Any:
        """What a command of gfwd's says of the one that runs."""
        return json.loads(sh(*COMMAND, *arguments, "--control", str(self.control), "--json"))

    def collector(self, family: int = 4, port: int = 2055) -> socket.socket:
        its = self._stack.enter_context(socket.socket(INET[family], socket.SOCK_DGRAM))
        its.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        its.bind((COLLECTOR[family], port))
        its.settimeout(PATIENCE_S)
        return its

    def exporter(self, family: int = 4, port: int = 2055) -> socket.socket:
        """Its datagrams go to gfwd."""
        its = self._stack.enter_context(socket.socket(INET[family], socket.SOCK_DGRAM))
        its.bind((EXPORTER[family], 0))
        its.connect((GFWD[family], port))
        return its


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def succeeds(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True, timeout=PATIENCE_S).returncode == 0


def _need_fibs() -> None:
    """A second routing table: the kernel makes it, and has it until it is booted anew."""
    libc = ctypes.CDLL(None, use_errno=True)
    many, two = ctypes.c_uint32(1), ctypes.c_uint32(2)
    size = ctypes.c_size_t(ctypes.sizeof(many))
    libc.sysctlbyname(b"net.fibs", ctypes.byref(many), ctypes.byref(size), None, ctypes.c_size_t(0))
    if many.value < 2 and libc.sysctlbyname(b"net.fibs", None, None, ctypes.byref(two), size) != 0:
        pytest.skip("this kernel has one routing table only (net.fibs)")
    if sh("sysctl", "-n", "net.add_addr_allfibs").strip() != "0":
        pytest.skip("addresses get routes in all tables: sysctl net.add_addr_allfibs=0")
