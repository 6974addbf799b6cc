"""The keys of a [[rule]]."""

from collections.abc import Iterable, Mapping
from enum import Enum
from functools import cache
from typing import Any, ClassVar, Final

from marshmallow import Schema, post_load, pre_dump, validates_schema

from gfwd.config.collectors import Known
from gfwd.config.kinds import MISSING, Flaw, Group, Several, Text, Word, refuse_keys
from gfwd.rules.classic import TOO_MANY, first_too_many, never_sent
from gfwd.rules.fields import parse_ports, parse_prefix, parse_priority, parse_source
from gfwd.rules.model import FAMILIES, Prefix, Rule, each_once, ports_text

APPLY: Final = ("best", "all")


class _Default(Enum):
    """The source of a rule that counts only where no other one matches."""

    default = "default"

    def __str__(self) -> str:
        return self.value


def rule_keys(known: Known, apply: str) -> Schema:
    """A [[rule]], which is loaded as a Rule. apply: what counts where it does not say it.

    Each text of ports and of collectors is worked out once, however many rules have it.
    """
    return _Rule.from_dict(
        {
            "source": Text(
                lambda text: _Default.default if text == str(_Default.default) else parse_source(text),
                lambda source: str(source or "*"),
                required=True,
                example='"10.2.2.3"',
                says='Exporters: an address, a prefix, "*" for all, or "default".',
            ),
            "except": Several(
                Text(parse_prefix, example='"10.1.2.0/24"'),
                example='["10.1.2.0/24"]',
                attribute="excepted",
                says="Addresses and prefixes within the source that the rule is not for.",
            ),
            "ports": Text(
                cache(parse_ports),
                ports_text,
                required=True,
                example='"514"',
                numbers=True,
                says='Destination ports: "514", "9995-9999", a list of both "514,9995-9999", or "*".',
            ),
            "collectors": Several(
                Text(cache(known.receiver), example='"10.2.2.6"'),
                required=True,
                example='["10.2.2.6"]',
                unique=False,
                attribute="receivers",
                says=(
                    "Who gets a copy: a [collector.NAME] or a [group.NAME] by its NAME, or an address or a name of the"
                    " DNS (with a dot), each with a port behind a colon or without."
                ),
            ),
            "priority": Text(
                parse_priority,
                example='"A"',
                says="A letter, A is the best; default has none. Of equal rules, the one written later wins.",
            ),
            "apply": Word(
                *APPLY,
                load_default=apply,
                says='"best": the rule applies where it wins; "all": wherever it matches, beside the one that wins.'
                " Default: what the file says for all rules.",
            ),
        }
    )()


class _Rule(Group):
    also: ClassVar = {
        "if": {"properties": {"source": {"const": "default"}}},
        "then": {"properties": {"apply": {"const": "best"}}},
        "else": {"required": ["priority"]},
    }

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def judge(self, loaded: Mapping[str, Any], written: Mapping[str, Any], partial: bool | None, **_: Any) -> None:
        flaws: dict[str, Any] = {}
        source, receivers, excepted = loaded.get("source"), loaded.get("receivers", ()), loaded.get("excepted", ())
        if source is _Default.default:
            if "priority" in written:
                flaws["priority"] = "default has no priority, as it comes last: remove it"
            if written.get("apply") == "all":
                flaws["apply"] = "default applies only where nothing else does: remove it, or write another source"
        elif not partial and "source" in loaded and "priority" not in written:
            flaws["priority"] = MISSING
        too_many = first_too_many(receivers)
        if too_many is not None:
            flaws["collectors"] = {too_many: [Flaw(TOO_MANY)]}
        elif isinstance(source, Prefix) and isinstance(receivers, tuple) and receivers:  # a list: some are wrong
            reason = never_sent(source, receivers)
            if reason:
                flaws["collectors"] = {0: [Flaw(reason)]}
        if excepted and isinstance(excepted, tuple) and "source" in loaded:
            flaws |= _flaws_of_excepted(source if isinstance(source, Prefix) else None, excepted)
        refuse_keys(flaws)

    @post_load
    def make(self, loaded: dict[str, Any], partial: bool | None, **_: Any) -> Any:
        """Line 0: a reader who knows where it stands puts it in."""
        if partial:
            return loaded
        is_default = loaded["source"] is _Default.default
        return Rule(
            None if is_default else loaded["source"],
            loaded["ports"],
            each_once(loaded["receivers"]),  # one that comes twice counts once
            loaded.get("priority"),
            0,
            loaded.get("excepted", ()),
            loaded["apply"] == "all" and not is_default,
        )

    @pre_dump
    def take_apart(self, rule: Rule, **_: Any) -> dict[str, Any]:
        return {
            **rule._asdict(),
            "source": _Default.default if rule.priority is None else rule.source or "*",
            "apply": "all" if rule.applies_always else None,
        }


def _flaws_of_excepted(source: Prefix | None, excepted: tuple[Prefix, ...]) -> dict[str, Any]:
    """What is wrong with exceptions of a source, None being any."""
    if source is not None:
        found = [(number, _flaw_beside(source, prefix)) for number, prefix in enumerate(excepted)]
        flaws = {number: [Flaw(flaw)] for number, flaw in found if flaw is not None}
        if flaws:
            return {"except": flaws}
    sources = [source] if source is not None else [Prefix(family, 0, 0) for family in FAMILIES]
    if _size(excepted) == sum(one.size for one in sources):
        return {"except": "nothing of the source is left, so that the rule is for nobody: remove one, or the rule"}
    return {}


def _flaw_beside(source: Prefix, prefix: Prefix) -> str | None:
    if prefix.holds(source):
        return f"{prefix} takes all of the source {source}, so that the rule is for nobody: write a part of it"
    if source.holds(prefix):
        return None
    return f"{prefix} lies outside of the source {source}, so that it changes nothing: remove it"


def _size(prefixes: Iterable[Prefix]) -> int:
    """How many addresses lie in one of the prefixes, or in more."""
    size = 0
    widest: Prefix | None = None
    for prefix in sorted(prefixes):  # what holds others stands before them
        if widest is None or not widest.holds(prefix):
            size += prefix.size
            widest = prefix
    return size
