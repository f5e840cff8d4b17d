"""The log as a Python API, for applications that embed the inventory."""

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, NamedTuple

from aiohttp import web

from ..pg.errors import Unavailable
from .log import LOG, Log

WATCH_BATCH = 200  # events per query
RETRY_PAUSE = 1.0  # seconds between attempts while PostgreSQL is unavailable


class Event(NamedTuple):
    """One change of a product.

    `id`: its position in the log of `epoch`. `type`: PRODUCT_CREATED, PRODUCT_UPDATED or PRODUCT_DELETED. `data`: the
    product in the wire format, with `precio` as a Decimal; of a deleted product its `id` alone. `before`: the former
    values of the changed fields; of a deletion the whole product. `actor`, `reason`: who made the change and why, if known.
    """

    id: int
    type: str
    data: dict[str, Any]
    timestamp: str
    epoch: str
    before: dict[str, Any] | None = None
    actor: str | None = None
    reason: str | None = None


def watch(app: web.Application, *, last_event_id: int | None = None, epoch: str | None = None) -> AsyncIterator[Event]:
    """Iterate over all changes from now on, or after `last_event_id` of `epoch`: in order, without gaps or duplicates.

    The iteration starts when the service has started, waits while PostgreSQL is unavailable, and never ends by itself.
    `app` is what `create_app` returned. Raise Lost if the log does not hold the events after the position: they were
    pruned, the table was truncated, or the database was replaced. Start again from `snapshot()` then.
    """
    log = log_of(app)
    if last_event_id is None and log.live.is_set():  # from now on, and not from the first step of the iteration
        last_event_id, epoch = log.head, log.epoch
    return _events(log, last_event_id, epoch)


def log_of(app: web.Application) -> Log:
    """Return the log of an inventory. Raise TypeError for another application."""
    if LOG not in app:
        raise TypeError("watch() and snapshot() want the application that create_app() returned, not its host")
    return app[LOG]


async def _events(log: Log, position: int | None, epoch: str | None) -> AsyncIterator[Event]:
    await log.live.wait()
    position, epoch = log.head if position is None else position, epoch or log.epoch
    while True:
        moved = log.moved  # before the comparison: a later move of the head sets this asyncio.Event
        try:
            await log.check(position, epoch)
            epoch = log.epoch  # the position is valid in this epoch too
            if position >= log.head:
                await moved.wait()
                continue
            past = log.recent(position, WATCH_BATCH)
            events, position = past if past is not None else await log.past(position, WATCH_BATCH)
        except Unavailable:
            await asyncio.sleep(RETRY_PAUSE)
        else:
            for event in events:
                told = json.loads(event.payload, parse_float=Decimal)
                why = told.get("antes"), told.get("actor"), told.get("motivo")
                yield Event(event.id, told["type"], told["data"], told["timestamp"], epoch, *why)
