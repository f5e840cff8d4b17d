from aiohttp.test_utils import TestClient

from ..conftest import create, settled
from .conftest import asked, expected, same


async def test_only_what_has_to_be_reordered_is_listed(client: TestClient) -> None:
    for stock in (9, 5, 0, 2, 6):
        await create(client, stock=stock)
    listed = (await asked(client, "/api/productos?stock_max=5"))["data"]
    same([product["stock"] for product in listed], [5, 0, 2], "como stocks de la lista con stock_max=5")
    listed = (await asked(client, "/api/productos?stock_max=0"))["data"]
    same([product["stock"] for product in listed], [0], "como stocks de la lista con stock_max=0")


async def test_it_goes_with_pages_and_search(client: TestClient) -> None:
    for nombre, stock in (("Ratón", 1), ("Teclado", 1), ("Ratón", 9), ("Ratón", 2)):
        await create(client, nombre=nombre, stock=stock)
    resp = await client.get("/api/productos", params={"stock_max": 5, "q": "ratón", "limit": 1})
    same(resp.status, 200, "de stock_max=5&q=ratón&limit=1")
    same([product["id"] for product in (await resp.json())["data"]], [1], "como ids de stock_max=5&q=ratón&limit=1")
    with expected("una cabecera Link con la página siguiente"):
        following = str(resp.links["next"]["url"].relative())
    same(
        [product["id"] for product in (await asked(client, following))["data"]], [4], "como ids de la página siguiente"
    )


async def test_limit_that_is_none_is_refused(client: TestClient) -> None:
    for wrong in ("pocos", "-1"):
        resp = await client.get(f"/api/productos?stock_max={wrong}")
        same(resp.status, 400, f"para stock_max={wrong}")
        with expected(f"errors en el 400 de stock_max={wrong}"):
            fields = [fault["field"] for fault in (await resp.json())["errors"]]
        same(fields, ["stock_max"], f"como campos de errors para stock_max={wrong}")


async def test_it_goes_with_the_past(client: TestClient) -> None:
    await create(client, stock=9)
    await create(client, stock=5)
    await client.delete("/api/productos/2")
    await create(client, stock=10)  # as a text it would come before 5
    await settled(client, 4)
    listed = (await asked(client, "/api/productos?stock_max=5&at=2"))["data"]
    same([product["id"] for product in listed], [2], "como ids de stock_max=5&at=2")
    listed = (await asked(client, "/api/productos?stock_max=5&at=4"))["data"]
    same(listed, [], "como lista de stock_max=5&at=4, de uno con 9 unidades y otro con 10")
