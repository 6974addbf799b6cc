"""The AF_XDP benchmark works: every forwarder that is here forwards. How fast is not a test's business."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from gfwd.errors import GfwdError
from tests.bench import programs
from tests.bench.network import Network, Sink, flow_frame

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="AF_XDP is Linux's"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces"),
    pytest.mark.skipif(len(getattr(os, "sched_getaffinity", lambda _: ())(0)) < 2, reason="needs two cores"),
]


@pytest.fixture(scope="module")
def network():
    try:
        with Network(3, flow_frame(1)) as network:
            yield network
    except GfwdError as error:
        pytest.skip(f"this system cannot do it: {error}")


def test_generator_sends_as_many_as_asked_for_and_stops(network):
    network.accept_frames()
    before = network.received()
    with network.generate(1_000, 50_000, 5) as generating:
        generated = generating.wait()
    assert generated.sent == 1_000
    assert network.received() - before == 1_000
    with network.generate(1 << 40, 0, 0.05) as generating:
        assert 0 < generating.wait().sent < 1 << 40


@pytest.mark.parametrize("records", [1, 2])
def test_frames_are_whole(records):
    frame = flow_frame(records)
    ip, udp, payload = frame[14:34], frame[34:42], frame[42:]
    assert len(payload) == 24 + 48 * records
    assert _sum(ip) == 0xFFFF
    assert _sum(ip[12:20] + bytes([0, 17]) + udp[4:6] + udp + payload) == 0xFFFF


def test_sink_counts_what_is_for_it(network):
    """A datagram that a host sends by itself, once to the right port."""
    with Sink(network) as sink, network.forwarder.socket() as socket:
        for port in (2_055, 2_056, 2_055):
            socket.sendto(b"datagram", ("198.51.100.1", port))
        assert sink.settled()[:2] == (2, 1)


def test_benchmark_measures_what_is_there(network):
    """Very briefly, with a search of one step."""
    command = (sys.executable, "-m", "tests.bench.xdp", "--json")
    brief = ("--rounds", "1", "--seconds", "0.1", "--steps", "1", "--only", "bare", "--only", "nfcapd")
    done = subprocess.run((*command, *brief), cwd=programs.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    (only,) = measured["rounds"]
    assert len(only) + len(measured["missing"]) == 3
    for each in only:
        assert each["saturated"] > 0, each
        assert each["offered"] > 0, each
        assert each["cpu_saturated"] > 0, each


def _sum(data: bytes) -> int:
    """The Internet checksum's sum, over an even number of bytes."""
    total = sum(int.from_bytes(data[i : i + 2]) for i in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total
