"""gfwd run where something is missing, wrong or breaks: a line says what and what to do, and all else goes on."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.e2e.live import (
    BOTH_ARMS,
    WAVE,
    Collector,
    Ended,
    Live,
    Site,
    Wire,
    cable,
    host,
    route,
    wait_until,
    xdp_programs,
)

TO_NEAR = "* 514 10.1.0.2 A\n"
RESOLVED = "neighbour 10.1.0.2 on xdp:out0 is"


pytestmark = pytest.mark.usefixtures("live_network")


def refused(ended: Ended, status: int, *lines: str) -> None:
    """It ended with this status and said just these lines; one that ends with … may go on."""
    said = ended.said.splitlines()
    assert ended.status == status, ended.said
    assert len(said) == len(lines), ended.said
    for its, wanted in zip(said, lines, strict=True):
        assert its.startswith(wanted[:-1]) if wanted.endswith("…") else its == wanted, ended.said


# ---- at the start ----


def test_no_such_interface(site):
    live = site.start(TO_NEAR, "--in", "xdp:in7", "--out", "xdp:out0")
    refused(
        live.ended(),
        1,
        "xdp:in7: error: there is no such interface",
        "error: there is no port that datagrams could come in by",
    )


def test_a_second_input_that_is_missing(site):
    """The other one works meanwhile, and the exit status says that not all was well."""
    live = site.run(TO_NEAR, "--in", "xdp:in1")
    assert site.forwards(b"datagram")
    ended = live.stop()
    assert ended.status == 1
    assert "xdp:in1: error: there is no such interface" in ended.said.splitlines()
    assert ended.account()["forwarded"] == 1


def test_no_address(site):
    site.us.ip.flush_addr(index=site.us.index("in0"))
    refused(
        site.start(TO_NEAR, *BOTH_ARMS).ended(),
        1,
        "xdp:in0: switched off: rx-vlan-offload; it comes back when gfwd ends",
        "error: no address on xdp:in0, so nothing can be for gfwd; give the interface one, or say which are gfwd's: "
        "--address 192.0.2.1",
    )


@pytest.mark.parametrize(
    "as_whom",
    [
        ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all"],
        ["setpriv", "--reuid", "65534", "--clear-groups"],
    ],
    ids=["root without capabilities", "nobody"],
)
def test_no_permission(gfwd, as_whom):
    with TemporaryDirectory() as folder, Site(gfwd, Path(folder)) as site:
        Path(folder).chmod(0o755)
        version = Live([*as_whom, "--", *gfwd, "--version"], site.us)
        with version:
            if version.process.wait() != 0:
                pytest.skip("this user cannot start the command at all")
        ended = site.start(TO_NEAR, *BOTH_ARMS, prefix=[*as_whom, "--"]).ended()
    assert ended.status == 1
    assert (
        "no permission for AF_XDP: run gfwd as root, or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON"
        in ended.said
    )


def test_the_capabilities_that_the_docs_name_suffice(site):
    enough = "-all,+net_admin,+net_raw,+bpf,+perfmon,+ipc_lock"
    live = site.run(TO_NEAR, prefix=["setpriv", "--bounding-set", enough, "--inh-caps", enough, "--"])
    assert site.forwards(b"datagram")
    assert live.stop().status == 0


def test_not_enough_locked_memory(site):
    """Without the capabilities that let root exceed it."""
    few = ["prlimit", "--memlock=65536:65536"]
    without = "-ipc_lock,-sys_resource"
    poor = [*few, "setpriv", "--bounding-set", without, "--inh-caps", without, "--"]
    ended = site.start(TO_NEAR, *BOTH_ARMS, prefix=poor).ended()
    assert ended.status == 1
    assert "KiB of locked memory, and may have 64: raise it with: ulimit -l unlimited" in ended.said


def test_another_gfwd_is_there(site):
    first = site.run(TO_NEAR)
    ended = site.start(TO_NEAR, *BOTH_ARMS).ended()
    assert ended.status == 1
    for name in ("in0", "out0"):
        assert (
            f"xdp:{name}: error: another XDP program is attached to it: end that program, or take it off with: "
            f"ip link set dev {name} xdp off"
        ) in ended.said.splitlines()
    assert site.forwards(b"datagram")
    assert first.stop().status == 0


@pytest.mark.parametrize("mode", [1 << 1, 1 << 2], ids=["generic", "native"])
def test_another_xdp_program_is_there(site, mode):
    """One that was attached to stay (not by a link), and goes by what the line advises."""
    index = site.us.index("in0")
    program = program_that_passes()
    site.us.ip.link("set", index=index, xdp={"attrs": [("IFLA_XDP_FD", program), ("IFLA_XDP_FLAGS", mode)]})
    os.close(program)
    refused(
        site.start(TO_NEAR, *BOTH_ARMS).ended(),
        1,
        "xdp:in0: switched off: rx-vlan-offload; it comes back when gfwd ends",
        "xdp:in0: error: another XDP program is attached to it: end that program, or take it off with: "
        "ip link set dev in0 xdp off",
        "error: there is no port that datagrams could come in by",
    )
    site.us.ip.link("set", index=index, xdp={"attrs": [("IFLA_XDP_FD", -1), ("IFLA_XDP_FLAGS", mode)]})
    site.run(TO_NEAR)
    assert site.forwards(b"datagram")


def program_that_passes() -> int:
    """A file descriptor of an XDP program that passes everything: r0 = XDP_PASS; exit."""
    code = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0))
    licence = ctypes.create_string_buffer(b"BSD")
    kind, load, bpf = 6, 5, 321  # BPF_PROG_TYPE_XDP, BPF_PROG_LOAD, SYS_bpf on x86-64
    if os.uname().machine == "aarch64":
        bpf = 280
    attributes = struct.pack("=IIQQ", kind, 2, ctypes.addressof(code), ctypes.addressof(licence)).ljust(128, b"\0")
    fd = ctypes.CDLL(None, use_errno=True).syscall(bpf, load, attributes, len(attributes))
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return int(fd)


def test_a_cpu_that_is_not_there(site):
    ended = site.start(TO_NEAR, *BOTH_ARMS, "--cpu", "9999").ended()
    refused(ended, 2, "--cpu: error: there is no CPU 9999 for gfwd; there are…")


def test_more_cpus_than_workers(site):
    ended = site.start(TO_NEAR, *BOTH_ARMS, "--workers", "1", "--cpu", "0,0").ended()
    refused(ended, 2, "--cpu: error: 2 CPUs for 1 workers; give one for each")


def test_more_workers_than_queues(site):
    ended = site.start(TO_NEAR, *BOTH_ARMS, "--workers", "2").ended()
    assert ended.status in (1, 2)
    assert (
        "xdp:out0: error: 2 workers need a TX queue each, and it has 1; give it more (ethtool -L out0), or use fewer "
        "(--workers 1)"
    ) in ended.said.splitlines()


def test_more_workers_than_queues_to_read(gfwd, tmp_path):
    with Site(gfwd, tmp_path, queues=2) as site:
        ended = site.start(TO_NEAR, *BOTH_ARMS, "--workers", "3").ended()
        assert ended.status in (1, 2)
        assert "3 workers" in ended.said


def test_a_collector_with_gfwds_own_address(site):
    live = site.start("* 514 10.1.0.2 10.0.0.1:9995 A\n", *BOTH_ARMS)
    rules = live.process.args[-1 - len(BOTH_ARMS)]
    refused(
        live.ended(),
        2,
        f"{rules}: error: collector 10.0.0.1:9995 is gfwd's own address",
        "what is sent there would come back; name another collector, or another --address",
    )


def test_no_rule_names_a_port(site):
    live = site.start("default * 10.1.0.2\n", *BOTH_ARMS)
    ended = live.ended()
    assert ended.status == 2
    assert "no rule names a port" in ended.said
    assert "--listen 514,2055,9990-9999; or, where the address is gfwd's alone, --listen all" in ended.said


def test_wrong_rules(site):
    live = site.start("* 514 10.1.0.2 A\n* 70000 10.1.0.2 A\n", *BOTH_ARMS)
    ended = live.ended()
    assert ended.status == 2
    assert ":2:3: error: " in ended.said


def test_an_mtu_too_large_for_the_driver(gfwd, tmp_path):
    """Generic mode, which is said; and what no buffer could hold is counted as lost."""
    with Site(gfwd, tmp_path, mtu=9_000) as site:
        live = site.run(TO_NEAR)
        live.wait_for(
            RESOLVED,
            "xdp:in0: warning: generic mode",
            "its MTU of 9000 may be too large: ip link set dev in0 mtu 1500",
            "xdp:in0: warning: its MTU is 9000, and datagrams in frames longer than 3,840 bytes will be lost, counted",
        )
        assert site.forwards(bytes(3_700))
        site.sender.sendto(bytes(8_000), ("10.0.0.1", 514))
        assert site.forwards(b"datagram")
        ended = live.stop()
        assert ended.status == 0
        account = ended.account()
        port = account["ports"]["xdp:in0"]
        assert (port["mode"], port["ours"], port["lost"], account["received"]) == ("generic", 3, 1, 2)


# ---- while it runs ----


@pytest.mark.parametrize("name", ["in0", "out0"])
def test_down_and_up_again(site, name):
    live = site.run(TO_NEAR)
    live.wait_for(RESOLVED)
    assert site.forwards(b"before")
    site.us.down(name)
    live.wait_for(f"xdp:{name}: error: the interface is down; bring it up: ip link set dev {name} up")
    site.us.up(name)
    live.wait_for(f"xdp:{name}: the link is up")
    site.wait_until_it_forwards(b"after")
    ended = live.stop()
    assert ended.status == 0
    site.collector.wait_for(ended.account()["forwarded"])


@pytest.mark.parametrize(("at", "its", "name"), [("exporter", "e0", "in0"), ("near", "c0", "out0")])
def test_the_cable_is_pulled_and_put_back(site, at, its, name):
    live = site.run(TO_NEAR)
    live.wait_for(RESOLVED)
    assert site.forwards(b"before")
    getattr(site, at).down(its)
    live.wait_for(f"xdp:{name}: warning: the link has no carrier")
    getattr(site, at).up(its)
    live.wait_for(f"xdp:{name}: the link is up")
    site.wait_until_it_forwards(b"after")
    ended = live.stop()
    assert ended.status == 0
    site.collector.wait_for(ended.account()["forwarded"])


def test_no_carrier_at_the_start(site):
    site.near.down("c0")
    live = site.run(TO_NEAR)
    live.wait_for("xdp:out0: warning: the link has no carrier")
    site.near.up("c0")
    live.wait_for("xdp:out0: the link is up", RESOLVED)
    site.wait_until_it_forwards(b"datagram")
    assert live.stop().status == 0


def test_one_of_two_inputs_is_deleted(site):
    another = site.stack.enter_context(host(site.stack))
    cable(another, "e0", site.us, "in1")
    site.us.address("in1", "10.0.1.1/24")
    another.address("e0", "10.0.1.2/24")
    live = site.run(TO_NEAR, "--in", "xdp:in1")
    with another.socket() as sender:
        sender.sendto(b"another", ("10.0.1.1", 514))
    site.collector.wait_for(1)
    site.us.ip.link("del", index=site.us.index("in1"))
    live.wait_for("xdp:in1: error: the interface is gone")
    assert site.forwards(b"datagram")
    ended = live.stop()
    assert ended.status == 1
    account = ended.account()
    assert account["forwarded"] == 2
    assert account["ports"]["xdp:in1"]["error"] == "the interface is gone"


def test_one_of_two_outputs_is_deleted(site):
    """Its copies are dropped and counted; the others go on."""
    far = site.stack.enter_context(host(site.stack))
    cable(site.us, "out1", far, "c0")
    site.us.address("out1", "10.2.0.1/24")
    far.address("c0", "10.2.0.2/24")
    there = site.stack.enter_context(Collector(far, "c0"))
    live = site.run("* 514 10.1.0.2 10.2.0.2 A\n", "--out", "xdp:out1")
    assert site.forwards(b"before")
    there.wait_for(1)
    site.us.ip.link("del", index=site.us.index("out1"))
    live.wait_for("xdp:out1: error: the interface is gone; what should leave by it is dropped (port_failed)")
    for n in range(10):
        assert site.forwards(b"after %d" % n)
    ended = live.stop()
    assert ended.status == 1
    account = ended.account()
    assert account["collectors"]["10.1.0.2"]["sent"] == 11
    copies = account["collectors"]["10.2.0.2"]
    assert copies["sent"] == 1
    # Its routes go with it, and once that is known, there is no collector there.
    drops = ended.drops("10.2.0.2")
    assert sum(drops.values()) == 10 and set(drops) <= {"port_failed", "no_collector"}


def test_the_only_output_is_deleted(site):
    live = site.run(TO_NEAR)
    live.wait_for(RESOLVED)
    assert site.forwards(b"datagram")
    site.us.ip.link("del", index=site.us.index("out0"))
    ended = live.ended()
    assert ended.status == 1
    assert "xdp:out0: error: the interface is gone" in ended.said
    account = ended.account()
    assert account["ports"]["xdp:out0"]["error"] == "the interface is gone"
    assert xdp_programs(site.us, "in0") == 0


def test_what_has_not_left_is_told(site):
    """For the core it is sent; the port tells how much of that the kernel never took.

    The output is down when datagrams come, so that they wait in its ring, and then it is deleted.
    """
    live = site.run(TO_NEAR, "--mac", "10.1.0.2=02:00:00:00:00:aa")
    site.us.down("out0")
    live.wait_for("xdp:out0: error: the interface is down")
    for n in range(WAVE):
        site.sender.sendto(b"datagram %d" % n, ("10.0.0.1", 514))

    def have_come() -> bool:
        live.send(signal.SIGUSR1)
        return f"\n{WAVE:8}  " in live.said()  # the table of frames begins with those received

    wait_until(have_come)
    site.us.ip.link("del", index=site.us.index("out0"))
    ended = live.ended()
    assert ended.status == 1
    assert f"xdp:out0: warning: {WAVE} frames that were sent have not left" in ended.said
    account = ended.account()
    assert account["received"] == account["copies"]["sent"] == account["ports"]["xdp:out0"]["unsent"] == WAVE
    assert account["ports"]["xdp:out0"]["error"] == "the interface is gone"


def test_what_nobody_could_take_in_is_told(site):
    """It is stopped while its output is down, with more datagrams come than the rings there hold."""
    live = site.run(TO_NEAR, "--mac", "10.1.0.2=02:00:00:00:00:aa")
    site.us.down("out0")
    live.wait_for("xdp:out0: error: the interface is down")
    for n in range(6_000):
        site.sender.sendto(b"datagram %d" % n, ("10.0.0.1", 514))
        if n % WAVE == 0:
            time.sleep(0.002)  # some may get lost on the way, as long as enough arrive
    ended = live.stop()
    assert ended.status == 1
    account = ended.account()
    unread = account["ports"]["xdp:in0"]["unread"]
    assert unread > 0
    assert f"xdp:in0: warning: {unread:,} frames are lost, since what came before them could not leave" in ended.said


def test_nobody_hears_what_it_says(site):
    """Its stderr is a pipe that nobody reads any more, and then it has something to say."""
    ear, mouth = os.pipe()
    command = list(map(str, site.command(TO_NEAR, *BOTH_ARMS)))
    process = site.us.start(command, stdout=subprocess.DEVNULL, stderr=mouth)
    os.close(mouth)
    try:
        said = b""
        while b"forwarding from" not in said:
            said += os.read(ear, 4096)
        os.close(ear)
        site.us.down("in0")
        site.us.up("in0")
        site.wait_until_it_forwards(b"datagram")
        process.send_signal(signal.SIGHUP)
        site.wait_until_it_forwards(b"datagram")
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_a_mac_without_a_route_goes_nowhere_where_there_are_two_ways(site):
    """Which of the two would it be? The wrong one would show somebody's logs to somebody else."""
    far = site.stack.enter_context(host(site.stack))
    cable(site.us, "out1", far, "c0")
    live = site.run("* 514 10.9.0.9 A\n", "--out", "xdp:out1", "--mac", "10.9.0.9=02:00:00:00:00:aa")
    live.wait_for("collector 10.9.0.9: warning: no route leaves by xdp:out0 or xdp:out1")
    for _ in range(10):
        site.sender.sendto(b"datagram", ("10.0.0.1", 514))
    wait_until(lambda: "xdp:in0" in live.said())
    ended = live.stop()
    assert ended.account()["copies"]["sent"] == 0
    assert set(ended.drops("copies")) == {"no_collector"}


