import zlib

from aiohttp.test_utils import TestClient

from ..conftest import create, settled
from .conftest import Start, same


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
    lines = [line.strip() for line in (await (await start("ahorro.py", url)).output()).strip().splitlines()]
    wanted = [f"sin comprimir: {plain} bytes", f"uno a uno: {fresh} bytes", f"seguidos: {shared} bytes"]
    same(len(lines), 3, "como número de líneas de ahorro.py")
    for line, right in zip(lines, wanted, strict=True):
        same(line, right, "de ahorro.py con treinta eventos")
