"""Who gets a connection of the pool: what may wait leaves some of them to what does not."""

import asyncio
from enum import Enum

from .connection import Connection

RESERVED = 2  # connections that the statements of a lane leave to the lanes before it


class Lane(Enum):
    """What a statement may wait for."""

    HEALTH = "nothing: it has a connection of its own"
    QUICK = "nothing: a SELECT, which is repeated if its connection is lost"
    CHANGE = "locks"
    LONG = "much data"


class Queue:
    """The statements of one lane that wait for a connection. `limit`: how many connections they get. `idle`: those to take.
    `waits`: how often one has had to wait."""

    def __init__(self, limit: int, idle: list[Connection], before: "Queue | None" = None) -> None:
        self.limit = max(1, limit)
        self.idle = idle
        self.waits = 0
        self._slots: list[asyncio.Semaphore] = [asyncio.Semaphore(self.limit), *(before._slots if before else ())]

    async def acquire(self) -> None:
        """Wait for a slot of this lane, and of each lane before it."""
        held = []
        try:
            for slot in self._slots:
                self.waits += slot.locked()
                await slot.acquire()
                held.append(slot)
        except BaseException:
            for slot in held:
                slot.release()
            raise

    def release(self) -> None:
        for slot in self._slots:
            slot.release()


def queues(size: int) -> dict[Lane, Queue]:
    """Return the queues for `size` connections, RESERVED more that only QUICK may take, and one for HEALTH."""
    idle: list[Connection] = []
    quick = Queue(size + RESERVED, idle)
    change = Queue(size, idle, quick)
    long = Queue(size - RESERVED, idle, change)
    return {Lane.HEALTH: Queue(1, []), Lane.QUICK: quick, Lane.CHANGE: change, Lane.LONG: long}
