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
_BIOCIMMEDIATE = 0x80044270
_BIOCSHDRCMPLT = 0x80044275
_BIOCSSEESENT = 0x80044277
_BUFFER_BYTES = 1 << 19
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


class Peer:
    """A host at an interface, with a MAC and an IPv4 address. Answers ARP; keeps whatever else is to its MAC."""

    def __init__(self, interface: str, mac: bytes, address: Address) -> None:
        self.mac, self.address = mac, address
        self.frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._device = os.open("/dev/bpf", os.O_RDWR)
        ioctl(self._device, _BIOCSBLEN, struct.pack("I", _BUFFER_BYTES))
        ioctl(self._device, _BIOCSETIF, struct.pack("16s16x", interface.encode()))
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
