"""Network namespaces of Linux without a name: hosts on one machine, for `gfwd lab`, the benchmark and the tests.

Such a namespace lives as long as a file descriptor or a process keeps it. So the kernel takes away everything in it,
interfaces too, when the process that made it ends, whichever way it ends.
"""

import ctypes
import errno
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any

from gfwd.errors import GfwdError

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_OF_THIS_THREAD = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


class Namespace(AbstractContextManager["Namespace"]):
    """A new network namespace, in which only the loopback interface is, and is down. Needs root."""

    def __init__(self) -> None:
        with _home():
            _call("unshare", _CLONE_NEWNET)
            self._fd = os.open(_OF_THIS_THREAD, os.O_RDONLY | os.O_CLOEXEC)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it: it ends with the last process or socket in it. Calling it twice does no harm."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def fileno(self) -> int:
        """For whoever moves an interface here by file descriptor."""
        return self._fd

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread is in the namespace meanwhile; sockets that it opens belong here for good."""
        with _home():
            _call("setns", self._fd, _CLONE_NEWNET)
            yield

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM, protocol: int = 0) -> socket.socket:
        """A socket of this namespace, for use from anywhere."""
        with self.inside():
            return socket.socket(family, kind, protocol)

    def start(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        stdin: IO[Any] | int | None = subprocess.DEVNULL,
        stdout: IO[Any] | int | None = None,
        stderr: IO[Any] | int | None = None,
        text: bool = True,
    ) -> "subprocess.Popen[Any]":
        """Start a program in the namespace. It gets SIGKILL when the calling thread ends: nothing outlives us."""
        dies_with_us = ("setpriv", "--pdeathsig", "KILL", "--")  # util-linux, which every Linux has
        with self.inside():
            return subprocess.Popen([*dies_with_us, *command], stdin=stdin, stdout=stdout, stderr=stderr, text=text)


@contextmanager
def _home() -> Iterator[None]:
    """The calling thread comes back to the namespace that it is in now."""
    home = os.open(_OF_THIS_THREAD, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            yield
        finally:
            _call("setns", home, _CLONE_NEWNET)
    finally:
        os.close(home)


def _call(function: str, *arguments: int) -> None:
    """A call of the C library, with its error as a GfwdError."""
    if getattr(_libc, function)(*arguments) == 0:
        return
    code = ctypes.get_errno()
    advice = "; run it as root" if code in (errno.EPERM, errno.EACCES) else ""
    raise GfwdError(f"network namespaces: error: {function}: {os.strerror(code)}{advice}")
