import asyncio
import json

from .conftest import Start


async def test_handshake_is_made_by_hand(start: Start, url: str) -> None:
    out = (await (await start("saludo.py", url)).output()).splitlines()
    assert out[0] == "HTTP/1.1 101 Switching Protocols"
    assert json.loads(out[1])["type"] == "CONNECTION_ESTABLISHED"


async def test_server_that_does_not_speak_websocket_is_found_out(start: Start) -> None:
    """A proxy or a cache could say 101 as well: only who has read the key can answer it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x02{}"
        )
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        program = await start("saludo.py", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert "{}" not in await program.line() + await program.line()
        async with asyncio.timeout(5):
            assert await program.process.wait() != 0
