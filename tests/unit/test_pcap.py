"""Capture files through the core: what is read, what is written, and what is said about broken ones."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from pathlib import Path
from typing import NamedTuple

import pytest
from scapy.utils import RawPcapReader, checksum

from gfwd.daemon.replay import SOURCE_MAC, Outcome, Replay, made_up_mac, replay
from gfwd.errors import GfwdError
from gfwd.rules import classic
from gfwd.rules.model import Address
from tests import captures, frames
from tests.captures import Capture, Frame
from tests.oracle import sums, twin
from tests.oracle.twin import Datagram, Twin, TwinConfig, TwinPort, TwinRule, TwinTarget

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
LONGEST = 65_535  # bytes of a frame that a slot can hold

RULES = classic.parse("default * 192.0.2.9 2001:db8::9", "test.rules")
COLLECTORS = (Address(4, 0xC0000209), Address(6, 0x20010DB8 << 96 | 9))
TARGETS = [
    TwinTarget(slot, address.family, address.value, None, "ready", made_up_mac(address), 1)
    for slot, address in enumerate(COLLECTORS)
]
EVERYTHING = TwinConfig("all", "all", [TwinPort(bytes(6)), TwinPort(SOURCE_MAC, keep_tags=True)])

# What the core says, by the kind of error.
TEXTS = {
    "not_a_capture": r"neither pcap nor pcapng: (fewer than 4 bytes|starts with( [0-9a-f]{2}){4}(, compressed: .*)?)",
    "version": r"(pcap version \d+\.\d+: only 2\.x|pcapng version \d+\.\d+: only 1\.x) is known",
    "truncated": r"the file ends inside a ([a-z]+ header|record|block|packet block|interface description)",
    "link_type": r"link type (101|113): only Ethernet \(1\) can be forwarded",
    "too_long": r"a (record|packet) of \d+ bytes: no frame is longer than 262144",
    "bad_block": r"an? (block|section header|interface description|packet block) of \d+ bytes"
    r"|a block whose two lengths differ: \d+ and \d+"
    r"|a packet of \d+ bytes in a block with room for \d+"
    r"|a section header without its byte-order magic",
    "bad_option": r"an option that is longer than its block|a time resolution \(if_tsresol\) of .*"
    r"|an option \(if_ts[a-z]+\) of \d+ bytes",
    "unknown_interface": r"a packet of interface \d+, which is not described",
}


class Stamped(NamedTuple):
    """A frame of a capture, with its time in ns since 1970."""

    time: int
    data: bytes


def written(path: Path) -> list[Stamped]:
    """A capture as scapy reads it."""
    with RawPcapReader(str(path)) as reader:
        assert reader.nano and reader.linktype == captures.ETHERNET
        found = [(data, meta) for data, meta in reader]
    assert all(meta.caplen == meta.wirelen == len(data) for data, meta in found)
    return [Stamped(meta.sec * 10**9 + meta.usec, bytes(data)) for data, meta in found]


def replayed(data: bytes, folder: Path) -> tuple[Outcome, list[Stamped]]:
    """A capture that went through gfwd: the outcome, and what was written."""
    capture, output = folder / "in", folder / "out"
    capture.write_bytes(data)
    outcome = replay(Replay(capture=str(capture), output=str(output), rules=RULES))
    return outcome, written(output)


def expected_of(those: tuple[Frame, ...]) -> tuple[list[Stamped], dict[str, int]]:
    """What the twin makes of a capture's frames; and where they end."""
    core = Twin([TwinRule(None, [(0, 65_535)], TARGETS, None, 0)], EVERYTHING)
    sent: list[Stamped] = []
    for frame in those:
        if len(frame.data) > LONGEST:
            core.ledger.frames["too_big"] += 1
        else:
            sent += [Stamped(frame.time, output.frame) for output in core.forward(frame.data).outputs]
    return sent, {place: n for place, n in core.ledger.frames.items() if n}


def places(outcome: Outcome) -> dict[str, int]:
    ledger = outcome.ledger.frames
    named = {"forwarded": ledger.forwarded, "passed": ledger.passed, **ledger.drops}
    assert sum(named.values()) == ledger.received
    return {place: n for place, n in named.items() if n}


def cases(those: list[Capture]) -> list[object]:
    """Each by its name."""
    return [pytest.param(capture, id=capture.name) for capture in those]


# -- Files made for it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capture", cases([*captures.sound_pcaps(), *captures.sound_pcapngs()]))
def test_a_sound_capture_is_read_whole(capture: Capture, tmp_path: Path) -> None:
    outcome, output = replayed(capture.data, tmp_path)
    sent, ended = expected_of(capture.frames)
    assert outcome.problem is None
    assert places(outcome) == ended
    assert output == sent


