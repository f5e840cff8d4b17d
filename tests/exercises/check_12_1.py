import asyncio
import gzip
import json

from aiohttp import ClientResponse, ClientSession
from aiohttp.test_utils import TestClient

from ..conftest import create, settled
from .conftest import expected, same

GZIP = {"Accept-Encoding": "gzip"}


def plain_one(resp: ClientResponse, where: str) -> None:
    coding = resp.headers.get("Content-Encoding", "identity")
    assert coding == "identity", f"Se esperaba la lista sin comprimir {where}; llegó con Content-Encoding: {coding}"


async def test_long_list_is_compressed_for_who_can_read_it(client: TestClient, url: str) -> None:
    for _ in range(20):
        await create(client, descripcion="Teclado mecánico " * 20)
    await settled(client, 20)
    async with ClientSession(url, auto_decompress=False) as session:
        async with session.get("/api/productos", headers={"Accept-Encoding": "identity"}) as resp:
            plain = await resp.read()
            plain_one(resp, "a quien no admite gzip")
        async with session.get("/api/productos", headers=GZIP) as resp:
            packed = await resp.read()
            same(resp.headers.get("Content-Encoding"), "gzip", "como Content-Encoding de una lista larga")
            kind = resp.headers.get("Content-Type")
            same(kind, "application/json; charset=utf-8", "como Content-Type de la lista comprimida")
            vary = ", ".join(resp.headers.getall("Vary", []))
            assert "accept-encoding" in vary.lower(), f"Se esperaba Accept-Encoding en la cabecera Vary; llegó «{vary}»"
        with expected("que la lista comprimida, una vez descomprimida, fuera la misma"):
            assert json.loads(gzip.decompress(packed)) == json.loads(plain)
        sizes = f"llegaron {len(packed)} bytes de {len(plain)}"
        assert len(packed) < len(plain) / 5, f"Se esperaba una lista comprimida a menos de la quinta parte; {sizes}"
        with expected("304 de la lista con su propio ETag en If-None-Match"):
            async with asyncio.timeout(5):
                while resp.status != 304:  # a change in any database of the server makes a new snapshot, and a new ETag
                    headers = {**GZIP, "If-None-Match": resp.headers["ETag"]}
                    async with session.get("/api/productos", headers=headers) as resp:
                        assert resp.status in (200, 304), f"un {resp.status}"


async def test_short_list_goes_as_it_is(client: TestClient, url: str) -> None:
    await create(client)
    async with (
        ClientSession(url, auto_decompress=False) as session,
        session.get("/api/productos", headers=GZIP) as resp,
    ):
        plain_one(resp, "si ocupa menos de 1 KiB")
        with expected("la lista corta en JSON, como hasta ahora"):
            assert json.loads(await resp.read())["data"][0]["id"] == 1
