"""Where lines of the log go. All of them may wait, and raise OSError where lines could not be written."""

import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

from gfwd.daemon.log.event import Level

_SYSLOG: Final = ("/dev/log", "/var/run/log")  # Linux, FreeBSD
_DAEMON: Final = 3 << 3  # the facility (RFC 5424, 6.2.1)
_SYSLOG_S: Final = 1.0  # for what syslog has no room for at once


class Output(Protocol):
    is_timed: bool
    """Whether lines of text must say themselves when they were written."""

    def write(self, level: Level, lines: Sequence[str]) -> None: ...

    def close(self) -> None: ...


class StandardError:
    """As it was when gfwd was started."""

    is_timed = False  # a service manager puts the time before them

    def __init__(self) -> None:
        # Nobody else may have got its number, where whoever has started us has closed it.
        self._fd = None if sys.stderr is None else sys.stderr.fileno()
        self._encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding

    def write(self, _level: Level, lines: Sequence[str]) -> None:
        if self._fd is None:
            return
        data = "".join(f"{line}\n" for line in lines).encode(self._encoding, "backslashreplace")
        try:
            _write_all(self._fd, data)
        except BrokenPipeError:  # nobody listens any more, nor will
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._fd)

    def close(self) -> None:
        """It is not ours."""


class File:
    """A file that lines are appended to. Where it is moved away, or removed, another one is made."""

    is_timed = True

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None
        self._is_torn = False  # it ends in the middle of a line

    def write(self, _level: Level, lines: Sequence[str]) -> None:
        if self._fd is None or not self._is_in_its_place(self._fd):
            self.close()
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            self._is_torn = False
        data = "\n" * self._is_torn + "".join(f"{line}\n" for line in lines)
        self._is_torn = True
        _write_all(self._fd, data.encode("utf-8", "backslashreplace"))
        self._is_torn = False

    def close(self) -> None:
        if self._fd is not None:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = None

    def _is_in_its_place(self, fd: int) -> bool:
        with suppress(OSError):
            return os.path.samestat(os.stat(self._path), os.fstat(fd))
        return False


class Syslog:
    """The host's syslog, by its local socket. Each line is a message."""

    is_timed = False

    def __init__(self, paths: Sequence[str] = _SYSLOG) -> None:
        self._paths = paths
        self._socket: socket.socket | None = None

    def write(self, level: Level, lines: Sequence[str]) -> None:
        for line in lines:
            data = f"<{_DAEMON | level}>gfwd[{os.getpid()}]: {line}".encode("utf-8", "backslashreplace")
            if self._socket is not None:
                try:
                    self._socket.send(data)
                    continue
                except TimeoutError:
                    raise
                except OSError:  # another syslog may be there by now
                    self.close()
            self._socket = self._connect()
            self._socket.send(data)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        path = next((path for path in self._paths if os.path.exists(path)), self._paths[0])
        its = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        its.settimeout(_SYSLOG_S)
        try:
            its.connect(path)
        except OSError:
            its.close()
            raise
        return its


def output(to: str) -> Output:
    """What [log] calls `to`."""
    return StandardError() if to == "stderr" else Syslog() if to == "syslog" else File(to)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
