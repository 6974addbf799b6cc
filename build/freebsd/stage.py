"""One step of the build: a folder that is made once, and made again only when what goes into it has changed."""

import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import native

FOLDER = Path(".cache/freebsd")
TAIL = 12  # lines of a log that are shown where a command failed


@dataclass(frozen=True)
class Stage:
    """What has been made, and the hash of all that went in, for the stages that build on it."""

    folder: Path
    key: str


@dataclass(frozen=True)
class Work:
    """A stage that is being made: a folder for what is wanted, one for the rest, and a log of all commands."""

    product: Path
    scratch: Path
    log: Path
    environment: Mapping[str, str]

    def run(self, command: Sequence[str | Path], folder: Path, **environment: str) -> None:
        """Raises BuildError, with the last lines of what the command said."""
        words = [str(word) for word in command]
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ cd {shlex.quote(str(folder))} && {shlex.join(words)}\n")
            log.flush()
            try:
                done = subprocess.run(
                    words,
                    cwd=folder,
                    env={**os.environ, **self.environment, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            except FileNotFoundError as error:
                raise native.BuildError(
                    f"{words[0]} is missing, which the FreeBSD executable needs besides a C compiler:"
                    " apt-get install make perl patch"
                ) from error
        if done.returncode:
            last = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
            raise native.BuildError("\n".join([*last, f"{words[0]} ended with status {done.returncode}: {self.log}"]))


def made(
    name: str,
    inputs: Iterable[str | Path | Stage],
    make: Callable[[Work], None],
    environment: Mapping[str, str] | None = None,
) -> Stage:
    """The stage .cache/freebsd/NAME, made by `make` unless it was made of just these inputs before.

    inputs: paths count by their content, stages by their key, strings as they are.
    """
    folder = native.ROOT / FOLDER / name
    stamp = Path(f"{folder}.key")
    # Configured makefiles hold absolute paths.
    key = _hash([str(native.ROOT), *inputs])
    if not folder.exists() or not stamp.exists() or stamp.read_text() != key:
        work = Work(folder, Path(f"{folder}.work"), Path(f"{folder}.log"), environment or {})
        stamp.unlink(missing_ok=True)
        work.log.unlink(missing_ok=True)
        for old in (work.product, work.scratch):
            shutil.rmtree(old, ignore_errors=True)
            old.mkdir(parents=True)
        print(f"build/freebsd: {name} …", flush=True)
        make(work)
        shutil.rmtree(work.scratch)
        stamp.write_text(key)
    return Stage(folder, key)


def _hash(inputs: Iterable[str | Path | Stage]) -> str:
    whole = hashlib.sha256()
    for one in inputs:
        content = one.key if isinstance(one, Stage) else one
        whole.update(hashlib.sha256(content.read_bytes() if isinstance(content, Path) else content.encode()).digest())
    return whole.hexdigest()
