"""gfwd doctor on hosts where really something is broken: it says so, and the command that it names mends it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from tests.e2e.live import BOTH_ARMS, Collector, Site, cable, host, route, wait_until
from tests.e2e.test_run_faults import program_that_passes
from tests.net.network import Host, veth

ARMS = BOTH_ARMS[:4]
RULES = "10.0.0.2 514 10.1.0.2 A\n"


class Found(NamedTuple):
    """What a doctor has found: whether anything hurts, and the findings as JSON has them."""

    hurts: bool
    findings: list[dict[str, str | None]]

    def about(self, what: str, words: str) -> dict[str, str | None] | None:
        """The finding with these words in it, if there is one; two are too many."""
        its = [one for one in self.findings if one["what"] == what and words in str(one["message"])]
        assert len(its) <= 1, its
        return its[0] if its else None


class Doctor:
    """The command, in a host of a site."""

    def __init__(self, gfwd: Sequence[str], site: Site) -> None:
        self._gfwd, self.site = gfwd, site

    def look(self, *arguments: str, rules: str | None = RULES, prefix: Sequence[str] = ()) -> Found:
        ended = self.ended(*(arguments or ARMS), "--json", rules=rules, prefix=prefix)
        found = json.loads(ended.stdout)
        severities = [one["severity"] for one in found["findings"]]
        for kind in ("error", "warning", "note"):
            assert found[f"{kind}s"] == severities.count(kind)
        assert ended.returncode == int(found["errors"] + found["warnings"] > 0)
        assert ended.stderr == ""
        return Found(bool(ended.returncode), found["findings"])

    def ended(
        self, *arguments: str, rules: str | None = RULES, prefix: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        of_rules = [] if rules is None else ["--rules", str(self.site.rules(rules))]
        return self.sh([*prefix, *self._gfwd, "doctor", *of_rules, *arguments])

    def sh(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the host."""
        process = self.site.us.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def mends(self, what: str, words: str, *arguments: str, rules: str | None = RULES, **values: str) -> None:
        """It finds this, and after the command that it names no more. values: of words in capitals in the command."""
        finding = self.look(*arguments, rules=rules).about(what, words)
        assert finding is not None and finding["mend"] is not None, finding
        command = finding["mend"]
        for name, value in values.items():
            assert name in command
            command = command.replace(name, value)
        if shutil.which(command.split()[0]) is None:
            pytest.skip(f"{command.split()[0]} is not installed")
        mended = self.sh(["sh", "-ec", command])
        assert mended.returncode == 0, mended.stderr
        # An interface that comes up has its carrier and its routes a moment later.
        wait_until(lambda: self.look(*arguments, rules=rules).about(what, words) is None)


@pytest.fixture
def doctor(live_network, gfwd, tmp_path) -> Iterator[Doctor]:
    with Site(gfwd, tmp_path) as site:
        yield Doctor(gfwd, site)


def made(at: Host, name: str, kind: str, **its: object) -> None:
    """A new interface, where this kernel has the kind."""
    try:
        at.ip.link("add", ifname=name, kind=kind, **its)
    except NetlinkError as error:
        pytest.skip(f"this kernel makes no {kind}: {error}")


# ---- the command ----


def test_all_is_well(doctor):
    """And gfwd does forward there."""
    ended = doctor.ended(*ARMS)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "xdp:in0: note: gfwd switches off while it runs: rx-vlan-offload",
        "gfwd doctor: fine: 1 note",
    ]
    doctor.site.run(RULES)
    assert doctor.site.forwards(b"datagram")


def test_it_changes_nothing(doctor):
    def state() -> list[str]:
        looks = (["ip", "-d", "addr"], ["ip", "route"], ["ethtool", "-k", "in0"], ["sysctl", "-a", "--pattern", "rp_f"])
        return [doctor.sh(command).stdout for command in looks if shutil.which(command[0])]

    doctor.site.us.down("out0")
    before = state()
    assert doctor.look().hurts
    assert state() == before