def test_its_own_mac_changes(site):
    live = site.run(TO_NEAR)
    assert site.forwards(b"before")
    site.us.set_mac("in0", "02:00:00:00:00:55")
    site.us.set_mac("out0", "02:00:00:00:00:66")
    wait_until(lambda: site.exporter.neighbour("10.0.0.1") == "02:00:00:00:00:55")
    numbers = iter(range(1_000))

    def comes_from_the_new_one() -> bool:
        """gfwd may hear of it a moment later, and meanwhile what is for its new MAC is the kernel's."""
        site.sender.sendto(b"after %d" % next(numbers), ("10.0.0.1", 514))
        site.collector.look()
        return "02:00:00:00:00:66" in [one.from_mac.hex(":") for one in site.collector.arrived()]

    wait_until(comes_from_the_new_one)
    assert live.stop().status == 0


def test_killed_it_leaves_nothing_behind(site):
    live = site.run(TO_NEAR)
    live.kill()
    assert live.process.returncode == -signal.SIGKILL
    wait_until(lambda: xdp_programs(site.us, "in0") == xdp_programs(site.us, "out0") == 0)
    live = site.run(TO_NEAR)
    assert site.forwards(b"datagram")
    assert live.stop().status == 0


# ---- routes, neighbours, addresses ----


