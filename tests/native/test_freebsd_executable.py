"""The executable for FreeBSD that is made on Linux: its files are read, since they cannot be run here."""

import hashlib
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from freebsd import elf, executable, proof, sources, stage, target

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.recipe,
    pytest.mark.skipif(platform.system() != "Linux", reason="zig's compiler is installed on Linux only"),
]
TARGETS = [target.named(name) for name in target.NAMES]


@pytest.fixture(params=TARGETS, ids=lambda param: param.name)
def built(request) -> target.Target:
    wanted: target.Target = request.param
    if not (ROOT / executable.OUTPUT / wanted.name / executable.NAME).exists():
        pytest.skip(f"not made; make binary TARGET={wanted.name} makes it")
    return wanted


# ---- what was made ----


def test_freebsd_14_starts_all_of_it(built):
    assert list(proof.findings(built)) == []


def test_nothing_of_this_machine_is_in_it(built):
    """Neither its libraries, nor where they or the sources lie."""
    files = executable.parts(built)
    assert [path.name for path in files if "x86_64-linux-gnu" in path.name] == []
    assert [path.name for path in files if str(ROOT).encode() in path.read_bytes()] == []


# ---- the reader sees what is wrong ----


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Compiles a program for a target."""

    def compile_for(machine: target.Target, source: str, *flags: str) -> Path:
        machine.write_tools()
        folder: Path = tmp_path_factory.mktemp("program")
        (folder / "main.c").write_text(source)
        command = [machine.tool("clang"), "main.c", "-o", "main", *flags]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return folder / "main"

    return compile_for


MAIN = "int main(void) { return 0; }"


def problems(path: Path, machine: target.Target, is_program: bool = True) -> list[str]:
    return list(elf.problems(elf.read(path), machine, elf.base_system(machine), is_program))


@pytest.mark.parametrize("machine", TARGETS, ids=lambda machine: machine.name)
def test_a_right_program(machine, made):
    assert problems(made(machine, MAIN), machine) == []


def test_another_machine(made):
    x86, arm = TARGETS
    assert problems(made(x86, MAIN), arm) == ["is for EM_X86_64, and not for aarch64"]


def test_a_program_of_this_system():
    said = problems(Path(sys.executable).resolve(), TARGETS[0])
    assert any("is started by /lib" in line for line in said)
    assert any("FreeBSD version None" in line for line in said)
    assert any(line.startswith("needs lib") for line in said)


def test_a_library_that_is_not_the_base_systems_and_a_place_to_look_for_it(made):
    source = "#include <execinfo.h>\nint main(void) { void *frame; return (int)backtrace(&frame, 1); }"
    path = made(TARGETS[0], source, "-lexecinfo", "-Wl,-rpath,/usr/local/lib")
    assert problems(path, TARGETS[0])[:2] == [
        "needs libexecinfo.so.1, which is none of libc.so.7, libm.so.5, libthr.so.3",
        "looks for libraries in /usr/local/lib",
    ]


def test_a_symbol_that_freebsd_14_does_not_have(made):
    source = "int later(void); int use(void); int use(void) { return later(); }"
    path = made(TARGETS[0], source, "-shared", "-fPIC")
    assert problems(path, TARGETS[0], is_program=False) == ["asks for later, which FreeBSD 14.0 does not have"]


def test_a_version_of_a_symbol_that_freebsd_14_does_not_have(made):
    known = elf.base_system(TARGETS[0])
    read = elf.read(made(TARGETS[0], MAIN))
    later = replace(read, asked=read.asked | {("read", "FBSD_1.9")})
    assert list(elf.problems(later, TARGETS[0], known, True)) == [
        "asks for read@FBSD_1.9, which FreeBSD 14.0 does not have"
    ]


# ---- the recipe ----


def test_cffi_is_the_one_that_writes_the_bridge():
    """What build/native.py generates with one version of cffi is compiled against that version's C part."""
    assert f"\ncffi=={sources.read()['cffi'].version} " in (ROOT / "requirements.lock").read_text("utf-8")


def test_each_source_tells_of_itself():
    known = sources.read()
    assert {"cpython", "openssl", "libffi", "zlib", "cffi"} <= known.keys()
    for source in known.values():
        assert len(bytes.fromhex(source.sha256)) == 32
        assert all(address.startswith("http") for address in (source.url, *source.mirrors))
        assert source.licence and source.version


def test_another_file_than_the_pinned_one_is_refused(tmp_path, monkeypatch):
    """Nor is one that cannot be had: the message names each address, and why."""
    served = tmp_path / "zlib.tar.gz"
    served.write_bytes(b"another one")
    monkeypatch.setattr(sources, "FOLDER", tmp_path / "sources")
    source = replace(sources.read()["zlib"], url=served.as_uri(), mirrors=((tmp_path / "none").as_uri(),))
    with pytest.raises(Exception, match=r"(?s)zlib 1\.3\.1 cannot be fetched.*has SHA-256 .*none"):
        source.fetch()


def test_the_second_address_is_asked_where_the_first_has_nothing(tmp_path, monkeypatch):
    served = tmp_path / "zlib.tar.gz"
    served.write_bytes(b"the one")
    monkeypatch.setattr(sources, "FOLDER", tmp_path / "sources")
    sha256 = hashlib.sha256(b"the one").hexdigest()
    source = replace(
        sources.read()["zlib"], url=(tmp_path / "none").as_uri(), mirrors=(served.as_uri(),), sha256=sha256
    )
    assert source.fetch().read_bytes() == b"the one"
    served.unlink()
    assert source.fetch().read_bytes() == b"the one"  # kept


def test_a_stage_is_made_once_and_again_when_an_input_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "FOLDER", tmp_path)
    file = tmp_path / "input"
    count = []

    def make(work: stage.Work) -> None:
        count.append(1)
        work.run(["sh", "-c", f"echo made > {work.product}/result"], work.scratch)

    for content, times in (("a", 1), ("a", 1), ("b", 2), ("a", 3)):
        file.write_text(content)
        result = stage.made("one", (file, "always"), make)
        assert (len(count), (result.folder / "result").read_text()) == (times, "made\n")


def test_a_stage_that_failed_is_made_again_and_says_what_the_command_said(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "FOLDER", tmp_path)

    def make(work: stage.Work) -> None:
        work.run(["sh", "-c", "echo because; exit 3"], work.scratch)

    for _ in range(2):
        with pytest.raises(Exception, match=r"(?s)because\nsh ended with status 3: .*one\.log"):
            stage.made("one", (), make)


def test_the_fingerprint_is_of_the_recipe(monkeypatch, tmp_path):
    before = proof.fingerprint()
    assert proof.fingerprint() == before
    monkeypatch.setattr(proof, "BESIDES", proof.BESIDES[1:])
    assert proof.fingerprint() != before