@pytest.mark.parametrize("capture", cases([it for it in captures.all_captures() if it.error]))
def test_a_broken_capture_is_read_up_to_where_it_is_broken(capture: Capture, tmp_path: Path) -> None:
    try:
        outcome, output = replayed(capture.data, tmp_path)
    except GfwdError as error:  # the file's own header
        assert capture.frames == ()
        said = str(error)
    else:
        sent, ended = expected_of(capture.frames)
        assert (places(outcome), output) == (ended, sent)
        assert outcome.problem is not None
        said = outcome.problem
    assert capture.error is not None
    where = f" (at byte {capture.offset})"
    assert said.startswith(f"{tmp_path / 'in'}: error: ") and said.endswith(where), said
    text = said.removeprefix(f"{tmp_path / 'in'}: error: ").removesuffix(where)
    assert re.fullmatch(TEXTS[capture.error], text), text


def test_frames_that_no_slot_can_hold_are_counted(tmp_path: Path) -> None:
    """Around the longest: IP packets end before, so what lies behind is a trailer."""
    sound = captures.sample_frames()[0].data
    sizes = (LONGEST - 1, LONGEST, LONGEST + 1, captures.LONGEST_FRAME, 60)
    those = tuple(Frame(at, sound.ljust(size, b"."), size) for at, size in enumerate(sizes))
    outcome, output = replayed(captures.pcap_file(those, resolution="ns"), tmp_path)
    assert places(outcome) == {"forwarded": 3, "too_big": 2}
    assert [(it.time, len(it.data)) for it in output] == [(0, LONGEST - 1), (1, LONGEST), (4, 60)]
    assert output == expected_of(those)[0]


@pytest.mark.parametrize("count", [255, 256, 257, 10_000])
def test_more_frames_than_a_ring_has_slots(count: int, tmp_path: Path) -> None:
    sound = captures.sample_frames()[0].data
    those = tuple(
        Frame(at * 1_001, frames.datagram(4, at, at + 1, (at, 2_055), sound[: at % 50]), 0) for at in range(count)
    )
    outcome, output = replayed(captures.pcap_file(those, resolution="ns"), tmp_path)
    assert places(outcome) == {"forwarded": count}
    assert output == expected_of(those)[0]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    capture = tmp_path / "in"
    capture.write_bytes(captures.pcap_file(captures.sample_frames() * 1_000))
    outcome = replay(Replay(capture=str(capture), output=str(full), rules=RULES))
    assert outcome.problem == "/dev/full: error: cannot be written: No space left on device"


# -- Real ones --------------------------------------------------------------------------------------------------------


def corpus() -> list[dict[str, str]]:
    if not CORPUS.is_dir():
        return []
    return [json.loads(line) for line in (CORPUS / "index.jsonl").read_text().splitlines()]


def sound_datagram(frame: bytes) -> Datagram | None:
    parsed = twin.parse(frame, EVERYTHING, 0)
    return parsed if isinstance(parsed, Datagram) else None


def segment_of(its: Datagram) -> bytes:
    return its.frame[its.udp_at : its.udp_at + sums.u16(its.frame, its.udp_at + 4)]


def has_right_checksum(its: Datagram) -> bool:
    """As scapy sums it up. One that was left out is right."""
    segment, size = segment_of(its), frames.LENGTH[its.family]
    addresses = (
        its.frame[its.ip_at + 12 : its.ip_at + 20] if its.family == 4 else its.frame[its.ip_at + 8 : its.ip_at + 40]
    )
    assert len(addresses) == 2 * size
    return segment[6:8] == bytes(2) or checksum(addresses + struct.pack(">HH", frames.UDP, len(segment)) + segment) == 0


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the captures of other projects are not at {CORPUS}")
@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["file"]) for entry in corpus()])
def test_real_datagrams_come_through_unchanged(entry: dict[str, str], tmp_path: Path) -> None:
    path = CORPUS / entry["file"]
    output = tmp_path / "out"
    outcome = replay(Replay(capture=str(path), output=str(output), rules=RULES))
    assert outcome.problem is None
    came = [it for it in map(sound_datagram, all_frames(path)) if it]
    left = [it for it in (sound_datagram(stamped.data) for stamped in written(output)) if it]
    assert len(came) == len(left) == outcome.ledger.frames.forwarded
    digest = hashlib.sha256()
    for before, after in zip(came, left, strict=True):
        payload = segment_of(after)[8:]
        digest.update(struct.pack(">I", len(payload)) + payload)
        assert after.destination == COLLECTORS[after.family == 6].value
        assert has_right_checksum(after) == has_right_checksum(before)
    if outcome.ledger.frames.drops["bad_checksum"]:  # captured before the card had finished the headers
        return
    assert digest.hexdigest() == entry["payload_sha256"]


def all_frames(path: Path) -> list[bytes]:
    with RawPcapReader(str(path)) as reader:  # finds out by itself which of the two formats it is
        return [bytes(data) for data, _ in reader]
