"""The SQL of several products in one statement, all of them or none: the rows of a file, the lines of a sale."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from aiohttp import web

from ..pg.connection import STATEMENT_TIMEOUT
from ..pg.database import Database
from ..pg.errors import Rejected, translated
from ..pg.lanes import Lane
from .csvfile import FIELDS
from .models import SaleLine
from .repository import Cause, fetch_with_new_ids, find_event

IMPORT_TIMEOUT = 60.0  # seconds for a whole file

FILES = web.AppKey("FILES", asyncio.Lock)
"""Held by the thread that reads or writes a file: beside several of them, the event loop would run too rarely."""


class Done(NamedTuple):
    """What was done. `json`: `{"creados":2,"actualizados":1}`, or the products of a sale; `replayed`: by an earlier request."""

    json: str
    replayed: bool = False


class NotMoved(Exception):
    """No line of a sale was executed. The argument lists those that do not fit: the number of the line, and the JSON of its
    product (None: it does not exist)."""


class MissingProducts(Exception):
    """Nothing was imported, as some products do not exist. The argument is the list of their rows' numbers in the file."""


def _sql(fields: Sequence[str]) -> str:
    """Return the statement of an import that writes `fields`."""
    # CSV cannot distinguish '' from NULL. A stored name may have blanks around it: it is also compared with the unstripped cell.
    # COLLATE: of two texts that only the type or the collation of the column calls equal, one changes the other.
    same = [
        f"coalesce(p.{name}::text, '') COLLATE \"C\" = coalesce(f.{name}::text, '')"
        for name in fields
        if name != "nombre"
    ]
    same += ['p.nombre::text COLLATE "C" IN (f.nombre, f.crudo)'] if "nombre" in fields else []
    columns = ", ".join(FIELDS)
    return f"""
        WITH filas AS MATERIALIZED (
            SELECT (e.j ->> 'fila')::integer AS fila, (e.j ->> 'producto')::bigint AS id, e.j ->> 'crudo' AS crudo, {columns}
            FROM json_array_elements(%(rows)s::json) AS e (j), json_populate_record(NULL::productos, e.j)
        ), vistos AS MATERIALIZED (
            SELECT id FROM productos WHERE id IN (SELECT id FROM filas) ORDER BY id FOR NO KEY UPDATE
        ), perdidas AS MATERIALIZED (
            SELECT fila FROM filas WHERE id IS NOT NULL AND id NOT IN (SELECT id FROM vistos) ORDER BY fila LIMIT 100
        ), creados AS (
            INSERT INTO productos ({columns}) SELECT {columns} FROM filas
            WHERE id IS NULL AND NOT EXISTS (SELECT FROM perdidas) ORDER BY fila
            RETURNING id
        ), cambiados AS (
            UPDATE productos AS p SET {", ".join(f"{name} = f.{name}" for name in fields)} FROM filas AS f
            WHERE p.id = f.id AND NOT EXISTS (SELECT FROM perdidas)
              AND NOT ({" AND ".join(same)})
            RETURNING p.id
        ), hecho AS (
            SELECT c + a AS cuantos, format('{{"creados":%s,"actualizados":%s}}', c, a) AS json
            FROM (SELECT count(*) AS c FROM creados) AS nuevos, (SELECT count(*) AS a FROM cambiados) AS otros
        )
        SELECT json, ARRAY(SELECT fila FROM perdidas), cuantos, set_config('inventory_ws.causa',
            jsonb_strip_nulls(%(cause)s::jsonb || jsonb_build_object('huella', %(fingerprint)s::text || ' ' || json))::text, true)
        FROM hecho
        """


async def import_products(db: Database, fields: Sequence[str], rows: str, cause: Cause) -> Done:
    """Create and change products by the rows of a file (`csvfile.Table`). Raise MissingProducts, KeyReused, Rejected or
    Unavailable."""
    params = {"rows": rows, "cause": cause._replace(fingerprint="").text(), "fingerprint": cause.fingerprint or None}

    async def find() -> Done | None:
        done = await find_event(db, cause)
        return Done(done[0].partition(" ")[2], replayed=True) if done else None

    async def make() -> Done:
        ((json, missing, changed, _),) = await fetch_with_new_ids(db, _sql(fields), params, Lane.LONG, IMPORT_TIMEOUT)
        if missing:
            raise MissingProducts(missing)
        # A concurrent request with the same key may have left nothing to change.
        return Done(json) if changed else await find() or Done(json)

    return await _once(find, make, IMPORT_TIMEOUT)


