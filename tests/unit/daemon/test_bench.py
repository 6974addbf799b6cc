"""What is said about results, and results that cross from one process to another."""

import json

from gfwd.daemon import bench
from gfwd.daemon.bench import Result, findings
from gfwd.daemon.workload import Case


def result(case: Case, ns: float, instructions: float | None = None) -> Result:
    return Result(
        case=case,
        ns_per_packet=ns,
        spread=0.1,
        mpps=1_000 / ns,
        swap_ns=5.0,
        copy_ns=6.0,
        fill_ns=8.0,
        load_s=1.5,
        rss_mb=150.0,
        instructions_per_packet=instructions,
    )


def test_a_result_reads_back():
    for one in (result(Case(rules=7, flood=3), 20.5), result(Case(), 20.5, 100.25)):
        assert Result.from_json(json.loads(json.dumps(one.as_json()))) == one


def test_findings():
    results = [
        result(Case(rules=10), 14.0),
        result(bench.BASE, 15.0, 110.0),
        result(bench.RESOLVED, 15.3, 111.1),
        result(bench.MANY_RULES, 16.1),
        result(bench.FOUR_COLLECTORS, 57.0),
        result(bench.HALF_A_FLOOD, 60.0),
        result(bench.FLOOD, 103.9),
    ]
    assert [(round(found.figure, 3), found.unit, found.goal) for found in findings(results)] == [
        (15.0, "ns", 17),
        (3.0, "×", 3),
        (110.0, "", 120),
        (1.01, "×", 1.02),
        (1.15, "×", 1.2),
        (103.9, "ns", 150),
        (1.0, "×", None),
        (8.0, "ns", 10),
        (1.5, "s", 2),
        (150.0, "MB", 200),
    ]


def test_nothing_is_said_about_what_was_not_measured():
    assert findings([]) == []
    assert findings([result(Case(rules=3), 1.0)]) == []
    assert [found.unit for found in findings([result(bench.BASE, 15.0)])] == ["ns", "×"]


def test_every_usual_case_is_another():
    assert len(set(bench.CASES)) == len(bench.CASES)
    assert {case.rules for case in bench.CASES} == {10, 1_000, 10_000, 100_000}
    assert {case.collectors for case in bench.CASES} == {1, 2, 4}
    assert {case.frame_bytes for case in bench.CASES} == {60, 188, 1_514}
    assert {case.flood for case in bench.CASES} == {0, 50, 100}
