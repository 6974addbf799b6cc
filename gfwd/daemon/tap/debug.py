"""Shows what a gfwd does, in a process beside it: what exporters send is decoded there, so that hostile bytes cannot
hurt the one that forwards, nor does the decoding hold up its neighbours and links.

It begins before anything else does: a process with threads cannot be doubled safely.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Final

from gfwd.daemon.tap.want import Want

_END_S: Final = 5.0  # to print what is left; whoever reads it may be slow
_TOO_SLOW: Final = f"its lines were not read within {_END_S:.0f} s of the end; an unknown number is not shown"
_DEAF: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class Debug(AbstractContextManager["Debug"]):
    """want: what is shown. show: does so, in that process, with what comes by the socket, to its end; returns the exit
    status. At the end of the block, it has ended.
    """

    def __init__(self, want: Want, show: Callable[[socket.socket], int]) -> None:
        self.want = want
        self._ours, its = socket.socketpair()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        self._pid = os.fork()
        if self._pid == 0:
            self._ours.close()
            _show(its, show)
        its.close()

    def connection(self) -> socket.socket:
        """Where it listens."""
        return self._ours.dup()

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        end = time.monotonic() + _END_S
        while not self._has_ended():
            if time.monotonic() > end:
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
                with suppress(OSError):
                    print(f"gfwd run --debug: note: {_TOO_SLOW}", file=sys.stderr, flush=True)
                return
            time.sleep(0.01)

    def _has_ended(self) -> bool:
        return os.waitpid(self._pid, os.WNOHANG)[0] != 0


def _show(its: socket.socket, show: Callable[[socket.socket], int]) -> None:
    """Does not come back. What a terminal sends to both of us is for the other one, whose end is ours."""
    status = 1
    try:
        for number in _DEAF:
            signal.signal(number, signal.SIG_IGN)
        status = show(its)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        pass  # whoever read it has left, and knows
    except Exception as error:
        with suppress(Exception):
            print(f"gfwd run --debug: error: nothing more is shown: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)
