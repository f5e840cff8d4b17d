import asyncio
from collections.abc import Callable

from aiohttp.test_utils import TestClient

from ..conftest import create, settled
from .conftest import asked, expected, heard, same
from .says import silence


async def set_stock(client: TestClient, *stocks: int) -> None:
    for stock in stocks:
        same(
            (await client.patch("/api/productos/1", json={"stock": stock})).status, 200, f"al poner el stock a {stock}"
        )


async def test_stock_that_becomes_low_is_told_after_the_change(client: TestClient, listen: Callable) -> None:
    await create(client, nombre="Teclado", stock=10)
    ws = await listen("/ws?last_event_id=1")
    await set_stock(client, 5, 4)
    _, updated, low = [
        await heard(ws, "un PRODUCT_UPDATED, otro y un STOCK_LOW al pasar de 10 a 5 y a 4") for _ in range(3)
    ]
    same([updated["type"], low["type"]], ["PRODUCT_UPDATED", "STOCK_LOW"], "al pasar de 5 a 4")
    same(low["id"], updated["id"] + 1, "como id de STOCK_LOW, el siguiente al del cambio")
    same(low.get("data"), {"id": 1, "nombre": "Teclado", "stock": 4}, "como data de STOCK_LOW")
    assert low.get("timestamp"), "Se esperaba un timestamp en STOCK_LOW; falta"
    same(
        (await asked(client, f"/api/eventos?after={updated['id']}"))["data"],
        [low],
        "en /api/eventos, como por el socket",
    )


async def test_it_is_told_once_each_time(client: TestClient, listen: Callable) -> None:
    await create(client, stock=10)
    with expected("que /ws?eventos=STOCK_LOW abriera un socket"):
        ws = await listen("/ws?last_event_id=1&eventos=STOCK_LOW")
    await set_stock(client, 4, 3, 0, 5, 2)
    stocks = [(await heard(ws, "dos STOCK_LOW al pasar por 10, 4, 3, 0, 5 y 2"))["data"]["stock"] for _ in range(2)]
    same(stocks, [4, 2], "como stocks de los STOCK_LOW al pasar por 10, 4, 3, 0, 5 y 2")
    with expected("solo dos STOCK_LOW al pasar por 10, 4, 3, 0, 5 y 2"):
        await silence(ws)


async def test_product_that_is_created_with_few_is_not_told(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    await create(client, stock=3)
    await heard(ws, "un PRODUCT_CREATED")
    with expected("ningún STOCK_LOW al crear un producto con 3 unidades: su stock nunca fue de 5 o más"):
        await silence(ws)


async def test_change_of_psql_is_told_too(client: TestClient, listen: Callable, psql: Callable) -> None:
    await create(client, stock=10)
    ws = await listen("/ws?last_event_id=1")
    psql("UPDATE productos SET stock = 4")
    types = [(await heard(ws, "un STOCK_LOW tras un cambio hecho desde psql"))["type"] for _ in range(2)]
    same(types, ["PRODUCT_UPDATED", "STOCK_LOW"], "tras un cambio hecho desde psql")


async def test_past_keeps_the_whole_product(client: TestClient) -> None:
    """It is read from the log, where the last event of a product may now be one that has not the whole row."""
    before = await create(client, nombre="Teclado", stock=10)
    await set_stock(client, 4)
    with expected("un registro con PRODUCT_CREATED, PRODUCT_UPDATED y STOCK_LOW al pasar de 10 a 4"):
        async with asyncio.timeout(3):
            await settled(client, 3)
    row = (await asked(client, "/api/productos/1"))["data"]
    await set_stock(client, 3)
    await settled(client, 4)
    for at, wanted in ((1, before), (2, row), (3, row)):
        (product,) = (await asked(client, f"/api/productos?at={at}"))["data"]
        lacks = ", ".join(sorted(wanted.keys() - product.keys()))
        assert not lacks, f"Se esperaba el producto entero de GET /api/productos?at={at}; le falta {lacks}"
        same(product, wanted, f"de GET /api/productos?at={at}")
