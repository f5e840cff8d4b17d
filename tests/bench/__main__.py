"""`make bench`: this service beside the broadcast of a first lesson, in turns on one PostgreSQL. Only ratios hold."""

import asyncio
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

import aiohttp

from inventory_ws import embedded

PRODUCT = {"nombre": "Laptop Dell", "descripcion": "Laptop potente", "precio": 1299.99, "stock": 10}
TURNS = 5


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


@asynccontextmanager
async def running(*command: str, port: int) -> AsyncIterator[str]:
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=quiet, stderr=quiet)
    try:
        for _ in range(200):
            try:
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                break
            except OSError:
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def deliver(session: aiohttp.ClientSession, url: str, clients: int, rounds: int) -> list[float]:
    """Milliseconds from just before a POST to the arrival of its event at the last of the clients, a round each."""
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(session.ws_connect(f"{url}/ws")) for _ in range(clients)]

        async def heard(ws: aiohttp.ClientWebSocketResponse) -> float:
            while "PRODUCT_CREATED" not in (await ws.receive_str(timeout=30)):
                pass
            return time.perf_counter()

        times = []
        for _ in range(rounds):
            waiting = [asyncio.create_task(heard(ws)) for ws in sockets]
            await asyncio.sleep(0.02)
            began = time.perf_counter()
            async with session.post(f"{url}/api/productos", json=PRODUCT) as resp:
                assert resp.status == 201, await resp.text()
            times.append((max(await asyncio.gather(*waiting)) - began) * 1000)
        return times


async def write(session: aiohttp.ClientSession, url: str, connections: int, seconds: float) -> float:
    """Products created a second."""
    until, done = time.perf_counter() + seconds, 0

    async def writer() -> None:
        nonlocal done
        while time.perf_counter() < until:
            async with session.post(f"{url}/api/productos", json=PRODUCT) as resp:
                assert resp.status == 201, await resp.text()
            done += 1

    await asyncio.gather(*(writer() for _ in range(connections)))
    return done / seconds


async def compare(dsn: str) -> None:
    ports = free_port(), free_port()
    ours = ("-m", "inventory_ws", "--port", str(ports[0]), "--database-url", dsn)
    peer = ("-m", "tests.bench.peer", dsn, str(ports[1]))
    async with (
        running(*ours, port=ports[0]) as our_url,
        running(*peer, port=ports[1]) as peer_url,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        await asyncio.sleep(2)

        async def rows(name: str, better: str, measure, *args: float) -> None:
            figures: tuple[list[float], list[float]] = [], []
            for turn in range(TURNS):
                for mine, url in ((0, our_url), (1, peer_url))[:: 1 if turn % 2 else -1]:
                    got = await measure(session, url, *args)
                    figures[mine].extend(got if isinstance(got, list) else [got])
            mine, theirs = map(median, figures)
            print(f"{name:44} {mine:9.1f} {theirs:9.1f} {mine / theirs:7.2f}   {better}", flush=True)

        print(
            f"{'medians, ' + str(os.cpu_count()) + ' cores shared with the clients':44} {'ours':>9} {'lesson':>9}   ratio"
        )
        await rows("POST -> event at the last of 10, ms", "less is better", deliver, 10, 20)
        await rows("POST -> event at the last of 500, ms", "less is better", deliver, 500, 10)
        await rows("POST a second, 20 connections", "more is better", write, 20, 3)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with embedded.postgres(Path(folder) / "data") as dsn:
            asyncio.run(compare(dsn))


if __name__ == "__main__":
    main()
