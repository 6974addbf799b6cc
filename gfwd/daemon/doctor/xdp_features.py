"""What a driver can do with XDP, asked of the kernel's netdev family (linux/netdev.h, since Linux 6.3)."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

_NETLINK_GENERIC = 16  # linux/netlink.h
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_GENL_ID_CTRL = 16  # linux/genetlink.h
_CTRL_CMD_GETFAMILY = 3
_CTRL_ATTR_FAMILY_ID = 1
_CTRL_ATTR_FAMILY_NAME = 2
_NETDEV_CMD_DEV_GET = 1  # linux/netdev.h
_NETDEV_A_DEV_IFINDEX = 1
_NETDEV_A_DEV_XDP_FEATURES = 3
_FORWARDING = 0x1 | 0x2  # NETDEV_XDP_ACT_BASIC, _REDIRECT

_MESSAGE: Final = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_COMMAND: Final = struct.Struct("=BBxx")  # struct genlmsghdr: command, version
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct nlattr: length, type
_ANSWER_BYTES = 65_536


def of(index: int) -> int | None:
    """The features of an interface as the kernel's bits; None: this kernel cannot tell."""
    with (
        suppress(OSError, struct.error, KeyError),
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC) as kernel,
    ):
        kernel.settimeout(1)
        family = _ask(kernel, _GENL_ID_CTRL, _CTRL_CMD_GETFAMILY, _CTRL_ATTR_FAMILY_NAME, b"netdev\0")
        (its_id,) = struct.unpack_from("=H", family[_CTRL_ATTR_FAMILY_ID])
        device = _ask(kernel, its_id, _NETDEV_CMD_DEV_GET, _NETDEV_A_DEV_IFINDEX, struct.pack("=I", index))
        return int(struct.unpack("=Q", device[_NETDEV_A_DEV_XDP_FEATURES])[0])
    return None


def can_forward(features: int) -> bool:
    """Whether XDP programs run in the driver, and may hand frames to AF_XDP."""
    return features & _FORWARDING == _FORWARDING


def _ask(kernel: socket.socket, family: int, command: int, attribute: int, value: bytes) -> dict[int, bytes]:
    """One question; its answer's attributes. Raises OSError."""
    body = _COMMAND.pack(command, 1) + _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), attribute) + value
    body += bytes(-len(body) % 4)
    kernel.send(_MESSAGE.pack(_MESSAGE.size + len(body), family, _NLM_F_REQUEST, 1, 0) + body)
    answer = kernel.recv(_ANSWER_BYTES)
    if _MESSAGE.unpack_from(answer)[1] == _NLMSG_ERROR:
        raise OSError(-struct.unpack_from("=i", answer, _MESSAGE.size)[0], "the kernel refuses the question")
    return dict(_attributes(answer[_MESSAGE.size + _COMMAND.size :]))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        length = max(length, _ATTRIBUTE.size)  # so that it ends, whatever comes
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[-(-length // 4) * 4 :]
