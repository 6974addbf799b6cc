"""The Debian package: read by Debian's own tool and by a reader of the test's, and installed in a copy of this host."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import deb as recipe
from deb_archive import Entry, deb
from gfwd.config import reading
from tests.packaging.conftest import ROOT

pytestmark = [
    pytest.mark.recipe,
    pytest.mark.skipif(os.uname().sysname != "Linux", reason="packages of Debian are made on Linux"),
]

SECONDS = 120
EPOCH = 1_700_000_000
WANTS = "/etc/systemd/system/multi-user.target.wants"


# ---- a package ----


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Any that Linux runs; it stands for the single binary, which takes minutes to make."""
    path = tmp_path_factory.mktemp("binary") / "gfwd"
    shutil.copy2(shutil.which("true") or "/bin/true", path)
    return path


def make(binary: Path, out: Path, *arguments: str, epoch: str = str(EPOCH)) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "build" / "deb.py", "--binary", binary, "--out", out, *arguments],
        env=os.environ | {"SOURCE_DATE_EPOCH": epoch},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def package(executable, tmp_path_factory) -> Path:
    done = make(executable, tmp_path_factory.mktemp("package"))
    assert (done.returncode, done.stderr) == (0, "")
    return Path(done.stdout.strip())


# ---- a reader that knows nothing of the writer ----


def members(content: bytes) -> dict[str, bytes]:
    """The files of an ar archive (ar(5)), in turn."""
    assert content[:8] == b"!<arch>\n"
    found, at = {}, 8
    while at < len(content):
        head = content[at : at + 60]
        assert head[58:] == b"`\n"
        size = int(head[48:58])
        found[head[:16].decode().rstrip()] = content[at + 60 : at + 60 + size]
        assert len(found[head[:16].decode().rstrip()]) == size
        at += 60 + size + size % 2
    return found


def tar_of(content: bytes, kind: str) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(members(content)[f"{kind}.tar.xz"]), mode="r:xz")


def files(tar: tarfile.TarFile) -> dict[str, bytes]:
    found = {}
    for info in tar:
        if (opened := tar.extractfile(info)) is not None:
            found[info.name.removeprefix(".")] = opened.read()
    return found


def fields(control: bytes) -> dict[str, str]:
    lines = control.decode().replace("\n ", " ").splitlines()
    return dict(line.split(": ", 1) for line in lines)


def test_what_is_in_it(package, executable):
    content = package.read_bytes()
    assert list(members(content)) == ["debian-binary", "control.tar.xz", "data.tar.xz"]
    assert members(content)["debian-binary"] == b"2.0\n"
    data = files(tar_of(content, "data"))
    assert data["/usr/sbin/gfwd"] == executable.read_bytes()
    assert data["/lib/systemd/system/gfwd.service"] == (ROOT / "packaging/linux/gfwd.service").read_bytes()
    assert gzip.decompress(data["/usr/share/doc/gfwd/changelog.gz"]) == (ROOT / "CHANGELOG.md").read_bytes()
    assert b"BSD-2-Clause" in data["/usr/share/doc/gfwd/copyright"]
    for name, place in (
        ("gfwd.bash", "bash-completion/completions/gfwd"),
        ("_gfwd", "zsh/vendor-completions/_gfwd"),
        ("gfwd.fish", "fish/vendor_completions.d/gfwd.fish"),
    ):
        assert data[f"/usr/share/{place}"] == (ROOT / "packaging" / "completion" / name).read_bytes()
    for page in (ROOT / "packaging" / "man").glob("*.[1-9]"):
        its = gzip.decompress(data[f"/usr/share/man/man{page.suffix[1:]}/{page.name}.gz"])
        assert its == page.read_bytes().replace(b"/usr/local/share/doc/gfwd/", b"/usr/share/doc/gfwd/")
    assert not any(path.startswith("/etc/gfwd/") for path in data), "nobody's configuration is ours to replace"


def test_places_that_texts_name_are_there(package):
    """Whoever follows a text of the package to another file of it finds it."""
    data = files(tar_of(package.read_bytes(), "data"))
    named: set[str] = set()
    for path, content in data.items():
        text = gzip.decompress(content) if path.endswith(".gz") else content
        if path != "/usr/sbin/gfwd":
            named |= set(re.findall(r"(?<!/local)(/usr/share/(?:doc/gfwd|man)/[\w./-]*\w\.\w+)", text.decode()))
    assert {f"/usr/share/doc/gfwd/{name}" for name in ("log.md", "examples/gfwd.schema.json")} <= named
    assert named <= data.keys()


