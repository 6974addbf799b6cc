"""The log, written by a thread of its own: a disk that is full, a pipe that nobody reads, a syslog that hangs hold up
nobody else. What cannot be written is counted, and said as soon as something can.
"""

import threading
from contextlib import AbstractContextManager, suppress
from queue import Full, Queue
from typing import Final

from gfwd.config.model import LogSetting
from gfwd.daemon.log import events
from gfwd.daemon.log.event import Event, Level
from gfwd.daemon.log.lines import json_line, text_lines
from gfwd.daemon.log.outputs import Output, StandardError, output
from gfwd.metrics.words import many

_WAITING_MOST: Final = 1_000
_END_S: Final = 2.0


class Log(AbstractContextManager["Log"]):
    """Within the block, events are written. At its end, those that have been said are, if that is soon done.

    At first they go to standard error as text: nobody has said anything else yet.
    """

    def __init__(self) -> None:
        self.setting = LogSetting()
        self._waiting: Queue[Event | None] = Queue(_WAITING_MOST)
        self._counting = threading.Lock()
        self._missing = 0  # events that are not in the log, and should be
        self._open: Output = StandardError()
        self._is_open = self.setting  # what it was opened for
        self._is_failing = False
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)

    def __enter__(self) -> "Log":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Full):
            self._waiting.put(None, timeout=_END_S)
            self._thread.join(_END_S)

    def say(self, event: Event) -> None:
        """For any thread; never waits."""
        if event.kind.level > Level[self.setting.level.upper()]:
            return
        try:
            self._waiting.put_nowait(event)
        except Full:
            self._miss(1)

    def take(self, setting: LogSetting) -> None:
        """Write to there from now on."""
        self.setting = setting

    # ---- in its own thread ----

    def _work(self) -> None:
        while (event := self._waiting.get()) is not None:
            try:
                self._write(event)
            except Exception:  # what is wrong with one event must not silence all that come after it
                self._miss(1)
        self._open.close()

    def _write(self, event: Event) -> None:
        setting = self.setting
        if setting.to != self._is_open.to:
            self._open.close()
            self._open = output(setting.to)
            self._is_failing = False
        self._is_open = setting
        missing = self._taken_missing()
        try:
            if missing:
                self._put(self._open, _incomplete(missing))
                missing = 0  # which is said now, whatever becomes of the event
            self._put(self._open, event)
            self._is_failing = False
        except OSError as error:
            self._miss(missing + 1)
            self._put_on_stderr(event, error)

    def _put(self, to: Output, event: Event) -> None:
        is_json = self._is_open.format == "json"
        lines = [json_line(event)] if is_json else text_lines(event, is_timed=to.is_timed)
        to.write(event.kind.level, lines)

    def _put_on_stderr(self, event: Event, error: OSError) -> None:
        """What cannot be written where it should be is better here than nowhere."""
        if self._is_open.to == "stderr":
            return
        with suppress(OSError):
            if not self._is_failing:
                self._is_failing = True
                self._put(StandardError(), _failed(self._is_open.to, error))
            self._put(StandardError(), event)

    def _miss(self, events_missing: int) -> None:
        with self._counting:
            self._missing += events_missing

    def _taken_missing(self) -> int:
        with self._counting:
            missing, self._missing = self._missing, 0
        return missing


def _incomplete(missing: int) -> Event:
    return events.LOG_INCOMPLETE(
        f"log: warning: {many(missing, 'event')} before this one could not be written here", events=missing
    )


def _failed(to: str, error: OSError) -> Event:
    return events.LOG_FAILED(
        f"log: error: {to} cannot be written ({error.strerror or error}); what should stand there comes here until it "
        "can",
        to=to,
    )
