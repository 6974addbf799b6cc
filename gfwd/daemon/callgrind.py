"""Instructions counted by valgrind's callgrind, where there is a valgrind."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)


def count(command: Sequence[str], *, inside: str, since: str) -> tuple[int, str] | None:
    """Run a command; count instructions inside one of its C functions, since another one was entered for the last time.

    Returns the number and what the command printed; None where there is no valgrind, where it cannot run the command,
    or where the program's symbols are stripped.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return None
    with tempfile.TemporaryDirectory(prefix="gfwd-") as folder:
        options = [
            "--tool=callgrind",
            "--quiet",
            "--trace-children=yes",  # a frozen binary starts itself once more
            f"--toggle-collect={inside}",
            f"--zero-before={since}",
            f"--callgrind-out-file={folder}/%p",
        ]
        done = subprocess.run([valgrind, *options, *command], capture_output=True, text=True, check=False)
        profiles = [path.read_text("utf-8", "replace") for path in Path(folder).iterdir()]
    instructions = sum(int(total) for profile in profiles for total in _TOTALS.findall(profile))
    return (instructions, done.stdout) if done.returncode == 0 and instructions else None
