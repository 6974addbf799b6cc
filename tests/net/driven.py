"""The driver of neighbours with a real kernel on the other side, and the wire behind a memory port that leads there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Self

from gfwd.config.model import USUAL_ICMP, IcmpSetting
from gfwd.config.port_name import PortName
from gfwd.daemon.neighbours import Neighbours
from gfwd.daemon.ports import Port
from gfwd.daemon.punts import Punts
from gfwd.daemon.wire import WireAsker
from gfwd.l2 import nd
from gfwd.l2.kernel import InterfaceAddress, Link
from gfwd.l2.neighbour import Timing
from gfwd.native.core import Core, Limits, NeighbourState
from gfwd.plan.blueprint import PlanPort
from gfwd.rules.model import ADDRESS_BITS, Address, Prefix
from tests.cores import plan_from
from tests.net.network import Host, ipv4, veth, wait_until
from tests.said import Said

WIRE_TIMING = Timing(retransmit=0.1, reachable=0.3, gap=0.05, answer=0.3, backoff=0.1, backoff_longest=0.4)
US, PEER = ipv4("10.0.0.1"), ipv4("10.0.0.2")
US6, PEER6 = Address(6, 0xFD << 120 | 1), Address(6, 0xFD << 120 | 2)
OURS = bytes.fromhex("020000000001")
LINK_LOCAL = nd.link_local(OURS)
READY = NeighbourState.READY


class Driven:
    """A peer (10.0.0.2 on in0), the driver, and what it told and said. Slot 0 is the peer, unless said otherwise."""

    neighbours: Neighbours

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.us, self.peer = Host(), Host()
        self.stack.callback(self.us.close)
        self.stack.callback(self.peer.close)
        veth(self.us, "out0", self.peer, "in0")
        self.peer.up("in0")
        self.peer.address("in0", "10.0.0.2/24")
        self.told: dict[int, tuple[bytes | None, NeighbourState]] = {}
        self.history: list[NeighbourState] = []
        self.said = Said()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def tell(self, slot: int, mac: bytes | None, state: NeighbourState) -> None:
        self.told[slot] = (mac, state)
        self.history.append(state)

    def advance(self) -> None:
        deadline, now = self.neighbours.deadline(), time.monotonic()
        if deadline is not None and deadline <= now:
            self.neighbours.advance(now)

    def step(self) -> None:
        raise NotImplementedError

    def wait_for(self, mac: bytes | None, state: NeighbourState, slot: int = 0) -> None:
        wait_until(lambda: self.told.get(slot) == (mac, state), self.step)

    def wait_for_peer(self, slot: int = 0) -> None:
        self.wait_for(self.peer.mac("in0"), READY, slot)

    def go_on(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        wait_until(lambda: time.monotonic() > end, self.step)


class Cable:
    """A memory port's wire, which ends in `us`: nobody's host there, but a switch that out0 is plugged into."""

    def __init__(self, us: Host, stack: ExitStack) -> None:
        self.us = us
        us.ip.link("add", ifname="switch", kind="bridge", br_mcast_snooping=0)
        us.ip.link("add", ifname="wire0", kind="veth", peer={"ifname": "wire1"})
        for name in ("out0", "wire0", "wire1", "switch"):
            us.sysctl(f"ipv6/conf/{name}/disable_ipv6", 1)
            us.up(name)
        self.plug("out0")
        self.plug("wire0")
        self._end = stack.enter_context(us.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
        self._end.bind(("wire1", 3))  # ETH_P_ALL
        self._end.setblocking(False)
        self.left: list[bytes] = []

    def plug(self, name: str) -> None:
        """Into the switch; an interface of `us`."""
        self.us.ip.link("set", index=self.us.index(name), master=self.us.index("switch"))

    def carry(self, core: Core) -> None:
        """Frames between port 0 and the switch, both ways."""
        while (frame := core.leave(0)) is not None:
            self.left.append(frame)
            with suppress(OSError):  # unplugged
                self._end.send(frame)
        while True:
            try:
                frame = self._end.recv(2_048)
            except BlockingIOError:
                return
            core.arrive(0, frame)


def bare_port() -> Port:
    """The memory port, as gfwd has those that are no interfaces of the host."""
    link = Link(-1, "mem:a", OURS, 0, is_up=True, has_carrier=True)
    return Port(
        number=0,
        name=PortName("vale", "mem:a"),
        link=link,
        is_in=True,
        is_out=True,
        rx=1,
        tx=1,
        mode="",
        has_neighbours=False,
    )


class OnTheWire(Driven):
    """The driver behind a memory port. icmp, rarp: what is answered there."""

    def __init__(self, icmp: IcmpSetting = USUAL_ICMP, rarp: Mapping[bytes, Address] | None = None) -> None:
        super().__init__()
        self.cable = Cable(self.us, self.stack)
        self.left = self.cable.left
        self.core = Core(Limits(rules=1, collectors=1, neighbours=4))
        self.stack.callback(self.core.close)
        self.core.port_mem(self.core.region(rings=2, slots=64))
        self.worker = self.core.worker([(0, 0)], [(0, 0)])
        self.own = tuple(Prefix(one.family, one.value, ADDRESS_BITS[one.family]) for one in (US, US6, LINK_LOCAL))
        self.core.publish(
            plan_from(
                "* 514 10.0.0.2 A",
                ports=(PlanPort(mac=OURS, punts=True, punts_closed=icmp.port_unreachable),),
                own=self.own,
                listen=((514, 514),),
            )
        )
        self.asker = WireAsker(
            inject=self.worker.inject,
            port=0,
            mac=OURS,
            addresses=(InterfaceAddress(US, 24), InterfaceAddress(US6, 64)),
            timing=WIRE_TIMING,
        )
        self.neighbours = Neighbours(self.tell, self.said.say)
        self.punts = Punts([bare_port()], self.neighbours, self.said.say)
        self.icmp, self.rarp = icmp, rarp or {}
        self.follow()
        thread = threading.Thread(target=self.worker.run, name="worker", daemon=True)
        thread.start()
        self.stack.callback(thread.join)
        self.stack.callback(self.worker.stop)

    def follow(self) -> None:
        """Have the port its addresses, from now on."""
        self.punts.follow([self.asker], self.own, self.icmp, self.rarp, time.monotonic())

    def tell(self, slot: int, mac: bytes | None, state: NeighbourState) -> None:
        super().tell(slot, mac, state)
        self.core.set_neighbour(slot, mac, state)

    def want(self, address: Address = PEER, slot: int = 0) -> None:
        self.neighbours.want(slot, "mem:a", address, self.asker, time.monotonic())

    def step(self) -> None:
        self.cable.carry(self.core)
        now = time.monotonic()
        while (record := self.worker.take_punted()) is not None:
            self.punts.punted(record, now)
        self.punts.advance(now)
        self.advance()
