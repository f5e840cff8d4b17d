"""Who gets a connection of the pool: what may wait leaves some of them to what does not."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum

from .aiopg_fixes import Row
from .connection import Connection

RESERVED = 2  # connections that the statements of a lane leave to the lanes before it


class Lane(Enum):
    """What a statement may wait for."""

    HEALTH = "nothing: it has a connection of its own"
    QUICK = "nothing: a SELECT, which is repeated if its connection is lost"
    CHANGE = "locks"
    LONG = "much data"


class Queue:
    """The statements of one lane that wait for a connection. `idle`: those to take. `waits`: how many have had to wait."""

    def __init__(self, limit: int, idle: list[Connection], before: "Queue | None" = None) -> None:
        self.idle = idle
        self.waits = 0
        self._slots: list[asyncio.Semaphore] = [asyncio.Semaphore(max(1, limit)), *(before._slots if before else ())]

    async def acquire(self) -> None:
        """Wait for a slot of this lane, and of each lane before it."""
        held = []
        try:
            self.waits += any(slot.locked() for slot in self._slots)
            for slot in self._slots:
                await slot.acquire()
                held.append(slot)
        except BaseException:
            for slot in held:
                slot.release()
            raise

    def release(self) -> None:
        for slot in self._slots:
            slot.release()

    def keep(self, opening: asyncio.Task[Connection]) -> None:
        """Take a connection that nobody waits for any more."""
        if not opening.cancelled() and not opening.exception():
            self.idle.append(opening.result())
        self.release()

    def spare(self) -> Connection | None:
        """Give an idle connection away, if there is one."""
        while self.idle:
            if not (conn := self.idle.pop()).closed:
                return conn
        return None


class GivenUp(dict[int, Queue]):
    """The backends of statements that were given up and may still run, with the slots that these keep until they end."""

    def __init__(self) -> None:
        self._looking, self._looked = asyncio.Lock(), 0.0  # when a look began that has told which of them have ended

    def add(self, pid: int, queue: Queue) -> None:
        """Keep the slot of a backend."""
        self.release(pid)  # of an earlier one with the same number
        self[pid] = queue

    def release(self, *backends: int) -> None:
        for pid in backends:
            if queue := self.pop(pid, None):
                queue.release()

    async def release_ended(self, fetch: Callable[..., Awaitable[list[Row]]]) -> None:
        """Give back the slots of those that have ended: a commit that waits for a synchronous standby cannot be cancelled. One look
        is for all who came before it."""
        came = asyncio.get_running_loop().time()
        async with self._looking:
            if self._looked > came:
                return
            began, asked = asyncio.get_running_loop().time(), set(self)
            sql = "SELECT pid FROM pg_stat_activity WHERE pid = ANY(%(pids)s::integer[]) AND state = 'active'"
            self.release(*asked.difference(*await fetch(sql, {"pids": [*asked]}, Lane.HEALTH)))
            self._looked = began


def queues(size: int) -> dict[Lane, Queue]:
    """Return the queues for `size` connections, RESERVED more that only QUICK may take, and one for HEALTH."""
    idle: list[Connection] = []
    quick = Queue(size + RESERVED, idle)
    change = Queue(size, idle, quick)
    long = Queue(size - RESERVED, idle, change)
    return {Lane.HEALTH: Queue(1, []), Lane.QUICK: quick, Lane.CHANGE: change, Lane.LONG: long}
