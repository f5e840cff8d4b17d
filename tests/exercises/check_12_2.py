import zlib

from aiohttp.test_utils import TestClient

from ..conftest import create, settled
from .conftest import Start
from .says import expecting, written


async def test_sizes_are_those_of_the_log(start: Start, url: str, client: TestClient) -> None:
    written("ahorro.py")
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
    with expecting("Se esperaba que ahorro.py terminara bien en 10 segundos; su error, si lo hay, está debajo"):
        out = await (await start("ahorro.py", url)).output()
    lines = [line.strip() for line in out.strip().splitlines()]
    assert len(lines) == 3, f"Se esperaban tres líneas; salieron {len(lines)}: {lines}"
    wanted = [f"sin comprimir: {plain} bytes", f"uno a uno: {fresh} bytes", f"seguidos: {shared} bytes"]
    for line, right in zip(lines, wanted, strict=True):
        assert line == right, f"Se esperaba la línea «{right}»; salió «{line}»"
