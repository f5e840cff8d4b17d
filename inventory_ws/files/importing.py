"""The SQL of an import: all rows of a file in one statement."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from aiohttp import web

from ..pg.database import Database
from ..pg.errors import Rejected
from ..pg.lanes import Lane
from ..products.repository import Cause, fetch_with_new_ids, find_event
from .csvfile import FIELDS

IMPORT_TIMEOUT = 60.0  # seconds for a whole file

FILES = web.AppKey("FILES", asyncio.Lock)
"""Held by the thread that reads or writes a file: beside several of them, the event loop would run too rarely."""


class Imported(NamedTuple):
    """The result of an import. `json`: `{"creados":2,"actualizados":1}`."""

    json: str
    replayed: bool = False


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


async def import_products(db: Database, fields: Sequence[str], rows: str, cause: Cause) -> Imported:
    """Create and change products by the rows of a file (`csvfile.Table`), in one statement: all rows or none. Raise
    MissingProducts, KeyReused, Rejected or Unavailable."""
    params = {"rows": rows, "cause": cause._replace(fingerprint="").text(), "fingerprint": cause.fingerprint or None}
    if first := await _find_first(db, cause):
        return first
    try:
        ((json, missing, changed, _),) = await fetch_with_new_ids(db, _sql(fields), params, Lane.LONG, IMPORT_TIMEOUT)
    except Rejected:  # also by the unique index of the keys, if a concurrent request was first
        if first := await _find_first(db, cause):
            return first
        raise
    if missing:
        raise MissingProducts(missing)
    # A concurrent request with the same key may have left nothing to change.
    first = None if changed else await _find_first(db, cause)
    return first or Imported(json)


async def _find_first(db: Database, cause: Cause) -> Imported | None:
    """Return the result of the first import with the key, or None if there was none. Raise KeyReused."""
    done = await find_event(db, cause)
    return Imported(done[0].partition(" ")[2], replayed=True) if done else None
