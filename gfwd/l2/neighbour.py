"""One neighbour: from an address to its MAC, as a table of states and events. No I/O, and the time is an argument.

The states are those of RFC 4861 §7.3.2, adapted to a forwarder, which always has something to send:

    EMPTY    nobody wants it
    PENDING  asked of everyone; no MAC yet, copies wait                         (INCOMPLETE)
    READY    its MAC is known, and was confirmed not long ago                   (REACHABLE)
    STALE    its MAC is used on; it is in doubt, and the question is not asked yet: others are first   (STALE, DELAY)
    PROBE    its MAC is used on, while the one that has it is asked to confirm  (PROBE)
    SEARCH   its MAC is used on, while everyone is asked: the one that had it said nothing
    FAILED   nobody answered; asked again now and then

What nobody asked for creates nothing and changes nothing: it can only make us ask (RFC 1122 §2.3.2.1 wants entries that
are out of date to go, and at most one question a second). Somebody who says that the MAC is another makes us ask the
one that we know: where it answers, all stays as it is, and only where it is silent everyone is asked. So a MAC that
moves is followed after three questions, and one that is forged is not.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple


class State(Enum):
    EMPTY = auto()
    PENDING = auto()
    READY = auto()
    STALE = auto()
    PROBE = auto()
    SEARCH = auto()
    FAILED = auto()


class Event(Enum):
    WANTED = auto()  # somebody has something to send there, or the link has come up
    ANSWER = auto()  # its MAC: the answer to our question, or an entry that the kernel has confirmed
    DOUBT = auto()  # something unasked says that its MAC is another, or the kernel has lost sight of it
    SILENCE = auto()  # the kernel has asked and had no answer, or it will not ask
    LOSS = auto()  # the kernel has no entry any more, and so nobody is asking
    TIMEOUT = auto()  # the deadline has passed
    EXHAUSTED = auto()  # … after the last question of this state


class Do(Enum):
    ASK_ALL = auto()  # by broadcast
    ASK_ONE = auto()  # by unicast, to the MAC that it had
    AWAIT_TURN = auto()  # to ask
    TELL = auto()  # the core, unless it knows already


class Step(NamedTuple):
    """What a pair of state and event leads to."""

    state: State
    actions: tuple[Do, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds and counts.

    retransmit: between questions; RETRANS_TIMER of RFC 4861 §10. broadcast_tries, unicast_tries: questions before the
    next state; MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT. reachable: a MAC is confirmed again before it is as old
    as that; REACHABLE_TIME. gap: least time between two questions, whatever happens; RFC 1122 §2.3.2.1.
    answer: what comes later than that after a question is no answer to it, on the wire.
    backoff, backoff_longest: from one question to a failed neighbour to the next; doubled each time.
    """

    retransmit: float = 1.0
    broadcast_tries: int = 3
    unicast_tries: int = 3
    reachable: float = 30.0
    gap: float = 1.0
    answer: float = 3.0
    backoff: float = 1.0
    backoff_longest: float = 32.0


class Ask(NamedTuple):
    """Ask for the neighbour: the one that had this MAC, or everyone (None)."""

    mac: bytes | None


class Tell(NamedTuple):
    """The core is to know: PENDING, READY with the MAC, or FAILED."""

    state: State
    mac: bytes | None


Action = Ask | Tell


