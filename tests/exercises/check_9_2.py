import asyncio
from collections.abc import Callable

from aiohttp import web

from inventory_ws import create_app

from .conftest import Start


async def serve(dsn: str, port: int) -> web.AppRunner:
    runner = web.AppRunner(create_app(dsn=dsn))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


async def test_events_go_on_where_the_connection_was_lost(start: Start, dsn: str, psql: Callable) -> None:
    insert = "INSERT INTO productos (nombre, precio) VALUES ('Teclado', 64.9)"
    service = await serve(dsn, 0)
    try:
        port = service.addresses[0][1]
        program = await start("persistente.py", f"http://127.0.0.1:{port}")
        assert await program.line() == "conectado"
        psql(insert)
        assert await program.line() == "evento 1"
        await service.cleanup()
        for _ in range(3):
            psql(insert)
        service = await serve(dsn, port)
        while (line := await program.line()).startswith("espero"):
            pass
        assert [line] + [await program.line() for _ in range(3)] == ["conectado", "evento 2", "evento 3", "evento 4"]
    finally:
        await service.cleanup()


async def test_server_that_is_gone_is_asked_ever_more_seldom(start: Start) -> None:
    calls: list[float] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(asyncio.get_running_loop().time())
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        await start("persistente.py", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await asyncio.sleep(3)
    assert 2 <= len(calls) <= 12
