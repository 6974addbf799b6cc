"""Messages as plain objects, for JSON."""

from typing import Any

from gfwd.netflow.message import FlowSet, Kind, Message, Sample
from gfwd.netflow.template import VARIABLE, Template


def plain(message: Message) -> dict[str, Any]:
    """What docs/inspect.md describes, from protocol on."""
    found: dict[str, Any] = {
        "protocol": message.protocol,
        "version": message.version,
        "length": message.length,
        "count": message.count,
        "sys_uptime": message.sys_uptime,
        "unix_secs": message.unix_secs,
        "sequence": message.sequence,
        "source_id": message.source_id,
        "sets": [_set(one) for one in message.sets],
    }
    if message.sampling is not None:
        found["sampling"] = message.sampling
    found |= message.details
    if message.samples is not None:
        found["samples"] = [_sample(one) for one in message.samples()]
    if message.flaw is not None:
        found["flaw"] = message.flaw
    return found


def _set(its: FlowSet) -> dict[str, Any]:
    is_data = its.kind is Kind.DATA
    return {
        "id": its.id,
        "kind": its.kind.value,
        "length": its.length,
        "records": its.records() if is_data else [_template(one) for one in its.templates],
    }


def _template(its: Template) -> dict[str, Any]:
    fields = [
        {
            "name": one.name,
            "enterprise": one.enterprise,
            "id": one.number,
            "length": None if its.is_variable and one.length == VARIABLE else one.length,
        }
        for one in its.fields
    ]
    return {"id": its.id, "scope_fields": its.n_scope, "fields": fields}


def _sample(its: Sample) -> dict[str, Any]:
    return {
        "kind": its.kind,
        "length": its.length,
        "sequence": its.sequence,
        "source_id": its.source_id,
        "sampling": its.sampling,
        "drops": its.drops,
        "records": [one._asdict() for one in its.records],
    }
