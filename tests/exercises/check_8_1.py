from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..conftest import create
from .conftest import Start


async def test_value_of_the_inventory_is_kept_current(
    start: Start, url: str, client: TestClient, psql: Callable
) -> None:
    await create(client, precio=0.1, stock=3)
    await create(client, precio=1000, stock=2)
    program = await start("tablero.py", url)
    assert await program.line() == "Valor: 2000.30"
    await client.post("/api/productos/1/stock", json={"delta": 3})
    assert await program.line() == "Valor: 2000.60"
    psql("UPDATE productos SET precio = 500 WHERE id = 2")
    assert await program.line() == "Valor: 1000.60"
    await client.delete("/api/productos/2")
    assert await program.line() == "Valor: 0.60"
    await create(client, precio=5, stock=1)
    assert await program.line() == "Valor: 5.60"
