"""Clients that take their time: over their headers, over a body, and over the answer."""

import asyncio
import socket
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress

from inventory_ws.cli.addresses import UNREAD_TIMEOUT
from inventory_ws.cli.main import KEEPALIVE

from ..tools.service import PATIENCE, Figure, database, insert, inventory, writer
from . import impatient
from .beside import others

PRODUCTS = 3000  # more than the kernel takes off aiohttp's hands
DEAF = 5  # clients that read no answer
SLACK = 5.0 * PATIENCE  # seconds
HOST = b"Host: localhost\r\n"
JSON = HOST + b"Content-Type: application/json\r\n"
KINDS = {  # what comes at once, what trickles, and the status of the answer: none for a close without a word
    "nothing": (b"", b"", None),
    "headers": (b"POST /api/productos HTTP/1.1\r\n" + JSON + b"X-Slow: ", b"x", None),
    "headers after a request": (b"GET /api/salud HTTP/1.1\r\n" + HOST + b"\r\nGET / HTTP/1.1\r\nX-Slow: ", b"x", 200),
    "a handshake": (b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ", b"x", None),
    "a body": (b"POST /api/productos HTTP/1.1\r\n" + JSON + b"Content-Length: 1000\r\n\r\n", b" ", 408),
    "chunks": (b"PUT /api/productos/1 HTTP/1.1\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", 408),
    "a body for nobody": (b"POST /nada HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n", b" ", 404),
}


LAST = 60.0 * PATIENCE  # seconds after which a client gives up by itself


async def answered(reader: asyncio.StreamReader) -> int | None:
    """Reads until the connection ends. Returns the status of the answer."""
    line = b""
    with suppress(ConnectionError):
        line = await reader.readline()
        await reader.read()
    return int(line.split()[1]) if line else None


async def slowly(port: int, first: bytes, rest: bytes, pace: float) -> tuple[int | None, float]:
    """Sends the rest again and again. Returns the status of the answer, and the seconds until the connection ended."""
    began = time.monotonic()
    reader, end = await asyncio.open_connection("127.0.0.1", port)
    reading = asyncio.create_task(answered(reader))
    end.write(first)
    while not (await asyncio.wait([reading], timeout=pace))[0] and time.monotonic() - began < LAST:
        end.write(rest)
    seconds = time.monotonic() - began
    end.transport.abort()
    return await reading, seconds


def deaf(port: int) -> socket.socket:
    """A client that asks for all there is and reads nothing of it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    sock.sendall(b"GET /api/productos HTTP/1.1\r\n" + HOST + b"\r\n")
    return sock


async def check(server: str, size: int = 200, *, hurry: bool = False) -> list[Figure]:
    """Slow headers, slow bodies and answers that nobody reads, all at once"""
    limit, unread, program = KEEPALIVE, UNREAD_TIMEOUT, "inventory_ws"
    if hurry:
        limit, unread, program = impatient.LIMIT, impatient.LIMIT, "tests.reliability.impatient"
    with database(server) as dsn, ExitStack() as stack:
        async with inventory(dsn, program=program) as service:
            before = await service.connections()
            with closing(writer(dsn)) as conn:
                insert(conn, PRODUCTS, "x" * 2000)
            await service.settled(PRODUCTS)
            began = time.monotonic()
            for _ in range(DEAF):
                stack.enter_context(deaf(service.port))
            await asyncio.sleep(1)
            async with others(service, dsn, after=PRODUCTS) as seen:
                kinds = list(KINDS.values()) * size
                slow = [asyncio.create_task(slowly(service.port, *kind[:2], limit / 10)) for kind in kinds]
                ended = await asyncio.gather(*slow)
            while (left := await service.connections() - before) > 0 and time.monotonic() < began + unread + SLACK:
                await asyncio.sleep(0.1)
            heard = time.monotonic() - began
            complaints = service.complaints()
    wrong = Counter(
        f"{name}: {status}"
        for (name, (_, _, right)), (status, _) in zip(list(KINDS.items()) * size, ended, strict=True)
        if status != right
    )
    last = max(seconds for _, seconds in ended)
    return [
        Figure("clients that are slow; kinds of slowness", "", f"{len(ended)}; {len(KINDS)}"),
        Figure("answered otherwise than they should", "0", f"{wrong.total()} {dict(wrong) or ''}".strip(), not wrong),
        Figure("the last closed after, s", f"<= {limit + SLACK:.0f}", f"{last:.1f}", last <= limit + SLACK),
        Figure("connections left, with those who read nothing", "0", str(left), left <= 0),
        Figure("the last of them after, s", f"<= {unread + SLACK:.0f}", f"{heard:.1f}", left <= 0),
        *seen.figures(),
        complaints,
    ]
