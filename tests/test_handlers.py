import asyncio
import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import Any

import psycopg2
import pytest
from aiohttp import ClientResponse, ClientSession
from aiohttp.test_utils import TestClient
from yarl import URL

from inventory_ws import __version__, create_app
from inventory_ws.pg.connection import Connection
from inventory_ws.pg.database import DATABASE
from inventory_ws.products import listing, repository
from inventory_ws.products.listing import LIST_CACHE, ListQuery
from inventory_ws.web import answers
from inventory_ws.web.page import CLIENT

from .conftest import PRODUCT, create, error, settled


async def test_create_returns_the_product_and_its_location(client: TestClient) -> None:
    resp = await client.post("/api/productos", json=PRODUCT)
    body = await resp.json()
    assert resp.status == 201, body
    assert body["message"] == "Producto creado exitosamente"
    assert body["data"] == {**PRODUCT, "id": 1, **{name: body["data"][name] for name in ("created_at", "updated_at")}}
    assert list(body["data"]) == ["id", "nombre", "descripcion", "precio", "stock", "created_at", "updated_at"]
    again = await client.get(resp.url.join(URL(resp.headers["Location"])).path)
    assert (await again.json())["data"] == body["data"]
    assert again.headers["ETag"] == resp.headers["ETag"] == f'"{body["data"]["updated_at"]}"'


BRINGING = "INSERT INTO productos (id, nombre, precio) OVERRIDING SYSTEM VALUE VALUES (%s, 'traído', 1)"


async def test_create_works_while_others_insert_explicit_ids(client: TestClient, connect: Callable) -> None:
    created = Event()

    def bring() -> None:
        with connect().cursor() as cursor:
            while not created.is_set():
                with suppress(psycopg2.errors.UniqueViolation):  # drawn meanwhile, or brought by the other
                    cursor.execute("SELECT last_value + 50 FROM productos_id_seq")
                    cursor.execute(BRINGING, cursor.fetchone())

    async def post() -> None:
        for _ in range(100):
            await create(client)

    bringers = [asyncio.create_task(asyncio.to_thread(bring)) for _ in range(2)]
    try:
        await asyncio.gather(*(post() for _ in range(4)))
    finally:
        created.set()
        await asyncio.gather(*bringers)


async def test_create_draws_another_id_after_a_collision(client: TestClient, connect: Callable, psql: Callable) -> None:
    psql(
        """
        CREATE FUNCTION espera() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock(7);
            RETURN NEW;
        END $$;
        CREATE TRIGGER espera BEFORE INSERT ON productos FOR EACH ROW WHEN (NEW.nombre <> 'traído')
            EXECUTE FUNCTION espera();
        SELECT pg_advisory_lock(7)
        """
    )
    creating = asyncio.create_task(create(client))
    while not psql("SELECT 1 FROM productos_id_seq WHERE is_called"):
        await asyncio.sleep(0.01)
    connect().cursor().execute(BRINGING, [1])
    psql("SELECT pg_advisory_unlock(7)")
    assert (await creating)["id"] == 2


async def test_list_is_ordered_by_id_and_has_its_position(client: TestClient) -> None:
    for number in range(3):
        await create(client, nombre=f"p{number}")
    await client.put("/api/productos/1", json={"stock": 1})
    await settled(client, 4)
    body = await (await client.get("/api/productos")).json()
    assert [product["id"] for product in body["data"]] == [1, 2, 3]
    assert body["success"] is True
    assert body["last_event_id"] == 4


async def test_empty_inventory_is_an_empty_list(client: TestClient) -> None:
    body = await (await client.get("/api/productos")).json()
    assert body == {"success": True, "data": [], "last_event_id": 0, "epoch": body["epoch"]}


