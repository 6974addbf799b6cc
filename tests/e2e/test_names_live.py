"""Collectors by name in a gfwd that runs: names that move, servers that fail, and what is said of it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.farm import Farm, by_destination, numbered
from tests.e2e.live import Live, Site, wait_until
from tests.name_server import NameServer

pytestmark = pytest.mark.usefixtures("live_network")

GFWD = [sys.executable, "-m", "gfwd"]
SERVER = "10.1.0.53"
NAME = "flow.example.net"
DNS = f'[dns]\nservers = ["{SERVER}"]\nttl_min = 1\ntimeout = 1\nhosts = false\n'
RULE = """[[rule]]
source = "*"
ports = 514
collectors = [{collectors}]
priority = "A"
"""


class Named:
    """gfwd in a site with a name server, and with a collector's host that has 10.1.0.2, 10.1.0.3 and 10.1.0.4."""

    def __init__(self, site: Site, server: NameServer, folder: Path) -> None:
        self.site, self.server, self.folder = site, server, folder
        self.config = folder / "gfwd.toml"
        self.live: Live

    def write(self, *collectors: str, dns: str = DNS, more: str = "") -> None:
        head = f'control = "{self.folder}/control"\n[ports]\nin = ["xdp:in0"]\nout = ["xdp:out0"]\n'
        names = ", ".join(f'"{one}"' for one in collectors)
        self.config.write_text(head + dns + RULE.format(collectors=names) + more)

    def run(self, *collectors: str, dns: str = DNS, more: str = "", prefix: tuple[str, ...] = ()) -> Live:
        self.write(*collectors, dns=dns, more=more)
        command: list[str | Path] = [*prefix, *GFWD, "run", "-c", self.config, "--json"]
        self.live = self.site.stack.enter_context(Live(command, self.site.us))
        self.live.wait_for("forwarding from")
        return self.live

    def ask(self, *words: str) -> str:
        return subprocess.run([*GFWD, *words, "-c", self.config], capture_output=True, text=True, check=True).stdout

    def name(self) -> dict[str, Any]:
        (found,) = json.loads(self.ask("names", "--json"))
        assert isinstance(found, dict)
        return found

    def drops(self) -> dict[str, int]:
        return {k: v for k, v in json.loads(self.ask("status", "--json"))["copies"]["drops"].items() if v}

    def comes_to(self, payload: bytes, *addresses: str) -> None:
        """Send a datagram, of which each of these gets a copy, and nobody else."""
        collector = self.site.collector
        before = collector.look()
        self.site.sender.sendto(payload, ("10.0.0.1", 514))
        collector.wait_for(before + len(addresses))
        came = [one for one in collector.arrived()[before:] if one.payload == payload]
        assert sorted(one.destination for one in came) == sorted(addresses)


@pytest.fixture
def named(site: Site, tmp_path) -> Iterator[Named]:
    for address in ("10.1.0.3", "10.1.0.4", SERVER, "10.1.0.54"):
        site.near.address("c0", f"{address}/24")
    with NameServer(SERVER, at=site.near, other="10.1.0.54") as server:
        server.zone[NAME] = ["10.1.0.2"]
        # The collector sees what comes to the host from gfwd's own, too.
        yield Named(site, server, tmp_path)


def only_syslog(named: Named) -> None:
    """What goes to the name server is no copy."""
    collector = named.site.collector
    look = collector.look

    def look_without_questions() -> int:
        look()
        collector.frames[:] = [frame for frame in collector.frames if frame[36:38] != (53).to_bytes(2)]
        return len(collector.frames)

    collector.look = look_without_questions  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def no_questions(named: Named) -> None:
    only_syslog(named)


