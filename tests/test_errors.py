from collections.abc import Callable

import pytest
from aiohttp.test_utils import TestClient

from inventory_ws import repository

from .conftest import error


async def test_path_that_is_not_there_has_the_error_body(client: TestClient) -> None:
    await error(await client.get("/nada"), 404)
    await error(await client.get("/api/productos/"), 404)


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
