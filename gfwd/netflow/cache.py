"""The templates of all exporters: what was learned last, and used last, is kept; what does not fit is forgotten, and
counted.

A template holds for its scope: in NetFlow v9 the exporter and its source ID (RFC 3954 §5.1, §7), in IPFIX the transport
session and its observation domain (RFC 7011 §8). A new one with the same ID takes its place (RFC 7011 §8.4).
"""

from collections import Counter, OrderedDict
from collections.abc import Hashable
from typing import Final, NamedTuple

from gfwd.netflow.template import Template

TEMPLATES_MOST: Final = 65_536
FIELDS_MOST: Final = 262_144


class Sender(NamedTuple):
    """exporter: an address. session: all of the transport session: over UDP both addresses and both ports."""

    exporter: bytes
    session: Hashable


class Scope(NamedTuple):
    """session: of IPFIX; None in NetFlow v9. domain: the observation domain, or the source ID."""

    exporter: bytes
    session: Hashable
    domain: int


class TemplateCache:
    """forgotten: templates that had to go. withdrawals: that were ignored, as they must be over UDP (RFC 7011 §8.4)."""

    def __init__(self, templates: int = TEMPLATES_MOST, fields: int = FIELDS_MOST) -> None:
        self.forgotten = 0
        self.withdrawals = 0
        self._most_templates = templates
        self._most_fields = fields
        self._fields = 0
        self._templates: OrderedDict[tuple[Scope, int], Template] = OrderedDict()

    def __len__(self) -> int:
        return len(self._templates)

    @property
    def fields(self) -> int:
        """Of all templates together: what the memory goes by."""
        return self._fields

    def learn(self, scope: Scope, template: Template) -> None:
        key = scope, template.id
        before = self._templates.pop(key, None)
        if before is not None:
            self._fields -= len(before.fields)
        self._templates[key] = template
        self._fields += len(template.fields)
        while len(self._templates) > self._most_templates or self._fields > self._most_fields:
            _, gone = self._templates.popitem(last=False)
            self._fields -= len(gone.fields)
            self.forgotten += 1

    def by_exporter(self) -> Counter[bytes]:
        """How many templates of each are kept."""
        return Counter(scope.exporter for scope, _ in self._templates)

    def find(self, scope: Scope, template_id: int) -> Template | None:
        key = scope, template_id
        found = self._templates.get(key)
        if found is not None:
            self._templates.move_to_end(key)
        return found
