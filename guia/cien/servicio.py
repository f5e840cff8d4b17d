"""Lo que comparten los cinco problemas: escuchar un servicio, arrancarlo, y ponerse en su cable a PostgreSQL."""

import asyncio
import sys
from contextlib import asynccontextmanager
from uuid import uuid4

import aiohttp
from psycopg2.extensions import make_dsn, parse_dsn


async def create(session, product, price=10):
    """Crea un producto y devuelve su número."""
    async with session.post("/api/productos", json={"nombre": product, "precio": price, "stock": 1}) as created:
        return (await created.json())["data"]["id"]


async def hears(session, ws, product):
    """Si por el socket llega la creación del producto antes que la de otro, que se crea ahora."""
    last = f"Otro {uuid4()}"
    number = await create(session, last)
    created = set()
    while last not in created:
        event = await ws.receive_json(timeout=10)
        if event["type"] == "PRODUCT_CREATED":
            created.add(event["data"]["nombre"])
    await session.delete(f"/api/productos/{number}")  # donde se puede
    return product in created


async def stored(session, product):
    """Las filas del producto, según la lista."""
    async with session.get("/api/productos") as listed:
        return [row for row in (await listed.json())["data"] if row["nombre"] == product]


async def is_up(session):
    try:
        async with session.get("/api/productos"):
            return True
    except aiohttp.ClientConnectionError:
        return False


def run(main):
    """Ejecuta el programa con los argumentos de su orden."""
    try:
        asyncio.run(main(*sys.argv[1:]))
    except aiohttp.ClientConnectionError:
        sys.exit(f"En {sys.argv[1]} no contesta nadie: arranca antes el servicio")


@asynccontextmanager
async def running(url, *command):
    """Arranca un servicio con la orden; es su proceso, y una sesión HTTP con él."""
    async with aiohttp.ClientSession(url) as session:
        if await is_up(session):
            sys.exit(f"Para antes el servicio que está en {url}")
        quiet = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
        process = await asyncio.create_subprocess_exec(*command, **quiet)
        try:
            while not await is_up(session):
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
    connections = set()

    async def connected(service, to_service):
        connections.add(asyncio.current_task())
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
    try:
        yield make_dsn(base, host="127.0.0.1", port=server.sockets[0].getsockname()[1], sslmode="disable")
    finally:
        server.close()
        if connections:  # el servicio ya ha terminado, y con él, ellas
            await asyncio.wait(connections, timeout=5)
