"""Which counter slot of the core counts what, while what there is to count changes.

What stays keeps its slot, and so its counts. What goes keeps it too, in case that it comes back, until all slots are
used: then the one that has been gone for longest gives its slot away.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gfwd.errors import GfwdError

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots(Generic[Key]):
    """One state of it; what comes next is another one, so that a change that fails has changed nothing.

    room: how many slots there are. of: what is counted now. gone: what was before, that which went first in front.
    given_away: whose slot has gone to somebody else in the last change.
    """

    room: int
    of: Mapping[Key, int] = field(default_factory=dict)
    gone: Mapping[Key, int] = field(default_factory=dict)
    given_away: Mapping[Key, int] = field(default_factory=dict)

    def after(self, keys: Iterable[Key], what: str) -> "Slots[Key]":
        """With these to count, and no others. Raises GfwdError where there are more than slots; what: they are."""
        wanted = dict.fromkeys(keys)
        if len(wanted) > self.room:
            raise GfwdError(
                f"error: {len(wanted):,} {what}, and there is room for {self.room:,} in a gfwd that runs; restart it"
            )
        known = {**self.gone, **self.of}
        gone = {key: slot for key, slot in known.items() if key not in wanted}
        used = len(known)
        taken: dict[Key, int] = {}
        given_away: dict[Key, int] = {}
        for key in wanted:
            slot = known.get(key)
            if slot is None and used < self.room:
                slot, used = used, used + 1
            elif slot is None:
                first = next(iter(gone))
                slot = given_away[first] = gone.pop(first)
            taken[key] = slot
        return Slots(room=self.room, of=taken, gone=gone, given_away=given_away)
