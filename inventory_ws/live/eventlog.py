"""The SQL of the log: reading it, its bounds, and its retention."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field

from ..pg.connection import Connection
from ..pg.database import Database
from ..pg.errors import Unavailable
from ..pg.lanes import Lane
from ..pg.schema import find_faults

PRUNE_EVERY = 30.0  # seconds
LOOK_EVERY = 1.5  # seconds

logger = logging.getLogger(__name__)


class LogEntry(NamedTuple):
    """One entry of the log: its id, its type, the product's id, and the JSON text sent to clients."""

    id: int
    type: str
    product_id: int
    message: str


class EventQuery(BaseModel):
    """A query for at most `limit` events with ids above `after`. `before`: only events below it, newest first. `producto`: only
    events of this product."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 1000
    after: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    before: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    producto: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None


async def list_events(
    db: Database, *, after: int, head: int, limit: int, product_id: int | None = None, newest: bool = False
) -> list[LogEntry]:
    """Return at most `limit` events above `after` and up to `head`, of all products or of one, in ascending order; with
    `newest` in descending order. `head`: that of the feed, because above it events can still be missing."""
    sql = f"""
        SELECT id, tipo, producto_id, mensaje::text FROM eventos
        WHERE {"producto_id = %(product_id)s::bigint AND " if product_id else ""}id > %(after)s AND id <= %(head)s
        ORDER BY id {"DESC" if newest else ""} LIMIT %(limit)s
        """
    params = {"after": after, "head": head, "limit": limit, "product_id": product_id}
    rows = await db.fetch(sql, params, Lane.QUICK)
    return [LogEntry(*row) for row in rows]


async def list_next_events(conn: Connection, after: int, head: int, limit: int) -> tuple[str, int, list[LogEntry]]:
    """Return the epoch, the floor, and at most `limit` events above `after` and up to `head` that are visible now, possibly with
    gaps. The epoch is empty if there are no events."""
    sql = """
        SELECT (SELECT epoca::text FROM eventos_epoca), (SELECT desde FROM eventos_epoca),
            id, tipo, producto_id, mensaje::text
        FROM eventos WHERE id > %(after)s AND id <= %(head)s ORDER BY id LIMIT %(limit)s
        """
    rows = await conn.fetch(sql, {"after": after, "head": head, "limit": limit})
    epoch, floor = rows[0][:2] if rows else ("", 0)
    return epoch, floor, [LogEntry(*row[2:]) for row in rows]


async def get_bounds(conn: Connection) -> tuple[int | None, str, int]:
    """Return up to where all events are visible (None: unknown at the moment), the epoch, within which ids are comparable, and the
    floor: positions up to it are invalid (pruned, or of a former history). It blocks writers for a moment."""
    # To ask for the usage of the queue of NOTIFY also cuts it. Once it was full, nothing else does.
    sql = "SELECT limite, epoca::text, desde FROM eventos_estado(), pg_notification_queue_usage()"
    ((limit, epoch, floor),) = await conn.fetch(sql)
    return limit, epoch, floor


async def get_floor(db: Database) -> tuple[str, int]:
    ((epoch, floor),) = await db.fetch("SELECT epoca::text, desde FROM eventos_epoca", lane=Lane.QUICK)
    return epoch, floor


async def list_former_epochs(conn: Connection) -> dict[str, int]:
    """Return the former epochs, each with its last valid position."""
    rows = await conn.fetch("SELECT key, value::bigint FROM eventos_epoca, jsonb_each(anteriores)")
    return dict(rows)


async def get_table(conn: Connection) -> tuple[int, bool | None]:
    """Return the oid of the table, and whether one transaction made it and its triggers; None while some are not there."""
    sql = """
        SELECT typrelid::bigint, CASE WHEN count(t.oid) = count(*) THEN bool_and(t.xmin = y.xmin) END
        FROM eventos_disparadores() AS d LEFT JOIN pg_trigger AS t ON tgrelid = tabla::regclass AND tgname = nombre, pg_type AS y
        WHERE typrelid = 'productos'::regclass GROUP BY typrelid
        """
    ((table, at_once),) = await conn.fetch(sql)
    return table, at_once


async def cut_log(conn: Connection, epoch: str, last: int | None = None) -> None:
    """Begin a new epoch that invalidates all former positions, unless the event `last` was pruned."""
    await conn.fetch("SELECT eventos_cortar(%(epoch)s, %(last)s)", {"epoch": epoch, "last": last})


async def prune_events(db: Database, days: float | None, number: int | None) -> None:
    """Delete the events over `days` old, and those beyond the newest `number`, in small batches."""
    sql = "SELECT eventos_podar(%(days)s, %(number)s)"
    while (await db.fetch(sql, {"days": days, "number": number}))[0][0]:
        await asyncio.sleep(0.05)


async def look_for_faults(db: Database, faults: list[str]) -> None:
    """Keep in `faults` what keeps changes from the log."""
    if (found := await find_faults(db)) != faults:
        logger.error("what keeps changes from the log: %s", "; ".join(found) or "nothing any more")
        faults[:] = found


async def repeat(pause: float, work: Callable[..., Awaitable[None]], *args: object) -> None:
    """Do the work, and again after each pause, until cancelled. It may fail: the next attempt follows."""
    while True:
        try:
            await work(*args)
        except Unavailable:
            pass
        except Exception:
            logger.exception("%s() has failed", work.__name__)
        await asyncio.sleep(pause)
