"""What gfwd has changed on an interface, written down while it runs, so that the next gfwd can put it back.

A record is a file that its owner holds a lock on (flock(2)). The kernel lets go of that lock when the process ends,
whichever way it ends: a record that can be locked is left over, and no process that has got the same number since then,
or that lives in another PID namespace, is mistaken for its owner.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import IO, Final

from gfwd.daemon.card.system import this_system
from gfwd.daemon.log import events
from gfwd.daemon.log.event import Say

_HERE: Final = this_system()


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """An interface as it was before. port: what the operator calls it. pid: whose change it was, for people.

    identity: by which it is told from another one that gets its name later; index: by which it is found where it has
    got another name itself. features: those that are no longer asked for, and whether they were at work.
    """

    port: str
    interface: str
    identity: int
    index: int
    was_up: bool
    features: Mapping[str, bool]
    pid: int


class Taken(Exception):
    """Another gfwd has changed this interface, and lives."""


class Record:
    """A record that is ours: no other gfwd touches it while it is open."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file

    def remove(self) -> None:
        """All is put back."""
        with suppress(OSError):  # somebody has tidied up already
            self._path.unlink()
        self._file.close()

    def read(self) -> Before:
        """Raises ValueError where this is no record."""
        try:
            its = json.loads(self._file.read())
            its["features"] = {str(name): bool(was_on) for name, was_on in its["features"].items()}
            before = Before(**its)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError("it is broken") from error
        numbers = (before.identity, before.index, before.pid)
        if {type(before.port), type(before.interface)} != {str} or {*map(type, numbers)} != {int}:
            raise ValueError("it is broken")
        return before


def keep(before: Before) -> Record:
    """Write a record, in the first folder that takes it. Raises OSError, Taken."""
    if any(_path(folder, before.interface).exists() for folder in _folders()):
        raise Taken
    *most, last = _folders()
    for folder in most:
        with suppress(OSError):
            return _write(folder, before)
    return _write(last, before)


def left_over(say: Say) -> Iterator[tuple[Path, Record]]:
    """The records of this network stack whose gfwd has ended; `say` hears which cannot be read."""
    for folder in _folders():
        for path in sorted(folder.glob(f"card.{_HERE.stack()}.*.json")):
            try:
                record = _take(path)
            except OSError as error:
                why = f"what a gfwd has changed cannot be read ({error.strerror})"
                say(events.CARD_RECORD_BROKEN(f"{path}: warning: {why}", file=str(path)))
                continue
            if record is not None:
                yield path, record


def _take(path: Path) -> Record | None:
    """None: its owner lives, or somebody else has put it back just now."""
    with suppress(FileNotFoundError, BlockingIOError), ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        flock(file, LOCK_EX | LOCK_NB)
        if os.path.samestat(path.stat(), os.fstat(file.fileno())):
            stack.pop_all()
            return Record(path, file)
    return None


def _write(folder: Path, before: Before) -> Record:
    """It gets its name only when it is whole, and locked, and takes nobody else's."""
    folder.mkdir(exist_ok=True)
    path = _path(folder, before.interface)
    draft = path.with_suffix(f".{os.getpid()}")
    with ExitStack() as stack:
        file = stack.enter_context(draft.open("wb"))
        try:
            file.write(json.dumps(asdict(before)).encode())
            file.flush()
            flock(file, LOCK_EX | LOCK_NB)
            os.link(draft, path)
        except FileExistsError as error:
            raise Taken from error
        finally:
            draft.unlink()
        stack.pop_all()
    return Record(path, file)


def _folders() -> list[Path]:
    own = os.environ.get("XDG_RUNTIME_DIR")
    return [_HERE.FOLDER, *([Path(own, "gfwd")] if own else [])]


def _path(folder: Path, interface: str) -> Path:
    return folder / f"card.{_HERE.stack()}.{interface}.json"
