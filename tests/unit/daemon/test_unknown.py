"""What a gfwd that runs says of exporters without a rule, with a real core behind it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from gfwd.config import reading
from gfwd.config.model import Config
from gfwd.daemon.unknown import UnknownExporters
from gfwd.errors import ConfigError
from gfwd.metrics.ledger import RuleCount
from gfwd.native.core import Count, Limits, NeighbourState
from gfwd.rules import classic
from gfwd.rules.model import Collector
from tests.cores import Rig, mac, plan_from
from tests.frames import datagram

RULES = "10.1.0.1 514 192.0.2.1 A\n10.1.0.2 2055 192.0.2.2:9995 B\n"
OWN = 0x0A020201
LIMITS = Limits(rules=8, collectors=8, neighbours=8)
SYSLOG = b"<34>su: failed"
TOML = """\
[ports]
both = ["xdp:eth0"]
[collector.flow]
host = "flowhost"
"""


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(LIMITS, (0,), (2_048,)) as its:
        for slot in range(LIMITS.neighbours):
            its.core.set_neighbour(slot, mac(slot), NeighbourState.READY)
        its.core.publish(plan_from(RULES))
        yield its


def send(its: Rig, source: int, port: int, payload: bytes = SYSLOG, times: int = 1) -> None:
    for _ in range(times):
        assert its.core.arrive(0, datagram(4, source, OWN, (40_000, port), payload))
    while its.worker.step():
        pass


def run(text: str = RULES, *, has_tables: bool = False) -> Config:
    ruleset = classic.parse(text, "site.rules")
    return Config(path="site.toml", rules=ruleset, inputs=(), outputs=(), has_tables=has_tables)


def counts(config: Config, *packets: int) -> list[RuleCount]:
    """By the lines."""
    return [RuleCount("", "", Count(packets[rule.line - 1], 0)) for rule in config.rules.ranked()]


def test_what_is_said(rig: Rig) -> None:
    send(rig, 0x0A090909, 514, times=3)
    send(rig, 0x0A090908, 514, b"?" * 100)
    answer = UnknownExporters(rig.core).answer(run(), list, sort="packets")
    first, second = answer["sources"]
    assert (first["source"], first["port"], first["source_port"]) == ("10.9.9.9", 514, 40_000)
    assert (first["protocol"], first["version"], first["looks_like"]) == ("syslog", "3164", "syslog (RFC 3164)")
    assert (first["packets"], first["bytes"], first["rate"], first["length"]) == (3, 3 * (42 + 14), None, 14)
    assert first["payload"] == SYSLOG.hex() and second["payload"] == "3f" * 24
    assert second["looks_like"] == "unknown (by its port: syslog?)" and second["protocol"] is None
    assert time.time() - 600 < first["first"] <= first["last"] <= time.time()
    assert answer["not_told_apart"] == {"packets": 0, "bytes": 0}
    assert "suggestions" not in answer


def test_order_and_since(rig: Rig) -> None:
    for host, times in ((1, 2), (2, 5), (3, 1)):
        send(rig, 0x0A090900 + host, 514, times=times)
    its = UnknownExporters(rig.core)

    def hosts(**how: Any) -> list[str]:
        return [one["source"][-1] for one in its.answer(run(), list, **how)["sources"]]

    assert hosts(sort="packets") == hosts(sort="rate") == ["2", "1", "3"]
    assert hosts(sort="last") == ["3", "2", "1"]
    assert hosts(since=600) == ["2", "1", "3"]
    answer = its.answer(run(), list, since=-1)
    assert (answer["sources"], answer["silent"]) == ([], {"sources": 3, "packets": 8})


def test_who_has_a_rule_by_now_is_unknown_no_more(rig: Rig) -> None:
    send(rig, 0x0A090909, 514, times=3)
    send(rig, 0x0A090908, 514)
    rig.core.publish(plan_from(RULES + "10.9.9.9 514 192.0.2.1 A\n"))
    answer = UnknownExporters(rig.core).answer(run(), list)
    assert [one["source"] for one in answer["sources"]] == ["10.9.9.8"]
    assert answer["by_now_with_a_rule"] == {"sources": 1, "packets": 3}


def suggested(rig: Rig, config: Config, *packets: int) -> dict[str, Any]:
    return UnknownExporters(rig.core).answer(
        config, lambda: counts(config, *packets), sort="packets", since=None, with_rules=True
    )


def test_lines_for_a_rules_file(rig: Rig) -> None:
    send(rig, 0x0A010001, 2055, times=30)
    send(rig, 0x0A090909, 9999, times=20)
    send(rig, 0x0A090909, 9998, b"?", times=10)
    answer = suggested(rig, run(), 7, 8)
    assert (answer["rules_file"], answer["tables"]) == ("site.rules", False)
    near, placed, open_one = answer["suggestions"]
    assert near == {
        "before": ("10.1.0.1 has a rule for port 514 (site.rules:1)",),
        "rule": "10.1.0.1  2055  192.0.2.2:9995  B",
        "remark": "syslog (RFC 3164), 30/s; collectors as in site.rules:2",
        "is_whole": True,
    }
    assert placed["rule"] == "10.9.9.9  9999  192.0.2.1:514   A"
    assert placed["remark"].endswith("; collectors as for port 514 in site.rules:1")
    assert open_one["rule"] == "10.9.9.9  9998  <collector>     A" and not open_one["is_whole"]
    assert open_one["remark"].endswith("; no rule says who gets port 9998: name a collector")


def test_neighbours_are_one_rule_and_it_says_so(rig: Rig) -> None:
    for host in range(1, 8):
        send(rig, 0x0A090900 + host, 514)
    (one,) = suggested(rig, run(), 7, 8)["suggestions"]
    assert one["rule"] == "10.9.9.0/24  514  192.0.2.1  A"
    named = "10.9.9.1, 10.9.9.2, 10.9.9.3, 10.9.9.4, 10.9.9.5 and 2 more"
    assert one["remark"] == (
        f"all of 10.9.9.0/24, for 7 sources in it: {named}; syslog (RFC 3164), 7/s; collectors as in site.rules:1"
    )


def test_tables_for_a_gfwd_toml(rig: Rig) -> None:
    """With the collectors' own names; a name without a dot is nothing that a rule could say."""
    send(rig, 0x0A090909, 514, times=2)
    send(rig, 0x0A090909, 9998, b"?")
    flow = Collector("flowhost", None, None, "flow")
    text = "10.1.0.1 514 flowhost A\n"
    its = run(text, has_tables=True)
    (rule,) = its.rules.rules
    named = its.rules._replace(rules=(rule._replace(receivers=(flow,)),))
    answer = suggested(rig, replace(its, rules=named), 1)
    whole, open_one = (one["rule"] for one in answer["suggestions"])
    assert whole.splitlines()[0] == "[[rule]]" and answer["tables"]
    config = reading.parse(TOML + whole, "gfwd.toml")
    (rule,) = config.rules.rules
    assert (str(rule.source), rule.ports, rule.receivers, rule.priority) == ("10.9.9.9", ((514, 514),), (flow,), "A")
    with pytest.raises(ConfigError, match="<collector>"):
        reading.parse(TOML + open_one, "gfwd.toml")


def test_what_no_rule_can_name(rig: Rig) -> None:
    send(rig, 0x0A090909, 0)
    answer = suggested(rig, run(), 1, 1)
    assert answer["suggestions"] == []
    assert answer["no_rule_can_be"][0].startswith('10.9.9.9 to port 0: "0" is not a port: ')
