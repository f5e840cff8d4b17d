from aiohttp.test_utils import TestClient

from ..conftest import create
from .conftest import Start


async def test_messages_become_lines_for_people(start: Start, url: str, client: TestClient) -> None:
    program = await start("escuchar.py", url)
    await program.says("Conectado al servidor WebSocket", "al conectarse")
    await create(client, nombre="Teclado español", precio=64.9, stock=30)
    await program.says("1 creado: Teclado español, $64.90, stock 30", "al crear el producto")
    await client.post("/api/productos/1/stock", json={"delta": -29})
    await program.says("1 actualizado: Teclado español, $64.90, stock 1", "al vender 29")
    await client.delete("/api/productos/1")
    await program.says("1 eliminado", "al eliminar el producto")
