"""The loop of a gfwd that runs: signals, news, what is due, reload. See forwarder.py for what it keeps right."""

import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from gfwd import __version__
from gfwd.config.model import Config
from gfwd.daemon import signals
from gfwd.daemon.control import Control, GoesOn, Question, Reply
from gfwd.daemon.course import Setting
from gfwd.daemon.forwarder import Forwarder
from gfwd.daemon.listeners.exposed import Standing, metrics_page
from gfwd.daemon.listeners.metrics import MetricsListener
from gfwd.daemon.log import events
from gfwd.daemon.log.event import Event, Say
from gfwd.daemon.log.writer import Log
from gfwd.daemon.loss import LossProof
from gfwd.daemon.names import once
from gfwd.daemon.names.names import Addresses, Names
from gfwd.daemon.notify import Notify
from gfwd.daemon.reload import Fresh, Reader, Tally
from gfwd.daemon.report import Report
from gfwd.daemon.tap.streams import Streams
from gfwd.daemon.tap.want import Want
from gfwd.daemon.unknown import SORTS, UnknownExporters
from gfwd.daemon.watch import Watch
from gfwd.daemon.workers import Threads
from gfwd.errors import GfwdError, Problem, UsageError
from gfwd.metrics.words import many
from gfwd.native.core import Worker
from gfwd.rules.model import Prefix

_COMPLAINTS_S = 10.0
_REMARKS = 20
_LONGEST_S = 1e12  # nobody looks back further
_NOT_KNOWN = "error: this gfwd does not know what is asked; it may be of another version"

Own = Callable[[Config], tuple[Prefix, ...]]
"""The addresses that are ours, as they are now."""
Render = Callable[[Report], str]
"""A report for people."""


def setting_of(fresh: Fresh, own: tuple[Prefix, ...], addresses: Addresses) -> Setting:
    """addresses: those of each collector, as far as they are known. Raises UsageError where it cannot be."""
    config = fresh.config
    once.refuse_own(config.rules.path, own, addresses)
    return Setting(
        rules=config.rules,
        own=own,
        listen=fresh.listen,
        addresses=addresses,
        macs=config.macs,
        gateways=config.gateways,
        vlans={str(name): number for name, number in config.vlans.items()},
        own_of=() if config.own else config.inputs,
        icmp=config.icmp,
        rarp=config.rarp,
        resolve=config.dns.resolve,
        follow=config.loss or (),
    )


def tell_of(remarks: Sequence[Problem], say: Say) -> None:
    """Warnings about rules, as many as somebody reads."""
    for remark in remarks[:_REMARKS]:
        say(events.RULE_WARNING(str(remark), file=remark.path, line=remark.line))
    if len(remarks) > _REMARKS:
        more = len(remarks) - _REMARKS
        text = f"and {more:,} more warnings (of the same kind)"
        say(events.RULE_WARNINGS_MORE(text, file=remarks[0].path, number=more))


class _Asker(NamedTuple):
    """Who wants to hear of a reload; whether it is only to be tried, and whether it was no person who asked."""

    reply: Reply
    is_dry: bool
    is_watch: bool = False


