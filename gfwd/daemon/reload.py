"""What a reload takes, read anew in a thread of its own: rules, names and all that is made of them may take a while,
and neighbours and signals must not wait for it meanwhile.
"""

import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from gfwd.config.model import Config
from gfwd.daemon.names import sources
from gfwd.daemon.names.names import first_look
from gfwd.daemon.names.sources import Asking
from gfwd.dns.name import Answer
from gfwd.errors import ConfigError, GfwdError, Problem
from gfwd.rules.listen import listened_on, narrowed
from gfwd.rules.model import Ports
from gfwd.rules.space import RuleSpace


@dataclass(frozen=True, slots=True)
class Fresh:
    """What has been read. listen: UDP ports that are ours. asking: whom names are asked of. answers: of names that are
    new, as far as they have come. remarks: warnings.
    """

    config: Config
    listen: Ports
    asking: Asking
    answers: Mapping[str, Answer]
    space: RuleSpace
    remarks: Sequence[Problem]


@dataclass(frozen=True, slots=True)
class Read:
    """What came of a reading. files: those that it was about.

    found: what they say, or what is wrong with them; None: what was known already.
    """

    files: frozenset[str]
    found: Fresh | GfwdError | None


@dataclass(slots=True)
class Tally:
    """How reloads have gone since the start, which counts as one that was done, but for the number.

    last_done, last_failed: seconds since 1970; None: there was none.
    """

    last_done: float
    last_failed: float | None = None
    is_last_done: bool = True
    done: int = 0
    failed: int = 0

    def count(self, now: float, *, is_done: bool) -> None:
        self.is_last_done = is_done
        if is_done:
            self.done, self.last_done = self.done + 1, now
        else:
            self.failed, self.last_failed = self.failed + 1, now


def prepare(config: Config, known: Collection[str] = ()) -> Fresh:
    """All that takes a while. known: names that need not be looked up. Raises GfwdError."""
    rules = config.rules
    listen = listened_on(rules, config.listen)
    asking = sources.load(config.dns)
    new = {one.host for one in rules.collectors() if one.address is None}.difference(known)
    return Fresh(config, listen, asking, first_look(new, asking), RuleSpace(rules), narrowed(rules, listen))


class Reader(AbstractContextManager["Reader"]):
    """read: what to do, as its files say it now; raises GfwdError. known_names: that need not be looked up. fileno() is
    readable when something was read.
    """

    def __init__(self, read: Callable[[], Config]) -> None:
        self._read = read
        self.known_names: frozenset[str] = frozenset()
        self._done: SimpleQueue[Read] = SimpleQueue()
        self._is_busy = self._is_asked_again = False
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)

    def __exit__(self, *_: object) -> None:
        self._ear.close()
        self._mouth.close()

    def fileno(self) -> int:
        return self._ear.fileno()

    def ask(self, known: Config | None = None) -> None:
        """Read; where the files say what is known, nothing more is made of it.

        Where something is being read, all is read once more after that, since the files may be others by now.
        """
        if self._is_busy:
            self._is_asked_again = True
            return
        self._is_busy = True
        try:
            threading.Thread(target=self._work, args=(known,), name="reload", daemon=True).start()
        except RuntimeError as error:  # no more threads
            self._tell(Read(frozenset(), GfwdError(f"error: the files cannot be read: {error}; try again later")))

    def taken(self) -> Read | None:
        """What came of it; None: nothing yet, or it is outdated already."""
        with suppress(BlockingIOError):
            self._ear.recv(4096)
        try:
            found = self._done.get_nowait()
        except Empty:
            return None
        self._is_busy = False
        if self._is_asked_again:
            self._is_asked_again = False
            self.ask()
            return None
        return found

    def _work(self, known: Config | None) -> None:
        files: frozenset[str] = frozenset()
        found: Fresh | GfwdError | None
        try:
            config = self._read()
            files = config.files()
            found = None if config == known else prepare(config, self.known_names)
        except ConfigError as error:
            files = frozenset(problem.path for problem in error.problems)
            found = error
        except GfwdError as error:
            found = error
        except Exception as error:  # or nobody would ever hear of it, and no reload would be taken again
            found = GfwdError(f"error: {type(error).__name__}: {error}")
        self._tell(Read(files, found))

    def _tell(self, read: Read) -> None:
        self._done.put(read)
        with suppress(OSError):  # gfwd has ended meanwhile
            self._mouth.send(b".")
