"""What a request says: the id in its path, its body, its cause, its versions. What is raised here, errors.py answers."""

import asyncio
import hashlib
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import quote, unquote

from aiohttp import ETag, hdrs, web
from pydantic import BaseModel

from ..products.exact_json import decode
from ..products.repository import Cause, Versions
from .errors import Failure
from .security import ACTOR

MAX_BODY = 64 * 1024  # bytes
MAX_FILE = 16 * 1024 * 1024  # an export of 50,000 products; while it is imported, it takes up to 450 MiB of memory
BODY_TIMEOUT = 10.0  # seconds
FILE_TIMEOUT = 60.0
GZIP = re.compile(r"(^|,)\s*gzip\s*(;\s*q=(1|0?\.0*[1-9])[^,]*)?(,|$)", re.IGNORECASE)
MARKS = re.compile(r"(-+(gzip|br|zstd|deflate)|;.*)+$")  # of proxies that compress, at the end of an ETag

FILE_TYPES = (
    "text/csv",
    "text/tab-separated-values",
    "application/octet-stream",
    "application/vnd.ms-excel",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.oasis.opendocument.spreadsheet",
)

Model = TypeVar("Model", bound=BaseModel)


def read_id(request: web.Request) -> int:
    """Return the id in the path. It can exceed an integer, but not a bigint: hence `::bigint` in the SQL."""
    return int(request.match_info["id"])


async def read_model(request: web.Request, model: type[Model]) -> Model:
    """Parse and validate the body. Raise Failure or ValidationError."""
    if request.content_type != "application/json":
        raise Failure("tipo_no_admitido")
    try:
        value = decode(await read_body(request))
    except UnicodeDecodeError:
        raise Failure("texto_no_utf8") from None
    except ValueError as exc:
        raise Failure("json_invalido") from exc
    return model.model_validate(value)


async def read_body(request: web.Request) -> bytes:
    """Return the body. Raise Failure if it is too slow or too large, or the error of a broken connection."""
    limit, seconds = (MAX_FILE, FILE_TIMEOUT) if is_file(request) else (MAX_BODY, BODY_TIMEOUT)
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(None if request.content.is_eof() else seconds):
            data = await request.read()
    except TimeoutError:
        raise Failure("cuerpo_lento", headers={hdrs.CONNECTION: "close"}) from None
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(request.client_max_size) from None  # the host application's limit may be lower
    if len(data) > limit:
        raise _too_large(limit)
    return data


def _too_large(limit: int) -> Failure:
    size = f"{limit >> 20} MiB" if limit >> 20 else f"{limit >> 10} KiB"
    return Failure("cuerpo_grande", f"El cuerpo pasa de {size}")


async def read_cause(request: web.Request, reason: str = "") -> Cause:
    """Return the actor, the reason, and the Idempotency-Key with the fingerprint of the request. Raise Failure."""
    actor = request.get(ACTOR, "")
    # Of a page on which somebody else has signed in since.
    if unquote(request.headers.get("X-Actor", quote(actor))) != actor:
        raise Failure("otro_usuario")
    if "Idempotency-Key" not in request.headers:
        return Cause(actor, reason)
    # Several headers together contain a blank, which the check below refuses.
    key = " ".join(request.headers.getall("Idempotency-Key"))
    if quoted := re.fullmatch(r'"(.*)"', key):  # a string, as RFC 9651 writes it
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    if not re.fullmatch(r"[!-~]{1,255}", key):
        raise Failure("idempotency_key_invalida")
    body = await read_body(request)  # aiohttp keeps it
    asked = f"?{request.query_string}" if request.query_string else ""
    same = f"{request.method} {request.path}{asked}\n{actor}\n".encode() + body
    return Cause(actor, reason, key, hashlib.sha256(same).hexdigest())


def read_versions(request: web.Request) -> Versions:
    """Return the versions in If-Match, or None if the header is missing or is `*`. Raise Failure if it is empty."""
    if request.headers.get(hdrs.IF_MATCH) == "":  # a proxy has removed the ETag that was to be sent
        raise Failure("if_match_vacio")
    tags = read_tags(request.if_match)
    if request.if_match is None or "*" in tags:
        return None
    found = []
    for tag in tags:
        with suppress(ValueError):  # a foreign ETag matches no product
            found.append(datetime.strptime(tag, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC))
    return found


def read_tags(tags: tuple[ETag, ...] | None) -> list[str]:
    """Return the ETags of a header as this service sent them. Weak ones, too: a proxy that compresses makes them weak."""
    return [MARKS.sub("", tag.value) for tag in tags or ()]


def is_file(request: web.Request) -> bool:
    """Return whether the body is a file of products. aiohttp takes one of no type, or of none that it knows, for binary."""
    return request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower() in FILE_TYPES


def wants_csv(request: web.Request) -> bool:
    """Return whether the client asks for a file and not for JSON."""
    if request.path.endswith(".csv"):
        return True
    accept = request.headers.get(hdrs.ACCEPT, "").lower()
    return "text/csv" in accept and "application/json" not in accept


def wants_gzip(request: web.Request) -> bool:
    return GZIP.search(request.headers.get(hdrs.ACCEPT_ENCODING, "")) is not None
