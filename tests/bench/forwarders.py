"""The forwarders that are compared, and how each is started: those with AF_XDP, and those with sockets."""

import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gfwd.daemon.workload import Case, rules_text
from gfwd.errors import GfwdError
from tests.bench.network import COLLECTOR, COLLECTOR_MAC, IN, IN_ADDRESS, OUT, OUT_MAC, PORT, Network, Program

_READY_S = 30.0
_TEE_BUFFER = 10_240  # bytes


class Forwarder:
    """One way to forward.

    arrives_at: where its datagrams are addressed to when they come to the collector. withholds: so many it may keep
    until more come, which is no loss.
    """

    name: str
    arrives_at: str = COLLECTOR
    withholds: int = 0

    def missing(self) -> str | None:
        """Why it cannot be measured here, if it cannot."""
        return None

    def running(self, network: Network) -> AbstractContextManager[Program]:
        raise NotImplementedError


@dataclass
class Bare(Forwarder):
    """bare_xdp.c: the least that can be done with AF_XDP. patience: empty rounds before it sleeps; 0: it never does."""

    name: str
    patience: int
    arrives_at: str = IN_ADDRESS

    @contextmanager
    def running(self, network: Network) -> Iterator[Program]:
        macs = (COLLECTOR_MAC, OUT_MAC)
        command = (network.program("bare_xdp"), IN, OUT, *macs, str(self.patience))
        with network.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as program:
            _wait_for("forwarding", self.name, program)
            yield program


@dataclass
class Gfwd(Forwarder):
    """gfwd itself, started by this command, with so many rules of the usual mix."""

    command: tuple[str, ...] = (sys.executable, "-m", "gfwd")
    rules: int = 10_000
    name: str = "gfwd"

    def missing(self) -> str | None:
        tried = subprocess.run((*self.command, "run", "--help"), capture_output=True, text=True, check=False)
        return (
            None
            if tried.returncode == 0
            else f"{shlex.join(self.command)} run: {tried.stderr.strip() or tried.returncode}"
        )

    @contextmanager
    def running(self, network: Network) -> Iterator[Program]:
        with tempfile.NamedTemporaryFile("w", suffix=".rules") as rules:
            rules.write(rules_text(Case(rules=self.rules)))
            rules.flush()
            ports = ("--in", f"xdp:{IN}", "--out", f"xdp:{OUT}", "--mac", f"{COLLECTOR}={COLLECTOR_MAC}")
            command = (*self.command, "run", "--rules", rules.name, *ports, "--json")
            with network.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as program:
                _wait_for("forwarding", self.name, program)
                yield program


@dataclass
class Nfcapd(Forwarder):
    """nfcapd -R of the nfdump package, which cannot but store the flows too, and repeats them from its own address."""

    name: str = "nfcapd -R"

    def missing(self) -> str | None:
        return None if shutil.which("nfcapd") else "apt-get install nfdump brings it"

    @contextmanager
    def running(self, network: Network) -> Iterator[Program]:
        with _memory_folder() as folder:
            receiving = ("-4", "-p", str(PORT), "-B", str(_largest_buffer()))
            command = ("nfcapd", *receiving, "-w", folder, "-R", f"{COLLECTOR}/{PORT}", "-C", "none")
            with network.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:
                _wait_for_socket(network, self.name, program)
                yield program


@dataclass
class PmacctTee(Forwarder):
    """pmacct's tee plugin in nfacctd, which keeps the source and stores nothing.

    Its two processes hand datagrams over by the buffer, and a buffer waits until it is full. With one for a single
    datagram it forwards a third.
    """

    name: str = "pmacct tee"
    withholds: int = 200

    def missing(self) -> str | None:
        return None if shutil.which("nfacctd") else "apt-get install pmacct brings it"

    @contextmanager
    def running(self, network: Network) -> Iterator[Program]:
        with tempfile.TemporaryDirectory() as folder:
            receivers, config = Path(folder, "receivers"), Path(folder, "config")
            receivers.write_text(f"id=1 ip={COLLECTOR}:{PORT}\n")
            size = _largest_buffer()
            config.write_text(
                f"daemonize: false\nnfacctd_ip: {IN_ADDRESS}\nnfacctd_port: {PORT}\nnfacctd_pipe_size: {size}\n"
                f"plugins: tee[a]\ntee_receivers[a]: {receivers}\ntee_transparent: true\n"
                f"plugin_pipe_size: {size}\nplugin_buffer_size: {_TEE_BUFFER}\n"
            )
            command = ("nfacctd", "-f", str(config))
            with network.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:
                _wait_for_socket(network, self.name, program)
                yield program


def forwarders(gfwd: Gfwd) -> tuple[Forwarder, ...]:
    """All, in the order in which they take turns."""
    return (Bare("bare, spinning", 0), Bare("bare, sleeping", 100), gfwd, Nfcapd(), PmacctTee())


def _wait_for(word: str, name: str, program: Program) -> None:
    """Until it says so on standard error."""
    stderr, said = program.process.stderr, ""
    deadline = time.monotonic() + _READY_S
    while stderr is not None and select.select([stderr], [], [], max(0, deadline - time.monotonic()))[0]:
        line = stderr.readline()
        if word in line:
            return
        said += line
        if not line:
            break
    raise GfwdError(f"benchmark: error: {name} does not start: {said.strip() or 'it says nothing'}")


def _wait_for_socket(network: Network, name: str, program: Program) -> None:
    """Until somebody listens on the port."""
    deadline = time.monotonic() + _READY_S
    while program.process.poll() is None and time.monotonic() < deadline:
        with network.forwarder.inside(), suppress(FileNotFoundError):
            bound = "".join(Path("/proc/thread-self/net", file).read_text("ascii") for file in ("udp", "udp6"))
        if f":{PORT:04X} " in bound:
            return
        time.sleep(0.05)
    raise GfwdError(f"benchmark: error: {name} does not start")


def _largest_buffer() -> int:
    """The largest receive buffer that the system lets a socket have."""
    return int(Path("/proc/sys/net/core/rmem_max").read_text("ascii"))


@contextmanager
def _memory_folder() -> Iterator[str]:
    """A folder that no disk is behind, where there is one."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield folder
