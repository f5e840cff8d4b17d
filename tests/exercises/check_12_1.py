import asyncio
import gzip
import json

from aiohttp import ClientResponse, ClientSession
from aiohttp.test_utils import TestClient

from ..conftest import create, settled
from .says import expecting

GZIP = {"Accept-Encoding": "gzip"}


def plain_one(resp: ClientResponse, what: str) -> None:
    got = resp.headers.get("Content-Encoding", "identity")
    assert got == "identity", f"Se esperaba {what} sin comprimir; llegó con Content-Encoding: {got}"


async def test_long_list_is_compressed_for_who_can_read_it(client: TestClient, url: str) -> None:
    for _ in range(20):
        await create(client, descripcion="Teclado mecánico " * 20)
    await settled(client, 20)
    async with ClientSession(url, auto_decompress=False) as session:
        async with session.get("/api/productos", headers={"Accept-Encoding": "identity"}) as resp:
            plain = await resp.read()
            plain_one(resp, "la lista para quien no admite gzip")
        async with session.get("/api/productos", headers=GZIP) as resp:
            packed = await resp.read()
            coding, kind = resp.headers.get("Content-Encoding"), resp.headers.get("Content-Type")
            vary = ", ".join(resp.headers.getall("Vary", []))
            etag = resp.headers.get("ETag")
        assert coding == "gzip", f"Se esperaba Content-Encoding: gzip en una lista larga; llegó {coding or 'sin ella'}"
        assert kind == "application/json; charset=utf-8", f"Se esperaba el Content-Type de siempre; llegó {kind}"
        assert "accept-encoding" in vary.lower(), f"Se esperaba Accept-Encoding en la cabecera Vary; llegó «{vary}»"
        assert etag, "Se esperaba que la lista comprimida llevara su ETag; llegó sin él"
        with expecting("Se esperaba que la lista comprimida, al descomprimirla, fuera la misma; es otra cosa"):
            assert json.loads(gzip.decompress(packed)) == json.loads(plain)
        sizes = f"{len(packed)} de {len(plain)} bytes"
        assert len(packed) < len(plain) / 5, f"Se esperaba menos de la quinta parte del tamaño; llegaron {sizes}"
        with expecting("Se esperaba 304 al pedir la lista otra vez con su ETag en If-None-Match"):
            async with asyncio.timeout(5):
                while resp.status != 304:  # a change in any database of the server makes a new snapshot, and a new ETag
                    headers = {**GZIP, "If-None-Match": resp.headers["ETag"]}
                    async with session.get("/api/productos", headers=headers) as resp:
                        assert resp.status in (200, 304)


async def test_short_list_goes_as_it_is(client: TestClient, url: str) -> None:
    await create(client)
    async with (
        ClientSession(url, auto_decompress=False) as session,
        session.get("/api/productos", headers=GZIP) as resp,
    ):
        plain_one(resp, "una lista de menos de 1 KiB")
        with expecting("Se esperaba la lista corta en JSON, como hasta ahora"):
            assert json.loads(await resp.read())["data"][0]["id"] == 1
