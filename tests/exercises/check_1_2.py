from aiohttp.test_utils import TestClient

from ..conftest import create
from .conftest import Start


async def test_messages_become_lines_for_people(start: Start, url: str, client: TestClient) -> None:
    program = await start("escuchar.py", url)
    assert await program.line() == "Conectado al servidor WebSocket"
    await create(client, nombre="Teclado español", precio=64.9, stock=30)
    assert await program.line() == "1 creado: Teclado español, $64.90, stock 30"
    await client.post("/api/productos/1/stock", json={"delta": -29})
    assert await program.line() == "1 actualizado: Teclado español, $64.90, stock 1"
    await client.delete("/api/productos/1")
    assert await program.line() == "1 eliminado"
