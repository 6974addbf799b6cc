"""The ledgers: added up, for scripts and for people."""

import json
import re
from dataclasses import replace

from gfwd.metrics.ledger import Destination, Ledger, RuleCount
from gfwd.metrics.table import figures_text, ledger_text
from gfwd.native.core import DROP_CAUSES, CopyLedger, Count, FrameLedger


def drops(**counts: int) -> dict[str, int]:
    return dict.fromkeys(DROP_CAUSES, 0) | counts


def copies(wanted: int, sent: int, pending: int = 0, **dropped: int) -> CopyLedger:
    return CopyLedger(wanted, sent, 100 * sent, pending, drops(**dropped))


def sample(rules: int = 1) -> Ledger:
    return Ledger(
        frames=FrameLedger(10_000, 7_000, 1_000, 500, 200, drops(short=1_000, no_rule=300)),
        collectors={
            "192.0.2.1": copies(8_000, 7_000, 200, tx_full=800),
            "[2001:db8::1]:514": copies(3_000, 2_000, family_mismatch=900, tx_full=100),
        },
        rules=tuple(RuleCount(f"f:{i}", f"rule {i}", Count(i, 100 * i)) for i in range(rules)),
    )


def test_copies_in_all():
    in_all = sample().copies()
    assert in_all == copies(11_000, 9_000, 200, tx_full=900, family_mismatch=900)
    assert in_all.wanted == in_all.sent + in_all.pending + sum(in_all.drops.values())


def test_copies_of_no_collector():
    ledger = Ledger(sample().frames, {}, ())
    assert ledger.copies() == copies(0, 0)
    assert "all" in ledger_text(ledger)


def test_json_has_every_cause_even_at_zero():
    counted = json.loads(json.dumps(sample().as_json()))
    assert list(counted["drops"]) == list(DROP_CAUSES)
    assert list(counted["copies"]["drops"]) == list(DROP_CAUSES)
    assert counted["received"] == 10_000
    assert counted["collectors"]["[2001:db8::1]:514"]["drops"]["family_mismatch"] == 900
    assert counted["rules"] == {"f:0": {"rule": "rule 0", "packets": 0, "bytes": 0}}


def test_table_has_only_causes_that_came():
    rows = [line.split() for line in ledger_text(sample()).splitlines()]
    assert ["10,000", "7,000", "1,000", "500", "200", "1,300"] in rows
    assert ["all", "11,000", "9,000", "900,000", "200", "1,800"] in rows
    assert ["short", "1,000", "0"] in rows
    assert ["tx_full", "0", "900"] in rows
    assert not any(row[:1] == ["too_big"] for row in rows)


def test_where_a_name_goes_stands_beside_it():
    ledger = replace(
        sample(),
        collectors={"flow": copies(2, 2), "192.0.2.1": copies(1, 1)},
        destinations={
            "flow": Destination("192.0.2.9:9995", ("farm", "all-of-it")),
            "192.0.2.1": Destination("192.0.2.1", (), ("192.0.2.1",)),
        },
    )
    lines = ledger_text(ledger).splitlines()
    assert sum(line.startswith("collector") and "of group" in line for line in lines) == 1
    (flow,) = (line for line in lines if line.startswith("flow "))
    assert re.split(" {2,}", flow) == ["flow", "192.0.2.9:9995", "farm, all-of-it", "2", "2", "200", "0", "0"]
    (other,) = (line for line in lines if line.startswith("192.0.2.1 "))
    assert other.split() == ["192.0.2.1", "1", "1", "100", "0", "0"]
    assert json.loads(json.dumps(ledger.as_json()))["destinations"]["flow"] == {
        "place": "192.0.2.9:9995",
        "groups": ["farm", "all-of-it"],
        "addresses": [],
    }
    named = ledger.at({"flow": ("192.0.2.9",), "192.0.2.1": ("192.0.2.1",)})
    assert named.destinations["flow"].addresses == ("192.0.2.9",)
    named = replace(named, destinations={"flow": Destination("log.example.net", (), ("192.0.2.9", "192.0.2.8"))})
    (flow,) = (line for line in ledger_text(named).splitlines() if line.startswith("flow "))
    assert re.split(" {2,}", flow)[:3] == ["flow", "log.example.net", "192.0.2.9, 192.0.2.8"]
    plain = replace(ledger, destinations={})
    assert "of group" not in ledger_text(plain) and " to " not in ledger_text(plain)


def test_without_drops_there_is_no_table_of_them():
    ledger = Ledger(FrameLedger(1, 1, 0, 0, 0, drops()), {"192.0.2.1": copies(1, 1)}, ())
    assert "dropped because" not in ledger_text(ledger)


def test_the_busiest_rules_come_first_and_the_rest_is_counted():
    lines = ledger_text(sample(rules=100)).splitlines()
    shown = [line.split()[0] for line in lines if line.startswith("f:")]
    assert shown == [f"f:{i}" for i in range(99, 79, -1)]
    assert lines[-1].startswith("and 80 more rules, ")
    assert "\nand 1 more rule, " in ledger_text(sample(rules=21))


def test_figures_stay_as_they_are():
    assert figures_text(["ns", "rules"], [["1.50", "10"], ["10.0", "1,000"]]).splitlines()[2:] == [
        "1.50       10",
        "10.0    1,000",
    ]
