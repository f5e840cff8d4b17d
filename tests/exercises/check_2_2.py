import asyncio
import re
from urllib.parse import urlsplit

from ..conftest import create
from .conftest import Start, same

COUNT = r"sondeo: (\d+) bytes\nsocket: (\d+) bytes\s*"


def welcomed(received: bytes) -> int:
    """How much of what a socket received is its handshake and its first message, which is longer than 125 bytes."""
    head = received.index(b"\r\n\r\n") + 4
    return head + 4 + int.from_bytes(received[head + 2 : head + 4], "big")


async def test_bytes_of_polling_and_of_a_socket_are_counted(start: Start, url: str, client: object) -> None:
    await create(client)
    polled: list[bytearray] = []
    pushed: list[bytearray] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Between the program and the service: keeps what the program is sent."""
        try:
            back, there = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
        except ConnectionError:  # the check is over
            writer.close()
            return
        request = await reader.readuntil(b"\r\n\r\n")
        received = bytearray()
        (pushed if b"upgrade: websocket" in request.lower() else polled).append(received)
        there.write(request)

        async def forth() -> None:
            while data := await reader.read(65536):
                there.write(data)
            there.close()

        forwarding = asyncio.create_task(forth())
        while data := await back.read(65536):
            received += data
            writer.write(data)
        forwarding.cancel()
        there.close()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        out = await (await start("contar.py", f"http://127.0.0.1:{port}")).output()
    found = re.fullmatch(COUNT, out)
    assert found, f"Se esperaban las líneas «sondeo: N bytes» y «socket: M bytes»; llegó {out!r}"
    same(len(polled), 10, "peticiones de la lista, cada una con su conexión")
    same(len(pushed), 1, "WebSocket abierto")
    counted, heard = map(int, found.groups())
    same(counted, sum(map(len, polled)), "bytes de sondeo, con las cabeceras")
    least, most = welcomed(bytes(pushed[0])), len(pushed[0])  # who closes may leave the answer to that unread
    assert least <= heard <= most, (
        f"Se esperaban de {least} a {most} bytes por el socket, con las cabeceras; llegó {heard}"
    )
