import gzip
import json

from aiohttp import ClientResponse, ClientSession
from aiohttp.test_utils import TestClient

from ..conftest import create, settled
from .conftest import expected, same, short

GZIP = {"Accept-Encoding": "gzip, deflate"}  # as browsers say


def plain_one(resp: ClientResponse, where: str) -> None:
    coding = resp.headers.get("Content-Encoding", "identity")
    assert coding == "identity", f"Se esperaba el registro sin comprimir {where}; llegó con Content-Encoding: {coding}"


async def test_long_log_is_compressed_for_who_can_read_it(client: TestClient, url: str) -> None:
    for _ in range(20):
        await create(client, descripcion="Teclado mecánico " * 20)
    await settled(client, 20)
    async with ClientSession(url, auto_decompress=False) as session:
        for accept in ("identity", "gzip;q=0"):
            async with session.get("/api/eventos", headers={"Accept-Encoding": accept}) as resp:
                plain = await resp.read()
                plain_one(resp, f"a quien no admite gzip (Accept-Encoding: {accept})")
        async with session.get("/api/eventos", headers=GZIP) as resp:
            packed = await resp.read()
            same(resp.headers.get("Content-Encoding"), "gzip", "como Content-Encoding de un registro largo")
            kind = resp.headers.get("Content-Type")
            same(kind, "application/json; charset=utf-8", "como Content-Type del registro comprimido")
        with expected("que el registro comprimido, una vez descomprimido, fuera el mismo"):
            unpacked = json.loads(gzip.decompress(packed))
            assert unpacked == json.loads(plain), short(str(unpacked))
        sizes = f"llegaron {len(packed)} bytes de {len(plain)}"
        assert len(packed) < len(plain) / 5, f"Se esperaba un registro comprimido a menos de la quinta parte; {sizes}"


async def test_short_log_goes_as_it_is(client: TestClient, url: str) -> None:
    await create(client)
    await create(client, descripcion="Teclado mecánico " * 99)
    await settled(client, 2)
    async with ClientSession(url, auto_decompress=False) as session:
        async with session.get("/api/eventos?limit=1", headers=GZIP) as resp:
            plain_one(resp, "si ocupa menos de 1 KiB")
            with expected("el registro corto en JSON, como hasta ahora"):
                assert json.loads(await resp.read())["data"][0]["id"] == 1
        async with session.get("/api/eventos?after=1", headers=GZIP) as resp:
            same(
                resp.headers.get("Content-Encoding"), "gzip", "como Content-Encoding de un solo evento de más de 1 KiB"
            )
