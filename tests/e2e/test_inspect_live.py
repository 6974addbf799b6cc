"""gfwd inspect --live and gfwd run --debug: what goes through a gfwd that runs, seen by those who look."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import pytest

from tests import captures
from tests.captures import Frame
from tests.e2e.conftest import SECONDS
from tests.e2e.live import WAVE, Live, Site, wait_until
from tests.frames import datagram
from tests.netflow import a_set, template, v5, v9

pytestmark = pytest.mark.usefixtures("live_network")

RULES = "10.0.0.0/24 514 10.1.0.2 A\n* 2055 10.1.0.2 B\n"
PORTS = "514,2055,9000"
NEIGHBOUR = "neighbour 10.1.0.2 on xdp:out0 is "  # from then on, nothing waits
SYSLOG = b"<34>Oct 11 22:14:15 host app: hello"


class Looker:
    """A gfwd inspect --live at work, whose output goes to files, as one that reads slowly would not be seen."""

    def __init__(self, stack: ExitStack, command: Sequence[str | Path], folder: Path) -> None:
        self.out: IO[bytes] = stack.enter_context((folder / "out").open("w+b"))
        self.err: IO[bytes] = stack.enter_context((folder / "err").open("w+b"))
        self.process = subprocess.Popen(list(map(str, command)), stdout=self.out, stderr=self.err)
        stack.callback(self.kill)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def text(self) -> str:
        return read(self.out)

    def said(self) -> str:
        return read(self.err)

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines(keepends=True) if line.endswith("\n")]

    def has_nothing_to_do(self) -> bool:
        """Whether it has read all that had waited for it: it sleeps, and uses no processor."""
        before = self._stat()
        time.sleep(0.5)
        return before[0] == "S" and self._stat() == before

    def _stat(self) -> tuple[str, ...]:
        """State and times: the third, 14th and 15th field of /proc/PID/stat."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return fields[0], fields[11], fields[12]

    def ended(self) -> int:
        status = self.process.wait(SECONDS)
        assert "Traceback" not in self.said(), self.said()
        return status

    def stop(self) -> int:
        """^C."""
        self.process.send_signal(signal.SIGINT)
        return self.ended()


