from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..conftest import create, settled
from .conftest import Start
from .says import expecting, written


async def movements(start: Start, url: str, product: int) -> list[str]:
    """The lines that the program prints."""
    written("movimientos.py")
    with expecting("Se esperaba que movimientos.py terminara bien en 10 segundos; su error, si lo hay, está debajo"):
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
    lines, wanted = await movements(start, url, 1), ["1 +5 5", "3 -2 3", "4 +24 27 entrega", "6 -7 20", "7 -20 0"]
    assert lines == wanted, f"Se esperaban las líneas {wanted}; salieron {lines}"


async def test_history_of_more_than_a_page_is_told_whole(
    start: Start, url: str, client: TestClient, psql: Callable
) -> None:
    await create(client, stock=0)
    psql("DO $$ BEGIN FOR i IN 1..1500 LOOP UPDATE productos SET stock = i; COMMIT; END LOOP; END $$")
    await settled(client, 1501)
    lines = await movements(start, url, 1)
    assert len(lines) == 1500, f"Se esperaban 1500 líneas, una por cada cambio del stock; salieron {len(lines)}"
    for line, number in zip(lines, range(1, 1501), strict=True):
        assert line == f"{number + 1} +1 {number}", f"Se esperaba la línea «{number + 1} +1 {number}»; salió «{line}»"


async def test_product_that_never_was_has_none(start: Start, url: str) -> None:
    lines = await movements(start, url, 7)
    assert lines == [], f"Se esperaba que no imprimiera nada de un producto que nunca existió; salió {lines}"
