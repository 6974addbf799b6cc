"""Frames to a pcap file, as they were captured: stamps in nanoseconds, and the length on the wire."""

import struct
from typing import BinaryIO, Final

from gfwd.daemon.capture.file import Frame

_NS: Final = 1_000_000_000
_SECONDS_MOST: Final = 0xFFFFFFFF
_SNAPLEN: Final = 262_144
_HEADER: Final = struct.Struct("<IHHiIII")
_RECORD: Final = struct.Struct("<IIII")
_ETHERNET: Final = 1


class CaptureWriter:
    """A pcap file has one link type, that of its first frame; frames of another one are left out, and counted
    (left_out). finish() writes the header of a file that got no frame.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.written = 0
        self.left_out = 0
        self._file = file
        self._link_type: int | None = None

    def put(self, frame: Frame) -> None:
        if self._link_type is None:
            self._begin(frame.link_type)
        if frame.link_type != self._link_type:
            self.left_out += 1
            return
        seconds, fraction = divmod(frame.time, _NS)
        seconds = min(max(seconds, 0), _SECONDS_MOST)  # what the format has room for
        self._file.write(_RECORD.pack(seconds, fraction, len(frame.data), frame.length) + frame.data)
        self.written += 1

    def finish(self) -> None:
        if self._link_type is None:
            self._begin(_ETHERNET)

    def _begin(self, link_type: int) -> None:
        self._link_type = link_type
        self._file.write(_HEADER.pack(0xA1B23C4D, 2, 4, 0, 0, _SNAPLEN, link_type))
