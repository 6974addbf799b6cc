"""gfwd status --loss of a gfwd that forwards: what was left out on the way to it is what it says."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.e2e.live import Live, Site, wait_until
from tests.netflow import a_set, ipfix, sflow, template, v5, v9

pytestmark = pytest.mark.usefixtures("live_network")

RULES = "10.0.0.2  *  10.1.0.2:9995  A\n"
LISTEN = "--listen", "514,2055,4739,6343,9995"


def send(site: Site, port: int, payloads: list[bytes]) -> None:
    with site.exporter.socket() as its:
        for payload in payloads:
            its.sendto(payload, ("10.0.0.1", port))


def losses(run: Callable, *control: str) -> dict:
    done = run("status", "--loss", *control, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return dict(json.loads(done.stdout))


def test_what_never_came_is_told(site, run, tmp_path):
    control = "--control", str(tmp_path / "control")
    live = site.run(RULES, *LISTEN, *control, "--loss", "2055,4739,6343")
    assert site.forwards(b"ready")
    lost = {3, 4, 8}
    kept = [n for n in range(20) if n not in lost]
    send(site, 2055, [v5(10, 10 * n, records=10) for n in kept])
    send(site, 2055, [v9(sequence=n, source=7) for n in (*kept, 8)])  # one of them late
    send(site, 6343, [sflow(sequence=n) for n in [*kept, 19]])  # one of them twice
    known = a_set(2, template(256, [(8, 4)]))
    send(site, 4739, [ipfix(known), *(ipfix(a_set(256, bytes(8)), sequence=2 * n) for n in kept)])
    send(site, 9995, [v9(sequence=n) for n in kept])  # nobody asks for these
    send(site, 2055, [b"no number at all"])

    n = 4 * len(kept) + 3

    def followed() -> int:
        found = losses(run, *control)
        return int(sum(one["datagrams"] for one in found["streams"]))

    wait_until(lambda: followed() == n, lambda: f"{n} datagrams, and not: {losses(run, *control)}")
    found = losses(run, *control)
    by_kind = {(one["protocol"], one["version"]): one for one in found["streams"]}
    told = {
        kind: tuple(one[key] for key in ("exporter", "source_id", "counts", "counted", "lost", "reordered", "doubled"))
        for kind, one in by_kind.items()
    }
    assert told == {
        ("NetFlow", 5): ("10.0.0.2", 0x0102, "flows", 170, 30, 0, 0),
        ("NetFlow", 9): ("10.0.0.2", 7, "datagrams", 18, 2, 1, 0),
        ("sFlow", 5): ("10.0.0.2", 0, "datagrams", 17, 3, 0, 1),
        ("IPFIX", 10): ("10.0.0.2", 0, "records", 34, 6, 0, 0),
    }
    assert found["not_followed"] == {"numberless": 1, "streams_without_room": 0, "ipfix_without_room": 0}
    account = live.stop().account()
    assert account["drops"] == dict.fromkeys(account["drops"], 0)
    assert found["inside"]["collectors"]["10.1.0.2:9995"]["drops"] == {}


def test_for_people_and_where_nobody_asks(site, run, tmp_path):
    control = "--control", str(tmp_path / "control")
    site.run(RULES, *LISTEN, *control)
    done = run("status", "--loss", *control)
    assert "no sequence numbers are followed: say on which ports" in done.stdout
    assert "copies for 10.1.0.2:9995" in done.stdout


def test_ports_that_gfwd_does_not_listen_on_are_no_proof_that_nothing_is_lost(site, run, tmp_path):
    control = "--control", str(tmp_path / "control")
    site.run(RULES, *LISTEN, *control, "--loss", "9999")
    assert site.forwards(b"ready")
    text = run("status", "--loss", *control).stdout
    assert "has come to a port that loss names: of those, only what gfwd listens on is followed" in text


def test_a_table_for_people(site, run, tmp_path):
    control = "--control", str(tmp_path / "control")
    site.run(RULES, *LISTEN, *control, "--loss", "all")
    assert site.forwards(b"ready")
    send(site, 2055, [v9(sequence=n) for n in (1, 2, 5)])
    wait_until(lambda: "40.00%" in run("status", "--loss", *control).stdout)
    text = run("status", "--loss", *control).stdout
    assert "NetFlow v9" in text and "before gfwd" in text and "inside gfwd" in text
    assert "and 1 datagram without a sequence number" in text


def test_a_reload_says_on_which_ports(site, run, gfwd, tmp_path):
    """From none to some; what was found out stays. What came while none was followed is not taken for lost."""

    def follow(*numbers: int) -> None:
        """One stream, from first to last."""
        for n in numbers:
            site.sender.sendto(v9(sequence=n), ("10.0.0.1", 2055))

    control = tmp_path / "control"
    text = (
        f'control = "{control}"\nlisten = "2055"\n[ports]\nin = ["xdp:in0"]\nout = ["xdp:out0"]\n'
        '[[rule]]\nsource = "10.0.0.2"\nports = "*"\ncollectors = ["10.1.0.2"]\npriority = "A"\n'
    )
    path = tmp_path / "gfwd.toml"
    path.write_text(text)
    live = site.stack.enter_context(Live([*gfwd, "run", "-c", path, "--json"], site.us))
    live.wait_for("forwarding from")
    asked = "-c", str(path)
    assert losses(run, *asked)["is_on"] is False
    path.write_text('loss = "2055"\n' + text)
    assert run("reload", *asked).returncode == 0
    follow(1, 2, 5)
    wait_until(lambda: [one["lost"] for one in losses(run, *asked)["streams"]] == [2])
    path.write_text(text)
    assert run("reload", *asked).returncode == 0
    follow(9, 20)
    site.collector.wait_for(5)
    found = losses(run, *asked)
    assert found["is_on"] is False and [one["lost"] for one in found["streams"]] == [2]
    path.write_text('loss = "2055"\n' + text)
    assert run("reload", *asked).returncode == 0
    follow(21, 23)
    wait_until(lambda: [one["datagrams"] for one in losses(run, *asked)["streams"]] == [5])
    assert [(one["lost"], one["unproven"]) for one in losses(run, *asked)["streams"]] == [(2 + 1, 1)]
