"""Keeps the log from growing for ever, where it is told to: off by default."""

import asyncio
import logging

from . import repository
from .database import Database, Unavailable

PAUSE = 30.0  # seconds between looks; within one, small batches that hold nobody up

log = logging.getLogger(__name__)


async def prune(db: Database, days: float | None, number: int | None) -> None:
    """Deletes events over `days` old and those beyond the newest `number`, until cancelled."""
    while True:
        try:
            while await repository.prune_events(db, days, number):
                await asyncio.sleep(0.05)
        except Unavailable:
            pass  # the next look will do
        except Exception:
            log.exception("the log could not be pruned")
        await asyncio.sleep(PAUSE)
