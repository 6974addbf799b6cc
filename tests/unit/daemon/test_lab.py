"""gfwd lab: its verdict must see every fault, and its traffic must be what it says."""

import os
import random
import struct
from itertools import islice
from pathlib import Path

import pytest

from gfwd.daemon.lab import session
from gfwd.daemon.lab.arrivals import Flow, Tally
from gfwd.daemon.lab.scene import Lab, Place, Target, prepare
from gfwd.daemon.lab.traffic import LeftOut, Stream, from_capture, of_own_making
from gfwd.errors import ConfigError, GfwdError
from gfwd.rules.model import Address

DATA = Path(__file__).parents[2] / "data"
EXPORTERS = str(DATA / "exporters.pcap")


def tally(sent: str, arrived: str) -> Tally:
    flow = Flow()
    flow.sent.extend(map(ord, sent))
    flow.arrived.extend(map(ord, arrived))
    return flow.tally()


# ---- what arrived, against what was sent ----


@pytest.mark.parametrize(
    ("sent", "arrived", "lost", "reordered", "changed", "unasked"),
    [
        ("", "", 0, 0, 0, 0),
        ("abcd", "abcd", 0, 0, 0, 0),
        ("abcd", "", 4, 0, 0, 0),
        ("abcd", "abd", 1, 0, 0, 0),
        ("abcd", "bcd", 1, 0, 0, 0),
        ("abcd", "acbd", 0, 1, 0, 0),
        ("abcd", "bcda", 0, 1, 0, 0),
        ("abcd", "dcba", 0, 3, 0, 0),
        ("abcd", "abXd", 0, 0, 1, 0),
        ("abcd", "abcXd", 0, 0, 0, 1),
        ("abcd", "abbcd", 0, 0, 0, 1),
        ("", "a", 0, 0, 0, 1),
        ("abcd", "aXd", 1, 0, 1, 0),
        # A capture that is sent over and over.
        ("abcabcabc", "abcbcabc", 1, 0, 0, 0),
        ("abcabcabc", "abcabbcabc", 0, 0, 0, 1),
        ("abcdefabcdefabcdef", "abcdefacbdefabcdef", 0, 1, 0, 0),
        ("aaaa", "aaa", 1, 0, 0, 0),
        ("abab", "abba", 0, 1, 0, 0),
    ],
)
def test_tally(sent, arrived, lost, reordered, changed, unasked):
    assert tally(sent, arrived) == Tally(len(sent), len(arrived), lost, reordered, changed, unasked)


def test_tally_is_as_wanted_only_where_both_are_the_same():
    rng = random.Random(2018)
    for _ in range(2_000):
        sent = "".join(rng.choices("abc", k=rng.randrange(8)))
        arrived = "".join(rng.choices("abc", k=rng.randrange(8)))
        found = tally(sent, arrived)
        assert found.is_as_wanted == (sent == arrived)
        as_sent = found.arrived - found.changed - found.unasked
        assert found.wanted == as_sent + found.lost + found.changed


# ---- traffic ----


def test_capture_is_sent_over_and_over():
    traffic = from_capture(EXPORTERS, wanted=10_000)
    assert traffic.what == f"110 datagrams of {EXPORTERS}"
    assert traffic.left_out == {LeftOut.IPV6: 40, LeftOut.TOO_LONG: 0, LeftOut.SOURCE: 0}
    first, second = list(islice(traffic.datagrams, 110)), list(islice(traffic.datagrams, 110))
    assert first == second
    assert {datagram.stream for datagram in first} == set(traffic.streams)
    assert {datagram.stream.port for datagram in first} == {162, 514, 2055, 6343, 9995, 9996}
    v5 = [datagram for datagram in first if datagram.stream.port == 9995]
    assert all(datagram.payload[:2] == b"\0\5" for datagram in v5)
    assert all(len(datagram.payload) == 24 + 48 * datagram.payload[3] for datagram in v5)


def test_no_more_of_a_capture_is_read_than_is_sent():
    assert from_capture(EXPORTERS, wanted=7).what == f"7 datagrams of {EXPORTERS}"


