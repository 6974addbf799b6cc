"""A reader of Prometheus' text format 0.0.4 that takes nothing that is not right, and that knows nothing of gfwd.

Source: prometheus.io, Exposition formats; and of names, Metric and label naming.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

Labels = frozenset[tuple[str, str]]

_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
_VALUE = r"(?:[-+]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|Inf)|NaN)"
_HELP = re.compile(rf"# HELP ({_NAME}) (.*)", re.DOTALL)
_TYPE = re.compile(rf"# TYPE ({_NAME}) (counter|gauge)")
_PAIR = rf'{_NAME}="(?:[^"\\\n]|\\[\\"n])*"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_PAIR}(?:,{_PAIR})*)\}})? ({_VALUE})", re.DOTALL)
_ONE_PAIR = re.compile(rf'({_NAME})="((?:[^"\\\n]|\\[\\"n])*)"', re.DOTALL)


@dataclass
class Read:
    """A family that was read."""

    kind: str
    says: str
    samples: dict[Labels, float] = field(default_factory=dict)


def read(page: bytes) -> dict[str, Read]:
    """All families, by name; what is not right fails the test."""
    text = page.decode()
    assert text.endswith("\n")
    families: dict[str, Read] = {}
    name, says, kind = "", "", ""
    for line in text[:-1].split("\n"):
        if found := _HELP.fullmatch(line):
            name, says, kind = found[1], found[2], ""
            assert name not in families, f"{name} stands there twice"
            assert says
        elif found := _TYPE.fullmatch(line):
            assert found[1] == name and not kind, f"# TYPE {found[1]} does not follow its # HELP"
            kind = found[2]
            assert (kind == "counter") == name.endswith("_total"), f"{name}: {kind}"
            families[name] = Read(kind, says)
        else:
            found = _SAMPLE.fullmatch(line)
            assert found is not None, line
            assert kind and found[1] == name, f"{line} stands among the samples of {name}"
            pairs = _ONE_PAIR.findall(found[2] or "")
            labels = frozenset((label, _plain(value)) for label, value in pairs)
            assert len({label for label, _ in pairs}) == len(pairs), line
            assert labels not in families[name].samples, f"{line} stands there twice"
            value = float(found[3])
            assert kind == "gauge" or value >= 0, line
            families[name].samples[labels] = value
    assert all(family.samples for family in families.values())
    return families


def _plain(escaped: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], escaped)


def value(families: dict[str, Read], name: str, **labels: str) -> float:
    return families[name].samples[frozenset(labels.items())]


def total(families: dict[str, Read], name: str, **labels: str) -> float:
    """Added up over all samples that have these labels: PromQL's sum(name{labels})."""
    wanted = frozenset(labels.items())
    return sum(n for its, n in families[name].samples.items() if its >= wanted)
