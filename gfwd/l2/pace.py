"""How often something may be done: at once or not at all (Bucket), for each of many (Buckets), or in turn (Turns).

No clock: `now` is seconds of any, and never goes back.
"""

import math
from collections import OrderedDict
from collections.abc import Hashable


class Bucket:
    """rate: so many a second. burst: so many at once, at most."""

    __slots__ = ("_left", "_then", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._left = burst
        self._then = 0.0

    def takes(self, now: float) -> bool:
        """Whether there is one left for now, which is taken then."""
        self._left = min(self.burst, self._left + (now - self._then) * self.rate)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Buckets:
    """A bucket for each of those who come, and of these the `most` that have come last: others begin anew."""

    def __init__(self, rate: float, burst: float, most: int) -> None:
        self._rate, self._burst, self._most = rate, burst, most
        self._of: OrderedDict[Hashable, Bucket] = OrderedDict()

    def takes(self, who: Hashable, now: float) -> bool:
        bucket = self._of.pop(who, None)
        if bucket is None:
            bucket = Bucket(self._rate, self._burst)
            if len(self._of) >= self._most:
                self._of.popitem(last=False)
        self._of[who] = bucket
        return bucket.takes(now)


class Turns:
    """Who comes too early is told when his turn is. rate: so many a second. burst: so many at once, at most."""

    __slots__ = ("_next", "_spare", "_step")

    def __init__(self, rate: float, burst: float) -> None:
        self._step = 1 / rate
        self._spare = burst / rate  # seconds
        self._next = -math.inf

    def turn(self, now: float) -> float:
        """When the next one may be: now, or later; it is his who asks, whether he comes or not.

        A burst is what has been saved up: turns that nobody took, up to so many.
        """
        self._next = max(self._next, now - self._spare) + self._step
        return max(now, self._next)
