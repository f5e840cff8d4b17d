"""Several instances behind nginx, of which one after the other is restarted."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from ..tools.nginx import NGINX, nginx
from ..tools.service import Figure, Service, database, free_port, running, temporary
from .accounts import kept

INSTANCES, PAUSE = 3, 1.0  # seconds between an instance that is back and the next that goes


async def check(server: str, times: int = 3, sockets: int = 300, rate: float = 50.0) -> list[Figure]:
    """three instances behind nginx, 300 sockets, 50 changes a second; each restarted three times, in turn"""
    if NGINX is None:
        return [Figure("not tried: there is no nginx", "", "")]
    with database(server) as dsn:

        def serving(port: int) -> AbstractAsyncContextManager[Service]:
            command = ("inventory_ws", "--port", str(port), "--database-url", dsn)
            return running(*command, ready="/api/salud", port=port)

        async with AsyncExitStack() as stack:
            instances = {free_port(): AsyncExitStack() for _ in range(INSTANCES)}
            for port, instance in instances.items():
                await stack.enter_async_context(instance)
                await instance.enter_async_context(serving(port))
            front = stack.enter_context(nginx(temporary() / f"nginx-{time.monotonic_ns()}", instances))
            async with kept(front, rate=rate, listeners=sockets) as accounts:
                for _ in range(times):
                    for port, instance in instances.items():
                        await asyncio.sleep(PAUSE)
                        await instance.aclose()
                        await instance.enter_async_context(serving(port))
                await asyncio.sleep(PAUSE)
                figures = await accounts.balance(dsn)
    silences = [listener.silence for listener in accounts.listeners]
    return [
        Figure("restarts", "", str(times * INSTANCES)),
        Figure("the longest silence of a socket, s", "", f"{max(silences):.2f}"),
        *figures,
    ]
