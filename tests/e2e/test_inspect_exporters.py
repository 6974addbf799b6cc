"""Real exporters of today: what softflowd and pmacctd have seen is what gfwd inspect reads, flow by flow."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from tests import captures
from tests.captures import RAW_IP, Frame
from tests.frames import datagram

PATIENCE_S = 60
QUIET_S = 1.0  # nothing more comes then, as the exporter has ended
TRIES = 12
FLOWS = 200
BYTES = 20 + 8 + len(b"query")  # of each flow's packet
BEGIN = 1_700_000_000 * 10**9

PMACCTD = """\
daemonize: false
pcap_savefile: {traffic}
plugins: {plugin}
{plugin}_receiver: 127.0.0.1:{port}
{more}
"""


@pytest.fixture
def traffic(tmp_path) -> Path:
    """FLOWS flows of one packet each, from 10.0.0.0 on."""
    packets = [datagram(4, 0x0A000000 + n, 0x0A800001, (1_024 + n, 53), b"query") for n in range(FLOWS)]
    frames = [Frame(BEGIN + n * 10**6, packet, len(packet)) for n, packet in enumerate(packets)]
    path: Path = tmp_path / "traffic.pcap"
    path.write_bytes(captures.pcap_file(frames))
    return path


def exported(command: Callable[[int], list[str | Path]], folder: Path) -> Path:
    """Everything that an exporter sends, as a capture of raw IP; the command is told to which port.

    On a busy machine pmacctd's core now and then fails its plugin; that is its own matter, so it may try again.
    """
    for _ in range(TRIES):
        done, frames = export(command, folder)
        if done.returncode == 0:
            break
    assert frames and done.returncode == 0, f"{done.args}: status {done.returncode}: {done.stdout}{done.stderr}"
    path = folder / "exported.pcap"
    path.write_bytes(captures.pcap_header(link_type=RAW_IP) + b"".join(captures.pcap_record(frame) for frame in frames))
    return path


def export(
    command: Callable[[int], list[str | Path]], folder: Path
) -> tuple[subprocess.CompletedProcess[str], list[Frame]]:
    """One try, and what came of it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(QUIET_S)
        port = collector.getsockname()[1]
        done = subprocess.run(
            command(port), timeout=PATIENCE_S, capture_output=True, cwd=folder, text=True, check=False
        )
        frames: list[Frame] = []
        deadline = time.monotonic() + PATIENCE_S
        if done.returncode != 0:  # what it has sent counts for nothing
            return done, frames
        try:
            while time.monotonic() < deadline:
                payload, (_, source) = collector.recvfrom(65_535)
                packet = bytes(IP(src="127.0.0.1", dst="127.0.0.1") / UDP(sport=source, dport=port) / Raw(payload))
                frames.append(Frame(time.time_ns() // 1_000 * 1_000, packet, len(packet)))
        except TimeoutError:
            pass
    return done, frames


def read(run: Any, path: Path) -> list[dict[str, Any]]:
    done = run("inspect", "--json", path)
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert not any("flaw" in one for one in found)
    return found


def check_flows(run: Any, path: Path, protocol: str, version: int) -> None:
    """Every flow is there once, with what is known of it, and nothing was lost."""
    found = read(run, path)
    assert {(one["protocol"], one["version"]) for one in found} == {(protocol, version)}
    records = [record for one in found for its in one["sets"] if its["kind"] == "data" for record in its["records"]]
    flows = [record for record in records if "sourceIPv4Address" in record]
    names = (
        *("sourceIPv4Address", "destinationIPv4Address", "sourceTransportPort", "destinationTransportPort"),
        *("protocolIdentifier", "packetDeltaCount", "octetDeltaCount"),
    )
    expected = [(f"10.0.0.{n}", "10.128.0.1", 1_024 + n, 53, 17, 1, BYTES) for n in range(FLOWS)]
    assert sorted(tuple(flow[name] for name in names) for flow in flows) == sorted(expected)
    (loss,) = map(json.loads, run("inspect", "--loss", "--json", path).stdout.splitlines())
    assert (loss["lost"], loss["reordered"], loss["doubled"], loss["restarts"], loss["strays"]) == (0, 0, 0, 0, 0)


@pytest.mark.skipif(shutil.which("softflowd") is None, reason="softflowd is not installed")
@pytest.mark.parametrize(("version", "protocol"), [(5, "NetFlow"), (9, "NetFlow"), (10, "IPFIX")])
def test_softflowd(run, traffic, tmp_path, version, protocol):
    def command(port: int) -> list[str | Path]:
        start: list[str | Path] = ["softflowd", "-d", "-c", "none", "-p", tmp_path / "pid", "-r", traffic]
        return [*start, "-v", str(version), "-n", f"127.0.0.1:{port}"]

    check_flows(run, exported(command, tmp_path), protocol, version)


def pmacctd(folder: Path, traffic: Path, plugin: str, more: str) -> Callable[[int], list[str | Path]]:
    def command(port: int) -> list[str | Path]:
        path = folder / "pmacctd.conf"
        path.write_text(PMACCTD.format(traffic=traffic, plugin=plugin, port=port, more=more))
        return ["pmacctd", "-f", path]

    return command


@pytest.mark.skipif(shutil.which("pmacctd") is None, reason="pmacctd is not installed")
@pytest.mark.parametrize(("version", "protocol"), [(5, "NetFlow"), (9, "NetFlow"), (10, "IPFIX")])
def test_pmacctd_nfprobe(run, traffic, tmp_path, version, protocol):
    more = f"nfprobe_version: {version}\naggregate: src_host,dst_host,src_port,dst_port,proto,tos"
    check_flows(run, exported(pmacctd(tmp_path, traffic, "nfprobe", more), tmp_path), protocol, version)


@pytest.mark.skipif(shutil.which("pmacctd") is None, reason="pmacctd is not installed")
def test_pmacctd_sfprobe(run, traffic, tmp_path):
    """It keeps the samples of its last datagram to itself when it ends."""
    path = exported(pmacctd(tmp_path, traffic, "sfprobe", "sampling_rate: 1"), tmp_path)
    found = read(run, path)
    assert {(one["protocol"], one["version"]) for one in found} == {("sFlow", 5)}
    samples = [sample for one in found for sample in one["samples"]]
    assert len(samples) == sum(one["count"] for one in found)
    flows = [one for one in samples if one["kind"] == "flow"]
    assert FLOWS - 20 < len(flows) <= FLOWS
    assert [one["sequence"] for one in flows] == [*range(1, len(flows) + 1)]
    assert all(any(record["kind"] == "raw_header" for record in one["records"]) for one in flows)
    assert {one["sampling"] for one in flows} == {1}
