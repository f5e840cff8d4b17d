from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpServer

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


async def test_message_of_another_type_is_not_printed(start: Start, aiohttp_server: AiohttpServer) -> None:
    async def websocket(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_json({"type": "CONNECTION_ESTABLISHED", "message": "Hola"})
        await ws.send_json({"type": "PRODUCT_COUNTED", "message": "Nuevo"})
        await ws.send_json({"type": "PRODUCT_DELETED", "id": 2, "data": {"id": 7}})
        return ws

    app = web.Application()
    app.add_routes([web.get("/ws", websocket)])
    program = await start("escuchar.py", str((await aiohttp_server(app)).make_url("/")).rstrip("/"))
    await program.says("Hola", "al conectarse")
    await program.says("7 eliminado", "tras un mensaje de un tipo que nadie conoce, y la eliminación del producto 7")