def _table() -> dict[tuple[State, Event], Step]:
    empty, pending, ready, stale, probe, search, failed = State
    wanted, answer, doubt, silence, loss, timeout, exhausted = Event
    ask_all, ask_one, await_turn, tell = Do
    return {
        # Nothing else counts.
        (empty, wanted): Step(pending, (tell, ask_all)),
        (empty, answer): Step(empty),
        (empty, doubt): Step(empty),
        (empty, silence): Step(empty),
        (empty, loss): Step(empty),
        (empty, timeout): Step(empty),
        (empty, exhausted): Step(empty),
        # There is no MAC to doubt.
        (pending, wanted): Step(pending),
        (pending, answer): Step(ready, (tell,)),
        (pending, doubt): Step(pending),
        (pending, silence): Step(failed, (tell,)),
        (pending, loss): Step(pending, (ask_all,)),
        (pending, timeout): Step(pending, (ask_all,)),
        (pending, exhausted): Step(failed, (tell,)),
        # Whatever happens, the MAC is used on while we ask.
        (ready, wanted): Step(ready),
        (ready, answer): Step(ready, (tell,)),
        (ready, doubt): Step(stale, (await_turn,)),
        (ready, silence): Step(search, (ask_all,)),
        (ready, loss): Step(search, (ask_all,)),
        (ready, timeout): Step(stale, (await_turn,)),
        (ready, exhausted): Step(ready),
        # The deadline is our turn to ask, which may be at once.
        (stale, wanted): Step(stale),
        (stale, answer): Step(ready, (tell,)),
        (stale, doubt): Step(stale),
        (stale, silence): Step(search, (ask_all,)),
        (stale, loss): Step(search, (ask_all,)),
        (stale, timeout): Step(probe, (ask_one,)),
        (stale, exhausted): Step(stale),
        # It is being asked already.
        (probe, wanted): Step(probe),
        (probe, answer): Step(ready, (tell,)),
        (probe, doubt): Step(probe),
        (probe, silence): Step(search, (ask_all,)),
        (probe, loss): Step(search, (ask_all,)),
        (probe, timeout): Step(probe, (ask_one,)),
        (probe, exhausted): Step(search, (ask_all,)),
        # The last attempt before it counts as failed.
        (search, wanted): Step(search),
        (search, answer): Step(ready, (tell,)),
        (search, doubt): Step(search),
        (search, silence): Step(failed, (tell,)),
        (search, loss): Step(search, (ask_all,)),
        (search, timeout): Step(search, (ask_all,)),
        (search, exhausted): Step(failed, (tell,)),
        # Whatever is heard of it is a reason to ask at once.
        (failed, wanted): Step(pending, (tell, ask_all)),
        (failed, answer): Step(ready, (tell,)),
        (failed, doubt): Step(failed, (ask_all,)),
        (failed, silence): Step(failed),
        (failed, loss): Step(failed),
        (failed, timeout): Step(failed, (ask_all,)),
        (failed, exhausted): Step(failed),
    }


TABLE: Final = _table()
_SEEN_BY_THE_CORE: Final = dict.fromkeys((State.STALE, State.PROBE, State.SEARCH), State.READY)


