"""Hostile datagrams through all of inspect: nothing is raised, all of it ends, and what is kept stays small."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfwd.cli import inspect_text
from gfwd.daemon.capture.source import Capture
from gfwd.daemon.inspect import Inspect, Inspection, summary
from gfwd.metrics.guess import BYTES, guess
from gfwd.netflow.cache import TemplateCache
from gfwd.netflow.decode import PROTOCOLS, decode
from gfwd.netflow.message import IPFIX, NETFLOW, SFLOW, SNMP, SYSLOG
from tests import captures
from tests.fuzz.targets import Inspector, real
from tests.fuzz.test_inputs import like
from tests.hostile import MOST, PAYLOADS
from tests.netflow import SENDER, a_set, ipfix, template, v9

pytestmark = pytest.mark.pure

SMALL = [*real(), *(payload for payload in PAYLOADS.values() if len(payload) < 2_000)]


CAPTURES = [capture.data for capture in captures.all_captures() if len(capture.data) < 10_000]


@settings(max_examples=400)
@given(data=like(CAPTURES))
def test_any_bytes_as_a_capture(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "capture"
    path.write_bytes(data)
    with Inspection(Inspect(output=str(path.with_suffix(".out"))), Capture(str(path))) as inspection:
        lines = [*inspect_text.datagrams(inspection.seen(), with_records=True)]
    assert all(line.isprintable() for line in [*lines, *inspection.notes(), inspection.problem() or ""])
    assert len(lines) <= len(data)
    with Inspection(Inspect(), Capture(str(path))) as inspection:
        assert "\n".join(inspect_text.summary(summary(inspection)))
    assert inspection.matched <= len(data) // 16


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", PAYLOADS)
def test_what_means_harm(name, protocol):
    assert len(PAYLOADS[name]) <= MOST
    inspector = Inspector()
    inspector.take(protocol, PAYLOADS[name])
    inspector.check_bounds()


@settings(max_examples=1_000)
@given(data=st.data())
def test_any_datagrams(data):
    inspector = Inspector()
    for payload in data.draw(st.lists(like(SMALL), max_size=6)):
        guessed = guess(payload[:BYTES], len(payload), 2055).protocol
        protocol = guessed or data.draw(st.sampled_from(PROTOCOLS))
        inspector.take(protocol, payload, bytes([data.draw(st.integers(0, 30))]) * 4)
    inspector.check_bounds()


@settings(max_examples=500)
@given(payload=st.binary(max_size=300), protocol=st.sampled_from([NETFLOW, IPFIX, SFLOW, SYSLOG, SNMP, None]))
def test_any_bytes_of_any_protocol(payload, protocol):
    for version in (b"", b"\0\x05", b"\0\x09", b"\0\x0a", b"\0\0\0\x05\0\0\0\x01", b"\x30\x40\x02\x01\x01", b"<34>1 "):
        Inspector().take(protocol, version + payload)


@pytest.mark.parametrize("make", [v9, ipfix])
def test_thousands_of_domains_with_a_template_each(make):
    """Whatever comes, the default bounds hold; what was forgotten is counted."""
    cache, key = TemplateCache(fields=50_000), "source" if make is v9 else "domain"
    fields = [(1 + at, 1) for at in range(1_000)]
    for domain in range(1_000):
        payload = make(a_set(0 if make is v9 else 2, template(256, fields)), **{key: domain})
        decode(NETFLOW, payload, SENDER, cache)
    assert (len(cache), cache.fields, cache.forgotten) == (50, 50_000, 950)
