"""What a datagram looks like, by made ones, by real ones, and by none at all."""

from __future__ import annotations

import json
import struct
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader, RawPcapReader

from gfwd.metrics.guess import BYTES, PORTS, Guess, guess

ROOT = Path(__file__).parents[3]
CORPUS = ROOT.parent / "shared" / "corpus"
V9 = struct.pack(">HHIIII", 9, 1, 1, 1, 1, 1) + bytes(4)
# What the corpus' index calls a kind.
KINDS = {
    "netflow1": "NetFlow v1",
    "netflow5": "NetFlow v5",
    "netflow9": "NetFlow v9",
    "ipfix": "IPFIX",
    "sflow5": "sFlow v5",
}


def look(payload: bytes, port: int = 9) -> str:
    return guess(payload[:BYTES], len(payload), port).text


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (struct.pack(">HH", 1, 2) + bytes(12 + 2 * 48), "NetFlow v1"),
        (struct.pack(">HH", 5, 30) + bytes(20 + 30 * 48), "NetFlow v5"),
        (struct.pack(">HH", 5, 30) + bytes(20 + 30 * 48 - 1), "unknown"),
        (struct.pack(">HH", 5, 31) + bytes(2_000), "unknown"),
        (struct.pack(">HH", 5, 0) + bytes(2_000), "unknown"),
        (struct.pack(">HH", 7, 1) + bytes(20 + 52), "NetFlow v7"),
        (V9, "NetFlow v9"),
        (V9[:-1], "unknown"),
        (struct.pack(">HH", 10, 20) + bytes(16), "IPFIX"),
        (struct.pack(">HH", 10, 21) + bytes(16), "unknown"),
        (struct.pack(">HH", 10, 15) + bytes(16), "unknown"),
        (struct.pack(">II", 5, 1) + bytes(20), "sFlow v5"),
        (struct.pack(">II", 5, 2) + bytes(20), "sFlow v5"),
        (struct.pack(">II", 4, 1) + bytes(20), "sFlow v4"),
        (struct.pack(">II", 5, 3) + bytes(20), "unknown"),
        (struct.pack(">II", 3, 1) + bytes(20), "unknown"),
        (b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed", "syslog (RFC 3164)"),
        (b"<13>1", "syslog (RFC 3164)"),
        (b"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com", "syslog (RFC 5424)"),
        (b"<191>%LINK-3-UPDOWN", "syslog (RFC 3164)"),
        (b"<192>1 x", "unknown"),
        (b"<013>x", "unknown"),
        (b"<>x", "unknown"),
        (b"0\x0c\x02\x01\x00\x04\x06public", "SNMP v1"),
        (b"0\x81\x8c\x02\x01\x01\x04\x06public", "SNMP v2c"),
        (b"0\x82\x01\x8c\x02\x01\x03", "SNMP v3"),
        (b"0\x82\x01\x8c\x02\x01\x02", "unknown"),
        (b"0\x82\x01\x8c\x02\x01", "unknown"),
        (b"0\xff\x02\x01\x01", "unknown"),
        (b"", "unknown"),
        (b"\0", "unknown"),
        (b"hello", "unknown"),
    ],
)
def test_what_it_looks_like(payload: bytes, text: str) -> None:
    assert look(payload) == text


def test_the_port_is_a_hint_and_no_more() -> None:
    assert guess(b"hello", 5, 514) == Guess(None, None, "unknown (by its port: syslog?)")
    assert guess(b"<1>hello", 8, 2055) == Guess("syslog", "3164", "syslog (RFC 3164)")


@given(st.binary(max_size=BYTES), st.integers(0, 65_507), st.integers(0, 65_535))
def test_any_bytes(payload: bytes, length: int, port: int) -> None:
    found = guess(payload, max(length, len(payload)), port)
    assert found.protocol is None or found.protocol in {*PORTS.values()}
    assert (found.protocol is None) == (found.version is None) == found.text.startswith("unknown")


# ---- real ones ----


def datagrams(path: Path) -> list[tuple[int, int, bytes]]:
    """Source port, destination port and payload of all whole UDP datagrams over IPv4 and IPv6 of a capture."""
    with path.open("rb") as file:
        is_pcapng = file.read(4) == b"\n\r\r\n"
    found = []
    with (RawPcapNgReader if is_pcapng else RawPcapReader)(str(path)) as reader:
        for frame, _ in reader:
            at = 14 + 4 * (frame[12:14] == b"\x81\0")
            ip = frame[at:]
            if frame[at - 2 : at] == b"\x08\0" and ip[9] == 17 and int.from_bytes(ip[6:8]) & 0x3FFF == 0:
                segment = ip[(ip[0] & 15) * 4 :]
            elif frame[at - 2 : at] == b"\x86\xdd" and ip[6] == 17:
                segment = ip[40:]
            else:
                continue
            source, port, length = struct.unpack_from(">HHH", segment)
            found.append((source, port, segment[8:length]))
    return found


def seen(path: Path, *ports: int) -> Counter[str]:
    return Counter(look(payload) for _, port, payload in datagrams(path) if not ports or port in ports)


def test_our_own_exporters() -> None:
    """As tests/data/README.md has them."""
    path = ROOT / "tests" / "data" / "exporters.pcap"
    assert seen(path, 2055) == {"NetFlow v9": 16 + 6 + 16 + 16}
    assert seen(path, 9995) == {"NetFlow v5": 13 + 5}
    assert seen(path, 9996) == {"IPFIX": 15 + 16}
    assert seen(path, 6343) == {"sFlow v5": 26}
    assert seen(path, 514).keys() == {"syslog (RFC 3164)", "syslog (RFC 5424)"}
    assert seen(path, 162).keys() == {"SNMP v1", "SNMP v2c"}


def entries() -> list[dict]:
    if not CORPUS.is_dir():
        return []
    return [json.loads(line) for line in (CORPUS / "index.jsonl").read_text().splitlines()]


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the captures of other projects are not at {CORPUS}")
@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry["file"])
def test_the_corpus(entry: dict) -> None:
    """Each datagram is of the kind that the index says, by its bytes alone."""
    found = seen(CORPUS / entry["file"])
    expected = Counter({KINDS[kind]: n for kind, n in entry["kinds"].items() if kind in KINDS})
    for kind, word in (("syslog", "syslog"), ("snmp", "SNMP")):
        wanted = sum(n for name, n in entry["kinds"].items() if name.startswith(kind))
        assert sum(n for text, n in found.items() if text.startswith(word)) == wanted
    assert {text: n for text, n in found.items() if text in KINDS.values()} == expected
