"""Requests that Hypothesis makes up, each looked at in the answer, the table and the log."""

import asyncio
import http.client
import json
import random
from collections import Counter
from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import quote

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from psycopg2.extensions import cursor

from ..tools.service import Figure, database, inventory, writer

FILES = ["/", "/app.js"]
PRODUCTS = 20  # there are, at first
METHODS = ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "POST", "PUT", "PATCH", "DELETE"]
LEGAL = """
    SELECT count(*) FROM productos WHERE NOT (
        nombre ~ '[^[:space:]]' AND length(nombre) <= 255 AND coalesce(length(descripcion), 0) <= 10000
        AND precio BETWEEN 0 AND 9999999999.99 AND stock >= 0 AND updated_at >= created_at
    )
"""
LOGGED = "SELECT mensaje::text FROM eventos WHERE producto_id = %s ORDER BY id DESC LIMIT 1"


class Request(NamedTuple):
    """What is sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


def often(usual: st.SearchStrategy[Any], rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 4).flatmap(lambda number: usual if number else rare)


def percent(text: str) -> str:
    """The text in a URL: of a length that aiohttp does not refuse by itself."""
    return quote(text[:500], errors="ignore")


numbers = st.one_of(
    st.integers(-5, 50),
    st.integers(),
    st.floats(),
    st.decimals(0, 10**10, places=2).map(float),
    st.sampled_from([2**31 - 1, 2**31, 2**63, 9999999999.99, 1e10, -0.0, 1e-7, 10**400]),
)
texts = st.one_of(
    st.text(max_size=30),
    st.text(st.characters(codec=None), max_size=10),  # with lone surrogates
    st.sampled_from(["", " ", "\x00", "x" * 255, "ñ" * 256, "x" * 10_001, "\u200b", "'; DROP TABLE productos; --"]),
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)
prices = st.integers(0, 10**7).map(lambda cents: cents / 100)
fields = {
    "nombre": often(names, anything),
    "descripcion": often(st.none() | names, anything),
    "precio": often(prices, anything),
    "stock": often(st.integers(0, 1000), anything),
}
deltas = st.fixed_dictionaries({"delta": often(st.integers(-50, 50), anything)})
objects = st.fixed_dictionaries({}, optional={**fields, "delta": numbers, "id": numbers})
products = st.fixed_dictionaries(
    {name: fields[name] for name in ("nombre", "precio")},
    optional={name: fields[name] for name in ("descripcion", "stock")},
)


def encoded(values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    return values.map(lambda value: json.dumps(value).encode())


values = objects | anything
bodies = st.one_of(
    encoded(values),
    encoded(values).map(lambda body: body[:-1]),
    values.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.binary(max_size=50),
    st.none(),
)
ids = often(st.integers(1, PRODUCTS + 5).map(str), st.integers().map(str) | texts.map(percent))
paths = often(
    st.one_of(
        st.just("/api/productos"),
        ids.map("/api/productos/{}".format),
        ids.map("/api/productos/{}".format),
        ids.map("/api/productos/{}/restaurar".format),
        ids.map("/api/productos/{}/stock".format),
        st.just("/api/eventos"),
        st.just("/api/salud"),
    ),
    st.sampled_from([*FILES, "/ws", "/api", "//", "/api/productos/", "/%2e%2e/setup.cfg", "/style.css/"])
    | texts.map(percent).map("/{}".format),
)
pairs = st.tuples(
    st.sampled_from(["limit", "after", "q", "last_event_id", "productos", "%00", "limit%5B%5D"]),
    often(st.integers(-1, 1001).map(str), texts.map(percent)),
)
queries = st.lists(pairs, max_size=3).map(lambda pairs: "&".join(map("=".join, pairs)))
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)
versions = st.sampled_from(['"2024-01-30T10:00:00.000Z"', "*", 'W/"x"', '"', '""', '"x", "y"', "x"])
headers = st.fixed_dictionaries(
    {"Content-Type": often(st.just("application/json"), printable)},
    optional={
        "If-Match": versions | printable,
        "If-None-Match": versions | printable,
        "Origin": st.just("http://localhost") | printable,
        "Host": often(st.just("localhost"), printable),
        "Authorization": printable,
        "Range": st.sampled_from(["bytes=0-5", "bytes=9-1", "bytes=-1"]) | printable,
        "If-Modified-Since": printable,
        "Accept-Encoding": st.sampled_from(["gzip", "br", "*;q=0"]) | printable,
        "Expect": st.sampled_from(["100-continue", "nada"]),
        "Upgrade": st.sampled_from(["websocket", "h2c"]),
        "Cookie": printable,
        "X-HTTP-Method-Override": st.just("DELETE"),
        "Content-Encoding": st.sampled_from(["identity", "gzip", "deflate"]),
    },
)
one = ids.map("/api/productos/{}".format)
routes = st.one_of(  # what there is, and a body that may fit
    st.tuples(st.just("POST"), st.just("/api/productos"), encoded(products)),
    st.tuples(st.sampled_from(["PUT", "PATCH"]), one, encoded(st.fixed_dictionaries({}, optional=fields))),
    st.tuples(st.just("POST"), one.map("{}/stock".format), encoded(deltas)),
    st.tuples(st.just("POST"), one.map("{}/restaurar".format), st.none()),
    st.tuples(st.just("DELETE"), one, st.none()),
    st.tuples(st.just("GET"), paths, st.none()),
)
requests = st.builds(
    lambda route, query, headers: Request(route[0], route[1] + (query and f"?{query}"), headers, route[2]),
    often(routes, st.tuples(st.sampled_from(METHODS), paths, bodies)),
    often(st.just(""), queries),
    often(st.just({"Content-Type": "application/json"}), headers),
)


def send(port: int, request: Request) -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as conn:
        conn.putrequest(request.method, request.target, skip_host="Host" in request.headers, skip_accept_encoding=True)
        for name, value in request.headers.items():
            conn.putheader(name, value.encode("latin-1"))
        if request.body is not None:
            conn.putheader("Content-Length", str(len(request.body)))
        conn.endheaders(request.body)
        resp = conn.getresponse()
        return resp.status, {name.title(): value for name, value in resp.headers.items()}, resp.read()


def judge(request: Request, status: int, headers: dict[str, str], body: bytes, psql: cursor) -> None:
    """Raises AssertionError where the answer, the table or the log is not as it should be."""
    assert status < 500, (status, body)
    file = request.target.partition("?")[0] in FILES and status in (412, 416)  # about a file: without a body
    coded = status == 400 and request.headers.get("Content-Encoding") in ("gzip", "deflate")
    if status >= 400 and not file and not coded and status != 417:  # aiohttp says these two
        assert headers["Content-Type"].startswith("application/json"), headers
        if request.method != "HEAD":
            error = json.loads(body)
            assert error["success"] is False, error
            assert error["message"], error
            assert all(fault["message"] and isinstance(fault["field"], str) for fault in error.get("errors", [])), error
    psql.execute(LEGAL)
    assert psql.fetchone() == (0,)
    if status in (200, 201) and request.method in METHODS[5:]:
        data = json.loads(body)["data"]
        psql.execute(LOGGED, [data["id"]])
        event = json.loads(psql.fetchone()[0])
        assert event["data"] == ({"id": data["id"]} if request.method == "DELETE" else data), event


async def check(server: str, size: int = 5000, *, chance: bool = True) -> list[Figure]:
    """Requests made up of every method, path, query, header and body"""
    number = random.randrange(10**6) if chance else 0
    statuses: Counter[int] = Counter()
    with database(server) as dsn, closing(writer(dsn)) as conn, conn.cursor() as psql:
        psql.execute(f"INSERT INTO productos (nombre, precio) SELECT 'x', 1 FROM generate_series(1, {PRODUCTS})")
        async with inventory(dsn) as service:

            @seed(number)
            @settings(
                max_examples=size,
                database=None,
                deadline=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )
            @given(requests)
            def hold(request: Request) -> None:
                status, headers, body = send(service.port, request)
                statuses[status] += 1
                judge(request, status, headers, body, psql)

            await asyncio.to_thread(hold)
            complaints = service.complaints()
        psql.execute("SELECT count(*) FROM eventos")
        events = psql.fetchone()[0] - PRODUCTS
    done = sum(number for status, number in statuses.items() if status < 300)
    return [
        Figure("seed; requests", "", f"{number}; {statuses.total()}"),
        Figure("statuses", "none of 5xx", str(dict(sorted(statuses.items()))), max(statuses) < 500),
        Figure("of them 2xx; events", f">= {size // 10}", f"{done}; {events}", done >= size // 10),
        complaints,
    ]
