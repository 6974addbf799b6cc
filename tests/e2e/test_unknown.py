"""gfwd unknown: exporters that send to a gfwd that runs, without a rule for them."""

from __future__ import annotations

import json
import re
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from tests.e2e.live import PATIENCE_S, Live, Site, wait_until

pytestmark = pytest.mark.usefixtures("live_network")

# The exporter of the site, 10.0.0.2, has a rule for one port; of its other addresses one has, for another port.
RULES = """\
10.0.0.2  514   10.1.0.2       A
10.0.0.9  2055  10.1.0.2:9995  B
"""
SYSLOG = b"<34>Oct 11 22:14:15 mymachine su: failed"
V5 = struct.pack(">HH", 5, 1) + bytes(20 + 48)
SFLOW = struct.pack(">II", 5, 1) + bytes(20)
SNMP = b"0\x27\x02\x01\x01\x04\x06public" + bytes(29)
TRAFFIC = Path(__file__).parents[1] / "data" / "exporters.pcap"


def send(site: Site, payload: bytes, port: int, *, source: str = "10.0.0.2", times: int = 1) -> None:
    with site.exporter.socket() as its:
        its.bind((source, 0))
        for _ in range(times):
            its.sendto(payload, ("10.0.0.1", port))


def asked(run, *words: str):
    done = run("unknown", *words)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout) if "--json" in words else done.stdout


def no_rule(run, *control: str) -> int:
    status = json.loads(run("status", *control, "--json").stdout)
    return int(status["drops"]["no_rule"])


@pytest.fixture
def strangers(site: Site) -> Site:
    """The exporter has more addresses, of one network and another."""
    for address in ("10.0.0.3/32", "10.0.0.9/32", "10.9.9.1/32", "10.9.9.2/32", "10.9.9.3/32"):
        site.exporter.address("e0", address)
    return site


def send_all(site: Site) -> int:
    """Datagrams of every kind; how many have no rule."""
    assert site.forwards(SYSLOG)
    before = site.collector.look()
    send(site, V5, 2055, source="10.0.0.9", times=2)
    site.collector.wait_for(before + 2)
    send(site, V5, 2055, times=5)
    send(site, SYSLOG, 514, source="10.0.0.3", times=3)
    send(site, SFLOW, 2055, source="10.0.0.3")
    for host in (1, 2, 3):
        send(site, SNMP, 162, source=f"10.9.9.{host}")
        send(site, b"what?", 514, source=f"10.9.9.{host}", times=2)
    return 5 + 3 + 1 + 3 + 6


def test_who_is_unknown(strangers, run, tmp_path):
    control = "--control", str(tmp_path / "control")
    live = strangers.run(RULES, *control, "--listen", "162,514,2055")
    assert asked(run, *control) == "every datagram that came had a rule\n"
    number = send_all(strangers)
    wait_until(lambda: no_rule(run, *control) == number)
    answer = asked(run, *control, "--sort", "packets", "--json")
    seen = {(one["source"], one["port"]): (one["looks_like"], one["packets"]) for one in answer["sources"]}
    assert seen == {
        ("10.0.0.2", 2055): ("NetFlow v5", 5),
        ("10.0.0.3", 514): ("syslog (RFC 3164)", 3),
        ("10.0.0.3", 2055): ("sFlow v5", 1),
        **{(f"10.9.9.{host}", 162): ("SNMP v2c", 1) for host in (1, 2, 3)},
        **{(f"10.9.9.{host}", 514): ("unknown (by its port: syslog?)", 2) for host in (1, 2, 3)},
    }
    assert [one["packets"] for one in answer["sources"]] == sorted((one for _, one in seen.values()), reverse=True)
    assert sum(one["packets"] for one in answer["sources"]) == number
    table = asked(run, *control)
    head, _, first, *_ = table.splitlines()
    assert re.split(r" {2,}", head.strip()) == [
        "source", "port", "looks like", "datagrams", "bytes", "rate", "first seen", "last seen",
    ]  # fmt: skip
    assert re.match(r"10\.0\.0\.2 +2055 +NetFlow v5 +5 +570 +", first), table
    assert "10.0.0.9" not in table and "\nrates are those since the " in table
    assert live.stop().drops() == {"no_rule": number}


def paste(told: str, path: Path) -> None:
    path.write_text(path.read_text() + told)


