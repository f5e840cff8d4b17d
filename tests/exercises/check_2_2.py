import asyncio
import re
from urllib.parse import urlsplit

from ..conftest import create
from .conftest import Start

COUNT = r"sondeo: (\d+) bytes\nsocket: (\d+) bytes\n"


async def test_bytes_of_polling_and_of_a_socket_are_counted(start: Start, url: str, client: object) -> None:
    await create(client)
    polled, pushed = [], []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Between the program and the service: counts what the program is sent."""
        back, there = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
        request = await reader.readuntil(b"\r\n\r\n")
        counts = pushed if b"upgrade: websocket" in request.lower() else polled
        there.write(request)

        async def forth() -> None:
            while data := await reader.read(65536):
                there.write(data)
            there.close()

        forwarding = asyncio.create_task(forth())
        while data := await back.read(65536):
            counts.append(len(data))
            writer.write(data)
        forwarding.cancel()
        there.close()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        out = await (await start("contar.py", f"http://127.0.0.1:{port}")).output()
    found = re.fullmatch(COUNT, out)
    assert found, out
    assert len(polled) >= 10
    assert [int(number) for number in found.groups()] == [sum(polled), sum(pushed)]
