import re
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from inventory_ws.pg.database import DATABASE

from ..conftest import create
from .conftest import asked, same


async def summary(client: TestClient, when: str = "") -> Any:
    body = await asked(client, "/api/resumen", when)
    same(body.get("success"), True, "como success de /api/resumen")
    return body.get("data")


async def test_summary_counts_products_and_units_and_what_they_are_worth(client: TestClient) -> None:
    await create(client, precio=64.9, stock=3)
    await create(client, precio=0.1, stock=3)
    await create(client, precio=999, stock=0)
    same(await summary(client), {"productos": 3, "unidades": 6, "valor": 195.0}, "de 3 a 64.90, 3 a 0.10 y 0 a 999")
    await client.delete("/api/productos/1")
    same(await summary(client), {"productos": 2, "unidades": 3, "valor": 0.3}, "de 3 a 0.10 y 0 a 999")


async def test_summary_is_of_one_moment(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two statements somebody may sell."""
    database, statements = client.app[DATABASE], []
    fetch = database.fetch

    async def noted(sql: str, *args: object, **options: object) -> object:
        statements.append(sql)
        return await fetch(sql, *args, **options)

    monkeypatch.setattr(database, "fetch", noted)
    await summary(client)
    number = sum(bool(re.search(r"(?i)from\s+productos", sql)) for sql in statements)
    assert number <= 1, f"Se esperaba una sola sentencia para GET /api/resumen; llegaron {number} a la base de datos"


async def test_summary_of_nothing_is_zeros(client: TestClient) -> None:
    same(await summary(client), {"productos": 0, "unidades": 0, "valor": 0}, "de un inventario vacío")


async def test_summary_of_very_much_does_not_overflow(client: TestClient) -> None:
    for _ in range(2):
        await create(client, precio=1000, stock=2_147_483_647)
    wanted = {"productos": 2, "unidades": 4_294_967_294, "valor": 4_294_967_294_000}
    same(await summary(client, "con 4294967294 unidades"), wanted, "de dos veces 2147483647 unidades a 1000")


async def test_summary_is_exact_to_the_cent(client: TestClient) -> None:
    await create(client, precio=9_999_999_999.99, stock=2_147_483_647)
    text = await (await client.get("/api/resumen")).text()
    assert "21474836469978525163.53" in text, (
        f"Se esperaba 21474836469978525163.53 de 2147483647 unidades a 9999999999.99; llegó {text}"
    )