class Neighbour:
    """One neighbour. Every method that takes `now` (seconds, of any clock) returns what is to be done about it.

    deadline: when `advance` wants to be called; None: never, unless something else happens. random: a number from 0 up
    to 1, so that neighbours that were asked for together do not stay together. turn: when the next question of all may
    be asked that are asked there (pace.Turns); whoever asks for that has it.
    """

    __slots__ = (
        "_asked",
        "_backoff",
        "_is_put_off",
        "_random",
        "_told",
        "_tries",
        "_turn",
        "_turn_at",
        "deadline",
        "mac",
        "state",
        "timing",
    )

    def __init__(
        self, timing: Timing, random: Callable[[], float], turn: Callable[[float], float] = lambda now: now
    ) -> None:
        self.timing = timing
        self.state = State.EMPTY
        self.mac: bytes | None = None
        self.deadline: float | None = None
        self._random = random
        self._turn = turn
        self._turn_at: float | None = None  # ours, which is still to come
        self._asked = -math.inf
        self._tries = 0  # questions in this state
        self._is_put_off = False  # a question is
        self._backoff = timing.backoff
        self._told: Tell | None = None

    def wanted(self, now: float) -> list[Action]:
        """Somebody wants to send there, or a way to it has just opened."""
        return self._take(Event.WANTED, now)

    def takes_answer(self, mac: bytes, now: float) -> bool:
        """Whether a reply with this MAC is one to our question; in PROBE only the one that had the MAC was asked."""
        if now - self._asked > self.timing.answer:
            return False
        return self.state in (State.PENDING, State.SEARCH, State.FAILED) or (
            self.state is State.PROBE and mac == self.mac
        )

    def answered(self, mac: bytes, now: float, *, is_fixed: bool = False) -> list[Action]:
        """It has this MAC (6 bytes); is_fixed: by the administrator's word, so that there is nothing to confirm."""
        if self.state is State.EMPTY:
            return []
        self.mac = mac
        actions = self._take(Event.ANSWER, now)
        if is_fixed:
            self.deadline = None
        return actions

    def heard(self, mac: bytes, now: float) -> list[Action]:
        """Unasked, somebody says that it has this MAC."""
        return [] if mac == self.mac else self.doubted(now)

    def doubted(self, now: float) -> list[Action]:
        """Its MAC may not be right any more."""
        return self._take(Event.DOUBT, now)

    def silent(self, now: float) -> list[Action]:
        """The kernel has asked in vain, or will not ask."""
        return self._take(Event.SILENCE, now)

    def lost(self, now: float) -> list[Action]:
        """The kernel's entry was deleted."""
        return self._take(Event.LOSS, now)

    def advance(self, now: float) -> list[Action]:
        """What is due by now."""
        if self.deadline is None or now < self.deadline:
            return []
        is_exhausted = self._tries >= self._tries_most() and not self._is_put_off
        return self._take(Event.EXHAUSTED if is_exhausted else Event.TIMEOUT, now)

    def _take(self, event: Event, now: float) -> list[Action]:
        step = TABLE[self.state, event]
        if step == (self.state, ()):
            return []
        if step.state is not self.state:
            self._enter(step.state)
        actions: list[Action] = []
        for do in step.actions:
            if do is Do.TELL:
                actions += self._tell()
            elif do is Do.AWAIT_TURN:
                self.deadline = self._turn_from(now)
            else:
                actions += self._ask(self.mac if do is Do.ASK_ONE else None, now)
        if not {Do.ASK_ALL, Do.ASK_ONE, Do.AWAIT_TURN}.intersection(step.actions):
            self.deadline = now + self._patience()
        if self.state is State.STALE and self.deadline is not None and self.deadline <= now:
            actions += self._take(Event.TIMEOUT, now)
        return actions

    def _enter(self, state: State) -> None:
        self.state, self._tries, self._is_put_off, self._backoff = state, 0, False, self.timing.backoff
        if state in (State.PENDING, State.FAILED):
            self.mac = None
        elif state is State.READY:
            self._turn_at = None  # or many that were answered meanwhile could ask together one day

    def _tell(self) -> list[Action]:
        news = Tell(_SEEN_BY_THE_CORE.get(self.state, self.state), self.mac)
        if news == self._told:
            return []
        self._told = news
        return [news]

    def _ask(self, mac: bytes | None, now: float) -> list[Action]:
        """Or put the question off, where the last one is too fresh, or others are first."""
        at = self._turn_from(now)
        self._is_put_off = now < at
        if self._is_put_off:
            self.deadline = at
            return []
        self._turn_at = None
        self._asked = now
        self._tries += 1
        self.deadline = now + self._patience()
        return [Ask(mac)]

    def _turn_from(self, now: float) -> float:
        """When we may ask. A turn that we have stays ours until we have asked."""
        allowed = self._asked + self.timing.gap
        if now < allowed:
            return allowed
        if self._turn_at is None:
            self._turn_at = self._turn(now)
        return self._turn_at

    def _patience(self) -> float:
        """Seconds until the next question, or until the first one of a state that begins without."""
        if self.state is State.READY:
            return self._a_little_less(self.timing.reachable)
        if self.state is not State.FAILED:
            return self.timing.retransmit
        patience = self._a_little_less(self._backoff)
        self._backoff = min(2 * self._backoff, self.timing.backoff_longest)
        return patience

    def _tries_most(self) -> float:
        if self.state in (State.PENDING, State.SEARCH):
            return self.timing.broadcast_tries
        return self.timing.unicast_tries if self.state is State.PROBE else math.inf

    def _a_little_less(self, seconds: float) -> float:
        """By up to a quarter."""
        return seconds * (1 - self._random() / 4)
