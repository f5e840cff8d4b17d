"""The log for Python: what happens to the products, for the code of the application that embeds the inventory."""

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, NamedTuple

from aiohttp import web

from . import repository
from .database import DATABASE, Unavailable
from .feed import FEED, Feed
from .product import Page

PAGE = 200  # events looked for at once
PAUSE = 1.0  # seconds, where PostgreSQL is not there


class Event(NamedTuple):
    """One change: its position, PRODUCT_CREATED, PRODUCT_UPDATED or PRODUCT_DELETED, the product as the wire shows it
    (of one that was deleted only its `id`; `precio` is a Decimal), the time, and the epoch in which `id` means something.
    `before`: of an update what the changed fields were, of a deletion the whole product. `actor` and `reason`: who did it
    and why, where that was said."""

    id: int
    type: str
    data: dict[str, Any]
    timestamp: str
    epoch: str
    before: dict[str, Any] | None = None
    actor: str | None = None
    reason: str | None = None


class Snapshot(NamedTuple):
    """The products as the wire shows them (`precio` is a Decimal), and the position from which `watch` tells all that was
    changed since, and its epoch. It may tell again what the products show already: `updated_at` says so."""

    products: list[dict[str, Any]]
    last_event_id: int
    epoch: str


async def products(app: web.Application) -> Snapshot:
    """All products, for who begins, or has to begin anew after Lost. Waits for the service to start.

    `app` is what `create_app` returned. Raises Unavailable.
    """
    feed = _feed(app)
    await feed.live.wait()
    position = feed.head, feed.epoch  # before the rows: what comes between is told again, and not left out
    rows = (await repository.list_products(app[DATABASE], Page())).json
    return Snapshot(json.loads(rows, parse_float=Decimal), *position)


def watch(app: web.Application, *, last_event_id: int | None = None, epoch: str | None = None) -> AsyncIterator[Event]:
    """Every change from now on, or after `last_event_id` (of the `epoch`): in order, none left out and none twice,
    whoever made it. It begins when the service has started, waits while PostgreSQL is away, and ends only with its task.

    `app` is what `create_app` returned. Raises Lost where it can't go on after the position: the events are pruned, the
    table was truncated, or the log is another one. What is derived from the products has to be made anew then.
    """
    return _events(_feed(app), last_event_id, epoch)


def _feed(app: web.Application) -> Feed:
    if FEED not in app:
        raise TypeError("watch() and products() want the application that create_app() returned, not its host")
    return app[FEED]


async def _events(feed: Feed, position: int | None, epoch: str | None) -> AsyncIterator[Event]:
    await feed.live.wait()
    position, epoch = feed.head if position is None else position, epoch or feed.epoch
    while True:
        moved = feed.head_moved
        try:
            await feed.check(position, epoch)
            epoch = feed.epoch  # in which the position counts as well
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