def test_a_name_moves(named):
    """It is said once, names, status and explain know it, and the accounting is one collector's."""
    named.run(NAME)
    named.comes_to(b"one", "10.1.0.2")
    named.server.zone[NAME] = ["10.1.0.3"]
    named.live.wait_for(f"name {NAME}: its address is 10.1.0.3 now, and was 10.1.0.2")
    named.comes_to(b"two", "10.1.0.3")
    its = named.name()
    assert (its["name"], its["state"], its["addresses"], its["error"]) == (NAME, "fresh", ["10.1.0.3"], None)
    assert its["ttl"] <= 1 and its["age"] <= 1 and its["lookups"] >= 2
    assert "10.1.0.3" in named.ask("names") and "10.1.0.3" in named.ask("status")
    told = named.ask("explain", "10.0.0.2:514", "--live")
    assert re.search(rf"sent +to 10\.1\.0\.3:514 +{NAME}\n", told) and f"name {NAME}  answered" in told, told
    ended = named.live.stop()
    account = ended.account()
    assert account["collectors"][NAME]["sent"] == 2
    assert account["destinations"][NAME]["addresses"] == ["10.1.0.3"]
    assert account["names"][NAME]["state"] == "fresh"
    assert ended.said.count(f"name {NAME}:") == 2, ended.said


def has_been_asked(server: NameServer, number: int) -> bool:
    return server.asked[NAME] > number


def test_round_robin_moves_nothing(named):
    """The server gives the same addresses in another order each time."""
    named.server.zone[NAME] = ["10.1.0.3", "10.1.0.2", "10.1.0.4"]
    named.run(NAME)
    first = named.name()["addresses"][0]
    for n in range(5):
        asked = named.server.asked[NAME]
        wait_until(partial(has_been_asked, named.server, asked + 2))
        named.comes_to(b"%d" % n, first)
    named.server.zone[NAME].remove(first)
    named.live.wait_for(f"and was {first}, ")
    assert named.name()["addresses"][0] != first
    assert named.live.stop().said.count(f"name {NAME}:") == 2


def test_all_addresses_get_copies(named):
    named.server.zone[NAME] = ["10.1.0.2", "10.1.0.3"]
    named.run("flow", more=f'[collector.flow]\nhost = "{NAME}"\nresolve = "all"\n')
    named.comes_to(b"one", "10.1.0.2", "10.1.0.3")
    named.server.zone[NAME] = ["10.1.0.3", "10.1.0.4"]
    named.live.wait_for("its address is 10.1.0.3, 10.1.0.4 now")
    named.comes_to(b"two", "10.1.0.3", "10.1.0.4")
    told = named.ask("explain", "10.0.0.2:514", "--live")
    assert re.search(r"sent +to 10\.1\.0\.3:514 ", told) and re.search(r"sent +to 10\.1\.0\.4:514 ", told), told
    assert named.live.stop().account()["collectors"]["flow"]["sent"] == 4


def test_all_addresses_are_members_of_a_group(named):
    named.server.zone[NAME] = ["10.1.0.2", "10.1.0.3"]
    group = f'[collector.flow]\nhost = "{NAME}"\nresolve = "all"\n'
    group += '[group.farm]\nmembers = ["flow", "10.1.0.4"]\nbalance = "round-robin"\n'
    named.run("farm", more=group)
    for n in range(6):
        before = named.site.collector.look()
        named.site.sender.sendto(b"%d" % n, ("10.0.0.1", 514))
        named.site.collector.wait_for(before + 1)
    came = by_destination(named.site.collector.arrived())
    assert came == {"10.1.0.2": 2, "10.1.0.3": 2, "10.1.0.4": 2}
    named.live.stop()


