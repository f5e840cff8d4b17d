"""As many connections as there may be, and one more."""

import asyncio
import resource
import time

from inventory_ws.cli.main import KEEPALIVE

from ..tools.crowd import crowd
from ..tools.service import PATIENCE, Figure, Service, database, inventory
from . import impatient
from .beside import others

SPARE = 500  # descriptors for whoever else there is
SLACK = 10.0 * PATIENCE  # seconds
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
RATE = 5.0  # events a second: each is offered to every socket
NOTHING = "/ws?productos=2147483647"  # a room in which nothing is said


async def emptied(service: Service, before: int, limit: float) -> int:
    """Waits until no more connections are open than before. Returns how many are."""
    deadline = time.monotonic() + limit
    while (more := await service.connections() - before) > 0 and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    return max(more, 0)


async def check(server: str, size: int = 10_000, *, hurry: bool = False) -> list[Figure]:
    """As many sockets as there may be, then as many connections that ask for nothing"""
    size = min(size, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE)
    quiet, program = (impatient.LIMIT, "tests.reliability.impatient") if hurry else (KEEPALIVE, "inventory_ws")
    with database(server) as dsn:
        async with inventory(dsn, "--max-sockets", str(size), program=program) as service:
            before = await service.connections()
            async with crowd(service.port, size - 1) as clients:
                await clients.tell(f"go {NOTHING}")
                welcomed = int((await clients.until(60 * PATIENCE, welcomed=size - 1))["welcomed"])
                async with others(service, dsn, rate=RATE) as beside_sockets:
                    await asyncio.sleep(3 if hurry else 10)
                    async with service.session.get(service.url + "/ws", headers=HANDSHAKE) as resp:
                        refused = f"{resp.status}, Retry-After {resp.headers.get('Retry-After')}"
            kept = await emptied(service, before, SLACK)
            position = (await service.health())["last_event_id"]
            async with (
                crowd(service.port, size) as clients,
                others(service, dsn, after=position, rate=RATE) as beside_idle,
            ):
                began = time.monotonic()
                idle = await service.connections() - before
                while (await clients.tell("report"))["open"] and time.monotonic() < began + quiet + SLACK:
                    await asyncio.sleep(0.2)
                closed = time.monotonic() - began
            left = await emptied(service, before, SLACK)
            complaints = service.complaints()
    in_time = closed < quiet + SLACK
    return [
        Figure("sockets welcomed, beside the others' one", str(size - 1), str(welcomed), welcomed == size - 1),
        Figure("one more", "503, Retry-After 5", refused, refused == "503, Retry-After 5"),
        *beside_sockets.figures(),
        Figure("connections that stay with the service", "0", str(kept), kept == 0),
        Figure("connections that ask for nothing", f">= {size}", str(idle), idle >= size),
        Figure("the last of them closed after, s", f"< {quiet + SLACK:.0f}", f"{closed:.1f}", in_time),
        *beside_idle.figures(),
        Figure("connections that stay with the service", "0", str(left), left == 0),
        complaints,
    ]
