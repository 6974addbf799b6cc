"""The keys of [exporters]."""

from typing import Any, Final

from marshmallow import Schema, post_load, pre_dump

from gfwd.config.collector_keys import RATE_MOST
from gfwd.config.kinds import Group, Named, Number, Several, Text
from gfwd.rules.fields import parse_prefix
from gfwd.rules.model import Exporters

_PREFIX_EXAMPLE: Final = '"10.1.0.0/16"'


def exporter_keys() -> Schema:
    """[exporters], which is loaded as Exporters."""
    prefix = Text(parse_prefix, example=_PREFIX_EXAMPLE)
    return _Exporters.from_dict(
        {
            "allow": Several(
                prefix,
                example='["10.0.0.0/8", "2001:db8::/32"]',
                says="Addresses and prefixes whose datagrams are taken; all others are denied. Default: all are taken.",
            ),
            "deny": Several(
                prefix,
                example='["10.9.0.0/16"]',
                says="Addresses and prefixes whose datagrams are dropped, also where allow has them.",
            ),
            "limit": Number(
                1,
                RATE_MOST,
                example="50000",
                says="So many datagrams a second are taken from each exporter. Default: all.",
            ),
            "limits": Named(
                prefix,
                Number(0, RATE_MOST, example="20000"),
                example='[exporters.limits] with "10.1.0.0/16" = 20000',
                says="The limit of each exporter of a prefix, 0 for none; the longest prefix counts.",
            ),
        }
    )()


class _Exporters(Group):
    @post_load
    def make(self, loaded: dict[str, Any], partial: bool | None, **_: Any) -> Any:
        if partial:
            return loaded
        limits = {prefix: limit or None for prefix, limit in loaded.get("limits", {}).items()}
        return Exporters(**{**loaded, "limits": tuple(limits.items())})

    @pre_dump
    def take_apart(self, exporters: Exporters, **_: Any) -> dict[str, Any]:
        return {**exporters._asdict(), "limits": {prefix: limit or 0 for prefix, limit in exporters.limits}}