def test_a_start_with_a_name_that_nobody_knows(named):
    """The others get their copies meanwhile, and it does once there is an answer."""
    named.server.mode = "servfail"
    named.run(NAME, "10.1.0.4")
    named.live.wait_for(f"name {NAME}: warning: SERVFAIL ({SERVER}); it has no address, so its copies are dropped")
    named.comes_to(b"one", "10.1.0.4")
    wait_until(lambda: named.drops() == {"no_collector": 1}, lambda: str(named.drops()))
    assert named.name()["state"] == "asking"
    told = named.ask("explain", "10.0.0.2:514", "--live")
    assert re.search(rf"no copy +to {NAME} +SERVFAIL", told), told
    named.server.mode = "answer"
    named.live.wait_for(f"name {NAME}: its address is 10.1.0.2")
    named.comes_to(b"two", "10.1.0.2", "10.1.0.4")
    assert named.live.stop().drops(NAME) == {"no_collector": 1}


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("servfail", "SERVFAIL"),
        ("refused", "REFUSED"),
        ("silence", "no answer in 1 s"),
        ("wrong_id", "no answer in 1 s, but 2 datagrams that are none"),
        ("wrong_question", "no answer in 1 s, but 2 datagrams that are none"),
        ("wrong_source", "no answer in 1 s"),
        ("garbage", "no answer in 1 s, but 8 datagrams that are none"),
        ("cut", "no answer in 1 s, but 2 datagrams that are none"),
    ],
)
def test_what_was_answered_last_stays(named, mode, why):
    named.run(NAME)
    named.comes_to(b"one", "10.1.0.2")
    named.server.zone[NAME] = ["10.1.0.3"]  # nobody may learn of it
    named.server.mode = mode
    named.live.wait_for(f"name {NAME}: warning: {why} ({SERVER}); 10.1.0.2 stays, from an answer ")
    named.live.wait_for(f"name {NAME}: warning: its last answer is ")
    named.comes_to(b"two", "10.1.0.2")
    wait_until(lambda: named.name()["age"] >= 3)
    its = named.name()
    assert (its["state"], its["addresses"], its["ttl"]) == ("stale", ["10.1.0.2"], 0)
    assert why in its["error"]
    named.server.mode = "answer"
    named.live.wait_for(f"name {NAME}: there are answers again", "10.1.0.3 now, and was 10.1.0.2")
    named.comes_to(b"three", "10.1.0.3")
    ended = named.live.stop()
    assert ended.said.count(f"name {NAME}: warning") == 2, ended.said
    assert ended.drops("copies") == {}


def test_a_name_that_is_gone_stays_as_long_as_it_may(named):
    named.run(NAME, dns=DNS + "max_stale = 1\n")
    named.comes_to(b"one", "10.1.0.2")
    del named.server.zone[NAME]
    named.live.wait_for("there is no such name (NXDOMAIN); 10.1.0.2 stays")
    named.live.wait_for("its last answer is older than max_stale allows")
    wait_until(lambda: (named.name()["state"], named.name()["addresses"]) == ("gone", []))
    named.site.sender.sendto(b"two", ("10.0.0.1", 514))
    wait_until(lambda: named.drops() == {"no_collector": 1}, lambda: str(named.drops()))
    named.server.zone[NAME] = ["10.1.0.2"]
    named.live.wait_for("there are answers again")
    wait_until(lambda: named.name()["state"] == "fresh")
    named.comes_to(b"three", "10.1.0.2")
    named.live.stop()


def test_a_name_that_points_at_gfwd(named):
    named.run(NAME)
    named.comes_to(b"one", "10.1.0.2")
    named.server.zone[NAME] = ["10.0.0.1"]
    named.live.wait_for(f"name {NAME}: warning: 10.0.0.1 is not used: that is gfwd's own address")
    named.live.wait_for("would come back; 10.1.0.2 stays")
    named.comes_to(b"two", "10.1.0.2")
    named.server.zone[NAME] = ["10.0.0.1", "10.1.0.3", "127.0.0.1"]
    named.live.wait_for("its address is 10.1.0.3 now")
    named.comes_to(b"three", "10.1.0.3")
    named.live.stop()


def test_after_truncation_by_tcp(named):
    named.server.mode = "truncated"
    named.run(NAME)
    named.comes_to(b"one", "10.1.0.2")
    assert named.server.asked["tcp"] >= 2
    named.live.stop()


