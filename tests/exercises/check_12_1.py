import asyncio
import gzip
import json

from aiohttp import ClientSession
from aiohttp.test_utils import TestClient

from ..conftest import create, settled

GZIP = {"Accept-Encoding": "gzip"}


async def test_long_list_is_compressed_for_who_can_read_it(client: TestClient, url: str) -> None:
    for _ in range(20):
        await create(client, descripcion="Teclado mecánico " * 20)
    await settled(client, 20)
    async with ClientSession(url, auto_decompress=False) as session:
        async with session.get("/api/productos", headers={"Accept-Encoding": "identity"}) as resp:
            plain = await resp.read()
            assert "Content-Encoding" not in resp.headers
        async with session.get("/api/productos", headers=GZIP) as resp:
            packed = await resp.read()
            assert resp.headers.get("Content-Encoding") == "gzip"
            assert resp.headers["Content-Type"] == "application/json; charset=utf-8"
            assert "Accept-Encoding" in ", ".join(resp.headers.getall("Vary", []))
        assert json.loads(gzip.decompress(packed)) == json.loads(plain)
        assert len(packed) < len(plain) / 5
        async with asyncio.timeout(5):
            while resp.status != 304:  # a change in any database of the server makes a new snapshot, and so a new ETag
                headers = {**GZIP, "If-None-Match": resp.headers["ETag"]}
                async with session.get("/api/productos", headers=headers) as resp:
                    assert resp.status == 304 or resp.headers["Content-Encoding"] == "gzip"


async def test_short_list_goes_as_it_is(client: TestClient, url: str) -> None:
    await create(client)
    async with (
        ClientSession(url, auto_decompress=False) as session,
        session.get("/api/productos", headers=GZIP) as resp,
    ):
        assert "Content-Encoding" not in resp.headers
        assert json.loads(await resp.read())["data"][0]["id"] == 1
