"""corte.py URL BASE ORDEN...: arranca el servicio de la URL con la orden, a la que añade su base de datos."""

import asyncio
import sys
from uuid import uuid4

import aiohttp
from servicio import hears, running, stored, wire


async def main(url, base, *command):
    product = f"Lámpara {uuid4()}"

    async def hold():  # la lámpara está guardada, y el servicio no lo sabrá nunca
        process.kill()

    async with wire(base, product, hold) as wired, running(url, *command, wired) as (process, session):
        ws = await session.ws_connect("/ws")
        welcome = await ws.receive_json()
        try:
            await session.post("/api/productos", json={"nombre": product, "precio": 15, "stock": 1})
        except aiohttp.ClientConnectionError:
            await process.wait()
            print("El servicio murió con la lámpara guardada y sin avisar.")
        heard = await hears(ws, product)

    position = {name: welcome[name] for name in ("last_event_id", "epoch") if name in welcome}
    async with running(url, *command, base) as (_, session):
        (row,) = await stored(session, product)
        async with session.ws_connect("/ws", params=position) as ws:
            heard = heard or await hears(ws, product)
        await session.delete(f"/api/productos/{row['id']}")  # donde se puede

    if heard:
        print("BIEN: al volver, el aviso llega.")
    else:
        print("MAL: la lámpara está en la lista, y el aviso no llega ni al volver.")
        sys.exit(1)


asyncio.run(main(*sys.argv[1:]))
