"""What a datagram says, in words that all protocols share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from gfwd.netflow.template import ListReader, Record, Template

NETFLOW: Final = "NetFlow"
IPFIX: Final = "IPFIX"
SFLOW: Final = "sFlow"
SYSLOG: Final = "syslog"
SNMP: Final = "SNMP"


def protocol_text(protocol: str | None, version: int | str | None) -> str:
    """NetFlow v9, IPFIX, syslog (RFC 5424)."""
    if protocol is None:
        return "unknown"
    if version is None or protocol == IPFIX:
        return protocol
    return f"syslog (RFC {version})" if protocol == SYSLOG else f"{protocol} v{version}"


class Kind(StrEnum):
    """Of a set (RFC 7011 §3.3.2; FlowSet in RFC 3954 §5)."""

    TEMPLATE = "template"
    OPTIONS_TEMPLATE = "options_template"
    DATA = "data"


@dataclass(slots=True)
class FlowSet:
    """id: None in NetFlow v1 to v7, whose records stand in no set. length: in bytes, with the set's own header.

    n_records: None where the template is unknown. body: the records. template: of data; templates: in a template set.
    lists: who reads lists in its records, in IPFIX, with the templates that are known by then.
    """

    id: int | None
    kind: Kind
    length: int
    n_records: int | None
    body: bytes = b""
    template: Template | None = None
    templates: Sequence[Template] = ()
    lists: ListReader | None = None

    def records(self) -> list[Record] | None:
        """Of data: values by name; None where the template is unknown."""
        return None if self.template is None else self.template.records(self.body, self.lists)


class Part(NamedTuple):
    """A flow or counter record of a sample, or a binding of a trap. length: in bytes, without its own header."""

    kind: str
    length: int


@dataclass(slots=True)
class Sample:
    """A sample of sFlow. kind: "flow", "counters" …, or the numbers of one that is not known. length: in bytes, without
    its own header. source_id: class << 24 | index. sampling: one packet of so many. drops: packets that the agent
    should have sampled, and had no room for, since it began. n_records: as it says itself.
    """

    kind: str
    length: int
    sequence: int | None = None
    source_id: int | None = None
    sampling: int | None = None
    drops: int | None = None
    n_records: int | None = None
    records: Sequence[Part] = ()


@dataclass(slots=True)
class Message:
    """protocol: one of the words above, or None where it is none of them. version: a number, or in SNMP and syslog what
    people call it.

    length: in bytes, as IPFIX's header has it, and of the whole payload in all other protocols. count: as the header
    has it: records in NetFlow, samples in sFlow. sys_uptime: ms. unix_secs: the header's time, in seconds since 1970.
    source_id: the source ID, the observation domain, the engine's type and ID (16 bits), or the sub-agent's ID.
    sequence: in whatever that protocol counts; step: by how much this datagram moves it on, or None where that cannot
    be told. sampling: one packet of so many, where the header says so. samples: of sFlow, which are read when asked
    for; rates: their sampling, each value once, and quicker. details: what only this protocol has, by name. flaw: what
    is wrong first; what can be read is there all the same.
    """

    protocol: str | None
    version: int | str | None
    length: int
    count: int | None = None
    sys_uptime: int | None = None
    unix_secs: int | None = None
    sequence: int | None = None
    source_id: int | None = None
    step: int | None = None
    sampling: int | None = None
    sets: list[FlowSet] = field(default_factory=list)
    samples: Callable[[], list[Sample]] | None = None
    rates: Callable[[], set[int]] | None = None
    details: dict[str, Any] = field(default_factory=dict)
    flaw: str | None = None
