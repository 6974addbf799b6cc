"""The service for real: the package installed in a copy of this host, under a systemd of its own, between real wires.

The copy is an overlay that is thrown away, and systemd is the first process of namespaces that end with it. Nothing of
this host's own services is in it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.live import Live, Site, require, wait_until, xdp_programs
from tests.e2e.test_binary import BINARY, is_current
from tests.packaging.conftest import ROOT

SECONDS = 120
WATCHDOG_S = 6
# With some of what a unit can forbid: a CPU, a log in a file, raw sockets for ping, a listener.
TOML = f"""\
control = "/run/gfwd/control"
cpus = [{min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0}]
[ports]
in = ["xdp:in0"]
out = ["xdp:out0"]
[log]
to = "/var/log/gfwd/gfwd.log"
[listeners]
metrics = "127.0.0.1:9055"
[collector.near]
host = "10.1.0.2"
check = "icmp"
interval = 1
[[rule]]
source = "*"
ports = 514
collectors = ["near"]
priority = "A"
"""
# systemd keeps its own tree of control groups below this one; the other units of this host are not to be started.
BOOT = """
set -e
room=$1 package=$2 group=$3
for mount in $(awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts); do
    mkdir "$mount/$group"
    for key in cpuset.cpus cpuset.mems; do
        [ ! -e "$mount/$group/$key" ] || cat "$mount/$key" >"$mount/$group/$key" 2>/dev/null || true
    done
    echo $$ >"$mount/$group/cgroup.procs"
