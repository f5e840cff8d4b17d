"""What a proxy may do between the service and a client: keep answers, mark ETags, serve the inventory under a path of its own."""

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiohttp.test_utils import TestClient
from yarl import URL

from inventory_ws.pg.database import DATABASE
from inventory_ws.pg.errors import Unavailable

from .conftest import PRODUCT, create, error
from .tools.proxies import PROXIES, Proxy, found, running

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
WEAK, MARKS = ("", "W/"), ("", "-gzip", "-br", "-zstd", "-deflate", "--gzip", ";gzip")
MARKED = [f'{weak}"{{}}{mark}"' for weak in WEAK for mark in MARKS]  # how proxies that compress pass an ETag on


def bare(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


async def test_no_cache_may_keep_an_answer_of_any_route(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that keeps a list shows wrong stock, without end: the socket begins behind what the list lacks."""
    statuses = set()

    async def ask(method: str, path: str, **headers: str) -> Any:
        body = {"json": PRODUCT} if method == "POST" and path == "/api/productos" else {}
        resp = await client.request(method, path, headers=headers, allow_redirects=False, **body)
        assert resp.headers["Cache-Control"] == "no-cache", (method, path, resp.status)
        assert resp.headers["Vary"] == "Accept, Accept-Encoding, Origin", (method, path, resp.status)
        statuses.add(resp.status)
        return resp

    await create(client)
    paths = [resource.canonical for resource in client.app.router.resources()]
    for path in [path.replace("{id}", "1").replace("{file}", "app.js") or "/" for path in paths]:
        for method in METHODS:
            resp = await ask(method, path)
            if method == "GET" and "ETag" in resp.headers:
                await ask("GET", path, **{"If-None-Match": resp.headers["ETag"]})
    await ask("GET", "/api/productos", Accept="text/csv")
    await ask("GET", "/api/productos?limit=x")
    await ask("GET", "/api/productos?at=0")
    await ask("GET", "/nothing")

    async def unavailable(*_: Any, **__: Any) -> Any:
        raise Unavailable("an outage")

    monkeypatch.setattr(client.app[DATABASE], "fetch", unavailable)
    await ask("GET", "/api/salud")
    await ask("GET", "/api/productos")
    assert statuses == {200, 201, 304, 400, 404, 405, 415, 503}


@pytest.mark.parametrize("path", ["/api/productos", "/api/productos/1", "/app.js", "/"])
async def test_answer_is_not_sent_again_for_its_marked_etag(client: TestClient, path: str) -> None:
    await create(client)
    assert (await client.get(path, headers={"If-None-Match": '"x", "y"'})).status == 200
    for marked in MARKED:
        for _ in range(5):  # a change in any database of the server gives the list another ETag
            etag = (await client.get(path)).headers["ETag"]
            resp = await client.get(path, headers={"If-None-Match": f'"x", {marked.format(bare(etag))}'})
            if resp.status == 304:
                break
        assert (resp.status, resp.headers["ETag"]) == (304, etag), marked


async def test_change_of_a_marked_version_is_made(client: TestClient) -> None:
    etag = (await client.post("/api/productos", json=PRODUCT)).headers["ETag"]
    for number, marked in enumerate(MARKED):
        headers = {"If-Match": marked.format(bare(etag))}
        resp = await client.patch("/api/productos/1", json={"stock": number}, headers=headers)
        assert resp.status == 200, headers
        etag = resp.headers["ETag"]


async def test_change_with_an_empty_if_match_is_refused(client: TestClient) -> None:
    """It comes of an ETag that a proxy has removed, and must not mean any version."""
    await create(client)
    await error(await client.patch("/api/productos/1", json={"stock": 4}, headers={"If-Match": ""}), 400)
    await error(await client.delete("/api/productos/1", headers={"If-Match": " "}), 400)


async def test_references_stay_below_the_path_of_a_proxy(client: TestClient) -> None:
    public = URL("https://inventario.example/tienda/api/productos")
    created = await client.post("/api/productos", json=PRODUCT)
    assert str(public.join(URL(created.headers["Location"]))) == f"{public}/1"
    listed = await client.get("/api/productos?limit=1&q=%26%C3%B1%20", headers={"Accept": "text/csv"})
    assert "Link" not in listed.headers
    listed = await client.get("/api/productos?limit=1&q=Laptop%20D&after=0")
    link = listed.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
    assert public.join(URL(link)) == public.with_query(limit=1, q="Laptop D", after=1)


REQUIRED = {"nginx", "apache2", "haproxy", *os.environ["REQUIRE_ALL"].split()} if "REQUIRE_ALL" in os.environ else set()
NOT_INSTALLED = pytest.skip.Exception("it is not installed")
QUIET = 45  # seconds: more than two pings, and more than the time-outs of proxies


async def make(session: aiohttp.ClientSession) -> str:
    """Creates a product, and returns its path."""
    product = {"nombre": "Teclado", "descripcion": "mecánico " * 200, "precio": 1}
    key = {"Idempotency-Key": str(uuid4())}
    while True:
        with suppress(aiohttp.ClientError):  # a reload may end a connection that is used again
            async with session.post("/api/productos", json=product, headers=key) as resp:
                assert resp.status == 201, await resp.text()
                return resp.url.join(URL(resp.headers["Location"])).path


async def get(session: aiohttp.ClientSession, path: str, **headers: str) -> tuple[Any, Any]:
    """The answer, and its body."""
    async with session.get(path, headers=headers) as resp:
        return resp, await resp.json() if resp.status == 200 else None


async def passes_changes(session: aiohttp.ClientSession) -> str:
    """Sees the page, a change, and what ETags are for. Returns the path of a product."""
    async with session.get("/") as resp:
        assert "<title>Inventario</title>" in await resp.text()
    async with session.ws_connect("/ws") as ws:
        await ws.receive_json(timeout=10)
        _, before = await get(session, "/api/productos")
        path = await make(session)
        while f"/api/productos/{(await ws.receive_json(timeout=10))['data']['id']}" != path:
            pass
    _, after = await get(session, "/api/productos")
    assert after["last_event_id"] > before["last_event_id"], "it is a kept answer"
    assert path in {f"/api/productos/{product['id']}" for product in after["data"]}
    resp, _ = await get(session, path)
    assert resp.headers["Content-Encoding"] == "gzip", "the proxy compresses"
    version = {"If-Match": resp.headers["ETag"]}
    async with session.patch(path, json={"stock": 7}, headers=version) as resp:
        assert resp.status == 200, (version, await resp.text())
    while resp.status != 304:  # others change products meanwhile
        resp, _ = await get(session, "/api/productos")
        resp, _ = await get(session, "/api/productos", **{"If-None-Match": resp.headers["ETag"]})
        assert resp.status in (200, 304)
    return path


async def reloads(session: aiohttp.ClientSession, reload: Callable) -> None:
    """Sees that a client who resumes is sent every event once, in order, while the proxy is reloaded under changes."""
    _, listed = await get(session, "/api/productos?limit=1")
    position = {"last_event_id": listed["last_event_id"], "epoch": listed["epoch"]}
    ids = [position["last_event_id"]]
    began = asyncio.Event()

    async def listen() -> None:
        while True:
            with suppress(aiohttp.ClientError):
                async with session.ws_connect("/ws", params={**position, "last_event_id": ids[-1]}) as ws:
                    assert (await ws.receive_json())["recovered"]
                    began.set()
                    async for message in ws:
                        ids.append(json.loads(message.data)["id"])
            await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as listening:
        listener = listening.create_task(listen())
        await began.wait()
        for number in range(20):
            await make(session)
            if number == 5:
                await reload()
        _, listed = await get(session, "/api/productos?limit=1")
        while ids[-1] < listed["last_event_id"]:
            await asyncio.sleep(0.01)
        listener.cancel()
    assert ids == list(range(ids[0], ids[-1] + 1))


async def stays_open(session: aiohttp.ClientSession, path: str) -> None:
    """Sees that a socket on which nothing is sent is still open after a while."""
    async with session.ws_connect(f"/ws?productos={path.rpartition('/')[2]}") as ws:
        await ws.receive_json(timeout=10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ws.receive(), QUIET)
        async with session.delete(path) as resp:
            assert resp.status == 200
        assert (await ws.receive_json(timeout=10))["type"] == "PRODUCT_DELETED"


async def passes(proxy: Proxy, home: Path, port: int) -> None:
    """Sees what the README promises of a proxy before the service on the port."""
    headers = {"Host": "inventario.example", "Origin": "https://inventario.example", "Accept-Encoding": "gzip"}
    async with running(proxy, home, port) as (url, reload), aiohttp.ClientSession(url, headers=headers) as session:
        path = await passes_changes(session)
        await reloads(session, reload)
        await stays_open(session, path)


async def passed_on(service: Callable, folder: Path) -> dict[str, BaseException | None]:
    """What each proxy of the README does wrong, if anything. All at the same time, because each waits for 45 s of quiet."""
    here = [proxy for proxy in PROXIES if found(proxy.program) or proxy.program in REQUIRED]
    port = URL(service("--hosts", "inventario.example").url).port
    works = [passes(proxy, folder / f"proxy-{proxy.program}", port) for proxy in here]
    ends = await asyncio.gather(*(asyncio.wait_for(work, QUIET + 60) for work in works), return_exceptions=True)
    return dict.fromkeys([proxy.program for proxy in PROXIES], NOT_INSTALLED) | {
        proxy.program: end for proxy, end in zip(here, ends, strict=True)
    }
