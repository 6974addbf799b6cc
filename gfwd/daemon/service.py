"""The loop of a gfwd that runs: signals, news, what is due, reload. See forwarder.py for what it keeps right."""

import selectors
import time
from collections.abc import Callable, Sequence

from gfwd.daemon import names, signals
from gfwd.daemon.forwarder import Forwarder, Setting
from gfwd.daemon.job import Run, listened_on
from gfwd.daemon.ports import Say
from gfwd.daemon.reload import Fresh, Reader
from gfwd.daemon.report import Report
from gfwd.daemon.workers import Threads
from gfwd.errors import GfwdError, UsageError
from gfwd.native.core import Worker
from gfwd.rules.model import Prefix

Own = Callable[[Run], tuple[Prefix, ...]]
"""The addresses that are ours, as they are now."""


def setting_of(fresh: Fresh, own: tuple[Prefix, ...]) -> Setting:
    """Raises UsageError where it cannot be."""
    job = fresh.job
    names.refuse_own(job.rules.path, own, fresh.addresses)
    listen = listened_on(job.rules, job.listen)
    return Setting(rules=job.rules, own=own, listen=listen, addresses=fresh.addresses, macs=job.macs)


class Service:
    """job: as it was started. own: see Own. say: takes a line for the log."""

    def __init__(self, forwarder: Forwarder, job: Run, reader: Reader, own: Own, say: Say) -> None:
        self._forwarder, self._job, self._reader, self._own, self._say = forwarder, job, reader, own, say

    def serve(
        self,
        kernel: int,
        workers: Sequence[Worker],
        threads: Threads,
        heard: signals.Signals,
        show: Callable[[Report], None],
    ) -> None:
        """Until a signal says stop, or no worker is left. kernel: a file descriptor, readable when there are news.

        `show` gets the report where a signal asks for it.
        """
        self._say(self._forwarder.ready_text())
        with selectors.DefaultSelector() as selector:
            ears = [kernel, threads.fileno(), heard.fileno(), self._reader.fileno(), *(its.fileno() for its in workers)]
            for ear in ears:
                selector.register(ear, selectors.EVENT_READ)
            while not threads.all_have_ended():
                deadline = self._forwarder.deadline()
                selector.select(None if deadline is None else max(0.0, deadline - time.monotonic()))
                taken = heard.taken()
                if taken & signals.STOP:
                    return
                if taken & signals.STATUS:
                    show(self._forwarder.report())
                if taken & signals.RELOAD:
                    self._reader.ask()
                threads.listen()
                self._reload()
                try:
                    self._forwarder.advance()
                except GfwdError as error:
                    self._say(str(error))

    def _reload(self) -> None:
        found = self._reader.taken()
        if found is None:
            return
        try:
            if isinstance(found, GfwdError):
                raise found
            self._take(found)
        except GfwdError as error:
            self._say(f"{error}\nreload: error: nothing has changed")

    def _take(self, fresh: Fresh) -> None:
        """Raises GfwdError, and then nothing has changed."""
        _refuse_change(self._job, fresh.job)
        own = self._own(fresh.job)
        if not own:
            raise UsageError("error: no address is left that could be gfwd's")
        self._forwarder.take(setting_of(fresh, own), fresh.space)
        rules = fresh.job.rules
        self._say(f"{rules.path}: reloaded, {len(rules.rules):,} rules, {len(rules.collectors()):,} collectors")


def _refuse_change(before: Run, after: Run) -> None:
    """Of what only a new process can have. Raises UsageError."""
    fixed = {
        "the ports": (before.inputs, before.outputs) != (after.inputs, after.outputs),
        "the workers": (before.workers, before.cpus) != (after.workers, after.cpus),
    }
    changed = [what for what, has_changed in fixed.items() if has_changed]
    if changed:
        raise UsageError(f"error: {' and '.join(changed)} cannot change while gfwd runs; restart it")
