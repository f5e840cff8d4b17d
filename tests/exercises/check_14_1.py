import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from aiohttp.test_utils import TestClient

from inventory_ws.live.hub import HUB

from ..conftest import create
from .conftest import Program, Start, expected, same


async def idle(program: Program) -> psutil.Process:
    """Waits until the program waits for events again: it has to keep the position after it has processed one."""
    asleep = 0
    while asleep < 10 and program.process.returncode is None:
        await asyncio.sleep(0.05)
        with suppress(psutil.NoSuchProcess):
            asleep = asleep + 1 if psutil.Process(program.process.pid).status() == psutil.STATUS_SLEEPING else 0
    going_on = program.process.returncode is None
    assert going_on, f"Se esperaba que consumidor.py siguiera a la escucha; terminó con {program.process.returncode}"
    return psutil.Process(program.process.pid)


async def stop(program: Program) -> None:
    (await idle(program)).terminate()
    await program.process.wait()


async def break_off(program: Program, client: TestClient) -> None:
    """Ends the program at the first byte that it writes about the next event, as if the disk were full."""
    if not hasattr(psutil.Process, "rlimit"):  # only Linux limits a running program
        await stop(program)
        return
    (await idle(program)).rlimit(psutil.RLIMIT_FSIZE, (0, 0))
    await create(client)
    await program.says("7 PRODUCT_CREATED", "antes de guardar la posición: si falla al guardarla, la línea ya está")
    with suppress(TimeoutError):
        async with asyncio.timeout(3):
            await program.process.wait()
    if program.process.returncode is None:
        await stop(program)


async def test_every_event_is_processed_once(
    start: Start, url: str, client: TestClient, psql: Callable, tmp_path: Path
) -> None:
    position = tmp_path / "posicion"
    for _ in range(3):
        await create(client)
    first = await start("consumidor.py", url, position)
    for number in (1, 2, 3):
        await first.says(f"{number} PRODUCT_CREATED", "sin archivo, desde el primer evento")
    for stream in client.app[HUB].sockets:
        stream.send(stream.pong())  # as when an epoch begins
    await create(client)
    await first.says("4 PRODUCT_CREATED", "tras un PONG, que no es un evento, y un cambio")
    await stop(first)
    assert position.exists(), "Se esperaba la posición guardada en el ARCHIVO que se le dice; no existe"
    await client.delete("/api/productos/1")
    second = await start("consumidor.py", url, position)
    await create(client)
    for line in ("5 PRODUCT_DELETED", "6 PRODUCT_CREATED"):
        await second.says(line, "al arrancar de nuevo, por donde iba")
    await break_off(second, client)
    third = await start("consumidor.py", url, position)
    await create(client)
    await third.says("7 PRODUCT_CREATED", "si no llegó a escribir su posición: queda entera la de antes, que es la 6")
    await stop(third)
    # After a TRUNCATE the events begin anew: the program stops and says so, instead of going on as if nothing were.
    psql("TRUNCATE productos")
    fourth = await start("consumidor.py", url, position)
    with expected("que consumidor.py terminara tras un TRUNCATE: su posición es de otra época, y recovered lo dice"):
        async with asyncio.timeout(5):
            status = await fourth.process.wait()
    same(status, 1, "como estado de consumidor.py tras un TRUNCATE, que no le deja continuar")
