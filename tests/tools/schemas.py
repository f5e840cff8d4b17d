"""JSON Schemas of the descriptions, read strictly."""

from typing import Any

from jsonschema import Draft202012Validator


def closed(part: Any) -> Any:
    """The schema, or a part of it, in which an object has no other properties than those it names."""
    if isinstance(part, list):
        return [closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    found = {name: closed(value) for name, value in part.items()}
    return {"additionalProperties": False, **found} if "properties" in part else found


def differences(description: dict, schema: dict, value: object) -> list[str]:
    """What the value has that the schema of the description does not tell, or tells otherwise."""
    whole = {**closed(schema), "components": closed(description["components"])}
    return [fault.message for fault in Draft202012Validator(whole).iter_errors(value)]
