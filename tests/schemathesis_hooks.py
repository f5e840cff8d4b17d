"""What a schema can't say, and schemathesis is to keep to: loaded by it, see test_openapi.py."""

import re
from typing import Any

import schemathesis

VISIBLE = re.compile(r"^[^\0]*[^\s\0-\x1f\x7f-\xa0\xad][^\0]*$", re.DOTALL)  # as near as the schema comes to it


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Fields of the query that nobody knows are left alone, as a browser's or a proxy's may be."""
    return "x-schemathesis-unknown-property" not in (case.query or {})


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A price has two decimals, a name can be seen, the past begins with the first event."""
    body = case.body if isinstance(case.body, dict) else {}
    price, name = body.get("precio"), body.get("nombre")
    if isinstance(price, float) and 0 <= price <= 9999999999.99:
        body["precio"] = round(price, 2)
    if isinstance(name, str) and VISIBLE.match(name) and not any(map(str.isprintable, name.split())):
        body["nombre"] = "Cable"
    at = str((case.query or {}).get("at"))
    if at.isdecimal() and 1 < int(at) < 2**63:
        case.query["at"] = 1
