"""Products as CSV: what is exported can be imported, all rows of a file or none, and once."""

import asyncio
import csv
import gc
import io
import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory_ws import create_app
from inventory_ws.files import csvfile, reader
from inventory_ws.files.reader import FileQuery
from inventory_ws.web.reading import MAX_FILE

from .conftest import Listen, create, error, receive, settled, waits

CSV = {"Content-Type": "text/csv"}
HEAD = "id;nombre;descripcion;precio;stock\r\n"


async def imported(client: TestClient, text: str | bytes, **headers: str) -> tuple[int, int]:
    """Imports the file, and returns how many products were created and changed."""
    body = text.encode() if isinstance(text, str) else text
    resp = await client.post("/api/productos", data=body, headers={**CSV, **headers})
    assert resp.status == 200, await resp.text()
    data = (await resp.json())["data"]
    return data["creados"], data["actualizados"]


async def refused(client: TestClient, text: str | bytes) -> list[tuple[int, str, str]]:
    """Sees that the file is refused, and returns its faults."""
    body = text.encode() if isinstance(text, str) else text
    resp = await client.post("/api/productos", data=body, headers=CSV)
    return sorted((fault["row"], fault["field"], fault["message"]) for fault in (await error(resp, 400))["errors"])


async def rows(client: TestClient, query: str = "") -> list[dict[str, str]]:
    """The list, read from its CSV."""
    resp = await client.get(f"/api/productos{query}", headers={"Accept": "text/csv"})
    assert resp.status == 200
    assert resp.content_type == "text/csv"
    return list(csv.DictReader(io.StringIO(await resp.text(), newline="")))


async def last_event(client: TestClient) -> int:
    return (await (await client.get("/api/salud")).json())["data"]["last_event_id"]


async def test_import_creates_and_updates_and_publishes_each_row(client: TestClient, listen: Listen) -> None:
    await create(client, nombre="Teclado", descripcion="Mecánico", precio=10, stock=1)
    await settled(client, 1)
    ws = await listen()
    file = HEAD + "1;Teclado;Mecánico;12,50;1\r\n;Ratón;;3.9;4\r\n;Cable;;1;\r\n"
    assert await imported(client, file) == (2, 1)
    events = await receive(ws, 3)
    assert [event["type"] for event in events].count("PRODUCT_CREATED") == 2
    assert [event["antes"] for event in events if "antes" in event] == [{"precio": 10}]
    found = await rows(client)
    assert [(row["nombre"], row["descripcion"], row["precio"], row["stock"]) for row in found] == [
        ("Teclado", "Mecánico", "12.50", "1"),
        ("Ratón", "", "3.90", "4"),
        ("Cable", "", "1.00", "0"),
    ]


async def test_exported_list_imported_unchanged_creates_no_event(client: TestClient, psql: Callable) -> None:
    texts = ["=1+1", "'=x", "''@", "-3", '"comillas"; y, comas', "dos\nlíneas", "\ttab", "dos\r\nmás", "Ñandú 🦤", "+"]
    for text in texts:
        await create(client, nombre=f"{text} x", descripcion=text, precio=1.5)
        await create(client, nombre=text, descripcion="")
    psql("INSERT INTO productos (nombre, precio) VALUES ('\u00a0 con blancos ', 9999999999.99)")
    await create(client, descripcion=None)
    before = await rows(client)
    await settled(client, len(before))
    position = await last_event(client)
    body = await (await client.get("/api/productos", headers={"Accept": "text/csv"})).read()
    assert await imported(client, body) == (0, 0)
    assert (await rows(client), await last_event(client)) == (before, position)
    cells = [row["descripcion"] for row in before]
    assert "'=1+1" in cells  # a spreadsheet would run it
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") and cell]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=12), st.decimals(0, 9999999999, places=2), st.integers(0, 2**31 - 1))))
def test_every_text_survives_export_and_import(products: list[tuple[str, Any, int]]) -> None:
    given = [
        {
            "id": number,
            "nombre": f"x{text}x",
            "descripcion": text,
            "precio": price,
            "stock": stock,
            "created_at": "",
            "updated_at": "",
        }
        for number, (text, price, stock) in enumerate(products, 1)
        if "\x00" not in text and text.isprintable() | text.isspace()
    ]
    table = reader.read(csvfile.render(json.dumps(given, default=float).encode()), FileQuery())
    assert table.faults == []
    read = [(row.get("crudo"), row["campos"]) for row in json.loads(table.rows)]
    assert [(raw or row["nombre"], row["descripcion"] or "", row["stock"]) for raw, row in read] == [
        (row["nombre"], row["descripcion"], row["stock"]) for row in given
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "windows-1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_import_accepts_files_of_spreadsheets(
    client: TestClient, delimiter: str, encoding: str, end: str
) -> None:
    lines = [
        ["stock", "nombre", "precio", "updated_at"],
        ["7", '"Piñón ""a"""', '"12,5"', "ayer"],
        ["0", "Café €", "3", ""],
    ]
    text = end.join(delimiter.join(line) for line in lines) + end
    assert await imported(client, text.encode(encoding)) == (2, 0)
    assert [(row["nombre"], row["precio"], row["stock"]) for row in await rows(client)] == [
        ('Piñón "a"', "12.50", "7"),
        ("Café €", "3.00", "0"),
    ]


