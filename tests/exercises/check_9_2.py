import asyncio
import re
from collections.abc import Callable

from aiohttp import WSCloseCode, web

from inventory_ws import create_app
from inventory_ws.live.hub import HUB

from .conftest import Program, Start, same

INSERT = "INSERT INTO productos (nombre, precio) VALUES ('Teclado', 64.9)"


async def serve(dsn: str, port: int) -> web.AppRunner:
    runner = web.AppRunner(create_app(dsn=dsn))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


def pause(program: Program, line: str, ceiling: float) -> float:
    """How long it waits, as it says, which is not longer than the ceiling."""
    found = re.fullmatch(r"espero (\d+(?:\.\d+)?) s", line)
    assert found, f"Se esperaba una línea como «espero 0.4 s» al perder la conexión; llegó «{line}»{program.why(line)}"
    assert float(found[1]) <= ceiling, f"Se esperaba aquí una espera de {ceiling} s o menos; llegó «{line}»"
    return float(found[1])


async def back(program: Program) -> None:
    """Sees that it comes back, by waits whose ceiling doubles from 1 s on."""
    ceiling = 1
    while (line := await program.line()) != "conectado" or ceiling == 1:
        pause(program, line, ceiling)
        ceiling = min(ceiling * 2, 30)


async def test_server_that_is_gone_is_asked_ever_more_seldom(start: Start) -> None:
    """Any single wait may be as short as it likes: what is expected would fail once in many millions of times."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        program = await start("persistente.py", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        ceiling, pauses, random = 1, [], False
        while max(pauses, default=0) <= 1 or not random:
            pauses.append(pause(program, await program.line(), ceiling))
            random = random or pauses[-1] < ceiling
            ceiling = min(ceiling * 2, 30)
            told = f"llegaron {', '.join(map(str, pauses))}"
            assert len(pauses) < 3 or random, f"Se esperaban tiempos al azar, y no el tope entero cada vez; {told}"
            assert len(pauses) < 9, f"Se esperaban esperas de más de 1 s, pues el tope se dobla cada vez; {told}"
    same(program.process.returncode, None, "como estado de persistente.py, que no se rinde")


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
        await back(program)
        for number in (2, 3, 4):
            await program.says(f"evento {number}", "al volver, de los tres que se había perdido")
        for _ in range(4):  # a ceiling that went on doubling would have come to 16 s at least
            for stream in list(service.app[HUB].sockets):
                service.app[HUB].disconnect(stream, WSCloseCode.GOING_AWAY)
            await back(program)
    finally:
        await service.cleanup()


async def test_gap_is_told(start: Start, url: str, psql: Callable) -> None:
    """After a TRUNCATE no position is valid: the socket starts at the end of the log, whatever happened meanwhile."""
    program = await start("persistente.py", url)
    await program.says("conectado", "al empezar")
    psql("TRUNCATE productos")
    same((await program.line())[:6], "espero", "cuando el servicio cierra el socket tras un TRUNCATE")
    await program.says("conectado", "al volver tras un TRUNCATE")
    await program.says("hueco", 'al oír "recovered":false, detrás de «conectado»')
