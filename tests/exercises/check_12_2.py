import zlib

from aiohttp.test_utils import TestClient

from ..conftest import create, settled
from .conftest import Start, same


async def test_sizes_are_those_of_the_log(start: Start, url: str, client: TestClient) -> None:
    for number in range(30):
        await create(client, nombre=f"Teclado {number}", precio=64.90, descripcion="Mecánico, con eñe")
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
    wanted = {
        f"sin comprimir: {plain} bytes": "los de los mensajes tal como están en la respuesta, sin escribir otra vez el JSON",
        f"uno a uno: {fresh} bytes": "con un compresor nuevo cada vez, y sin los 4 bytes finales de cada mensaje",
        f"seguidos: {shared} bytes": "con el mismo compresor para todos, y sin los 4 bytes finales de cada mensaje",
    }
    same(len(lines), 3, "como número de líneas de ahorro.py")
    for line, (right, what) in zip(lines, wanted.items(), strict=True):
        same(line, right, f"de ahorro.py con treinta eventos ({what})")
