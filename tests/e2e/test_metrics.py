"""A gfwd that runs, and Prometheus: what it counts comes out, and nobody who asks can hold it up."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from gfwd.native.core import DROP_CAUSES
from tests import exposition
from tests.e2e.live import Live, Site, wait_until
from tests.exposition import Read, total, value

pytestmark = pytest.mark.usefixtures("live_network")

GFWD = [sys.executable, "-m", "gfwd"]
CONFIG = """listen = "514,515"
control = "{control}"
[ports]
in = ["xdp:in0"]
out = ["xdp:out0"]
{listeners}
[collector.flow]
host = "10.1.0.2"
check = "arp"
interval = 1
[[rule]]
source = "10.0.0.2"
ports = 514
collectors = ["flow"]
priority = "A"
"""
PLACE = "127.0.0.1", 9055
ON = '[listeners]\nmetrics = "127.0.0.1:9055"\nmetrics_rules = 5\n'
GET = b"GET /metrics HTTP/1.1\r\nHost: gfwd\r\n\r\n"


class Scraped:
    """gfwd in a site, and whoever asks it on its own host."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self.config = site, folder / "gfwd.toml"
        self.live: Live
        site.us.up("lo")

    def write(self, listeners: str) -> None:
        self.config.write_text(CONFIG.format(listeners=listeners, control=self.config.with_suffix(".control")))

    def start(self, listeners: str) -> None:
        self.write(listeners)
        self.live = self.site.stack.enter_context(Live([*GFWD, "run", "-c", self.config, "--json"], self.site.us))

    def run(self, listeners: str = ON) -> None:
        self.start(listeners)
        self.live.wait_for("forwarding from")

    def reload(self, listeners: str, says: str = ": reloaded, ") -> None:
        self.write(listeners)
        before = self.live.said().count(says)
        self.live.send(signal.SIGHUP)
        wait_until(lambda: self.live.said().count(says) > before, self.live.said)

    def tell(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*GFWD, *words, "-c", self.config], capture_output=True, text=True, check=False)

    def socket(self) -> socket.socket:
        its = self.site.us.socket(socket.AF_INET, socket.SOCK_STREAM)
        its.settimeout(60)
        return its

    def ask(self, place: tuple[str, int] = PLACE) -> bytes:
        with self.socket() as its:
            its.connect(place)
            its.sendall(GET)
            answer = b""
            while data := its.recv(1 << 16):
                answer += data
        head, _, page = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        return page

    def metrics(self, place: tuple[str, int] = PLACE) -> dict[str, Read]:
        return exposition.read(self.ask(place))

    def wait_for(self, name: str, n: float, place: tuple[str, int] = PLACE, **labels: str) -> dict[str, Read]:
        """Until a metric is this; a page may be shown again for a moment."""
        wait_until(lambda: value(self.metrics(place), name, **labels) == n, lambda: str(self.metrics(place)[name]))
        return self.metrics(place)

    def is_refused(self, place: tuple[str, int] = PLACE) -> bool:
        with self.socket() as its:
            return its.connect_ex(place) != 0


@pytest.fixture
def its(site: Site, tmp_path: Path) -> Scraped:
    return Scraped(site, tmp_path)


def balance(metrics: dict[str, Read]) -> None:
    """By the equations of docs/metrics.md."""
    places = "forwarded_total", "passed_total", "punted_total", "pending", "dropped_total"
    assert value(metrics, "gfwd_frames_received_total") == sum(total(metrics, f"gfwd_frames_{one}") for one in places)
    for ledger in ("copies", "collector_copies"):
        ends = "sent_total", "pending", "dropped_total"
        wanted = total(metrics, f"gfwd_{ledger}_wanted_total")
        assert wanted == sum(total(metrics, f"gfwd_{ledger}_{one}") for one in ends)
    received = value(metrics, "gfwd_frames_received_total")
    unread = total(metrics, "gfwd_port_unread_frames") + total(metrics, "gfwd_port_lost_frames_total")
    assert total(metrics, "gfwd_port_ours_frames_total") == received + unread


def test_what_is_forwarded_is_counted(its):
    its.run()
    before = its.metrics()
    assert value(before, "gfwd_frames_received_total") == value(before, "gfwd_copies_sent_total") == 0
    assert "gfwd_rule_datagrams_total" not in before
    for number in range(5):
        assert its.site.forwards(b"%d" % number)
    for _ in range(3):
        its.site.sender.sendto(b"no rule", ("10.0.0.1", 515))
    now = its.wait_for("gfwd_frames_received_total", 8)
    balance(now)
    assert value(now, "gfwd_frames_forwarded_total") == 5
    dropped = {cause: value(now, "gfwd_frames_dropped_total", cause=cause) for cause in DROP_CAUSES}
    assert {cause: n for cause, n in dropped.items() if n} == {"no_rule": 3}
    assert value(now, "gfwd_collector_copies_sent_total", collector="flow") == 5
    assert value(now, "gfwd_collector_up", collector="flow") == 1
    assert value(now, "gfwd_rule_datagrams_total", rule="10.0.0.2 514 flow A") == 5
    assert (value(now, "gfwd_exporters"), value(now, "gfwd_unknown_sources")) == (1, 1)
    assert value(now, "gfwd_neighbours", state="ready") == 1
    assert value(now, "gfwd_port_up", port="xdp:in0") == value(now, "gfwd_port_up", port="xdp:out0") == 1
    assert value(now, "gfwd_match_cache_hits_total") + value(now, "gfwd_match_lookups_total") == 8
    account = its.live.stop().account()
    frames = {place: account[place] for place in ("received", "forwarded", "passed", "punted")}
    assert frames == {place: value(now, f"gfwd_frames_{place}_total") for place in frames}
    assert account["copies"]["sent_bytes"] == value(now, "gfwd_copies_sent_bytes_total")
    assert its.is_refused()


