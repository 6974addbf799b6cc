"""Reading anew, in a thread of its own."""

from __future__ import annotations

import select
import threading
from typing import NoReturn

import pytest

from gfwd.daemon.reload import Read, Reader
from gfwd.errors import GfwdError

PATIENCE_S = 20.0


def refuse() -> NoReturn:
    raise GfwdError("error: as it is")


def taken(reader: Reader) -> Read:
    assert select.select([reader], [], [], PATIENCE_S)[0]
    read = reader.taken()
    assert read is not None
    return read


def test_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, gfwd goes on, and the next one may find one."""

    def start(_self: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    with Reader(refuse) as reader:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            reader.ask()
        assert "can't start new thread; try again later" in str(taken(reader).found)
        reader.ask()
        assert str(taken(reader).found) == "error: as it is"
