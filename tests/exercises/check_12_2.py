import zlib

from aiohttp.test_utils import TestClient

from ..conftest import create, settled
from .conftest import Start


async def test_sizes_are_those_of_the_log(start: Start, url: str, client: TestClient) -> None:
    for number in range(30):
        await create(client, nombre=f"Teclado {number}", descripcion="Mecánico, con eñe")
    await settled(client, 30)
    text = await (await client.get("/api/eventos")).text()
    messages = [f'{{"type":{part}' for part in text[:-2].split('{"type":')[1:]]
    messages = [message.removesuffix(",").encode() for message in messages]
    plain = sum(map(len, messages))
    fresh, shared, compressor = 0, 0, zlib.compressobj(wbits=-15)
    for message in messages:
        own = zlib.compressobj(wbits=-15)
        fresh += len(own.compress(message) + own.flush(zlib.Z_SYNC_FLUSH)) - 4
        shared += len(compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)) - 4
    assert shared < fresh / 2 < plain / 2
    out = await (await start("ahorro.py", url)).output()
    assert out == f"sin comprimir: {plain} bytes\nuno a uno: {fresh} bytes\nseguidos: {shared} bytes\n"
