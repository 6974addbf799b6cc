"""An access switch between two cables: on the trunk, frames of one VLAN have its tag; on the access port, none.

Kernels without VLAN interfaces can be at both ends. It is a thread of the test, with a packet(7) socket on each side.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from contextlib import AbstractContextManager, suppress

from tests.net.network import Host

_ETH_P_ALL = 0x0003  # linux/if_ether.h
_SOL_PACKET = 263
_PACKET_AUXDATA = 8  # linux/if_packet.h
_PACKET_IGNORE_OUTGOING = 23
_SO_RCVBUFFORCE = 33
_VLAN_VALID = 1 << 4
_AUXDATA = struct.Struct("=IIIHHHH")


class AccessSwitch(AbstractContextManager["AccessSwitch"]):
    """trunk, access: interfaces of the host that plays it. passed: how many frames went on, each way. others: how many
    came by the trunk without the tag, or with another one, and went nowhere.
    """

    def __init__(self, its: Host, trunk: str, access: str, vlan: int) -> None:
        self._vlan = vlan
        self.to_access = self.to_trunk = self.others = 0
        self._trunk, self._access = _socket(its, trunk), _socket(its, access)
        self._wake, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.send(b".")
        self._thread.join()
        for one in (self._trunk, self._access, self._wake, self._end):
            one.close()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._trunk, self._access, self._wake], [], [])
            if self._wake in ready:
                return
            with suppress(OSError):  # a link that is down says so
                if self._trunk in ready:
                    self._down()
                if self._access in ready:
                    self._up()

    def _down(self) -> None:
        frame, beside, *_ = self._trunk.recvmsg(16_384, socket.CMSG_SPACE(_AUXDATA.size))
        tag = _tag_of(frame, beside)
        if tag is None or tag & 0xFFF != self._vlan:
            self.others += 1
            return
        self.to_access += 1
        self._access.send(frame[:12] + frame[16:] if frame[12:14] == b"\x81\x00" else frame)

    def _up(self) -> None:
        frame = self._access.recv(16_384)
        self.to_trunk += 1
        self._trunk.send(frame[:12] + struct.pack(">HH", 0x8100, self._vlan) + frame[12:])


def _socket(its: Host, interface: str) -> socket.socket:
    made = its.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
    made.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
    made.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    made.bind((interface, _ETH_P_ALL))
    return made


def _tag_of(frame: bytes, beside: list[tuple[int, int, bytes]]) -> int | None:
    """The kernel takes the tag out of the frame, and says it beside it."""
    for level, kind, data in beside:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, *_, control, _ = _AUXDATA.unpack_from(data)
            if status & _VLAN_VALID:
                return int(control)
    return int.from_bytes(frame[14:16]) if frame[12:14] == b"\x81\x00" else None
