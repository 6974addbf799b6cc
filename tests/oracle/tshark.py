"""What tshark makes of the datagrams in a capture: headers, sets and samples, in the shape that the tests compare."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

TSHARK = shutil.which("tshark")
WHY_NOT = "tshark is not here (Debian: apt-get install tshark)"
SECONDS = 300

Pairs = list[tuple[str, Any]]
"""An object of tshark's JSON: keys come more than once."""

KINDS_V9 = {0: "template", 1: "options_template"}
KINDS_IPFIX = {2: "template", 3: "options_template"}


def datagrams(capture: Path, decode_as: Sequence[str]) -> list[dict[str, Any]]:
    """One plain object for each NetFlow, IPFIX, sFlow, syslog and SNMP datagram, in the capture's order."""
    options = [word for rule in decode_as for word in ("-d", rule)]
    command = [TSHARK or "tshark", "-n", "-r", str(capture), *options, "-T", "json", "-J", "cflow sflow syslog snmp"]
    done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
    packets = json.loads(done.stdout, object_pairs_hook=lambda pairs: [*pairs])
    found = (_datagram(_under(packet, "_source", "layers")) for packet in packets)
    return [one for one in found if one is not None]


def _datagram(layers: Pairs) -> dict[str, Any] | None:
    for name, layer in layers:
        if name == "cflow":
            return _cflow(layer)
        if name == "sflow":
            return _sflow(layer)
        if name == "syslog" and isinstance(layer, list):
            return {
                "protocol": "syslog",
                "facility": _number(layer, "syslog.facility"),
                "severity": _number(layer, "syslog.level"),
            }
        if name == "snmp":
            return {"protocol": "SNMP", "version": _number(layer, "snmp.version", "snmp.msgVersion")}
    return None


def _cflow(layer: Pairs) -> dict[str, Any]:
    version = _number(layer, "cflow.version")
    uptime = _one(layer, "cflow.sysuptime")
    engine = _number(layer, "cflow.engine_type"), _number(layer, "cflow.engine_id")
    times = [value for key, value in layer if key == "cflow.timestamp_tree"]
    source = _number(layer, "cflow.source_id", "cflow.od_id")
    if source is None and engine[0] is not None and engine[1] is not None:
        source = engine[0] << 8 | engine[1]
    return {
        "protocol": "IPFIX" if version == 10 else "NetFlow",
        "version": version,
        "length": _number(layer, "cflow.len"),
        "count": _number(layer, "cflow.count"),
        "sys_uptime": None if uptime is None else round(float(uptime) * 1000),
        "unix_secs": _number(times[0], "cflow.unix_secs", "cflow.exporttime") if times else None,
        "sequence": _number(layer, "cflow.sequence"),
        "source_id": source,
        "sets": [*_sets(layer)] if version in (9, 10) else _pdus(layer),
    }


def _sets(layer: Pairs) -> Iterator[tuple[int | None, str, int | None, int | None]]:
    """Id, kind, length, records."""
    kinds = KINDS_IPFIX if _number(layer, "cflow.version") == 10 else KINDS_V9
    for key, value in layer:
        if not re.match(r"(Flow)?Set \d+", key):
            continue
        set_id = _number(value, "cflow.flowset_id")
        kind = kinds.get(set_id if set_id is not None else -1, "data")
        length = _number(value, "cflow.flowset_length")
        if kind != "data":
            yield set_id, kind, length, _count(value, r"(Options )?Template \(Id")
        else:
            known = any(name == "cflow.template_frame" for name, _ in value)
            yield set_id, kind, length, _count(value, r"Flow \d+$") if known else None


def _pdus(layer: Pairs) -> list[tuple[None, str, None, int]]:
    n = _count(layer, r"pdu \d+")
    return [(None, "data", None, n)] if n else []


def _sflow(layer: Pairs) -> dict[str, Any]:
    samples = []
    for _, value in layer:
        if isinstance(value, list) and any(name == "sflow_245.sampletype" for name, _ in value):
            # tshark calls both the length of a sample and that of a record in many places the same.
            samples.append((_number(value, "sflow_245.sampletype"), _number(value, "sflow_5.sample_length")))
    return {
        "protocol": "sFlow",
        "version": _number(layer, "sflow_245.version"),
        "agent": _one(layer, "sflow_245.agent", "sflow_245.agent.v6", "sflow_245.agent.addr_v6"),
        "source_id": _number(layer, "sflow_245.sub_agent_id"),
        "sequence": _number(layer, "sflow_245.sequence_number"),
        "sys_uptime": _number(layer, "sflow_245.sysuptime"),
        "count": _number(layer, "sflow_245.numsamples"),
        "samples": samples,
    }


def _under(pairs: Pairs, *keys: str) -> Pairs:
    for key in keys:
        pairs = next(value for name, value in pairs if name == key)
    return pairs


def _one(pairs: Pairs, *keys: str) -> str | None:
    return next((value for name, value in pairs if name in keys and isinstance(value, str)), None)


def _number(pairs: Pairs, *keys: str) -> int | None:
    value = _one(pairs, *keys)
    return None if value is None else int(value, 0)


def _count(pairs: Iterable[tuple[str, Any]], pattern: str) -> int:
    return sum(bool(re.match(pattern, name)) for name, _ in pairs)
