from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg2
from aiohttp.test_utils import TestClient

from inventory_ws.pg.schema import sql_file

from ..conftest import create
from .conftest import asked, expected, heard_event, same, shown

OLD = (Path(__file__).parents[1] / "schema_0.1.0.sql").read_text()


async def test_sku_goes_down_to_the_table_and_comes_back(client: TestClient, psql: Callable) -> None:
    with expected("un 201 al crear un producto con sku"):
        created = await create(client, sku="TEC-01")
    same(created.get("sku"), "TEC-01", "como sku en la respuesta del POST")
    with expected("una columna sku en la tabla productos"):
        same(psql("SELECT sku FROM productos"), [("TEC-01",)], "en la columna sku de la tabla")
    same((await asked(client, "/api/productos"))["data"][0].get("sku"), "TEC-01", "como sku en la lista")
    resp = await client.patch("/api/productos/1", json={"sku": "TEC-02"})
    same(resp.status, 200, "de un PATCH con otro sku")
    with expected("el producto en data de la respuesta del PATCH"):
        data = (await resp.json())["data"]
    same(data.get("sku"), "TEC-02", "como sku en la respuesta del PATCH")
    same(resp.headers.get("ETag"), f'"{data["updated_at"]}"', "como ETag, que es su updated_at")


async def test_sku_is_in_the_event(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    with expected("un 201 al crear un producto con sku"):
        await create(client, sku="TEC-01")
    same((await heard_event(ws, "el evento del producto"))["data"].get("sku"), "TEC-01", "como sku en el evento")
    before: str | None = "TEC-01"
    for sku in ("TEC-02", None, "TEC-03"):
        await client.patch("/api/productos/1", json={"sku": sku})
        change = f"de un cambio de sku, de {shown(before)} a {shown(sku)}"
        same((await heard_event(ws, f"el evento {change}")).get("antes"), {"sku": before}, f"como antes {change}")
        before = sku


async def test_sku_is_imported_from_a_file(client: TestClient) -> None:
    headers = {"Content-Type": "text/csv"}
    resp = await client.post("/api/productos", data="nombre,precio,sku\nTeclado,1,TEC-01\n", headers=headers)
    same(resp.status, 200, "al importar un archivo con una columna sku")
    same((await asked(client, "/api/productos"))["data"][0].get("sku"), "TEC-01", "como sku de la fila importada")


async def test_product_needs_no_sku(client: TestClient) -> None:
    created = await create(client)
    assert created.get("sku", "") is None, (
        'Se esperaba "sku":null en un producto creado sin sku; llegó otra cosa o falta'
    )


async def test_sku_is_checked(client: TestClient) -> None:
    for sku in (7, "", "   ", "x" * 41):
        resp = await client.post("/api/productos", json={"nombre": "A", "precio": 1, "sku": sku})
        same(resp.status, 400, f"para el sku {sku!r}")
        with expected(f"errors con un fallo en el campo sku para {sku!r}"):
            (fault,) = (await resp.json())["errors"]
        same(fault["field"], "sku", f"como field del error para el sku {sku!r}")
        assert "no es un campo" not in fault["message"], (
            f"Se esperaba que sku fuera un campo conocido; llegó «{fault['message']}»"
        )


def test_database_that_exists_gets_the_column_and_loses_nothing(empty_dsn: str) -> None:
    with closing(psycopg2.connect(empty_dsn)) as conn, conn.cursor() as cursor:
        conn.autocommit = True
        cursor.execute(OLD)
        cursor.execute("INSERT INTO productos (nombre, precio, stock) VALUES ('De antes', 1, 2)")
        with expected(
            "que sql/schema.sql pusiera al día, dos veces seguidas, una base de datos que ya existía y no tiene la columna"
        ):
            for _ in range(2):
                cursor.execute(sql_file("schema.sql"))
        with expected("la columna sku en una base de datos que ya existía"):
            cursor.execute("SELECT nombre, stock, sku FROM productos")
        same(cursor.fetchall(), [("De antes", 2, None)], "como lo que guardaba una base de datos que ya existía")
