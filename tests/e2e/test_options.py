"""The options of gfwd.toml between real interfaces: how copies leave, and whose datagrams are taken at all."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.farm import EXPORTERS, Datagram, Farm, by_destination, numbered
from tests.e2e.live import udp_counter, wait_until

pytestmark = pytest.mark.usefixtures("live_network")

NEAR, OTHER, THIRD = "10.1.0.2", "10.1.0.3", "10.1.0.4"
NUMBER = 2_000
_IPV6_RECVHOPLIMIT, _IPV6_HOPLIMIT = 51, 52  # linux/in6.h


def rule(*collectors: str, source: str = "*", priority: str = "A", **more: object) -> str:
    fields = {"source": source, "ports": 514, "collectors": list(collectors), **more}
    if priority:
        fields["priority"] = priority
    return "[[rule]]\n" + "".join(f"{key} = {text(value)}\n" for key, value in fields.items())


def text(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).replace("'", '"')


def collector(name: str, host: str, *options: str) -> str:
    return "\n".join((f"[collector.{name}]", f'host = "{host}"', *options)) + "\n"


def drops(account: dict, name: str = "") -> dict[str, int]:
    """Those of the frames, or of a collector's copies, without zeros."""
    ledger = account["collectors"][name] if name else account
    return {cause: n for cause, n in ledger["drops"].items() if n}


# ---- how copies leave ----


def test_with_gfwds_own_address(farm: Farm):
    """Address, port and TTL are what the options say, and both checksums are right; the other's copies are as ever."""
    changed = collector("own", NEAR, "port = 9995", 'source = "own"', "source_port = 5140", "ttl = 17")
    farm.run(rule("own", OTHER) + changed)
    sent = [Datagram(EXPORTERS[n % 8], b"%d " % n + bytes(n % 300), 514, 40_000 + n % 5) for n in range(NUMBER)]
    came = farm.exchange(sent, 2)
    own = [one for one in came if one.destination == NEAR]
    kept = [one for one in came if one.destination == OTHER]
    assert {(one.source, one.ports, one.ttl) for one in own} == {("10.1.0.1", (5140, 9995), 17)}
    assert [one.payload for one in own] == [one.payload for one in sent]
    assert [(one.source, one.ports, one.ttl, one.payload) for one in kept] == [
        (one.source, (one.source_port, 514), 63, one.payload) for one in sent
    ]
    # The collector's kernel has looked at the checksums, too: nobody listens there.
    assert (udp_counter(farm.near, "NoPorts"), udp_counter(farm.near, "InCsumErrors")) == (2 * NUMBER, 0)
    assert farm.settled()["copies"]["sent"] == 2 * NUMBER
    assert farm.ended()["collectors"]["own"]["sent"] == NUMBER


@pytest.mark.parametrize(("options", "source", "port", "hops"), [
    (("source = \"own\"",), "fd01::1", None, 63),
    (("source_port = 5140", "ttl = 200"), None, 5140, 200),
    (("source = \"own\"", "source_port = 5140", "ttl = 1"), "fd01::1", 5140, 1),
])  # fmt: skip
def test_with_gfwds_own_address_over_ipv6(farm: Farm, options, source, port, hops):
    """Taken by a socket of the collector's, whose kernel has looked at the checksum."""
    farm.run(rule("six", source="::/0") + collector("six", "fd01::2", *options))
    with farm.near.socket(socket.AF_INET6) as there:
        there.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVHOPLIMIT, 1)
        there.bind(("fd01::2", 514))
        there.settimeout(30)
        for n in range(200):
            sent = Datagram(f"fd09::{n % 4 + 1}", b"%d " % n + bytes(n), 514, 40_000 + n % 3)
            farm.send(sent)
            payload, ((_, kind, said),), _, (came_from, came_port, *_) = there.recvmsg(2_000, 100)
            assert payload == sent.payload
            assert (came_from, came_port) == (source or sent.source, port or sent.source_port)
            assert (kind, int.from_bytes(said, "little")) == (_IPV6_HOPLIMIT, hops)
    assert farm.settled()["forwarded"] == 200
    farm.ended()


def test_own_address_for_an_exporter_without_checksums(farm: Farm):
    """A UDP checksum of zero stays zero (IPv4), and the collector's kernel takes it."""
    farm.run(rule("own") + collector("own", NEAR, 'source = "own"', "ttl = 9"))
    with farm.exporters.socket() as bare, farm.near.socket() as there:
        bare.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
        there.bind((NEAR, 514))
        there.settimeout(30)
        bare.sendto(b"without", ("10.0.0.1", 514))
        farm.sent += 1
        assert there.recvfrom(100) == (b"without", ("10.1.0.1", bare.getsockname()[1]))
    farm.collector.wait_for(1)
    (frame,) = farm.collector.frames
    assert frame[40:42] == bytes(2)
    farm.ended()


# ---- limits ----