def test_the_sample_is_a_configuration_for_this_unit(package, tmp_path):
    data = files(tar_of(package.read_bytes(), "data"))
    text = data["/usr/share/doc/gfwd/examples/gfwd.toml"].decode()
    path = tmp_path / "gfwd.toml"
    path.write_text(text)
    its = reading.load(path)
    assert [str(port) for port in (*its.inputs, *its.outputs)] == ["xdp:eth0", "xdp:eth1"]
    folders = set(re.findall(r"/var/log/[\w.-]+", text))
    assert folders == {"/var/log/gfwd"}, "elsewhere the service may not write"
    assert not re.search(r"docs/|\./gfwd\.schema", text), "there is no such folder beside it"


def test_licences_of_what_is_in_the_executable(executable, tmp_path):
    """As build/sbom.py calls them, and the FreeBSD package."""
    binary = Path(shutil.copy(executable, tmp_path / "gfwd"))
    for name in ("gfwd.licences.txt", "gfwd.sbom.json", "report.xml"):
        binary.with_name(name).write_text(f"this is {name}\n")
    done = make(binary, tmp_path / "out")
    data = files(tar_of(Path(done.stdout.strip()).read_bytes(), "data"))
    assert {path: content for path, content in data.items() if b"this is " in content[:8]} == {
        "/usr/share/doc/gfwd/gfwd.licences.txt": b"this is gfwd.licences.txt\n",
        "/usr/share/doc/gfwd/gfwd.sbom.json": b"this is gfwd.sbom.json\n",
    }
    assert (
        b"\nComment: The executable holds works of others; gfwd.licences.txt" in data["/usr/share/doc/gfwd/copyright"]
    )


def test_a_date_that_is_none_is_refused(executable, tmp_path):
    done = make(executable, tmp_path, epoch="yesterday")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "build/deb.py: $SOURCE_DATE_EPOCH is 'yesterday': right would be seconds since 1970\n"


@pytest.mark.parametrize("who", ["", "Jo Doe", "jo@example.net", "Jo <jo@example.net>\nEssential: yes"])
def test_a_maintainer_whom_nobody_could_write_to_is_refused(executable, tmp_path, who):
    done = make(executable, tmp_path, "--maintainer", who)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"build/deb.py: --maintainer is {who!r}: right would be 'Jo Doe <jo@example.net>'\n"


def test_sums_modes_and_owners(package):
    content = package.read_bytes()
    data, control = files(tar_of(content, "data")), files(tar_of(content, "control"))
    sums = {line[34:]: line[:32] for line in control["/md5sums"].decode().splitlines()}
    conffiles = set(control["/conffiles"].decode().splitlines())
    assert {f"/{path}" for path in sums} | conffiles == data.keys()
    assert {path for path in data if path.startswith("/etc/")} == conffiles
    for path, its in sums.items():
        assert hashlib.md5(data[f"/{path}"], usedforsecurity=False).hexdigest() == its
    seen: set[str] = set()
    for info in tar_of(content, "data"):
        assert (info.uid, info.gid, info.uname, info.gname, info.mtime) == (0, 0, "root", "root", EPOCH)
        is_program = info.isdir() or info.name == "./usr/sbin/gfwd"
        assert info.mode == (0o755 if is_program else 0o644), info.name
        assert info.name == "./" or str(Path(info.name).parent) in seen | {"."}, "a folder comes before what is in it"
        seen.add(str(Path(info.name)))
    for info in tar_of(content, "control"):
        assert info.mode == (0o755 if info.name in ("./postinst", "./prerm", "./postrm") or info.isdir() else 0o644)


def test_depends_on_what_the_executable_asks_for(package, executable):
    """objdump is no part of the recipe, and says the same."""
    if shutil.which("objdump") is None:
        pytest.skip("needs objdump: apt-get install binutils")
    text = subprocess.run(["objdump", "-T", executable], capture_output=True, text=True, check=True).stdout
    asked = {word.strip("()") for word in text.split() if word.strip("()").startswith("GLIBC_2")}
    newest = max(tuple(map(int, one.removeprefix("GLIBC_").split("."))) for one in asked)
    its = fields(files(tar_of(package.read_bytes(), "control"))["/control"])
    assert its["Depends"].startswith(f"libc6 (>= {'.'.join(map(str, newest))})")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    assert package.name == f"gfwd_{its['Version']}_{machine}.deb" and its["Architecture"] == machine


