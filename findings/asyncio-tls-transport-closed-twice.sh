#!/bin/sh
# asyncio over TLS (seen with CPython 3.11.7; certificates by trustme 1.2.1): after the second close() of a transport,
# get_write_buffer_size() raises AttributeError, and abort() does nothing. Over plain TCP both calls stay valid. A server that
# sends a close frame, closes the transport, and later aborts it if its peer has not read everything, meets this with TLS
# alone: its framework closes the transport a second time.
# Seen: "tcp: 0" and "tls: AttributeError". Exit status 1 if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check trustme==1.2.1
cat > "$folder/seen.py" <<'PY'
import asyncio
import platform
import ssl

import trustme


async def closed_twice(server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext | None) -> str:
    seen: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.close()
        writer.transport.close()
        try:
            seen.set_result(str(writer.transport.get_write_buffer_size()))
        except AttributeError as exc:
            seen.set_result(type(exc).__name__)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=server_tls)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=client_tls)
        try:
            return await asyncio.wait_for(seen, 5)
        finally:
            writer.transport.abort()


async def main() -> None:
    authority = trustme.CA()
    server_tls, client_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server_tls)
    authority.configure_trust(client_tls)
    print("CPython", platform.python_version())
    tcp, tls = await closed_twice(None, None), await closed_twice(server_tls, client_tls)
    print(f"tcp: {tcp}\ntls: {tls}")
    raise SystemExit((tcp, tls) != ("0", "AttributeError"))


asyncio.run(main())
PY
"$folder/venv/bin/python" "$folder/seen.py"