def test_what_is_suggested_takes_them(strangers, run, tmp_path):
    """Pasted behind the rules, the lines are right but for the one that wants a collector; then all are forwarded."""
    control = "--control", str(tmp_path / "control")
    strangers.run(RULES, *control, "--listen", "162,514,2055")
    number = send_all(strangers)
    wait_until(lambda: no_rule(run, *control) == number)
    told = asked(run, *control, "--suggest")
    rules = tmp_path / "gfwd.rules"
    assert "\n# 10.0.0.2 has a rule for port 514 (" in told and f"{rules}:1)\n" in told
    assert re.search(r"\n10\.0\.0\.2 +2055 +10\.1\.0\.2:9995 +B +# NetFlow v5, .*; collectors as in .*:2\n", told), told
    assert re.search(r"\n10\.9\.9\.0/24 +514 +10\.1\.0\.2 +A +# all of 10\.9\.9\.0/24, for 3 sources in it: 10", told)
    assert re.search(r"\n10\.9\.9\.0/24 +162 +<collector> +A +# .*no rule says who gets port 162", told)
    paste(told, rules)
    refused = run("check", "--rules", rules)
    assert refused.returncode == 2
    assert refused.stderr.count(": error: ") == 1 and '"<collector>" is not a collector' in refused.stderr
    rules.write_text(rules.read_text().replace("<collector>", "10.1.0.2", 2))
    checked = run("check", "--rules", rules)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert run("reload", *control).returncode == 0
    answer = asked(run, *control, "--json")
    assert answer["sources"] == []
    assert answer["by_now_with_a_rule"] == {"sources": 9, "packets": number}
    before = strangers.collector.look()
    assert send_all(strangers) == number
    strangers.collector.wait_for(before + number + 3)
    assert no_rule(run, *control) == number


def test_suggestions_for_a_gfwd_toml(strangers, run, gfwd, tmp_path):
    path = tmp_path / "gfwd.toml"
    path.write_text(f"""control = "{tmp_path}/control"
listen = "514,9999"
[ports]
in = ["xdp:in0"]
out = ["xdp:out0"]
[collector.logs]
host = "10.1.0.2"
[[rule]]
source = "10.0.0.2"
ports = 514
collectors = ["logs"]
priority = "C"
""")
    live = strangers.stack.enter_context(Live([*gfwd, "run", "-c", path, "--json"], strangers.us))
    live.wait_for("forwarding from")
    send(strangers, SYSLOG, 514, source="10.0.0.3")
    send(strangers, SYSLOG, 9999, source="10.0.0.9")
    wait_until(lambda: no_rule(run, "-c", str(path)) == 2)
    told = asked(run, "-c", str(path), "--suggest")
    assert told.count("[[rule]]   # syslog (RFC 3164), ") == 2 and told.count('collectors = [\n    "logs",\n]') == 2, (
        told
    )
    paste(told, path)
    checked = run("check", "-c", path)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert run("reload", "-c", path).returncode == 0
    send(strangers, SYSLOG, 514, source="10.0.0.3")
    send(strangers, SYSLOG, 9999, source="10.0.0.9")
    strangers.collector.wait_for(2)
    assert asked(run, "-c", str(path), "--suggest").startswith(f"# 0 rules for {path}\n")


@pytest.mark.skipif(shutil.which("softflowd") is None, reason="softflowd is not installed")
@pytest.mark.parametrize(("version", "text"), [("5", "NetFlow v5"), ("9", "NetFlow v9"), ("10", "IPFIX")])
def test_softflowd(site, run, tmp_path, version, text):
    """An exporter of today's, live."""
    control = "--control", str(tmp_path / "control")
    site.run(RULES, *control, "--listen", "514,2055")
    command = [
        "softflowd",
        "-d",
        "-c",
        "none",
        "-p",
        tmp_path / "pid",
        "-r",
        TRAFFIC,
        "-n",
        "10.0.0.1:2055",
        "-v",
        version,
    ]
    exporter = site.exporter.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert exporter.wait(PATIENCE_S) == 0
    finally:
        exporter.kill()
        exporter.wait()
    wait_until(lambda: no_rule(run, *control) > 0)
    (one,) = asked(run, *control, "--json")["sources"]
    assert (one["source"], one["port"], one["looks_like"]) == ("10.0.0.2", 2055, text)


@pytest.mark.parametrize(
    "question",
    [
        b'{"do": "unknown", "sort": "colour"}\n',
        b'{"do": "unknown", "since": "long"}\n',
        b'{"do": "unknown", "since": 1' + 999 * b"0" + b"}\n",
        b'{"do": "unknown", "since": -1}\n',
        b'{"do": "unknown", "sort": []}\n',
    ],
)
def test_odd_questions(site, run, tmp_path, question):
    control = tmp_path / "control"
    site.run(RULES, "--control", str(control))
    with socket.socket(socket.AF_UNIX) as asker:
        asker.settimeout(20)
        asker.connect(str(control))
        asker.sendall(question)
        assert "does not know what is asked" in json.loads(asker.makefile().readline())["error"]
    assert site.forwards(b"still")


def test_bad_usage(run):
    done = run("unknown", "--control", "/nonexistent", "--since", "soon")
    assert done.returncode == 2 and "'soon' is not a time; right would be 30s, 10m, 12h or 7d" in done.stderr
    done = run("unknown", "--control", "/nonexistent")
    assert done.returncode == 2 and "no gfwd listens there" in done.stderr
