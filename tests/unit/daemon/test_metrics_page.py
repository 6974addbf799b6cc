"""What Prometheus gets of a report: all of it, under the names that docs/metrics.md has."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gfwd import __version__
from gfwd.daemon.listeners.exposed import Standing, metrics_page
from gfwd.daemon.loss import LossTotal
from gfwd.daemon.reload import Tally
from gfwd.daemon.report import AnswerReport, HealthReport, NameReport, NeighbourReport, PortReport, Report
from gfwd.metrics.families import FAMILIES
from gfwd.metrics.ledger import Ledger, RuleCount
from gfwd.native.core import DROP_CAUSES, CopyLedger, Count, Findings, FrameLedger, Work
from tests import exposition
from tests.exposition import total, value

ROOT = Path(__file__).parents[3]


def drops(**counts: int) -> dict[str, int]:
    return dict.fromkeys(DROP_CAUSES, 0) | counts


def rule(n: int, packets: int, text: str = "") -> RuleCount:
    return RuleCount(f"gfwd.rules:{n}", text or f"10.0.0.{n} 514 flow A", Count(packets, 100 * packets))


def standing(rules: tuple[RuleCount, ...] = (rule(1, 5),)) -> Standing:
    ledger = Ledger(
        frames=FrameLedger(10_000, 7_000, 1_000, 500, 200, drops(short=1_000, no_rule=300)),
        collectors={
            "flow": CopyLedger(8_000, 7_000, 700_000, 200, drops(tx_full=800)),
            "[2001:db8::1]:514": CopyLedger(3_000, 2_000, 200_000, 0, drops(family_mismatch=900, tx_full=100)),
        },
        rules=rules,
        gone=CopyLedger(50, 40, 4_000, 0, drops(too_big=10)),
    )
    report = Report(
        ledger=ledger,
        work=Work(*range(1, 15)),
        ports=(
            PortReport("xdp:eth0", "native", 1, 1, 20, 30, 2, 1, 0, None),
            PortReport("netmap:ix0", "netmap", 1, 1, None, None, None, None, None, "the interface is gone"),
        ),
        neighbours=(
            NeighbourReport("10.0.0.2", "xdp:eth0", "02:00:00:00:00:01", "ready"),
            NeighbourReport("10.0.0.3", "xdp:eth0", None, "failed"),
        ),
        health=(
            HealthReport("flow", "icmp", "up", 60, "an answer", None),
            HealthReport("log", "arp", "down", 5, "none", None),
            HealthReport("new", "arp", "unknown", 1, "not tried yet", None),
        ),
        answers=(AnswerReport("netmap:ix0", "echo", "sent", 8), AnswerReport("netmap:ix0", "echo", "limited", 9)),
        names=(
            NameReport("flow.example.net", "stale", ("10.2.2.3", "10.2.2.4"), 0, 400, 9, 3, "SERVFAIL (192.0.2.53)"),
            NameReport("new.example.net", "asking", (), None, None, 2, 2, "REFUSED (192.0.2.53)"),
        ),
    )
    return Standing(
        report=report,
        rules=7,
        rules_most=10,
        exporters=4,
        unknown=3,
        losses=[LossTotal("NetFlow", "flows", Findings(40, 38, 400, 10, 1, 1, 0, 0, 0))],
        started=1_000.25,
        reloads=Tally(last_done=1_000.25, last_failed=2_000.5, is_last_done=False, done=2, failed=1),
        answers={200: 5, 404: 1},
        cut_off=6,
    )


def test_all_families_are_there():
    families = exposition.read(metrics_page(standing()))
    assert list(families) == [family.name for family in FAMILIES]
    for family in FAMILIES:
        its = families[family.name]
        assert (its.kind, its.says) == (family.kind, family.says)
        assert all({label for label, _ in labels} == set(family.labels) for labels in its.samples)


def test_prometheus_own_reader_reads_the_same():
    parser = pytest.importorskip("prometheus_client.parser")
    page = metrics_page(standing())
    theirs = {
        (one.name, frozenset(one.labels.items())): float(one.value)
        for family in parser.text_string_to_metric_families(page.decode())
        for one in family.samples
    }
    families = exposition.read(page)
    assert theirs == {(name, labels): n for name, its in families.items() for labels, n in its.samples.items()}


def test_both_ledgers_balance_by_the_equations_of_the_page():
    its = exposition.read(metrics_page(standing()))
    places = "forwarded_total", "passed_total", "punted_total", "pending", "dropped_total"
    assert total(its, "gfwd_frames_received_total") == sum(total(its, f"gfwd_frames_{one}") for one in places) == 10_000
    ends = "sent_total", "pending", "dropped_total"
    assert value(its, "gfwd_copies_wanted_total") == sum(total(its, f"gfwd_copies_{one}") for one in ends)
    for collector in ("flow", "[2001:db8::1]:514"):
        wanted = value(its, "gfwd_collector_copies_wanted_total", collector=collector)
        assert wanted == sum(total(its, f"gfwd_collector_copies_{one}", collector=collector) for one in ends)
    assert value(its, "gfwd_copies_wanted_total") == 8_000 + 3_000 + 50


def test_every_cause_is_there_from_the_start():
    """Or Prometheus would not see the first ones: it only knows a rise from one sample to the next."""
    its = exposition.read(metrics_page(standing()))
    for cause in DROP_CAUSES:
        value(its, "gfwd_frames_dropped_total", cause=cause)
        value(its, "gfwd_copies_dropped_total", cause=cause)
        value(its, "gfwd_collector_copies_dropped_total", cause=cause, collector="flow")
    assert value(its, "gfwd_frames_dropped_total", cause="short") == 1_000


def test_values():
    its = exposition.read(metrics_page(standing()))
    assert value(its, "gfwd_build_info", version=__version__) == 1
    assert value(its, "gfwd_start_time_seconds") == 1_000.25
    assert (value(its, "gfwd_rules"), value(its, "gfwd_collectors")) == (7, 2)
    assert (value(its, "gfwd_exporters"), value(its, "gfwd_unknown_sources")) == (4, 3)
    assert [value(its, "gfwd_collector_up", collector=one) for one in ("flow", "log", "new")] == [1, 0, 1]
    assert value(its, "gfwd_collector_state_age_seconds", collector="log") == 5
    assert value(its, "gfwd_collector_copies_sent_bytes_total", collector="flow") == 700_000
    assert [value(its, "gfwd_port_up", port=one) for one in ("xdp:eth0", "netmap:ix0")] == [1, 0]
    assert value(its, "gfwd_port_info", port="xdp:eth0", mode="native") == 1
    assert its["gfwd_port_lost_frames_total"].samples == {frozenset({("port", "xdp:eth0")}): 2}
    states = ("empty", "pending", "ready", "failed")
    assert [value(its, "gfwd_neighbours", state=state) for state in states] == [0, 0, 1, 1]
    assert value(its, "gfwd_reloads_total", result="done") == 2
    assert value(its, "gfwd_last_reload_successful") == 0
    assert value(its, "gfwd_last_reload_timestamp_seconds", result="failed") == 2_000.5
    assert (value(its, "gfwd_metrics_answers_total", code="404"), value(its, "gfwd_metrics_cut_off_total")) == (1, 6)
    work = [
        "copies_swapped_total",
        "copies_copied_total",
        "fragments_made_frames_total",
        "match_cache_hits_total",
        "match_lookups_total",
        "tap_datagrams_total",
        "tap_lost_datagrams_total",
        "injected_frames_total",
        "inject_lost_frames_total",
        "plans_taken_total",
    ]
    assert [value(its, f"gfwd_{name}") for name in work] == list(range(1, 11))


def rules_shown(rules: tuple[RuleCount, ...], most: int | None) -> dict[str, float]:
    its = exposition.read(metrics_page(replace(standing(rules), rules_most=most)))
    if "gfwd_rule_datagrams_total" not in its:
        assert "gfwd_rule_bytes_total" not in its
        return {}
    shown = {dict(labels)["rule"]: n for labels, n in its["gfwd_rule_datagrams_total"].samples.items()}
    assert {text: value(its, "gfwd_rule_bytes_total", rule=text) for text in shown} == {
        text: 100 * n for text, n in shown.items()
    }
    return shown


def test_names():
    """One that has no address has neither an age nor a TTL."""
    families = exposition.read(metrics_page(standing()))
    flow = {"host": "flow.example.net"}
    assert value(families, "gfwd_name_state", **flow, state="stale") == 1
    assert value(families, "gfwd_name_addresses", **flow) == 2
    assert value(families, "gfwd_name_age_seconds", **flow) == 400
    assert value(families, "gfwd_name_ttl_seconds", **flow) == 0
    assert value(families, "gfwd_name_lookups_total", **flow) == 9
    assert value(families, "gfwd_name_failures_total", **flow) == 3
    assert value(families, "gfwd_name_addresses", host="new.example.net") == 0
    assert len(families["gfwd_name_age_seconds"].samples) == len(families["gfwd_name_ttl_seconds"].samples) == 1


def test_rules_have_metrics_where_that_is_asked_for():
    rules = rule(1, 5), rule(2, 0), rule(3, 7)
    assert rules_shown(rules, None) == {}
    assert rules_shown(rules, 10) == {"10.0.0.1 514 flow A": 5, "10.0.0.3 514 flow A": 7}
    assert rules_shown(rules, 1) == {"10.0.0.1 514 flow A": 5}
    assert rules_shown((rule(2, 0),), 10) == {}


def test_rules_with_one_text_are_one():
    rules = rule(1, 5, "* 514 a B"), rule(2, 6, 'odd"one\\'), rule(3, 7, "* 514 a B"), rule(4, 1)
    assert rules_shown(rules, 2) == {"* 514 a B": 12, 'odd"one\\': 6}


def test_a_hundred_thousand_rules_are_no_hundred_thousand_metrics():
    rules = tuple(rule(n, 1, f"rule {n}") for n in range(100_000))
    before = time.process_time()
    assert len(rules_shown(rules, 200)) == 200
    assert time.process_time() - before < 5


# ---- the page of the documentation ----


def test_docs_metrics_md_has_all_of_them_as_they_are():
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(gfwd_\w+)` \| (counter|gauge) \| ([^|]*) \| ([^|]+) \|$", text, re.MULTILINE)
    written = [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), says) for name, kind, labels, says in rows]
    assert written == [(family.name, family.kind, family.labels, family.says) for family in FAMILIES]
    names = {family.name for family in FAMILIES}
    assert set(re.findall(r"\bgfwd_\w+", text)) <= names
