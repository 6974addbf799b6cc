"""Imports and #includes point one way.

Python: cli → daemon → {rules, config, plan, dns, l2, netflow, metrics, health} → native/core.py → C.
C: worker → {parse, match, rewrite, transmit, neigh, stats, ring} → port.h ← port_*.c.

The two tables are the rule. Whoever adds a file puts it in a table; whoever wants a new edge argues for it there.
"""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A module or package of gfwd → what it may import: modules, or packages with all that is in them.
# Everything may import what is in its own package, gfwd itself (for the version), errors and system.
MIDDLE = {"rules", "config", "imports", "plan", "dns", "l2", "netflow", "metrics", "health"}
PYTHON: dict[str, set[str]] = {
    "__main__": {"cli"},
    "cli": {"daemon", "native._built", *MIDDLE},
    "daemon": {*MIDDLE, "native.core"},
    "rules": set(),
    "config": {"rules"},
    "imports": {"rules"},
    "plan": {"rules.levels", "rules.model", "rules.space", "native.core"},
    "dns": {"rules.model"},
    "l2": {"rules.model"},
    "health": {"rules.model"},
    "netflow": set(),
    "metrics": {"native.core"},
    "native.core": {"native._core"},
    "native._core": set(),  # the compiled module
    "native._built": set(),  # what it was built with
    "native.__init__": set(),
    "errors": set(),
    "system": set(),
    "__init__": set(),
}
FOR_ALL_PYTHON = {"__init__", "errors", "system"}

# A C file without its ending → what its .c and .h may include. Everything may include its own header, fw.h and bytes.h.
# What a port is made of knows nothing of the packet's way, and the way knows of ports only what port.h says.
WAY = {"parse", "match", "rewrite", "transmit", "neigh", "stats", "streams", "unknown", "ring", "plan", "port"}
PORTS = {"port_mem", "port_netmap", "port_pcap", "port_xdp"}
C: dict[str, set[str]] = {
    "bench": {"core", "worker", "port", "port_mem"},
    "core": {"worker", "region", *WAY, *PORTS},
    "core_ports": {"core", *PORTS},
    "core_io": {"core", "port_xdp"},
    "worker": WAY,
    "transmit": {"transmitter", "burst", "choose", "pace", "punt", "tap"},
    "tap": {"burst", "sample"},
    "transmit_fragments": {"burst"},
    "transmit_later": {"transmit"},
    "copy": {"burst", "pace", "punt", "sample"},
    "burst": {"transmitter"},
    "punt": {"transmitter"},
    "transmitter": {
        "egress",
        "fragment",
        "match",
        "neigh",
        "stats",
        "unknown",
        "ring",
        "clock",
        "parse",
        "plan",
        "port",
    },
    "egress": {"translate", "rewrite", "parse", "plan", "port"},
    "egress_other": {"egress"},
    "translate": {"rewrite", "parse", "plan", "port"},
    "fragment": {"neigh", "stats", "pool", "clock", "parse", "plan", "port"},
    "neigh": {"ring", "pool", "parse", "plan", "port"},
    "pool": set(),
    "rewrite": {"parse", "plan", "port", "checksum"},
    "match": {"loop", "parse", "plan", "port"},
    "loop": {"parse", "plan", "port"},
    "choose": {"parse", "plan", "port"},
    "clock": {"port"},
    "pace": set(),
    "sample": set(),
    "parse": {"plan", "port", "checksum"},
    "plan": set(),
    "stats": {"plan"},
    "streams": {"exported", "sequence", "seqlock", "clock", "parse", "plan", "ring", "port"},
    "exported": {"sequence", "parse", "plan", "port"},
    "sequence": set(),
    "seqlock": set(),
    "unknown": {"seqlock", "parse", "plan", "port"},
    "ring": set(),
    "port_mem": {"port", "nmring", "region"},
    "port_pcap": {"port", "nmring", "region", "pcap_file"},
    "port_netmap": {"port", "nmring", "netmap_name", "netmap_system"},
    "netmap_name": set(),
    "netmap_system": set(),
    "port_xdp": {"plan", "port", "xsk", "redirector"},
    "port_xdp_none": {"port_xdp"},
    "redirector": {"plan", "bpf", "redirect", "redirect_bpf"},
    "redirect_bpf": set(),  # the compiled program, made by build/bpf.py
    "redirect.bpf": {"redirect"},
    "redirect": set(),
    "xsk": set(),
    "bpf": set(),
    "nmring": {"port"},
    "pcap_file": set(),
    "region": {"port"},
    "port": set(),
    "checksum": set(),
    "bytes": set(),
    "fw": {"fw_abi"},
    "fw_abi": set(),
}
FOR_ALL_C = {"fw", "bytes"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)


def entry(module: str) -> str | None:
    """The line of PYTHON that a module (rules.model, cli.__init__) falls under."""
    parts = module.split(".")
    prefixes = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in PYTHON), None)


def is_module(name: str) -> bool:
    path = ROOT.joinpath("gfwd", *name.split("."))
    return name in PYTHON.keys() | set().union(*PYTHON.values()) or path.is_dir() or path.with_suffix(".py").is_file()


