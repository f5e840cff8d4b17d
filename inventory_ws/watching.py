"""The log for Python: what happens to the products, for the code of the application that embeds the inventory."""

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, NamedTuple

from aiohttp import web

from .database import Unavailable
from .feed import FEED, Feed

PAGE = 200  # events looked for at once
PAUSE = 1.0  # seconds, where PostgreSQL is not there


class Event(NamedTuple):
    """One change: its position, PRODUCT_CREATED, PRODUCT_UPDATED or PRODUCT_DELETED, the product as the wire shows it
    (of one that was deleted only its `id`; `precio` is a Decimal), the time, and the epoch in which `id` means something."""

    id: int
    type: str
    data: dict[str, Any]
    timestamp: str
    epoch: str


def watch(app: web.Application, *, last_event_id: int | None = None, epoch: str | None = None) -> AsyncIterator[Event]:
    """Every change from now on, or after `last_event_id` (of the `epoch`): in order, none left out and none twice,
    whoever made it. It begins when the service has started, waits while PostgreSQL is away, and ends only with its task.

    `app` is what `create_app` returned. Raises Lost where it can't go on after the position: the events are pruned, the
    table was truncated, or the log is another one. What is derived from the products has to be made anew then.
    """
    if FEED not in app:
        raise TypeError("watch() wants the application that inventory_ws.create_app() returned, not its host")
    return _events(app[FEED], last_event_id, epoch)


async def _events(feed: Feed, position: int | None, epoch: str | None) -> AsyncIterator[Event]:
    await feed.following.wait()
    position, epoch = feed.head if position is None else position, epoch or feed.epoch
    while True:
        moved = feed.moved
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
                message = json.loads(event.payload, parse_float=Decimal)
                yield Event(event.id, message["type"], message["data"], message["timestamp"], epoch)
