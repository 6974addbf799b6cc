"""A gfwd of the tests' own, on FreeBSD."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

COMMAND = tuple(shlex.split(os.environ.get("GFWD_COMMAND", ""))) or (sys.executable, "-m", "gfwd")
"""Of these sources, or another, such as the single binary."""
PATIENCE_S = 60.0
"""How long a test waits for what must happen: long, since the machine may be an emulated one."""


class Running:
    """`gfwd run` with these arguments, killed at the end at the latest. before: a command that starts it."""

    def __init__(self, stack: ExitStack, folder: Path, *arguments: str, before: tuple[str, ...] = ()) -> None:
        self._log, self._report = folder / "log", folder / "report"
        with self._log.open("wb") as log, self._report.open("wb") as report:
            self._process = subprocess.Popen(
                [*before, *COMMAND, "run", "--json", *arguments], stdout=report, stderr=log
            )
        stack.callback(self._end)
        self.wait_for("forwarding from")

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()

    def wait_for(self, text: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while text not in self.said():
            assert self._process.poll() is None and time.monotonic() < end, self.said()
            time.sleep(0.05)

    def said(self) -> str:
        return self._log.read_text("utf-8")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stop(self, status: int = 0) -> dict[str, Any]:
        """What it reports at the end."""
        self.signal(signal.SIGINT)
        return self.ended(status)

    def ended(self, status: int = 0) -> dict[str, Any]:
        """Likewise, where somebody else has stopped it."""
        assert self._process.wait(PATIENCE_S) == status, self.said()
        report: dict[str, Any] = json.loads(self._report.read_text("utf-8").splitlines()[-1])
        return report