def test_a_collector_without_a_route_and_then_with_one(site):
    site.near.address("c0", "10.3.0.2/32")
    live = site.run("* 514 10.1.0.2 10.3.0.2 A\n")
    live.wait_for(
        RESOLVED,
        "collector 10.3.0.2: warning: no route leaves by xdp:out0, so its copies are dropped (no_collector); mend it: "
        "ip route add 10.3.0.2 via GATEWAY dev out0",
    )
    assert site.forwards(b"to one")
    route(site.us, "10.3.0.2/32", via="10.1.0.2", dev="out0", scope=0)
    numbers = iter(range(1_000))

    def comes_to_both() -> bool:
        before = site.collector.look()
        site.sender.sendto(b"to both %d" % next(numbers), ("10.0.0.1", 514))
        wait_until(lambda: site.collector.look() > before)
        return len(set(one.destination for one in site.collector.arrived())) == 2

    wait_until(comes_to_both)
    ended = live.stop()
    assert ended.status == 0
    account = ended.account()
    copies = account["collectors"]["10.3.0.2"]
    assert copies["sent"] > 0
    assert ended.drops("10.3.0.2") == {"no_collector": copies["wanted"] - copies["sent"]}
    assert account["collectors"]["10.1.0.2"]["sent"] == account["received"]


