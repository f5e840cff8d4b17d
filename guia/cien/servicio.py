"""Lo que comparten los cinco problemas: escuchar un servicio, arrancarlo, y ponerse en su cable a PostgreSQL."""

import asyncio
import sys
from contextlib import asynccontextmanager, suppress

import aiohttp
from psycopg2.extensions import make_dsn, parse_dsn


async def hears(ws, product):
    """Si por el socket llega, en dos segundos, que se ha creado el producto."""
    with suppress(TimeoutError):
        async with asyncio.timeout(2):
            async for message in ws:
                event = message.json()
                if event["type"] == "PRODUCT_CREATED" and event["data"]["nombre"] == product:
                    return True
    return False


async def stored(session, product):
    """Las filas del producto, según la lista."""
    async with session.get("/api/productos") as listed:
        return [row for row in (await listed.json())["data"] if row["nombre"] == product]


async def answers(session):
    try:
        async with session.get("/api/productos"):
            return True
    except aiohttp.ClientConnectionError:
        return False


@asynccontextmanager
async def running(url, *command):
    """Arranca un servicio con la orden; es su proceso, y una sesión HTTP con él."""
    async with aiohttp.ClientSession(url) as session:
        if await answers(session):
            sys.exit(f"Para antes el servicio que está en {url}")
        quiet = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
        process = await asyncio.create_subprocess_exec(*command, **quiet)
        try:
            while not await answers(session):
                if process.returncode is not None:
                    sys.exit("El servicio no arranca: prueba tú la orden, y mira qué dice")
                await asyncio.sleep(0.1)
            yield process, session
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@asynccontextmanager
async def wire(base, text, hold):
    """Un cable a PostgreSQL: la respuesta a la sentencia que contiene `text` espera en él a que termine `hold()`."""
    where = {"host": "localhost", "port": "5432"} | parse_dsn(base)

    async def connected(service, to_service):
        if where["host"].startswith("/"):
            opening = asyncio.open_unix_connection(f"{where['host']}/.s.PGSQL.{where['port']}")
        else:
            opening = asyncio.open_connection(where["host"], where["port"])
        database, to_database = await opening
        asked = False

        async def questions():
            nonlocal asked
            try:
                while data := await service.read(1 << 16):
                    asked = text.encode() in data
                    to_database.write(data)
            finally:
                to_database.close()

        async def answers():
            nonlocal asked
            try:
                while data := await database.read(1 << 16):
                    if asked:
                        asked = False
                        await hold()
                    to_service.write(data)
            finally:
                to_service.close()

        await asyncio.gather(questions(), answers(), return_exceptions=True)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    yield make_dsn(base, host="127.0.0.1", port=server.sockets[0].getsockname()[1], sslmode="disable")
    server.close()
