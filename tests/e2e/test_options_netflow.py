"""A real exporter and a real collector around options: softflowd sends, and nfcapd decodes what gfwd makes of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import iter_unpack, unpack_from

import pytest

from tests import captures
from tests.e2e.farm import Farm
from tests.e2e.live import PATIENCE_S, Arrived, udp_counter, wait_until
from tests.frames import datagram

pytestmark = [
    pytest.mark.usefixtures("live_network"),
    pytest.mark.skipif(shutil.which("softflowd") is None, reason="softflowd is not installed"),
    pytest.mark.skipif(shutil.which("nfcapd") is None, reason="nfcapd is not installed"),
]

TO, WITNESS = "10.1.0.2", "10.1.0.3"
CONFIG = f"""\
[[rule]]
source = "*"
ports = 2055
collectors = ["nfcapd", "{WITNESS}"]
priority = "A"
[collector.nfcapd]
host = "{TO}"
"""


@contextmanager
def nfcapd(farm: Farm) -> Iterator[Path]:
    """Takes what comes to TO meanwhile, and has written all of it at the end. What it says is in this file."""
    folder, said = farm.folder / "flows", farm.folder / "said"
    folder.mkdir()
    command: list[str | Path] = ["nfcapd", "-w", folder, "-b", TO, "-p", "2055", "-C", "none", "-t", "86400"]
    with said.open("w") as file:
        process = farm.near.start(command, stdout=subprocess.DEVNULL, stderr=file)
        try:
            wait_until(lambda: "Startup nfcapd" in said.read_text(), said.read_text)
            yield said
            wait_until(lambda: udp_counter(farm.near, "InDatagrams") == farm.count(TO))
            process.terminate()
            process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.wait()


def export(farm: Farm, version: int, flows: int) -> None:
    """softflowd sees so many flows, and exports them, some 32 in a datagram; what gfwd has received has arrived.

    It sends as fast as it can, and nfcapd's receive buffer holds 90 of its datagrams.
    """
    traffic = farm.folder / "traffic.pcap"
    seen = [(1_700_000_000 * 10**9 + n * 10**6, flow(n)) for n in range(flows)]
    traffic.write_bytes(captures.pcap_file([captures.Frame(time, frame, len(frame)) for time, frame in seen]))
    command: list[str | Path] = [
        "softflowd",
        "-d",
        "-c",
        "none",
        "-p",
        farm.folder / "pid",
        "-r",
        traffic,
        "-v",
        str(version),
    ]
    exporter = farm.exporters.start(
        [*command, "-n", "10.0.0.1:2055"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert exporter.wait(PATIENCE_S) == 0
    finally:
        exporter.kill()
        exporter.wait()
    farm.sent = udp_counter(farm.exporters, "OutDatagrams")
    account = farm.settled()
    wait_until(lambda: farm.count() == account["copies"]["sent"])
    assert farm.count(WITNESS) == account["received"] > flows // 40


def flow(number: int) -> bytes:
    return datagram(4, 0x0A000000 + number, 0x0A800001, (1_024 + number, 53), b"query")


def decoded(farm: Farm) -> int:
    """How many flows nfcapd has written."""
    (file,) = (farm.folder / "flows").glob("nfcapd.2*")
    done = subprocess.run(["nfdump", "-r", file, "-I"], capture_output=True, text=True, check=True)
    return int(done.stdout.partition("Flows: ")[2].split()[0])


def sets(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """The sets of a NetFlow v9 (RFC 3954 §5) or IPFIX message (RFC 7011 §3.3): id and content."""
    at = 20 if payload[1] == 9 else 16
    while at < len(payload):
        number, length = unpack_from(">HH", payload, at)
        yield number, payload[at + 4 : at + length]
        at += length


def template_lengths(payload: bytes) -> dict[int, int]:
    """How long the records of each template are that a message brings."""
    found: dict[int, int] = {}
    for number, content in sets(payload):
        at = 0
        while number in (0, 2) and at + 4 <= len(content):
            template, fields = unpack_from(">HH", content, at)
            found[template] = sum(length for _, length in iter_unpack(">HH", content[at + 4 : at + 4 + 4 * fields]))
            at += 4 + 4 * fields
    return found


def flows_in(messages: list[Arrived]) -> int:
    """How many flows they hold, all templates known."""
    lengths = {number: length for one in messages for number, length in template_lengths(one.payload).items()}
    return sum(
        len(content) // lengths[number]
        for one in messages
        for number, content in sets(one.payload)
        if number in lengths
    )


def at(farm: Farm, collector: str) -> list[Arrived]:
    return [one for one in farm.came() if one.destination == collector]


@pytest.mark.parametrize("version", [9, 10])
def test_sampled(farm: Farm, version):
    """Every template arrives, and nfcapd decodes all of what does: a fourth of the others, as chance has it."""
    farm.run(CONFIG + "sample = 4\n")
    with nfcapd(farm) as said:
        export(farm, version, 6_000)
    came, sent = at(farm, TO), at(farm, WITNESS)
    bringing = [one.payload for one in sent if template_lengths(one.payload)]
    others = [one.payload for one in sent if not template_lengths(one.payload)]
    assert len(bringing) >= 5
    assert [one.payload for one in came if template_lengths(one.payload)] == bringing
    n = len(came) - len(bringing)
    six_sigma = 6 * (len(others) * 3 / 16) ** 0.5
    assert abs(n - len(others) / 4) < six_sigma, f"{n} of {len(others)}"
    assert decoded(farm) == flows_in(came) > 0
    assert "emplate" not in said.read_text()
    account = farm.ended()
    assert account["collectors"]["nfcapd"]["drops"]["sampled_out"] == len(sent) - len(came)


@pytest.mark.parametrize("version", [9, 10])
def test_from_gfwds_own_address(farm: Farm, version):
    """nfcapd takes it for one exporter that has that address, and decodes all."""
    farm.run(CONFIG + 'source = "own"\nsource_port = 2055\nttl = 5\n')
    with nfcapd(farm) as said:
        export(farm, version, 2_000)
    came = at(farm, TO)
    assert {(one.source, one.ports, one.ttl) for one in came} == {("10.1.0.1", (2055, 2055), 5)}
    assert [one.payload for one in came] == [one.payload for one in at(farm, WITNESS)]
    assert decoded(farm) == flows_in(came) == 2_000
    (exporter,) = re.findall(r"exporter.* (\S+)\n", said.read_text())
    assert exporter == "10.1.0.1"
    assert "Bad Packets: 0" in said.read_text()
    farm.ended()
