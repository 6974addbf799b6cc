"""The ledgers of a core, under the names of the rules that it forwards by."""

from gfwd.metrics.ledger import Ledger, read_ledger
from gfwd.native.core import Core
from gfwd.rules.canonical import rule_text
from gfwd.rules.model import RuleSet
from gfwd.rules.space import RuleSpace


def ledger_of(core: Core, ruleset: RuleSet, space: RuleSpace) -> Ledger:
    """Counter slots are numbered as collectors are named first, and as rules are ranked."""
    return read_ledger(
        core,
        [str(collector) for collector in ruleset.collectors()],
        [(f"{ruleset.path}:{rule.line}", rule_text(rule)) for rule in space.ranked],
    )
