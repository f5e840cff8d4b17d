import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from yarl import URL

from inventory_ws import create_app
from inventory_ws.live.hub import HUB
from inventory_ws.live.log import LOG
from inventory_ws.pg.errors import Unavailable
from inventory_ws.products import repository
from inventory_ws.web.errors import FAILURES

from .conftest import PRODUCT, create, error
from .test_main import ROOT


async def test_unknown_path_has_the_error_body(client: TestClient) -> None:
    for path in (
        "/nada",
        "/nada/",
        "/appXjs",
        "/api/productos/nada",
        "/api/productos//",
        "/api/productos/0/",
        "/api/productos/%31/",
        "/api/",
    ):
        body = await error(await client.get(URL(path, encoded=True)), 404)
        assert body["message"] == "Ruta no encontrada", path


async def test_unknown_method_lists_the_allowed_ones(client: TestClient) -> None:
    resp = await client.delete("/api/productos")
    await error(resp, 405)
    assert set(resp.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


async def test_internal_error_is_logged_and_not_disclosed(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(repository, "get_product", broken)
    resp = await client.get("/api/productos/1")
    await error(resp, 500)
    assert "secret" not in await resp.text()
    assert "RuntimeError: secret" in caplog.text


def test_codes_are_told_in_the_readme_and_in_the_descriptions() -> None:
    of_http = [code for code, (status, _) in FAILURES.items() if status]
    of_sockets = [code for code, (status, _) in FAILURES.items() if not status]
    described = json.loads((ROOT / "client/openapi.json").read_text())["components"]["schemas"]
    assert described["Code"]["enum"] == of_http
    messages = json.loads((ROOT / "client/asyncapi.json").read_text())["components"]["messages"]
    assert messages["ERROR"]["payload"]["properties"]["code"]["enum"] == of_sockets
    rows = re.findall(r"^\| (\d{3}|socket) \| (`.+`) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    told = {code: int(status.replace("socket", "0")) for status, codes in rows for code in re.findall("`(.+?)`", codes)}
    assert told == {code: status for code, (status, _) in FAILURES.items()}


JSON_BODY = {"Content-Type": "application/json"}
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "eHh4eHh4eHh4eHh4eHh4eA==",
}
WAYS_TO_FAIL: dict[str, tuple[str, str, dict]] = {
    "peticion_mal_formada": ("GET", "/../../ws", {"headers": {**HANDSHAKE, "Sec-WebSocket-Version": "12"}}),
    "json_invalido": ("POST", "", {"data": b"{", "headers": JSON_BODY}),
    "texto_no_utf8": ("POST", "", {"data": '{"nombre":"Ratón"}'.encode("latin-1"), "headers": JSON_BODY}),
    "datos_invalidos": ("POST", "", {"json": {}}),
    "valor_repetido": ("POST", "", {"json": PRODUCT}),
    "rechazado_por_la_base": ("PATCH", "/1", {"json": {"precio": 5000}}),
    "fuera_del_registro": ("GET", "?at=1000", {}),
    "sin_cambios": ("PATCH", "/1", {"json": {}}),
    "if_match_vacio": ("DELETE", "/1", {"headers": {"If-Match": ""}}),
    "idempotency_key_invalida": ("POST", "", {"json": PRODUCT, "headers": {"Idempotency-Key": "ñ"}}),
    "subprotocolo_desconocido": ("GET", "/../../ws", {"headers": {**HANDSHAKE, "Sec-WebSocket-Protocol": "otro"}}),
    "sin_identificar": ("GET", "", {"headers": {"X-User": ""}}),
    "otro_usuario": ("POST", "", {"json": PRODUCT, "headers": {"X-Actor": "eva"}}),
    "no_permitido": ("GET", "", {"headers": {"X-User": "eva"}}),
    "origen_no_permitido": ("DELETE", "/1", {"headers": {"Origin": "https://malo.example"}}),
    "ruta_no_encontrada": ("GET", "/nada", {}),
    "producto_no_encontrado": ("GET", "/9", {}),
    "producto_irrecuperable": ("POST", "/9/restaurar", {}),
    "importacion_no_encontrada": ("POST", "/../importaciones/nada/deshacer", {}),
    "metodo_no_permitido": ("DELETE", "", {}),
    "stock_insuficiente": ("POST", "/1/stock", {"json": {"delta": -12}}),
    "stock_excesivo": ("POST", "/1/stock", {"json": {"delta": 2**31 - 1}}),
    "lineas_imposibles": ("POST", "/../stock", {"json": {"movimientos": [{"id": 1, "delta": -12}]}}),
    "producto_existente": ("POST", "/1/restaurar", {}),
    "producto_cambiado": ("DELETE", "/1", {"headers": {"If-Match": '"2024-01-30T10:00:00.000Z"'}}),
    "cuerpo_grande": ("POST", "", {"data": b"x" * 70_000, "headers": JSON_BODY}),
    "tipo_no_admitido": ("POST", "", {"data": b"x", "headers": {"Content-Type": "text/plain"}}),
    "host_no_permitido": ("GET", "", {"headers": {"Host": "malo.example"}}),
    "idempotency_key_repetida": ("POST", "/1/stock", {"json": {"delta": 2}, "headers": {"Idempotency-Key": "a"}}),
}


async def test_each_code_is_of_its_way_to_fail(
    dsn: str, psql: Callable, aiohttp_client: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def authenticate(request: web.Request) -> str:
        if request.headers.get("X-User") == "eva":
            raise web.HTTPForbidden
        return request.headers.get("X-User", "ana")

    async def fails(code: str, method: str, path: str, **options: object) -> None:
        resp = await client.request(method, f"/api/productos{path}", **options)
        assert (await error(resp, FAILURES[code][0]))["code"] == code
        met.append(code)

    def breaks(exc: Exception) -> None:
        async def broken(*_: object) -> None:
            raise exc

        monkeypatch.setattr(repository, "get_product", broken)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(1)

    client = await aiohttp_client(create_app(dsn=dsn, hosts={"127.0.0.1"}, authenticate=authenticate))
    met: list[str] = []
    psql("ALTER TABLE productos ADD CHECK (precio < 5000), ADD UNIQUE (nombre)")
    await create(client)
    move = await client.post("/api/productos/1/stock", json={"delta": 1}, headers={"Idempotency-Key": "a"})
    assert move.status == 200
    for code, (method, path, options) in WAYS_TO_FAIL.items():
        await fails(code, method, path, **options)
    monkeypatch.setattr("inventory_ws.web.reading.BODY_TIMEOUT", 0.05)
    await fails("cuerpo_lento", "POST", "", data=slow(), headers=JSON_BODY)
    (tmp_path / "python_calamine.py").write_text("raise ImportError")  # as where it is not installed
    monkeypatch.syspath_prepend(tmp_path)
    await fails("sin_lector_de_hojas", "POST", "", data=b"PK\x03\x04")
    breaks(RuntimeError("fault"))
    await fails("error_interno", "GET", "/1")
    breaks(Unavailable("away"))
    await fails("sin_base_de_datos", "GET", "/1")
    ws = await client.ws_connect("/ws")
    await ws.receive_json(timeout=5)
    for text in ("hola", '{"type":"BAILAR"}', '{"type":"SUBSCRIBE","productos":"todos"}'):
        await ws.send_str(text)
        met.append((await ws.receive_json(timeout=5))["code"])
    client.app[HUB].max_sockets = 0
    await fails("demasiados_sockets", "GET", "/../../ws", headers=HANDSHAKE)
    client.app[HUB].closing = True
    await fails("cerrando", "GET", "/../../ws", headers=HANDSHAKE)
    client.app[LOG].faults.append("a fault")
    await fails("sin_servicio", "GET", "/../salud")
    assert sorted(met) == sorted(FAILURES)


OWNERS_RULES = """
    ALTER TABLE productos ADD CHECK (precio < 1000), ADD CONSTRAINT oferta CHECK (precio <> 13),
        ADD CHECK (stock <= 100), ADD EXCLUDE USING hash (descripcion WITH =), ALTER descripcion TYPE varchar(3000);
    CREATE UNIQUE INDEX ON productos (lower(nombre));
    CREATE INDEX ON productos (descripcion);
    CREATE TABLE ventas (producto integer REFERENCES productos);
    CREATE FUNCTION de_noche() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.nombre = 'noche' THEN
            RAISE EXCEPTION 'De noche no se crea nada';
        ELSIF NEW.nombre = 'día' THEN
            RAISE EXCEPTION 'De día tampoco' USING ERRCODE = 'invalid_parameter_value', COLUMN = 'nombre';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER de_noche BEFORE INSERT ON productos FOR EACH ROW EXECUTE FUNCTION de_noche();
    INSERT INTO productos (nombre, descripcion, precio, stock) VALUES ('Ratón', 'óptico', 1, 5);
    INSERT INTO ventas VALUES (1);
"""
INCOMPRESSIBLE = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(1000))  # in an index


@pytest.mark.parametrize(
    ("method", "path", "fields", "fault"),
    [
        ("POST", "", {"precio": 1000}, ("precio", "no es un valor permitido")),
        ("POST", "", {"precio": 13}, ("", "no es un valor permitido")),
        ("POST", "", {"nombre": "RATÓN"}, ("nombre", "ya lo tiene otro producto")),
        ("POST", "", {"descripcion": "óptico"}, ("descripcion", "no es compatible con otro producto")),
        ("POST", "", {"descripcion": "x" * 3001}, ("", "es un texto demasiado largo")),
        ("POST", "", {"descripcion": INCOMPRESSIBLE}, ("descripcion", "es un texto demasiado largo")),
        ("POST", "", {"nombre": "noche"}, ("", "De noche no se crea nada")),
        ("POST", "", {"nombre": "día"}, ("nombre", "De día tampoco")),
        ("PATCH", "/1", {"precio": 5000}, ("precio", "no es un valor permitido")),
        ("POST", "/1/stock", {"delta": 96}, ("stock", "no es un valor permitido")),
        ("DELETE", "/1", None, ("", "no encaja con los datos de otra tabla")),
    ],
)
async def test_refusal_of_the_database_names_the_field_in_spanish(
    client: TestClient, psql: Callable, method: str, path: str, fields: dict | None, fault: tuple[str, str]
) -> None:
    psql(OWNERS_RULES)
    body = {"nombre": "Cable", "precio": 1, **(fields or {})} if method == "POST" and not path else fields
    answer = await error(await client.request(method, f"/api/productos{path}", json=body), 400)
    assert answer["message"] == "Datos inválidos"
    assert answer["errors"] == [dict(zip(("field", "message"), fault, strict=True))]


@pytest.mark.parametrize(
    "rule",
    [
        "SELECT setval('productos_id_seq', 2147483647)",
        "ALTER TABLE productos ADD COLUMN sku text NOT NULL",
        "ALTER TABLE productos ALTER created_at SET DEFAULT 'infinity'",
        "ALTER TABLE productos ALTER created_at SET DEFAULT to_timestamp(1 / (random() * 0)::integer)",
    ],
)
async def test_refusal_that_no_client_can_cause_is_500(
    client: TestClient, psql: Callable, caplog: pytest.LogCaptureFixture, rule: str
) -> None:
    psql(rule)
    body = await error(await client.post("/api/productos", json={"nombre": "x", "precio": 1}), 500)
    assert body == {"success": False, "code": "error_interno", "message": "Error interno"}
    assert "POST /api/productos failed" in caplog.text


async def test_connection_error_of_the_host_is_500(
    dsn: str, aiohttp_client: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    async def unreachable(_: web.Request) -> bool:
        raise ConnectionRefusedError("the directory of users")

    client = await aiohttp_client(create_app(dsn=dsn, authenticate=unreachable))
    await error(await client.post("/api/productos", json=PRODUCT), 500)
    assert "POST /api/productos failed" in caplog.text
    assert "ConnectionRefusedError: the directory of users" in caplog.text


async def test_broken_body_is_400(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    await error(await client.post("/api/productos", data=b"no gzip at all", headers=headers), 400)
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"POST /api/productos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.transport.abort()
    async with asyncio.timeout(5):
        while len(client.server.runner.server.connections) > 1:
            await asyncio.sleep(0.01)
    assert [record for record in caplog.records if record.name.startswith("inventory_ws")] == []
    assert (await client.get("/api/salud")).status == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /api/productos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
        (
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\n\r\n"
        ),
    ],
    ids=["body", "handshake"],
)
async def test_client_that_leaves_during_a_request_is_not_an_error(
    dsn: str, caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    app = create_app(dsn=dsn)
    runner = web.AppRunner(app)  # aiohttp's TestServer would cancel the handler, which no real server does
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    app[HUB].handshakes = asyncio.Semaphore(0)
    _, writer = await asyncio.open_connection(*runner.addresses[0])
    writer.write(request_)
    await asyncio.sleep(0.1)
    writer.transport.abort()
    await asyncio.sleep(0.1)
    app[HUB].handshakes.release()
    await asyncio.sleep(0.1)
    await runner.cleanup()
    assert [record for record in caplog.records if record.name.startswith("inventory_ws")] == []
