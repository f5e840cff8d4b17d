"""The log as a Python API, for applications that embed the inventory."""

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, NamedTuple

from aiohttp import web

from ..pg.database import DATABASE
from ..pg.errors import Unavailable
from ..products import listing
from ..products.models import Page
from .feed import FEED, Feed

PAGE = 200  # events per query
PAUSE = 1.0  # seconds between attempts while PostgreSQL is unavailable


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


class Snapshot(NamedTuple):
    """All products in the wire format, with `precio` as a Decimal, and the position from which `watch` continues. The
    first events may be contained in the products already: compare `updated_at`."""

    products: list[dict[str, Any]]
    last_event_id: int
    epoch: str


async def snapshot(app: web.Application) -> Snapshot:
    """Return all products: the state to start from, at first and after Lost. Waits until the service has started.

    `app` is what `create_app` returned. Raises Unavailable.
    """
    feed = _feed(app)
    await feed.live.wait()
    # Read before the rows: a change in between may be in both, but is not missing from both.
    position = feed.head, feed.epoch
    rows = (await listing.list_products(app[DATABASE], Page(), (), {})).json
    return Snapshot(json.loads(rows, parse_float=Decimal), *position)


def watch(app: web.Application, *, last_event_id: int | None = None, epoch: str | None = None) -> AsyncIterator[Event]:
    """Iterate over all changes from now on, or after `last_event_id` of `epoch`: in order, without gaps or duplicates.

    The iteration starts when the service has started, waits while PostgreSQL is unavailable, and never ends by itself.
    `app` is what `create_app` returned. Raises Lost if the log does not hold the events after the position: they were
    pruned, the table was truncated, or the database was replaced. Start again from `snapshot()` then.
    """
    return _events(_feed(app), last_event_id, epoch)


def _feed(app: web.Application) -> Feed:
    if FEED not in app:
        raise TypeError("watch() and snapshot() want the application that create_app() returned, not its host")
    return app[FEED]


async def _events(feed: Feed, position: int | None, epoch: str | None) -> AsyncIterator[Event]:
    await feed.live.wait()
    position, epoch = feed.head if position is None else position, epoch or feed.epoch
    while True:
        moved = feed.head_moved  # before the comparison: a later move of the head sets this asyncio.Event
        try:
            await feed.check(position, epoch)
            epoch = feed.epoch  # the position is valid in this epoch too
            if position >= feed.head:
                await moved.wait()
                continue
            events, position = feed.recent(position, PAGE) or await feed.past(position, PAGE)
        except Unavailable:
            await asyncio.sleep(PAUSE)
        else:
            for event in events:
                told = json.loads(event.payload, parse_float=Decimal)
                why = told.get("antes"), told.get("actor"), told.get("motivo")
                yield Event(event.id, told["type"], told["data"], told["timestamp"], epoch, *why)
