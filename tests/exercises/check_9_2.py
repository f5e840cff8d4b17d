import asyncio
import re
from collections.abc import Callable

from aiohttp import web

from inventory_ws import create_app

from .conftest import Program, Start
from .says import written

INSERT = "INSERT INTO productos (nombre, precio) VALUES ('Teclado', 64.9)"


async def serve(dsn: str, port: int) -> web.AppRunner:
    runner = web.AppRunner(create_app(dsn=dsn))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


async def prints(program: Program, *lines: str) -> None:
    for line in lines:
        printed = await program.line()
        assert printed == line, f"Se esperaba la línea «{line}»; salió «{printed}»"


async def test_events_go_on_where_the_connection_was_lost(start: Start, dsn: str, psql: Callable) -> None:
    written("persistente.py")
    service = await serve(dsn, 0)
    try:
        port = service.addresses[0][1]
        program = await start("persistente.py", f"http://127.0.0.1:{port}")
        await prints(program, "conectado")
        psql(INSERT)
        await prints(program, "evento 1")
        await service.cleanup()
        for _ in range(3):
            psql(INSERT)
        service = await serve(dsn, port)
        waits = []
        while (line := await program.line()).startswith("espero"):
            found = re.fullmatch(r"espero (\d+(?:\.\d+)?) s", line)
            assert found, f"Se esperaba una línea como «espero 0.4 s»; salió «{line}»"
            waits.append(float(found[1]))
        assert waits, f"Se esperaba una línea como «espero 0.4 s» al perder la conexión; salió «{line}»"
        for number, wait in enumerate(waits):
            assert wait <= 2**number, f"Se esperaba un máximo de {2**number} s en la espera {number + 1}; fue {wait} s"
        assert line == "conectado", f"Se esperaba «conectado» al volver el servicio; salió «{line}»"
        await prints(program, "evento 2", "evento 3", "evento 4")
    finally:
        await service.cleanup()


async def test_server_that_is_gone_is_asked_ever_more_seldom(start: Start) -> None:
    written("persistente.py")
    calls = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        program = await start("persistente.py", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for _ in range(1000):
            if calls or program.process.returncode is not None:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(3)
    assert calls >= 2, f"Se esperaba que lo intentara otra vez, en 1 s como mucho; en 3 s lo intentó {calls} veces"
    assert calls <= 12, f"Se esperaba que esperase cada vez más entre intentos; en 3 s lo intentó {calls} veces"