async def test_faults_have_row_and_field_and_nothing_is_written(client: TestClient) -> None:
    await create(client)
    await settled(client, 1)
    position = await last_event(client)
    file = HEAD + (
        "1;Bien;;1;1\r\n"
        ";Miles;;1.299;1\r\n"  # which may be 1.299 or 1,299
        ";Miles;;1,299;1.000\r\n"
        '\r\n;"dos\r\nlíneas";;-1;x\r\n'
        ";;;;\r\n"
        ";;sin nombre;1;\r\n"
        "1;Otra vez;;1;1\r\n"
        "cien;Cien;;1;1\r\n"
        "1;;;;\r\n"
        ";a;b;1;2;3\r\n"
    )
    price = "puede ser 1299,00 o 1,30: escríbalo con dos decimales"
    whole = "tiene que ser un número entero"
    assert await refused(client, file) == [
        (3, "precio", price),
        (4, "precio", price),
        (4, "stock", "puede ser 1000 o 1: escríbalo sin separador"),
        (6, "precio", "no puede ser menor que 0"),
        (6, "stock", whole),
        (8, "nombre", "es obligatorio"),
        (9, "id", "está dos veces"),
        (10, "id", "no existe"),
        (11, "id", "está dos veces"),
        (11, "nombre", "no puede estar vacío"),
        (11, "precio", "tiene que ser un número"),
        (11, "stock", "tiene que ser un número entero"),
        (12, "", "tiene más celdas que la cabecera"),
    ]
    assert await refused(client, HEAD + "1;Bien;;1;1\r\n2;No está;;1;1\r\n;Nuevo;;1;1\r\n") == [(3, "id", "no existe")]
    assert await last_event(client) == position
    assert len(await rows(client)) == 1
    assert len(await refused(client, HEAD + ";;;x;\r\n" * 200)) == 100


@pytest.mark.parametrize(
    ("file", "faults"),
    [
        (b"", [(1, "nombre", "falta esta columna"), (1, "precio", "falta esta columna")]),
        (b"nombre;precio;nombre\r\n", [(1, "nombre", "está dos veces")]),
        (b"id\r\n1\r\n", [(1, "nombre", "falta esta columna"), (1, "precio", "falta esta columna")]),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00;", [(1, "", "no es texto ni una hoja de cálculo")]),
        (
            b'nombre;precio\r\na;1\r\n"b;2\r\n',
            [(3, "", "no es CSV: comillas mal puestas, o una celda demasiado larga")],
        ),
        (b"nombre;precio\r\n" + b"a;1\r\n" * 50_001, [(50_002, "", "el archivo pasa de 50000 filas")]),
    ],
)
async def test_file_that_is_not_csv_is_refused(client: TestClient, file: bytes, faults: list) -> None:
    assert await refused(client, file) == faults
    assert await rows(client) == []


