"""gfwd inspect as a person and a script use it: lines, JSON, tables, filters, files, pipes, and bad usage."""

from __future__ import annotations

import gzip
import json
import os
import pty
import shlex
import signal
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from gfwd.netflow.streams import STREAMS_MOST
from tests import captures
from tests.captures import Frame
from tests.e2e.conftest import SECONDS
from tests.frames import datagram
from tests.netflow import a_set, template, v5, v9

DATA = Path(__file__).parents[1] / "data"
EXPORTERS = DATA / "exporters.pcap"
NOTES = (
    f"{EXPORTERS}: note: 91 of 245 frames not looked into: 91 without UDP\n"
    f"{EXPORTERS}: note: 2 datagrams put together from 4 fragments\n"
)
SECOND = 10**9
BEGIN = 1_700_000_000
KEYS = [
    *("time", "exporter", "source_port", "destination", "destination_port", "protocol", "version", "length", "count"),
    *("sys_uptime", "unix_secs", "sequence", "source_id", "sets"),
]


def capture(path: Path, payloads: list[bytes], *, port: int = 2055, source: int = 0x0A020203) -> Path:
    """A datagram a second."""
    frames = [datagram(4, source, 0x0A020201, (50_000, port), payload) for payload in payloads]
    path.write_bytes(captures.pcap_file([Frame((BEGIN + at) * SECOND, one, len(one)) for at, one in enumerate(frames)]))
    return path


