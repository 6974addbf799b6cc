"""Datagrams longer than the MTU: their fragments all go where the first one goes, and collectors put them together."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import ExitStack
from pathlib import Path

from tests import frames
from tests.captures import Frame, pcap_file
from tests.e2e.farm import EXPORTERS, Datagram, Farm
from tests.e2e.live import Wire, udp_counter, wait_until
from tests.e2e.test_options import collector, drops, rule
from tests.e2e.test_replay import put_together
from tests.fragments import split

NEAR, OTHER = "10.1.0.2", "10.1.0.3"
NEAR6, OTHER6 = "fd01::2", "fd01::3"
NUMBER = 150  # of each family
LENGTHS = (4_000, 1_473, 9_000, 20, 2_952, 2_953)  # bytes of payload: one fragment to seven, and at the edges
SECOND = 10**9
NOON = 1_700_000_000 * SECOND


def long_payload(number: int) -> bytes:
    length = LENGTHS[number % len(LENGTHS)]
    return (b"%d " % number * length)[:length]


def fragments_of(payload: bytes, family: int) -> int:
    """How many the kernel makes of it, with an MTU of 1,500."""
    most = {4: 1_480, 6: 1_448}[family]
    whole = 8 + len(payload)
    return 1 if whole <= {4: 1_480, 6: 1_460}[family] else -(-whole // most)


# ---- live ----


def test_all_fragments_come_to_every_collector(farm: Farm):
    """Made by one kernel, put together by another, which looks at the checksum, too."""
    own = collector("own", OTHER, "port = 9995", 'source = "own"', "source_port = 5140", "ttl = 17")
    own6 = collector("own6", OTHER6, "port = 9995", 'source = "own"')
    farm.run(rule(NEAR, "own", source="0.0.0.0/0") + rule(NEAR6, "own6", source="::/0") + own + own6)
    received = copies = 0
    with ExitStack() as stack:
        there = {}
        for address, port in ((NEAR, 514), (OTHER, 9995), (NEAR6, 514), (OTHER6, 9995)):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            there[address] = stack.enter_context(farm.near.socket(family))
            there[address].bind((address, port))
            there[address].settimeout(30)
        for number in range(2 * NUMBER):
            payload, is_v6 = long_payload(number // 2), number % 2
            source = f"fd09::{number % 4 + 1}" if is_v6 else EXPORTERS[number % 8]
            farm.send(Datagram(source, payload))
            received += fragments_of(payload, 6 if is_v6 else 4)
            for address, came_from in (
                ((NEAR6, (source, 40_000)), (OTHER6, ("fd01::1", 40_000)))
                if is_v6
                else ((NEAR, (source, 40_000)), (OTHER, ("10.1.0.1", 5140)))
            ):
                came, (its_source, its_port, *_) = there[address].recvfrom(20_000)
                assert came == payload and (its_source, its_port) == came_from
                copies += fragments_of(payload, 6 if is_v6 else 4)
    farm.sent = received
    status = farm.settled()
    assert (status["forwarded"], status["copies"]["sent"]) == (received, copies) and not drops(status)
    assert {name: one["sent"] for name, one in status["collectors"].items()} == {
        NEAR: copies_of(4),
        "own": copies_of(4),
        NEAR6: copies_of(6),
        "own6": copies_of(6),
    }
    assert sum(count["packets"] for count in status["rules"].values()) == received
    assert udp_counter(farm.near, "InCsumErrors") == 0
    farm.ended()


def copies_of(family: int) -> int:
    return sum(fragments_of(long_payload(number), family) for number in range(NUMBER))


def test_what_waits_for_a_first_fragment_is_lost_in_the_end(farm: Farm):
    """The first ones have run out of their TTL; after two seconds nothing waits any more, also when nothing comes."""
    farm.run(rule(NEAR, source="0.0.0.0/0") + rule(NEAR6, source="::/0"))
    with Wire(farm.exporters, "e0") as wire:
        send_without_first(farm, wire, 77)
        assert farm.settled()["drops"]["ttl_expired"] == 2
        wait_until(lambda: drops(farm.gfwd.status()) == {"ttl_expired": 2, "fragment_lost": 4})
        send_without_first(farm, wire, 78)
        farm.settled()
    assert drops(farm.ended()) == {"ttl_expired": 4, "fragment_lost": 8}, "also what waited when gfwd ended"


def send_without_first(farm: Farm, wire: Wire, ident: int) -> None:
    """Three fragments over IPv4, and three over IPv6; the XDP program hands them over as it does with any others."""
    to, ours = farm.us.mac("in0"), {4: 0x0A000001, 6: 0xFD00 << 112 | 1}
    for family, ttl_at in ((4, 22), (6, 21)):
        whole = frames.datagram(
            family, 0x0A090001 if family == 4 else 0xFD09 << 112 | 1, ours[family], (1, 514), bytes(90)
        )
        for number, piece in enumerate(split(to + whole[6:], 14, (2, 5), ident)):
            changed = bytearray(piece)
            if number == 0:
                changed[ttl_at] = 1
                if family == 4:
                    changed[24:26] = bytes(2)
                    changed[24:26] = frames.checksum(bytes(changed[14:34])).to_bytes(2, "big")
            wire.send(bytes(changed))
            farm.sent += 1


# ---- replay ----


def test_replay_lets_fragments_follow_and_wait(run, tmp_path):
    """In order, out of it, of two exporters with one identification; too late, and without a first one."""
    own, exporters = 0x0A020201, (0x0A020203, 0x0A020204)
    payloads = [bytes([65 + number]) * 700 for number in range(5)]
    pieces = [
        split(frames.datagram(4, exporters[number % 2], own, (1_000 + number, 514), payload), 14, (20, 60), number // 2)
        for number, payload in enumerate(payloads)
    ]
    order = [
        *[(0, pieces[0][0]), (1, pieces[1][2]), (2, pieces[0][1]), (3, pieces[1][1]), (4, pieces[1][0])],
        *[(5, pieces[0][2]), (6, pieces[2][2]), (7, pieces[2][1])],
        *[(3 * SECOND, pieces[2][0]), (3 * SECOND + 1, pieces[3][2]), (4 * SECOND, pieces[3][0])],
        *[(4 * SECOND, pieces[3][1]), (5 * SECOND, pieces[4][2])],
    ]
    (tmp_path / "in.pcap").write_bytes(
        pcap_file([Frame(NOON + time, frame, len(frame)) for time, frame in order], resolution="ns")
    )
    (tmp_path / "rules").write_text("* 514 192.0.2.7 192.0.2.8:9995 A\n")
    done = run("replay", tmp_path / "in.pcap", "-o", tmp_path / "out.pcap", "--rules", tmp_path / "rules", "--json")
    assert done.returncode == 0, done.stderr
    account = json.loads(done.stdout)
    assert (account["received"], account["forwarded"], account["pending"]) == (13, 10, 0)
    assert drops(account) == {"fragment_lost": 3}
    assert (account["copies"]["wanted"], account["copies"]["sent"]) == (20, 20)
    assert together(tmp_path / "out.pcap") == [
        (address, port, payloads[number])
        for number in (0, 1, 3)
        for address, port in (("192.0.2.7", 514), ("192.0.2.8", 9995))
    ]


def together(path: Path) -> list[tuple[str, int, bytes]]:
    """Destination, port and payload of what is whole; its checksum is right."""
    found = []
    for (source, destination, _), segment in put_together(path).items():
        _, port, length = struct.unpack_from(">HHH", segment)
        if length == len(segment):
            addresses = socket.inet_aton(source) + socket.inet_aton(destination)
            assert frames.checksum(addresses + struct.pack(">HH", frames.UDP, length) + segment) == 0
            found.append((destination, port, segment[8:]))
    return sorted(found, key=lambda one: (one[2], one[0]))
