import asyncio
import json
from collections.abc import Callable
from typing import NamedTuple

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from inventory_ws import create_app

from ..conftest import create, settled
from .conftest import asked, expected, same


class Message(NamedTuple):
    type: str
    data: str


class Source:
    """A stream as a browser reads it: an id is kept, whether a message comes with it or not."""

    def __init__(self, resp: ClientResponse) -> None:
        self.resp, self.last_id, self.unread = resp, "", list[Message]()

    async def read(self) -> None:
        """Reads up to an empty line."""
        kind, data = "message", list[str]()
        while line := (await self.resp.content.readline()).decode().rstrip("\r\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                self.last_id = value
            elif name == "event":
                kind = value
            elif name == "data":
                data.append(value)
        if any(data):
            self.unread.append(Message(kind, "\n".join(data)))
        if self.resp.content.at_eof():
            raise EOFError("the stream has ended")

    async def message(self, what: str) -> Message:
        """The next message. `what`: which one is expected."""
        with expected(f"{what} por /api/flujo"):
            async with asyncio.timeout(3):
                while not self.unread:
                    await self.read()
        return self.unread.pop(0)


async def connect(client: TestClient, last_id: str = "") -> Source:
    """A stream that has told its position."""
    with expected("que GET /api/flujo empezara a contestar al momento"):
        async with asyncio.timeout(3):
            resp = await client.get("/api/flujo", headers={"Last-Event-ID": last_id} if last_id else {})
    same(resp.status, 200, f"de GET /api/flujo con Last-Event-ID: {last_id}" if last_id else "de GET /api/flujo")
    same(resp.content_type, "text/event-stream", "como Content-Type de /api/flujo")
    source = Source(resp)
    with expected("una línea id: al conectar, antes de que haya ningún evento"):
        async with asyncio.timeout(3):
            while not source.last_id:
                await source.read()
    return source


async def hears(source: Source, client: TestClient, *numbers: int, when: str) -> None:
    """Sees that the next messages are these events, as the log has them."""
    for number in numbers:
        message = await source.message(f"el evento {number} {when}")
        same(message.type, "message", f"como tipo del evento {number}, que no lleva línea event:")
        with expected(f"JSON en data: del evento {number}"):
            event = json.loads(message.data)
        same(event.get("id"), number, f"como número del evento {when}")
        same([event], (await asked(client, f"/api/eventos?after={number - 1}&limit=1"))["data"], "como en los sockets")


async def test_events_are_streamed(client: TestClient, psql: Callable) -> None:
    await create(client)
    await settled(client, 1)
    source = await connect(client)
    await create(client)
    await hears(source, client, 2, when="tras un POST, sin Last-Event-ID")
    psql("UPDATE productos SET stock = stock + 1 WHERE id = 1")
    await hears(source, client, 3, when="tras un cambio desde psql")


async def test_stream_goes_on_after_the_last_id(client: TestClient) -> None:
    before = await connect(client)
    before.resp.close()
    await create(client)
    await create(client)
    await settled(client, 2)
    source = await connect(client, before.last_id)
    await hears(source, client, 1, when="al volver con el id de antes")
    position = source.last_id
    await hears(source, client, 2, when="al volver con el id de antes")
    again = await connect(client, position)
    await hears(again, client, 2, when="al volver con el id del evento 1")
    await create(client)
    await hears(again, client, 3, when="después de los que faltaban")


async def test_id_of_nobody_is_no_position(client: TestClient) -> None:
    for last_id in ("abc", "abc:1", "1:x"):
        source = await connect(client, last_id)
        when = f"con Last-Event-ID: {last_id}, desde donde el registro no puede continuar"
        same((await source.message(f"un mensaje {when}")).type, "recargar", f"como tipo del mensaje {when}")


async def test_position_of_another_epoch_is_told(dsn: str, aiohttp_client: Callable, psql: Callable) -> None:
    async with await aiohttp_client(create_app(dsn=dsn)) as client:
        for _ in range(3):
            await create(client)
        await settled(client, 3)
        last_id = (await connect(client)).last_id
    # What a restored backup looks like: another epoch, in which the numbers 2, 3 and 4 are given again.
    psql("SET session_replication_role = replica")
    for table in ("productos", "eventos"):
        psql(f"DELETE FROM {table} WHERE id > 1")
    psql("UPDATE eventos_epoca SET lugar = NULL")
    psql("SELECT setval('eventos_id_seq', 1)")
    client = await aiohttp_client(create_app(dsn=dsn))
    for _ in range(3):
        await create(client)
    await settled(client, 4)
    when = "si el id es de antes de restaurar una copia de seguridad"
    source = await connect(client, last_id)
    same((await source.message(f"un mensaje {when}")).type, "recargar", f"como tipo del mensaje {when}")
    await create(client)
    await hears(source, client, 5, when="después de recargar")


async def test_stream_ends_with_the_service(client: TestClient) -> None:
    source = await connect(client)
    await client.app.shutdown()
    with expected("que la respuesta de /api/flujo terminara cuando el servicio se apaga"):
        async with asyncio.timeout(3):
            await source.resp.content.read()