def objects(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


# ---- what it says ----


def test_a_line_a_datagram(run):
    done = run("inspect", EXPORTERS)
    assert (done.returncode, done.stderr) == (0, NOTES)
    lines = done.stdout.splitlines()
    assert len(lines) == 152
    assert lines[0].endswith(
        "10.2.2.4:55056 > 10.2.2.1:6343 sFlow v5, 1,324 bytes, count 6, sequence 1, source 0, up 1.000 s, agent "
        "10.2.2.4, 6 × flow"
    )
    assert any("[2001:db8:1::8]:33559 > [2001:db8:1::1]:9996 IPFIX, 684 bytes" in line for line in lines)
    assert any("syslog (RFC 5424), 142 bytes, facility local4, severity notice" in line for line in lines)
    assert any("SNMP v2c, 87 bytes, kind trap, community hidden" in line for line in lines)
    assert not any("flaw" in line or "community public" in line for line in lines)


def test_records(run, tmp_path):
    path = capture(tmp_path / "in.pcap", [v9(a_set(0, template(256, [(8, 4), (4, 1)])), a_set(256, b"\n\0\0\1\x11"))])
    done = run("inspect", "-v", path)
    assert done.stdout.splitlines()[1:] == [
        "    set 0: template, 16 bytes",
        "      template 256: sourceIPv4Address(4), protocolIdentifier(1)",
        "    set 256: data, 9 bytes",
        "      sourceIPv4Address=10.0.0.1 protocolIdentifier=17",
    ]


def test_json(run):
    done = run("inspect", "--json", EXPORTERS)
    found = objects(done.stdout)
    assert (len(found), done.returncode) == (152, 0)
    assert all(list(one)[: len(KEYS)] == KEYS for one in found)
    netflow = next(one for one in found if one["version"] == 9)
    assert {name: netflow[name] for name in KEYS[1:-1]} == {
        **{"exporter": "2001:db8:1::8", "source_port": 43331, "destination": "2001:db8:1::1"},
        **{"destination_port": 2055, "protocol": "NetFlow", "version": 9, "length": 668, "count": 5},
        **{"sys_uptime": 5677, "unix_secs": 1795404693, "sequence": 1, "source_id": 0},
    }
    assert [(one["id"], one["kind"], len(one["records"])) for one in netflow["sets"]] == [
        *[(0, "template", 1)] * 4,
        (1, "options_template", 1),
        (256, "data", 1),
        (2049, "data", 5),
    ]
    assert netflow["sets"][0]["records"][0]["fields"][0] == {
        **{"name": "sourceIPv4Address", "enterprise": 0, "id": 8, "length": 4}
    }
    (fixed,) = next(one for one in found if one["version"] == 5 and one["protocol"] == "NetFlow")["sets"]
    assert (fixed["id"], fixed["kind"], len(fixed["records"])) == (None, "data", 12)


def test_json_of_data_without_its_template(run, tmp_path):
    path = capture(tmp_path / "in.pcap", [v9(a_set(256, bytes(8)))])
    (one,) = objects(run("inspect", "--json", path).stdout)
    assert one["sets"] == [{"id": 256, "kind": "data", "length": 12, "records": None}]


def test_summary(run):
    done = run("inspect", "--summary", EXPORTERS)
    assert (done.returncode, done.stderr) == (0, NOTES)
    head, _, *rows = done.stdout.splitlines()
    assert head.split()[:3] == ["exporter", "sends", "datagrams"]
    assert len(rows) == 5
    found = {one["exporter"]: one for one in objects(run("inspect", "--summary", "--json", EXPORTERS).stdout)}
    assert sum(one["datagrams"] for one in found.values()) == 152
    assert found["10.2.2.4"]["sampling"] == [400]
    assert found["10.2.30.6"] == {
        **{"exporter": "10.2.30.6", "datagrams": 16, "bytes": 9_028, "records": 158, "templates": 5},
        **{"versions": [{"protocol": "NetFlow", "version": 9, "datagrams": 16}], "sets_without_template": 0},
        **{"sampling": [1], "lost": {"datagrams": 0}, "clock_skew": [0, 0], "flawed": 0},
        **{name: found["10.2.30.6"][name] for name in ("first", "last", "rate")},
    }


def test_no_exporter_of_the_sample_has_lost_anything(run):
    done = run("inspect", "--loss", "--json", EXPORTERS)
    found = objects(done.stdout)
    assert len(found) == 9
    nothing = {"lost": 0, "reordered": 0, "doubled": 0, "restarts": 0, "strays": 0, "unproven": 0}
    assert all({name: one[name] for name in nothing} == nothing for one in found)
    assert {one["counts"] for one in found} == {"datagrams", "flows", "records so far"}
    table = run("inspect", "--loss", EXPORTERS).stdout
    assert "0.00%" in table
    assert "and 23 datagrams without a sequence number" in table


def test_loss(run, tmp_path):
    """Flows 30 to 59 are lost, the last two datagrams are exchanged, and one comes twice."""
    sent = [v5(30, 0), v5(30, 60), v5(30, 60), v5(5, 95), v5(5, 90)]
    (one,) = objects(run("inspect", "--loss", "--json", capture(tmp_path / "in.pcap", sent)).stdout)
    assert one == {
        **{"exporter": "10.2.2.3", "source_port": 50_000, "protocol": "NetFlow", "version": 5, "source_id": 0x0102},
        **{"agent": None, "counts": "flows", "datagrams": 5, "in_order": 0, "counted": 70, "lost": 30},
        **{"reordered": 1, "doubled": 1, "restarts": 0, "strays": 0, "unproven": 0},
    }


def test_a_summary_of_who_has_no_sequence_numbers_says_nothing_of_loss(run, tmp_path):
    path = capture(tmp_path / "in.pcap", [b"<34>Oct 11 22:14:15 host app: hello"] * 2, port=514)
    head, _, row = run("inspect", "--summary", path).stdout.splitlines()
    assert row[head.index("lost") : head.index("lost") + 4].strip() == ""


def test_a_summary_of_one_that_was_lost(run, tmp_path):
    path = capture(tmp_path / "in.pcap", [v9(sequence=n) for n in (1, 3)])
    *_, row = run("inspect", "--summary", path).stdout.splitlines()
    assert " 1 datagram " in row
    assert "-1 … 0 s" in row


@pytest.mark.parametrize("options", [["--summary"], ["--summary", "--json"], ["--loss"], ["--loss", "--json"]])
def test_more_streams_than_there_is_room_for_are_told_of(run, tmp_path, options):
    """Each source ID is one: of the last three it is not known what they have lost, and that is said."""
    path = capture(tmp_path / "in.pcap", [v9(source=n) for n in range(STREAMS_MOST + 3)])
    done = run("inspect", *options, path)
    assert done.returncode == 0
    assert done.stderr.startswith(f"{path}: note: 3 datagrams whose sequence numbers were not followed, since there is")


# ---- what is asked for ----


@pytest.mark.parametrize(
    ("options", "n"),
    [
        ([], 152),
        (["--exporter", "10.2.2.3"], 34),
        (["--exporter", "10.2.2.3", "--exporter", "10.2.30.6"], 50),
        (["--exporter", "10.2.2.0/24"], 95),
        (["--exporter", "2001:db8:1::/64", "--port", "9996"], 16),
        (["--port", "9990-9999,514"], 63),
        (["--count", "7"], 7),
        (["--sample", "10"], 16),
        (["--sample", "10", "--count", "3"], 3),
        (["--exporter", "192.0.2.1"], 0),
    ],
)
def test_filters(run, tmp_path, options, n):
    """What is printed is what is written, and what is written reads the same."""
    output = tmp_path / "out.pcap"
    done = run("inspect", "--json", *options, "-w", output, EXPORTERS)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == n
    again = run("inspect", "--json", output)
    shown, read = ([one | {"sets": 0} for one in objects(text)] for text in (done.stdout, again.stdout))
    assert read == shown


def test_templates_are_learned_from_what_is_not_of_the_sample(run, tmp_path):
    sent = [v9(), v9(a_set(0, template(256, [(4, 1)]))), v9(a_set(256, b"\x06"))]
    done = run("inspect", "--json", "--sample", "2", capture(tmp_path / "in.pcap", sent))
    assert [one["sets"] for one in objects(done.stdout)] == [
        [],
        [{"id": 256, "kind": "data", "length": 5, "records": [{"protocolIdentifier": 6}]}],
    ]


def test_a_protocol_that_nobody_can_guess(run, tmp_path):
    path = capture(tmp_path / "in.pcap", [v5(30, records=1)], port=7_777)
    assert ", count" not in run("inspect", path).stdout
    assert run("inspect", path).stdout.endswith("unknown, 72 bytes\n")
    done = run("inspect", "-p", "7777=NetFlow", path)
    assert "NetFlow v5, 72 bytes, count 30" in done.stdout
    assert "flaw: the header says 30 records, and there is room for 1\n" in done.stdout


# ---- files ----


def test_pcapng_reads_the_same(run):
    assert run("inspect", "-v", DATA / "exporters.pcapng").stdout == run("inspect", "-v", EXPORTERS).stdout


def test_standard_input(run):
    with EXPORTERS.open("rb") as file:
        assert run("inspect", "-", stdin=file).stdout == run("inspect", EXPORTERS).stdout


def test_standard_input_that_goes_on(gfwd, tmp_path):
    """tcpdump -U -w - | gfwd inspect -: lines as they come; and ^C, which tcpdump hears too, leaves the rest of it."""
    data = capture(tmp_path / "in.pcap", [v9(sequence=n) for n in range(3)]).read_bytes()
    half = 24 + 2 * (len(data) - 24) // 3
    with subprocess.Popen(
        [*gfwd, "inspect", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        patience = threading.Timer(SECONDS, process.kill)  # a line that does not come ends, too
        patience.start()
        process.stdin.write(data[:half])
        process.stdin.flush()
        assert [b"sequence %d," % n in process.stdout.readline() for n in range(2)] == [True, True]
        process.send_signal(signal.SIGINT)
        process.stdin.write(data[half:])
        process.stdin.close()
        assert b"sequence 2," in process.stdout.readline()
        assert (process.wait(SECONDS), process.stderr.read()) == (0, b"")
        patience.cancel()


def test_standard_input_that_is_a_terminal(gfwd):
    ours, its = pty.openpty()
    with open(ours, "rb"), open(its, "rb") as terminal:
        done = subprocess.run([*gfwd, "inspect", "-"], stdin=terminal, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"-: error: standard input is a terminal")


def test_a_capture_that_breaks_off(run, tmp_path):
    """What is whole is there, then where it is not."""
    path = tmp_path / "cut.pcap"
    path.write_bytes(EXPORTERS.read_bytes()[:50_000])
    done = run("inspect", path)
    assert done.returncode == 1
    assert done.stdout and run("inspect", EXPORTERS).stdout.startswith(done.stdout)
    assert done.stderr.splitlines()[-1].startswith(f"{path}: error: the file ends inside a record (at byte ")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "neither pcap nor pcapng: fewer than 4 bytes (at byte 0)"),
        (b"some text", "neither pcap nor pcapng: starts with 73 6f 6d 65 (at byte 0)"),
        (
            gzip.compress(b"x"),
            "neither pcap nor pcapng: starts with 1f 8b 08 00, compressed: gzip -dc FILE | gfwd inspect - (at byte 0)",
        ),
    ],
)
def test_no_capture(run, write, data, said):
    path = write("some.file", data)
    done = run("inspect", "--summary", path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "no datagram matched\n", f"{path}: error: {said}\n")


