"""The facts, gathered on a host that changes meanwhile, or does not let itself be looked at."""

from __future__ import annotations

import errno
import json
import os
from contextlib import nullcontext
from importlib import import_module
from types import SimpleNamespace

import pytest

from gfwd import cli, system
from gfwd.config import values
from gfwd.daemon.doctor import linux
from gfwd.daemon.doctor.facts import Asked
from gfwd.daemon.ports import Wanted
from tests.unit.doctor.hosts import interface

gather = import_module("gfwd.daemon.doctor.gather")  # the package has a function by that name
IN0 = interface(1, "in0", other_end="e0")


class Changed:
    """A host whose in0 has got another end since the kernel named its interfaces."""

    def interface(self, *_: object) -> object:
        return IN0

    def xdp(self) -> None:
        return None

    def netmap_settings(self) -> dict[str, int]:
        return {}

    def bpf_errno(self) -> int:
        return 0


def test_another_end_that_has_come_since(monkeypatch):
    kernel = SimpleNamespace(links=lambda: (IN0.link,), addresses=lambda _: ())
    monkeypatch.setattr(gather, "_host", Changed)
    monkeypatch.setattr(gather, "open_kernel", lambda: nullcontext(kernel))
    monkeypatch.setattr(gather.netmap_device, "open_error", lambda: errno.ENOENT)
    facts = gather.gather(Asked(ports=(Wanted(values.port("xdp:in0"), True, False),)))
    assert (facts.tables_error, [*facts.interfaces]) == ("", ["in0"])


@pytest.mark.skipif(system.NAME != "Linux", reason="needs Linux")
@pytest.mark.parametrize("place", [(gather, "open_kernel"), (linux, "_links")], ids=["tables", "interfaces"])
def test_tables_that_cannot_be_opened(monkeypatch, capsys, place):
    """As in a sandbox without netlink, or where all descriptors are in use."""

    def refuse() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(*place, refuse)
    assert cli.main(["doctor", "--json"]) == 1
    (found,) = (one for one in json.loads(capsys.readouterr().out)["findings"] if one["what"] == "interfaces")
    assert found["message"] == "the kernel does not tell of them: Too many open files"
