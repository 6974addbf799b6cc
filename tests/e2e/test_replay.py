"""gfwd replay: what leaves, byte for byte as scapy makes it, and the accounting."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import IP, UDP, in4_chksum
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, in6_chksum
from scapy.layers.l2 import Dot1Q, Ether
from scapy.utils import RawPcapReader

from tests.captures import LONGEST_FRAME, Capture, all_captures
from tests.frames import datagram

DATA = Path(__file__).parents[1] / "data"
EXPORTERS, SOFTFLOWD = DATA / "exporters.pcap", DATA / "softflowd-v9.pcap"
DEMO = DATA / "demo.rules"
OURS = ("10.2.2.1", "10.2.30.1", "2001:db8:1::1")
ADDRESSES = [option for address in OURS for option in ("--address", address)]
OUR_MAC = "02:00:00:00:00:01"
ALL_TO_ONE = "default * 192.0.2.7\n"
Sent = list[tuple[int, bytes]]  # (ns since 1970, frame)
Collectors = list[tuple[str, int | None]]  # (address, port or the datagram's own)

TO_ONE: Collectors = [("192.0.2.7", None)]


def test_fewest_words(run, tmp_path):
    """One rule, one collector, no options."""
    rules = tmp_path / "rules"
    rules.write_text(ALL_TO_ONE)
    done = run("replay", SOFTFLOWD, "-o", tmp_path / "out.pcap", "--rules", rules, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert frames_of(ledger(done.stdout)) == (16, 16, 0, {})
    assert sent(tmp_path / "out.pcap") == expected(SOFTFLOWD, lambda _: TO_ONE)


# ---- the demo ----


def demo_rule(arrived: "Arrived") -> Collectors:
    """demo.rules, said once more."""
    here, port = ip_address(arrived.source), arrived.port
    if str(here) == "10.2.2.3" and port == 2055:
        return [("10.2.2.40", 9996)]
    if str(here) == "10.2.2.3" and port == 9995:
        return [("10.2.2.40", None)]
    if str(here) == "10.2.2.4" and port in (2055, 9995):
        return [("10.2.2.40", None), ("10.2.2.41", 2055)]
    if str(here) == "10.2.2.4" and port == 6343:
        return [("10.2.2.41", None)]
    if here in ip_network("10.2.2.0/24") and 9990 <= port <= 9999:
        return [("10.2.2.40", None)]
    if here in ip_network("2001:db8:1::/64") and port in (2055, 9996):
        return [("2001:db8:1::40", 2055)]
    return [("10.2.2.41", None), ("2001:db8:1::41", None)]


DEMO_COPIES = {  # wanted, sent
    "10.2.2.40:9996": (16, 16),
    "10.2.2.40": (39, 39),
    "10.2.2.41:2055": (11, 11),
    "10.2.2.41": (67, 57),
    "[2001:db8:1::40]:2055": (32, 32),
    "2001:db8:1::41": (41, 10),
}
DEMO_PORTS = "162,514,2055,6343,9990-9999"


@pytest.mark.parametrize("capture", ["exporters.pcap", "exporters.pcapng"])
@pytest.mark.parametrize("options", [[], [*ADDRESSES, "--listen", DEMO_PORTS]], ids=["every address", "own addresses"])
def test_demo(run, tmp_path, capture, options):
    done = run("replay", DATA / capture, "-o", tmp_path / "out.pcap", "--rules", DEMO, "--json", *options)
    assert done.returncode == 0
    counted = ledger(done.stdout)
    assert frames_of(counted) == (245, 154, 91, {})
    copies = counted["copies"]
    assert (copies["wanted"], copies["sent"], copies["pending"]) == (206, 165, 0)
    assert dropped(copies) == {"family_mismatch": 41}
    assert {name: (c["wanted"], c["sent"]) for name, c in counted["collectors"].items()} == DEMO_COPIES
    out = sent(tmp_path / "out.pcap")
    assert out == expected(EXPORTERS, demo_rule)
    assert sum(len(frame) for _, frame in out) == copies["sent_bytes"]


def test_demo_counts_each_rule(run, tmp_path):
    done = run("replay", EXPORTERS, "-o", tmp_path / "out.pcap", "--rules", DEMO, "--json")
    rules = json.loads(done.stdout)["rules"]
    assert {place.rpartition(":")[2]: count["packets"] for place, count in rules.items()} == {
        "7": 16, "8": 13, "11": 11, "12": 26, "15": 15, "18": 32, "22": 16, "23": 9, "26": 16,
    }  # fmt: skip
    lines = DEMO.read_text().splitlines()
    for place, count in rules.items():
        path, _, line = place.rpartition(":")
        assert path == str(DEMO)
        assert count["rule"].split()[0] == lines[int(line) - 1].split()[0]
        assert count["packets"] < count["bytes"]


def test_vlan_tags_are_kept(run, tmp_path):
    run("replay", EXPORTERS, "-o", tmp_path / "out.pcap", "--rules", DEMO)
    tagged = [packet for packet in map(Ether, frames(sent(tmp_path / "out.pcap"))) if Dot1Q in packet]
    assert len(tagged) == 16
    assert {(packet[Dot1Q].vlan, packet[IP].src, packet[IP].dst) for packet in tagged} == {
        (30, "10.2.30.6", "10.2.2.41")
    }


def test_table_for_people(run, tmp_path):
    done = run("replay", EXPORTERS, "-o", tmp_path / "out.pcap", "--rules", DEMO)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["245", "154", "91", "0", "0", "0"] in rows
    assert ["all", "206", "165", "101,173", "0", "41"] in rows
    assert ["family_mismatch", "0", "41"] in rows
    rule = next(line for line in done.stdout.splitlines() if line.startswith(f"{DEMO}:18 "))
    assert rule.removeprefix(f"{DEMO}:18 ").split()[:2] == ["32", "21,680"]


def test_a_collector_that_is_our_own_address_is_refused(run, tmp_path):
    done = run("replay", EXPORTERS, "-o", tmp_path / "out.pcap", "--rules", DEMO, "--address", "10.2.2.41")
    assert (done.returncode, done.stdout) == (2, "")
    *loops, advice = done.stderr.splitlines()
    assert sorted(loops) == [
        f"{DEMO}: error: collector {text} is gfwd's own address" for text in ("10.2.2.41", "10.2.2.41:2055")
    ]
    assert advice == "what is sent there would come back; name another collector, or another --address"
    assert not (tmp_path / "out.pcap").exists()


# ---- what decides where a copy goes ----


def test_neighbours_have_the_macs_that_are_given(run, tmp_path):
    options = ["--neighbour", "10.2.2.40=02:aa:bb:cc:dd:ee", "--neighbour", "2001:db8:1:0::40=00:11:22:33:44:55"]
    done = run("replay", EXPORTERS, "-o", tmp_path / "out.pcap", "--rules", DEMO, *options)
    assert (done.returncode, done.stderr) == (0, "")
    given = {"10.2.2.40": "02:aa:bb:cc:dd:ee", "2001:db8:1::40": "00:11:22:33:44:55"}
    assert sent(tmp_path / "out.pcap") == expected(
        EXPORTERS, demo_rule, mac=lambda ip: given.get(ip) or made_up_mac(ip)
    )


def test_a_neighbour_that_nobody_needs_is_named(run, tmp_path):
    options = ["--neighbour", "10.2.2.99=02:aa:bb:cc:dd:ee"]
    done = run("replay", EXPORTERS, "-o", tmp_path / "out.pcap", "--rules", DEMO, *options)
    assert done.returncode == 0
    assert done.stderr.startswith("--neighbour 10.2.2.99: warning: ")


@pytest.mark.parametrize(
    ("options", "is_ours"),
    [
        ("--listen 514", lambda arrived: arrived.port == 514),
        ("--listen 9990-9995,162", lambda arrived: arrived.port in (9995, 162)),
        ("--listen all", lambda arrived: True),
        ("--address 10.2.2.1", lambda arrived: arrived.destination == "10.2.2.1"),
        ("--address 10.2.0.0/16", lambda arrived: arrived.destination.startswith("10.2.")),
        ("--address 10.2.30.1 --address 2001:db8:1::/64", lambda arrived: arrived.destination != "10.2.2.1"),
        ("--address 192.0.2.1", lambda arrived: False),
        (
            "--address 10.2.2.1 --listen 2055",
            lambda arrived: (arrived.destination, arrived.port) == ("10.2.2.1", 2055),
        ),
    ],
)
def test_only_what_is_ours_is_forwarded(run, tmp_path, options, is_ours):
    done = run("replay", EXPORTERS, "-o", tmp_path / "out.pcap", "--rules", DEMO, "--json", *options.split())
    assert done.returncode == 0
    rest = expected(EXPORTERS, lambda arrived: demo_rule(arrived) if is_ours(arrived) else [])
    assert sent(tmp_path / "out.pcap") == rest
    assert ledger(done.stdout)["copies"]["sent"] == len(rest)


def test_what_listen_narrows_is_said(run, tmp_path):
    done = run("replay", EXPORTERS, "-o", tmp_path / "out.pcap", "--rules", DEMO, "--listen", "514")
    assert [line.split(":")[1] for line in done.stderr.splitlines()] == ["7", "8", "11", "12", "15", "18", "23", "26"]
    assert all(": warning: " in line for line in done.stderr.splitlines())


@pytest.mark.parametrize(
    ("rules", "copies"),
    [
        ("* * 10.2.2.40 10.2.2.40 A", [("10.2.2.40", None)]),
        ("* * 10.2.2.41,10.2.2.40:1,10.2.2.41 A", [("10.2.2.41", None), ("10.2.2.40", 1)]),
        (
            "* * 10.2.2.40:1 10.2.2.40 10.2.2.40:2 10.2.2.39 A",
            [("10.2.2.40", 1), ("10.2.2.40", None), ("10.2.2.40", 2), ("10.2.2.39", None)],
        ),
        ("* * 2001:db8::9 192.0.2.7 A", [("2001:db8::9", None), ("192.0.2.7", None)]),
    ],
)
def test_copies_in_the_order_of_the_rule_and_each_once(run, tmp_path, write, rules, copies):
    done = run("replay", SOFTFLOWD, "-o", tmp_path / "out.pcap", "--rules", write("rules", rules), "--json")
    assert done.returncode == 0
    assert ledger(done.stdout)["copies"]["wanted"] == 16 * len(copies)
    assert sent(tmp_path / "out.pcap") == expected(SOFTFLOWD, lambda _: copies)


def test_as_many_collectors_as_a_rule_can_have(run, tmp_path, write):
    collectors: Collectors = [(f"10.2.{i}.7", None) for i in range(128)]
    rules = write("rules", "default * " + " ".join(address for address, _ in collectors))
    done = run("replay", SOFTFLOWD, "-o", tmp_path / "out.pcap", "--rules", rules, "--json")
    assert done.returncode == 0
    assert sent(tmp_path / "out.pcap") == expected(SOFTFLOWD, lambda _: collectors)


def test_one_collector_more_is_an_error(run, tmp_path, write):
    rules = write("rules", "\ndefault * " + " ".join(f"10.2.{i}.7" for i in range(129)))
    for command in (["check"], ["replay", SOFTFLOWD, "-o", tmp_path / "out.pcap"]):
        done = run(*command, "--rules", rules)
        column = rules.read_text().index("10.2.128.7")
        assert done.returncode == 2
        assert done.stderr.startswith(f"{rules}:2:{column}: error: ")
        assert "128" in done.stderr
    assert not (tmp_path / "out.pcap").exists()


def test_a_checksum_of_zero_stays_zero(run, tmp_path, write):
    whole = datagram(4, 0x0A020203, 0x0A020201, (4000, 2055), b"no checksum")
    udp = 14 + 20
    frame = whole[: udp + 6] + bytes(2) + whole[udp + 8 :]
    done = run("replay", write("in.pcap", pcap([frame])), "-o", tmp_path / "o", "--rules", write("r", ALL_TO_ONE))
    assert done.returncode == 0
    (out,) = frames(sent(tmp_path / "o"))
    assert Ether(out)[UDP].chksum == 0
    assert [(0, out)] == expected(tmp_path / "in.pcap", lambda _: TO_ONE)


# ---- captures that are not as they should be ----


@pytest.mark.parametrize("capture", all_captures(), ids=lambda capture: capture.name)
def test_captures_of_every_kind(run, tmp_path, write, capture: Capture):
    """What is whole is forwarded, and an error says where the rest breaks."""
    path, out = write("in", capture.data), write("out", "what was there before")
    rules = write("rules", "default * 192.0.2.7 2001:db8::7")
    done = run("replay", path, "-o", out, "--rules", rules, "--json")
    assert done.returncode == (0 if capture.error is None else 1)
    if capture.error is None:
        assert done.stderr == ""
    else:
        assert done.stderr.startswith(f"{path}: ")
        assert done.stderr.endswith(f" (at byte {capture.offset})\n")
        assert done.stderr.count("\n") == 1
    if not capture.frames and not done.stdout:
        assert out.read_text() == "what was there before"  # nothing was opened, and nothing lost
        return
    counted = ledger(done.stdout)
    assert counted["received"] == len(capture.frames)
    # Some builders cut frames, or make them longer than UDP can be.
    whole = [frame for frame in capture.frames if frame.length == len(frame.data) < LONGEST_FRAME]
    assert [time for time, _ in sent(out)] == [frame.time for frame in whole]
    assert counted["forwarded"] == len(whole)


def test_a_capture_that_ends_in_the_middle(run, tmp_path, write):
    half = write("half.pcap", EXPORTERS.read_bytes()[:50_000])
    done = run("replay", half, "-o", tmp_path / "out.pcap", "--rules", DEMO)
    assert done.returncode == 1
    assert done.stderr == f"{half}: error: the file ends inside a record (at byte 49930)\n"
    assert " 125 " in done.stdout
    assert sent(tmp_path / "out.pcap") == expected(EXPORTERS, demo_rule)[: len(sent(tmp_path / "out.pcap"))]


def test_a_capture_from_a_pipe(run, tmp_path):
    with EXPORTERS.open("rb") as file:
        done = run("replay", "/dev/stdin", "-o", "/dev/null", "--rules", DEMO, "--json", stdin=file)
    assert (done.returncode, done.stderr) == (0, "")
    assert ledger(done.stdout)["forwarded"] == 154


# ---- files that cannot be ----


def test_no_capture(run, tmp_path):
    done = run("replay", tmp_path / "none", "-o", tmp_path / "out.pcap", "--rules", DEMO)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{tmp_path / 'none'}: ")
    assert done.stderr.endswith("No such file or directory\n")
    assert not (tmp_path / "out.pcap").exists()


@pytest.mark.parametrize("link", ["", "symbolic", "hard"])
@pytest.mark.parametrize("victim", ["capture", "rules"])
def test_the_output_may_not_be_what_is_read(run, tmp_path, write, link, victim):
    files = {"capture": write("in.pcap", SOFTFLOWD.read_bytes()), "rules": write("rules", ALL_TO_ONE)}
    before = {name: path.read_bytes() for name, path in files.items()}
    out = tmp_path / "out" if link else files[victim]
    if link == "symbolic":
        out.symlink_to(files[victim])
    elif link == "hard":
        out.hardlink_to(files[victim])
    done = run("replay", files["capture"], "-o", out, "--rules", files["rules"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{out}: error: ")
    assert {name: path.read_bytes() for name, path in files.items()} == before


def test_output_in_a_folder_that_is_not_there(run, tmp_path):
    out = tmp_path / "missing" / "out.pcap"
    done = run("replay", EXPORTERS, "-o", out, "--rules", DEMO)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{out}: ")
    assert done.stderr.endswith("No such file or directory\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_on_a_full_disk(run, write):
    done = run("replay", EXPORTERS, "-o", "/dev/full", "--rules", DEMO, "--json")
    assert done.returncode == 1
    assert done.stderr == "/dev/full: error: cannot be written: No space left on device\n"
    # More than any buffer holds: the disk is full before the capture ends.
    records = EXPORTERS.read_bytes()
    long = write("long.pcap", records[:24] + records[24:] * 40)
    done = run("replay", long, "-o", "/dev/full", "--rules", DEMO, "--json")
    assert done.returncode == 1
    assert done.stderr == "/dev/full: error: cannot be written: No space left on device\n"
    ledger(done.stdout)


def test_old_output_is_replaced(run, write):
    out = write("out.pcap", b"x" * 1_000_000)
    assert run("replay", SOFTFLOWD, "-o", out, "--rules", write("rules", ALL_TO_ONE)).returncode == 0
    assert sent(out) == expected(SOFTFLOWD, lambda _: TO_ONE)


# ---- the accounting ----


def ledger(text: str) -> dict[str, Any]:
    """The accounting, of which both ledgers balance."""
    counted: dict[str, Any] = json.loads(text)
    places = ("forwarded", "passed", "punted", "pending")
    assert counted["received"] == sum(counted[place] for place in places) + sum(counted["drops"].values())
    copies = counted["copies"]
    for one in (copies, *counted["collectors"].values()):
        assert one["wanted"] == one["sent"] + one["pending"] + sum(one["drops"].values())
    for field in ("wanted", "sent", "sent_bytes", "pending"):
        assert copies[field] == sum(one[field] for one in counted["collectors"].values())
    causes = sum((Counter(one["drops"]) for one in counted["collectors"].values()), Counter())
    assert dropped(copies) == dict(causes)
    return counted


def dropped(ledger: dict[str, Any]) -> dict[str, int]:
    return {cause: n for cause, n in ledger["drops"].items() if n}


def frames_of(counted: dict[str, Any]) -> tuple[int, int, int, dict[str, int]]:
    return counted["received"], counted["forwarded"], counted["passed"], dropped(counted)


# ---- what scapy makes of the same ----


class Arrived(NamedTuple):
    source: str
    destination: str
    port: int


def expected(path: Path, rule: Callable[[Arrived], Collectors], mac: Callable[[str], str] | None = None) -> Sent:
    """What a capture's datagrams become: `rule` says where each goes, scapy writes it down, checksums included."""
    wholes = put_together(path)
    collectors_of: dict[Key, Collectors] = {}
    found: Sent = []
    for time, frame in records(path):
        part = part_of(Ether(frame))
        collectors = collectors_of[part.key] if part is not None and part.offset > 0 else rule_for(frame, rule)
        if part is not None:
            collectors_of[part.key] = collectors
        whole = None if part is None else wholes[part.key]
        found += [
            (time, bytes(rewritten(frame, address, port, mac or made_up_mac, whole))) for address, port in collectors
        ]
    return found


