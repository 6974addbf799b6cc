"""Reload under load between configurations that differ in options: nothing is lost, doubled or misdirected."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from tests.e2e.farm import COLLECTORS, EXPORTERS, Datagram, Farm

pytestmark = pytest.mark.usefixtures("live_network")

RELOADS = 200
ONE, TWO, THREE, FOUR, FIVE, SIX = COLLECTORS

PORT = 40_000
Way = tuple[str, str, tuple[int, int], int]
"""Destination, source, both ports, and the TTL."""

# Either way, a datagram goes to one collector; by where it comes, and how, which configuration sent it there is known.
GROUP = f"""\
[[rule]]
source = "*"
ports = 514
collectors = ["farm"]
priority = "A"
except = ["10.9.0.8/29"]
[[rule]]
source = "10.9.0.8/29"
ports = "514,600-700"
collectors = ["own"]
priority = "B"
apply = "all"
[group.farm]
members = ["{ONE}", "{TWO}"]
[collector.own]
host = "{THREE}"
source = "own"
source_port = 99
limit = 1000000
[exporters]
limit = 1000000
deny = ["10.9.0.200"]
"""
PLAIN = f"""\
[[rule]]
source = "10.9.0.0/28"
ports = "514,9000-9999"
collectors = ["fixed"]
priority = "C"
[[rule]]
source = "default"
ports = "*"
collectors = ["turns"]
[group.turns]
members = ["{FIVE}", "{SIX}:9995"]
balance = "round-robin"
[collector.fixed]
host = "{FOUR}"
ttl = 33
"""


def ways(exporter: str) -> tuple[set[Way], set[Way]]:
    """How its datagrams may come by GROUP, and by PLAIN."""
    last = int(exporter.rpartition(".")[2])
    if 8 <= last < 16:
        by_group = {(THREE, "10.1.0.1", (99, 514), 63)}
    else:
        by_group = {(member, exporter, (PORT, 514), 63) for member in (ONE, TWO)}
    if last < 16:
        return by_group, {(FOUR, exporter, (PORT, 514), 33)}
    return by_group, {(FIVE, exporter, (PORT, 514), 63), (SIX, exporter, (PORT, 9995), 63)}


class Sender(threading.Thread):
    """Sends datagrams of all exporters, with a number each, no faster than they arrive, until it is told to end."""

    def __init__(self, farm: Farm) -> None:
        super().__init__()
        self._farm = farm
        self.is_over = threading.Event()

    def run(self) -> None:
        while not self.is_over.is_set():
            first = self._farm.sent
            self._farm.exchange(Datagram(its, b"%d %d" % (first + n, n), 514, PORT) for n, its in enumerate(EXPORTERS))


def test_two_hundred_reloads_lose_nothing(farm: Farm):
    farm.run(GROUP)
    sender = Sender(farm)
    sender.start()
    try:
        for number in range(1, RELOADS + 1):
            farm.reload(PLAIN if number % 2 else GROUP)
    finally:
        sender.is_over.set()
        sender.join()
    came = farm.came()
    assert sorted(int(one.payload.split()[0]) for one in came) == list(range(farm.sent))
    by = Counter[str]()
    of = {source: ways(source) for source in EXPORTERS}
    for one in came:
        by_group, by_plain = of[EXPORTERS[int(one.payload.split()[1])]]
        way = one.destination, one.source, one.ports, one.ttl
        assert way in by_group or way in by_plain, one
        by["group" if way in by_group else "plain"] += 1
    assert min(by["group"], by["plain"]) > farm.sent / 10
    members = {source: {one.destination for one in came if one.source == source} & {ONE, TWO} for source in EXPORTERS}
    assert all(len(its) <= 1 for its in members.values())  # a group is the same after each reload
    account = farm.settled()
    assert account["forwarded"] == account["copies"]["wanted"] == account["copies"]["sent"] == farm.sent
    farm.ended()
