"""The far end of a cable on FreeBSD: a host that the test plays, through a BPF device (bpf(4))."""

from __future__ import annotations

import os
import queue
import select
import struct
import subprocess
import threading
from contextlib import suppress
from fcntl import ioctl

from gfwd.l2 import arp
from gfwd.l2.errors import FrameError
from gfwd.rules.model import Address

_BIOCSBLEN = 0xC0044266  # net/bpf.h
_BIOCSETIF = 0x8020426C
_BIOCPROMISC = 0x20004269
_BIOCIMMEDIATE = 0x80044270
_BIOCSHDRCMPLT = 0x80044275
_BIOCSSEESENT = 0x80044277
_BUFFER_BYTES = 1 << 19
_FRAME_MOST = 9_216
_HEADER = struct.Struct("=16xIIH")  # struct bpf_hdr: time, captured, length, its own length


def sh(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Cable:
    """A new pair of interfaces; `name` is ours, `far` the other end."""

    def __init__(self) -> None:
        self.name = sh("ifconfig", "epair", "create").strip()
        self.far = self.name[:-1] + "b"
        sh("ifconfig", self.name, "up")
        sh("ifconfig", self.far, "up")

    def close(self) -> None:
        subprocess.run(["ifconfig", self.name, "destroy"], check=False, capture_output=True)


class RelayedCable:
    """Likewise, of two tap(4) interfaces, and what the one sends is copied to the other.

    For a far end where the kernel itself answers: it does so in the buffer that a question came in, and 13.2 panics
    where netmap's emulation gets its own buffer back through an epair (generic_mbuf_destructor).
    """

    def __init__(self) -> None:
        self.name, self.far = (sh("ifconfig", "tap", "create").strip() for _ in range(2))
        self._ends = [os.open(f"/dev/{name}", os.O_RDWR | os.O_NONBLOCK) for name in (self.name, self.far)]
        self._is_over = threading.Event()
        sh("ifconfig", self.name, "up")
        sh("ifconfig", self.far, "up")
        self._thread = threading.Thread(target=self._relay)
        self._thread.start()

    def _relay(self) -> None:
        near, far = self._ends
        to = {near: far, far: near}
        while not self._is_over.is_set():
            for end in select.select(self._ends, [], [], 0.05)[0]:
                with suppress(OSError):  # there is none any more, or the other end is down: lost, as on a wire
                    os.write(to[end], os.read(end, _FRAME_MOST))

    def close(self) -> None:
        """Calling it twice does no harm."""
        if self._is_over.is_set():
            return
        self._is_over.set()
        self._thread.join()
        for end in self._ends:
            os.close(end)
        for name in (self.name, self.far):
            subprocess.run(["ifconfig", name, "destroy"], check=False, capture_output=True)


class Peer:
    """A host at an interface, with a MAC and an IPv4 address. Answers ARP; keeps whatever else is to its MAC."""

    def __init__(self, interface: str, mac: bytes, address: Address) -> None:
        self.mac, self.address = mac, address
        self.frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._device = os.open("/dev/bpf", os.O_RDWR)
        ioctl(self._device, _BIOCSBLEN, struct.pack("I", _BUFFER_BYTES))
        ioctl(self._device, _BIOCSETIF, struct.pack("16s16x", interface.encode()))
        ioctl(self._device, _BIOCPROMISC)  # a tap(4) keeps back what is to another MAC than its own
        for request, value in ((_BIOCIMMEDIATE, 1), (_BIOCSHDRCMPLT, 1), (_BIOCSSEESENT, 0)):
            ioctl(self._device, request, struct.pack("I", value))
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def send(self, frame: bytes) -> None:
        os.write(self._device, frame)

    def mac_of(self, address: Address) -> bytes:
        """Asks for it."""
        self.send(arp.build(arp.request(self.mac, self.address, address)))
        return arp.parse(self.frames.get(timeout=5)).sender_mac

    def close(self) -> None:
        self._is_over.set()
        self._thread.join()
        os.close(self._device)

    def _read(self) -> None:
        while not self._is_over.is_set():
            if not select.select([self._device], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(self._device, _BUFFER_BYTES)
            except OSError:  # the interface is gone
                return
            while data:
                captured, _, length = _HEADER.unpack_from(data)
                self._take(data[length : length + captured])
                data = data[-(-(length + captured) // 8) * 8 :]

    def _take(self, frame: bytes) -> None:
        with suppress(FrameError):
            question = arp.parse(frame)
            if question.operation == arp.REQUEST:
                if question.target == self.address:
                    self.send(arp.build(arp.reply(question, self.mac)))
                return
        if frame[:6] == self.mac:
            self.frames.put(frame)
