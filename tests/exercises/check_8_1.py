from collections.abc import Callable

from aiohttp.test_utils import TestClient

from inventory_ws.live.hub import HUB

from ..conftest import create
from .conftest import Start


async def test_value_of_the_inventory_is_kept_current(
    start: Start, url: str, client: TestClient, psql: Callable
) -> None:
    await create(client, precio=0.1, stock=3)
    await create(client, precio=1000, stock=2)
    program = await start("tablero.py", url)
    await program.says("Valor: 2000.30", "con 3 a 0.10 y 2 a 1000")
    await client.patch("/api/productos/1", json={"nombre": "Otro"})  # which changes no value, and so says nothing
    await client.post("/api/productos/1/stock", json={"delta": 3})
    await program.says("Valor: 2000.60", "con 6 a 0.10 y 2 a 1000")
    await client.app[HUB].renew()
    psql("UPDATE productos SET precio = 500 WHERE id = 2")
    await program.says("Valor: 1000.60", "con 6 a 0.10 y 2 a 500, cambiado desde psql, y tras un PONG")
    await client.delete("/api/productos/2")
    await program.says("Valor: 0.60", "con 6 a 0.10, tras eliminar el otro")
    await create(client, precio=5, stock=1)
    await program.says("Valor: 5.60", "con 6 a 0.10 y 1 a 5")
    await create(client, precio=9_999_999_999.99, stock=1_000_000)
    await program.says("Valor: 9999999999990005.60", "con un millón a 9999999999.99 además, sin perder un céntimo")