@pytest.mark.parametrize(
    ("query", "found"),
    [("", [[1, 2], [3, 4], [5]]), ("&before=99", [[5, 4], [3, 2], [1]]), ("&at=5&before=5&after=1", [[4, 3], [2]])],
)
async def test_list_pages_by_key_until_the_last(client: TestClient, query: str, found: list[list[int]]) -> None:
    for number in range(5):
        await create(client, nombre=f"p{number} &ñ")
    await settled(client, 5)
    url, pages = URL(f"/api/productos?limit=2&q=%26%C3%B1{query}"), []
    while True:
        resp = await client.get(url)
        pages.append([product["id"] for product in (await resp.json())["data"]])
        if "Link" not in resp.headers:
            break
        assert resp.links["next"]["rel"] == "next"
        url = resp.links["next"]["url"].relative()
    assert pages == found


@pytest.mark.parametrize(
    ("query", "found"), [("ñan", [1]), ("ÑAN", [1]), ("rápido", [1]), ("%25", [2]), ("_", []), ("e", [1, 2])]
)
async def test_list_searches_name_and_description(client: TestClient, query: str, found: list[int]) -> None:
    await create(client, nombre="Ñandú", descripcion="un ave RÁPIDO e incansable")
    await create(client, nombre="100% lana", descripcion=None)
    await create(client, nombre="otro", descripcion="e")
    await client.delete("/api/productos/3")
    await create(client, nombre="teclado")
    ids = [product["id"] for product in (await (await client.get(f"/api/productos?q={query}")).json())["data"]]
    assert [number for number in ids if number < 3] == (found if query != "e" else [1])


async def test_unchanged_list_is_304(client: TestClient, psql: Callable) -> None:
    await create(client)
    for _ in range(20):  # the snapshot is that of the whole server, which may have other work
        resp = await client.get("/api/productos")
        known = {"If-None-Match": resp.headers["ETag"]}
        if (resp := await client.get("/api/productos", headers=known)).status == 304:
            break
    assert resp.status == 304
    psql("UPDATE productos SET stock = stock + 1")
    changed = await client.get("/api/productos", headers=known)
    assert changed.status == 200
    assert (await changed.json())["data"][0]["stock"] == 11


async def test_cached_list_is_the_right_page_and_never_stale(client: TestClient, psql: Callable) -> None:
    psql("INSERT INTO productos (nombre, precio) SELECT 'p', 1 FROM generate_series(1, 4)")

    async def listed(query: str) -> list[tuple[int, int]]:
        body = await (await client.get(f"/api/productos{query}")).json()
        return [(product["id"], product["stock"]) for product in body["data"]]

    for stock in range(1, 4):
        psql("UPDATE productos SET stock = %s", [stock])
        for query, ids in {
            "": [1, 2, 3, 4],
            "?limit=2": [1, 2],
            "?limit=2&after=2": [3, 4],
            "?before=4": [3, 2, 1],
            "?q=x": [],
        }.items():
            for _ in range(3):
                assert await listed(query) == [(number, stock) for number in ids], query
                assert [kept for kept in client.app[LIST_CACHE] if kept.before] == []


async def test_unchanged_product_is_304(client: TestClient) -> None:
    await create(client)
    resp = await client.get("/api/productos/1")
    known = {"If-None-Match": resp.headers["ETag"]}
    assert (await client.get("/api/productos/1", headers=known)).status == 304
    await client.patch("/api/productos/1", json={"stock": 1})
    assert (await client.get("/api/productos/1", headers=known)).status == 200


THOUSAND = """
INSERT INTO productos (nombre, descripcion, precio, stock)
SELECT 'Teclado mecánico ' || n * 7919 % 1000, 'Pantalla de ' || n % 17 || ' pulgadas, ' || n % 64 || ' GB de memoria',
    n * 13.37 % 900, n * 31 % 97 FROM generate_series(1, 1000) n
"""


async def fetched(
    client: TestClient, query: str = "", accept: str = "", **headers: str
) -> tuple[ClientResponse, bytes]:
    """The answer to GET /api/productos as it came."""
    url = client.make_url(f"/api/productos{query}")
    async with (
        ClientSession(auto_decompress=False) as session,
        session.get(url, headers={"Accept-Encoding": accept, **headers}) as resp,
    ):
        return resp, await resp.read()