def test_prometheus_own_reader(its):
    parser = pytest.importorskip("prometheus_client.parser")
    its.run()
    page = its.ask()
    assert {its.name for its in parser.text_string_to_metric_families(page.decode())} == {
        name.removesuffix("_total") for name in exposition.read(page)
    }


def test_a_reload_takes_another_place_or_none(its):
    its.run()
    assert its.site.forwards(b"one")
    its.reload('[listeners]\nmetrics = "127.0.0.1:9056"\n')
    its.live.wait_for("metrics: http://127.0.0.1:9056/metrics")
    metrics = its.wait_for("gfwd_reloads_total", 1, ("127.0.0.1", 9056), result="done")
    assert value(metrics, "gfwd_frames_forwarded_total") == 1
    assert "gfwd_rule_datagrams_total" not in metrics
    assert its.is_refused()
    its.reload('[listeners]\nmetrics = "0.0.0.0:9056"\n')
    its.wait_for("gfwd_reloads_total", 2, ("10.0.0.1", 9056), result="done")
    its.reload("")
    assert its.is_refused(("127.0.0.1", 9056))
    its.reload(ON)
    its.wait_for("gfwd_reloads_total", 4, result="done")
    assert its.live.stop().status == 0


def test_a_place_that_is_taken_refuses_the_reload(its):
    its.run()
    with its.socket() as other:
        other.bind(("127.0.0.1", 9056))
        other.listen()
        its.reload('[listeners]\nmetrics = "127.0.0.1:9056"\n', "reload: error: nothing has changed")
        tried = its.tell("reload", "--dry-run")
        assert (tried.returncode, tried.stderr.count("another program listens there")) == (1, 1)
    assert its.tell("reload", "--dry-run").returncode == 0
    its.live.wait_for("metrics: error: 127.0.0.1:9056 cannot be opened: another program listens there")
    metrics = its.wait_for("gfwd_reloads_total", 1, result="failed")
    assert value(metrics, "gfwd_last_reload_successful") == 0
    started = value(metrics, "gfwd_start_time_seconds")
    assert value(metrics, "gfwd_last_reload_timestamp_seconds", result="failed") > started
    assert value(metrics, "gfwd_last_reload_timestamp_seconds", result="done") == started
    assert its.site.forwards(b"still")
    its.reload(ON)
    its.wait_for("gfwd_last_reload_successful", 1)


def test_a_place_that_is_taken_refuses_the_start(its):
    with its.socket() as other:
        other.bind(PLACE)
        other.listen()
        its.start(ON)
        ended = its.live.ended()
    assert ended.status == 1
    assert ended.said.endswith(
        "metrics: error: 127.0.0.1:9055 cannot be opened: another program listens there; name another port: "
        "[listeners] metrics\n"
    )


@pytest.fixture
def crowd(its: Scraped) -> Iterator[ExitStack]:
    """Connections that nobody closes before the test has ended."""
    with ExitStack() as stack:
        yield stack


def test_a_crowd_holds_up_nothing(its, crowd):
    """Some say nothing, some never read, some send garbage without end; all is forwarded, and a reload is taken."""
    its.run()
    for number in range(300):
        client = crowd.enter_context(its.socket())
        client.setblocking(False)
        with suppress(BlockingIOError):
            client.connect(PLACE)
        with suppress(OSError):
            client.send((b"", GET, b"\x00" * 10_000)[number % 3])
        if number % 10 == 0:
            assert its.site.forwards(b"%d" % number)
    its.reload(ON)
    balance(its.wait_for("gfwd_frames_forwarded_total", 30))
    wait_until(lambda: value(its.metrics(), "gfwd_metrics_cut_off_total") > 0)
    ended = its.live.stop()
    assert ended.status == 0
    assert ended.account()["forwarded"] == 30


def test_the_doctor_says_who_could_look_on(its):
    its.write('[listeners]\nmetrics = "0.0.0.0:9055"\n')
    with its.site.us.inside():
        done = subprocess.run([*GFWD, "doctor", "-c", its.config], capture_output=True, text=True, check=False)
    assert "metrics 0.0.0.0:9055: warning: on all addresses of this host" in done.stdout
    assert done.returncode == 1