def test_no_ports(doctor):
    ended = doctor.ended(rules=None)
    lines = ended.stdout.splitlines()
    assert ended.returncode == 0
    assert "in0: note: could be a port: xdp:in0 (veth, MTU 1500, up)" in lines
    assert "out0: note: could be a port: xdp:out0 (veth, MTU 1500, up)" in lines
    assert not any(line.startswith("lo:") for line in lines)
    assert lines[-1].startswith("gfwd doctor: fine: ")


@pytest.mark.parametrize(
    ("arguments", "rules", "words"),
    [
        (["--in", "eth0"], None, "'eth0' is no port; right would be xdp:eth0"),
        (["--workers", "0"], None, "'0' is not a number from 1 up"),
        (["--in", "xdp:in0"], "* 70000 10.1.0.2 A\n", ":1:3: error: "),
        (["--in", "xdp:in0"], "* * 10.1.0.2 A\n", "no rule names a port"),
    ],
)
def test_bad_usage(doctor, arguments, rules, words):
    ended = doctor.ended(*arguments, rules=rules)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert words in ended.stderr


# ---- what is broken, and mended ----


@pytest.mark.parametrize("name", ["in0", "out0"])
def test_down(doctor, name):
    doctor.site.us.down(name)
    doctor.mends(f"xdp:{name}", "the interface is down")


def test_no_carrier(doctor):
    doctor.site.exporter.down("e0")
    wait_until(lambda: doctor.look().about("xdp:in0", "no carrier"))
    doctor.site.exporter.up("e0")
    wait_until(lambda: not doctor.look().hurts)


def test_no_carrier_since_the_other_end_on_this_host_is_down(doctor):
    doctor.site.us.ip.link("add", ifname="out1", kind="veth", peer={"ifname": "c1"})
    doctor.site.us.up("out1")
    doctor.mends("xdp:out1", "no carrier", *ARMS, "--out", "xdp:out1")


def test_an_mtu_smaller_than_the_exporters(doctor):
    doctor.site.us.ip.link("set", index=doctor.site.us.index("out0"), mtu=1_400)
    finding = doctor.look().about("xdp:out0", "its MTU of 1400 is smaller than that of xdp:in0, 1500")
    assert finding is not None and finding["mend"] is None


def test_an_mtu_too_large(gfwd, live_network, tmp_path):
    with Site(gfwd, tmp_path, mtu=9_000) as site:
        doctor = Doctor(gfwd, site)
        doctor.mends("xdp:in0", "frames longer than 3,840 bytes will be lost")
        doctor.mends("xdp:out0", "may refuse native XDP")
        assert not doctor.look().hurts


def test_a_missing_route(doctor):
    rules = "10.0.0.2 514 10.1.0.2 10.9.0.2 A\n"
    doctor.mends("collector 10.9.0.2", "no route leaves by xdp:out0", rules=rules, GATEWAY="10.1.0.3")
    found = doctor.look(rules=rules)
    assert not found.hurts
    assert found.about("xdp:out0", "collector 10.9.0.2: behind the gateway 10.1.0.3") is not None


def test_a_named_mac_needs_no_route(doctor):
    rules = "10.0.0.2 514 10.9.0.2 A\n"
    assert doctor.look(rules=rules).hurts
    assert not doctor.look(*ARMS, "--mac", "10.9.0.2=02:00:00:00:00:09", rules=rules).hurts


def test_a_pipe_needs_no_route(doctor):
    """Where netmap is not loaded, that is what hurts, and nothing else."""
    found = doctor.look("--in", "xdp:in0", "--out", "netmap:x{1")
    assert {one["what"] for one in found.findings if one["severity"] != "note"} <= {"/dev/netmap"}


@pytest.mark.parametrize("mode", [1 << 1, 1 << 2], ids=["generic", "native"])
def test_a_foreign_program(doctor, mode):
    program = program_that_passes()
    index = doctor.site.us.index("in0")
    doctor.site.us.ip.link("set", index=index, xdp={"attrs": [("IFLA_XDP_FD", program), ("IFLA_XDP_FLAGS", mode)]})
    os.close(program)
    doctor.mends("xdp:in0", "an XDP program is attached to it")
    assert not doctor.look().hurts


