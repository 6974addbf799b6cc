"""Makes a Debian package of the single binary: .cache/package/gfwd_VERSION_ARCHITECTURE.deb.

    python build/deb.py [--binary FILE] [--out FOLDER] [--maintainer "NAME <ADDRESS>"]

The binary must be made (build/binary.py). The time of all files is $SOURCE_DATE_EPOCH, or that of the last commit: the
same binary gives the same package.
"""

import argparse
import re
import sys
from email.utils import formatdate
from pathlib import Path

import native
import needs
import packaged
from deb_archive import Entry, deb
from packaged import FOLDER, PACKAGING

BINARY = Path(".cache/binary/gfwd")
LINUX = PACKAGING / "linux"
SHARE = "/usr/share"
DOC = f"{SHARE}/doc/gfwd"

MAINTAINER = f"The gfwd authors <{packaged.MAINTAINER}>"
DESCRIPTION = """\
forwarder of UDP logs: NetFlow, IPFIX, sFlow, syslog, SNMP traps
Exporters (routers, firewalls, servers) send their logs by UDP. For every
datagram gfwd picks one or more collectors by rule, rewrites the destination,
keeps the exporter's source address, and sends it on, without a copy and
without the kernel's network stack (AF_XDP).

All of it is in one executable. It is started by systemd as soon as there is an
/etc/gfwd/gfwd.toml and the service is enabled."""

README = """\
gfwd starts where there is an /etc/gfwd/gfwd.toml, and the service is enabled:

    cp /usr/share/doc/gfwd/examples/gfwd.toml /etc/gfwd/gfwd.toml
    gfwd check -c /etc/gfwd/gfwd.toml
    systemctl enable --now gfwd
"""

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: gfwd

Files: *
Copyright: {holder}
License: BSD-2-Clause
{text}
"""
HOLDS_OTHERS = "Comment: The executable holds works of others; gfwd.licences.txt beside this file has their licences.\n"

# What the sample says of places, put right for this package: the unit lets gfwd write below /var/log/gfwd alone.
SAMPLE = {
    "#:schema ./gfwd.schema.json": f"#:schema {DOC}/examples/gfwd.schema.json",
    "All keys are in docs/config.md.": "All keys are in gfwd.toml(5).",
    "(docs/": f"({DOC}/",
    '"/var/log/gfwd.log"': '"/var/log/gfwd/gfwd.log"',
}


def build(binary: Path, out: Path, maintainer: str = MAINTAINER) -> Path:
    """Returns the package's path. Raises BuildError where the binary is none, or asks for what Debian does not name,
    or the maintainer has no address.
    """
    if not re.fullmatch(r"[^<>\n]*[^<>\s] <[^<>@\s]+@[^<>@\s]+>", maintainer):
        raise native.BuildError(f"--maintainer is {maintainer!r}: right would be 'Jo Doe <jo@example.net>'")
    asked = needs.needs_of(binary)
    time = packaged.epoch()
    version = debian_version(packaged.version())
    fields = {
        "Package": "gfwd",
        "Version": version,
        "Architecture": asked.architecture,
        "Maintainer": maintainer,
        "Section": "net",
        "Priority": "optional",
        "Depends": f"{asked.libc}, systemd | systemd-standalone-sysusers | systemd-sysusers",
        "Recommends": "systemd",
        "Suggests": "logrotate",
        "Description": DESCRIPTION,
    }
    scripts = {name: (LINUX / "debian" / name).read_bytes() for name in ("postinst", "prerm", "postrm")}
    content = deb(fields, _entries(binary, _changelog(version, maintainer, time)), ["/etc/gfwd"], scripts, time=time)
    path = out / f"gfwd_{version}_{asked.architecture}.deb"
    path.parent.mkdir(parents=True, exist_ok=True)
    packaged.write_whole(path, content)
    return path


def debian_version(version: str) -> str:
    """1.2.3.dev4 comes before 1.2.3 here (PEP 440), and there only with a tilde (deb-version(7)). -1: its packaging."""
    return re.sub(r"\.?(dev|a|b|rc)(?=\d)", r"~\1", version) + "-1"


def _entries(binary: Path, changelog: bytes) -> list[Entry]:
    licences = list(packaged.licences(binary))
    return [
        Entry("/usr/sbin/gfwd", binary.read_bytes(), 0o755),
        Entry("/lib/systemd/system/gfwd.service", (LINUX / "gfwd.service").read_bytes()),
        Entry("/usr/lib/sysusers.d/gfwd.conf", (LINUX / "sysusers.conf").read_bytes()),
        Entry("/etc/logrotate.d/gfwd", (LINUX / "logrotate.conf").read_bytes(), is_config=True),
        # No configuration: where none was written nothing starts, and nobody's is ever replaced.
        Entry(f"{DOC}/README.Debian", README.encode()),
        Entry(f"{DOC}/examples/gfwd.toml", packaged.sample(SAMPLE).encode()),
        Entry(f"{DOC}/examples/gfwd.schema.json", (PACKAGING / "gfwd.schema.json").read_bytes()),
        Entry(f"{DOC}/copyright", _copyright(bool(licences))),
        Entry(f"{DOC}/changelog.gz", packaged.packed((native.ROOT / "CHANGELOG.md").read_bytes())),
        Entry(f"{DOC}/changelog.Debian.gz", packaged.packed(changelog)),
        *(Entry(f"{DOC}/{name}", content) for name, content in packaged.documents()),
        *(Entry(f"{DOC}/{name}", content) for name, content in licences),
        *(Entry(place, content) for place, content in packaged.pages(SHARE)),
        *(Entry(place, content) for place, content in packaged.completion(SHARE, zsh="vendor-completions")),
    ]


def _copyright(holds_others: bool) -> bytes:
    licence = (native.ROOT / "LICENSE").read_text("utf-8")
    holder = re.search(r"^Copyright \(c\) (.*)$", licence, re.MULTILINE)
    if holder is None:
        raise native.BuildError("LICENSE names nobody")
    terms = licence[holder.end() :].strip()
    head = COPYRIGHT.replace("\n\n", f"\n{HOLDS_OTHERS}\n", 1) if holds_others else COPYRIGHT
    text = head.format(holder=holder[1], text="\n".join(f" {line or '.'}" for line in terms.splitlines()))
    return text.encode()


def _changelog(version: str, maintainer: str, time: int) -> bytes:
    text = f"gfwd ({version}) unstable; urgency=medium\n\n  * This version; changelog.gz says what is new.\n\n"
    return f"{text} -- {maintainer}  {formatdate(time)}\n".encode()


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes a Debian package of the single binary.")
    parser.add_argument("--binary", type=Path, default=native.ROOT / BINARY, metavar="FILE", help=f"default: {BINARY}")
    parser.add_argument("--out", type=Path, default=native.ROOT / FOLDER, metavar="FOLDER", help=f"default: {FOLDER}")
    parser.add_argument("--maintainer", default=MAINTAINER, metavar="NAME", help=f"default: {MAINTAINER}")
    arguments = parser.parse_args()
    try:
        print(build(arguments.binary, arguments.out, arguments.maintainer))
    except native.BuildError as error:
        print(f"build/deb.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"build/deb.py: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