Key = tuple[str, str, int]  # source, destination, identification


class Part(NamedTuple):
    """A fragment of a UDP datagram; offset: of its first byte."""

    key: Key
    offset: int
    payload: bytes


def part_of(packet: Ether) -> Part | None:
    """None: it is no fragment."""
    if IP in packet and (packet[IP].frag or packet[IP].flags.MF):
        ip = packet[IP]
        return Part((ip.src, ip.dst, ip.id), 8 * ip.frag, bytes(ip.payload)[: ip.len - 4 * ip.ihl])
    if IPv6ExtHdrFragment in packet:
        ip, cut = packet[IPv6], packet[IPv6ExtHdrFragment]
        return Part((ip.src, ip.dst, cut.id), 8 * cut.offset, bytes(cut.payload)[: ip.plen - 8])
    return None


def put_together(path: Path) -> dict[Key, bytes]:
    """UDP header and payload of each datagram that comes in fragments."""
    parts: dict[Key, dict[int, bytes]] = {}
    for _, frame in records(path):
        if (part := part_of(Ether(frame))) is not None:
            parts.setdefault(part.key, {})[part.offset] = part.payload
    return {key: b"".join(of[at] for at in sorted(of)) for key, of in parts.items()}


def rule_for(frame: bytes, rule: Callable[[Arrived], Collectors]) -> Collectors:
    packet = Ether(frame)
    if UDP not in packet:
        return []
    ip, family = (packet[IP], 4) if IP in packet else (packet[IPv6], 6)
    collectors = rule(Arrived(ip.src, ip.dst, packet[UDP].dport))
    return [(address, port) for address, port in collectors if ip_address(address).version == family]


