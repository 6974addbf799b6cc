"""What is in the FreeBSD package: each file with its place and mode, and the manifest's words."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import native
import packaged
from packaged import PACKAGING

NAME: Final = "gfwd"
FREEBSD: Final = PACKAGING / "freebsd"

PROGRAM: Final = 0o755
SCRIPT: Final = 0o555  # as the ports tree installs rc.d
PLAIN: Final = 0o644


LICENCES: Final = ("APACHE20", "BSD2CLAUSE", "BSD3CLAUSE", "ISCL", "MIT", "PSFL", "ZLIB")
"""gfwd's, and of what is in the executable (Python, OpenSSL, …), as the ports tree calls them."""


class Words(NamedTuple):
    """How a target is called by uname -p, by the manifest's key arch, and by ELF (e_machine)."""

    machine: str
    arch: str
    elf: int


TARGETS: Final = {
    "x86_64-freebsd": Words("amd64", "x86:64", 62),
    "aarch64-freebsd": Words("aarch64", "aarch64:64", 183),
}
# uname -m says arm64, and packages are for aarch64, as uname -p says.


class File(NamedTuple):
    """A file of the package: where it goes, all that is in it, and its mode. Root's, and wheel's."""

    path: str
    data: bytes
    mode: int = PLAIN


@dataclass(frozen=True)
class Package:
    """prefix: where it goes, such as /usr/local. epoch: the date of all files, in seconds since 1970."""

    target: str
    release: int
    revision: int
    prefix: str
    epoch: int
    files: tuple[File, ...]

    @property
    def version(self) -> str:
        """As pkg(8) compares them: PORTREVISION stands behind an underscore. Raises BuildError."""
        text = packaged.version()
        if not re.fullmatch(r"[0-9][0-9a-z.]*", text):
            raise native.BuildError(f"{text} in gfwd/__init__.py is no version of a package: digits, letters and dots")
        return text + (f"_{self.revision}" if self.revision else "")

    def manifest(self) -> dict[str, Any]:
        """All but the files, in the order in which pkg-create(8) writes the keys."""
        words = TARGETS[self.target]
        return {
            "name": NAME,
            "origin": f"net-mgmt/{NAME}",
            "version": self.version,
            "comment": "Forwards NetFlow, sFlow, syslog and SNMP traps by rule, without a copy",
            "maintainer": packaged.MAINTAINER,
            "www": "https://github.com/Phi-phi/gForwarder",  # which gfwd takes up
            "abi": f"FreeBSD:{self.release}:{words.machine}",
            "arch": f"freebsd:{self.release}:{words.arch}",
            "prefix": self.prefix,
            "flatsize": sum(len(file.data) for file in self.files),
            "licenselogic": "and",
            "licenses": list(LICENCES),
            "desc": (FREEBSD / "pkg-descr").read_text().strip(),
            "categories": ["net-mgmt"],
            "messages": [
                {"message": _at(self.prefix, f"message-{when}").strip(), "type": when}
                for when in ("install", "upgrade")
            ],
        }

    def scripts(self) -> dict[str, str]:
        return {path.name: path.read_text().rstrip("\n") for path in sorted((FREEBSD / "scripts").iterdir())}

    def config(self) -> list[str]:
        """Files in which pkg(8) keeps what an operator has changed, when it upgrades."""
        return [f"{self.prefix}/etc/newsyslog.conf.d/gfwd.conf"]


def files(prefix: str, executable: Path) -> tuple[File, ...]:
    """Sorted by their places."""
    return tuple(sorted(_files(prefix, executable)))


def _files(prefix: str, executable: Path) -> Iterator[File]:
    share = f"{prefix}/share"
    yield File(f"{prefix}/sbin/gfwd", executable.read_bytes(), PROGRAM)
    yield File(f"{prefix}/etc/rc.d/gfwd", _at(prefix, "gfwd.in").encode(), SCRIPT)
    yield File(f"{prefix}/etc/gfwd/gfwd.toml.sample", sample(prefix).encode())
    yield File(f"{prefix}/etc/newsyslog.conf.d/gfwd.conf", (FREEBSD / "newsyslog.conf").read_bytes())
    yield File(f"{share}/examples/gfwd/devfs.rules", (FREEBSD / "devfs.rules").read_bytes())
    yield File(f"{share}/gfwd/gfwd.schema.json", (PACKAGING / "gfwd.schema.json").read_bytes())
    for place, data in packaged.pages(share):
        yield File(place, data)
    for name, data in packaged.documents():
        yield File(f"{share}/doc/gfwd/{name}", data)
    yield File(f"{share}/doc/gfwd/CHANGELOG.md", (native.ROOT / "CHANGELOG.md").read_bytes())
    yield File(f"{share}/licenses/gfwd/LICENSE", (native.ROOT / "LICENSE").read_bytes())
    for name, data in packaged.licences(executable):
        yield File(f"{share}/licenses/gfwd/{name}", data)
    for place, data in packaged.completion(share, zsh="site-functions"):
        yield File(place, data)


def sample(prefix: str) -> str:
    """packaging/gfwd.toml.sample as FreeBSD has it: ports of netmap, a log that newsyslog(8) turns over."""
    return packaged.sample(
        {
            "#:schema ./gfwd.schema.json": f"#:schema {prefix}/share/gfwd/gfwd.schema.json",
            "All keys are in docs/config.md.": "All keys are in gfwd.toml(5).",
            "(docs/": f"({prefix}/share/doc/gfwd/",
            'in = ["xdp:eth0"]\nout = ["xdp:eth1"]\n': 'in = ["netmap:ix0*"]\nout = ["netmap:ix1*"]\n',
            "# [log]\n": "[log]\n",
            '# to = "syslog"        # or a file: "/var/log/gfwd.log"\n': 'to = "/var/log/gfwd.log" # or "syslog"\n',
            '"xdp:eth': '"netmap:ix',
        }
    )


def _at(prefix: str, name: str) -> str:
    """A text with the ports tree's marks for where things are."""
    text = (FREEBSD / name).read_text("utf-8")
    return text.replace("%%GFWD%%", f"{prefix}/sbin/gfwd").replace("%%PREFIX%%", prefix)
