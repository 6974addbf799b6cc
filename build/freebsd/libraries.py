"""zlib, libffi and OpenSSL as static libraries: each a stage with include/ and lib/."""

import inspect
import shutil
from collections.abc import Callable
from pathlib import Path

from freebsd import sources
from freebsd.stage import Stage, Work, made
from freebsd.target import Target

# Python's ssl and hashlib speak TLS 1.2 and 1.3 with what is left. Ciphers and hashes of old, engines, modules that are
# loaded at run time, and what only OpenSSL's own commands use, stay out.
OPENSSL_WITHOUT = """
    no-shared no-dso no-engine no-legacy no-module no-tests no-unit-test no-async no-comp no-ui-console
    no-autoload-config no-ssl3 no-ssl3-method no-tls1 no-tls1-method no-tls1_1 no-tls1_1-method no-dtls no-srp no-psk
    no-srtp no-gost no-idea no-seed no-camellia no-aria no-sm2 no-sm3 no-sm4 no-rc2 no-rc4 no-rc5 no-bf no-cast
    no-mdc2 no-md4 no-rmd160 no-whirlpool no-siphash no-ts no-cms no-cmp no-ct no-rfc3779 no-ec2m
"""

# The base system's certificates, which its administrator keeps with certctl(8).
OPENSSL_FOLDER = "/etc/ssl"

Steps = Callable[[Target, Work, Path, int], None]
"""Makes a library for a target out of the folder with its sources, with so many compilers at once."""


def zlib(target: Target, work: Work, source: Path, jobs: int) -> None:
    work.run(["./configure", "--static", f"--prefix={work.product}"], source, CFLAGS="-O2 -fPIC", CHOST=target.gnu)
    work.run(["make", f"-j{jobs}", "libz.a"], source)
    for folder, names in (("include", ("zlib.h", "zconf.h")), ("lib", ("libz.a",))):
        (work.product / folder).mkdir()
        for name in names:
            shutil.copy(source / name, work.product / folder)


LIBFFI = ("--disable-shared", "--enable-static", "--with-pic", "--disable-docs", "--disable-multi-os-directory")


def libffi(target: Target, work: Work, source: Path, jobs: int) -> None:
    machine = f"--host={target.gnu}"
    work.run(["./configure", machine, f"--prefix={work.product}", *LIBFFI], source, CFLAGS="-O2")
    work.run(["make", f"-j{jobs}", "install"], source)


def openssl(target: Target, work: Work, source: Path, jobs: int) -> None:
    folders = ("--prefix=/usr", "--libdir=lib", f"--openssldir={OPENSSL_FOLDER}")  # compiled in; nothing is installed
    work.run(["perl", "Configure", f"BSD-{target.machine}", *OPENSSL_WITHOUT.split(), *folders], source)
    work.run(["make", f"-j{jobs}", "build_generated", "libcrypto.a", "libssl.a"], source)
    (work.product / "lib").mkdir()
    for name in ("libcrypto.a", "libssl.a"):
        shutil.copy(source / name, work.product / "lib")
    shutil.copytree(source / "include", work.product / "include")


ALL: dict[str, Steps] = {"zlib": zlib, "libffi": libffi, "openssl": openssl}


def build(target: Target, jobs: int) -> dict[str, Stage]:
    """Each by its name. Raises BuildError."""
    known = sources.read()

    def library(name: str, steps: Steps) -> Stage:
        def make(work: Work) -> None:
            steps(target, work, known[name].unpack(work.scratch), jobs)

        inputs = (target.version(), known[name].sha256, inspect.getsource(steps), repr((OPENSSL_WITHOUT, LIBFFI)))
        return made(f"{target.name}/{name}", inputs, make, target.environment())

    return {name: library(name, steps) for name, steps in ALL.items()}


def libffi_here(compiler: str, jobs: int) -> Stage:
    """libffi for this machine: Nuitka imports ctypes. compiler: the version of cc."""
    source = sources.read()["libffi"]

    def make(work: Work) -> None:
        folder = source.unpack(work.scratch)
        work.run(["./configure", f"--prefix={work.product}", *LIBFFI], folder, CFLAGS="-O2")
        work.run(["make", f"-j{jobs}", "install"], folder)

    return made("host-libffi", (compiler, source.sha256, repr(LIBFFI)), make)