async def test_list_is_compressed_where_it_is_asked_for(client: TestClient, psql: Callable) -> None:
    psql(THOUSAND)
    await settled(client, 1000)
    _, plain = await fetched(client)
    for accept in ("gzip", "GZIP", "br, gzip", "gzip;q=0.5, br", "gzip; q=1.0", "gzip;q=0.001"):
        resp, packed = await fetched(client, accept=accept)
        assert resp.headers["Content-Encoding"] == "gzip", accept
        assert gzip.decompress(packed) == plain
        assert len(packed) <= 0.15 * len(plain)
    for accept in ("", "gzip;q=0", "gzip; q=0.000, br", "br", "xgzip", "gzipped", "*"):
        resp, body = await fetched(client, accept=accept)
        assert "Content-Encoding" not in resp.headers, accept
        assert body == plain
    for query, kind in (("", "text/csv"), ("?limit=100", "*/*"), ("?at=1000", "*/*"), ("?at=1000", "text/csv")):
        (resp, packed), (_, body) = [await fetched(client, query, accept, Accept=kind) for accept in ("gzip", "br")]
        assert gzip.decompress(packed) == body
        assert resp.content_type == ("text/csv" if kind == "text/csv" else "application/json")
    resp, body = await fetched(client, "?limit=2", "gzip")
    assert "Content-Encoding" not in resp.headers, "it is short"
    assert resp.links["next"]["url"].query == {"limit": "2", "after": "2"}