def test_a_route_that_goes(site):
    site.near.address("c0", "10.3.0.2/32")
    route(site.us, "10.3.0.2/32", via="10.1.0.2")
    live = site.run("* 514 10.3.0.2 A\n")
    assert site.forwards(b"before")
    site.us.ip.route("del", dst="10.3.0.2/32", gateway="10.1.0.2")
    live.wait_for("collector 10.3.0.2: warning: no route leaves by xdp:out0")
    site.sender.sendto(b"after", ("10.0.0.1", 514))
    ended = live.stop()
    assert ended.status == 0
    assert ended.account()["received"] == 2
    assert ended.drops() == {"no_collector": 1}


def test_a_neighbour_that_is_silent(site):
    live = site.run("* 514 10.1.0.2 10.1.0.9 A\n")
    live.wait_for(RESOLVED, "neighbour 10.1.0.9 on xdp:out0 does not answer")
    assert site.forwards(b"datagram")
    ended = live.stop()
    assert ended.status == 0
    assert ended.account()["forwarded"] == 1


def test_a_mac_by_configuration_is_used_and_nobody_is_asked(site):
    wire = site.stack.enter_context(Wire(site.near, "c0"))
    live = site.run(TO_NEAR, "--mac", "10.1.0.2=02:00:00:00:00:aa")
    assert site.forwards(b"datagram")
    assert site.collector.arrived()[0].to_mac == bytes.fromhex("0200000000aa")
    assert [frame[12:14].hex() for frame in wire.take()] == ["0800"]
    assert live.stop().account()["neighbours"][0]["mac"] == "02:00:00:00:00:aa"