SALE = """
    WITH unidades AS MATERIALIZED (
        SELECT id, sum(delta) AS delta, min(n) AS n
        FROM unnest(%(ids)s::integer[], %(deltas)s::integer[]) WITH ORDINALITY AS l (id, delta, n) GROUP BY id
    ), vistos AS MATERIALIZED ( -- locked in the order of ids, so that no two sales wait for each other
        SELECT id, stock, p AS fila FROM productos AS p WHERE id IN (SELECT id FROM unidades) ORDER BY id FOR NO KEY UPDATE
    ), faltas AS MATERIALIZED (
        SELECT id FROM unidades LEFT JOIN vistos USING (id) WHERE (stock + delta BETWEEN 0 AND 2147483647) IS NOT TRUE
    ), hechos AS (
        UPDATE productos AS p SET stock = p.stock + u.delta FROM unidades AS u
        WHERE p.id = u.id AND NOT EXISTS (SELECT FROM faltas)
        RETURNING p.id, (SELECT j::text FROM producto_json(p.*) AS j) AS j
    )
    SELECT u.id, coalesce(h.j, (SELECT j::text FROM producto_json(v.fila) AS j WHERE v.id IS NOT NULL)),
        u.id NOT IN (SELECT id FROM faltas),
        -- No negative number is in this domain: where a trigger of the owner has left a product out, the rest is undone.
        (CASE WHEN EXISTS (SELECT FROM faltas) THEN 0 ELSE (SELECT count(*) FROM hechos) - (SELECT count(*) FROM unidades) END)
            ::integer::information_schema.cardinal_number,
        set_config('inventory_ws.causa', (%(cause)s::jsonb || '{"juntos":true}')::text, true)
    FROM unidades AS u LEFT JOIN vistos AS v USING (id) LEFT JOIN hechos AS h USING (id) ORDER BY n
    """
# The products of a sale as its events have them, from the one with the key on.
SOLD = """
    SELECT '[' || string_agg((hecho.mensaje -> 'data')::text, ',' ORDER BY n) || ']'
    FROM (
        SELECT id, min(n) AS n FROM unnest(%(ids)s::integer[]) WITH ORDINALITY AS l (id, n) GROUP BY id
    ) AS u, LATERAL (
        SELECT mensaje FROM eventos WHERE producto_id = u.id AND id >= (SELECT id FROM eventos WHERE clave = %(key)s)
        ORDER BY eventos.id LIMIT 1
    ) AS hecho
    """


async def move_stock(db: Database, lines: Sequence[SaleLine], cause: Cause) -> Done:
    """Move the stock of the products. The result has each product once, in the order of the lines. Raise NotMoved, KeyReused,
    Rejected or Unavailable."""
    ids, deltas = [line.id for line in lines], [line.delta for line in lines]
    params = {"ids": ids, "deltas": deltas, "cause": cause.text(), "key": cause.key}

    async def find() -> Done | None:
        if not await find_event(db, cause):
            return None
        ((json,),) = await db.fetch(SOLD, params, Lane.QUICK)
        return Done(json, replayed=True) if json else None

    async def make() -> Done:
        rows = await db.fetch(SALE, params)
        if unfit := {product_id: json for product_id, json, fits, *_ in rows if not fits}:
            raise NotMoved([(n, unfit[line.id]) for n, line in enumerate(lines) if line.id in unfit])
        return Done(f"[{','.join(json for _, json, *_ in rows)}]")

    return await _once(find, make, STATEMENT_TIMEOUT)


async def _once(
    find: Callable[[], Awaitable[Done | None]], make: Callable[[], Awaitable[Done]], seconds: float
) -> Done:
    """Return what `find` knows of the first request with the key, or else what `make` does, unless another such request was
    faster. `seconds`: for all statements together."""
    with translated():
        async with asyncio.timeout(seconds):
            try:
                return await find() or await make()
            except (Rejected, NotMoved):  # also by the unique index of the keys
                if first := await find():
                    return first
                raise
