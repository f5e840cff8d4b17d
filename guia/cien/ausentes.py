"""ausentes.py URL: se va, alguien crea un producto, y vuelve."""

import sys
from uuid import uuid4

import aiohttp
from servicio import create, hears, run


async def main(url):
    product = f"Sofá {uuid4()}"
    async with aiohttp.ClientSession(url) as session:
        async with session.ws_connect("/ws") as ws:
            welcome = await ws.receive_json()
        number = await create(session, product)
        # Vuelve diciendo por dónde iba, si la bienvenida se lo dijo.
        position = {name: welcome[name] for name in ("last_event_id", "epoch") if name in welcome}
        async with session.ws_connect("/ws", params=position) as ws:
            await ws.receive()  # la bienvenida
            heard = await hears(session, ws, product)
        await session.delete(f"/api/productos/{number}")  # donde se puede

    print("Mientras no estabas se creó un sofá.")
    if heard:
        print("BIEN: al volver, el aviso llega.")
    else:
        print("MAL: al volver, nadie te lo cuenta.")
        sys.exit(1)


run(main)