def test_a_gfwd_that_runs(doctor):
    live = doctor.site.run(RULES)
    assert doctor.look().about("xdp:out0", "an XDP program is attached to it, held by ") is not None
    assert doctor.site.forwards(b"it goes on")
    doctor.mends("xdp:in0", "an XDP program is attached to it, held by ")
    assert live.ended().status == 0
    assert not doctor.look().hurts


def test_few_exporters_for_many_queues(gfwd, live_network, tmp_path):
    with Site(gfwd, tmp_path, queues=2) as site:
        doctor = Doctor(gfwd, site)
        assert not doctor.look().hurts
        doctor.mends("xdp:in0", "2 RX queues for 1 exporter")


def test_too_few_queues_for_the_workers(gfwd, live_network, tmp_path):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two CPUs")
    with Site(gfwd, tmp_path, queues=2) as site:
        doctor = Doctor(gfwd, site)
        if doctor.sh(["ethtool", "-L", "out0", "rx", "1", "tx", "1"]).returncode != 0:
            pytest.skip("ethtool cannot change the queues of a veth here")
        two = "10.0.0.2 514 10.1.0.2 A\n10.0.0.3 514 10.1.0.2 A\n"
        doctor.mends("xdp:out0", "2 workers need a TX queue each", *ARMS, "--workers", "2", rules=two)
        assert not doctor.look(*ARMS, "--workers", "2", rules=two).hurts


def filtered(at: Host) -> int:
    """How many packets the host's kernel has dropped by rp_filter."""
    with at.inside():
        lines = Path("/proc/thread-self/net/netstat").read_text("ascii").splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith("TcpExt:"))
    return int(values[names.index("IPReversePathFilter")])


def test_a_filter_on_sources(doctor):
    """Behind out1 this host itself routes on to the collector: with rp_filter it drops what gfwd has forwarded."""
    site = doctor.site
    with ExitStack() as stack:
        beyond = host(stack)
        site.us.ip.link("add", ifname="out1", kind="veth", peer={"ifname": "c1"})
        cable(site.us, "far0", beyond, "f0")
        for at, name, address in ((site.us, "far0", "10.3.0.1/24"), (beyond, "f0", "10.3.0.2/24")):
            at.address(name, address)
        site.us.address("c1", "10.2.0.1/24")
        for name in ("out1", "c1"):
            site.us.sysctl(f"ipv4/conf/{name}/forwarding", 1)
            site.us.up(name)
        site.us.sysctl("ipv4/conf/c1/rp_filter", 1)
        site.us.sysctl("ipv4/conf/c1/accept_local", 1)
        wait_until(lambda: site.us.ip.get_links(site.us.index("out1"))[0].get("IFLA_OPERSTATE") == "UP")
        route(site.us, "10.3.0.2/32", dev="far0")
        mac = ":".join(f"{octet:02x}" for octet in site.us.mac("c1"))
        rules, arms = "10.0.0.2 514 10.3.0.2 A\n", ("--in", "xdp:in0", "--out", "xdp:out1")
        its = (*arms, "--mac", f"10.3.0.2={mac}")
        live = site.start(rules, *its, "--json")
        live.wait_for("forwarding from")
        collector = stack.enter_context(Collector(beyond, "f0"))
        site.sender.sendto(b"filtered", ("10.0.0.1", 514))
        wait_until(lambda: filtered(site.us) == 1)
        assert collector.look() == 0
        doctor.mends("xdp:out1", "(rp_filter)", *its, rules=rules)

        def comes() -> bool:
            site.sender.sendto(b"datagram", ("10.0.0.1", 514))
            return collector.look() > 0

        wait_until(comes)
        assert live.stop().status == 0


# ---- what is broken, and is the operator's to mend ----


def test_no_such_interface(doctor):
    assert doctor.look("--in", "xdp:in7", "--out", "xdp:out0").about("xdp:in7", "there is no such interface")


def test_no_ethernet(doctor):
    assert doctor.look("--port", "xdp:lo").about("xdp:lo", "not Ethernet")


