"""The SQL of products: one statement per operation. PostgreSQL renders the JSON."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from .aiopg_fixes import Params, Row
from .connection import STATEMENT_TIMEOUT
from .database import Database
from .postgresql_errors import Rejected, Unavailable
from .product import NewProduct, Page, ProductChange, encode

IMPORT_TIMEOUT = 60.0  # seconds for a whole file
REFUSAL_TIMEOUT = 0.4  # seconds to read why a change was refused; change and answer together stay under four

Versions = Sequence[datetime] | None
"""The product versions that a change applies to; None: any version."""

ESCAPES = str.maketrans({character: f"\\{character}" for character in "\\%_"})  # special characters of LIKE


class Cause(NamedTuple):
    """Why a change is made, stored with its event. `actor`: who makes it. `motivo`: the reason. `clave`: the
    Idempotency-Key of the request; `huella`: a fingerprint of the request, equal only for the same request."""

    actor: str = ""
    motivo: str = ""
    clave: str = ""
    huella: str = ""


class KeyReused(Exception):
    """The Idempotency-Key was used by a different request."""


class Product(NamedTuple):
    """One product: its id, its JSON in the wire format, and whether it is the answer to an earlier request."""

    id: int
    json: str
    replayed: bool = False

    @property
    def version(self) -> str:
        """Its `updated_at`, the last field of the JSON object; also its ETag."""
        return self.json[-26:-2]


class Products(NamedTuple):
    """A page of products. `etag`: of the database snapshot. `json`: the array in UTF-8, empty if the caller knows the
    ETag. `length`: the number of products. `last_id`: the highest id."""

    etag: str
    json: bytes
    length: int
    last_id: int


class Imported(NamedTuple):
    """The result of an import. `json`: `{"creados":2,"actualizados":1}`. `missing`: the numbers of rows whose product does
    not exist; if there are any, nothing was written."""

    json: str
    missing: Sequence[int] = ()
    replayed: bool = False


async def list_products(db: Database, page: Page, known: Sequence[str] = ()) -> Products:
    """Return a page of products in the order of their ids. The ETag identifies the snapshot of the database: two equal
    snapshots contain the same data. `known`: ETags for which the caller needs no JSON."""
    sql = f"""
        WITH estado AS (SELECT md5(pg_current_snapshot()::text || epoca) AS etag FROM eventos_epoca)
        SELECT etag, '[' || coalesce(string_agg(j::text, ',' ORDER BY id), '') || ']', count(id), coalesce(max(id), 0)
        FROM estado LEFT JOIN LATERAL (
            SELECT id, p FROM productos AS p
            WHERE etag <> ALL(%(known)s::text[]) AND id > %(after)s::bigint
              AND {_searched("nombre", "descripcion")}
            ORDER BY id LIMIT %(limit)s
        ) AS pagina ON true LEFT JOIN LATERAL producto_json(p) AS j ON id IS NOT NULL
        GROUP BY etag
        """
    rows = await db.fetch(sql, {**page.model_dump(), "words": _words(page.q), "known": list(known)}, attempts=2)
    etag, json, length, last_id = rows[0]
    return Products(etag, json.encode(), length, last_id)


async def list_products_at(db: Database, page: Page) -> Products | None:
    """Return the products as they were after the event `page.at`, or None if the log does not reach back to it.

    A product without later events still has its current values. One with later events has the values of its last event
    at or before `page.at`; if there is none, it existed before the log began (then the result is None) or not at all.
    """
    sql = f"""
        WITH cambiados AS (
            SELECT DISTINCT ON (producto_id) producto_id, tipo AS despues
            FROM eventos WHERE id > %(at)s ORDER BY producto_id, id
        ), entonces AS (
            SELECT DISTINCT ON (producto_id) producto_id, tipo, mensaje -> 'data' AS j
            FROM eventos JOIN cambiados USING (producto_id), eventos_epoca
            WHERE id > desde AND id <= %(at)s ORDER BY producto_id, id DESC
        ), filas AS (
            SELECT p.id, j FROM productos AS p, producto_json(p) AS j WHERE p.id NOT IN (SELECT producto_id FROM cambiados)
            UNION ALL
            SELECT producto_id, j FROM cambiados LEFT JOIN entonces USING (producto_id)
            WHERE coalesce(tipo <> 'PRODUCT_DELETED', despues <> 'PRODUCT_CREATED')
        )
        SELECT '[' || coalesce(string_agg(j::text, ',' ORDER BY id), '') || ']', count(id), coalesce(max(id), 0)
        FROM (
            SELECT id, j FROM filas WHERE id > %(after)s::bigint AND {_searched("j ->> 'nombre'", "j ->> 'descripcion'")}
            ORDER BY id LIMIT %(limit)s
        ) AS pagina
        HAVING NOT EXISTS (SELECT FROM filas WHERE j IS NULL) AND (SELECT desde <= %(at)s FROM eventos_epoca)
        """
    rows = await db.fetch(sql, {**page.model_dump(), "words": _words(page.q)}, attempts=2)
    return Products("", rows[0][0].encode(), *rows[0][1:]) if rows else None


def _searched(name: str, description: str) -> str:
    """The SQL condition that each of `words` occurs in one of two expressions."""
    text = f"texto_plegado(({name}) || ' ' || coalesce({description}, '')) COLLATE \"C\""
    words = "SELECT texto_plegado(palabra) FROM unnest(%(words)s::text[]) AS palabra"
    return f"(%(words)s::text[] = '{{}}' OR {text} LIKE ALL (ARRAY({words})))"


def _words(q: str) -> list[str]:
    """The LIKE patterns of a search text."""
    return [f"%{word.translate(ESCAPES)}%" for word in q.split()]


async def get_product(db: Database, product_id: int, seconds: float | None = None) -> Product | None:
    """Return the product, or None if it does not exist."""
    rows = await db.fetch(
        "SELECT p.id, j::text FROM productos AS p, producto_json(p) AS j WHERE p.id = %(id)s::bigint",
        {"id": product_id},
        attempts=2,
        seconds=seconds,
    )
    return Product(*rows[0]) if rows else None


async def create_product(db: Database, product: NewProduct, cause: Cause) -> Product:
    """Insert the product and return it. This function and the following ones are idempotent if `cause` has a key: they
    return the result of the first request with the key. They raise KeyReused if that request was a different one."""
    sql = """
        INSERT INTO productos (nombre, descripcion, precio, stock)
        VALUES (%(nombre)s, %(descripcion)s, %(precio)s, %(stock)s)
        """
    created = await _change(db, sql, product.model_dump(), cause)
    assert created is not None
    return created


async def update_product(
    db: Database, product_id: int, change: ProductChange, versions: Versions, cause: Cause
) -> Product | None:
    """Change the fields that are set. Returns None if the product does not exist at one of `versions`."""
    fields = change.model_dump(exclude_unset=True)
    sql = f"""
        UPDATE productos SET {", ".join(f"{name} = %({name})s" for name in fields)}
        WHERE id = %(id)s::bigint AND (%(versions)s::timestamptz[] IS NULL OR updated_at = ANY(%(versions)s))
        """
    differs = f" AND ({' OR '.join(f'{name} IS DISTINCT FROM %({name})s' for name in fields)})"
    return await _change(db, sql, {**fields, "id": product_id, "versions": versions}, cause, differs)


async def delete_product(db: Database, product_id: int, versions: Versions, cause: Cause) -> Product | None:
    """Delete the product and return its last state, or None if it does not exist at one of `versions`."""
    sql = """
        DELETE FROM productos
        WHERE id = %(id)s::bigint AND (%(versions)s::timestamptz[] IS NULL OR updated_at = ANY(%(versions)s))
        """
    return await _change(db, sql, {"id": product_id, "versions": versions}, cause)


async def move_stock(db: Database, product_id: int, delta: int, cause: Cause) -> Product | None:
    """Add `delta` units to the stock. Returns None if the product does not exist or the result is out of range."""
    sql = """
        UPDATE productos SET stock = stock + %(delta)s
        WHERE id = %(id)s::bigint AND stock::bigint + %(delta)s BETWEEN 0 AND 2147483647
        """
    return await _change(db, sql, {"id": product_id, "delta": delta}, cause)


async def import_products(db: Database, fields: Sequence[str], rows: str, cause: Cause) -> Imported:
    """Create and change products by the rows of a file (`csvfile.Table`), in one statement: all rows or none."""
    # An empty cell equals an empty description and a missing one. A name written by SQL may have blanks at its ends.
    same = {
        "descripcion": "coalesce(p.descripcion, '') = coalesce(f.descripcion, '')",
        "nombre": "p.nombre IN (f.nombre, f.crudo)",
    }
    sql = f"""
        WITH filas AS MATERIALIZED (
            SELECT * FROM json_to_recordset(%(rows)s::json) AS f
            (fila integer, id bigint, nombre text, crudo text, descripcion text, precio numeric, stock integer)
        ), vistos AS MATERIALIZED (
            SELECT id FROM productos WHERE id IN (SELECT id FROM filas) ORDER BY id FOR NO KEY UPDATE
        ), perdidas AS MATERIALIZED (
            SELECT fila FROM filas WHERE id IS NOT NULL AND id NOT IN (SELECT id FROM vistos) ORDER BY fila LIMIT 100
        ), creados AS (
            INSERT INTO productos (nombre, descripcion, precio, stock)
            SELECT nombre, descripcion, precio, stock FROM filas
            WHERE id IS NULL AND NOT EXISTS (SELECT FROM perdidas) ORDER BY fila
            RETURNING id
        ), cambiados AS (
            UPDATE productos AS p SET {", ".join(f"{name} = f.{name}" for name in fields)} FROM filas AS f
            WHERE p.id = f.id AND NOT EXISTS (SELECT FROM perdidas)
              AND NOT ({" AND ".join(same.get(name, f"p.{name} = f.{name}") for name in fields)})
            RETURNING p.id
        ), hecho AS (
            SELECT c + a AS cuantos, format('{{"creados":%s,"actualizados":%s}}', c, a) AS json
            FROM (SELECT count(*) AS c FROM creados) AS nuevos, (SELECT count(*) AS a FROM cambiados) AS otros
        )
        SELECT json, ARRAY(SELECT fila FROM perdidas), cuantos, set_config('inventory_ws.causa',
            jsonb_strip_nulls(%(cause)s::jsonb || jsonb_build_object('huella', %(print)s::text || ' ' || json))::text, true)
        FROM hecho
        """
    params = {"rows": rows, "cause": _text(cause._replace(huella="")), "print": cause.huella or None}
    made: Row = ()
    if not (done := await _find_event(db, cause)):
        try:
            (made,) = await _draw(db, sql, params, IMPORT_TIMEOUT)
        except Rejected:
            if not (done := await _find_event(db, cause)):
                raise
    if made and not made[2]:  # a concurrent request with the same key may have done it first
        done = await _find_event(db, cause)
    return Imported(done[0].partition(" ")[2], replayed=True) if done else Imported(made[0], made[1])


async def _change(db: Database, sql: str, params: Params, cause: Cause, differs: str = "") -> Product | None:
    """Execute the change; with a key, only once. `differs`: a condition that is false if the change has no effect.

    A change without effect writes no event. Without `differs`, the second of two concurrent requests with one key would
    find its change already made, and answer with the current product instead of the first request's answer.
    """
    if not cause.clave:
        return await _make(db, sql, params, cause)
    try:
        async with asyncio.timeout(STATEMENT_TIMEOUT):  # for all statements together
            if done := await _find_done(db, cause):  # first, as a failing INSERT would leave a gap in the ids
                return done
            try:
                made = await _make(db, sql + differs, params, cause) or await _find_done(db, cause)
                return made or (await _make(db, sql, params, cause) if differs else None)
            except Rejected:
                if done := await _find_done(db, cause):
                    return done
                raise
    except TimeoutError:
        raise Unavailable("no time is left") from None


async def _make(db: Database, sql: str, params: Params, cause: Cause) -> Product | None:
    sql = f"{sql} RETURNING id, (SELECT j::text FROM producto_json(productos) AS j)"
    if any(cause):
        sql += ", set_config('inventory_ws.causa', %(cause)s, true)"  # the trigger reads it at COMMIT
        params = {**params, "cause": _text(cause)}
    rows = await _draw(db, sql, params)
    return Product(*rows[0][:2]) if rows else None


async def _draw(db: Database, sql: str, params: Params, seconds: float | None = None) -> list[Row]:
    """Run a statement that may draw ids from the sequence. An id that somebody inserted explicitly collides; nothing has
    been changed then, and the second attempt draws other ids."""
    try:
        return await db.fetch(sql, params, seconds=seconds)
    except Rejected as exc:
        if "productos_pkey" not in exc.place:
            raise
        return await db.fetch(sql, params, seconds=seconds)


def _text(cause: Cause) -> str:
    return encode({name: text for name, text in cause._asdict().items() if text})


async def _find_done(db: Database, cause: Cause) -> Product | None:
    """Return the result of the first request with the key, or None if there was none. Raises KeyReused."""
    done = await _find_event(db, cause)
    return Product(done[1], done[2], replayed=True) if done else None


async def _find_event(db: Database, cause: Cause) -> Row | None:
    if not cause.clave:
        return None
    sql = """
        SELECT huella, producto_id, (mensaje -> CASE tipo WHEN 'PRODUCT_DELETED' THEN 'antes' ELSE 'data' END)::text
        FROM eventos WHERE clave = %(key)s
        """
    rows = await db.fetch(sql, {"key": cause.clave}, attempts=2)
    if rows and rows[0][0].partition(" ")[0] != cause.huella:  # an import stores its result behind the fingerprint
        raise KeyReused
    return rows[0] if rows else None


async def list_missing_grants(db: Database, pruning: bool) -> list[str]:
    """Return the GRANT statements that the current role needs to read and write products and, if asked, to prune the log."""
    sql = """
        SELECT format('GRANT %s ON %s TO %I', string_agg(permiso, ', '), objeto, current_user) FROM (
            SELECT objeto, permiso, has_table_privilege(to_regclass(objeto), permiso) FROM (VALUES
                ('productos', 'SELECT'), ('productos', 'INSERT'), ('productos', 'UPDATE'), ('productos', 'DELETE'),
                ('eventos', 'SELECT'), ('eventos_epoca', 'SELECT')
            ) AS tablas (objeto, permiso)
            UNION ALL
            SELECT 'FUNCTION ' || nombre, 'EXECUTE', has_function_privilege(to_regproc(nombre), 'EXECUTE')
            FROM unnest(%(functions)s::text[]) AS nombre
        ) AS necesario (objeto, permiso, dado)
        WHERE dado IS NOT TRUE GROUP BY objeto ORDER BY objeto
        """
    rows = await db.fetch(
        sql, {"functions": ["producto_json", "texto_plegado", "eventos_estado", *["eventos_podar"] * pruning]}
    )
    return [grant for (grant,) in rows]