def rewritten(
    frame: bytes, address: str, port: int | None, mac: Callable[[str], str], whole: bytes | None = None
) -> Ether:
    """whole: of a fragment, the datagram that it is of: UDP header and payload."""
    packet = Ether(frame)
    packet.src, packet.dst = OUR_MAC, mac(address)
    if IP in packet:
        packet[IP].dst = address
        packet[IP].ttl -= 1
        del packet[IP].chksum
    else:
        packet[IPv6].dst = address
        packet[IPv6].hlim -= 1
    if UDP not in packet:
        return packet
    if port is not None:
        packet[UDP].dport = port
    if whole is not None:
        packet[UDP].chksum = 0
        summed = bytes(packet[UDP])[:8] + whole[8:]
        if IP in packet:
            packet[UDP].chksum = in4_chksum(17, IP(src=packet[IP].src, dst=address), summed)
        else:
            its = IPv6(src=packet[IPv6].src, dst=address)
            packet[UDP].chksum = in6_chksum(17, its, summed)  # type: ignore[no-untyped-call]
    elif packet[UDP].chksum != 0:
        del packet[UDP].chksum
    return packet


def made_up_mac(address: str) -> str:
    host = ip_address(address)
    return (bytes((2, 0 if host.version == 4 else 1)) + host.packed[-4:]).hex(":")


# ---- capture files ----


def records(path: Path) -> Iterator[tuple[int, bytes]]:
    with RawPcapReader(str(path)) as reader:
        for data, head in reader:
            yield head.sec * 10**9 + head.usec * (1 if reader.nano else 1000), data


def sent(path: Path) -> Sent:
    return list(records(path))


def frames(out: Sent) -> list[bytes]:
    return [frame for _, frame in out]


def pcap(datas: list[bytes]) -> bytes:
    from tests.captures import Frame, pcap_file

    return pcap_file([Frame(0, data, len(data)) for data in datas], resolution="ns")