def test_no_address(doctor):
    doctor.site.us.ip.flush_addr(index=doctor.site.us.index("in0"))
    assert doctor.look().about("xdp:in0", "no address there")
    assert not doctor.look(*ARMS, "--address", "10.0.0.1").hurts


def test_a_bridge(doctor):
    us = doctor.site.us
    made(us, "br0", "bridge")
    us.ip.link("set", index=us.index("in0"), master=us.index("br0"))
    finding = doctor.look("--in", "xdp:br0", "--out", "xdp:out0").about("xdp:br0", "it is a bridge")
    assert finding is not None and str(finding["message"]).endswith("what it is made of: in0")


def test_a_bond(doctor):
    us = doctor.site.us
    made(us, "bond0", "bond")
    us.down("in0")
    us.ip.link("set", index=us.index("in0"), master=us.index("bond0"))
    finding = doctor.look("--in", "xdp:bond0", "--out", "xdp:out0").about("xdp:bond0", "it is a bond")
    assert finding is not None and str(finding["message"]).endswith("what it is made of: in0")


@pytest.mark.parametrize(("kind", "its"), [("vlan", {"vlan_id": 5}), ("macvlan", {"macvlan_mode": "bridge"})])
def test_on_top_of_a_card(doctor, kind, its):
    made(doctor.site.us, "top0", kind, link=doctor.site.us.index("in0"), **its)
    finding = doctor.look("--in", "xdp:top0", "--out", "xdp:out0").about("xdp:top0", "slower; the port should be")
    assert finding is not None and str(finding["message"]).endswith("what it is made of: in0")


def test_a_name_and_an_own_address(doctor):
    found = doctor.look(rules="10.0.0.2 514 10.0.0.1:9995 nowhere.invalid A\n")
    assert found.about("collector 10.0.0.1:9995", "is gfwd's own address") is not None
    assert found.about("collector nowhere.invalid", "give the collector's address instead") is not None


def test_no_netmap(doctor):
    if Path("/dev/netmap").exists():
        pytest.skip("netmap is loaded here")
    finding = doctor.look("--in", "netmap:in0", "--out", "netmap:out0").about("/dev/netmap", "is not there")
    assert finding is not None and finding["mend"] == "modprobe netmap"


def test_a_cpu_that_is_not_there(doctor):
    assert doctor.look(*ARMS, "--cpu", "9999").about("--cpu", "there is no CPU 9999 for gfwd") is not None


def test_capabilities(doctor: Doctor):
    """Those that the docs name suffice; each that is missing is named."""
    enough = "-all,+net_admin,+net_raw,+bpf,+perfmon,+ipc_lock"

    def granted(capabilities: str) -> Found:
        return doctor.look(prefix=["setpriv", "--bounding-set", capabilities, "--inh-caps", capabilities, "--"])

    assert not granted(enough).hurts
    finding = granted(enough.replace(",+bpf", "").replace(",+net_raw", "")).about("AF_XDP", "no permission")
    assert finding is not None and str(finding["message"]).endswith("give it CAP_NET_RAW, CAP_BPF")


def test_locked_memory(doctor):
    """As `gfwd run` finds out (test_run_faults.py)."""
    without = "-ipc_lock,-sys_resource"
    poor = ["prlimit", "--memlock=65536:65536", "setpriv", "--bounding-set", without, "--inh-caps", without, "--"]
    finding = doctor.look(prefix=poor).about("AF_XDP", "KiB of locked memory and a little more, and may have 64")
    assert finding is not None and finding["mend"] == "ulimit -l unlimited"


def test_many_interfaces_with_strange_names(doctor):
    """Only those of the ports are looked at, and no name breaks a command."""
    us: Host = doctor.site.us
    with ExitStack() as stack:
        there = host(stack)
        for number in range(50):
            veth(us, f"x.{number}", there, f"y.{number}")
        assert not doctor.look().hurts
        doctor.mends("xdp:x.7", "the interface is down", *ARMS, "--out", "xdp:x.7")
