"""The hosts of the lab, cabled and addressed, and the sockets of its exporters and collectors.

exporters ── in0 gfwd out0 ── switch ──┬── near
                                       └── router ── far
"""

import resource
import socket
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack

from gfwd.daemon.lab.forwarder import IN, OUT
from gfwd.daemon.lab.host import Host
from gfwd.daemon.lab.scene import Place, Scene, Target
from gfwd.daemon.lab.traffic import Stream
from gfwd.rules.model import Address

GFWD = "198.18.0.1"
"""Where the exporters send to."""

_EXPORTERS = "198.18.0.2"
_GFWD_OUT, _NEAR, _ROUTER = "198.18.1.1", "198.18.1.2", "198.18.1.3"
_ROUTER_FAR, _FAR = "198.18.2.1", "198.18.2.2"
_BITS = 24
_WIRE = "eth0"

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_RCVBUF_BYTES = 32 << 20  # twice as much in the kernel's own count: some ten thousand datagrams
_OTHER_FILES = 256  # besides the sockets below


class LabNetwork(AbstractContextManager["LabNetwork"]):
    """Made at once, and gone with the process at the latest. sockets: one for each target of the rules."""

    def __init__(self, scene: Scene) -> None:
        with ExitStack() as stack:
            self._exporters, self.gfwd, switch, near, router, far = (stack.enter_context(Host()) for _ in range(6))
            self.collectors = {Place.LINK: near, Place.ROUTER: far}
            self._cable(switch, router)
            self._give_addresses(scene, router)
            targets = sorted({target for targets in scene.targets.values() for target in targets})
            _allow_files(len(scene.targets) + len(targets) + _OTHER_FILES)
            self.senders = self._senders(scene.targets, stack)
            self.receivers = self._receivers(targets, scene.places, stack)
            self._stack = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _cable(self, switch: Host, router: Host) -> None:
        near, far = self.collectors[Place.LINK], self.collectors[Place.ROUTER]
        self._exporters.cable(_WIRE, self.gfwd, IN)
        self.gfwd.cable(OUT, switch, "gfwd")
        near.cable(_WIRE, switch, "near")
        router.cable(_WIRE, switch, "router")
        far.cable(_WIRE, router, "far")
        switch.switch("switch", "gfwd", "near", "router")
        router.set("ipv4/ip_forward", 1)
        for host, interface, address in (
            (self._exporters, _WIRE, _EXPORTERS),
            (self.gfwd, IN, GFWD),
            (self.gfwd, OUT, _GFWD_OUT),
            (near, _WIRE, _NEAR),
            (router, _WIRE, _ROUTER),
            (router, "far", _ROUTER_FAR),
            (far, _WIRE, _FAR),
        ):
            host.address(interface, address, _BITS)

    def _give_addresses(self, scene: Scene, router: Host) -> None:
        for exporter in scene.exporters:
            self._exporters.address(_WIRE, str(exporter))
        for collector, place in scene.places.items():
            self.collectors[place].address(_WIRE, str(collector))
            if place is Place.LINK:
                self.gfwd.route(str(collector), OUT)
            else:
                self.gfwd.route(str(collector), OUT, via=_ROUTER)
                router.route(str(collector), "far")

    def _senders(self, streams: Iterable[Stream], stack: ExitStack) -> dict[Stream, socket.socket]:
        """A socket for each address and port that an exporter sends from."""
        bound: dict[tuple[int, int], socket.socket] = {}
        senders = {}
        for stream in streams:
            source = (stream.source, stream.source_port)
            if source not in bound:
                bound[source] = stack.enter_context(self._exporters.namespace.socket())
                bound[source].bind((str(Address(4, stream.source)), stream.source_port))
            senders[stream] = bound[source]
        return senders

    def _receivers(
        self, targets: Iterable[Target], places: Mapping[Address, Place], stack: ExitStack
    ) -> dict[Target, socket.socket]:
        receivers = {}
        for target in targets:
            receiver = stack.enter_context(self.collectors[places[target.address]].namespace.socket())
            receiver.setblocking(False)
            receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RCVBUF_BYTES)
            receiver.bind((str(target.address), target.port))
            receivers[target] = receiver
        return receivers


def _allow_files(n: int) -> None:
    """A big capture has more exporters than a process may usually have files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < n:
        resource.setrlimit(resource.RLIMIT_NOFILE, (n, max(n, hard)))
