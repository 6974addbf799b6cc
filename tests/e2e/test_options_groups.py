"""Groups and backups between real interfaces: who gets an exporter's datagrams, also while members come and go."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.farm import COLLECTORS, EXPORTERS, Datagram, Farm, by_destination, numbered
from tests.e2e.live import Arrived

pytestmark = pytest.mark.usefixtures("live_network")

FARM = COLLECTORS[:3]
CHECKED = 'check = "tcp:7"\ninterval = 1\nrise = 1\nfall = 1\n'
NUMBER = 1_000


def group(*members: str, balance: str = "exporter", options: str = "") -> str:
    """A rule for a group, whose members have names: c2 is 10.1.0.2."""
    names = [f"c{member.rpartition('.')[2]}" for member in members]
    tables = [
        f'[[rule]]\nsource = "*"\nports = 514\ncollectors = ["farm"]\npriority = "A"\n[group.farm]\nmembers = {names}\n'
        f'balance = "{balance}"\n'.replace("'", '"')
    ]
    return "".join(
        [*tables, *(f'[collector.{n}]\nhost = "{m}"\n{options}' for n, m in zip(names, members, strict=True))]
    )


@contextmanager
def answering(farm: Farm, collector: str) -> Iterator[None]:
    """The collector accepts connections to port 7 meanwhile."""
    with farm.near.socket(kind=socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((collector, 7))
        server.listen(1_000)
        yield


def members_of(came: list[Arrived]) -> dict[str, str]:
    """The collector of each exporter, which has one."""
    of: dict[str, set[str]] = {}
    for one in came:
        of.setdefault(one.source, set()).add(one.destination)
    assert all(len(its) == 1 for its in of.values()), of
    return {source: member for source, (member,) in of.items()}


def of_all(farm: Farm) -> dict[str, str]:
    """Each exporter's collector, found by some datagrams of each."""
    found = members_of(farm.exchange(numbered(EXPORTERS, 5 * len(EXPORTERS))))
    assert set(found) == set(EXPORTERS)
    return found


def test_by_exporter(farm: Farm):
    """All of an exporter goes to one; every member has some; one more takes its part, and nothing else moves."""
    farm.run(group(*FARM))
    before = of_all(farm)
    assert set(before.values()) == set(FARM)
    farm.reload(group(*FARM, COLLECTORS[3]))
    after = of_all(farm)
    moved = {source for source in EXPORTERS if after[source] != before[source]}
    assert moved and {after[source] for source in moved} == {COLLECTORS[3]}
    assert len(moved) < len(EXPORTERS) / 2
    farm.reload(group(*reversed(FARM)))
    assert of_all(farm) == before  # whatever their order
    account = farm.settled()
    assert account["copies"]["sent"] == account["received"]
    farm.ended()


def test_by_exporter_after_a_restart(farm: Farm):
    farm.run(group(*FARM))
    before = of_all(farm)
    farm.ended()
    farm.sent = 0
    farm.run(group(*FARM))
    assert of_all(farm) == before
    farm.ended()


def test_a_member_that_is_down(farm: Farm):
    """Only its exporters move, to the others; they come back when it is up again."""
    farm.run(group(*FARM, options=CHECKED))
    with answering(farm, FARM[1]), answering(farm, FARM[2]):
        with answering(farm, FARM[0]):
            farm.gfwd.live.wait_for(*(f"collector c{n}: up: " for n in (2, 3, 4)))
            before = of_all(farm)
        farm.gfwd.live.wait_for("collector c2: down: ")
        down = of_all(farm)
        assert {source for source in EXPORTERS if down[source] != before[source]} == {
            source for source in EXPORTERS if before[source] == FARM[0]
        }
        assert set(down.values()) == set(FARM[1:])
        with answering(farm, FARM[0]):
            farm.gfwd.live.wait_for("collector c2: up again after ")
            assert of_all(farm) == before
            account = farm.settled()
            assert account["copies"]["drops"] == dict.fromkeys(account["copies"]["drops"], 0)
    farm.ended()


def test_all_members_down(farm: Farm):
    """Nobody is left: each copy is dropped and counted."""
    farm.run(group(*FARM, options=CHECKED))
    farm.gfwd.live.wait_for(*(f"collector c{n}: down: " for n in (2, 3, 4)))
    for datagram in numbered(EXPORTERS, 40):
        farm.send(datagram)
    account = farm.settled()
    assert account["drops"]["no_collector"] == account["copies"]["drops"]["no_collector"] == 40
    assert sum(account["collectors"][name]["drops"]["no_collector"] for name in ("c2", "c3", "c4")) == 40
    farm.ended()
    assert farm.count() == 0


def test_by_flow(farm: Farm):
    """One exporter reaches all; each of its flows, one."""
    farm.run(group(*FARM, balance="flow"))
    sent = [Datagram(EXPORTERS[0], b"%d" % n, 514, 40_000 + n % 50) for n in range(NUMBER)]
    came = farm.exchange(sent)
    of = {(one.ports[0], one.destination) for one in came}
    assert len(of) == 50
    assert set(by_destination(came)) == set(FARM)
    farm.ended()


def test_round_robin(farm: Farm):
    """One after the other, whoever sends."""
    farm.run(group(*FARM, balance="round-robin"))
    came = farm.exchange(numbered(EXPORTERS[:7], 999))
    assert by_destination(came) == dict.fromkeys(FARM, 333)
    # By their numbers: the first ones may have waited for their neighbours, and have come in another order.
    assert len({(int(one.payload) % len(FARM), one.destination) for one in came}) == len(FARM)
    farm.ended()


def test_beside_a_collector_that_gets_all(farm: Farm):
    """A group is one receiver of its rule: each datagram goes to the one, and to one of the group."""
    farm.run(group(*FARM).replace('["farm"]', f'["farm", "{COLLECTORS[4]}"]'))
    came = farm.exchange(numbered(EXPORTERS, NUMBER), 2)
    assert by_destination(came)[COLLECTORS[4]] == NUMBER
    members_of([one for one in came if one.destination != COLLECTORS[4]])
    assert set(Counter(one.payload for one in came).values()) == {2}
    farm.ended()


def test_a_backup_has_its_own_options(farm: Farm):
    """It steps in with them, and once only where the rule names it, too."""
    farm.run(
        '[[rule]]\nsource = "*"\nports = 514\ncollectors = ["flow", "flow2"]\npriority = "A"\n'
        f'[collector.flow]\nhost = "{FARM[0]}"\nport = 9995\nsource = "own"\nbackup = ["flow2"]\n{CHECKED}'
        f'[collector.flow2]\nhost = "{FARM[1]}"\nttl = 99\n'
    )
    with answering(farm, FARM[0]):
        farm.gfwd.live.wait_for("collector flow: up: ")
        came = farm.exchange(numbered(EXPORTERS, 100), 2)
        assert by_destination(came) == {FARM[0]: 100, FARM[1]: 100}
        assert {one.source for one in came if one.destination == FARM[0]} == {"10.1.0.1"}
    farm.gfwd.live.wait_for("; its copies go to flow2\n")
    came = farm.exchange(numbered(EXPORTERS, 100))
    assert {(one.destination, one.ttl, one.ports[1]) for one in came} == {(FARM[1], 99, 514)}
    assert {one.source for one in came} == set(EXPORTERS)
    account = farm.settled()
    assert account["copies"]["sent"] == account["copies"]["wanted"] == 300
    farm.ended()