async def test_import_changes_only_the_columns_it_has(client: TestClient) -> None:
    product = await create(client, descripcion="Se queda", precio=1, stock=5)
    assert await imported(client, "id,precio\n1,2\n") == (0, 1)
    assert (await (await client.get("/api/productos/1")).json())["data"] == {**product, "precio": 2} | {
        "updated_at": (await (await client.get("/api/productos/1")).json())["data"]["updated_at"]
    }
    assert await imported(client, "descripcion,id\n,1\n") == (0, 1)
    assert (await (await client.get("/api/productos/1")).json())["data"]["descripcion"] is None


def test_export_of_as_many_products_as_a_file_may_have_is_no_larger_than_a_file_may_be() -> None:
    product = {"id": 99_999, "nombre": "Teclado español inalámbrico " * 2, "descripcion": "á" * 100, "precio": 1234.5}
    times = dict.fromkeys(("created_at", "updated_at"), "2026-11-24T10:00:00.000Z")
    rows = csvfile.render(json.dumps([product | {"stock": 1000} | times] * csvfile.MAX_ROWS).encode())
    assert (rows.count(b"\n"), len(rows) <= MAX_FILE) == (csvfile.MAX_ROWS + 1, True)


async def test_file_over_16_mib_is_refused_in_any_host(dsn: str, aiohttp_client: Callable) -> None:
    host = web.Application()  # whose own limit is 1 MiB
    host.add_subapp("/inventario", create_app(dsn=dsn))
    client = await aiohttp_client(host)
    row = f";x;{'d' * 9000};1;1\r\n"
    resp = await client.post("/inventario/api/productos", data=io.BytesIO((HEAD + row * 500).encode()), headers=CSV)
    assert (await resp.json())["data"] == {"creados": 500, "actualizados": 0}
    for chunked in (False, True):
        body = io.BytesIO((HEAD + row * 1900).encode())
        resp = await client.post("/inventario/api/productos", data=body, headers=CSV, chunked=chunked or None)
        assert "16 MiB" in (await error(resp, 413))["message"]
    resp = await client.patch("/inventario/api/productos/1", data=b"precio\n1\n", headers=CSV)
    await error(resp, 415)


async def test_import_sent_again_is_done_once(client: TestClient, psql: Callable) -> None:
    await create(client, nombre="Teclado", precio=1)
    file = HEAD + "1;Teclado;;2;1\r\n;Ratón;;1;1\r\n;Cable;;1;1\r\n"

    async def send(body: str = file, key: str = "k") -> tuple[int, dict, str | None]:
        resp = await client.post("/api/productos", data=body.encode(), headers={**CSV, "Idempotency-Key": key})
        return resp.status, await resp.json(), resp.headers.get("Idempotency-Replayed")

    answers = await asyncio.gather(*(send() for _ in range(10)))
    assert {status for status, _, _ in answers} <= {200, 503}  # 503: it waited too long for the first
    done = [answer for answer in answers if answer[0] == 200]
    assert {json.dumps(body["data"]) for _, body, _ in done} == {'{"creados": 2, "actualizados": 1}'}
    assert [replayed for _, _, replayed in done].count(None) == 1
    assert psql("SELECT count(*) FROM productos") == [(3,)]
    psql("UPDATE productos SET precio = 7")
    assert (await send())[1]["data"] == {"creados": 2, "actualizados": 1}
    assert psql("SELECT DISTINCT precio FROM productos") == [(7,)]
    assert (await send(file + ";Otro;;1;1\r\n"))[0] == 422
    assert psql("SELECT count(*) FROM eventos WHERE clave IS NOT NULL") == [(1,)]
    only_changes = "id,precio\n1,9\n"
    answers = await asyncio.gather(*(send(only_changes, "k2") for _ in range(10)))
    done = [answer for answer in answers if answer[0] == 200]
    assert {json.dumps(body["data"]) for _, body, _ in done} == {'{"creados": 0, "actualizados": 1}'}


async def test_product_deleted_during_an_import_is_reported_by_its_row(
    client: TestClient, connect: Callable, psql: Callable
) -> None:
    """The import waits for the row, which then is gone: nothing is written."""
    await create(client)
    await create(client)
    other = connect()
    other.autocommit = False
    with other.cursor() as cursor:
        cursor.execute("DELETE FROM productos WHERE id = 2")
    waiting = asyncio.create_task(refused(client, HEAD + "1;A;;1;1\r\n2;B;;1;1\r\n"))
    await waits(psql, "Lock")
    assert not waiting.done()
    other.commit()
    assert await waiting == [(3, "id", "no existe")]
    assert [row["nombre"] for row in await rows(client)] == ["Laptop Dell"]