def test_another_link_type(run, tmp_path):
    path = tmp_path / "usb.pcap"
    path.write_bytes(captures.pcap_header(link_type=189) + captures.pcap_record(captures.sample_frames()[0]))
    done = run("inspect", path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"{path}: note: 1 of 1 frame not looked into: 1 of a link type that is not known (189)\n"


def test_files_that_cannot_be_used(run, tmp_path):
    done = run("inspect", tmp_path / "absent")
    assert (done.returncode, done.stderr) == (
        1,
        f"{tmp_path}/absent: error: cannot be opened: No such file or directory\n",
    )
    done = run("inspect", EXPORTERS, "-w", tmp_path / "no" / "where")
    assert (done.returncode, done.stderr) == (
        1,
        f"{tmp_path}/no/where: error: cannot be written: No such file or directory\n",
    )
    done = run("inspect", EXPORTERS, "-w", "/dev/full")
    assert (done.returncode, done.stderr) == (1, "/dev/full: error: cannot be written: No space left on device\n")
    same = tmp_path / "same.pcap"
    same.write_bytes(EXPORTERS.read_bytes())
    done = run("inspect", same, "-w", same)
    assert (done.returncode, done.stderr) == (
        2,
        f"{same}: error: is the capture itself; name another file to write to\n",
    )
    assert same.read_bytes() == EXPORTERS.read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["-p", "2055"],
            "'2055' is not PORT=PROTOCOL; right would be 3055=netflow (netflow, ipfix, sflow, syslog, snmp)",
        ),
        (["-p", "99999=netflow"], "'99999=netflow' is not PORT=PROTOCOL"),
        (["-p", "1=http"], "'1=http' is not PORT=PROTOCOL"),
        (["--exporter", "edge3"], "'edge3' is no address and no prefix"),
        (["--port", "x"], "or all"),
        (["--count", "0"], "'0' is not a number from 1 up"),
        (["--loss", "--sample", "2"], "gfwd inspect: error: --loss needs all datagrams; leave out --sample"),
        (["--loss", "--summary"], "not allowed with argument"),
    ],
)
def test_bad_usage(run, options, said):
    done = run("inspect", *options, EXPORTERS)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_whoever_reads_may_leave(gfwd):
    """gfwd inspect … | head -1"""
    with subprocess.Popen(
        [*gfwd, "inspect", "-v", EXPORTERS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(60) in (0, 1)


def test_a_terminal_is_left_alone(run, tmp_path):
    """What an exporter sends cannot move the cursor."""
    line = b"<34>Oct 11 22:14:15 ho\x1b[2Jst \x07app: \x1b]0;owned\x07\xc2\x9b\r"
    done = run("inspect", capture(tmp_path / "in.pcap", [line], port=514))
    assert all(one.isprintable() for one in done.stdout.rstrip("\n"))
    assert "\\x1b[2J" in done.stdout


# ---- size ----


def many(path: Path, n: int) -> Path:
    """So many datagrams of 150 exporters, with templates of their own."""
    flows = a_set(256, bytes(range(30)) * 40)
    with path.open("wb") as file:
        file.write(captures.pcap_header())
        for at in range(n):
            sets = (a_set(0, template(256, [(8, 4), (12, 4), (7, 2), (11, 2), (1, 8), (2, 8), (10, 2)])), flows)
            payload = v9(*sets[at % 20 > 0 :], sequence=at // 150, source=at % 7)
            frame = datagram(4, 0x0A020000 + at % 150, 0x0A020201, (50_000, 2055), payload)
            file.write(struct.pack("<IIII", BEGIN + at // 1_000, at % 1_000, len(frame), len(frame)) + frame)
    return path


def used(gfwd: list[str], *arguments: str | Path) -> tuple[float, int]:
    """CPU seconds and KiB of memory that a command takes."""
    command = " ".join(shlex.quote(str(one)) for one in (*gfwd, *arguments))
    process = os.posix_spawn("/bin/sh", ["sh", "-c", f"exec {command} >/dev/null"], os.environ)
    _, status, usage = os.wait4(process, 0)
    assert status == 0
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def test_a_long_file_takes_no_more_memory_and_little_time(gfwd, tmp_path):
    """The goal is 20,000 datagrams a second of one core for a summary; a machine that is busy may halve that."""
    short, long = many(tmp_path / "short.pcap", 5_000), many(tmp_path / "long.pcap", 45_000)
    few_seconds, little = used(gfwd, "inspect", "--summary", short)
    many_seconds, much = used(gfwd, "inspect", "--summary", long)
    assert much - little < 4_096  # KiB, where the long file has 50 MB more
    assert 40_000 / (many_seconds - few_seconds) > 10_000
