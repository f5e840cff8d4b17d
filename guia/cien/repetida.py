"""repetida.py URL: manda dos veces la misma petición, como quien no recibió la respuesta a la primera."""

import sys
from uuid import uuid4

import aiohttp
from servicio import create, run, stored


async def main(url):
    product = f"Cama {uuid4()}"
    async with aiohttp.ClientSession(url, headers={"Idempotency-Key": str(uuid4())}) as session:
        for _ in range(2):
            await create(session, product)
        rows = await stored(session, product)
    async with aiohttp.ClientSession(url) as session:
        for row in rows:
            await session.delete(f"/api/productos/{row['id']}")  # donde se puede

    print(f"La misma petición dos veces, con la misma clave. Camas: {len(rows)}.")
    if len(rows) == 1:
        print("BIEN: la segunda vez contesta lo que la primera, y no crea otra.")
    else:
        print("MAL: pediste una cama.")
        sys.exit(1)


run(main)