def read(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()


class Watched:
    """A gfwd that runs, and those who look."""

    def __init__(self, site: Site, run, folder: Path, rules: str = RULES, *arguments: str) -> None:
        self.site, self.folder, self._run = site, folder, run
        self.control = folder / "control"
        self.live: Live = site.run(rules, "--control", str(self.control), "--listen", PORTS, *arguments)
        self.live.wait_for(NEIGHBOUR)
        self._lookers = self._flooded = 0

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = self._run(*words, "--control", str(self.control))
        return done

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ask("status", "--json").stdout)
        return found

    def look(self, *options: str | Path) -> Looker:
        """One more looks by now."""
        before, self._lookers = self.status()["lookers"], self._lookers + 1
        folder = self.folder / str(self._lookers)
        folder.mkdir()
        command = [*self.site.gfwd, "inspect", "--live", "--control", self.control, *options]
        looker = Looker(self.site.stack, command, folder)
        wait_until(lambda: self.status()["lookers"] > before or looker.process.poll() is not None, looker.said)
        return looker

    def send(self, *payloads: bytes, port: int = 514) -> None:
        for payload in payloads:
            self.site.sender.sendto(payload, ("10.0.0.1", port))

    def flood(self, n: int) -> None:
        """So many datagrams of NetFlow v5 that follow on each other, and on those before, all of which arrive."""
        for _ in range(n // WAVE):
            self.send(*(v5(20, 20 * (self._flooded + at)) for at in range(WAVE)), port=2055)
            self._flooded += WAVE
            self._wait_for_flood()

    def _wait_for_flood(self) -> None:
        wait_until(lambda: self.site.collector.look() >= self._flooded)


@pytest.fixture
def its(site, run, tmp_path):
    return Watched(site, run, tmp_path)


# ---- what is seen ----


def test_a_line_a_datagram_with_what_became_of_it(its):
    looker = its.look("--count", "3")
    its.send(SYSLOG)
    its.send(v5(3, 7), port=2055)
    its.send(b"xyz", port=9000)
    assert looker.ended() == 0
    rules = its.folder / "gfwd.rules"
    lines = looker.text().splitlines()
    assert [line.split(" > ", 1)[1] for line in lines] == [
        "10.0.0.1:514 syslog (RFC 3164), 35 bytes, facility auth, severity crit, timestamp Oct 11 22:14:15, hostname "
        f"host, app app, text hello  => to 10.1.0.2; rule {rules}:1",
        "10.0.0.1:2055 NetFlow v5, 168 bytes, count 3, sequence 7, source 258, up 1.000 s, 3 records  => to 10.1.0.2; "
        f"rule {rules}:2",
        "10.0.0.1:9000 unknown, 3 bytes  => dropped: no_rule",
    ]
    note = f"{its.control}: note: 3 datagrams went through gfwd meanwhile that were looked for\n"
    assert looker.said() == note
    wait_until(lambda: its.status()["lookers"] == 0)
    assert its.site.forwards(b"still")


def test_json(its):
    looker = its.look("--json")
    its.send(SYSLOG)
    its.send(b"xyz", port=9000)
    wait_until(lambda: len(looker.objects()) == 2)
    assert looker.stop() == 0
    one, two = looker.objects()
    assert one["verdict"] == {"rule": f"{its.folder}/gfwd.rules:1", "collectors": ["10.1.0.2"]}
    assert (one["exporter"], one["destination_port"], one["protocol"]) == ("10.0.0.2", 514, "syslog")
    assert two["verdict"] == {"drop": "no_rule"}


@pytest.mark.parametrize(
    ("options", "ports"),
    [
        ([], [514, 2055, 9000]),
        (["--port", "2055,9000-9001"], [2055, 9000]),
        (["--rule", "2"], [2055]),
        (["--rule", "gfwd.rules:1"], [514]),
        (["--exporter", "10.0.0.2"], [514, 2055, 9000]),
        (["--exporter", "10.0.1.0/24", "--exporter", "2001:db8::/32"], []),
        (["--exporter", "10.0.0.0/8", "--port", "514", "--rule", "1"], [514]),
        (["--rule", "1", "--port", "2055"], []),
    ],
)
def test_filters(its, options, ports):
    """Two look at once, and none sees what is the other's."""
    looker, other = its.look("--json", *options), its.look("--json", "--port", "514")
    for port in (514, 2055, 9000):
        its.send(v5(1), port=port)
    wait_until(lambda: len(other.objects()) == 1 and len(looker.objects()) >= len(ports))
    assert looker.stop() == other.stop() == 0
    assert [one["destination_port"] for one in looker.objects()] == ports
    assert f"{len(ports)} datagram{'s' * (len(ports) != 1)} went through" in looker.said()


def test_a_sample_and_its_templates(its):
    """Templates are learned from what is not of the sample."""
    looker = its.look("--json", "--sample", "2")
    templates = v9(a_set(0, template(256, [(4, 1)])))
    its.send(templates, v9(a_set(256, b"\x06")), v9(), v9(a_set(256, b"\x11")), port=2055)
    wait_until(lambda: len(looker.objects()) == 2)
    assert looker.stop() == 0
    assert [one["sets"][0]["records"] for one in looker.objects()] == [
        [{"protocolIdentifier": 6}],
        [{"protocolIdentifier": 17}],
    ]


def test_what_is_written_is_a_capture(its, tmp_path, run):
    path = tmp_path / "out.pcap"
    looker = its.look("--json", "-w", path)
    its.send(v5(3, 7), v5(3, 10), port=2055)
    wait_until(lambda: len(looker.objects()) == 2)
    assert looker.stop() == 0
    again = [json.loads(line) for line in run("inspect", "--json", path).stdout.splitlines()]
    seen = [{name: value for name, value in one.items() if name != "verdict"} for one in looker.objects()]
    assert again == seen
    if shutil.which("tshark"):
        done = subprocess.run(
            ["tshark", "-r", path, "-T", "fields", "-e", "ip.src", "-e", "udp.dstport", "-e", "cflow.sequence"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["10.0.0.2", "2055", "7", "10.0.0.2", "2055", "10"]


def test_a_summary_and_a_loss_that_was_none_of_gfwds(its):
    summed, lost = its.look("--summary", "--json"), its.look("--loss", "--json")
    its.send(v5(2, 0), v5(2, 2), v5(2, 10), port=2055)
    its.site.collector.wait_for(3)
    assert summed.stop() == lost.stop() == 0
    (found,) = summed.objects()
    assert (found["exporter"], found["datagrams"], found["lost"]) == ("10.0.0.2", 3, {"flows": 6})
    (found,) = lost.objects()
    assert (found["datagrams"], found["lost"], found["unproven"]) == (3, 6, 0)


def test_a_real_exporter(its, tmp_path):
    """softflowd sends what it has seen in a capture from where the exporter is."""
    if shutil.which("softflowd") is None:
        pytest.skip("needs softflowd")
    packets = [datagram(4, 0x0A000000 + n, 0x0A800001, (1_024 + n, 53), b"query") for n in range(60)]
    traffic = tmp_path / "traffic.pcap"
    traffic.write_bytes(
        captures.pcap_file([Frame((1_700_000_000 + n) * 10**9, one, len(one)) for n, one in enumerate(packets)])
    )
    looker = its.look("--json", "--port", "2055")
    command = ["softflowd", "-r", traffic, "-n", "10.0.0.1:2055", "-v", "9", "-c", "none", "-d"]
    process = its.site.exporter.start(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, out
    wait_until(lambda: _flows(looker) == 60, lambda: f"{_flows(looker)} flows: {looker.text()[-500:]}")
    assert looker.stop() == 0
    assert all(one["verdict"]["collectors"] == ["10.1.0.2"] for one in looker.objects())


def _flows(looker: Looker) -> int:
    records = [record for one in looker.objects() for its in one["sets"] for record in its["records"] or ()]
    return sum("sourceIPv4Address" in record for record in records)


# ---- who is slow, and who leaves ----


def test_who_is_slow_holds_up_nobody_and_is_told(its):
    """Frozen, he misses some; all arrive all the same, and what he proves to be lost is nothing."""
    n = 30_000
    looker, shown = its.look("--loss", "--json"), its.look("--json", "--exporter", "192.0.2.1")
    its.flood(100)
    looker.process.send_signal(signal.SIGSTOP)
    before = its.site.collector.look()
    its.flood(n)
    assert its.site.collector.look() == before + n
    status = its.status()
    assert status["drops"]["no_rule"] == 0 and status["forwarded"] >= n
    looker.process.send_signal(signal.SIGCONT)
    wait_until(looker.has_nothing_to_do)
    its.flood(100)
    assert looker.stop() == shown.stop() == 0
    assert f"{n + 200:,} datagrams went through" in looker.said()
    assert "datagrams not shown: they came faster than they were read here" in looker.said()
    (found,) = looker.objects()
    assert found["datagrams"] + _not_shown(looker) == n + 200
    # All that can be said is that none of them was lost before gfwd for certain.
    assert found["lost"] == 0 and found["unproven"] > 0, found


def _not_shown(looker: Looker) -> int:
    lines = [line for line in looker.said().splitlines() if "not shown" in line]
    return sum(int(line.split(": note: ")[1].split(" ")[0].replace(",", "")) for line in lines)


def test_who_is_killed_looks_no_more(its):
    first, second = its.look("--json"), its.look("--json")
    first.kill()
    wait_until(lambda: its.status()["lookers"] == 1)
    its.send(SYSLOG)
    wait_until(lambda: len(second.objects()) == 1)
    second.kill()
    wait_until(lambda: its.status()["lookers"] == 0)
    tapped = its.status()["work"]["tapped"]
    assert its.site.forwards(b"still")
    assert its.status()["work"]["tapped"] == tapped


def test_gfwd_ends_before_who_looks(its):
    looker = its.look("--json")
    its.send(SYSLOG)
    assert its.live.stop().status == 0
    assert looker.ended() == 0  # it was told the end
    assert len(looker.objects()) == 1
    again = its._run("inspect", "--live", "--control", str(its.control))
    assert (again.returncode, again.stdout) == (2, "")
    assert "no gfwd listens there" in again.stderr


def test_gfwd_is_killed(its):
    looker = its.look("--json")
    its.live.kill()
    assert looker.ended() == 1
    assert looker.said().endswith(f"{its.control}: error: gfwd has ended\n")


def test_gfwd_is_stopped_in_its_tracks(its):
    """^C ends it all the same, and it says what is not known."""
    looker = its.look("--json")
    its.send(b"one that it shows, so that it looks indeed")
    wait_until(looker.objects)
    its.live.freeze()
    assert looker.stop() == 1
    assert looker.said().endswith(f"{its.control}: error: gfwd does not say how much was not shown\n")
    its.live.thaw()
    wait_until(lambda: its.status()["lookers"] == 0)


def test_no_more_than_so_many_look(its):
    lookers = [its.look("--json") for _ in range(8)]
    refused = its.ask("inspect", "--live")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "8 look at datagrams already, and no more can" in refused.stderr
    its.send(SYSLOG)
    wait_until(lambda: all(len(looker.objects()) == 1 for looker in lookers))
    for looker in lookers:
        looker.kill()
    wait_until(lambda: its.status()["lookers"] == 0)


# ---- reload ----


def test_a_rule_is_followed_through_a_reload(its):
    """It stands on another line then; where it is gone, so it is said, and nothing is seen until it is back."""
    looker = its.look("--json", "--rule", "1")
    its.send(b"one")
    wait_until(lambda: len(looker.objects()) == 1)
    its.site.rules(f"# a comment\n* 9000 10.1.0.2 A\n{RULES}")
    assert its.ask("reload").returncode == 0
    its.send(b"other", port=9000)
    its.send(b"two")
    wait_until(lambda: len(looker.objects()) == 2)
    assert [one["verdict"]["rule"].rpartition(":")[2] for one in looker.objects()] == ["1", "3"]
    its.site.rules("* 514 10.1.0.2 B\n")
    assert its.ask("reload").returncode == 0
    its.send(b"three")
    its.site.collector.wait_for(4)
    assert looker.stop() == 0
    assert len(looker.objects()) == 2
    assert "note: the rule that was looked for is gone since gfwd's last reload" in looker.said()


# ---- what is asked wrongly ----


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "there is neither a FILE nor --live"),
        (["--live"], "--live of which gfwd? say -c FILE or --control PATH"),
        (["--live", "some.pcap", "--control", "/x"], "there is both a FILE and --live"),
        (["some.pcap", "--rule", "3"], "--rule is for a gfwd that runs; add --live"),
        (["--live", "--control", "/x", "--loss", "--sample", "2"], "--loss needs all datagrams"),
    ],
)
def test_bad_usage(run, options, said):
    done = run("inspect", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_what_gfwd_refuses(its):
    done = its.ask("inspect", "--live", "--rule", "77")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--rule: error: there is no rule at '77'; right would be a line of" in done.stderr
    many = [word for n in range(65) for word in ("--exporter", f"10.0.{n}.1")]
    done = its.ask("inspect", "--live", *many)
    assert done.returncode == 2 and "65 exporters are looked for, and 64 can be" in done.stderr
    for odd in ({"exporters": "x"}, {"ports": "99999"}, {"sample": 0}, {"sample": 1 << 40}, {"rule": 7}):
        with socket.socket(socket.AF_UNIX) as asker:
            asker.connect(str(its.control))
            asker.sendall(json.dumps({"do": "tap", **odd}).encode() + b"\n")
            assert "what is looked for is not understood" in json.loads(asker.makefile().readline())["error"]
    assert its.status()["lookers"] == 0
    assert its.site.forwards(b"still")


# ---- gfwd run --debug ----

CONFIG = """\
listen = "514,2055,9000"
[ports]
in = ["xdp:in0"]
out = ["xdp:out0"]
[exporters]
deny = ["10.0.0.3"]
[neighbours]
"2001:db8::9" = "02:00:00:00:00:09"
[collector.six]
host = "2001:db8::9"
[[rule]]
source = "*"
ports = 514
collectors = ["10.1.0.2"]
priority = "A"
[[rule]]
source = "*"
ports = 9000
collectors = ["six"]
priority = "A"
"""


def test_debug_shows_what_is_forwarded_and_what_is_not(site, gfwd, tmp_path):
    path = tmp_path / "gfwd.toml"
    path.write_text(CONFIG)
    site.exporter.address("e0", "10.0.0.3/24")
    live = site.stack.enter_context(Live([*gfwd, "run", "-c", path, "--debug", "--json"], site.us))
    live.wait_for("forwarding from", NEIGHBOUR)
    with site.exporter.socket() as denied:
        denied.bind(("10.0.0.3", 0))
        assert site.forwards(b"<34>hello")
        site.sender.sendto(b"none", ("10.0.0.1", 2055))
        site.sender.sendto(b"six", ("10.0.0.1", 9000))
        denied.sendto(b"<34>denied", ("10.0.0.1", 514))
    wait_until(lambda: read(live._out).count("\n") == 4)
    ended = live.stop()
    *lines, account = ended.out.splitlines()
    assert [json.loads(line)["verdict"] for line in lines] == [
        {"rule": f"{path}:11", "collectors": ["10.1.0.2"]},
        {"drop": "no_rule"},
        {"drop": "family_mismatch", "rule": f"{path}:16", "collectors": ["six"]},
        {"drop": "denied"},
    ]
    assert (ended.status, json.loads(account)["received"]) == (0, 4)
    assert "4 datagrams went through gfwd meanwhile" in ended.said


def test_debug_of_which_nobody_reads_the_lines(site, tmp_path):
    """gfwd run --debug | head -1: it forwards on."""
    ours, theirs = os.pipe()
    command = [*site.command(RULES, "--in", "xdp:in0", "--out", "xdp:out0", "--debug", "--listen", PORTS)]
    said = site.stack.enter_context((tmp_path / "said").open("w+b"))
    process = site.us.start(list(map(str, command)), stdout=theirs, stderr=said)
    try:
        os.close(theirs)
        wait_until(lambda: "forwarding from" in read(said) and NEIGHBOUR in read(said))
        os.close(ours)
        for n in range(20):
            assert site.forwards(b"<34>%d" % n)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 1  # nobody reads the accounting, either
        assert "Traceback" not in read(said)
    finally:
        process.kill()
        process.wait()


def test_debug_whose_lines_nobody_takes_says_that_some_are_not_shown(site, tmp_path):
    """gfwd run --debug | less, and no key is pressed: it forwards, and ends."""
    ours, theirs = os.pipe()
    said = site.stack.enter_context((tmp_path / "said").open("w+b"))
    command = [*site.command(RULES, "--in", "xdp:in0", "--out", "xdp:out0", "--debug", "--listen", PORTS)]
    process = site.us.start(list(map(str, command)), stdout=theirs, stderr=said)
    try:
        os.close(theirs)
        wait_until(lambda: "forwarding from" in read(said) and NEIGHBOUR in read(said))
        for n in range(600):  # more than a pipe holds
            assert site.forwards(b"<34>%d " % n + bytes(100))
        process.send_signal(signal.SIGTERM)
        note = "gfwd run --debug: note: its lines were not read within 5 s of the end"
        wait_until(lambda: note in read(said), lambda: read(said))
    finally:
        os.close(ours)
        process.kill()
        process.wait()


def test_debug_of_a_gfwd_that_cannot_start(run, write):
    done = run("run", "--debug", "--rules", write("bad", "nonsense\n"), "--port", "xdp:none")
    assert (done.returncode, done.stdout) == (2, "")
    assert "bad:1:" in done.stderr and "shown" not in done.stderr
    done = run("run", "--sample", "3", "--rules", write("good", RULES), "--port", "xdp:none")
    assert done.returncode == 2 and "--sample is for what --debug shows" in done.stderr