async def test_list_is_compressed_once(client: TestClient, psql: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    compress = gzip.compress
    monkeypatch.setattr(gzip, "compress", lambda text, level: (texts.append(text), compress(text, level))[1])
    psql(THOUSAND)
    await settled(client, 1000)
    products = await listing.list_products(client.app[DATABASE], ListQuery(), (), {})
    leaving = asyncio.create_task(products.gzipped(b"<", b">"))  # one who leaves takes nothing from those who stay
    staying = [asyncio.create_task(products.gzipped(b"<", b">")) for _ in range(20)]
    await asyncio.sleep(0)
    leaving.cancel()
    assert {gzip.decompress(packed) for packed in await asyncio.gather(*staying)} == {b"<" + products.json + b">"}
    assert len(texts) == 1
    # The position may move though the products are the same.
    assert gzip.decompress(await products.gzipped(b"<", b",2>")) == b"<" + products.json + b",2>"


async def test_compressed_list_and_pages_have_etags(client: TestClient, psql: Callable) -> None:
    psql(THOUSAND)
    for query in ("", "?limit=100"):
        for _ in range(5):  # a change in any database of the server gives the list another ETag
            etag = (await fetched(client, query, "gzip"))[0].headers["ETag"]
            resp, body = await fetched(client, query, "gzip", **{"If-None-Match": etag})
            if resp.status == 304:
                break
        assert (resp.status, resp.headers["ETag"], body) == (304, etag, b"")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_update_keeps_omitted_fields(client: TestClient, method: str) -> None:
    await create(client)
    resp = await client.request(method, "/api/productos/1", json={"nombre": "Laptop", "precio": 999.99, "stock": 3})
    body = await resp.json()
    assert resp.status == 200, body
    assert body["message"] == "Producto actualizado exitosamente"
    assert body["data"]["descripcion"] == PRODUCT["descripcion"]
    assert (body["data"]["nombre"], body["data"]["precio"], body["data"]["stock"]) == ("Laptop", 999.99, 3)


async def test_body_may_begin_with_a_byte_order_mark(client: TestClient) -> None:
    body = json.dumps(PRODUCT).encode("utf-8-sig")
    resp = await client.post("/api/productos", data=body, headers={"Content-Type": "application/json"})
    assert resp.status == 201, await resp.text()


async def test_update_without_fields_is_refused(client: TestClient) -> None:
    await create(client)
    await error(await client.put("/api/productos/1", json={}), 400)


async def test_update_with_the_same_values_changes_nothing(client: TestClient) -> None:
    before = await create(client)
    whole = {**before, "created_at": "ayer", "updated_at": None}
    for product in (PRODUCT, before, whole):
        resp = await client.put("/api/productos/1", json=product)
        assert (await resp.json())["data"] == before
    wrong = await error(await client.put("/api/productos/1", json={**before, "id": 2}), 400)
    assert wrong["errors"] == [{"field": "id", "message": "no es el de la ruta"}]
    nothing = {name: before[name] for name in ("id", "created_at", "updated_at")}
    assert (await error(await client.put("/api/productos/1", json=nothing), 400))["code"] == "sin_cambios"
    await client.put("/api/productos/1", json={"stock": 1})
    await settled(client, 2)
    assert len((await (await client.get("/api/eventos")).json())["data"]) == 2


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_change_of_an_outdated_version_is_412(client: TestClient, method: str) -> None:
    etag = (await client.post("/api/productos", json=PRODUCT)).headers["ETag"]
    await client.patch("/api/productos/1", json={"stock": 4})
    body = {} if method == "DELETE" else {"json": {"stock": 9}}
    resp = await client.request(method, "/api/productos/1", headers={"If-Match": etag}, **body)
    current = (await error(resp, 412))["data"]
    assert current["stock"] == 4
    again = await client.request(method, "/api/productos/1", headers={"If-Match": resp.headers["ETag"]}, **body)
    assert again.status == 200, await again.text()


@pytest.mark.parametrize(
    "tags",
    [
        '"x"',
        '""',
        "x",
        'W/"2024-01-30T10:00:00.000Z"',
        '"2024-13-45T10:00:00.000Z"',
        '"2024-01-01T00:00:00+00:00:30.123456"',
        '"0001-01-01T00:00:00.000+23:59"',
    ],
)
async def test_change_of_an_unknown_version_is_412(client: TestClient, tags: str) -> None:
    await create(client)
    await error(await client.patch("/api/productos/1", json={"stock": 4}, headers={"If-Match": tags}), 412)


async def test_change_takes_any_of_several_versions_and_the_star(client: TestClient) -> None:
    etag = (await client.post("/api/productos", json=PRODUCT)).headers["ETag"]
    several = await client.patch("/api/productos/1", json={"stock": 4}, headers={"If-Match": f'"x", {etag}'})
    assert several.status == 200
    star = await client.patch("/api/productos/1", json={"stock": 5}, headers={"If-Match": "*"})
    assert star.status == 200


async def test_delete_returns_the_deleted_product(client: TestClient) -> None:
    product = await create(client)
    resp = await client.delete("/api/productos/1")
    assert await resp.json() == {"success": True, "message": "Producto eliminado exitosamente", "data": product}
    await error(await client.get("/api/productos/1"), 404)


@pytest.mark.parametrize("number", ["0", "7", "abc", "-1", "1.5", "01", "2147483648", "1" * 40, "٣", "%20", "1%00"])
async def test_missing_product_is_404(client: TestClient, number: str) -> None:
    await create(client)
    path = f"/api/productos/{number}"
    await error(await client.get(path), 404)
    await error(await client.put(path, json=PRODUCT), 404)
    await error(await client.delete(path), 404)
    await error(await client.post(f"{path}/stock", json={"delta": 1}), 404)


async def test_stock_is_never_sold_twice(client: TestClient) -> None:
    await create(client, stock=5)
    answers = await asyncio.gather(
        *(client.post("/api/productos/1/stock", json={"delta": -1}) for _ in range(20)),
    )
    assert sorted(resp.status for resp in answers) == [200] * 5 + [409] * 15
    refused = [await resp.json() for resp in answers if resp.status == 409]
    assert {body["data"]["stock"] for body in refused} == {0}
    assert (await (await client.get("/api/productos/1")).json())["data"]["stock"] == 0


async def test_stock_that_does_not_fit_is_refused(client: TestClient) -> None:
    await create(client, stock=5)
    await error(await client.post("/api/productos/1/stock", json={"delta": 2147483647}), 409)
    await error(await client.post("/api/productos/1/stock", json={"delta": -2147483647}), 409)
    resp = await client.post("/api/productos/1/stock", json={"delta": -5})
    assert (await resp.json())["data"]["stock"] == 0


async def test_events_equal_the_messages_of_the_sockets(client: TestClient, listen: Callable) -> None:
    ws = await listen()
    await create(client)
    await client.put("/api/productos/1", json={"stock": 1})
    await client.delete("/api/productos/1")
    frames = [(await ws.receive(timeout=5)).data for _ in range(3)]
    await settled(client, 3)
    assert await (await client.get("/api/eventos")).text() == f'{{"success":true,"data":[{",".join(frames)}]}}'
    page = await (await client.get("/api/eventos?after=1&limit=1")).json()
    assert page["data"] == [json.loads(frames[1])]


async def test_health_reports_database_and_feed(client: TestClient, listen: Callable) -> None:
    await listen()
    await create(client)
    await settled(client, 1)
    resp = await client.get("/api/salud")
    body = await resp.json()
    assert resp.status == 200
    assert body["data"] == {
        "database": True,
        "feed": True,
        "sockets": 1,
        "behind": 0,
        "last_event_id": 1,
        "version": __version__,
    }


async def test_process_answers_without_postgresql(client: TestClient) -> None:
    await client.app[DATABASE].__aexit__()
    assert (await client.get("/api/vivo")).status == 200
    reason = (await error(await client.get("/api/salud"), 503))["data"]["reason"]
    assert "PostgreSQL no responde" in reason
    assert "127.0.0.1" not in reason


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=abc", "limit=", "after=-1", "after=" + "1" * 40, "q=%00"]
)
async def test_invalid_query_names_its_field(client: TestClient, query: str) -> None:
    body = await error(await client.get(f"/api/productos?{query}"), 400)
    assert [fault["field"] for fault in body["errors"]] == [query.partition("=")[0]]


