"""The keys of gfwd.toml as a JSON schema, from which editors know what may stand where.

python -m gfwd.config.json_schema > packaging/gfwd.schema.json
"""

import json
import tomllib
from typing import Any, Final

from marshmallow import Schema
from marshmallow.fields import Field

from gfwd.config.keys import all_keys
from gfwd.config.kinds import Named, Number, Several, Switch, Table, Text, Word

_DIALECT: Final = "http://json-schema.org/draft-07/schema#"  # what editors for TOML understand


def json_schema() -> dict[str, Any]:
    """The schema of the whole file."""
    return {"$schema": _DIALECT, "title": "gfwd.toml", **_of_group(all_keys())}


def schema_text() -> str:
    """The schema as it stands in packaging/gfwd.schema.json."""
    return json.dumps(json_schema(), indent=2) + "\n"


def _of_group(group: Schema) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {key: _of_field(field) for key, field in group.fields.items()},
        "required": [key for key, field in group.fields.items() if field.required],
        "additionalProperties": False,
        **getattr(group, "also", {}),
    }


def _of_field(field: Field[Any]) -> dict[str, Any]:
    about: dict[str, Any] = dict(field.metadata)
    if isinstance(field, Text):
        about["type"] = ["string", "integer"] if field.numbers else "string"
    elif isinstance(field, Word):
        about |= {"type": "string", "enum": list(field.words)}
    elif isinstance(field, Number):
        number = {"type": "integer", "minimum": field.least, "maximum": field.most}
        about |= number if field.word is None else {"anyOf": [number, {"const": field.word}]}
    elif isinstance(field, Switch):
        about["type"] = "boolean"
    elif isinstance(field, Several):
        items = {"items": _of_field(field.inner), "minItems": field.least, "uniqueItems": field.unique}
        about |= {"type": "array", **items}
    elif isinstance(field, Table):
        return about | _of_group(field.schema)
    elif isinstance(field, Named) and field.value_field is not None:
        return about | {"type": "object", "additionalProperties": _of_field(field.value_field)}
    if "description" in about and not _holds_tables(field):
        about["examples"] = [tomllib.loads(f"example = {getattr(field, 'example', '')}")["example"]]
    return about


def _holds_tables(field: Field[Any]) -> bool:
    return isinstance(field, Several) and isinstance(field.inner, Table)


if __name__ == "__main__":
    print(schema_text(), end="")
