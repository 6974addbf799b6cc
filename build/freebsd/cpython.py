"""CPython 3.11, twice from the same sources.

One runs here, and Nuitka in it, so what Nuitka sees of Python – version, standard library, which modules are built in –
is what the executable has. The other is libpython3.11.a for the target. The stage `python` is a folder in which the
program of the first stands among headers, makefile variables and library of the second: whoever asks that Python what
to compile and link with is told what is right for the target.
"""

import inspect
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import native
from freebsd import sources
from freebsd.libraries import libffi_here
from freebsd.stage import Stage, Work, made
from freebsd.target import Target

HERE = Path(__file__).parent
VERSION = "3.11"
LIBRARY = f"libpython{VERSION}.a"
CFFI = Path("_cffi/c")  # among Modules

# Of Debian's patches those that mend security, or a crash, as its maintainers name them. The others fit Python
# to Debian.
MENDING = ("CVE-", "0001-", "0002-", "0003-", "0004-", "0005-", "frame_dealloc", "relfile-", "shutdown-deadlock")

# No part of a forwarder's standard library.
LEFT_OUT = ("ensurepip", "idlelib", "lib2to3", "test", "tests", "tkinter", "turtledemo", "__pycache__")

# Encodings whose modules are not in Setup.local. Nuitka imports each encoding that it sees.
ENCODINGS_LEFT_OUT = (
    "big5*.py cp932.py cp949.py cp950.py euc_*.py gb*.py hz.py iso2022_*.py johab.py shift_jis*.py"
    " bz2_codec.py zlib_codec.py"
)

# Answers that configure would have by running what it compiled: FreeBSD's. And no pseudo-terminals, for which libutil
# would be needed.
CONFIG_SITE = """\
ac_cv_func_openpty=no
ac_cv_lib_util_openpty=no
ac_cv_lib_bsd_openpty=no
ac_cv_func_forkpty=no
ac_cv_lib_util_forkpty=no
ac_cv_lib_bsd_forkpty=no
ac_cv_search_login_tty=no
ac_cv_file__dev_ptmx=no
ac_cv_file__dev_ptc=no
ac_cv_buggy_getaddrinfo=no
ac_cv_working_tzset=yes
ac_cv_have_long_long_format=yes
"""
OPTIMIZED = "-DNDEBUG -fwrapv -O2"  # as CPython itself has it, but for -g, and -O3
OPTIONS = ("--disable-test-modules", "--without-ensurepip", "--disable-shared")


def build(target: Target, libraries: dict[str, Stage], jobs: int) -> Stage:
    """The stage `python` of a target. Raises BuildError."""
    source = _source()
    compiler = native.output("cc", "--version")
    libffi = libffi_here(compiler, jobs)
    host = made("host-python", (compiler, source, libffi, *_recipe()), _host(source, libffi, jobs))
    make = _for_target(target, source, host, libraries, jobs)
    inputs: tuple[str | Path | Stage, ...] = (target.version(), source, host, *libraries.values(), *_recipe())
    return made(f"{target.name}/python", inputs, make, target.environment())


def _recipe() -> tuple[Path, ...]:
    return Path(__file__), HERE / "Setup.local"


def _source() -> Stage:
    """The sources as they are compiled: mended, and with cffi's among Python's own modules."""
    known = sources.read()
    used = [known[name] for name in ("cpython", "cpython-debian", "cffi")]

    def make(work: Work) -> None:
        python, debian, cffi = (source.unpack(work.scratch) for source in used)
        series = (debian / "patches/series").read_text(encoding="utf-8").split()
        for patch in [debian / "patches" / name for name in series if name.startswith(MENDING)]:
            work.run(["patch", "--batch", "-p1", "-i", patch], python)
        work.run(["patch", "--batch", "-p1", "-i", HERE / "cpython.patch"], python)
        for folder in ("c", "cffi"):  # the first has the source, and includes from the other
            shutil.copytree(cffi / "src" / folder, python / "Modules" / CFFI.parent / folder)
        shutil.copytree(python, work.product, dirs_exist_ok=True)

    return made(
        "cpython-source",
        (
            *(source.sha256 for source in used),
            inspect.getsource(_source),
            repr((MENDING, CFFI)),
            HERE / "cpython.patch",
        ),
        make,
    )


