"""gfwd explain and gfwd diff as a user types them, and as docs/rules.md says they answer."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.captures import all_captures
from tests.e2e.conftest import ROOT
from tests.e2e.test_replay import DATA, DEMO, EXPORTERS, frames, sent

RULES_PAGE = ROOT / "docs" / "rules.md"
BLOCK = re.compile(r"(?m)(?:^    .*\n)+(?:\n(?:^    .*\n)+)*")  # indented, with empty lines between


# ---- the page ----


def blocks() -> list[str]:
    return [re.sub("(?m)^    ", "", block) for block in BLOCK.findall(RULES_PAGE.read_text())]


def examples() -> Iterator[tuple[str, str]]:
    """The commands in the page, and what they print."""
    for block in blocks():
        if block.startswith("$ gfwd "):
            command, _, answer = block.partition("\n")
            yield command.removeprefix("$ gfwd "), answer


@pytest.fixture
def page_rules(tmp_path):
    """site.rules and site.toml of the page; new.rules: without line 4; new.toml: without the exception."""
    (text,) = (block for block in blocks() if "default          162" in block)
    lines = text.splitlines(keepends=True)
    (tmp_path / "site.rules").write_text(text)
    (tmp_path / "new.rules").write_text("".join(lines[:3] + lines[4:]))
    (text,) = (block for block in blocks() if "[collector.archive]" in block)
    (tmp_path / "site.toml").write_text(text)
    (tmp_path / "new.toml").write_text(text.replace('except = ["10.2.2.0/24"]\n', ""))
    return tmp_path


def test_the_page_has_its_examples():
    assert Counter(command.split()[0] for command, _ in examples()) == {"explain": 7, "diff": 2}


@pytest.mark.parametrize(("command", "answer"), list(examples()), ids=[command for command, _ in examples()])
def test_what_the_page_says(run, page_rules, command, answer):
    done = run(*shlex.split(command), cwd=page_rules)
    assert (done.stdout, done.stderr) == (answer, "")
    is_dropped = "counted as no_rule" in answer or "counted as denied" in answer
    assert done.returncode == (is_dropped or command.startswith("diff"))


# ---- explain ----


PLAIN = {
    "group": None,
    "balance": None,
    "one_of": False,
    "instead_of": None,
    "source": "keep",
    "own": None,
    "source_port": None,
    "ttl": None,
    "sample": 1,
    "limit": None,
    "out": None,
    "vlan": None,
    "drop": None,
    "why": None,
}
"""A copy of which only the addresses change."""


def test_explain_for_scripts(run):
    done = run("explain", "10.2.2.4:2055", "[2001:db8:1::8]:514", "--rules", DEMO, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    four, six = map(json.loads, done.stdout.splitlines())
    assert four == {
        "source": "10.2.2.4",
        "port": 2055,
        "listen": "162,514,2055,6343,9990-9999",
        "listened": True,
        "denied": None,
        "limit": None,
        "rules": [
            {
                "path": str(DEMO),
                "line": 11,
                "rule": "10.2.2.4 2055,9995 10.2.2.40 10.2.2.41:2055 A",
                "apply": "best",
            }
        ],
        "copies": [
            {**PLAIN, "collector": c, "addresses": [a], "address": a, "port": 2055}
            for c, a in (("10.2.2.40", "10.2.2.40"), ("10.2.2.41:2055", "10.2.2.41"))
        ],
        "down": [],
        "losers": [
            {
                "path": str(DEMO),
                "line": 26,
                "rule": "default * 10.2.2.41 2001:db8:1::41",
                "apply": "best",
                "why": "is_default",
            }
        ],
        "other_port": four["other_port"],
        "other_source": four["other_source"],
        "excepted": [],
    }
    assert [(miss["line"], miss["would_apply"]) for miss in four["other_port"]] == [
        (12, True),
        (15, False),
        (22, False),
    ]
    assert [(miss["line"], miss["would_apply"]) for miss in four["other_source"]] == [(7, False)]
    assert [copy["drop"] for copy in six["copies"]] == ["family_mismatch", None]


IN_TWO_FRAGMENTS = "10.2.2.3:514", "[2001:db8:1::8]:514"
"""Datagrams of the capture of which the tap shows nothing, each of them one."""


def test_explain_is_what_replay_does(run, tmp_path, write):
    """The rule that wins each datagram of the capture is the rule that the core counts it for."""
    other = write("other", "default * 192.0.2.9 2001:db8::9\n")
    seen = json.loads(run("diff", DEMO, other, "--traffic", EXPORTERS, "--json").stdout)["touched"]
    points = [("[{source}]:{port}" if ":" in one["source"] else "{source}:{port}").format(**one) for one in seen]
    told = map(json.loads, run("explain", *points, "--rules", DEMO, "--json").stdout.splitlines())
    counted: Counter[str] = Counter()
    for one, explained in zip(seen, told, strict=True):
        assert one["before"]["rules"][0]["rule"] == explained["rules"][0]["rule"]
        counted[f"{DEMO}:{explained['rules'][0]['line']}"] += one["datagrams"]
    for line in run("explain", *IN_TWO_FRAGMENTS, "--rules", DEMO, "--json").stdout.splitlines():
        counted[f"{DEMO}:{json.loads(line)['rules'][0]['line']}"] += 2
    ledger = json.loads(run("replay", EXPORTERS, "-o", tmp_path / "out.pcap", "--rules", DEMO, "--json").stdout)
    assert counted == {place: count["packets"] for place, count in ledger["rules"].items()}


def test_explain_says_where_gfwd_does_not_listen(run, write):
    done = run("explain", "10.2.2.3:53", "--rules", DEMO)
    assert done.returncode == 0
    assert "  gfwd does not listen on port 53, but on 162,514,2055,6343,9990-9999: " in done.stdout
    assert "does not listen" not in run("explain", "10.2.2.3:53", "--rules", DEMO, "--listen", "all").stdout
    told = json.loads(run("explain", "10.2.2.3:53", "--rules", DEMO, "--listen", "54", "--json").stdout)
    assert (told["listen"], told["listened"]) == ("54", False)
    rules = write("rules", "* * 10.2.2.40 A\n")
    assert "no rule names a port, so gfwd run has to be told" in run("explain", "10.2.2.3:53", "--rules", rules).stdout


def test_one_datagram_without_a_rule_is_enough(run, write):
    rules = write("rules", "10.2.2.3 514 10.2.2.40 A\n")
    assert run("explain", "10.2.2.3:514", "--rules", rules).returncode == 0
    done = run("explain", "10.2.2.3:514", "10.2.2.4:514", "--rules", rules)
    assert (done.returncode, done.stderr) == (1, "")
    first, second = done.stdout.split("\n\n")
    assert first.startswith("10.2.2.3:514\n  wins ") and "else it would win" in second


def test_explain_of_a_name_that_has_no_address(run, write):
    rules = write("rules", "* 514 nobody.invalid 10.2.2.40 A\n")
    done = run("explain", "10.2.2.3:514", "--rules", rules)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(
        r"\n  no copy  to nobody\.invalid +.+ \(no_collector\)\n  sent     to 10\.2\.2\.40:514\n", done.stdout
    )


def test_many_losers_are_cut_short(run, write):
    rules = write("rules", "".join(f"* 514 10.2.2.{i} A\n" for i in range(1, 51)))
    done = run("explain", "10.2.2.3:514", "--rules", rules)
    assert done.stdout.count("same priority, written earlier") == 20
    assert done.stdout.endswith("  and 29 more rules that lose (--all prints them)\n")
    assert run("explain", "10.2.2.3:514", "--rules", rules, "--all").stdout.count("written earlier") == 49
    told = json.loads(run("explain", "10.2.2.3:514", "--rules", rules, "--json").stdout)
    assert len(told["losers"]) == 49


# ---- diff ----


def changed(old: str, new: str, tmp_path: Path) -> Path:
    path = tmp_path / "changed.rules"
    path.write_text(DEMO.read_text().replace(old, new))
    return path


def touched(run, rules: Path, old: str, new: str, tmp_path: Path, capture: Path = EXPORTERS) -> list:
    done = run("diff", rules, changed(old, new, tmp_path), "--traffic", capture, "--json")
    assert done.returncode == 1
    seen: list = json.loads(done.stdout)["touched"]
    return seen


def test_no_difference(run, tmp_path):
    same = changed(" C\n", " D\n", tmp_path)
    for options in ([], ["--traffic", EXPORTERS]):
        done = run("diff", DEMO, same, *options)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("no difference")
        assert json.loads(run("diff", DEMO, same, *options, "--json").stdout).popitem()[1] == []


def test_differences(run, tmp_path):
    new = changed("9990-9999", "9990-9998", tmp_path)
    done = run("diff", DEMO, new)
    assert done.returncode == 1
    assert done.stdout == (
        f"10.2.2.0/24 to 9999\n- {DEMO}:15: 10.2.2.40\n+ {new}:26: 10.2.2.41\n\n1 difference\n"
    )  # fmt: skip
    assert done.stderr == (
        f"{DEMO}: warning: only by these rules, and not by {new}, gfwd listens on port 9999, unless it is told on "
        "which (--listen)\n"
    )
    done = run("diff", DEMO, new, "--listen", "514,9999", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    default = "default * 10.2.2.41 2001:db8:1::41"
    assert json.loads(done.stdout) == {
        "differences": [
            {
                "sources": ["10.2.2.0/24"],
                "ports": "9999",
                "before": {
                    "rules": [{"path": str(DEMO), "line": 15, "rule": "10.2.2.0/24 9990-9999 10.2.2.40 B"}],
                    "collectors": ["10.2.2.40"],
                },
                "after": {"rules": [{"path": str(new), "line": 26, "rule": default}], "collectors": ["10.2.2.41"]},
            }
        ]
    }  # fmt: skip
    done = run("diff", DEMO, new, "--listen", "514")
    assert (done.returncode, done.stdout, done.stderr) == (0, "no difference\n", "")


def test_a_rule_that_sends_nothing_to_a_family(run, write):
    old, new = write("old", "* 514 2001:db8::8 A\n"), write("new", "* 514 10.2.2.40 A\n")
    assert run("diff", old, new).stdout == (
        f"* to 514\n- {old}:1: 2001:db8::8\n+ {new}:1: 10.2.2.40\n\n1 difference\n"
    )  # fmt: skip
    new = write("new", "0.0.0.0/0 514 10.2.2.40 A\n")
    assert run("diff", old, new).stdout == (
        f"0.0.0.0/0 to 514\n- {old}:1: no collector of IPv4 (family_mismatch)\n+ {new}:1: 10.2.2.40\n\n"
        f"::/0 to 514\n- {old}:1: 2001:db8::8\n+ no_rule\n\n2 differences\n"
    )


def test_many_differences_are_cut_short(run, write):
    lines = [f"10.{i}.{2 * j}.0/24 {514 + i} 10.2.2.40 A\n" for i in range(30) for j in range(30)]
    old, new = write("old", "".join(lines)), write("new", "".join(lines).replace("10.2.2.40", "10.2.2.41"))
    done = run("diff", old, new)
    assert done.stdout.count("\n+ ") == 20
    assert done.stdout.endswith("\n900 differences (--all prints them)\n")
    assert run("diff", old, new, "--all").stdout.count("\n+ ") == 900
    wide = write("wide", "default 514 10.2.2.40\n" + "".join(f"10.0.{2 * j}.0/24 514 10.2.2.9 A\n" for j in range(30)))
    other = write("other", wide.read_text().replace("10.2.2.40", "10.2.2.41"))
    first, *_ = run("diff", wide, other).stdout.splitlines()
    assert first.startswith("0.0.0.0/0 except 10.0.0.0/24, 10.0.2.0/24, ") and first.endswith(", and 10 more to 514")


def test_trouble_is_status_2(run, write, tmp_path):
    bad = write("bad.rules", "* 0 10.2.2.40 A\n")
    for arguments in ([DEMO, bad], [bad, DEMO], [DEMO, "/none"], [DEMO, DEMO, "--traffic", "/none"],
                      [DEMO, DEMO, "--traffic", DEMO]):  # fmt: skip
        done = run("diff", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert ": error: " in done.stderr and "Traceback" not in done.stderr
    assert run("explain", "10.2.2.3:514", "--rules", bad).returncode == 2
    if Path("/dev/full").exists():
        with open("/dev/full", "wb") as full:
            for command in (["diff", DEMO, DEMO], ["explain", "10.2.2.3:514", "--rules", DEMO]):
                done = run(*command, stdout=full)
                assert (done.returncode, done.stderr) == (2, "gfwd: error: No space left on device\n")


# ---- diff --traffic ----


@pytest.mark.parametrize("capture", [EXPORTERS, DATA / "exporters.pcapng"], ids=["pcap", "pcapng"])
def test_traffic(run, tmp_path, capture):
    """Another address for one of two collectors; the figures are those of tests/data/README.md."""
    seen = touched(run, DEMO, "10.2.2.41", "10.2.2.42", tmp_path, capture)
    assert [(one["source"], one["port"], one["datagrams"]) for one in seen] == [
        ("10.2.2.4", 6343, 26), ("10.2.30.6", 2055, 16), ("10.2.2.4", 2055, 6), ("10.2.2.4", 9995, 5),
        ("10.2.2.3", 514, 4), ("10.2.2.4", 162, 4), ("10.2.2.5", 514, 4), ("10.2.2.5", 162, 1),
    ]  # fmt: skip
    assert seen[2]["before"]["collectors"] == ["10.2.2.40", "10.2.2.41:2055"]
    assert seen[2]["after"]["collectors"] == ["10.2.2.40", "10.2.2.42:2055"]
    done = run("diff", DEMO, tmp_path / "changed.rules", "--traffic", capture)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.endswith("\n\n66 of 150 datagrams change their collectors\n")
    assert re.search(r"^10\.2\.30\.6:2055 +16  .*:26: 10\.2\.2\.41  .*:26: 10\.2\.2\.42$", done.stdout, re.MULTILINE)


def test_traffic_of_ipv6(run, tmp_path):
    seen = touched(run, DEMO, "2001:db8:1::41", "2001:db8:1::42", tmp_path)
    assert [(one["source"], one["port"], one["datagrams"]) for one in seen] == [
        ("2001:db8:1::8", 162, 4), ("2001:db8:1::8", 514, 4),
    ]  # fmt: skip


def test_rules_that_differ_for_nobody_in_the_capture(run, tmp_path):
    new = changed("9990-9999", "9990-9998", tmp_path)
    done = run("diff", DEMO, new, "--traffic", EXPORTERS)
    assert (done.returncode, done.stdout) == (0, "no difference for the 150 datagrams of this capture\n")


def test_no_datagram_is_lost(run, tmp_path, write):
    """A capture of many times what gfwd holds at once: all that replay forwards is seen."""
    records = EXPORTERS.read_bytes()
    capture = write("many.pcap", records[:24] + 40 * records[24:])
    old, new = write("old", "default * 10.2.2.40 2001:db8::1\n"), write("new", "default * 10.2.2.41 2001:db8::2\n")
    done = run("diff", old, new, "--traffic", capture, "--json")
    told = json.loads(done.stdout)
    assert told["datagrams"] == sum(one["datagrams"] for one in told["touched"]) == 40 * 150
    run("replay", capture, "-o", tmp_path / "out.pcap", "--rules", old)
    assert len(frames(sent(tmp_path / "out.pcap"))) == 40 * (150 + 2 * len(IN_TWO_FRAGMENTS))


def test_captures_of_every_kind(run, write):
    """Sound ones and broken ones: what was whole counts, as with replay."""
    old, new = write("old", "default * 10.2.2.40 2001:db8::1\n"), write("new", "default * 10.2.2.41 2001:db8::2\n")
    for capture in list(all_captures())[::9]:
        path = write("in.pcap", capture.data)
        done = run("diff", old, new, "--traffic", path, "--json")
        ledger = run("replay", path, "-o", "/dev/null", "--rules", old, "--json")
        assert done.returncode == (2 if ledger.returncode else bool(json.loads(ledger.stdout)["forwarded"]))
        if done.stdout:
            assert json.loads(done.stdout)["datagrams"] == json.loads(ledger.stdout)["forwarded"]
        assert done.stderr == ledger.stderr


TOML = """\
listen = "514"
ports.both = ["xdp:eth0"]
[[rule]]
source = "10.2.2.0/24"
ports = "*"
collectors = ["%s"]
priority = "A"
"""


def test_explain_by_a_configuration(run, tmp_path):
    path = tmp_path / "gfwd.toml"
    path.write_text(TOML % "192.0.2.1")
    done = run("explain", "10.2.2.3:514", "10.2.2.3:515", "-c", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"wins  {path}:3  10.2.2.0/24 * 192.0.2.1 A" in done.stdout and "sent  to 192.0.2.1:514" in done.stdout
    assert "does not listen on port 515, but on 514" in done.stdout
    assert run("explain", "10.2.2.3:514", "-c", path, "--rules", path).returncode == 2


def test_diff_of_configurations(run, tmp_path):
    """Either may be a rules file."""
    old, new = tmp_path / "old.toml", tmp_path / "new.rules"
    old.write_text(TOML % "192.0.2.1")
    new.write_text("10.2.2.0/24 * 192.0.2.1 B\n")
    assert run("diff", old, new).returncode == 0
    new.write_text("10.2.2.0/25 * 192.0.2.1 B\n")
    done = run("diff", old, new)
    assert done.returncode == 1 and "10.2.2.128/25 to *" in done.stdout and f"{old}:3" in done.stdout