def test_a_reload_refuses_a_name_that_is_none(named):
    """What nobody can say now is another thing: it is taken, and said."""
    named.run(NAME)
    named.write("nobody.example.net")
    done = subprocess.run([*GFWD, "reload", "-c", named.config], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "error: collector nobody.example.net: there is no such name (NXDOMAIN)" in done.stderr
    named.comes_to(b"one", "10.1.0.2")
    named.server.mode = "servfail"
    named.write("nobody.example.net", "10.1.0.4")
    named.ask("reload")
    named.live.wait_for("name nobody.example.net: warning: SERVFAIL")
    named.comes_to(b"two", "10.1.0.4")
    named.server.zone["nobody.example.net"] = ["10.1.0.3"]
    named.server.mode = "answer"
    named.live.wait_for("name nobody.example.net: its address is 10.1.0.3")
    named.comes_to(b"three", "10.1.0.3", "10.1.0.4")
    named.live.stop()


def test_a_reload_asks_anew(named):
    named.server.ttl = 3_600
    named.run(NAME)
    named.comes_to(b"one", "10.1.0.2")
    named.server.zone[NAME] = ["10.1.0.3"]
    named.live.send(signal.SIGHUP)
    named.live.wait_for("its address is 10.1.0.3 now")
    named.comes_to(b"two", "10.1.0.3")
    named.live.stop()


def test_resolv_conf_and_the_hosts_file_are_followed(named):
    """In a mount namespace, with files of its own in /etc."""
    for program in ("unshare", "mount"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}, which is not installed")
    conf, hosts = named.folder / "resolv.conf", named.folder / "hosts"
    conf.write_text("nameserver 10.1.0.99\noptions timeout:1 attempts:1\n")
    hosts.write_text("127.0.0.1 localhost\n")
    script = f'mount --bind {conf} /etc/resolv.conf && mount --bind {hosts} /etc/hosts && exec "$@"'
    try:
        subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", "true"], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs mount namespaces: {error.stderr}")
    prefix = ("unshare", "--mount", "sh", "-c", script, "sh")
    named.run(NAME, "10.1.0.4", dns="[dns]\nttl_min = 1\n", prefix=prefix)
    named.comes_to(b"one", "10.1.0.4")
    conf.write_text(f"nameserver {SERVER}\n")
    named.live.wait_for(f"names are asked of {SERVER} from now on", f"name {NAME}: its address is 10.1.0.2")
    named.comes_to(b"two", "10.1.0.2", "10.1.0.4")
    hosts.write_text(f"127.0.0.1 localhost\n10.1.0.3 {NAME}\n")
    named.live.wait_for("its address is 10.1.0.3 now, and was 10.1.0.2")
    named.comes_to(b"three", "10.1.0.3", "10.1.0.4")
    named.live.stop()


def test_a_neighbour_that_does_not_answer_holds_up_the_switch_for_a_while(named):
    """Copies go where they went until it is known."""
    named.run(NAME)
    named.comes_to(b"one", "10.1.0.2")
    named.server.zone[NAME] = ["10.1.0.77"]
    named.live.wait_for("its address is 10.1.0.77 now")
    named.live.stop()


def test_a_name_that_moves_under_load(gfwd, farm: Farm):
    """Each datagram comes once, at the old or at the new address, whatever happens to the name meanwhile."""
    farm.near.address("c0", f"{SERVER}/24")
    sources = ["10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.4"]
    with NameServer(SERVER, at=farm.near) as server:
        server.zone[NAME] = ["10.1.0.2"]
        look = farm.collector.look

        def look_without_questions() -> int:
            look()
            farm.collector.frames[:] = [its for its in farm.collector.frames if its[36:38] != (53).to_bytes(2)]
            return len(farm.collector.frames)

        farm.collector.look = look_without_questions  # type: ignore[method-assign]
        farm.run(DNS + RULE.format(collectors=f'"{NAME}"'))
        places = ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5"]
        seen: list[str] = []
        for round_, place in enumerate([*places[1:], *places] * 2):
            server.zone[NAME] = [place]
            moved = f"its address is {place} now"
            before = farm.gfwd.live.said().count(moved)
            part = 0
            while farm.gfwd.live.said().count(moved) == before:
                assert part < 200
                batch = [
                    one._replace(payload=b"%d/%d/%s" % (round_, part, one.payload)) for one in numbered(sources, 200)
                ]
                came = farm.exchange(batch)
                assert sorted(one.payload for one in came) == sorted(one.payload for one in batch)
                seen += [one.destination for one in came]
                part += 1
            came = farm.exchange(numbered(sources, 20))
            assert {one.destination for one in came} == {place}
        assert set(seen) <= {*places}
    account = farm.ended()
    assert account["copies"]["drops"] == dict.fromkeys(account["copies"]["drops"], 0)
    assert account["copies"]["sent"] == farm.sent
