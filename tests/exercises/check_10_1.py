from collections.abc import Callable

import aiohttp

from ..test_main import Service, service  # noqa: F401

PRODUCT = {"nombre": "Teclado", "precio": 64.9}


async def ask(one: Service, token: str, method: str = "GET") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(one.url, headers=headers) as session:
        body = {"json": PRODUCT} if method == "POST" else {}
        async with session.request(method, "/api/productos", **body) as resp:
            return resp.status


async def test_who_may_read_may_not_write(service: Callable[..., Service]) -> None:  # noqa: F811
    one = service("--token", "escribe", "--read-token", "lee")
    assert [await ask(one, token) for token in ("lee", "escribe", "otra", "")] == [200, 200, 401, 401]
    assert await ask(one, "escribe", "POST") == 201
    assert await ask(one, "otra", "POST") == 401
    assert await ask(one, "lee", "POST") in (401, 403)
    headers = {"Authorization": "Bearer lee"}
    async with aiohttp.ClientSession(headers=headers) as session, session.ws_connect(f"{one.url}/ws") as ws:
        assert (await ws.receive_json(timeout=2))["type"] == "CONNECTION_ESTABLISHED"


async def test_one_token_is_still_enough(service: Callable[..., Service]) -> None:  # noqa: F811
    one = service("--token", "escribe")
    assert [await ask(one, "escribe", "POST"), await ask(one, "", "POST"), await ask(one, "")] == [201, 401, 401]
