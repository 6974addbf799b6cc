"""gfwd inspect against tshark, on every capture of the corpus: headers, sets, lengths, counts of records, samples."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gfwd.daemon.capture.source import Capture
from gfwd.daemon.inspect import Inspect, Inspection, Seen, loss
from gfwd.netflow.message import IPFIX, NETFLOW, SFLOW, SNMP, SYSLOG
from gfwd.netflow.syslog import _FACILITIES, _SEVERITIES
from tests.oracle import tshark

pytestmark = pytest.mark.pure

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
IPFIX_DUMP = shutil.which("ipfixDump")
NAMES = {"cflow": (NETFLOW, IPFIX), "sflow": (SFLOW,), "syslog": (SYSLOG,), "snmp": (SNMP,)}
SFLOW_KINDS = {"flow": 1, "counters": 2, "expanded_flow": 3, "expanded_counters": 4, "discard": 5}
SNMP_VERSIONS = {"1": 0, "2c": 1, "3": 3}


def index() -> list[dict[str, Any]]:
    path = CORPUS / "index.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


# tshark differs in these: (file, datagram from 0, key) → what gfwd says, and why.
_SETS_BEHIND_COUNT = "RFC 3954 §5.1: the header counts records; tshark takes it for a number of sets, and stops there"
_NEWER_TEMPLATE = "RFC 7011 §8.4: a new template takes the old one's place; tshark keeps the first one of each ID"
EXPLAINED: dict[tuple[str, int, str], tuple[Any, str]] = {
    ("gopacket/mined_layers_sflow_test.go.sflow5.pcap", 10, "samples"): (
        [],
        "sflow_version_5.txt §5.3: sample_data is opaque<>, and this one is cut; gfwd lists whole ones, and says so",
    ),
    ("graylog-plugin-netflow/netflow9.pcap", 0, "sets"): (
        [
            *[(0, "template", 60, 1), (0, "template", 60, 1), (1, "options_template", 22, 1)],
            *[(256, "data", 16, 1), (1024, "data", 46, 1)],
        ],
        _SETS_BEHIND_COUNT,
    ),
    ("graylog-plugin-netflow/netflow9.pcap", 6, "sets"): (
        [(1024, "data", 84, 2), (2048, "data", 68, 1)],
        "its template stands in datagram 0, behind where tshark stops",
    ),
    ("graylog-plugin-netflow/netflow9.pcap", 8, "sets"): (
        [(2048, "data", 68, 1)],
        "its template stands in datagram 0, behind where tshark stops",
    ),
    ("graylog-plugin-netflow/v9-1.pcap", 0, "sets"): (
        [(0, "template", 60, 1), (0, "template", 60, 1), (1024, "data", 84, 2), (9, "data", 4, None)],
        _SETS_BEHIND_COUNT,
    ),
    ("ipfix/mined_parser_test.go.ipfix.pcap", 2, "sets"): (
        [(20301, "data", 668, 12), (10299, "data", 73, 1), (20301, "data", 697, 1)],
        "RFC 7011 §3.3.2: a record lies within its set; the second one does not, and tshark counts it",
    ),
    ("python-netflow-v9-softflowd/mined_tests_lib.py.ipfix.pcap", 2, "sets"): (
        [
            *[(2, "template", 80, 1), (2, "template", 68, 1), (2, "template", 80, 1), (2, "template", 68, 1)],
            *[(3, "options_template", 30, 1), (256, "data", 26, 1), (1024, "data", 116, 2)],
            *[(1025, "data", 108, 2), (2049, "data", 688, 9)],
        ],
        _NEWER_TEMPLATE,
    ),
    ("vflow/mined_ipfix_decoder_test.go.ipfix.pcap", 2, "sets"): (
        [(2, "template", 1032, 9), (3, "options_template", 68, 1), (264, "data", 194, 2)],
        "RFC 7011 §3.4.1: template IDs begin at 256, and tshark reads one of 0, which leads it behind the set",
    ),
}


def named(decode_as: list[str]) -> set[str]:
    """Protocols that tshark was told to look for: NetFlow that is sent to a port of sFlow's, it does not see."""
    names = {rule.rpartition(",")[2] for rule in decode_as}
    return {protocol for name, those in NAMES.items() if name in names or not names for protocol in those}