def test_a_collectors_limit(farm: Farm):
    """Over some seconds no more than it allows arrives there, the rest is counted; the other collector gets all."""
    limit, early_s = 300, 0.1
    farm.run(rule("slow", OTHER) + collector("slow", NEAR, f"limit = {limit}"))
    farm.exchange([Datagram(EXPORTERS[0], b"first")], witness=OTHER)
    began = time.monotonic()
    sent = numbered(EXPORTERS[:7], 3 * NUMBER)
    came = by_destination(farm.exchange(paced(sent, seconds=3), witness=OTHER))
    took_s = time.monotonic() - began
    assert came[OTHER] == len(sent)
    account = farm.settled()
    slow = account["collectors"]["slow"]
    assert (slow["wanted"], drops(account, "slow")) == (
        len(sent) + 1, {"collector_limit": len(sent) + 1 - slow["sent"]}
    )  # fmt: skip
    assert limit * 3 * 0.5 < slow["sent"] <= limit * (took_s + early_s) + 2
    assert account["collectors"][OTHER]["sent"] == account["forwarded"] == len(sent) + 1
    farm.ended()


def paced(datagrams: list[Datagram], *, seconds: float) -> Iterator[Datagram]:
    """Evenly over so many seconds, or more where the machine is slow: never faster."""
    due = time.monotonic()
    for datagram in datagrams:
        due = max(due, time.monotonic() - 0.02)
        time.sleep(max(0.0, due - time.monotonic()))
        due += seconds / len(datagrams)
        yield datagram


def test_exporters_limits(farm: Farm):
    """Each exporter has its own, the longest prefix says which; who keeps within it loses nothing."""
    greedy, modest, special, free = EXPORTERS[0], EXPORTERS[1], EXPORTERS[19], EXPORTERS[32]
    farm.run(
        rule(NEAR, priority="B")
        + rule(OTHER, source=free)
        + f'[exporters]\nlimit = 200\n[exporters.limits]\n"10.9.0.16/28" = 50\n"10.9.0.32/27" = 400\n"{free}" = 0\n'
    )
    sources = [*[greedy] * 20, *[special] * 20, *[free] * 59, modest]
    rounds = 60  # 20 a second, and so many datagrams of the modest one's
    began = time.monotonic()
    for n, datagram in enumerate(paced(numbered(sources, len(sources) * rounds), seconds=3)):
        farm.send(datagram)
        farm.wait_for(n // len(sources) * 59 - 50, OTHER)
    took_s = time.monotonic() - began
    account = farm.settled()
    wait_until(lambda: farm.count() == account["copies"]["sent"])
    came = Counter(one.source for one in farm.came())
    assert (came[modest], came[free]) == (rounds, 59 * rounds)
    for who, limit in ((greedy, 200), (special, 50)):
        assert limit * 3 * 0.5 < came[who] <= limit * (took_s + 0.1) + 2
    assert drops(account) == {"rate_limited": farm.sent - came.total()}
    assert account["copies"]["wanted"] == came.total()
    assert account["copies"]["drops"] == dict.fromkeys(account["copies"]["drops"], 0)
    farm.ended()


# ---- whose datagrams, and to whom ----


def test_allow_and_deny(farm: Farm):
    farm.run(
        rule(NEAR)
        + '[exporters]\nallow = ["10.9.0.0/28", "10.9.0.20", "fd09::/64"]\ndeny = ["10.9.0.8/30", "fd09::2"]\n'
    )
    taken = [one for one in EXPORTERS if int(one.rpartition(".")[2]) in {*range(1, 8), 12, 13, 14, 15, 20}]
    others = [one for one in EXPORTERS if one not in taken]
    denied = 0
    for n in range(20):
        for source in others[n % 7 :: 7]:
            farm.send(Datagram(source, b"denied"))
            denied += 1
        came = farm.exchange(numbered(taken, 50))
        assert Counter(one.source for one in came) == Counter(taken[k % len(taken)] for k in range(50))
    farm.send(Datagram("fd09::2", b"denied"))
    farm.send(Datagram("fd09::1", b"IPv6"))  # taken, and nobody there speaks it
    account = farm.settled()
    assert drops(account) == {"denied": denied + 1, "family_mismatch": 1}
    assert account["copies"]["wanted"] == 1_001
    farm.ended()


def test_rules_that_apply_together(farm: Farm):
    """Each collector once, whichever rules name it; without what is excepted; default only where no other rule is."""
    farm.run(
        rule(NEAR, source="10.9.0.0/29", priority="A")
        + rule(OTHER, NEAR, source="10.9.0.0/28", priority="B")  # not for 10.9.0.1 to 7: these have a better one
        + rule(THIRD, NEAR, source="10.9.0.0/27", priority="Z", apply="all", **{"except": ["10.9.0.4/30", "10.9.0.16"]})
        + rule("10.1.0.5", source="default", priority="")
    )
    wanted: dict[str, set[str]] = {}
    for last, source in enumerate(EXPORTERS, 1):
        best = {NEAR} if last < 8 else {OTHER, NEAR} if last < 16 else set()
        always = {THIRD, NEAR} if last < 32 and not 4 <= last < 8 and last != 16 else set()
        wanted[source] = best | always or {"10.1.0.5"}
    came = farm.exchange(numbered(EXPORTERS, 1_000), {source: len(ones) for source, ones in wanted.items()})
    copies = Counter((one.source, one.destination) for one in came)
    assert copies == {(source, one): 25 for source, ones in wanted.items() for one in ones}
    account = farm.settled()
    assert account["forwarded"] == 1_000
    assert account["copies"]["sent"] == account["copies"]["wanted"] == copies.total()
    rules = {its["rule"]: its["packets"] for its in account["rules"].values()}
    assert sorted(rules.values()) == sorted((7 * 25, 8 * 25, 26 * 25, 10 * 25)), rules
    farm.ended()
