import asyncio
import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakSet

import aiopg
import psycopg2
from aiohttp import web

app = web.Application()
routes = web.RouteTableDef()


@routes.get("/")
async def page(request):
    return web.FileResponse(Path(__file__).with_name("pagina.html"))


POOL = web.AppKey("POOL", aiopg.Pool)
TABLE = """CREATE TABLE IF NOT EXISTS cien_productos (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    nombre text NOT NULL CHECK (trim(nombre) <> ''),
    descripcion text,
    precio numeric(10, 2) NOT NULL CHECK (precio BETWEEN 0 AND 99999999),
    stock integer NOT NULL CHECK (stock >= 0)
)"""


async def database(app):
    async with aiopg.create_pool(sys.argv[1]) as app[POOL]:
        await query(TABLE)
        yield  # hasta aquí, al arrancar; desde aquí, al parar


app.cleanup_ctx.append(database)


async def query(sql, values=()):
    async with app[POOL].acquire() as conn, conn.cursor() as cursor:
        await cursor.execute(sql, values)
        return [row[0] for row in await cursor.fetchall()] if cursor.description else []


@routes.get("/api/productos")
async def list_products(request):
    products = await query("SELECT to_json(p) FROM cien_productos AS p ORDER BY id")
    return web.json_response({"success": True, "data": products})


async def save(request, sql):
    try:
        fields = {"descripcion": None, "stock": 0} | await request.json() | request.match_info
        products = await query(sql, fields)
    except (ValueError, TypeError, KeyError, psycopg2.DataError, psycopg2.IntegrityError, psycopg2.ProgrammingError):
        # No es JSON, falta un campo, o la tabla no lo acepta.
        body = json.dumps({"success": False, "message": "Datos incorrectos"})
        raise web.HTTPBadRequest(text=body, content_type="application/json") from None
    if not products:
        raise web.HTTPNotFound
    return products[0]


@routes.post("/api/productos")
async def create_product(request):
    sql = """INSERT INTO cien_productos AS p (nombre, descripcion, precio, stock)
        VALUES (%(nombre)s, %(descripcion)s, %(precio)s, %(stock)s) RETURNING to_json(p)"""
    product = await save(request, sql)
    await broadcast("PRODUCT_CREATED", product)
    return web.json_response({"success": True, "data": product}, status=201)


SOCKETS = web.AppKey("SOCKETS", WeakSet)
app[SOCKETS] = WeakSet()


def message(type, **fields):
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"type": type, **fields, "timestamp": now})


@routes.get("/ws")
async def websocket(request):
    ws = web.WebSocketResponse(heartbeat=20)
    await ws.prepare(request)
    app[SOCKETS].add(ws)
    await ws.send_str(message("CONNECTION_ESTABLISHED", message="Conectado al servidor WebSocket"))
    async for _ in ws:
        pass  # lo que diga el cliente no se escucha
    return ws


async def close_sockets(app):
    await asyncio.gather(*(ws.close(code=1001) for ws in app[SOCKETS]))


app.on_shutdown.append(close_sockets)


async def broadcast(type, product):
    text = message(type, data=product)
    sends = [ws.send_str(text) for ws in app[SOCKETS]]
    with suppress(TimeoutError):  # a quien no lee se le espera un segundo
        await asyncio.wait_for(asyncio.gather(*sends, return_exceptions=True), 1)


@routes.put("/api/productos/{id:[0-9]{1,9}}")
async def update_product(request):
    sql = """UPDATE cien_productos AS p SET nombre = %(nombre)s, descripcion = %(descripcion)s,
        precio = %(precio)s, stock = %(stock)s WHERE id = %(id)s RETURNING to_json(p)"""
    product = await save(request, sql)
    await broadcast("PRODUCT_UPDATED", product)
    return web.json_response({"success": True, "data": product})


app.add_routes(routes)
web.run_app(app, host="127.0.0.1", port=8000)
