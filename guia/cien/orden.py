"""orden.py URL BASE ORDEN...: arranca el servicio de la URL con la orden, a la que añade su base de datos."""

import asyncio
import sys
from uuid import uuid4

from servicio import create, running, stored, wire


async def main(url, base, *command):
    saved, answered = asyncio.Event(), asyncio.Event()

    async def hold():  # lo de Juan está guardado, y el servicio no lo sabrá hasta que María tenga su respuesta
        saved.set()
        await asyncio.wait([asyncio.create_task(answered.wait())], timeout=5)

    async with wire(base, "de Juan", hold) as slow, running(url, *command, slow) as (_, session):
        table = {"nombre": f"Mesa {uuid4()}", "stock": 1}
        path = f"/api/productos/{await create(session, table['nombre'])}"
        async with session.ws_connect("/ws") as ws:
            await ws.receive()  # la bienvenida
            juan = asyncio.create_task(session.put(path, json=table | {"precio": 20, "descripcion": "de Juan"}))
            await asyncio.wait_for(saved.wait(), 10)
            await session.put(path, json=table | {"precio": 30, "descripcion": "de María"})
            answered.set()
            await juan
            told = []
            while len(told) < 2:
                event = await ws.receive_json(timeout=10)
                if event["type"] == "PRODUCT_UPDATED" and event["data"]["nombre"] == table["nombre"]:
                    told.append(event["data"]["precio"])
        price = (await stored(session, table["nombre"]))[0]["precio"]
        await session.delete(path)  # donde se puede

    print(f"Los avisos dicen {told[0]:g} y después {told[1]:g}. En la base de datos hay {price:g}.")
    if told[1] == price:
        print("BIEN: el último aviso es el último cambio.")
    else:
        print("MAL: las pantallas se quedan con un precio que no es.")
        sys.exit(1)


asyncio.run(main(*sys.argv[1:]))
