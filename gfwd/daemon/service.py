"""The loop of a gfwd that runs: signals, news, what is due, reload. See forwarder.py for what it keeps right."""

import os
import selectors
import time
from collections.abc import Callable, Sequence

from gfwd import __version__
from gfwd.daemon import names, signals
from gfwd.daemon.control import Control, Question, Reply
from gfwd.daemon.forwarder import Forwarder, Setting
from gfwd.daemon.job import Run, listened_on
from gfwd.daemon.ports import Say
from gfwd.daemon.reload import Fresh, Reader
from gfwd.daemon.report import Report
from gfwd.daemon.workers import Threads
from gfwd.errors import GfwdError, UsageError
from gfwd.metrics.words import many
from gfwd.native.core import Worker
from gfwd.rules.model import Prefix

_COMPLAINTS_S = 10.0

Own = Callable[[Run], tuple[Prefix, ...]]
"""The addresses that are ours, as they are now."""
Render = Callable[[Report], str]
"""A report for people."""


def setting_of(fresh: Fresh, own: tuple[Prefix, ...]) -> Setting:
    """Raises UsageError where it cannot be."""
    job = fresh.job
    names.refuse_own(job.rules.path, own, fresh.addresses)
    listen = listened_on(job.rules, job.listen)
    return Setting(rules=job.rules, own=own, listen=listen, addresses=fresh.addresses, macs=job.macs)


class Service:
    """job: as it was started. own: see Own. say: takes a line for the log. render: see Render."""

    def __init__(self, forwarder: Forwarder, job: Run, reader: Reader, own: Own, say: Say, render: Render) -> None:
        self._forwarder, self._job, self._reader, self._own = forwarder, job, reader, own
        self._say, self._render = say, render
        self._started = time.monotonic()
        self._is_over = False
        self._complained = "", 0.0  # of what, and when
        self._askers: list[tuple[Reply, bool]] = []  # who wants to hear of a reload, and whether it is only to be tried

    def serve(
        self,
        kernel: int,
        workers: Sequence[Worker],
        threads: Threads,
        heard: signals.Signals,
        control: Control | None,
    ) -> None:
        """Until somebody says stop, or no worker is left. kernel: a file descriptor, readable when there are news."""
        self._say(self._forwarder.ready_text())
        ears = [kernel, threads.fileno(), heard.fileno(), self._reader.fileno(), *(its.fileno() for its in workers)]
        with selectors.DefaultSelector() as selector:
            for ear in ears if control is None else [*ears, control.fileno()]:
                selector.register(ear, selectors.EVENT_READ)
            while not self._is_over and not threads.all_have_ended():
                selector.select(self._seconds_to_wait(control))
                threads.listen()
                self._obey(heard.taken())
                if control is not None:
                    control.look()
                self._reload()
                try:
                    self._forwarder.advance()
                except GfwdError as error:
                    self._complain(str(error))

    def _seconds_to_wait(self, control: Control | None) -> float | None:
        """None: until something comes."""
        deadlines = (self._forwarder.deadline(), None if control is None else control.deadline())
        earliest = min((when for when in deadlines if when is not None), default=None)
        return None if earliest is None else max(0.0, earliest - time.monotonic())

    def _complain(self, text: str) -> None:
        """What goes wrong again and again is said now and then."""
        last, when = self._complained
        now = time.monotonic()
        if text != last or now - when > _COMPLAINTS_S:
            self._complained = text, now
            self._say(text)

    # ---- what is asked ----

    def _obey(self, taken: frozenset[int]) -> None:
        self._is_over |= bool(taken & signals.STOP)
        if taken & signals.STATUS:
            self._say(self._render(self._forwarder.report()))
        if taken & signals.RELOAD:
            self._ask_for_reload(_nobody, dry_run=False)

    def asked(self, question: Question, reply: Reply) -> None:
        """A question that came by the control socket."""
        do = question.get("do")
        if do == "status":
            report = self._forwarder.report()
            reply(self._render(report) if question.get("text") else {**self._about(), **report.as_json()})
        elif do == "neighbours":
            reply([neighbour._asdict() for neighbour in self._forwarder.report().neighbours])
        elif do == "ways":
            reply([way._asdict() for way in self._forwarder.ways()])
        elif do == "reload":
            self._ask_for_reload(reply, dry_run=bool(question.get("dry_run")))
        elif do == "stop":
            self._is_over = True
            reply("stopping")
        else:
            reply(GfwdError("error: this gfwd does not know what is asked; it may be of another version"))

    def _about(self) -> dict[str, object]:
        seconds = round(time.monotonic() - self._started)
        return {"version": __version__, "pid": os.getpid(), "rules_file": self._job.rules.path, "seconds": seconds}

    # ---- reload ----

    def _ask_for_reload(self, reply: Reply, *, dry_run: bool) -> None:
        self._askers.append((reply, dry_run))
        self._reader.ask()

    def _reload(self) -> None:
        found = self._reader.taken()
        if found is None:
            return
        askers, self._askers = self._askers, []
        is_dry = all(dry_run for _, dry_run in askers)
        answer: str | GfwdError
        try:
            if isinstance(found, GfwdError):
                raise found
            answer = self._take(found, dry_run=is_dry)
        except GfwdError as error:
            answer = error
        if not is_dry:
            self._say(f"{answer}\nreload: error: nothing has changed" if isinstance(answer, GfwdError) else answer)
        for reply, _ in askers:
            reply(answer)

    def _take(self, fresh: Fresh, *, dry_run: bool) -> str:
        """Returns what was done. Raises GfwdError, and then nothing has changed."""
        _refuse_change(self._job, fresh.job)
        own = self._own(fresh.job)
        if not own:
            raise UsageError("error: no address is left that could be gfwd's")
        setting = setting_of(fresh, own)
        if not dry_run:
            self._forwarder.take(setting, fresh.space)
            self._job = fresh.job
        rules = fresh.job.rules
        done = "could be reloaded" if dry_run else "reloaded"
        return f"{rules.path}: {done}, {many(len(rules.rules), 'rule')}, {many(len(rules.collectors()), 'collector')}"


def _nobody(_: object) -> None:
    """Who asked by a signal reads the log."""


def _refuse_change(before: Run, after: Run) -> None:
    """Of what only a new process can have. Raises UsageError."""
    fixed = {
        "the ports": (before.inputs, before.outputs) != (after.inputs, after.outputs),
        "the workers": (before.workers, before.cpus) != (after.workers, after.cpus),
        "the control socket": before.control != after.control,
    }
    changed = [what for what, has_changed in fixed.items() if has_changed]
    if changed:
        raise UsageError(f"error: {' and '.join(changed)} cannot change while gfwd runs; restart it")
