"""What a proxy may do between the service and a client: keep answers, mark ETags, serve the inventory under a path of its own."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from yarl import URL

from inventory_ws.pg.database import DATABASE
from inventory_ws.pg.errors import Unavailable

from .conftest import PRODUCT, create, error

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
