"""otros.py URL BASE TABLA: escribe en la tabla como lo haría psql, sin pasar por el servicio."""

import asyncio
import sys
from uuid import uuid4

import aiohttp
import psycopg2
from servicio import hears, run


def execute(base, sql, product):
    conn = psycopg2.connect(base)
    with conn, conn.cursor() as cursor:
        cursor.execute(sql, [product])
    conn.close()


async def main(url, base, table):
    product = f"Silla {uuid4()}"
    async with aiohttp.ClientSession(url) as session, session.ws_connect("/ws") as ws:
        await ws.receive()  # la bienvenida
        await asyncio.to_thread(
            execute, base, f"INSERT INTO {table} (nombre, precio, stock) VALUES (%s, 40, 1)", product
        )
        heard = await hears(session, ws, product)
        await asyncio.to_thread(execute, base, f"DELETE FROM {table} WHERE nombre = %s", product)

    print("Otro programa ha añadido una silla.")
    if heard:
        print("BIEN: las pantallas lo saben.")
    else:
        print("MAL: las pantallas no lo saben.")
        sys.exit(1)


run(main)