class Service:
    """config: what it does now. own: see Own. metrics: listens where config says. log: gets whatever the operator
    should know. render: see Render. lookers: who looks at what is forwarded. notify: tells the service manager.
    """

    def __init__(
        self,
        forwarder: Forwarder,
        unknown: UnknownExporters,
        loss: LossProof,
        names: Names,
        config: Config,
        reader: Reader,
        own: Own,
        metrics: MetricsListener,
        log: Log,
        render: Render,
        lookers: Streams,
        notify: Notify,
    ) -> None:
        self._lookers = lookers
        self._forwarder, self._unknown, self._config, self._reader, self._own = forwarder, unknown, config, reader, own
        self._metrics, self._names, self._loss = metrics, names, loss
        self._loss.is_on = config.loss is not None
        self._log, self._say, self._render, self._notify = log, log.say, render, notify
        self._started = time.monotonic()
        self._reloads = Tally(last_done=time.time())
        self._started_at = self._reloads.last_done
        self._is_over = False
        self._complained = "", 0.0  # of what, and when
        self._askers: list[_Asker] = []
        self._refused: str | None = None  # why the last reload could not be
        self._watch = Watch()
        self._watch.follow(config.files() if config.watch else ())

    def serve(
        self,
        news: Sequence[int],
        workers: Sequence[Worker],
        threads: Threads,
        heard: signals.Signals,
        control: Control | None,
    ) -> None:
        """Until somebody says stop, or no worker is left. news: file descriptors, readable when the forwarder has some
        to take.
        """
        ready = self._forwarder.ready()
        self._say(ready)
        self._notify.ready(str(ready), time.monotonic())
        ears = [*news, threads.fileno(), heard.fileno(), self._reader.fileno(), *(its.fileno() for its in workers)]
        ears += self._metrics.fileno(), self._names.fileno(), self._lookers.fileno()
        with selectors.DefaultSelector() as selector:
            for ear in ears if control is None else [*ears, control.fileno()]:
                selector.register(ear, selectors.EVENT_READ)
            while not self._is_over and not threads.all_have_ended():
                selector.select(self._seconds_to_wait(control))
                threads.listen()
                self._obey(heard.taken())
                if control is not None:
                    control.look()
                self._metrics.look(self._metrics_page)
                self._loss.advance(time.monotonic())
                self._reload()
                self._look_at_files()
                try:
                    self._lookers.look()
                    self._follow_names()
                    self._forwarder.advance()
                except GfwdError as error:
                    self._complain(str(error))
                self._names.tell(self._forwarder.addresses())
                self._notify.advance(threads.rounds(), time.monotonic())
        self._notify.stopping()

    def _follow_names(self) -> None:
        """Where a name has other addresses now, copies are to go there. Raises GfwdError."""
        if self._names.advance(time.monotonic()):
            self._forwarder.move(self._names.addresses())

    def report(self, *, with_rules: bool = True) -> Report:
        """How it stands now."""
        report = self._forwarder.report(with_rules=with_rules)
        return replace(report, names=self._names.report(time.monotonic()), lookers=len(self._lookers))

    def _seconds_to_wait(self, control: Control | None) -> float | None:
        """None: until something comes."""
        watch = self._watch if not self._askers else None  # it looks at nothing while something is read
        parts = (self._forwarder, self._names, self._loss, watch, control, self._metrics, self._lookers, self._notify)
        deadlines = [one.deadline() for one in parts if one is not None]
        earliest = min((when for when in deadlines if when is not None), default=None)
        return None if earliest is None else max(0.0, earliest - time.monotonic())

    def _complain(self, text: str) -> None:
        """What goes wrong again and again is said now and then."""
        last, when = self._complained
        now = time.monotonic()
        if text != last or now - when > _COMPLAINTS_S:
            self._complained = text, now
            self._say(events.UPDATE_FAILED(text))

    # ---- what is asked ----

    def _obey(self, taken: frozenset[int]) -> None:
        for number in taken & signals.STOP:
            self._stop(signal.Signals(number).name)
        if taken & signals.STATUS:
            report = self.report()
            self._say(events.STATUS(self._render(report), report=report.as_json()))
        if taken & signals.RELOAD:
            self._ask_for_reload(_Asker(_nobody, is_dry=False))

    def asked(self, question: Question, reply: Reply) -> None:
        """A question that came by the control socket."""
        do = question.get("do")
        if do == "status":
            report = self.report()
            reply(self._render(report) if question.get("text") else {**self._about(), **report.as_json()})
        elif do == "neighbours":
            reply([neighbour._asdict() for neighbour in self._forwarder.report().neighbours])
        elif do == "ways":
            ways, health = self._forwarder.ways(), self._forwarder.health()
            names = self._names.report(time.monotonic())
            reply(
                {
                    "ways": [way.as_json() for way in ways],
                    "health": [one._asdict() for one in health],
                    "names": [one._asdict() for one in names],
                }
            )
        elif do == "names":
            reply([one._asdict() for one in self._names.report(time.monotonic())])
        elif do == "loss":
            reply(self._loss.answer(self._forwarder.report()))
        elif do == "unknown":
            reply(self._unknown_as_asked(question))
        elif do == "tap":
            reply(self._look_as_asked(question))
        elif do == "reload":
            self._ask_for_reload(_Asker(reply, is_dry=bool(question.get("dry_run"))))
        elif do == "stop":
            self._stop("gfwd stop")
            reply("stopping")
        else:
            reply(GfwdError(_NOT_KNOWN))

    def _stop(self, why: str) -> None:
        if not self._is_over:
            self._say(events.STOPPING(f"stopping, as {why} says", why=why))
        self._is_over = True

    def _unknown_as_asked(self, question: Question) -> Any:
        sort, since = question.get("sort", SORTS[0]), question.get("since")
        is_time = isinstance(since, int | float) and 0 <= since <= _LONGEST_S
        if sort not in SORTS or not (since is None or is_time):
            return GfwdError(_NOT_KNOWN)
        return self._unknown.answer(
            self._config,
            lambda: self._forwarder.report().ledger.rules,
            sort=sort,
            since=since,
            with_rules=bool(question.get("suggest")),
        )

    def _look_as_asked(self, question: Question) -> GoesOn | GfwdError:
        try:
            return GoesOn(self._about(), self._lookers.open(Want.read(question)))
        except GfwdError as error:
            return error

    def _about(self) -> dict[str, object]:
        seconds = round(time.monotonic() - self._started)
        return {"version": __version__, "pid": os.getpid(), "rules_file": self._config.rules.path, "seconds": seconds}

    def _metrics_page(self) -> bytes:
        rules_most = self._config.listeners.metrics_rules
        return metrics_page(
            Standing(
                report=self.report(with_rules=rules_most is not None),
                rules=len(self._config.rules.rules),
                rules_most=rules_most,
                exporters=self._forwarder.exporters(),
                unknown=self._unknown.number(),
                losses=self._loss.totals(),
                started=self._started_at,
                reloads=self._reloads,
                answers=self._metrics.answers,
                cut_off=self._metrics.cut_off,
            )
        )

    # ---- reload ----

    def _ask_for_reload(self, asker: _Asker) -> None:
        self._askers.append(asker)
        if not asker.is_dry:
            self._notify.reloading()
        self._reader.known_names = self._names.known()
        self._reader.ask()

    def _look_at_files(self) -> None:
        """A change is looked into; what the files say is taken where it is something else than before."""
        if self._askers or not self._watch.has_changed(time.monotonic()):
            return
        self._askers.append(_Asker(_nobody, is_dry=False, is_watch=True))
        self._reader.known_names = self._names.known()
        self._reader.ask(known=self._config if self._refused is None else None)

    def _reload(self) -> None:
        read = self._reader.taken()
        if read is None:
            return
        askers, self._askers = self._askers, []
        if read.found is not None:
            self._answer(read.found, askers)
        # What could not be taken may be mended in a file that the configuration so far does not name.
        self._watch.follow(self._config.files() | read.files if self._config.watch else ())

    def _answer(self, found: Fresh | GfwdError, askers: Sequence[_Asker]) -> None:
        is_dry = all(asker.is_dry for asker in askers)
        if not is_dry and all(asker.is_dry or asker.is_watch for asker in askers):
            self._notify.reloading()  # until now nobody knew whether the files say something else than before
        answer: Event | GfwdError
        try:
            if isinstance(found, GfwdError):
                raise found
            answer = self._take(found, dry_run=is_dry)
        except GfwdError as error:
            answer = error
        if not is_dry:
            self._reloads.count(time.time(), is_done=not isinstance(answer, GfwdError))
            self._tell(answer, is_asked=not all(asker.is_watch for asker in askers))
            refused = isinstance(answer, GfwdError)
            self._notify.ready(f"not reloaded: {answer}" if refused else str(answer), time.monotonic())
        for asker in askers:
            asker.reply(answer if isinstance(answer, GfwdError) else str(answer))

    def _tell(self, answer: Event | GfwdError, *, is_asked: bool) -> None:
        """What came of a reload. Where nobody has asked for it, the same mistake is not said again."""
        if not isinstance(answer, GfwdError):
            self._refused = None
            self._say(answer)
        elif is_asked or str(answer) != self._refused:
            self._refused = str(answer)
            file = self._config.path
            self._say(events.RELOAD_FAILED(f"{answer}\nreload: error: nothing has changed", file=file))

    def _take(self, fresh: Fresh, *, dry_run: bool) -> Event:
        """Returns what was done. Raises GfwdError, and then nothing has changed."""
        _refuse_change(self._config, fresh.config)
        own = self._own(fresh.config)
        if not own:
            raise UsageError(
                f"{fresh.config.path}: error: no address is left on its ports that could be gfwd's; give an interface "
                'one, or say which are: address = ["192.0.2.1"]'
            )
        held = self._names.prepare(fresh.config, own, fresh.asking, fresh.answers, time.monotonic())
        self._names.refuse_unknown(held, fresh.config.rules.path)
        setting = setting_of(fresh, own, held.addresses())
        metrics = fresh.config.listeners.metrics
        if dry_run:
            self._forwarder.try_out(setting, fresh.space)
            self._metrics.could_be(metrics)
        else:
            with self._metrics.changed_to(metrics):
                self._forwarder.take(setting, fresh.space)
            self._config = fresh.config
            self._loss.is_on = fresh.config.loss is not None
            self._names.take(held, time.monotonic())
            self._log.take(fresh.config.log)
            tell_of(fresh.remarks, self._say)
        rules = fresh.config.rules
        done = "could be reloaded" if dry_run else "reloaded"
        number, collectors = len(rules.rules), len(rules.collectors())
        text = f"{rules.path}: {done}, {many(number, 'rule')}, {many(collectors, 'collector')}"
        return events.RELOADED(text, file=rules.path, rules=number, collectors=collectors)


def _nobody(_: object) -> None:
    """Who asked by a signal reads the log."""


def _refuse_change(before: Config, after: Config) -> None:
    """Of what only a new process can have. Raises UsageError."""
    fixed = {
        "the ports": (before.inputs, before.outputs) != (after.inputs, after.outputs),
        "the workers": (before.workers, before.cpus) != (after.workers, after.cpus),
        "the control socket": before.control != after.control,
        "the limits": before.sizes != after.sizes,
    }
    changed = [what for what, has_changed in fixed.items() if has_changed]
    if changed:
        raise UsageError(
            f"{after.path}: error: {' and '.join(changed)} cannot change while gfwd runs; put it back, or restart gfwd"
        )
