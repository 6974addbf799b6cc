"""The names of a gfwd that runs, many at once: what waits for a thread, and what is said. The answers are made up."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gfwd.config.model import Config
from gfwd.config.reading import parse
from gfwd.daemon.log import events
from gfwd.daemon.log.event import Event
from gfwd.daemon.names import asker
from gfwd.daemon.names.asker import Asker
from gfwd.daemon.names.names import Names
from gfwd.daemon.names.sources import Asking
from gfwd.dns.choice import ADDRESSES_MOST
from gfwd.dns.name import Answer, Bad, Good, Name
from gfwd.dns.records import Terms
from gfwd.dns.servers import Server
from gfwd.rules.model import FAMILIES, Address

PATIENCE_S = 20.0
OLD, NEW = (Asking(servers=(Server(Address(4, n), 53),)) for n in (1, 2))


def a_name(number: int) -> Name:
    return Name(f"n{number}.example.net", Terms(), 0.0, lambda: 0.5)


@pytest.fixture
def lookups(monkeypatch) -> Iterator[tuple[list[tuple[str, Asking]], threading.Event]]:
    """Those that were begun, and what lets them end."""
    begun: list[tuple[str, Asking]] = []
    go = threading.Event()

    def look_up(host: str, asking: Asking) -> Answer:
        begun.append((host, asking))
        go.wait(PATIENCE_S)
        return {4: Bad("nobody knows")}

    monkeypatch.setattr(asker, "look_up", look_up)
    yield begun, go
    go.set()


def wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_waits_for_a_thread_is_asked_of_the_servers_that_count_by_then(lookups):
    """A thousand names that wait behind dead servers would be asked of these for a quarter of an hour more."""
    begun, go = lookups
    names = [a_name(number) for number in range(40)]
    with Asker() as its:
        for name in names:
            its.ask((name, 1), OLD)
        wait_for(lambda: len(begun) == 16)
        its.follow(NEW, set(names[:30]))  # and nobody wants the others any more
        go.set()
        ended: list[Name] = []

        def all_have_ended() -> bool:
            ended.extend(name for (name, _), _ in its.taken())
            return len(ended) == 30

        wait_for(all_have_ended)
    assert [asking for _, asking in begun] == [OLD] * 16 + [NEW] * 14
    assert set(ended) == set(names[:30])


def config_of(number: int) -> Config:
    """With so many names."""
    head = 'address = ["10.0.0.1"]\n[ports]\nin = ["xdp:in0"]\nout = ["xdp:out0"]\n[dns]\n'
    head += 'servers = ["192.0.2.53"]\nhosts = false\n'
    rules = (
        f'[[rule]]\nsource = "10.9.{n // 256}.{n % 256}"\nports = 514\n'
        f'collectors = ["n{n}.example.net"]\npriority = "A"\n'
        for n in range(number)
    )
    return parse(head + "".join(rules), "gfwd.toml")


def taken(names: Names, config: Config, answer: Answer, now: float) -> None:
    assert config.own is not None
    hosts = [one.host for one in config.rules.collectors()]
    names.take(names.prepare(config, config.own, OLD, dict.fromkeys(hosts, answer), now), now)


def test_of_many_names_those_that_are_due_are_looked_at(lookups, monkeypatch):
    """Or a thousand whose TTL is short would keep the thread busy that looks after neighbours."""
    looked_at: list[str] = []
    advance = Name.advance

    def counted(its: Name, now: float) -> int | None:
        looked_at.append(its.host)
        return advance(its, now)

    monkeypatch.setattr(Name, "advance", counted)
    drawn = iter(range(1_000))
    with Names(lambda _: None, lambda: next(drawn) / 200) as names:
        now = 1_000.0
        taken(names, config_of(200), {4: Good((Address(4, 0x0A010002),), 100), 6: Good((), 100)}, now)
        names.advance(now + 1)
        assert not looked_at
        names.advance(now + 80.01)  # half of the names are asked for by now
        assert len(looked_at) == len(set(looked_at)) == 101
        begun, go = lookups
        looked_at.clear()
        go.set()
        while len(looked_at) < 101:  # each as its answer comes
            select.select([names], [], [], PATIENCE_S)
            names.advance(now + 80.01)
        assert len(looked_at) == len(set(looked_at)) == len(begun) == 101


def test_thousands_of_addresses_that_no_collector_can_have(lookups, monkeypatch):
    """Whoever has the zone does not fill the log."""
    answer: Answer = {4: Good(tuple(Address(4, 0x7F000000 + n) for n in range(4_000)), 0), 6: Good((), 0)}
    monkeypatch.setattr(asker, "look_up", lambda _host, _asking: answer)
    said: list[Event] = []
    with Names(said.append) as names:
        taken(names, config_of(1), {family: Bad("nobody knows") for family in FAMILIES}, 1_000.0)
        now = 1_002.0
        for _ in range(3):
            names.advance(now)
            select.select([names], [], [], PATIENCE_S)
            names.advance(now)
            now += 100
    refused = [one for one in said if one.kind is events.NAME_REFUSED]
    assert len(refused) == ADDRESSES_MOST
    assert str(refused[0].message).startswith("name n0.example.net: warning: 127.0.0.0 is not used")
