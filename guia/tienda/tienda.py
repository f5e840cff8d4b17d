"""Una tienda con el inventario dentro: quien entra con su nombre lo deja en cada cambio, y una página enseña lo que se acaba."""

import asyncio
import json
import os
import re
import secrets
from contextlib import suppress

from aiohttp import web
from aiohttp_session import get_session, new_session, setup
from aiohttp_session.cookie_storage import EncryptedCookieStorage

import inventory_ws

LOW = 3
USERS = {"ana": "secreta", "luis": "otra"}  # los tuyos están en tu base de datos, y sus contraseñas, cifradas
SESSIONS = web.AppKey("SESSIONS", dict[str, str])  # el usuario de cada sesión abierta
INVENTORY = web.AppKey("INVENTORY", web.Application)

LOGIN = """<!doctype html><html lang="es"><title>Entrar</title><p>{}</p><form method="post">
<input name="user" placeholder="Nombre"> <input name="password" type="password"> <button>Entrar</button></form>"""
SHOP = """<!doctype html><html lang="es"><title>La tienda</title><h1>Se acaba</h1><ul id="low"></ul>
<p><a href="inventario/">Inventario</a><form method="post" action="salir"><button>Salir</button></form><script>
const told = new EventSource('avisos');
told.onmessage = ({ data }) => low.replaceChildren(...JSON.parse(data).map(([name, stock]) =>
  Object.assign(document.createElement('li'), { textContent: `${name}: ${stock}` })));
told.onerror = () => told.readyState === EventSource.CLOSED && location.reload(); // la sesión ha terminado
</script>"""


def page(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, content_type="text/html", status=status)


async def user(request: web.Request) -> str | None:
    """El nombre de quien pide, que es lo que `authenticate` devuelve; None si no ha entrado o ya ha salido."""
    session = await get_session(request)
    return request.config_dict[SESSIONS].get(session.get("number", ""))  # en `request.app` está el inventario


async def show_shop(request: web.Request) -> web.Response:
    return page(SHOP) if await user(request) else page(LOGIN.format(""))


async def enter(request: web.Request) -> web.Response:
    form = await request.post()
    name, password = str(form.get("user")), str(form.get("password"))
    if name not in USERS or not secrets.compare_digest(USERS[name].encode(), password.encode()):
        return page(LOGIN.format("No son ese nombre y esa contraseña."), status=401)
    number = (await new_session(request))["number"] = secrets.token_hex()
    request.app[SESSIONS][number] = name
    back = request.query.get("next", "/")
    raise web.HTTPSeeOther(back if re.match(r"/(?![/\\])", back) else "/")  # a otra web, no


async def leave(request: web.Request) -> web.Response:
    request.app[SESSIONS].pop((await get_session(request)).get("number", ""), None)
    raise web.HTTPSeeOther("/")


async def tell_low_stock(request: web.Request) -> web.StreamResponse:
    """GET /avisos: los productos que se acaban, otra vez tras cada cambio (server-sent events)."""
    if not await user(request):
        raise web.HTTPUnauthorized
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    inventory = request.app[INVENTORY]
    # Si algo se pierde, la conexión termina y el navegador abre otra, que empieza por el principio.
    with suppress(ConnectionError, StopAsyncIteration, inventory_ws.Lost, inventory_ws.Unavailable):
        products, last_event_id, epoch = await inventory_ws.snapshot(inventory)
        stocks = {product["id"]: (product["nombre"], product["stock"]) for product in products}
        events = inventory_ws.watch(inventory, last_event_id=last_event_id, epoch=epoch)
        while await user(request):
            low = [(name, stock) for name, stock in stocks.values() if stock < LOW]
            await response.write(f"data: {json.dumps(low)}\n\n".encode())
            with suppress(TimeoutError):  # cada 15 s se escribe algo, para que ningún proxy corte
                event = await asyncio.wait_for(anext(events), 15)
                stocks.pop(event.data["id"], None)
                if event.type != "PRODUCT_DELETED":
                    stocks[event.data["id"]] = event.data["nombre"], event.data["stock"]
    return response


def shop(dsn: str, authenticate_every: float = 60) -> web.Application:
    app = web.Application()
    setup(app, EncryptedCookieStorage(secrets.token_bytes(32), httponly=True, samesite="Lax"))
    app[SESSIONS] = {}
    app[INVENTORY] = inventory_ws.create_app(
        dsn=dsn, authenticate=user, authenticate_every=authenticate_every, login="/entrar", title="La tienda"
    )
    app.add_routes([web.get("/", show_shop), web.get("/avisos", tell_low_stock), web.post("/salir", leave)])
    app.add_routes([web.get("/entrar", show_shop), web.post("/entrar", enter), web.post("/", enter)])
    app.add_subapp("/inventario/", app[INVENTORY])
    return app


if __name__ == "__main__":
    web.run_app(shop(os.environ["DATABASE_URL"]), host="127.0.0.1", port=8080)
