import asyncio
from collections.abc import Callable
from pathlib import Path

from aiohttp.test_utils import TestClient

from ..conftest import create
from .conftest import Program, Start
from .says import expecting, written


async def prints(program: Program, *lines: str) -> None:
    for line in lines:
        printed = await program.line()
        assert printed == line, f"Se esperaba la línea «{line}»; salió «{printed}»"


async def stop(program: Program) -> None:
    await asyncio.sleep(0.5)  # it has to keep the position after it has processed the event
    assert program.process.returncode is None, "Se esperaba que consumidor.py siguiera esperando eventos; ha terminado"
    program.process.terminate()
    await program.process.wait()


async def test_every_event_is_processed_once(start: Start, url: str, client: TestClient, tmp_path: Path) -> None:
    written("consumidor.py")
    position = tmp_path / "posicion"
    for _ in range(3):
        await create(client)
    first = await start("consumidor.py", url, position)
    await prints(first, *(f"{number} PRODUCT_CREATED" for number in (1, 2, 3)))
    await create(client)
    await prints(first, "4 PRODUCT_CREATED")
    await stop(first)
    assert position.exists(), "Se esperaba la posición guardada en el fichero del segundo argumento, que no existe"
    await client.delete("/api/productos/1")
    second = await start("consumidor.py", url, position)
    await create(client)
    await prints(second, "5 PRODUCT_DELETED", "6 PRODUCT_CREATED")


async def test_position_of_another_log_is_worth_nothing(
    start: Start, url: str, client: TestClient, psql: Callable, tmp_path: Path
) -> None:
    """After a TRUNCATE the events begin anew: the program stops and says so, instead of going on as if nothing were."""
    written("consumidor.py")
    await create(client)
    first = await start("consumidor.py", url, tmp_path / "posicion")
    await prints(first, "1 PRODUCT_CREATED")
    await stop(first)
    psql("TRUNCATE productos")
    second = await start("consumidor.py", url, tmp_path / "posicion")
    with expecting("Se esperaba que terminara si el registro empezó de nuevo (TRUNCATE); a los 10 s sigue en marcha"):
        async with asyncio.timeout(10):
            status = await second.process.wait()
    assert status == 1, f"Se esperaba el estado 1 si el registro empezó de nuevo (TRUNCATE); terminó con {status}"
