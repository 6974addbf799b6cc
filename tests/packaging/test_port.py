"""What stands in two places says the same: the port's skeleton, the page about FreeBSD, and the package."""

from __future__ import annotations

import re

import pytest

from gfwd import __version__
from tests.packaging.conftest import ROOT
from tests.packaging.reader import read

pytestmark = pytest.mark.recipe

PORT = ROOT / "packaging/freebsd/port/net-mgmt/gfwd"
SCRIPT = ROOT / "packaging/freebsd/gfwd.in"
MARK = re.compile("%%[A-Z_]+%%")


@pytest.fixture
def package(pack):
    done = pack()
    assert done.returncode == 0, done.stderr
    return read(ROOT / done.stdout.strip())


def test_links_lead_to_what_the_package_has() -> None:
    assert (PORT / "files/gfwd.in").resolve() == SCRIPT
    assert (PORT / "pkg-descr").resolve() == ROOT / "packaging/freebsd/pkg-descr"


def test_version_and_messages(package) -> None:
    assert re.search(rf"^DISTVERSION=\t{re.escape(__version__)}$", (PORT / "Makefile").read_text(), re.MULTILINE)
    said = (PORT / "files/pkg-message.in").read_text().replace("%%PREFIX%%", "/usr/local")
    for message in package.compact["messages"]:
        assert f"type: {message['type']}\n  message: <<EOM\n{message['message']}\nEOM\n" in said


def test_the_port_has_the_files_of_the_package(package) -> None:
    """But for the program, which it builds, the service, which USE_RC_SUBR installs, the pages and the licence."""
    places = {"%%ETCDIR%%": "etc/gfwd", "%%DATADIR%%": "share/gfwd", "%%EXAMPLESDIR%%": "share/examples/gfwd"}
    listed = set()
    for line in (PORT / "pkg-plist").read_text().splitlines():
        path = line.removeprefix("@sample ")
        for mark, place in places.items():
            path = path.replace(mark, place)
        # The ports tree gives newsyslog's entry to the operator, where the package has pkg(8) merge what he changes.
        listed.add(f"/usr/local/{path.replace('gfwd.conf.sample', 'gfwd.conf')}")
    others = re.compile(r"/usr/local/(sbin/|etc/rc\.d/|share/(doc|licenses|bash-completion|zsh|fish)/)")
    assert listed == {path for path in package.files if not others.match(path)}


def test_no_mark_is_left(package) -> None:
    for path, data in package.files.items():
        if "/share/doc/" not in path:
            assert not MARK.search(data.decode("latin-1")), path
    assert not MARK.search(str(package.manifest["scripts"]) + str(package.compact))


def test_the_page_has_all_of_the_service() -> None:
    page, script = (ROOT / "docs/freebsd.md").read_text(), SCRIPT.read_text()
    for name, usual in re.findall(r"^: \$\{(gfwd_[a-z]+):=(.*)\}$", script, re.MULTILINE):
        row = re.search(rf"^\| `{name}` \|.*\|$", page, re.MULTILINE)
        assert row is not None, name
        assert usual.replace("%%PREFIX%%", "/usr/local") in row[0]
        assert re.search(rf"^# {name} ", script, re.MULTILINE)
    extra = re.search(r'^extra_commands="(.*)"$', script, re.MULTILINE)
    assert extra is not None
    for command in ("start", "stop", "restart", "status", *extra[1].split()):
        assert f"\n| `{command}` |" in page, command
