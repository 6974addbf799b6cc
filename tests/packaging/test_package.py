"""The FreeBSD package: what is in it is what it says, and the same each time."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from gfwd import __version__
from gfwd.config import reading
from tests.packaging.conftest import ROOT
from tests.packaging.reader import Read, read, wrong_sums

pytestmark = pytest.mark.recipe

LOCAL = "/usr/local"


@pytest.fixture
def package(pack) -> Read:
    return read(made(pack()))


def made(done: subprocess.CompletedProcess[str]) -> Path:
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.rstrip("\n"))


def test_every_file_has_its_sum(package, executables) -> None:
    assert wrong_sums(package) == []
    assert package.files[f"{LOCAL}/sbin/gfwd"] == executables["x86_64-freebsd"].read_bytes()
    assert package.manifest["flatsize"] == sum(map(len, package.files.values()))


def test_the_reader_would_notice(package) -> None:
    path = f"{LOCAL}/sbin/gfwd"
    changed = package._replace(files={**package.files, path: package.files[path] + b"\0", f"{LOCAL}/more": b""})
    assert wrong_sums(changed) == [f"{LOCAL}/more", path]


def test_manifest(package) -> None:
    assert package.manifest.items() >= package.compact.items()
    its = package.compact
    assert its["name"] == "gfwd"
    assert its["version"] == __version__
    assert its["prefix"] == LOCAL
    # Without one of these, pkg(8) refuses it.
    assert all(its[key] for key in ("origin", "comment", "desc", "maintainer", "www", "licenses", "categories"))
    assert set(package.manifest) - set(its) == {"files", "config", "scripts"}
    assert set(package.manifest["config"]) <= set(package.files)


@pytest.mark.parametrize(
    ("target", "release", "abi", "arch"),
    [
        ("x86_64-freebsd", 14, "FreeBSD:14:amd64", "freebsd:14:x86:64"),
        ("x86_64-freebsd", 15, "FreeBSD:15:amd64", "freebsd:15:x86:64"),
        ("aarch64-freebsd", 14, "FreeBSD:14:aarch64", "freebsd:14:aarch64:64"),
        ("aarch64-freebsd", 15, "FreeBSD:15:aarch64", "freebsd:15:aarch64:64"),
    ],
)
def test_for_each_machine(pack, target, release, abi, arch) -> None:
    its = read(made(pack("--release", str(release), target=target)))
    assert (its.compact["abi"], its.compact["arch"]) == (abi, arch)
    assert wrong_sums(its) == []


def test_owners_modes_and_places(package) -> None:
    for entry in package.entries:
        assert (entry.uname, entry.gname, entry.uid, entry.gid) == ("root", "wheel", 0, 0)
        is_run = entry.name in {f"{LOCAL}/sbin/gfwd", f"{LOCAL}/etc/rc.d/gfwd"}
        assert entry.mode == (0o644 if not is_run else 0o755 if "sbin" in entry.name else 0o555), entry.name
    assert all(path.startswith(f"{LOCAL}/") for path in package.files)
    assert package.files.keys() >= {
        f"{LOCAL}/{path}"
        for path in (
            "etc/gfwd/gfwd.toml.sample",
            "etc/newsyslog.conf.d/gfwd.conf",
            "share/examples/gfwd/devfs.rules",
            "share/licenses/gfwd/LICENSE",
            "share/man/man8/gfwd.8.gz",
            "share/man/man5/gfwd.toml.5.gz",
            "share/man/man5/gfwd-rules.5.gz",
        )
    }
    # What an operator writes is no file of the package, so no upgrade can touch it.
    assert f"{LOCAL}/etc/gfwd/gfwd.toml" not in package.files


def test_pages_are_those_of_the_sources(package) -> None:
    for page in (ROOT / "packaging/man").glob("*.[58]"):
        packed = package.files[f"{LOCAL}/share/man/man{page.suffix[1:]}/{page.name}.gz"]
        assert gzip.decompress(packed) == page.read_bytes()


def test_places_that_texts_name_are_there(package) -> None:
    """Whoever follows a text of the package to another file of it finds it."""
    named = set()
    for path, data in package.files.items():
        text = gzip.decompress(data) if path.endswith(".gz") else data
        if "/share/doc/" not in path and "/sbin/" not in path:
            named |= set(re.findall(rf"{LOCAL}/share/(?:doc/)?gfwd/[a-z.-]+[a-z]", text.decode()))
    named |= set(re.findall(rf"{LOCAL}/share/doc/[a-z./-]+[a-z]", package.compact["messages"][0]["message"]))
    assert f"{LOCAL}/share/doc/gfwd/freebsd.md" in named
    assert named <= package.files.keys()


def test_same_commit_same_bytes(pack, tmp_path) -> None:
    first, second = (tmp_path / name for name in ("first", "second"))
    before = os.umask(0o077)
    try:
        one = made(pack(out=first, TZ="UTC", LC_ALL="C"))
    finally:
        os.umask(before)
    other = made(pack(out=second, TZ="Asia/Tokyo", LC_ALL="C.UTF-8", PYTHONHASHSEED="7"))
    assert one.read_bytes() == other.read_bytes()


def test_the_date_is_the_one_that_is_said(pack) -> None:
    its = read(made(pack(SOURCE_DATE_EPOCH="1700000000")))
    assert {entry.mtime for entry in its.entries} == {1700000000}
    refused = pack(SOURCE_DATE_EPOCH="yesterday")
    assert refused.returncode == 1
    assert refused.stderr == (
        "build/package.py: $SOURCE_DATE_EPOCH is 'yesterday': right would be seconds since 1970\n"
    )


def test_licences_of_what_is_in_the_executable(pack, executables, tmp_path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    executable = shutil.copy(executables["x86_64-freebsd"], beside / "gfwd")
    for name in ("gfwd.licences.txt", "gfwd.sbom.json", "report.xml"):
        (beside / name).write_text(f"this is {name}\n")
    its = read(made(pack("--executable", str(executable))))
    folder = f"{LOCAL}/share/licenses/gfwd"
    assert {path: data for path, data in its.files.items() if path.startswith(f"{folder}/gfwd.")} == {
        f"{folder}/gfwd.licences.txt": b"this is gfwd.licences.txt\n",
        f"{folder}/gfwd.sbom.json": b"this is gfwd.sbom.json\n",
    }


def test_revision(pack) -> None:
    path = made(pack("--revision", "3"))
    assert path.name == f"gfwd-{__version__}_3.pkg"
    assert read(path).compact["version"] == f"{__version__}_3"


def test_other_executables_are_refused(pack, executables, tmp_path) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(executables["x86_64-freebsd"].read_bytes()[:100])
    for name, release, what in (
        (executables["aarch64-freebsd"], 14, "is for another processor"),
        (executables["x86_64-freebsd"], 13, "is for FreeBSD 14 and later"),
        (Path("/bin/sh"), 14, "is no executable for FreeBSD"),
        (ROOT / "README.md", 14, "is no executable"),
        (cut, 14, "is cut off"),
        (tmp_path / "none", 14, "No such file"),
    ):
        done = pack("--executable", str(name), "--release", str(release))
        assert done.returncode == 1
        assert re.match(r"build/package\.py: .*" + re.escape(what), done.stderr), done.stderr
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.pkg"))


# ---- the sample ----


def test_the_sample_is_a_configuration_for_netmap(package, tmp_path) -> None:
    text = package.files[f"{LOCAL}/etc/gfwd/gfwd.toml.sample"].decode()
    path = tmp_path / "gfwd.toml"
    path.write_text(text)
    its = reading.load(path)
    assert [str(port) for port in (*its.inputs, *its.outputs)] == ["netmap:ix0*", "netmap:ix1*"]
    assert tomllib.loads(text)["log"] == {"to": "/var/log/gfwd.log"}
    assert b"/var/log/gfwd.log" in package.files[f"{LOCAL}/etc/newsyslog.conf.d/gfwd.conf"]
    assert not re.search(r'"xdp:', text)


class Host:
    """A folder that stands for a host's root, with the sample in it, and the package's scripts."""

    def __init__(self, package: Read, root: Path) -> None:
        self.scripts: dict[str, str] = package.manifest["scripts"]
        self.root = root
        self.config = root / "usr/local/etc/gfwd/gfwd.toml"
        self.config.parent.mkdir(parents=True)
        self.sample = self.config.with_name("gfwd.toml.sample")
        self.sample.write_text("sample\n")
        self.asked = root / "pw.log"
        (root / "bin").mkdir()
        (root / "bin/pw").write_text(f'#!/bin/sh\necho "$@" >>{self.asked}\ncase $3 in *show) exit 1; esac\n')
        (root / "bin/pw").chmod(0o755)

    def run(self, script: str, **more: str) -> None:
        its = {"PKG_PREFIX": LOCAL, "PKG_ROOTDIR": str(self.root), "PATH": f"{self.root}/bin:{os.environ['PATH']}"}
        subprocess.run(["sh", "-c", self.scripts[script]], env=its | more, check=True)


@pytest.fixture
def host(package, tmp_path) -> Host:
    return Host(package, tmp_path / "host")


def test_the_sample_becomes_the_configuration_where_there_is_none(host) -> None:
    host.run("post-install")
    assert host.config.read_text() == "sample\n"
    host.run("pre-deinstall")
    assert not host.config.exists()


def test_a_configuration_is_never_overwritten_nor_removed(host) -> None:
    host.config.write_text("mine\n")
    host.run("post-install")
    host.run("pre-deinstall")
    assert host.config.read_text() == "mine\n"


def test_nor_one_that_leads_elsewhere(host) -> None:
    host.config.symlink_to("not-mounted-yet")
    host.run("post-install")
    assert os.readlink(host.config) == "not-mounted-yet"


def test_an_upgrade_leaves_even_an_unchanged_one(host) -> None:
    host.run("post-install")
    host.run("pre-deinstall", PKG_UPGRADE="true")
    host.sample.write_text("new sample\n")
    host.run("post-install", PKG_UPGRADE="true")
    assert host.config.read_text() == "sample\n"


def test_group_and_user_are_made_once(host) -> None:
    host.run("pre-install")
    asked = host.asked.read_text().splitlines()
    assert [line.split()[2:4] for line in asked] == [
        ["groupshow", "gfwd"],
        ["groupadd", "gfwd"],
        ["usershow", "gfwd"],
        ["useradd", "gfwd"],
    ]
    assert all(line.startswith(f"-R {host.root} ") for line in asked)
    (host.root / "bin/pw").write_text(f'#!/bin/sh\necho "$@" >>{host.asked}\n')
    host.asked.unlink()
    host.run("pre-install")
    assert [line.split()[2] for line in host.asked.read_text().splitlines()] == ["groupshow", "usershow"]


# ---- by pkg(8) itself ----


class Pkg:
    """pkg(8), with a folder for the root of its host, and another one for its repository."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.root, self.repository, repositories = (folder / name for name in ("root", "repository", "repositories"))
        for each in (self.root, self.repository, repositories):
            each.mkdir()
        (repositories / "ours.conf").write_text(f'ours: {{ url: "file://{self.repository}", enabled: yes }}\n')
        self.command = [
            "pkg",
            "-o",
            "ABI=FreeBSD:14:amd64",
            "-o",
            "OSVERSION=1400000",
            "-o",
            f"REPOS_DIR={repositories}",
        ]
        self.environment = os.environ | {"PATH": f"{host.root}/bin:{os.environ['PATH']}"}
        self.config = self.root / "usr/local/etc/gfwd/gfwd.toml"

    def __call__(self, *arguments: str) -> None:
        self._run("-r", str(self.root), *arguments)

    def offer(self, package: Path) -> None:
        shutil.copy(package, self.repository)
        self._run("repo", str(self.repository))

    def _run(self, *arguments: str) -> None:
        command = [*self.command, *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def pkg(host, tmp_path) -> Pkg:
    if not shutil.which("pkg"):
        pytest.skip("no pkg(8)")
    return Pkg(host, tmp_path)


def test_pkg_adds_checks_and_deletes_it(pack, pkg) -> None:
    pkg("add", str(made(pack())))
    pkg("check", "-s", "-a")
    assert pkg.config.read_bytes() == pkg.config.with_name("gfwd.toml.sample").read_bytes()
    pkg("delete", "-y", "gfwd")
    assert not list(pkg.root.glob("usr/local/**/gfwd*"))


@pytest.mark.parametrize("more", ["", "# mine\n"])
def test_an_upgrade_by_pkg_leaves_the_configuration(pack, pkg, more) -> None:
    pkg.offer(made(pack()))
    pkg("install", "-y", "gfwd")
    with open(pkg.config, "a") as file:
        file.write(more)
    before = pkg.config.stat()
    pkg.offer(made(pack("--revision", "1")))
    pkg("update", "-f")  # it compares dates to the second, and both may be of the same
    pkg("upgrade", "-y")
    pkg("info", "-e", f"gfwd-{__version__}_1")
    assert pkg.config.read_text().endswith(more)
    assert (pkg.config.stat().st_ino, pkg.config.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.skipif(not shutil.which("pkg"), reason="no pkg(8)")
def test_pkg_writes_the_same(pack, package, tmp_path) -> None:
    done = pack("--pkg", out=tmp_path / "by-pkg")
    other = read(made(done))
    assert other.files == package.files
    for key, value in package.compact.items():
        assert other.compact[key] == value
    assert other.manifest["scripts"] == package.manifest["scripts"]
    for path in package.files:
        ours, theirs = package.entry(path), other.entry(path)
        assert (ours.mode, ours.uname, ours.gname, ours.mtime) == (
            theirs.mode,
            theirs.uname,
            theirs.gname,
            theirs.mtime,
        )
