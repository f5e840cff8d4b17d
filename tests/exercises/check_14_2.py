from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..conftest import create, settled
from .conftest import Start, same


async def movements(start: Start, url: str, product: int) -> list[str]:
    """The lines that the program prints."""
    out = await (await start("movimientos.py", url, product)).output()
    return [line.strip() for line in out.strip().splitlines()]


async def test_movements_are_told_in_their_order_with_their_reasons(
    start: Start, url: str, client: TestClient, psql: Callable
) -> None:
    await create(client, stock=5)
    await create(client, stock=1000)
    await client.post("/api/productos/1/stock", json={"delta": -2})
    await client.post("/api/productos/1/stock", json={"delta": 24, "motivo": "entrega"})
    await client.patch("/api/productos/1", json={"precio": 3})
    psql("UPDATE productos SET stock = 20, precio = 4 WHERE id = 1")
    await client.delete("/api/productos/1")
    await settled(client, 7)
    wanted = ["1 +5 5", "3 -2 3", "4 +24 27 entrega", "6 -7 20", "7 -20 0"]
    same(await movements(start, url, 1), wanted, "como líneas de movimientos.py")
    same(await movements(start, url, 7), [], "como líneas de un producto que nunca existió")


async def test_history_of_more_than_a_page_is_told_whole(
    start: Start, url: str, client: TestClient, psql: Callable
) -> None:
    await create(client, stock=0)
    psql("DO $$ BEGIN FOR i IN 1..1100 LOOP UPDATE productos SET stock = i; END LOOP; END $$")
    await settled(client, 1101)
    lines = await movements(start, url, 1)
    same(len(lines), 1100, "como número de líneas tras 1100 cambios del stock, que no caben en una página")
    for number, line in enumerate(lines, 1):
        same(line, f"{number + 1} +1 {number}", f"como línea {number} de movimientos.py")
