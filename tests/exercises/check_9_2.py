import asyncio
import re
from collections.abc import Callable

from aiohttp import web

from inventory_ws import create_app

from .conftest import Start, same

INSERT = "INSERT INTO productos (nombre, precio) VALUES ('Teclado', 64.9)"


async def serve(dsn: str, port: int) -> web.AppRunner:
    runner = web.AppRunner(create_app(dsn=dsn))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


async def test_events_go_on_where_the_connection_was_lost(start: Start, dsn: str, psql: Callable) -> None:
    service = await serve(dsn, 0)
    try:
        port = service.addresses[0][1]
        program = await start("persistente.py", f"http://127.0.0.1:{port}")
        await program.says("conectado", "al empezar")
        psql(INSERT)
        await program.says("evento 1", "tras un cambio")
        await service.cleanup()
        for _ in range(3):
            psql(INSERT)
        service = await serve(dsn, port)
        ceiling = 1
        while (line := await program.line()).startswith("espero"):
            found = re.fullmatch(r"espero (\d+(?:\.\d+)?) s", line)
            assert found, f"Se esperaba una línea como «espero 0.4 s»; llegó «{line}»"
            assert float(found[1]) <= ceiling, f"Se esperaba aquí una espera de {ceiling} s o menos; llegó «{line}»"
            ceiling = min(ceiling * 2, 30)
        assert ceiling > 1, f"Se esperaba una línea como «espero 0.4 s» al perder la conexión; llegó «{line}»"
        same(line, "conectado", "de persistente.py cuando vuelve el servicio")
        for number in (2, 3, 4):
            await program.says(f"evento {number}", "al volver, de los tres que se había perdido")
    finally:
        await service.cleanup()


async def test_server_that_is_gone_is_asked_ever_more_seldom(start: Start) -> None:
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
    assert calls >= 2, f"Se esperaba otro intento antes de 1 s si el servidor cuelga; en 3 s llegó {calls}"
    assert calls <= 12, f"Se esperaba que aguardara cada vez más si el servidor cuelga; en 3 s lo intentó {calls} veces"


async def test_gap_is_told(start: Start, url: str, psql: Callable) -> None:
    """After a TRUNCATE no position is valid: the socket starts at the end of the log, whatever happened meanwhile."""
    program = await start("persistente.py", url)
    await program.says("conectado", "al empezar")
    psql("TRUNCATE productos")
    same((await program.line())[:6], "espero", "cuando el servicio cierra el socket tras un TRUNCATE")
    await program.says("conectado", "al volver tras un TRUNCATE")
    await program.says("hueco", 'al oír "recovered":false, detrás de «conectado»')
