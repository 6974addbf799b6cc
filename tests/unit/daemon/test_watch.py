"""Watched files: real ones, changed in the ways that editors and systems change them."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.daemon.watch import GONE_S, LOOK_S, Watch

OLD, NEW = "* 514 10.1.0.2 A\n", "* 514 10.1.0.3 A\n"  # as long as each other


class Place:
    """A watched file, and a clock of its own that goes from look to look."""

    def __init__(self, folder: Path, name: str = "gfwd.rules") -> None:
        self.path = folder / name
        self.path.write_text(OLD)
        self.watch = Watch()
        self.watch.follow([str(self.path)])
        self.now = 100.0
        self.settle()

    def look(self) -> bool:
        self.now += LOOK_S
        return self.watch.has_changed(self.now)

    def settle(self) -> int:
        """How often it says that something has changed, until it has long been quiet."""
        return sum(self.look() for _ in range(2 * round(GONE_S / LOOK_S) + 2))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def wait_for_a_tick(path: Path) -> None:
    """Until a change of the file has another time than the last: a file system's clock may tick once in 10 ms only, and
    of two changes within one tick the second may not show. gfwd reads a second after the last change that it saw.
    """
    scratch, end = path.with_name("scratch"), time.monotonic() + 60
    scratch.touch()
    while scratch.stat().st_ctime_ns <= path.stat().st_ctime_ns:
        assert time.monotonic() < end
        scratch.touch()


def rename_over(path: Path) -> None:
    (path.parent / "new").write_text(NEW)
    os.replace(path.parent / "new", path)


def write_in_place(path: Path) -> None:
    with path.open("r+") as file:
        file.truncate()
        file.write(NEW)


def write_and_keep_the_time(path: Path) -> None:
    its = path.stat()
    path.write_text(NEW)
    os.utime(path, ns=(its.st_atime_ns, its.st_mtime_ns))


def keep_the_old_one_as_a_backup(path: Path) -> None:
    path.rename(path.with_name("gfwd.rules~"))
    path.write_text(NEW)


def delete_and_write(path: Path) -> None:
    path.unlink()
    path.write_text(NEW)


EDITS = [rename_over, write_in_place, write_and_keep_the_time, keep_the_old_one_as_a_backup, delete_and_write]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_a_change_once(place: Place, edit: Callable[[Path], None]) -> None:
    assert place.settle() == 0
    wait_for_a_tick(place.path)
    edit(place.path)
    assert place.path.read_text() == NEW
    assert place.settle() == 1


def test_a_symbolic_link_that_leads_elsewhere(tmp_path: Path) -> None:
    """As `ln -sfn` does it, and as Kubernetes does: the link to the folder is another one, the file's own stays."""
    for version, text in (("one", OLD), ("two", NEW)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "gfwd.rules").write_text(text)
        os.utime(tmp_path / version / "gfwd.rules", (1, 1))
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "gfwd.rules").symlink_to("..data/gfwd.rules")
    watch = Watch()
    watch.follow([str(tmp_path / "gfwd.rules")])
    assert [watch.has_changed(now) for now in (1.0, 2.0, 3.0)] == [False, True, False]
    (tmp_path / "..new").symlink_to("two")
    os.replace(tmp_path / "..new", tmp_path / "..data")
    assert [watch.has_changed(now) for now in (4.0, 5.0, 6.0)] == [False, True, False]
    (tmp_path / "gfwd.rules").unlink()
    (tmp_path / "gfwd.rules").symlink_to("one/gfwd.rules")
    assert [watch.has_changed(now) for now in (7.0, 8.0, 9.0)] == [False, True, False]


def test_what_is_written_in_steps_is_taken_once(place: Place) -> None:
    for step in range(10):
        place.path.write_text(OLD * (step + 2))
        assert not place.look()
    assert place.settle() == 1


def test_a_file_that_is_gone_for_a_moment(place: Place) -> None:
    text = place.path.read_text()
    wait_for_a_tick(place.path)
    place.path.unlink()
    for _ in range(round(GONE_S / LOOK_S)):
        assert not place.look()
    place.path.write_text(text)
    assert place.settle() == 1


def test_a_file_that_stays_away_and_comes_back(place: Place) -> None:
    place.path.unlink()
    assert place.settle() == 1
    place.path.write_text(NEW)
    assert place.settle() == 1


def test_a_file_that_nobody_may_look_at(place: Place) -> None:
    watch = Watch()
    watch.follow([str(place.path / "in a file"), "x" * 5_000])
    assert [watch.has_changed(now) for now in (1.0, 1.0 + GONE_S, 2.0 + GONE_S)] == [False, True, False]


def test_new_files_count_as_changed_and_old_ones_that_are_let_go_do_not(place: Place) -> None:
    other = place.path.with_name("other")
    other.write_text(OLD)
    place.watch.follow([str(place.path), str(other)])
    assert place.settle() == 1
    place.watch.follow([str(place.path)])
    assert place.settle() == 0
    other.unlink()
    assert place.settle() == 0


def test_it_looks_once_a_second_or_not_at_all(place: Place) -> None:
    assert place.watch.deadline() == place.now + LOOK_S
    rename_over(place.path)
    assert not place.watch.has_changed(place.now + LOOK_S / 2)
    place.watch.follow(())
    assert place.watch.deadline() is None
    assert place.settle() == 0


@given(st.lists(st.sampled_from([*EDITS, Path.unlink, None]), max_size=12))
def test_whatever_happens_the_last_state_is_taken(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Callable[[Path], object] | None]
) -> None:
    """Who reads the file whenever it is said to have changed has in the end what stands in it, or that it is gone."""
    place = Place(tmp_path_factory.mktemp("watched"))

    def content() -> str | None:
        return place.path.read_text() if place.path.exists() else None

    known = content()
    for number, step in enumerate(steps):
        if step is not None and (place.path.exists() or step is rename_over):
            step(place.path)
            if place.path.exists():
                with place.path.open("a") as file:
                    file.write("#" * (number + 1))  # as long as no other: see wait_for_a_tick()
        if place.look():
            known = content()
    for _ in range(2 * round(GONE_S / LOOK_S) + 2):
        if place.look():
            known = content()
    assert known == content()