def shape(seen: Seen) -> dict[str, Any] | None:
    """What tshark.datagrams() has of it."""
    its = seen.message
    if its.protocol == SYSLOG:
        facility, severity = its.details["facility"], its.details["severity"]
        return {"protocol": SYSLOG, "facility": _FACILITIES.index(facility), "severity": _SEVERITIES.index(severity)}
    if its.protocol == SNMP:
        return {"protocol": SNMP, "version": None if its.version is None else SNMP_VERSIONS[str(its.version)]}
    if its.protocol == SFLOW:
        return {
            "protocol": SFLOW,
            "version": its.version,
            "agent": its.details.get("agent"),
            "source_id": its.source_id,
            "sequence": its.sequence,
            "sys_uptime": its.sys_uptime,
            "count": its.count,
            "samples": [(SFLOW_KINDS[one.kind], one.length) for one in (its.samples or list)()],
        }
    if its.protocol not in (NETFLOW, IPFIX):
        return None
    return {
        "protocol": its.protocol,
        "version": its.version,
        "length": its.length if its.version == 10 else None,
        "count": its.count,
        "sys_uptime": its.sys_uptime,
        "unix_secs": its.unix_secs,
        "sequence": its.sequence,
        "source_id": its.source_id,
        "sets": [(one.id, one.kind.value, None if one.id is None else one.length, one.n_records) for one in its.sets],
    }


@pytest.mark.skipif(tshark.TSHARK is None, reason=tshark.WHY_NOT)
@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the corpus is not here: {CORPUS}")
@pytest.mark.parametrize("entry", index(), ids=lambda entry: entry["file"])
def test_every_capture_reads_as_tshark_reads_it(entry):
    expected = tshark.datagrams(CORPUS / entry["file"], entry["decode_as"])
    with Inspection(Inspect(), Capture(str(CORPUS / entry["file"]))) as inspection:
        found = [shape(seen) for seen in inspection.seen() if seen.message.protocol in named(entry["decode_as"])]
    assert inspection.problem() is None
    for (file, n, key), (ours, why) in EXPLAINED.items():
        if file == entry["file"]:
            assert expected[n][key] != ours, f"no longer a difference: {why}"
            expected[n][key] = ours
    assert found == expected
    assert found


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the corpus is not here: {CORPUS}")
def test_the_cgn_of_the_thesis_has_lost_nothing():
    """Its NetFlow v9 counts records, and no template ever comes; datagrams it does not count."""
    with Inspection(Inspect(), Capture(str(CORPUS / "thesis" / "netflow-pcap.pcap"))) as inspection:
        found = [*loss(inspection).streams.findings()]
    assert [(one.counts, one.findings.datagrams, one.findings.in_order, one.findings.lost) for one in found] == [
        ("records", 37, 36, 0),
        ("records", 71, 70, 0),
    ]


# ---- lists in records: tshark shows them as bytes, libfixbuf reads them ----


@pytest.mark.skipif(IPFIX_DUMP is None, reason="ipfixDump is not here (Debian: apt-get install libfixbuf-tools)")
@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the corpus is not here: {CORPUS}")
def test_lists_in_records_read_as_libfixbuf_reads_them(tmp_path):
    """What yaf has sent: its TCP and DNS records stand in subTemplateMultiLists."""
    with Inspection(Inspect(), Capture(str(CORPUS / "telegraf" / "ipfix_example.pcap"))) as inspection:
        seen = [(one.datagram.payload, list(lists(one))) for one in inspection.seen() if one.message.version == 10]
    messages = tmp_path / "messages.ipfix"
    messages.write_bytes(b"".join(payload for payload, _ in seen))
    command = [IPFIX_DUMP or "ipfixDump", "--in", str(messages)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=tshark.SECONDS, check=True)
    semantics = re.findall(r"\+\+\+ subTemplateMultiList \+\+\+\s+count: (\d+)\s+semantic: \d+-(\w+)", done.stdout)
    entries = re.findall(r"subTemplateMultiListEntry \d+ \+\+\+\s+count: (\d+)\s+tid: (\d+)", done.stdout)
    sequences = re.findall(r"\(184\)\s+tcpSequenceNumber : (\d+)", done.stdout)
    found = [one for _, its in seen for one in its]
    records = [part for one in found for part in one["lists"]]
    assert [(str(len(one["lists"])), one["semantic"]) for one in found] == semantics
    assert [(str(len(one["records"])), str(one["template"])) for one in records] == entries
    assert [str(its["tcpSequenceNumber"]) for one in records for its in one["records"]] == sequences
    assert len(sequences) > 10


def lists(seen: Seen) -> Iterator[dict[str, Any]]:
    for one in seen.message.sets:
        for record in one.records() or ():
            yield from (value for value in record.values() if isinstance(value, dict))
