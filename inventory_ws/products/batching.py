"""Changes that arrive together are committed together.

A commit waits for the disk once, however many changes it contains. While one change or batch is under way, those that arrive
wait for it, at most PATIENCE; the next statement makes all of them in one transaction. A change that arrives while nothing is
under way is made at once, alone; right after a batch, together with those of the same moment.

Nobody can tell whether a change was made alone or in a batch: what has no effect in a batch, fails there, or would wait for a
lock is left to be made alone afterwards, which gives its answer.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

import psycopg2

from ..pg.aiopg_fixes import Params, Row
from ..pg.connection import STATEMENT_TIMEOUT, Connection
from ..pg.database import POOL_SIZE, Database
from ..pg.errors import Unavailable, connection_ends
from .exact_json import encode

LIMIT = 60  # changes of one batch, each a subtransaction: of more than 64, readers look in pg_subtrans
BATCH_TIMEOUT = 0.5  # seconds for the changes of a batch, without its commit: a trigger of the owner may sleep
PATIENCE = 0.05  # seconds that changes wait for the one under way, which may wait for a lock or for a slow commit

logger = logging.getLogger(__name__)


class Change(NamedTuple):
    """A statement that returns id and JSON of the product that it changes, and the Idempotency-Key of its request or ''."""

    sql: str
    params: Params
    key: str


Alone = Callable[[float | None], Awaitable[Row | None]]
"""Makes a change in so many seconds."""


class BatchingDatabase(Database):
    """A database that makes changes that arrive together in one transaction. `commits`: how many there were, by their changes."""

    def __init__(self, dsn: str, size: int = POOL_SIZE, timeout: float = STATEMENT_TIMEOUT) -> None:
        super().__init__(dsn, size, timeout)
        self._under_way: asyncio.TimerHandle | None = None  # when it is due, nobody waits any longer
        self._waiting: list[tuple[Change, asyncio.Future[Row | None]]] = []
        self._company = False  # the last turn was a batch: its clients may ask again, all at once
        self.commits = Counter[int]()
        self._batches = set[asyncio.Task[None]]()

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        while self._batches:
            await asyncio.wait(self._batches)

    async def make(self, change: Change, alone: Alone) -> Row | None:
        """Return the row of the change, made in a batch, or else the result of `alone`, which makes it in the seconds that are
        left. Raise what `alone` raises, or Unavailable if nobody knows whether the batch was committed."""
        loop = asyncio.get_running_loop()
        deadline, made = loop.time() + self.timeout, loop.create_future()
        if self._under_way:
            self._waiting.append((change, made))
        else:
            turn = self._begin_turn()
            try:
                if self._company:
                    await asyncio.sleep(0)  # for those that have arrived in the same moment
                if not self._waiting:
                    return await self._make_alone(alone, None)
                self._waiting.insert(0, (change, made))
            finally:  # makes those that wait, and with them this one if it does
                self._end_turn(turn, company=False)
        return await made or await self._make_alone(alone, deadline - loop.time())

    async def _make_alone(self, alone: Alone, seconds: float | None) -> Row | None:
        row = await alone(seconds)
        self.commits[1] += row is not None and not getattr(row, "replayed", False)
        return row

    def _begin_turn(self) -> asyncio.TimerHandle:
        self._under_way = asyncio.get_running_loop().call_later(PATIENCE, self._make_waiting)
        return self._under_way

    def _end_turn(self, turn: asyncio.TimerHandle, company: bool) -> None:
        self._company = company
        if self._under_way is turn:
            turn.cancel()
            self._make_waiting()

    def _make_waiting(self) -> None:
        waiting = [each for each in self._waiting if not each[1].done()]  # without those whose request was cancelled
        batch, self._waiting, self._under_way = waiting[:LIMIT], waiting[LIMIT:], None
        if batch:  # in a task of its own, so that a request that is cancelled takes no other with it
            task = asyncio.create_task(self._make_batch(batch, self._begin_turn()))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)

    async def _make_batch(
        self, batch: Sequence[tuple[Change, asyncio.Future[Row | None]]], turn: asyncio.TimerHandle
    ) -> None:
        rows: dict[int, Row] = {}
        lost: Unavailable | None = Unavailable("the batch has not ended")
        try:
            statements = partial(_statements, [change for change, _ in batch])
            sql = "SELECT numero, producto_id, producto FROM productos_cambiar(%(cambios)s)"
            rows = {row[0]: row[1:] for row in await self.fetch(sql, statements, limit=BATCH_TIMEOUT)}
            lost = None
            self.commits[len(rows)] += bool(rows)
        except Unavailable as exc:
            undone = isinstance(exc.__cause__, psycopg2.Error) and not connection_ends(exc.__cause__)
            lost = None if undone else exc
        except Exception as exc:  # noqa: BLE001 - made alone, each change tells what it was, without values in the log
            lost = None
            logger.warning("a batch has failed (%s); its changes are made alone", type(exc).__name__)
        finally:
            # First: PostgreSQL makes the next batch while these requests are answered.
            self._end_turn(turn, company=len(batch) > 1)
            for number, (_, made) in enumerate(batch, 1):
                if made.done():
                    continue
                if lost:
                    made.set_exception(Unavailable(str(lost)))
                else:
                    made.set_result(rows.get(number))


async def _statements(changes: Sequence[Change], conn: Connection) -> Params:
    """Return the parameters of productos_cambiar(): each change as an EXECUTE of its statement, with its key."""
    return {"cambios": encode([[await conn.text(sql, params), key] for sql, params, key in changes])}
