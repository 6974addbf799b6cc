"""The ledgers as tables, for people."""

from collections.abc import Sequence

from tabulate import tabulate

from gfwd.metrics.ledger import NOTHING, Destination, Ledger
from gfwd.metrics.words import many
from gfwd.native.core import CopyLedger

_RULES_SHOWN = 20


def ledger_text(ledger: Ledger) -> str:
    """Four tables: frames, copies by collector, drops, and the rules that matched most."""
    frames = ledger.frames
    parts = [
        table_text(
            ("frames", "forwarded", "passed", "punted", "pending", "dropped"),
            [
                (
                    frames.received,
                    frames.forwarded,
                    frames.passed,
                    frames.punted,
                    frames.pending,
                    sum(frames.drops.values()),
                )
            ],
        ),
        _collectors(ledger),
        _drops(ledger),
        _rules(ledger),
    ]
    return "\n\n".join(part for part in parts if part)


def _collectors(ledger: Ledger) -> str:
    """Where a name goes, and which groups it is in, stands there only where some have names, or groups."""
    its = ledger.destinations
    beside: dict[str, dict[str, str]] = {
        "to": {name: one.place for name, one in its.items() if one.place != name},
        "at": {name: ", ".join(one.addresses) for name, one in its.items() if _is_elsewhere(one)},
        "of group": {name: ", ".join(one.groups) for name, one in its.items() if one.groups},
    }
    shown = {head: texts for head, texts in beside.items() if texts}
    rows = [
        (
            name,
            *(texts.get(name, "") for texts in shown.values()),
            *(copies.wanted, copies.sent, copies.sent_bytes, copies.pending, sum(copies.drops.values())),
        )
        for name, copies in [*ledger.collectors.items(), *_gone(ledger), ("all", ledger.copies())]
    ]
    heads = ("collector", *shown, "wanted", "sent", "bytes", "pending", "dropped")
    return table_text(heads, rows, texts=range(1 + len(shown)))


def _is_elsewhere(its: Destination) -> bool:
    """Whether its addresses are others than its place says, which is a name."""
    return bool(its.addresses) and not all(address in its.place for address in its.addresses)


def _gone(ledger: Ledger) -> list[tuple[str, CopyLedger]]:
    return [("no longer named", ledger.gone)] if ledger.gone != NOTHING else []


def _drops(ledger: Ledger) -> str:
    copies = ledger.copies().drops
    rows = [(cause, n, copies[cause]) for cause, n in ledger.frames.drops.items() if n or copies[cause]]
    return table_text(("dropped because", "frames", "copies"), rows) if rows else ""


def _rules(ledger: Ledger) -> str:
    busiest = sorted((rule for rule in ledger.rules if rule.count.packets), key=lambda rule: -rule.count.packets)
    rows = [(rule.place, rule.count.packets, rule.count.bytes, rule.text) for rule in busiest[:_RULES_SHOWN]]
    unseen = len(ledger.rules) - len(rows)
    others = many(unseen, "more rule")
    more = f"\nand {others}, that matched less or nothing (--json has them all)" if unseen else ""
    return table_text(("rule", "datagrams", "bytes", "text"), rows) + more


def table_text(headers: Sequence[str], rows: Sequence[Sequence[object]], *, texts: Sequence[int] = ()) -> str:
    """A table; integers get their thousands parted, and stand to the right like all numbers.

    texts: the columns, from 0, whose numbers are names, as a port's is.
    """
    return tabulate(rows, headers=headers, tablefmt="simple", intfmt=",", disable_numparse=[*texts] or False)


def figures_text(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of figures that are texts already, each with as many digits as it was given, to the right."""
    return tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True, colalign=["right"] * len(headers))
