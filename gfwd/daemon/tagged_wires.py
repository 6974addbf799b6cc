"""VLANs behind interfaces of Linux for which the host has no interface of its own: who is there is asked in frames with
a tag, through a packet(7) socket, since the kernel keeps no neighbours there.

The kernel takes the tag off what comes in, and says beside the frame which one it was; here it is put back. Of all that
comes in, a filter lets only ARP and IPv6's neighbour discovery by.
"""

import select
import socket
import struct
from array import array
from contextlib import AbstractContextManager, suppress
from typing import Final

from gfwd import system
from gfwd.errors import GfwdError
from gfwd.native.core import NONE, Record

_ETH_P_ALL = 0x0003  # linux/if_ether.h
_ETH_P_ARP = 0x0806
_ETH_P_IPV6 = 0x86DD
_ETH_P_8021Q = 0x8100
_SOL_PACKET = 263  # linux/socket.h
_PACKET_AUXDATA = 8  # linux/if_packet.h
_PACKET_IGNORE_OUTGOING = 23
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_AUXDATA: Final = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata
_TP_STATUS_VLAN_VALID = 1 << 4
_FRAME_MOST = 9_216
_TAKEN_MOST = 256  # at once, so that a flood does not keep the caller
_MACS_BYTES = 12

# linux/filter.h: of what is beside the frame, its protocol, and whether it had a tag.
_AD_PROTOCOL, _AD_TAG_PRESENT = 0xFFFFF000, 0xFFFFF000 + 48
_LD, _LD_BYTE, _JEQ, _JGT, _JGE, _RET = 0x20, 0x30, 0x15, 0x25, 0x35, 0x06
_IPV6_NEXT_HEADER, _ICMPV6_TYPE = 14 + 6, 14 + 40
_ICMPV6, _ND_FIRST, _ND_LAST = 58, 133, 136
# Operation, how many to skip where it holds, and where it does not, operand; the last two: take it, leave it.
_FILTER: Final = (
    (_LD, 0, 0, _AD_TAG_PRESENT),
    (_JEQ, 9, 0, 0),
    (_LD, 0, 0, _AD_PROTOCOL),
    (_JEQ, 6, 0, _ETH_P_ARP),
    (_JEQ, 0, 6, _ETH_P_IPV6),
    (_LD_BYTE, 0, 0, _IPV6_NEXT_HEADER),
    (_JEQ, 0, 4, _ICMPV6),
    (_LD_BYTE, 0, 0, _ICMPV6_TYPE),
    (_JGT, 2, 0, _ND_LAST),
    (_JGE, 0, 1, _ND_FIRST),
    (_RET, 0, 0, _FRAME_MOST),
    (_RET, 0, 0, 0),
)


class TaggedWires(AbstractContextManager["TaggedWires"]):
    """By interface, opened when something is first sent there. fileno() is readable when something has come."""

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}  # by the core's number of the port
        self._bell = select.epoll() if system.NAME == "Linux" else None

    def __exit__(self, *_: object) -> None:
        for its in self._sockets.values():
            its.close()
        if self._bell is not None:
            self._bell.close()

    def filenos(self) -> tuple[int, ...]:
        return () if self._bell is None else (self._bell.fileno(),)

    def wire(self, port: int, interface: str) -> "TaggedWire":
        return TaggedWire(self, port, interface)

    def send(self, port: int, interface: str, frame: bytes) -> bool:
        """False: not now. Raises GfwdError where it cannot be sent at all."""
        its = self._sockets.get(port) or self._open(port, interface)
        try:
            its.send(frame)
        except OSError:  # the link is down, or there is no room
            return False
        return True

    def taken(self) -> list[Record]:
        """What has come, or some of it, and then fileno() stays readable."""
        return [Record(0, port, NONE, 0, 0, frame) for port, its in self._sockets.items() for frame in _frames(its)]

    def _open(self, port: int, interface: str) -> socket.socket:
        if self._bell is None:
            raise GfwdError(
                f"{interface}: error: this host has no interface for the VLAN, by which neighbours could be asked for; "
                f"make one: ifconfig vlan create vlan NUMBER vlandev {interface} up"
            )
        try:
            its = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except OSError as error:
            raise GfwdError(
                f"{interface}: error: {error.strerror}: neighbours in a VLAN cannot be asked for"
            ) from error
        try:
            its.setblocking(False)
            _attach_filter(its)
            its.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
            with suppress(OSError):  # kernels before 4.20; then our own questions are heard, and let be
                its.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            its.bind((interface, _ETH_P_ALL))
        except OSError as error:
            its.close()
            raise GfwdError(
                f"{interface}: error: {error.strerror}: neighbours in a VLAN cannot be asked for"
            ) from error
        self._bell.register(its, select.EPOLLIN)
        self._sockets[port] = its
        return its


class TaggedWire:
    """One interface of them. Two of the same are equal."""

    def __init__(self, wires: TaggedWires, port: int, interface: str) -> None:
        self._wires, self._port, self._interface = wires, port, interface

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaggedWire) and (self._wires, self._port) == (other._wires, other._port)

    def __hash__(self) -> int:
        return hash(self._port)

    def __call__(self, port: int, frame: bytes) -> bool:
        """As Worker.inject."""
        return self._wires.send(port, self._interface, frame)


def _attach_filter(its: socket.socket) -> None:
    code = array("B", b"".join(struct.pack("=HBBI", *step) for step in _FILTER))
    program = struct.pack("HP", len(_FILTER), code.buffer_info()[0])  # struct sock_fprog
    its.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _frames(its: socket.socket) -> list[bytes]:
    found: list[bytes] = []
    for _ in range(_TAKEN_MOST):
        try:
            frame, beside, *_ = its.recvmsg(_FRAME_MOST, socket.CMSG_SPACE(_AUXDATA.size))
        except OSError:  # there is no more, or the link is down, which is said once
            break
        tag = next((_tag(data) for level, kind, data in beside if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA)), b"")
        found.append(frame[:_MACS_BYTES] + tag + frame[_MACS_BYTES:])
    return found


def _tag(beside: bytes) -> bytes:
    if len(beside) < _AUXDATA.size:
        return b""
    status, *_, control, kind = _AUXDATA.unpack_from(beside)
    return struct.pack(">HH", kind or _ETH_P_8021Q, control) if status & _TP_STATUS_VLAN_VALID else b""
