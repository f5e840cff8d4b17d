"""A database of an earlier version is upgraded by starting the service on it, and loses nothing."""

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from aiohttp.test_utils import TestClient
from psycopg2.extensions import make_dsn

from inventory_ws import create_app
from inventory_ws.pg.schema import sql_file

from .conftest import create, receive

EARLIER = sorted(Path(__file__).parent.glob("schema_*.sql"))
LIFE = """
    INSERT INTO productos (nombre, descripcion, precio, stock) VALUES ('Laptop "Dell"', 'Potente', 1299.9, 10);
    INSERT INTO productos (nombre, precio) VALUES ('Ñandú', 2), ('Ratón', 3);
    UPDATE productos SET stock = 9 WHERE id = 1;
    DELETE FROM productos WHERE id = 3;
    INSERT INTO productos (id, nombre, precio) OVERRIDING SYSTEM VALUE VALUES (5, 'Traído', 1), (6, 'Traído', 1);
"""
GRANTS = """
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    GRANT SELECT, INSERT, UPDATE, DELETE ON productos TO servicio_de_antes;
    GRANT SELECT ON eventos, eventos_epoca TO servicio_de_antes;
    GRANT EXECUTE ON FUNCTION eventos_podar TO servicio_de_antes;
"""
PRODUCTS = "SELECT to_json(p)::text FROM productos AS p ORDER BY id"
LOG = "SELECT id, tipo, producto_id, mensaje::text FROM eventos ORDER BY id"


@pytest.fixture(params=EARLIER, ids=lambda path: path.stem)
def dsn(empty_dsn: str, request: pytest.FixtureRequest) -> str:
    """A database of an earlier version that was in use."""
    with closing(psycopg2.connect(empty_dsn)) as conn, conn.cursor() as cursor:
        conn.autocommit = True
        for script in (request.param.read_text(), LIFE):
            cursor.execute(script)
    return empty_dsn


async def works(client: TestClient, position: int) -> None:
    """Sees that changes are made, and that a socket hears of them from the position on."""
    ws = await client.ws_connect(f"/ws?last_event_id={position}")
    assert (await ws.receive_json(timeout=5))["recovered"] is True
    product = await create(client)
    path = f"/api/productos/{product['id']}"
    assert (await client.patch(path, json={"stock": 1})).status == 200
    assert (await client.delete(path)).status == 200
    events = await receive(ws, 3)
    assert [event["type"] for event in events] == ["PRODUCT_CREATED", "PRODUCT_UPDATED", "PRODUCT_DELETED"]
    assert [event["id"] for event in events] == [position + 1, position + 2, position + 3]


async def test_service_of_an_earlier_version_does_not_start_and_undoes_nothing(
    dsn: str, request: pytest.FixtureRequest, psql: Callable, aiohttp_client: Callable[..., Awaitable[TestClient]]
) -> None:
    await aiohttp_client(create_app(dsn=dsn))
    functions = psql("SELECT oid, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY oid")
    earlier = request.node.callspec.params["dsn"].read_text()
    with closing(psycopg2.connect(dsn)) as conn, conn.cursor() as cursor:
        conn.autocommit = True
        with pytest.raises(psycopg2.errors.WrongObjectType, match="eventos_limite"):
            cursor.execute(earlier)
    assert psql("SELECT oid, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY oid") == functions


async def test_upgrade_keeps_products_log_and_positions(
    dsn: str, psql: Callable, aiohttp_client: Callable[..., Awaitable[TestClient]]
) -> None:
    products, log = psql(PRODUCTS), psql(LOG)
    ((epoch, floor),) = psql("SELECT epoca, desde FROM eventos_epoca")
    assert len(log) == 7
    client = await aiohttp_client(create_app(dsn=dsn))
    assert psql(PRODUCTS) == products
    assert psql(LOG) == log
    ((former, *rest),) = psql("SELECT anteriores, desde, esquema IS NOT NULL FROM eventos_epoca")
    assert (former[epoch], *rest) == (7, floor, True)
    messages = [message for *_, message in log]
    assert await (await client.get("/api/eventos")).text() == f'{{"success":true,"data":[{",".join(messages)}]}}'
    one = await (await client.get("/api/eventos?producto=1")).json()
    assert [event["id"] for event in one["data"]] == [number for number, _, product, _ in log if product == 1]
    ws = await client.ws_connect(f"/ws?last_event_id=2&epoch={epoch}")
    assert (await ws.receive_json(timeout=5))["recovered"] is True
    assert [(await ws.receive(timeout=5)).data for _ in messages[2:]] == messages[2:]
    assert [row["id"] for row in (await (await client.get("/api/productos?at=5")).json())["data"]] == [1, 2]
    assert (await create(client))["id"] == 7, "5 and 6 were brought"
    await works(client, 8)


def test_upgrade_during_an_open_transaction_fails_neither(dsn: str, connect: Callable, psql: Callable) -> None:
    writer = connect()
    writer.autocommit = False
    with writer.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        cursor.execute("INSERT INTO productos (nombre, precio) VALUES ('antes', 1)")
        cursor.execute("UPDATE productos SET stock = 8 WHERE id = 1")
        upgrade = pool.submit(connect().cursor().execute, sql_file("schema.sql"))
        while not upgrade.done() and psql("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(0,)]:
            pass
        cursor.execute("UPDATE productos SET stock = 7 WHERE id = 2")
        cursor.execute("INSERT INTO productos (nombre, precio) VALUES ('después', 1)")
        writer.commit()
        upgrade.result(10)
    assert psql("SELECT id, tipo, mensaje -> 'data' ->> 'nombre' FROM eventos WHERE id > 7 ORDER BY id") == [
        (8, "PRODUCT_CREATED", "antes"),
        (9, "PRODUCT_UPDATED", 'Laptop "Dell"'),
        (10, "PRODUCT_UPDATED", "Ñandú"),
        (11, "PRODUCT_CREATED", "después"),
    ]


async def test_upgrade_by_the_owner_leaves_the_role_of_the_service_its_rights(
    dsn: str, psql: Callable, aiohttp_client: Callable[..., Awaitable[TestClient]]
) -> None:
    psql("CREATE ROLE servicio_de_antes LOGIN")
    try:
        psql(GRANTS)
        psql(sql_file("schema.sql"))
        client = await aiohttp_client(create_app(dsn=make_dsn(dsn, user="servicio_de_antes"), keep_events=1000))
        await works(client, 7)
        await client.close()
    finally:
        psql("DROP OWNED BY servicio_de_antes")
        psql("DROP ROLE servicio_de_antes")
