"""The log as a Python API, for applications that embed the inventory."""

import asyncio
import json
from collections import deque
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

    The iteration starts when the service has started, waits while PostgreSQL is unavailable, and ends when the application
    shuts down. Its `__anext__` may be cancelled, as by a time limit, and awaited again. `app` is what `create_app` returned.
    Raise RuntimeError if the service does not start in time, or in another event loop than its own, and Lost if the log does not
    hold the events after the position: they were pruned, the table was truncated, or the database was replaced. Start again
    from `snapshot()` then.
    """
    return _Events(log_of(app), last_event_id, epoch)


def log_of(app: web.Application) -> Log:
    """Return the log of an inventory. Raise TypeError for another application."""
    if LOG not in app:
        raise TypeError("watch() and snapshot() want the application that create_app() returned, not its host")
    return app[LOG]


class _Events(AsyncIterator[Event]):
    """No generator, which a cancelled `__anext__` would end."""

    def __init__(self, log: Log, position: int | None, epoch: str | None) -> None:
        self._log = log
        self._position = position
        self._epoch = epoch
        self._read: deque[Event] = deque()  # the events up to the position that are not returned yet
        self._turn = asyncio.Lock()
        self._begin()

    def _begin(self) -> None:
        if self._log.epoch and self._position is None:  # from now on, and not from the first step of the iteration
            self._position, self._epoch = self._log.head, self._log.epoch

    async def __anext__(self) -> Event:
        async with self._turn:
            await self._log.started()
            self._begin()
            while not (self._log.ended or self._read):
                try:
                    await self._read_on(self._position or 0, self._epoch)
                except Unavailable:
                    await asyncio.sleep(RETRY_PAUSE)
            if self._log.ended:
                raise StopAsyncIteration
            return self._read.popleft()

    async def _read_on(self, position: int, epoch: str | None) -> None:
        """Read the next events, or wait for some. Raise Lost or Unavailable."""
        log = self._log
        moved = log.moved  # before the comparison: a later move of the head sets this asyncio.Event
        await log.check(position, epoch)
        self._epoch = epoch = log.epoch  # the position is valid in this epoch too
        if position >= log.head:
            await moved.wait()
            return
        past = log.recent(position, WATCH_BATCH)
        events, self._position = past if past is not None else await log.past(position, WATCH_BATCH)
        for event in events:
            told = json.loads(event.payload, parse_float=Decimal)
            why = told.get("antes"), told.get("actor"), told.get("motivo")
            self._read.append(Event(event.id, told["type"], told["data"], told["timestamp"], epoch, *why))
