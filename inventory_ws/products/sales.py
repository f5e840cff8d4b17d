"""The SQL of a sale: the stock of several products, moved in one statement, or none of it."""

import asyncio
from collections.abc import Sequence

from ..pg.connection import BELL
from ..pg.database import Database
from ..pg.errors import translated
from ..pg.lanes import Lane
from .models import SaleLine
from .repository import Cause, NotMade, Result, find_first, once


class NotMoved(NotMade):
    """No line of a sale was executed. The argument lists those that do not fit: the number of the line, and the JSON of its
    product (None: it does not exist)."""


SALE = f"""
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
        -- Fails on purpose if a trigger of the owner has left a product out: no negative number is in this domain.
        (CASE WHEN EXISTS (SELECT FROM faltas) THEN 0 ELSE (SELECT count(*) FROM hechos) - (SELECT count(*) FROM unidades) END)
            ::integer::information_schema.cardinal_number,
        set_config('inventory_ws.causa', (%(cause)s::jsonb || '{{"juntos":true}}')::text, true),
        {BELL}
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


async def sell(db: Database, lines: Sequence[SaleLine], cause: Cause) -> Result:
    """Move the stock of the products. The result has each product once, in the order of the lines. Raise NotMoved, KeyReused,
    Rejected or Unavailable."""
    ids, deltas = [line.id for line in lines], [line.delta for line in lines]
    params = {"ids": ids, "deltas": deltas, "cause": cause.text(), "key": cause.key}

    async def find() -> Result | None:
        if not await find_first(db, cause, lambda *first: first):
            return None
        ((json,),) = await db.fetch(SOLD, params, Lane.QUICK)
        return Result(json, replayed=True) if json else None

    async def move() -> Result:
        rows = await db.fetch(SALE, params)
        if unfit := {product_id: json for product_id, json, fits, *_ in rows if not fits}:
            raise NotMoved([(n, unfit[line.id]) for n, line in enumerate(lines) if line.id in unfit])
        return Result(f"[{','.join(json for _, json, *_ in rows)}]")

    with translated():
        async with asyncio.timeout(db.timeout):  # for all statements together
            return await once(find, move)
