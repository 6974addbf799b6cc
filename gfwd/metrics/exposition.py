"""Prometheus' text format, version 0.0.4: families of metrics, and what they are now → a page.

Source: prometheus.io, Exposition formats, "Text-based format". prometheus_client renders it too, but its first import
brings ssl, an HTTP server and collectors of its own along; so it is only what tests read pages with.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """What one metric is now. labels: values, in the order of the family's names."""

    family: "Family"
    labels: tuple[str, ...]
    value: float


@dataclass(frozen=True, slots=True)
class Family:
    """Metrics of one name. kind: a counter only grows, until gfwd is started again. says: what it counts, or shows.

    Called with its value and those of its labels, it makes a sample.
    """

    name: str
    kind: Literal["counter", "gauge"]
    says: str
    labels: tuple[str, ...] = ()

    def __call__(self, value: float, *labels: str) -> Sample:
        assert len(labels) == len(self.labels), self.name
        return Sample(self, labels, value)


def page(families: Iterable[Family], samples: Iterable[Sample]) -> bytes:
    """All families, in their order, each with its samples; one without any is left out. Labels must differ."""
    lines: dict[Family, list[str]] = {family: [] for family in families}
    for family, labels, value in samples:
        lines[family].append(f"{family.name}{_labels(family.labels, labels)} {value!r}\n")
    parts = (f"{_head(family)}{''.join(its)}" for family, its in lines.items() if its)
    return "".join(parts).encode(errors="backslashreplace")


def _head(family: Family) -> str:
    says = family.says.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {family.name} {says}\n# TYPE {family.name} {family.kind}\n"


def _labels(names: Iterable[str], values: Iterable[str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
