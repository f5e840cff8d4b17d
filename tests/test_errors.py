import asyncio
from collections.abc import Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from yarl import URL

from inventory_ws import create_app, repository

from .conftest import PRODUCT, error


async def test_path_that_is_not_there_has_the_error_body(client: TestClient) -> None:
    for path in (
        "/nada",
        "/nada/",
        "/appXjs",
        "/api/productos/nada",
        "/api/productos//",
        "/api/productos/0/",
        "/api/productos/%31/",
        "/api/",
    ):
        body = await error(await client.get(URL(path, encoded=True)), 404)
        assert body["message"] == "Ruta no encontrada", path


@pytest.mark.parametrize("prefix", ["", "/tienda", "/a/b"])
async def test_path_with_a_slash_too_many_is_told_without_it(dsn: str, aiohttp_client: Callable, prefix: str) -> None:
    app = create_app(dsn=dsn)
    if prefix:
        app, inventory = web.Application(), app
        app.add_subapp(prefix, inventory)
    client = await aiohttp_client(app)
    for path in (
        "/api/productos",
        "/api/productos/7",
        "/api/productos/7/stock",
        "/api/salud",
        "/api/eventos",
        "/docs",
        "/ws",
    ):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            resp = await client.request(method, f"{prefix}{path}/?q=<b>", json=PRODUCT)
            body = await error(resp, 404)
            assert body["message"] == f"Ruta no encontrada; sin la barra final: {prefix}{path}"


async def test_method_that_is_not_there_says_which_are(client: TestClient) -> None:
    resp = await client.delete("/api/productos")
    await error(resp, 405)
    assert set(resp.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


async def test_fault_of_ours_is_logged_and_tells_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(repository, "get_product", broken)
    resp = await client.get("/api/productos/1")
    await error(resp, 500)
    assert "secret" not in await resp.text()
    assert "RuntimeError: secret" in caplog.text


async def test_value_that_only_the_database_refuses_is_the_clients_fault(client: TestClient, psql: Callable) -> None:
    psql("ALTER TABLE productos ADD CHECK (nombre <> 'prohibido')")
    await error(await client.post("/api/productos", json={"nombre": "prohibido", "precio": 1}), 400)
    assert (await client.get("/api/salud")).status == 200


async def test_body_that_is_broken_on_the_way_is_the_clients_fault(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    await error(await client.post("/api/productos", data=b"no gzip at all", headers=headers), 400)
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"POST /api/productos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.transport.abort()
    await asyncio.sleep(0.3)
    assert [record for record in caplog.records if record.name.startswith("inventory_ws")] == []
    assert (await client.get("/api/salud")).status == 200


async def test_expectation_that_is_unknown_has_the_error_body(client: TestClient) -> None:
    for path in ("/api/productos", "/nada"):
        await error(await client.post(path, headers={"Expect": "nada"}), 417)
