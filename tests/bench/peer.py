"""The broadcast of a first lesson: INSERT, then `await ws.send_str` to each client in turn. No log, no order, no resume."""

import json
import sys

import aiopg
from aiohttp import WSMsgType, web

TABLE = """CREATE TABLE IF NOT EXISTS lesson (id serial PRIMARY KEY, nombre text NOT NULL, descripcion text,
precio numeric(12, 2) NOT NULL, stock integer NOT NULL, created_at timestamptz NOT NULL DEFAULT now())"""
INSERT = """INSERT INTO lesson (nombre, descripcion, precio, stock)
VALUES (%(nombre)s, %(descripcion)s, %(precio)s, %(stock)s) RETURNING id, nombre, descripcion, precio, stock, created_at"""
NAMES = ("id", "nombre", "descripcion", "precio", "stock", "created_at")

POOL = web.AppKey("POOL", aiopg.Pool)
CLIENTS = web.AppKey("CLIENTS", set)


async def create(request: web.Request) -> web.Response:
    product = await request.json()
    async with request.app[POOL].acquire() as conn, conn.cursor() as cursor:
        await cursor.execute(INSERT, product)
        row = dict(zip(NAMES, await cursor.fetchone(), strict=True))
    row |= {"precio": float(row["precio"]), "created_at": row["created_at"].isoformat()}
    for ws in list(request.app[CLIENTS]):
        await ws.send_str(json.dumps({"type": "PRODUCT_CREATED", "data": row}))
    return web.json_response({"success": True, "data": row}, status=201)


async def websocket(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    request.app[CLIENTS].add(ws)
    try:
        async for message in ws:
            if message.type is WSMsgType.ERROR:
                break
    finally:
        request.app[CLIENTS].discard(ws)
    return ws


def main(dsn: str, port: str) -> None:
    app = web.Application()
    app[CLIENTS] = set()

    async def pool(app: web.Application):
        async with aiopg.create_pool(dsn, minsize=8, maxsize=8) as app[POOL]:
            async with app[POOL].acquire() as conn, conn.cursor() as cursor:
                await cursor.execute(TABLE)
            yield

    app.cleanup_ctx.append(pool)
    app.add_routes([web.get("/ws", websocket), web.post("/api/productos", create)])
    web.run_app(app, host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