def test_addresses_by_configuration_take_the_place_of_the_interfaces_own(site):
    live = site.run(TO_NEAR, "--address", "192.0.2.1", "--address", "198.51.100.0/24")
    route(site.exporter, "192.0.2.1/32", via="10.0.0.1")
    route(site.exporter, "198.51.100.0/24", via="10.0.0.1")
    with site.us.socket() as server:
        server.bind(("10.0.0.1", 514))
        server.settimeout(30)
        site.sender.sendto(b"the host's", ("10.0.0.1", 514))
        assert server.recv(100) == b"the host's"
    for payload, address in ((b"one", "192.0.2.1"), (b"two", "198.51.100.77")):
        site.sender.sendto(payload, (address, 514))
    site.collector.wait_for(2)
    assert site.collector.payloads() == [b"one", b"two"]
    assert live.stop().account()["received"] == 2


def test_listening_on_more_than_the_rules_name(site):
    live = site.run("default * 10.1.0.2\n", "--listen", "514,600-601")
    for port in (514, 600, 601):
        site.sender.sendto(b"%d" % port, ("10.0.0.1", port))
    site.collector.wait_for(3)
    with site.us.socket(kind=socket.SOCK_DGRAM) as server:
        server.bind(("10.0.0.1", 602))
        server.settimeout(30)
        site.sender.sendto(b"the host's", ("10.0.0.1", 602))
        assert server.recv(100) == b"the host's"
    assert live.stop().account()["received"] == 3