BAD_BODIES = {
    '{"nombre":"\\u0000","precio":1}': "nombre",
    '{"nombre":"\\ud800","precio":1}': "nombre",
    '{"nombre":"  ","precio":1}': "nombre",
    '{"nombre":"x","precio":1,"descripcion":"\\u0000"}': "descripcion",
    '{"nombre":"x","precio":NaN}': "precio",
    '{"nombre":"x","precio":Infinity}': "precio",
    '{"nombre":"x","precio":1e400}': "precio",
    f'{{"nombre":"x","precio":{"9" * 5000}}}': "precio",
    '{"nombre":"x","precio":true}': "precio",
    '{"nombre":"x","precio":1.234}': "precio",
    f'{{"nombre":"x","precio":1,"stock":{"9" * 5000}}}': "stock",
    '{"nombre":"x","precio":1,"stock":true}': "stock",
    '{"nombre":"x","precio":1,"color":1}': "color",
    "[" * 60_000: None,
    '{"nombre":"\udcff","precio":1}': None,
    "": None,
    "[]": None,
    "null": None,
}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_bad_body_is_refused_and_leaves_no_trace(
    client: TestClient, psql: Callable, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    await create(client)
    path = "/api/productos" if method == "POST" else "/api/productos/1"
    before = psql("SELECT * FROM productos")
    for text, field in BAD_BODIES.items():
        data = text.encode("utf-8", "surrogateescape")
        resp = await client.request(method, path, data=data, headers={"Content-Type": "application/json"})
        body = await error(resp, 400)
        if field:
            assert [fault["field"] for fault in body["errors"]] == [field], text
    assert psql("SELECT * FROM productos") == before
    assert psql("SELECT count(*) FROM eventos") == [(1,)]
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
async def test_body_of_another_type_is_refused(client: TestClient, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    skip = () if kind else ("Content-Type",)
    resp = await client.post("/api/productos", data=json.dumps(PRODUCT), headers=headers, skip_auto_headers=skip)
    await error(resp, 415)


async def test_body_over_64_kib_is_refused_with_and_without_its_length(client: TestClient, psql: Callable) -> None:
    body = json.dumps({**PRODUCT, "descripcion": "x" * 70_000}).encode()
    headers = {"Content-Type": "application/json"}
    await error(await client.post("/api/productos", data=body, headers=headers), 413)

    async def chunks():
        yield body

    await error(await client.post("/api/productos", data=chunks(), headers=headers), 413)
    assert psql("SELECT * FROM productos") == []


async def test_endless_body_times_out(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inventory_ws.web.reading.BODY_TIMEOUT", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"POST /api/productos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
    writer.write(b"Content-Length: 100\r\n\r\n{")
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 408")
    writer.close()


async def test_page_and_its_files_are_served(client: TestClient) -> None:
    page = await client.get("/")
    assert page.status == 200
    assert page.content_type == "text/html"
    for file in CLIENT.glob("*.[!h]*"):
        assert (await client.get(f"/{file.name}")).status == 200, file
    await error(await client.get("/schema.sql"), 404)
    await error(await client.get("/..%2fsetup.cfg"), 404)


async def test_create_takes_a_zero_written_with_a_very_small_exponent(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    resp = await client.post("/api/productos", data='{"nombre":"x","precio":0e-1000000}', headers=headers)
    assert resp.status == 201, await resp.text()


async def test_refused_change_with_a_slow_database_is_503_in_time(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Connection.run

    async def late(conn: Connection, sql: str, *args: object) -> object:
        await asyncio.sleep(3 if "SELECT" in sql.split() else 0)
        return await run(conn, sql, *args)

    monkeypatch.setattr(Connection, "run", late)
    async with asyncio.timeout(2):
        resp = await client.post("/api/productos/1/stock", json={"delta": -1})
    await error(resp, 503)
    assert resp.headers["Retry-After"] == "1"


async def test_unchanged_page_is_304(client: TestClient) -> None:
    for path in ("/", "/app.js"):
        etag = (await client.get(path)).headers["ETag"]
        assert (await client.get(path, headers={"If-None-Match": etag})).status == 304


async def test_page_is_compressed_for_who_accepts_it(dsn: str, aiohttp_client: Callable) -> None:
    for app in (create_app(dsn=dsn), create_app(dsn=dsn, title="Tienda")):
        client = await aiohttp_client(app)
        for path in ("/", "/app.js", "/docs"):
            texts = {}
            for accepted in ("gzip, deflate, br", "identity"):
                resp = await client.get(path, headers={"Accept-Encoding": accepted})
                assert resp.headers.get("Content-Encoding") == ("gzip" if "gzip" in accepted else None)
                assert "Accept-Encoding" in resp.headers["Vary"]
                texts[accepted] = await resp.text()
            assert len(set(texts.values())) == 1, path


async def test_change_that_others_make_possible_while_its_refusal_is_explained_is_made(
    client: TestClient, psql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A product that is restored beside its DELETE, and units that come in beside their sale."""
    product = await create(client, stock=1)
    meanwhile = [
        "INSERT INTO productos (id, nombre, precio, stock) OVERRIDING SYSTEM VALUE VALUES (1, 'Teclado', 1, 1)",
        "UPDATE productos SET stock = 5",
    ]

    async def changed_before(*args: Any) -> repository.Product | None:
        psql(meanwhile.pop())
        return await repository.get_product(*args)

    monkeypatch.setattr(answers, "get_product", changed_before)
    resp = await client.post(f"/api/productos/{product['id']}/stock", json={"delta": -3})
    assert (resp.status, (await resp.json())["data"]["stock"]) == (200, 2)
    psql("DELETE FROM productos")
    resp = await client.delete(f"/api/productos/{product['id']}")
    assert (resp.status, meanwhile, psql("SELECT FROM productos")) == (200, [], [])
