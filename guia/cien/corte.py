"""corte.py URL BASE ORDEN...: arranca el servicio de la URL con la orden, a la que añade su base de datos."""

import asyncio
import sys
from uuid import uuid4

import aiohttp
from servicio import create, hears, running, stored, wire


async def main(url, base, *command):
    product = f"Lámpara {uuid4()}"

    async def hold():  # la lámpara está guardada, y el servicio no lo sabrá nunca
        process.kill()

    async with wire(base, product, hold) as wired, running(url, *command, wired) as (process, session):
        async with session.ws_connect("/ws") as ws:
            welcome = await ws.receive_json()
        try:
            await create(session, product)
        except aiohttp.ClientConnectionError:
            await process.wait()
            print("El servicio murió con la lámpara guardada y la respuesta en el cable.")

    # Vuelve diciendo por dónde iba, si la bienvenida se lo dijo.
    position = {name: welcome[name] for name in ("last_event_id", "epoch") if name in welcome}
    async with running(url, *command, base) as (_, session):
        async with session.ws_connect("/ws", params=position) as ws:
            await ws.receive()  # la bienvenida
            heard = await hears(session, ws, product)
        (row,) = await stored(session, product)
        await session.delete(f"/api/productos/{row['id']}")  # donde se puede

    if heard:
        print("BIEN: al volver, el aviso llega.")
    else:
        print("MAL: la lámpara está en la lista, y el aviso no llega ni al volver.")
        sys.exit(1)


asyncio.run(main(*sys.argv[1:]))