def test_same_content_same_bytes(package, executable, tmp_path):
    """Wherever, and under whatever umask."""
    before = os.umask(0o077)
    try:
        done = make(executable, tmp_path)
    finally:
        os.umask(before)
    assert Path(done.stdout.strip()).read_bytes() == package.read_bytes()


def test_debians_own_tool_reads_it(package, tmp_path):
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb")
    subprocess.run(["dpkg-deb", "--raw-extract", package, tmp_path / "out"], check=True, timeout=SECONDS)
    data = files(tar_of(package.read_bytes(), "data"))
    found = {f"/{one.relative_to(tmp_path / 'out')}" for one in (tmp_path / "out").rglob("*") if one.is_file()}
    assert {path for path in found if not path.startswith("/DEBIAN/")} == data.keys()
    shown = subprocess.run(
        ["dpkg-deb", "--field", package, "Package", "Version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines()[0] == "Package: gfwd"


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF" + bytes(100)])
def test_what_is_no_executable_is_refused(content, tmp_path):
    (tmp_path / "gfwd").write_bytes(content)
    done = make(tmp_path / "gfwd", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith(f"build/deb.py: {tmp_path / 'gfwd'}: ") and "Traceback" not in done.stderr


def test_without_an_executable_it_says_so(tmp_path):
    done = make(tmp_path / "none", tmp_path)
    assert (done.returncode, done.stderr) == (1, f"build/deb.py: {tmp_path / 'none'}: No such file or directory\n")


@pytest.mark.parametrize(
    ("version", "debian"),
    [("0.1.0", "0.1.0-1"), ("0.2.0.dev3", "0.2.0~dev3-1"), ("1.0rc1", "1.0~rc1-1"), ("1.0b2", "1.0~b2-1")],
)
def test_versions_in_debians_order(version, debian):
    assert recipe.debian_version(version) == debian


@given(
    st.dictionaries(
        st.lists(st.text("abcxyz0.-_", min_size=1).filter(lambda name: name.strip(".")), min_size=1, max_size=4).map(
            lambda parts: "/d/" + "/d/".join(parts)
        ),
        st.binary(max_size=300),
        max_size=6,
    )
)
def test_any_files(content):
    """What was put in comes out, whatever its name, and however long."""
    entries = [Entry(path, data) for path, data in content.items()]
    if any(one != other and other.startswith(f"{one}/") for one in content for other in content):
        return  # a file cannot be a folder, too
    made = deb({"Package": "x"}, entries, ["/empty"], {}, time=EPOCH)
    assert files(tar_of(made, "data")) == content
    assert "./empty" in tar_of(made, "data").getnames()
    assert made == deb({"Package": "x"}, reversed(entries), ["/empty"], {}, time=EPOCH)


# ---- installed, in a copy of this system that is thrown away ----

# All that is written goes to memory (overlayfs), in a mount namespace that ends with the shell.
COPY = """
set -e
room=$1; shift
mount -t tmpfs tmpfs "$room"
mkdir "$room/upper" "$room/work" "$room/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$room/upper,workdir=$room/work" "$room/root"
mount -t proc proc "$room/root/proc"
mount -t tmpfs tmpfs "$room/root/run"
mount --bind /dev "$room/root/dev"
for file in "$@"; do cp "$file" "$room/root/"; done
exec chroot "$room/root" /bin/sh -e
"""


class Copy:
    """A copy of this system. Each call starts from this system anew."""

    def __init__(self, room: Path) -> None:
        self._room = room

    def run(self, script: str, *copied: Path) -> subprocess.CompletedProcess[str]:
        """script: for sh. copied: files, to be found in the root folder."""
        return subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--propagation", "private",
             "sh", "-c", COPY, "sh", self._room, *copied],
            input=script, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip


@pytest.fixture
def copy(tmp_path) -> Iterator[Copy]:
    if os.geteuid() != 0 or shutil.which("dpkg") is None:
        pytest.skip("needs root, and dpkg")
    room = tmp_path / "room"
    room.mkdir()
    made = Copy(room)
    probe = made.run("command -v systemd-sysusers")
    if probe.returncode != 0:
        pytest.skip(f"needs overlayfs and systemd-sysusers (apt-get install systemd): {probe.stderr}")
    yield made


@pytest.fixture
def newer(executable: Path, tmp_path: Path) -> Path:
    """The same package, but for its version."""
    content = executable.read_bytes()
    fields = {"Package": "gfwd", "Version": "99-1", "Architecture": "all", "Maintainer": "x <x@localhost>"}
    fields["Description"] = "a later one"
    scripts = {name: (ROOT / "packaging/linux/debian" / name).read_bytes() for name in ("postinst", "prerm", "postrm")}
    units = Entry("/usr/lib/sysusers.d/gfwd.conf", (ROOT / "packaging/linux/sysusers.conf").read_bytes())
    rotate = Entry("/etc/logrotate.d/gfwd", b"# by another version\n", is_config=True)
    entries = [Entry("/usr/sbin/gfwd", content, 0o755), units, rotate]
    path = tmp_path / "newer.deb"
    path.write_bytes(deb(fields, entries, ["/etc/gfwd"], scripts, time=EPOCH))
    return path


# Packages that are missing here are not what these tests are about.
INSTALL = "dpkg --force-depends --force-confdef --force-confold -i"


def test_install_upgrade_remove_purge(copy, package, newer, tmp_path):
    toml = tmp_path / "gfwd.toml"
    toml.write_text("# the operator's own\n")
    script = f"""
    exec 2>&1
    {INSTALL} /{package.name} >/dev/null
    getent passwd gfwd | cut -d: -f1,6,7
    /usr/sbin/gfwd && echo runs
    dpkg -V gfwd && echo whole
    ls -A /etc/gfwd
    test ! -e {WANTS}/gfwd.service && echo not enabled

    cp /gfwd.toml /etc/gfwd/gfwd.toml
    echo '# mine' >> /etc/logrotate.d/gfwd
    mkdir -p /var/cache/gfwd/left /var/log/gfwd {WANTS}
    ln -s /lib/systemd/system/gfwd.service {WANTS}/gfwd.service
    before=$(cat /etc/gfwd/gfwd.toml /etc/logrotate.d/gfwd | md5sum)
    {INSTALL} /{newer.name} </dev/null >/dev/null 2>&1
    test "$before" = "$(cat /etc/gfwd/gfwd.toml /etc/logrotate.d/gfwd | md5sum)" && echo kept by an upgrade
    dpkg-query -W -f '${{Version}} ${{Status}}\n' gfwd

    dpkg -r gfwd >/dev/null
    test ! -e /usr/sbin/gfwd && echo removed
    test "$before" = "$(cat /etc/gfwd/gfwd.toml /etc/logrotate.d/gfwd | md5sum)" && echo kept by a removal
    dpkg -P gfwd >/dev/null
    ls -d /var/cache/gfwd /var/log/gfwd /etc/logrotate.d/gfwd 2>/dev/null || true
    test ! -L {WANTS}/gfwd.service && echo purged
    cat /etc/gfwd/gfwd.toml
    """
    done = copy.run(script, package, newer, toml)
    said = [line for line in done.stdout.splitlines() if not line.startswith(("dpkg: warning", " ", "Creating "))]
    assert said == [
        "gfwd:/nonexistent:/usr/sbin/nologin",
        "runs",
        "whole",
        "not enabled",
        "kept by an upgrade",
        "99-1 install ok installed",
        "removed",
        "kept by a removal",
        "purged",
        "# the operator's own",
    ], done.stdout + done.stderr
    assert done.returncode == 0


# What stands in for a systemd that is up: what is asked of it is written down, and gfwd is active.
SYSTEMD = """
mkdir -p /run/systemd/system /opt/asked
for name in systemctl deb-systemd-invoke; do
    printf '#!/bin/sh\\necho "%s $*" >>/opt/asked/all\\n' $name >/opt/asked/$name
    chmod 755 /opt/asked/$name
done
PATH=/opt/asked:$PATH
"""


def test_a_removal_that_is_called_off(copy, package):
    """dpkg has prerm stop gfwd, and then another package stands in the way: it runs again, as it did."""
    scripts = [f"/var/lib/dpkg/info/gfwd.{name}" for name in ("prerm", "postinst")]
    done = copy.run(
        f"""{INSTALL} /{package.name} >/dev/null 2>&1
        {SYSTEMD}
        {scripts[0]} remove in-favour other 1-1
        {scripts[1]} abort-remove in-favour other 1-1
        cat /opt/asked/all
        """,
        package,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "deb-systemd-invoke stop gfwd.service",
        "systemctl daemon-reload",
        "systemctl --quiet is-enabled gfwd.service",
        "deb-systemd-invoke start gfwd.service",
    ]


def test_systemd_finds_the_unit_where_it_is_installed(copy, package):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    done = copy.run(f"{INSTALL} /{package.name} >/dev/null 2>&1; systemd-analyze verify --man=no gfwd.service", package)
    assert done.returncode == 0
    assert "gfwd" not in done.stdout + done.stderr
