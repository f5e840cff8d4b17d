import asyncio
import base64
import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator

from .conftest import Start, expected, same

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def test_handshake_is_made_by_hand(start: Start, url: str) -> None:
    first, _, rest = (await (await start("saludo.py", url)).output()).partition("\n")
    same(first.rstrip(), "HTTP/1.1 101 Switching Protocols", "en la primera línea de saludo.py")
    with expected(
        "el JSON de la primera trama, entero, en la segunda línea de saludo.py: ¿cuántos bytes dice que ocupa?"
    ):
        kind = json.loads(rest)["type"]
    same(kind, "CONNECTION_ESTABLISHED", "como type de la segunda línea de saludo.py")


@contextlib.asynccontextmanager
async def answering(keys: list[bytes], right: bool) -> AsyncIterator[str]:
    """A server whose headers are in lower case, with the right Accept or another one; yields its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = re.search(rb"(?i)sec-websocket-key: *(\S+)", await reader.readuntil(b"\r\n\r\n"))
        keys.append(found[1] if found else b"")
        accept = base64.b64encode(hashlib.sha1((keys[-1] if right else b"") + GUID).digest())
        head = (
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: "
        )
        writer.write(head + accept + b"\r\n\r\n\x81\x02{}")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_server_that_does_not_speak_websocket_is_found_out(start: Start) -> None:
    """A proxy or a cache could say 101 as well: only who has read the key can answer it."""
    keys: list[bytes] = []
    async with answering(keys, right=True) as url:
        program = await start("saludo.py", url)
        hint = " ante un servidor con los nombres de sus cabeceras en minúsculas"
        said = (await program.output(hint)).splitlines()
        same("".join(said[1:]), "{}", f"como texto de la trama{hint}")
    async with answering(keys, right=False) as url:
        program = await start("saludo.py", url)
        with expected("que saludo.py terminara ante un Sec-WebSocket-Accept que no es el de su clave"):
            async with asyncio.timeout(10):
                out = await program.rest()
        assert len(set(keys)) == 2, "Se esperaba en Sec-WebSocket-Key una clave al azar, otra cada vez; llegó la misma"
        assert "{}" not in out, (
            "Se esperaba que saludo.py no imprimiera la trama de quien no calcula bien el Accept de su clave; la imprimió"
        )
        assert program.process.returncode, (
            "Se esperaba un estado distinto de 0 ante un Accept que no es el suyo; llegó 0"
        )
