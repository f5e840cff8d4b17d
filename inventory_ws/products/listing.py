"""The SQL of lists of products: as they are, and as they were after an event."""

import asyncio
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..pg.database import Database
from ..pg.lanes import Lane
from .models import STORABLE


class ListQuery(BaseModel):
    """A query for at most `limit` products with ids above `after`. Each word of `q` has to occur in name or description.
    `before`: those with lower ids, the newest first. `at`: the state after that event (None: now)."""

    model_config = ConfigDict(frozen=True)

    limit: Annotated[int, Field(ge=1, le=1000)] | None = None
    after: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    before: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    q: Annotated[str, StringConstraints(max_length=255), STORABLE] = ""
    at: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None


@dataclass
class Products:
    """The products that a query finds. `etag`: of the database snapshot. `json`: the array in UTF-8, `[]` if the caller knows the
    ETag. `length`: the number of products. `last_id`: the id of the last one."""

    etag: str
    json: bytes
    length: int
    last_id: int
    _gzipped: tuple[bytes, asyncio.Future[bytes]] | None = field(default=None, init=False)

    async def gzipped(self, before: bytes, after: bytes) -> bytes:
        """Return `before`, the JSON and `after` in gzip, compressed once as long as they are the same."""
        if self._gzipped is None or self._gzipped[0] != after:
            work = asyncio.get_running_loop().run_in_executor(None, gzip.compress, before + self.json + after, 6)
            self._gzipped = after, work
        return await asyncio.shield(self._gzipped[1])  # others may wait for it too


LIST_CACHE = web.AppKey("LIST_CACHE", dict[ListQuery, Products])
"""The result of the last query without `before`, one entry at most. It is valid as long as the database has the same snapshot."""


async def list_products(
    db: Database, query: ListQuery, known: Sequence[str], cache: dict[ListQuery, Products]
) -> Products:
    """Return the products in the order of their ids, or the reverse for `before`. The ETag is a hash of the snapshot of the
    database, the epoch and the server: equal ETags mean equal data. `known`: ETags for which the caller needs no JSON. `cache`: see
    LIST_CACHE."""
    cached = cache.get(query)
    way, last = _order(query)
    sql = f"""
        WITH estado AS (SELECT md5(concat(pg_current_snapshot(), epoca, pg_postmaster_start_time())) AS etag FROM eventos_epoca)
        SELECT etag, '[' || coalesce(string_agg(j::text, ',' ORDER BY id {way}), '') || ']', count(id), coalesce({last}(id), 0)
        FROM estado LEFT JOIN LATERAL (
            SELECT id, p.*::productos AS p FROM productos AS p
            WHERE estado.etag <> ALL(%(known)s::text[]) AND {_within(query)} AND {_searched("p.nombre", "p.descripcion")}
            ORDER BY id {way} LIMIT %(limit)s
        ) AS elegidos ON true LEFT JOIN LATERAL producto_json(p) AS j ON id IS NOT NULL
        GROUP BY etag
        """
    tags = [*known, cached.etag] if cached else [*known]
    rows = await db.fetch(sql, {**query.model_dump(), "words": _words(query.q), "known": tags}, Lane.QUICK)
    etag, json, length, last_id = rows[0]
    if cached and cached.etag == etag:
        return cached
    products = Products(etag, json.encode(), length, last_id)
    # Not with `before`: that is a first screen, which each page asks for ahead of the list.
    if etag not in known and query.before is None:
        cache.clear()
        cache[query] = products
    return products


async def list_products_at(db: Database, query: ListQuery) -> Products | None:
    """Return the products as they were after the event `query.at`, or None if the log does not reach back to it.

    - A product without events after `query.at` has its current values.
    - Any other product has the values of its last event up to `query.at`; after a deletion it did not exist.
    - Without an event up to `query.at`: if its first later event is the creation, it did not exist yet.
    - Otherwise it is older than the log, and the result is None.
    """
    way, last = _order(query)
    sql = f"""
        WITH cambiados AS MATERIALIZED (
            SELECT nombrado, primero.tipo AS despues FROM eventos_productos() AS nombrado, LATERAL (
                SELECT tipo FROM eventos WHERE producto_id = nombrado AND id > %(at)s ORDER BY id LIMIT 1
            ) AS primero
        ), filas AS (
            SELECT p.id, j.j FROM productos AS p, producto_json(p.*) AS j WHERE p.id NOT IN (SELECT nombrado FROM cambiados)
            UNION ALL
            SELECT nombrado, j FROM cambiados LEFT JOIN LATERAL (
                SELECT tipo, mensaje -> 'data' AS j FROM eventos, eventos_epoca
                WHERE producto_id = nombrado AND id > desde AND id <= %(at)s ORDER BY id DESC LIMIT 1
            ) AS entonces ON true WHERE coalesce(tipo <> 'PRODUCT_DELETED', despues <> 'PRODUCT_CREATED')
        )
        SELECT '[' || coalesce(string_agg(j::text, ',' ORDER BY id {way}), '') || ']', count(id), coalesce({last}(id), 0)
        FROM (
            SELECT id, j FROM filas WHERE {_within(query)} AND {_searched("j ->> 'nombre'", "j ->> 'descripcion'")}
            ORDER BY id {way} LIMIT %(limit)s
        ) AS elegidos
        HAVING NOT EXISTS (SELECT FROM filas WHERE j IS NULL) AND (SELECT desde <= %(at)s FROM eventos_epoca)
        """
    rows = await db.fetch(sql, {**query.model_dump(), "words": _words(query.q)}, Lane.LONG)
    return Products("", rows[0][0].encode(), *rows[0][1:]) if rows else None


def _order(query: ListQuery) -> tuple[str, str]:
    """Return the direction of the order by id, and the aggregate that finds the last id in it."""
    return ("DESC", "min") if query.before else ("", "max")


def _within(query: ListQuery) -> str:
    return "id > %(after)s::bigint" + (" AND id < %(before)s::bigint" if query.before else "")


def _searched(name: str, description: str) -> str:
    """Return the SQL condition that each of `words` occurs in the name or the description."""
    text = f"texto_plegado(({name}) || ' ' || coalesce({description}, '')) COLLATE \"C\""
    words = "SELECT texto_plegado(palabra) FROM unnest(%(words)s::text[]) AS palabra"
    return f"(%(words)s::text[] = '{{}}' OR {text} LIKE ALL (ARRAY({words})))"


def _words(q: str) -> list[str]:
    return ["%" + re.sub(r"([\\%_])", r"\\\1", word) + "%" for word in q.split()]
