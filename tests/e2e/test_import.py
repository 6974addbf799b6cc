"""gfwd import: rules on stdout, remarks on stderr, and rules that gfwd takes."""

import json
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden" / "import"


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("samplicator", "samplicator.conf"),
        ("pmacct", "nfacctd.conf"),
        ("pmacct", "sfacctd.conf"),
        ("nfcapd", "nfcapd.service"),
    ],
)
def test_a_configuration(run, write, program, name):
    golden = GOLDEN / name
    done = run("import", program, name, cwd=GOLDEN)
    assert (done.returncode, done.stdout) == (1, golden.with_suffix(".ok").read_text())
    assert done.stderr == golden.with_suffix(".warn").read_text()
    assert run("check", "--rules", write("rules", done.stdout)).returncode == 0


def test_all_of_it_was_turned(run, write):
    config = write("s.conf", "10.0.0.0/8: 192.0.2.1/2055\n")
    done = run("import", "samplicator", config, "--port", "2055,9995")
    assert (done.returncode, done.stdout) == (0, f"# {config}:1\n10.0.0.0/8  2055,9995  192.0.2.1:2055  A\n")
    assert done.stderr.startswith(f"{config}:1: note: samplicate without -S ")
    done = run("import", "samplicator", f"samplicate -S -c {config} -p 9")
    assert (done.returncode, done.stderr) == (0, "")
    done = run("import", "nfcapd", "nfcapd -A -p 2055 -R 192.0.2.1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "# command line:1\ndefault  2055  192.0.2.1:9995\n", "")


def test_bad_input(run, write):
    config = write("s.conf", b"10.0.0.1 192.0.2.1\n\xff\0\n")
    done = run("import", "samplicator", config)
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.partition(": error: ")[0] for line in done.stderr.splitlines()] == [f"{config}:1", f"{config}:2"]
    for program in ("samplicator", "pmacct", "nfcapd"):
        done = run("import", program, "/none")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "/none: error: cannot read the configuration: No such file or directory\n"
    done = run("import", "other", config)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ")


def test_nothing_could_be_turned(run, write):
    done = run("import", "samplicator", write("s.conf", "10.0.0.0/8: 127.0.0.1\n"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(": error: nothing in it could be turned into a rule\n")


def test_import_for_scripts(run, write):
    config = write("s.conf", "10.0.0.0/8: 192.0.2.1/2055/10\n0.0.0.0/0: 192.0.2.2\n")
    done = run("import", "samplicator", config, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    outcome = json.loads(done.stdout)
    places = [f"{config}:2", f"{config}:1"]
    assert outcome["rules"] == [
        {"source": "*", "ports": "2000", "collectors": ["192.0.2.2:2000"], "priority": None, "from": places[:1]},
        {"source": "10.0.0.0/8", "ports": "2000", "collectors": ["192.0.2.2:2000", "192.0.2.1:2055"], "priority": "A",
         "from": places},
    ]  # fmt: skip
    assert [(remark["line"], remark["kind"]) for remark in outcome["remarks"]] == [
        (1, "note"),
        (1, "note"),
        (1, "warning"),
    ]
    done = run("import", "samplicator", write("bad", "x"), "--json")
    assert (done.returncode, json.loads(done.stdout)["rules"]) == (2, None)