def test_a_damaged_capture_is_sent_up_to_the_damage(tmp_path):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(Path(EXPORTERS).read_bytes()[:30_000])
    traffic = from_capture(str(cut), wanted=10_000)
    assert traffic.broken is not None and traffic.broken.startswith(f"{cut}: warning: ")


def test_a_capture_without_a_datagram_is_refused(tmp_path):
    nothing = tmp_path / "nothing.pcap"
    nothing.write_bytes(Path(EXPORTERS).read_bytes()[:24])
    with pytest.raises(GfwdError, match=r"nothing\.pcap: error: no UDP datagram over IPv4"):
        from_capture(str(nothing), wanted=1)


def test_netflow_of_own_making():
    traffic = of_own_making()
    sequences: dict[Stream, int] = {}
    for stream, payload in islice(traffic.datagrams, 30):
        version, records, _, _, _, sequence, _, _, _ = struct.unpack_from("!HHIIIIBBH", payload)
        assert (version, len(payload)) == (5, 24 + 48 * records)
        assert sequence == sequences.get(stream, 0)
        sequences[stream] = sequence + records
    assert tuple(sequences) == traffic.streams


# ---- who stands where ----


def test_collectors_take_turns_and_rules_are_followed():
    scene = prepare(Lab(capture=EXPORTERS, rules=str(DATA / "demo.rules")))
    near, far = scene.places
    assert (str(near), str(far)) == ("10.2.2.40", "10.2.2.41")
    assert list(scene.places.values()) == [Place.LINK, Place.ROUTER]
    assert [str(exporter) for exporter in scene.exporters] == ["10.2.2.3", "10.2.2.4", "10.2.2.5", "10.2.30.6"]
    wanted = {
        (0x0A020203, 2055): (Target(near, 9996),),
        (0x0A020204, 2055): (Target(near, 2055), Target(far, 2055)),
        (0x0A020204, 9995): (Target(near, 9995), Target(far, 2055)),
        (0x0A021E06, 2055): (Target(far, 2055),),  # its IPv6 collector gets nothing
    }
    found = {(stream.source, stream.port): targets for stream, targets in scene.targets.items()}
    assert {point: found[point] for point in wanted} == wanted


def test_own_rules_reach_both_collectors_and_rewrite_a_port():
    scene = prepare(Lab())
    targets = list(scene.targets.values())
    assert sorted(map(len, targets)) == [1, 1, 2]
    assert {scene.places[target.address] for each in targets for target in each} == set(Place)
    assert {target.port for each in targets for target in each} == {2055, 9995}


def test_all_rules_that_the_lab_cannot_try_are_named(tmp_path):
    rules = tmp_path / "some.rules"
    rules.write_text("10.0.0.1 514 flow.example.net A\n* 514 198.18.0.9 A\n")
    with pytest.raises(ConfigError) as refused:
        prepare(Lab(rules=str(rules)))
    assert [(problem.line, problem.text.split(":")[0]) for problem in refused.value.problems] == [
        (1, "the lab has no name server"),
        (2, "198.18.0.9"),
    ]


def test_rules_without_an_ipv4_collector_are_refused(tmp_path):
    rules = tmp_path / "six.rules"
    rules.write_text("* 514 2001:db8::7 A\n")
    with pytest.raises(GfwdError, match="no collector has an IPv4 address"):
        prepare(Lab(rules=str(rules)))


def test_no_rule_no_target(tmp_path):
    rules = tmp_path / "one.rules"
    rules.write_text("192.0.2.1 2055 192.0.2.9 A\n")
    scene = prepare(Lab(rules=str(rules)))
    assert list(scene.targets.values()) == [(Target(Address(4, 0xC0000209), 2055),), (), ()]


# ---- where it cannot be ----


def test_not_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(GfwdError) as refused:
        session.refuse_where_it_cannot_be()
    assert "root" in str(refused.value) and "\n" not in str(refused.value)


def test_not_linux(monkeypatch):
    system = os.uname_result(("FreeBSD", "host", "14.2-RELEASE", "", "amd64"))
    monkeypatch.setattr(os, "uname", lambda: system)
    with pytest.raises(GfwdError) as refused:
        session.refuse_where_it_cannot_be()
    assert "FreeBSD" in str(refused.value) and "\n" not in str(refused.value)
