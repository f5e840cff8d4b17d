import re
from collections.abc import Callable

from aiohttp.test_utils import TestClient

from inventory_ws.live.hub import SOCKETS

from ..conftest import create
from .conftest import Seen, Start, between, same

COUNT = r"sondeo: (\d+) bytes\nsocket: (\d+) bytes\s*"


def welcomed(received: bytes) -> int:
    """How much of what a socket received is its handshake and its first message, which is longer than 125 bytes."""
    head = received.index(b"\r\n\r\n") + 4
    return head + 4 + int.from_bytes(received[head + 2 : head + 4], "big")


async def test_bytes_of_polling_and_of_a_socket_are_counted(
    start: Start, url: str, client: TestClient, psql: Callable
) -> None:
    await create(client)
    psql(
        "INSERT INTO productos (nombre, descripcion, precio) SELECT 'Largo', repeat('x', 9000), 1 FROM generate_series(1, 12)"
    )
    polled: list[bytearray] = []
    pushed: list[bytearray] = []
    open_sockets = 0

    async def connected(head: bytes) -> Seen:
        nonlocal open_sockets
        open_sockets, received = len(client.app[SOCKETS]), bytearray()
        (pushed if b"upgrade: websocket" in head.lower() else polled).append(received)

        async def keep(data: bytes) -> None:
            received.extend(data)

        return keep

    async with between(url, connected) as proxy:
        out = await (await start("contar.py", proxy)).output(": ¿se cierra cada conexión?")
    found = re.fullmatch(COUNT, out)
    assert found, f"Se esperaban las líneas «sondeo: N bytes» y «socket: M bytes»; llegó {out!r}"
    same(len(polled), 10, "peticiones de la lista, cada una con su conexión")
    same(len(pushed), 1, "WebSocket abierto")
    same(open_sockets, 1, "como número de sockets abiertos en la última petición")
    counted, heard = map(int, found.groups())
    same(counted, sum(map(len, polled)), "bytes de sondeo, con las cabeceras y todo lo que llega hasta el final")
    least, most = welcomed(bytes(pushed[0])), len(pushed[0])  # who closes may leave the answer to that unread
    assert least <= heard <= most, (
        f"Se esperaban de {least} a {most} bytes por el socket, con las cabeceras; llegó {heard}"
    )
