"""The commit that `gfwd --version` names (build/native.py): by git, by the tarball, or unknown."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "build"))
import native

pytestmark = [pytest.mark.pure, pytest.mark.recipe]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder that is all of a checkout that commit() looks at, and git in it."""
    monkeypatch.setattr(native, "ROOT", tmp_path)
    (tmp_path / "build").mkdir()
    (tmp_path / "build/commit.txt").write_text("$Format:%h$\n")
    (tmp_path / ".gitattributes").write_text("/build/commit.txt export-subst\n")

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.net")
        done = subprocess.run(("git", "-C", tmp_path, *who, *arguments), check=True, capture_output=True, text=True)
        return done.stdout.strip()

    return git


def test_of_a_checkout(tree, tmp_path):
    tree("init", "--quiet")
    tree("add", ".")
    tree("commit", "--quiet", "-m", "first")
    head = tree("rev-parse", "HEAD")
    assert native.commit() == head[:12]
    (tmp_path / ".gitattributes").write_text("# otherwise\n")
    assert native.commit() == f"{head[:12]} with changes"


def test_of_a_tarball(tree, tmp_path, monkeypatch):
    tree("init", "--quiet")
    tree("add", ".")
    tree("commit", "--quiet", "-m", "first")
    tree("archive", "--format=tar", "--output", str(tmp_path / "all.tar"), "HEAD")
    there = tmp_path / "there"
    there.mkdir()
    subprocess.run(("tar", "-x", "-C", there, "-f", tmp_path / "all.tar"), check=True)
    monkeypatch.setattr(native, "ROOT", there)  # a folder in a checkout of something else
    found = native.commit()
    assert len(found) >= 7
    assert tree("rev-parse", "HEAD").startswith(found)


def test_of_nothing(tree):
    assert native.commit() == "unknown"


def test_the_project_asks_git_archive_for_it():
    root = Path(__file__).parents[2]
    assert "/build/commit.txt export-subst" in (root / ".gitattributes").read_text()
    assert (root / "build/commit.txt").read_text() in ("$Format:%h$\n",) or not (root / ".git").exists()
