from collections.abc import Callable

from aiohttp.test_utils import TestClient

from inventory_ws.live.hub import HUB

from ..conftest import create, settled
from .conftest import Program, Seen, Start, between, same


async def test_value_of_the_inventory_is_kept_current(
    start: Start, url: str, client: TestClient, psql: Callable
) -> None:
    async def connected(_: bytes) -> Seen:
        async def seen(answer: bytes) -> None:
            """Somebody else changes something when the list has been read, and has not yet arrived."""
            nonlocal changed, lists
            lists += answer.startswith(b"HTTP/1.1 ") and not answer.startswith(b"HTTP/1.1 101 ")
            if b"last_event_id" in answer and not changed:
                changed = True
                psql("UPDATE productos SET stock = 2 WHERE id = 2")
                await settled(client, 3)

        return seen

    changed, lists = False, 0

    await create(client, precio=0.1, stock=3)
    await create(client, precio=1000, stock=1)
    async with between(url, connected) as proxy:
        program = await start("tablero.py", proxy)
        await follow(program, client, psql)
    same(lists, 1, "petición de la lista por HTTP, y lo demás por los eventos")


async def follow(program: Program, client: TestClient, psql: Callable) -> None:
    if (first := await program.line()) != "Valor: 2000.30":  # the list may be asked for when the socket is open
        same(first, "Valor: 1000.30", "de tablero.py con 3 a 0.10 y 1 a 1000", program.why(first))
        await program.says("Valor: 2000.30", "con 2 a 1000, por un cambio hecho entre la lista y el socket")
    await client.patch("/api/productos/1", json={"nombre": "Otro"})  # which changes no value, and so says nothing
    await client.post("/api/productos/1/stock", json={"delta": 3})
    await program.says("Valor: 2000.60", "con 6 a 0.10 y 2 a 1000")
    await client.app[HUB].renew()
    psql("UPDATE productos SET precio = 500 WHERE id = 2")
    await program.says("Valor: 1000.60", "con 6 a 0.10 y 2 a 500, cambiado desde psql, y tras un PONG")
    await client.delete("/api/productos/2")
    await program.says("Valor: 0.60", "con 6 a 0.10, tras eliminar el otro")
    await create(client, precio=5, stock=1)
    await program.says("Valor: 5.60", "con 6 a 0.10 y 1 a 5")
    await create(client, precio=9_999_999_999.99, stock=1_000_000)
    await program.says("Valor: 9999999999990005.60", "con un millón a 9999999999.99 además, sin perder un céntimo")
