"""Collectors with names: the host's own resolver asks a real name server, in a network namespace with nothing else."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, SECONDS, Run, interrupt_at_work
from tests.e2e.test_replay import DATA, EXPORTERS, SOFTFLOWD, Arrived, expected, ledger, sent

NAMESPACE = ("unshare", "--net", "--mount")

# Takes the folder with the files below, then the command.
WITH_FILES = """
set -e
ip link set lo up
for name in hosts resolv.conf nsswitch.conf; do
    mount --bind "$1/$name" "/etc/$name"
done
"""
WITH_NAME_SERVER = f"""{WITH_FILES}
dnsmasq --conf-file="$1/dnsmasq.conf" --pid-file="$1/dnsmasq.pid"
folder=$1
shift
status=0
"$@" || status=$?
kill "$(cat "$folder/dnsmasq.pid")"
exit $status
"""
WITH_SILENT_NAME_SERVER = f"""{WITH_FILES}
shift
exec "$@"
"""
SILENCE = """
import os, socket, sys
server = socket.socket(type=socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
server.set_inheritable(True)
os.execvp(sys.argv[1], sys.argv[1:])
"""

FILES = {
    "hosts": "127.0.0.1 localhost\n10.2.2.41 log.example.net\n",
    "resolv.conf": "nameserver 127.0.0.1\noptions timeout:5 attempts:5\n",
    "nsswitch.conf": "hosts: files dns\n",
    "dnsmasq.conf": """
user=root
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
local=/#/
host-record=flow.example.net,10.2.2.40,2001:db8:1::40
host-record=four.example.net,10.2.2.44
host-record=six.example.net,2001:db8:1::6
host-record=inward.example.net,127.0.0.1
host-record=group.example.net,239.1.2.3
host-record=both.example.net,127.0.0.1
host-record=both.example.net,10.2.2.45
""",
}


@pytest.fixture
def in_namespace(tmp_path, gfwd) -> Callable[[str], list[str]]:
    """A script → the command that runs it in a namespace, up to gfwd's own arguments."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a network namespace with a name server and an /etc of its own")
    for program in ("unshare", "ip", "mount", "dnsmasq"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}, which is not installed")
    tried = subprocess.run([*NAMESPACE, "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"needs namespaces, which this system does not allow: {tried.stderr.strip()}")
    folder = tmp_path / "etc"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return lambda script: [*NAMESPACE, "sh", "-c", script, "sh", str(folder)]


@pytest.fixture
def run_with_names(gfwd, in_namespace) -> Run:
    def start(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [*in_namespace(WITH_NAME_SERVER), *gfwd, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=SECONDS)

    return start


def test_names_become_addresses(run_with_names, tmp_path, write):
    """From the name server and from the hosts file, each family to those who speak it."""
    rules = write(
        "rules",
        "10.2.0.0/16 * flow.example.net:9996 log.example.net A\n"
        "2001:db8:1::/64 2055 Six.Example.NET. A\n"
        "2001:db8:1::/64 * flow.example.net B\n",
    )
    done = run_with_names("replay", EXPORTERS, "-o", tmp_path / "out.pcap", "--rules", rules, "--json")
    assert (done.returncode, done.stderr) == (0, "")

    def rule(arrived: Arrived):
        if "." in arrived.source:
            return [("10.2.2.40", 9996), ("10.2.2.41", None)]
        return [("2001:db8:1::6" if arrived.port == 2055 else "2001:db8:1::40", None)]

    assert sent(tmp_path / "out.pcap") == expected(EXPORTERS, rule)
    assert set(ledger(done.stdout)["collectors"]) == {
        "flow.example.net:9996", "flow.example.net", "log.example.net", "six.example.net",
    }  # fmt: skip


def test_an_address_that_no_collector_can_have_is_left_out(run_with_names, tmp_path, write):
    rules = write("rules", "default * both.example.net")
    done = run_with_names("replay", SOFTFLOWD, "-o", tmp_path / "out.pcap", "--rules", rules)
    assert (done.returncode, done.stderr) == (0, "")
    assert sent(tmp_path / "out.pcap") == expected(SOFTFLOWD, lambda _: [("10.2.2.45", None)])


def test_every_name_without_a_usable_address_is_named(run_with_names, write):
    rules = write(
        "rules",
        "10.0.0.0/8 * four.example.net missing.example.net:514 A\n"
        "default * missing.example.net localhost inward.example.net group.example.net other.invalid\n",
    )
    out = write("out.pcap", "what was there before")
    done = run_with_names("replay", SOFTFLOWD, "-o", out, "--rules", rules, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    *errors, advice = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in errors] == [
        "collector missing.example.net",
        "collector localhost",
        "collector inward.example.net",
        "collector group.example.net",
        "collector other.invalid",
    ]
    assert "127.0.0.1, and a loopback address" in errors[1]
    assert "127.0.0.1, and a loopback address" in errors[2]
    assert "239.1.2.3, and a multicast address" in errors[3]
    assert advice.startswith("give the collector's address")
    assert out.read_text() == "what was there before"


def test_interrupted_while_a_name_server_is_silent(gfwd, in_namespace, tmp_path, write):
    rules = write("rules", "default * flow.example.net")
    command = [*in_namespace(WITH_SILENT_NAME_SERVER), sys.executable, "-c", SILENCE, *gfwd, "replay"]
    command += [str(DATA / "softflowd-v9.pcap"), "-o", str(tmp_path / "out.pcap"), "--rules", str(rules)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as waiting:
        _, errors = interrupt_at_work(waiting, lambda: waiting.send_signal(signal.SIGINT))
    assert (waiting.returncode, errors) == (130, "")
    assert not (tmp_path / "out.pcap").exists()
