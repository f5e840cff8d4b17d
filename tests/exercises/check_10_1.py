from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import aiohttp

from ..test_main import CLEAN, Service, service  # noqa: F401
from .conftest import expected, heard, same, short

PRODUCT = {"nombre": "Teclado", "precio": 64.9}


def begin(service: Callable[..., Service], *flags: str, **options: Any) -> Service:  # noqa: F811
    one = service(*flags, **options)
    said = "" if one.url else short(one.stop()[1].strip().rpartition("\n")[2])
    assert one.url, f"Se esperaba que inventory-ws arrancara con {' '.join(flags)}; terminó con «{said}»"
    return one


async def demand(one: Service, token: str | None, method: str, *wanted: int) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    body = {"json": PRODUCT} if method in ("POST", "PATCH") else {}
    path = "/api/productos" if method in ("GET", "POST") else "/api/productos/1"
    async with (
        aiohttp.ClientSession(one.url, headers=headers) as session,
        session.request(method, path, **body) as resp,
    ):
        who = "sin clave" if token is None else f"con la clave «{token}»"
        what = f"{' o '.join(map(str, wanted))} de un {method} {who}"
        assert resp.status in wanted, f"Se esperaba {what}; llegó {resp.status}"


async def welcomed(one: Service, token: str) -> None:
    """Sees that the token opens a socket, in a header and as a browser gives it."""
    encoded = urlsafe_b64encode(token.encode()).decode().rstrip("=")
    for where, options in {
        "en la cabecera": {"headers": {"Authorization": f"Bearer {token}"}},
        "como subprotocolo": {"protocols": ("inventario.v1", f"bearer.{encoded}")},
    }.items():
        async with aiohttp.ClientSession() as session:
            with expected(f"que la clave «{token}» {where} abriera un socket"):
                ws = await session.ws_connect(f"{one.url}/ws", **options)
            welcome = await heard(ws, f"la bienvenida con la clave «{token}» {where}")
            same(welcome.get("type"), "CONNECTION_ESTABLISHED", f"con la clave «{token}» {where}")
            await ws.close()


async def test_who_may_read_may_not_write(service: Callable[..., Service]) -> None:  # noqa: F811
    one = begin(service, "--token", "escribe", "--read-token", "lee")
    for token, status in (("lee", 200), ("escribe", 200), ("otra", 401), (None, 401)):
        await demand(one, token, "GET", status)
    await demand(one, "escribe", "POST", 201)
    await demand(one, "otra", "POST", 401)
    for method in ("POST", "PATCH", "DELETE"):
        await demand(one, "lee", method, 401, 403)
    await welcomed(one, "lee")
    await welcomed(one, "escribe")
    one.stop()
    one = begin(service, "--token", "escribe", env=CLEAN | {"INVENTORY_WS_READ_TOKEN": "variable"})
    await demand(one, "variable", "GET", 200)
    await demand(one, "variable", "POST", 401, 403)


async def test_one_token_is_still_enough(service: Callable[..., Service]) -> None:  # noqa: F811
    one = begin(service, "--token", "escribe")
    await demand(one, "escribe", "POST", 201)
    for token in (None, ""):
        await demand(one, token, "POST", 401)
        await demand(one, token, "GET", 401)
