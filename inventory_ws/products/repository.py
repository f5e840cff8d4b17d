"""The SQL of one product: reading it and changing it. PostgreSQL renders the JSON.

A change whose `cause` has a key is made once: repeated, it returns the result of the first request with the key. It raises
KeyReused if that request was a different one. Everything here raises Unavailable, and changes also raise Rejected.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple, TypeVar

from ..pg.aiopg_fixes import Params, Row
from ..pg.connection import BELL
from ..pg.database import Database
from ..pg.errors import Rejected, translated
from ..pg.lanes import Lane
from .batching import BatchingDatabase, Change
from .exact_json import encode
from .models import NewProduct, ProductChange

AT_VERSIONS = "id = %(id)s::bigint AND (%(versions)s::timestamptz[] IS NULL OR updated_at = ANY(%(versions)s))"
REFUSAL_TIMEOUT = 0.4  # seconds to read why a change was refused: with a statement, four seconds together

Made = TypeVar("Made")
Versions = Sequence[datetime] | None  # that a product may have to be changed; None: any

WIRE_NAMES = {"reason": "motivo", "key": "clave", "fingerprint": "huella"}  # of the fields of a Cause


class Cause(NamedTuple):
    """Why a change is made, stored with its event. `actor`: the user. `key`: the Idempotency-Key of the request.
    `fingerprint`: a hash of the request, equal only for the same request."""

    actor: str = ""
    reason: str = ""
    key: str = ""
    fingerprint: str = ""

    def text(self) -> str:
        """Return the JSON that the trigger of the log reads, without the empty fields."""
        return encode({WIRE_NAMES.get(name, name): value for name, value in self._asdict().items() if value})


class KeyReused(Exception):
    """The Idempotency-Key was used by a different request."""


class NotMade(Exception):
    """Nothing was changed. The argument says why."""


class Result(NamedTuple):
    """What a change of several products returns: its JSON, and whether this is the stored result of an earlier request. It is
    false if nothing was `changed`."""

    json: str
    replayed: bool = False
    changed: bool = True

    def __bool__(self) -> bool:
        return self.changed


class Product(NamedTuple):
    """One product: its id, its JSON in the wire format, and whether this is the stored result of an earlier request."""

    id: int
    json: str
    replayed: bool = False

    @property
    def version(self) -> str:
        """Return its `updated_at`, which is also the ETag. Within a text, the JSON has this name with escaped quotes only."""
        return self.json.partition('"updated_at":"')[2].partition('"')[0]


async def get_product(db: Database, product_id: int, seconds: float | None = None) -> Product | None:
    """Return the product, or None if it does not exist."""
    sql = "SELECT p.id, j.j::text FROM productos AS p, producto_json(p.*) AS j WHERE p.id = %(id)s::bigint"
    rows = await db.fetch(sql, {"id": product_id}, Lane.QUICK, seconds=seconds)
    return Product(*rows[0]) if rows else None


async def create_product(db: BatchingDatabase, product: NewProduct, cause: Cause) -> Product | None:
    """Insert the product and return it, or None if a trigger of the owner does not let it in."""
    sql = """
        INSERT INTO productos (nombre, descripcion, precio, stock)
        VALUES (%(nombre)s, %(descripcion)s, %(precio)s, %(stock)s)
        """
    return await _change(db, sql, product.model_dump(), cause)


async def update_product(
    db: BatchingDatabase, product_id: int, change: ProductChange, versions: Versions, cause: Cause
) -> Product | None:
    """Change the fields that are set. Return None if the product does not exist at one of `versions`."""
    fields = change.model_dump(exclude_unset=True)
    sql = f"UPDATE productos SET {', '.join(f'{name} = %({name})s' for name in fields)} WHERE {AT_VERSIONS}"
    effective = f" AND ({' OR '.join(f'{name} IS DISTINCT FROM %({name})s' for name in fields)})"
    return await _change(db, sql, {**fields, "id": product_id, "versions": versions}, cause, effective)


async def delete_product(db: BatchingDatabase, product_id: int, versions: Versions, cause: Cause) -> Product | None:
    """Delete the product and return its last state, or None if it does not exist at one of `versions`."""
    sql = f"DELETE FROM productos WHERE {AT_VERSIONS}"
    return await _change(db, sql, {"id": product_id, "versions": versions}, cause)


async def restore_product(db: BatchingDatabase, product_id: int, cause: Cause) -> Product | None:
    """Insert a deleted product again, with its id. Return None if it exists, or if the log does not say what it was."""
    fields = ["id", *NewProduct.model_fields, "created_at"]
    sql = f"""
        INSERT INTO productos ({", ".join(fields)}) OVERRIDING SYSTEM VALUE
        SELECT {", ".join(f"r.{name}" for name in fields)} FROM (
            SELECT tipo, mensaje -> 'antes' AS antes FROM eventos
            WHERE producto_id = %(id)s::bigint AND id > (SELECT desde FROM eventos_epoca) ORDER BY id DESC LIMIT 1
        ) AS last, json_populate_record(NULL::productos, last.antes) AS r
        WHERE last.tipo = 'PRODUCT_DELETED' AND last.antes IS NOT NULL
        ON CONFLICT (id) DO NOTHING
        """
    return await _change(db, sql, {"id": product_id}, cause)


async def move_stock(db: BatchingDatabase, product_id: int, delta: int, cause: Cause) -> Product | None:
    """Add `delta` units to the stock. Return None if the product does not exist or the result is out of range."""
    sql = """
        UPDATE productos SET stock = stock + %(delta)s
        WHERE id = %(id)s::bigint AND stock::bigint + %(delta)s BETWEEN 0 AND 2147483647
        """
    return await _change(db, sql, {"id": product_id, "delta": delta}, cause)


async def _change(db: BatchingDatabase, sql: str, params: Params, cause: Cause, effective: str = "") -> Product | None:
    """Execute the change; with a key, only once. `effective`: an SQL condition that is false if the change has no effect. In a batch
    and the first time with a key it has to hold; otherwise a change without effect returns the product as well."""
    alone = partial(_change_alone, db, sql, params, cause, effective)
    row = await db.make(Change(*_statement(f"{sql}{effective}", params, cause), cause.key), alone)
    return Product(*row) if row else None  # (id, JSON) of a batch, or the Product of _change_alone


async def _change_alone(
    db: Database, sql: str, params: Params, cause: Cause, effective: str, seconds: float | None
) -> Product | None:
    if not cause.key:
        return await _execute(db, sql, params, cause, seconds)
    find = partial(find_first, db, cause, lambda _, product_id, json: Product(product_id, json, replayed=True))
    with translated():
        async with asyncio.timeout(seconds or db.timeout):  # for all statements together
            made = await once(find, partial(_execute, db, sql + effective, params, cause))
            if made or not effective:
                return made
            # Without an earlier request: an update to the same values has no effect, but it returns the product.
            return await once(find, partial(_execute, db, sql, params, cause))


async def once(find: Callable[[], Awaitable[Made | None]], make: Callable[[], Awaitable[Made]]) -> Made:
    """Return what `find` finds of the first request with the key, or else what `make` makes.

    A concurrent request with the key may be first. It holds a row or the key: `make` waits for it, and then has no effect (None, or
    a false result) or is refused.
    """
    # Before the change, because a failing INSERT would leave a gap in the ids.
    if first := await find():
        return first
    try:
        made = await make()
        return made or await find() or made
    except (Rejected, NotMade):  # also by the unique index of the keys
        if first := await find():
            return first
        raise


async def _execute(
    db: Database, sql: str, params: Params, cause: Cause, seconds: float | None = None
) -> Product | None:
    """Run the statement and return the product as it is afterwards (deleted: before), or None if it matches no row."""
    rows = await fetch_with_new_ids(db, *_statement(sql, params, cause), seconds=seconds)
    return Product(*rows[0][:2]) if rows else None


def _statement(sql: str, params: Params, cause: Cause) -> tuple[str, Params]:
    """Return the statement and its parameters with what every change returns: id, JSON and, not to be read, what it sets."""
    sql = f"{sql} RETURNING id, (SELECT j::text FROM producto_json(productos.*) AS j), {BELL}"
    if any(cause):
        sql += ", set_config('inventory_ws.causa', %(cause)s, true)"  # the trigger of the log reads it
        params = {**params, "cause": cause.text()}
    return sql, params


async def fetch_with_new_ids(
    db: Database, sql: str, params: Params, lane: Lane = Lane.CHANGE, seconds: float | None = None
) -> list[Row]:
    """Run a statement that may draw ids from the sequence. If one collides with an id that was inserted explicitly, run the
    statement once more: it draws the next ids."""
    try:
        return await db.fetch(sql, params, lane, seconds=seconds)
    except Rejected as exc:
        if "productos_pkey" not in exc.place:
            raise
        return await db.fetch(sql, params, lane, seconds=seconds)


async def find_first(db: Database, cause: Cause, result: Callable[[str, int, str], Made]) -> Made | None:
    """Return the `result` of the fingerprint, the product's id and its JSON of the first event with the key. Raise KeyReused."""
    if not cause.key:
        return None
    sql = """
        SELECT huella, producto_id, (mensaje -> CASE tipo WHEN 'PRODUCT_DELETED' THEN 'antes' ELSE 'data' END)::text
        FROM eventos WHERE clave = %(key)s
        """
    rows = await db.fetch(sql, {"key": cause.key}, Lane.QUICK)
    if not rows:
        return None
    if rows[0][0].partition(" ")[0] != cause.fingerprint:  # an import appends its result
        raise KeyReused
    # After a crash of the server, the event is visible before the synchronous standby has it: this commit waits for both.
    await db.fetch("SELECT pg_logical_emit_message(true, 'inventory_ws', '')")
    return result(*rows[0])
