"""Nuitka's part: gfwd, the packages that it imports, and the stage `python` as one executable for the target."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import native
from freebsd import core, cpython, libraries, sources
from freebsd.stage import Stage, Work, made
from freebsd.target import Target

HERE = Path(__file__).parent
NAME = "gfwd"
OUTPUT = Path(".cache/binary")
BESIDE = (f"{NAME}.sbom.json", f"{NAME}.licences.txt")  # build/sbom.py makes them
UNPACKED = "unpacked"  # what is in it, for those who read it

FLAGS = (
    # There is no other libpython than that which the executable is linked with.
    "--static-libpython=yes",
    f"--user-plugin={HERE.relative_to(native.ROOT)}/plugin.py",
    # Netlink is Linux's; gfwd asks for this package there only.
    "--nofollow-import-to=pyroute2",
    # It is built into the executable; the one that Nuitka finds is this machine's.
    "--nofollow-import-to=_cffi_backend",
)


def build(target: Target, flags: Sequence[str], same: Mapping[str, str], jobs: int) -> Path:
    """Makes .cache/binary/TARGET/gfwd, and its SBOM beside it. flags: Nuitka's, for any machine. same: what is to stand
    in the environment, so that the same sources give the same bytes. Raises BuildError.
    """
    if " " in str(native.ROOT):
        raise native.BuildError(
            f"{native.ROOT}: CPython and OpenSSL cannot be built in a folder with a space in its name"
        )
    with native.building(OUTPUT / target.name):
        target.write_tools()
        python = cpython.build(target, libraries.build(target, jobs), jobs)
        module = core.build(target, python)
        stage = _made(target, python, module, (*flags, *FLAGS), same, jobs)
        result = native.ROOT / OUTPUT / target.name / NAME
        shutil.rmtree(result.with_name(UNPACKED), ignore_errors=True)  # nothing of an older one stays
        for path in sorted(path for path in stage.folder.rglob("*") if path.is_file()):
            native.copy(path, result.parent / path.relative_to(stage.folder))
        result.chmod(0o755)
    return result


def parts(target: Target) -> list[Path]:
    """The files with machine code: the executable, the program that it unpacks, and that program's modules."""
    folder = native.ROOT / OUTPUT / target.name
    return [folder / NAME, folder / UNPACKED / f"{NAME}.bin", *sorted((folder / UNPACKED).rglob("*.so*"))]


def _made(
    target: Target, python: Stage, module: Path, flags: Sequence[str], same: Mapping[str, str], jobs: int
) -> Stage:
    built = native.NATIVE / "_built.py"  # where there is one, it tells of this machine's
    about = native.built(target.compiler(), "freebsd")
    files = [path for path in native.find(Path("gfwd"), "*.py") if path != built]
    licences = sources.licences()

    def make(work: Work) -> None:
        tree = work.scratch / "tree"
        for source in files:
            (tree / source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(native.ROOT / source, tree / source)
        shutil.copy(module, tree / native.NATIVE / core.NAME)
        (tree / built).write_text(about, encoding="utf-8")
        (tree / "build").symlink_to(native.ROOT / "build")  # flags name files in it
        program = python.folder / "bin" / f"python{cpython.VERSION}"
        places = (f"--output-dir={work.scratch}", f"--output-filename={NAME}", f"--report={work.product}/report.xml")
        work.run(
            [program, "-m", "nuitka", *flags, *places, f"--jobs={jobs}", NAME],
            tree,
            PYTHONPATH=str(packages()),
            PYTHONDONTWRITEBYTECODE="1",
            GFWD_BUILT_IN=str(sources.FILE),
            **same,
            CC=target.tool("clang"),
            PATH=f"{target.folder / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin",
        )
        for name in (NAME, *BESIDE):
            shutil.copy(work.scratch / name, work.product)
        shutil.copytree(work.scratch / f"{NAME}.dist", work.product / UNPACKED)

    inputs: tuple[str | Path | Stage, ...] = (
        python,
        target.version(),
        repr(flags),
        module,
        *(native.ROOT / source for source in files),
        *licences,
        about,
        repr(same),
        *(native.ROOT / lock for lock in ("requirements.lock", "requirements-binary.lock")),
        *(HERE / name for name in ("plugin.py", "newlocale.c")),
        *(native.ROOT / "build" / name for name in ("binary_plugin.py", "onefile.c", "sbom.py")),
        Path(__file__),
    )
    return made(f"{target.name}/executable", inputs, make, target.environment())


def packages() -> Path:
    """Where the packages lie that this Python imports."""
    nuitka = find_spec("nuitka")
    if nuitka is None or nuitka.origin is None:
        raise native.BuildError("no Nuitka: python -m pip install --require-hashes -r requirements-binary.lock")
    return Path(nuitka.origin).parents[1]