def _setup(folders: dict[str, str]) -> str:
    """Setup.local, with the lines whose folders are named."""
    kept = []
    for line in (HERE / "Setup.local").read_text(encoding="utf-8").splitlines():
        try:
            kept.append(line.format(**folders))
        except KeyError:
            continue
    return "\n".join(kept) + "\n"


def _host(source: Stage, libffi: Stage, jobs: int) -> Callable[[Work], None]:
    def make(work: Work) -> None:
        work.run([source.folder / "configure", *OPTIONS], work.scratch, OPT=OPTIMIZED)
        (work.scratch / "Modules/Setup.local").write_text(_setup({"libffi": str(libffi.folder)}))
        work.run(["make", f"-j{jobs}", "python", "pybuilddir.txt"], work.scratch)
        _install_library(work, source)
        (work.product / "bin").mkdir()
        shutil.copy(work.scratch / "python", work.product / "bin" / f"python{VERSION}")

    return make


def _install_library(work: Work, source: Stage) -> None:
    """The standard library; with it, the variables of the makefile."""
    library = work.product / "lib" / f"python{VERSION}"
    shutil.copytree(
        source.folder / "Lib", library, ignore=shutil.ignore_patterns(*LEFT_OUT, *ENCODINGS_LEFT_OUT.split())
    )
    shutil.copy(_variables(work), library)
    (library / "lib-dynload").mkdir()  # by which Python knows its place; no module is a file of its own


def _for_target(
    target: Target, source: Stage, host: Stage, libraries: dict[str, Stage], jobs: int
) -> Callable[[Work], None]:
    def make(work: Work) -> None:
        archives = _compile(target, work, source, host, libraries, jobs)
        _assemble(target, work, source, host, archives)

    return make


def _compile(
    target: Target, work: Work, source: Stage, host: Stage, libraries: dict[str, Stage], jobs: int
) -> list[Path]:
    """Returns Python's library, and those that it needs."""
    site = work.scratch / "config.site"
    site.write_text(CONFIG_SITE)
    machine = (f"--host={target.gnu}", f"--build={native.output('sh', str(source.folder / 'config.guess')).strip()}")
    runs_here = f"--with-build-python={host.folder / 'bin' / f'python{VERSION}'}"
    # By a relative name, since CPython writes into its library where its sources are.
    configure = os.path.relpath(source.folder / "configure", work.scratch)
    work.run(
        [configure, *OPTIONS, *machine, runs_here, "--without-readline"],
        work.scratch,
        CONFIG_SITE=str(site),
        CFLAGS="-fPIC",
        OPT=OPTIMIZED,
    )
    folders = {name: str(stage.folder) for name, stage in libraries.items()}
    (work.scratch / "Modules/Setup.local").write_text(_setup({**folders, "cffi": str(CFFI)}))
    (work.scratch / "Modules" / CFFI).mkdir(parents=True)  # for what is compiled of it
    decimals = "Modules/_decimal/libmpdec/libmpdec.a"
    work.run(["make", f"-j{jobs}", LIBRARY, decimals, "pybuilddir.txt"], work.scratch)
    theirs = [path for stage in libraries.values() for path in sorted(stage.folder.glob("lib/*.a"))]
    return [work.scratch / LIBRARY, work.scratch / decimals, *theirs]


def _assemble(target: Target, work: Work, source: Stage, host: Stage, archives: list[Path]) -> None:
    """The folder in which this machine's program stands among the target's headers, variables and library."""
    shutil.copytree(host.folder, work.product, dirs_exist_ok=True)
    headers = work.product / "include" / f"python{VERSION}"
    shutil.copytree(source.folder / "Include", headers)
    shutil.copy(work.scratch / "pyconfig.h", headers)
    (asked,) = (work.product / "lib" / f"python{VERSION}").glob("_sysconfigdata*.py")  # by this machine's name
    shutil.copy(_variables(work), asked)
    # One archive for all: who links it need not know of the others.
    whole = work.product / "lib" / LIBRARY
    shutil.copy(archives[0], whole)
    for archive in archives[1:]:
        work.run([target.tool("ar"), "qL", whole, archive], work.scratch)
    work.run([target.tool("ranlib"), whole], work.scratch)


def _variables(work: Work) -> Path:
    """The module that sysconfig reads, of what was built in the scratch folder."""
    built = work.scratch / (work.scratch / "pybuilddir.txt").read_text().strip()
    (variables,) = built.glob("_sysconfigdata*.py")
    return variables
