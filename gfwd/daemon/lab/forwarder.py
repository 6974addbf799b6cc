"""The forwarder of the lab: gfwd itself, as the command that an operator starts, in a network namespace."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager, ExitStack
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

from gfwd import system
from gfwd.daemon.namespaces import Namespace
from gfwd.errors import GfwdError
from gfwd.metrics.ledger import Ledger, RuleCount
from gfwd.native.core import CopyLedger, Count, FrameLedger

IN, OUT = "in0", "out0"
"""The interfaces that it forwards between."""

_READY = b"forwarding"  # in a line on its stderr
_READY_S = 20.0
_STOPPING_S = 10.0
_LOOK_S = 0.02


def own_command() -> list[str]:
    """How to start gfwd itself once more."""
    if system.is_binary:
        return [sys.argv[0]]
    return [sys.executable, "-m", "gfwd"]


class Account(NamedTuple):
    """What a forwarder has said at its end: its ledgers, and the whole of it as it was written."""

    ledger: Ledger
    written: dict[str, Any]


class Forwarder(AbstractContextManager["Forwarder"]):
    """A running `gfwd run` that is ready to forward. rules: a file's path; or the rules themselves, as `text`.

    What it says goes to files without a name, which nobody has to empty meanwhile, and which leave nothing behind.
    """

    def __init__(self, namespace: Namespace, rules: str, text: str | None) -> None:
        with ExitStack() as stack:
            self._said = stack.enter_context(TemporaryFile())
            self._result = stack.enter_context(TemporaryFile())
            given = stack.enter_context(TemporaryFile())
            given.write((text or "").encode())
            given.seek(0)
            # A session of its own (util-linux): the ^C of a terminal is meant for us, and what is on its way then has
            # yet to be forwarded and counted.
            run = ("run", "--rules", rules, "--in", f"xdp:{IN}", "--out", f"xdp:{OUT}", "--listen", "all", "--json")
            self._process = namespace.start(
                ["setsid", *own_command(), *run], stdin=given, stdout=self._result, stderr=self._said
            )
            stack.callback(self._end)
            self._wait_until_ready()
            self._stack = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        """End it at once, where it has not ended yet."""
        self._stack.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def said(self) -> str:
        """All that it has written to stderr."""
        return _content(self._said).decode(errors="replace").strip()

    def stop(self) -> Account:
        """Let it send what it still holds, and end. Raises GfwdError where it has failed, with what it has said."""
        if not self.has_ended():
            self._process.terminate()
        try:
            status = self._process.wait(_STOPPING_S)
        except subprocess.TimeoutExpired:
            raise self._failure(f"did not end within {_STOPPING_S:.0f} s") from None
        if status != 0:
            raise self._failure(_ending(status))
        try:
            return _account(json.loads(_content(self._result)))
        except (ValueError, KeyError, TypeError) as error:
            raise self._failure(f"ended without its ledgers ({type(error).__name__}: {error})") from None

    def _end(self) -> None:
        if not self.has_ended():
            self._process.kill()
            self._process.wait()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_S
        while _READY not in _content(self._said):
            if self.has_ended():
                raise self._failure(f"{_ending(self._process.returncode)} before it was ready")
            if time.monotonic() > deadline:
                raise self._failure(f"was not ready within {_READY_S:.0f} s")
            time.sleep(_LOOK_S)

    def _failure(self, what: str) -> GfwdError:
        said = self.said()
        return GfwdError(f"gfwd run: error: it {what}" + (f"; it said:\n{said}" if said else ", and said nothing"))


def _content(file: IO[bytes]) -> bytes:
    """All that the other process has written so far, without a move of the place where it writes on: both have one."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


def _ending(status: int) -> str:
    return f"ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"


def _account(written: dict[str, Any]) -> Account:
    """Read back what Ledger.as_json() has written."""
    ledger = Ledger(
        frames=FrameLedger(**{name: written[name] for name in FrameLedger._fields}),
        collectors={name: CopyLedger(**copies) for name, copies in written["collectors"].items()},
        rules=tuple(
            RuleCount(place, rule["rule"], Count(rule["packets"], rule["bytes"]))
            for place, rule in written["rules"].items()
        ),
    )
    return Account(ledger, written)