done
exec unshare --mount --pid --fork --kill-child --uts --ipc --cgroup --propagation private sh -ec '
    room=$1 package=$2
    mount -t tmpfs tmpfs "$room"
    mkdir "$room/upper" "$room/work" "$room/root"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$room/upper,workdir=$room/work" "$room/root"
    cd "$room/root"
    mount -t proc proc proc
    mount -t sysfs -o ro sysfs sys
    mount -t tmpfs -o mode=755 tmpfs run
    mount -t tmpfs -o mode=755 tmpfs dev
    for one in null zero full random urandom tty; do touch dev/$one; mount --bind /dev/$one dev/$one; done
    ln -s pts/ptmx dev/ptmx
    mkdir dev/pts dev/shm
    if grep -q "^[^ ]* /sys/fs/cgroup cgroup2" /proc/mounts; then
        mount -t cgroup2 cgroup2 sys/fs/cgroup
    else
        mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
        mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
        mount -t cgroup -o none,name=systemd,xattr cgroup sys/fs/cgroup/systemd
        mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
    fi
    cp "$package" gfwd.deb
    rm -rf etc/systemd/system/*.wants lib/systemd/system/*.wants
    chroot . dpkg --force-depends -i /gfwd.deb >/dev/null
    printf "[Unit]\\nDescription=no more than this\\n" >etc/systemd/system/test.target
    mkdir old
    pivot_root . old
    umount -l old
    exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=test.target \\
        --log-target=console --log-level=warning
' sh "$room" "$package"
"""


class Machine:
    """systemd, and gfwd's package in it, in the place of gfwd in a site."""

    def __init__(self, site: Site, package: Path, room: Path) -> None:
        self.group = f"gfwd-test-{os.getpid()}"
        self._live = site.stack.enter_context(Live(["sh", "-c", BOOT, "sh", room, package, self.group], site.us))
        with suppress(AssertionError):
            wait_until(lambda: self._is_up() or self._live.process.poll() is not None)
        if not self._is_up():
            said = self._live.said()
            self.close()
            pytest.skip(f"systemd cannot be started in namespaces here: {said}")

    def _is_up(self) -> bool:
        return self("systemctl is-active test.target").stdout == "active\n"

    def __call__(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run this there, as root."""
        pid = self._live.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        except OSError:  # it has ended
            children = []
        command = ["nsenter", "-t", (children or ["0"])[0], "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        return subprocess.run(
            [*command, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c", script],
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip

    def show(self, name: str) -> str:
        """What systemd says of the service."""
        return self(f"systemctl show gfwd -p {name} --value").stdout.strip()

    def write(self, path: str, text: str) -> None:
        assert self(f"mkdir -p $(dirname {path}) && cat > {path} <<'_END_'\n{text}_END_").returncode == 0

    def close(self) -> None:
        """The first process takes all others with it, and the kernel what was mounted."""
        self._live.kill()
        for mount in Path("/proc/mounts").read_text("utf-8").splitlines():
            _, place, kind, *_ = mount.split()
            group = Path(place) / self.group
            if kind in ("cgroup", "cgroup2") and group.is_dir():
                wait_until(partial(remove, group))


def remove(group: Path) -> bool:
    """A control group, with all below it; False: something in it has not ended yet."""
    try:
        for folder, _, _ in os.walk(group, topdown=False):
            os.rmdir(folder)
    except OSError:
        return False
    return True


@pytest.fixture
def site(tmp_path) -> Iterator[Site]:
    require()
    with Site([], tmp_path) as made:
        yield made


@pytest.fixture
def machine(site, request, tmp_path) -> Iterator[Machine]:
    given = request.config.getoption("--gfwd", None)
    binary = Path(given) if given else BINARY
    if not given and not is_current():
        pytest.skip("no single binary of these sources; make binary makes one")
    for program in ("/lib/systemd/systemd", "/usr/bin/dpkg", "/usr/bin/nsenter"):
        if not Path(program).exists():
            pytest.skip(f"needs {program}")
    if binary.read_bytes()[:4] != b"\x7fELF":
        pytest.skip("needs the single binary: sources lie where a service may not read")
    command = [sys.executable, ROOT / "build" / "deb.py", "--binary", binary, "--out", tmp_path]
    package = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True).stdout.strip()
    room = tmp_path / "room"
    room.mkdir()
    made = Machine(site, Path(package), room)
    try:
        made.write(
            "/etc/systemd/system/gfwd.service.d/quick.conf", f"[Service]\nWatchdogSec={WATCHDOG_S}\nRestartSec=1\n"
        )
        if subprocess.run(["sh", "-c", "ulimit -l unlimited"], capture_output=True, check=False).returncode != 0:
            # In place of the unit's LimitMEMLOCK: this machine does not let it be raised.
            lock = "[Service]\nAmbientCapabilities=CAP_IPC_LOCK\nCapabilityBoundingSet=CAP_IPC_LOCK\n"
            made.write("/etc/systemd/system/gfwd.service.d/lock.conf", lock)
        made("systemctl daemon-reload")
        yield made
    finally:
        made.close()
        shutil.rmtree(room, ignore_errors=True)


def test_a_service_from_start_to_end(site, machine):
    # Without a configuration nothing starts, and that is no failure.
    assert machine("systemctl start gfwd").returncode == 0
    assert machine.show("ActiveState") == "inactive"

    # A bad one is refused, once and for all: trying again would not mend it.
    machine.write("/etc/gfwd/gfwd.toml", "nonsense = 1\n")
    assert machine("systemctl start gfwd").returncode != 0
    assert (machine.show("ActiveState"), machine.show("NRestarts")) == ("failed", "0")

    machine.write("/etc/gfwd/gfwd.toml", TOML)
    done = machine("systemctl start gfwd")
    assert done.returncode == 0, done.stderr + machine("systemctl status gfwd").stdout
    assert site.forwards(b"as soon as it was started")
    assert machine.show("StatusText").startswith("forwarding from xdp:in0")

    # What it may, and nothing else.
    about = machine("cat /proc/$(systemctl show gfwd -p MainPID --value)/status").stdout
    assert "NoNewPrivs:\t1" in about and "Seccomp:\t2" in about and "Uid:\t0" not in about

    ask = "gfwd status -c /etc/gfwd/gfwd.toml --json"
    wait_until(lambda: json.loads(machine(ask).stdout)["health"]["near"]["state"] == "up", lambda: machine(ask).stdout)
    said = machine("cat /var/log/gfwd/gfwd.log").stdout
    assert "forwarding from xdp:in0" in said and "error" not in said

    # Reload: taken, and refused.
    pid = machine.show("MainPID")
    machine.write("/etc/gfwd/gfwd.toml", TOML.replace("= 514", '= "514,515"'))
    assert machine("systemctl reload gfwd").returncode == 0
    assert "reloaded" in machine.show("StatusText")
    machine.write("/etc/gfwd/gfwd.toml", "nonsense = 1\n" + TOML)
    assert machine("systemctl reload gfwd").returncode != 0
    assert machine.show("StatusText").startswith("not reloaded: /etc/gfwd/gfwd.toml:1:1: error: ")
    assert (machine.show("ActiveState"), machine.show("MainPID")) == ("active", pid)
    assert site.forwards(b"by the old one")
    machine.write("/etc/gfwd/gfwd.toml", TOML)

    # The watchdog lets it live while it does, and starts another one where it hangs.
    wait_until(lambda: int(machine.show("WatchdogTimestampMonotonic")) > 0)
    machine(f"systemctl kill -s {signal.SIGSTOP.value} --kill-whom=main gfwd")
    wait_until(lambda: machine.show("NRestarts") == "1" and machine.show("ActiveState") == "active")
    assert machine.show("MainPID") != pid
    site.wait_until_it_forwards(b"by another one")

    # Stop: the kernel has all back, and nothing is left.
    assert machine("systemctl stop gfwd").returncode == 0
    assert machine.show("Result") == "success"
    assert xdp_programs(site.us, "in0") == 0
    assert machine("ls -A /run/gfwd /var/cache/gfwd").stdout.split() == ["/run/gfwd:", "/var/cache/gfwd:"]


def test_an_upgrade(site, machine):
    """The same package again, which is all that dpkg's scripts see of another one."""
    install = "dpkg --force-depends -i /gfwd.deb"
    machine("rm -f /usr/sbin/policy-rc.d")  # of containers: no package is to start anything
    machine.write("/etc/gfwd/gfwd.toml", TOML)
    assert machine("systemctl start gfwd").returncode == 0
    pid = machine.show("MainPID")

    # Where nothing may be run from /tmp, too.
    machine("mount -t tmpfs -o noexec tmpfs /tmp")
    done = machine(install)
    assert (done.returncode, "warning: this" in done.stderr) == (0, False), done.stderr
    assert machine.show("ActiveState") == "active"
    assert machine.show("MainPID") != pid
    site.wait_until_it_forwards(b"by the new one")

    # A configuration that it refuses: the old one runs on.
    pid = machine.show("MainPID")
    machine.write("/etc/gfwd/gfwd.toml", "nonsense = 1\n")
    done = machine(install)
    assert done.returncode == 0
    assert "/etc/gfwd/gfwd.toml:1:1: error: " in done.stderr
    assert "warning: this version refuses /etc/gfwd/gfwd.toml" in done.stderr
    assert machine.show("MainPID") == pid
    assert site.forwards(b"by the old one")

    # That file is none of its concern where a drop-in names another one.
    machine.write("/etc/other.toml", TOML)
    machine.write(
        "/etc/systemd/system/gfwd.service.d/other.conf",
        "[Unit]\nConditionPathExists=\nConditionPathExists=/etc/other.toml\n"
        "[Service]\nExecStart=\nExecStart=/usr/sbin/gfwd run -c /etc/other.toml\n"
        "ExecReload=\nExecReload=/usr/sbin/gfwd reload -c /etc/other.toml\n",
    )
    assert machine("systemctl daemon-reload && rm /etc/gfwd/gfwd.toml && systemctl restart gfwd").returncode == 0
    pid = machine.show("MainPID")
    done = machine(install)
    assert (done.returncode, "warning: this" in done.stderr) == (0, False), done.stderr
    assert machine.show("MainPID") != pid
    assert machine("systemctl reload gfwd").returncode == 0

    # What cannot start now is no fault of the package, which is installed.
    machine.write("/etc/other.toml", TOML.replace("xdp:in0", "xdp:none0"))
    done = machine(install)
    assert done.returncode == 0
    assert "warning: this version does not start" in done.stderr
    assert "ok installed" in machine("dpkg -s gfwd").stdout
    assert machine("systemctl stop gfwd").returncode == 0