async def test_constraint_of_the_owner_is_an_error_of_its_field(client: TestClient, psql: Callable) -> None:
    psql("ALTER TABLE productos ADD UNIQUE (nombre)")
    assert len(await rows(client)) == 0
    resp = await client.post("/api/productos", data=(HEAD + ";A;;1;1\r\n;A;;1;1\r\n").encode(), headers=CSV)
    assert (await error(resp, 400))["errors"] == [{"field": "nombre", "message": "ya lo tiene otro producto"}]
    assert await rows(client) == []


async def test_csv_is_negotiated_by_accept_and_is_paged_like_json(client: TestClient) -> None:
    for name in ("Teclado", "Ratón", "Monitor"):
        await create(client, nombre=name)
    await client.delete("/api/productos/1")
    assert [row["id"] for row in await rows(client, "?limit=1&after=2")] == ["3"]
    assert [row["nombre"] for row in await rows(client, "?q=raton")] == ["Ratón"]
    assert [row["id"] for row in await rows(client, "?at=1")] == ["1"]
    for accept, kind in {
        "*/*": "application/json",
        "text/html, text/csv;q=0.9": "text/csv",
        "application/json, text/csv": "application/json",
    }.items():
        resp = await client.get("/api/productos", headers={"Accept": accept})
        assert resp.content_type == kind


async def test_one_file_at_a_time_is_read_or_written(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, most = 0, 0

    def counted(work: Callable, *args: Any) -> Any:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        time.sleep(0.05)
        busy -= 1
        return work(*args)

    for module, name in ((reader, "read"), (csvfile, "render")):
        monkeypatch.setattr(module, name, partial(counted, getattr(module, name)))
    await asyncio.gather(*(work(client) for work in [rows, partial(imported, text="nombre,precio\nRatón,1\n")] * 3))
    assert most == 1


async def test_slow_file_leaves_the_threads_of_the_host_free(
    dsn: str, aiohttp_client: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop looks up names in them. What is cancelled before it is read is not read any more."""
    begun: list[bytes] = []
    ended = threading.Event()
    monkeypatch.setattr(reader, "read", lambda body, _: begun.append(body) or ended.wait())

    @web.middleware
    async def hasty(request: web.Request, handler: Any) -> web.StreamResponse:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                return await handler(request)
        raise web.HTTPGatewayTimeout

    host, loop = web.Application(middlewares=[hasty]), asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    host.add_subapp("/inventario/", create_app(dsn=dsn))
    client = await aiohttp_client(host)
    try:
        async with asyncio.timeout(5):
            while not begun:
                await client.post("/inventario/api/productos", data="", headers=CSV)
            assert (await client.post("/inventario/api/productos", data="", headers=CSV)).status == 504
            assert await loop.getaddrinfo("127.0.0.1", 80)
    finally:
        ended.set()
    assert len(begun) == 1


async def test_files_leave_the_settings_of_the_host_alone(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, float]] = []

    def noted(work: Callable, *args: Any) -> Any:
        seen.append((gc.isenabled(), sys.getswitchinterval()))
        return work(*args)

    for module, name in ((reader, "decoded"), (csvfile, "decode")):
        monkeypatch.setattr(module, name, partial(noted, getattr(module, name)))
    await imported(client, "nombre,precio\nRatón,1\n")
    await rows(client)
    assert seen == [(gc.isenabled(), sys.getswitchinterval())] * 2


async def test_import_of_20_000_rows_does_not_block_other_requests(client: TestClient) -> None:
    """Others are answered while the file is read and written."""
    file = "nombre,precio,stock\n" + "".join(f"Producto {n},{n}.5,{n}\n" for n in range(20_000))
    work = asyncio.create_task(imported(client, file))
    answered = 0
    while not work.done():
        assert (await client.get("/api/salud")).status == 200
        answered += 1
        await asyncio.sleep(0.01)
    assert await work == (20_000, 0)
    assert answered > 5
