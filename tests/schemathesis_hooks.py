"""What a schema can't say and requests have to keep to; schemathesis loads it, see test_openapi.py."""

import re
from typing import Any
from uuid import uuid4

import schemathesis


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Fields of the query that nobody knows are left alone, as a browser's or a proxy's may be. No schema tells of a text
    whether it is a file of products: test_files.py does."""
    known = "x-schemathesis-unknown-property" not in (case.query or {})
    return known and case.media_type not in ("text/csv", "application/octet-stream")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A price has two decimals, the past ends with the last event, a key is of one request, few products can be restored, and
    there are no users, who alone may be named. The lines of a sale are of different products."""
    (case.headers or {}).pop("X-Actor", None)
    body = case.body if isinstance(case.body, dict) else {}
    if isinstance(price := body.get("precio"), float) and 0 <= price <= 9999999999.99:
        body["precio"] = round(price, 2)
    if re.fullmatch("[!#-~][!-~]{,254}", (case.headers or {}).get("Idempotency-Key", "")):
        case.headers["Idempotency-Key"] = uuid4().hex
    if case.path.endswith("/restaurar") and str(number := case.path_parameters["id"]).isdecimal():
        case.path_parameters["id"] = min(int(number), 5)
    if isinstance(lines := body.get("movimientos"), list):
        body["movimientos"] = list(
            {str(line.get("id") if isinstance(line, dict) else line): line for line in lines}.values()
        )
    query = case.query or {}
    if str(query.get("at", "")).isdecimal():
        query["at"] = min(int(query["at"]), 1)
