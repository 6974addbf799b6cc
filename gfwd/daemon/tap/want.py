"""What one looks for."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gfwd.config import values
from gfwd.errors import UsageError
from gfwd.native.core import TAP_SOURCES_MAX
from gfwd.rules.model import ALL_PORTS, Ports, Prefix

_SAMPLE_MOST = 0xFFFFFFFF


class Want(NamedTuple):
    """Datagrams of these exporters (all, where there are none), to these ports, which met this rule: its line, or its
    file and line as gfwd status shows it. sample: one in so many, and beside them those that have templates.
    """

    exporters: tuple[Prefix, ...] = ()
    ports: Ports = ALL_PORTS
    rule: str | None = None
    sample: int = 1

    def as_json(self) -> dict[str, Any]:
        """As an object of JSON, for read()."""
        return {
            "exporters": list(map(str, self.exporters)),
            "ports": values.listen_text(self.ports),
            "rule": self.rule,
            "sample": self.sample,
        }

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> "Want":
        """Raises UsageError where it is none."""
        exporters, rule, sample = found.get("exporters", []), found.get("rule"), found.get("sample", 1)
        try:
            if not isinstance(exporters, list) or not (rule is None or isinstance(rule, str)):
                raise ValueError("of another version")
            if not isinstance(sample, int) or not 1 <= sample <= _SAMPLE_MOST:
                raise ValueError(f"{sample} is not a number from 1 to {_SAMPLE_MOST}")
            want = cls(
                tuple(values.own_prefix(str(one)) for one in exporters),
                values.listen(str(found.get("ports", "all"))),
                rule,
                sample,
            )
        except ValueError as error:
            raise UsageError(f"error: what is looked for is not understood: {error}") from None
        if len(want.exporters) > TAP_SOURCES_MAX:
            raise UsageError(
                f"error: {len(want.exporters)} exporters are looked for, and {TAP_SOURCES_MAX} can be: name a network, "
                "IP/LEN"
            )
        return want