def imports(module: str, text: str) -> Iterator[str]:
    """The modules of gfwd that a module imports, wherever in it and however."""
    package = ["gfwd", *module.split(".")[:-1]]
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *filter(None, [node.module])])
            inside = base.removeprefix("gfwd").lstrip(".")
            for alias in node.names:
                name = f"{inside}.{alias.name}".lstrip(".")
                names.append(f"gfwd.{name}" if base.split(".")[0] == "gfwd" and is_module(name) else base)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module"):
            yield "a name made at run time, which neither this test nor a frozen binary can follow"
        for name in names:
            if name == "gfwd":
                yield "__init__"
            elif name.startswith("gfwd."):
                yield name.removeprefix("gfwd.")


def python_violations(path: str, text: str) -> list[str]:
    module = path.removeprefix("gfwd/").removesuffix(".py").replace("/", ".")
    own = entry(module)
    if own is None:
        return [f"{path}: put it in the table PYTHON of {Path(__file__).name}"]
    allowed = PYTHON[own] | FOR_ALL_PYTHON | {own}
    return [
        f"{path}: {own} must not import {target}"
        for target in imports(module, text)
        if not any(f"{target}.".startswith(f"{name}.") for name in allowed)
    ]


def c_violations(path: str, text: str) -> list[str]:
    own = Path(path).stem
    if own not in C:
        return [f"{path}: put it in the table C of {Path(__file__).name}"]
    allowed = {f"{name}.h" for name in C[own] | {own} | (FOR_ALL_C if own not in FOR_ALL_C | C["fw"] else set())}
    return [f"{path}: must not include {name}" for name in INCLUDE.findall(text) if name not in allowed]


def sources(*suffixes: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "gfwd").rglob("*") if path.suffix in suffixes)


def test_python_imports_point_one_way():
    paths = sources(".py")
    assert paths
    assert [line for path in paths for line in python_violations(path, (ROOT / path).read_text("utf-8"))] == []


def test_c_includes_point_one_way():
    paths = sources(".c", ".h")
    assert paths
    assert [line for path in paths for line in c_violations(path, (ROOT / path).read_text("utf-8"))] == []


@pytest.mark.parametrize("table", [PYTHON, C])
def test_tables_have_no_way_round(table):
    packages = {name: {target if target in table else entry(target) for target in table[name]} for name in table}
    TopologicalSorter(packages).prepare()  # raises CycleError


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("gfwd/rules/new.py", "from gfwd.plan import builder"),
        ("gfwd/rules/new.py", "from gfwd import plan"),
        ("gfwd/rules/new.py", "from ..plan import builder"),
        ("gfwd/rules/new.py", "from .. import plan"),
        ("gfwd/rules/__init__.py", "import gfwd.daemon.reload as reload"),
        ("gfwd/rules/new.py", "def late():\n    import gfwd.l2.arp"),
        ("gfwd/plan/new.py", "from gfwd.rules import classic"),
        ("gfwd/plan/new.py", "from gfwd.rules.classic import read"),
        ("gfwd/daemon/new.py", "from gfwd.native._core import lib"),
        ("gfwd/daemon/new.py", "from gfwd.native import _core"),
        ("gfwd/daemon/new.py", "from gfwd.cli import main"),
        ("gfwd/daemon/new.py", "import importlib\nimportlib.import_module('gfwd.cli')"),
        ("gfwd/cli/new.py", "from gfwd.native import core"),
        ("gfwd/errors.py", "import gfwd.rules"),
        ("gfwd/new/new.py", ""),
        ("gfwd/native/new.py", ""),
    ],
)
def test_a_wrong_import_is_found(path, text):
    assert len(python_violations(path, text)) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "gfwd/rules/new.py",
            "import os\nfrom gfwd.rules.model import Rule\nfrom . import model\nfrom .model import Rule",
        ),
        ("gfwd/rules/new.py", "from gfwd.errors import ConfigError\nfrom gfwd import errors, __version__"),
        ("gfwd/plan/new.py", "from gfwd.rules import model\nfrom gfwd.rules.model import Rule"),
        ("gfwd/daemon/new.py", "from gfwd.native import core\nfrom gfwd.native.core import Core"),
        (
            "gfwd/native/core.py",
            "from gfwd.native._core import ffi, lib\nfrom gfwd.native import _core\nfrom . import _core",
        ),
        ("gfwd/cli/__init__.py", "from gfwd.cli import run\nfrom . import run\nfrom .run import main"),
        ("gfwd/__main__.py", "from gfwd.cli import main"),
    ],
)
def test_a_right_import_is_left_alone(path, text):
    assert python_violations(path, text) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("gfwd/native/parse.c", '#include "parse.h"\n#include "match.h"\n'),
        ("gfwd/native/port_mem.c", '  #  include "worker.h"\n'),
        ("gfwd/native/match.h", '#include "port_mem.h"\n'),
        ("gfwd/native/fw_abi.h", '#include "fw.h"\n'),
        ("gfwd/native/parse.c", '#include "../native/match.h"\n'),
        ("gfwd/native/new.c", ""),
    ],
)
def test_a_wrong_include_is_found(path, text):
    assert len(c_violations(path, text)) == 1
