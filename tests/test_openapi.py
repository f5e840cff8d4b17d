"""What the service says of itself is so: by the public validator, and by requests made from it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from urllib.parse import urljoin

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel
from yarl import URL

from inventory_ws import __version__, create_app
from inventory_ws.live.eventlog import EventQuery
from inventory_ws.products.listing import ListQuery
from inventory_ws.products.models import NewProduct, ProductChange, Sale, SaleLine, StockMove
from inventory_ws.web import page
from inventory_ws.web.security import bearer

from .conftest import create
from .test_main import ROOT, service  # noqa: F401
from .tools.schemas import differences
from .tools.service import PATIENCE

OPENAPI = json.loads((ROOT / "client" / "openapi.json").read_text("utf-8"))
SCHEMATHESIS = [
    *("--config-file", str(ROOT / "tests" / "schemathesis.toml"), "run", "--seed", "1"),
    *("--max-examples", "30", "--workers", "1", "--generation-database", "none", "--no-color"),
]


def test_every_route_is_described_and_nothing_else() -> None:
    told = {
        (path, method, operation["operationId"].removesuffix("_patch"))
        for path, methods in OPENAPI["paths"].items()
        for method, operation in methods.items()
    }
    assert told == {
        (route.resource.canonical, route.method.lower(), route.resource.name or route.handler.__name__)
        for route in create_app(dsn="").router.routes()
        if route.method != "HEAD" and route.resource.canonical and route.handler is not page.client_file
    }


async def test_description_is_valid_and_of_this_version(client: TestClient) -> None:
    resp = await client.get("/openapi.json")
    assert resp.content_type == "application/json"
    description = await resp.json()
    assert list(OpenAPIV31SpecValidator(description).iter_errors()) == []
    assert (description["openapi"], description["info"]["version"]) == ("3.1.0", __version__)
    # openapi-python-client resolves no reference into a schema, and openapi-generator tells schemas apart by `enum`, but not by `const`.
    assert re.findall(r'"#/components/\w+/[^"/]+/[^"]*"|"const": ".*?"', await resp.text()) == []
    description["paths"]["/"]["get"]["responses"] = []
    assert list(OpenAPIV31SpecValidator(description).iter_errors()) != []


def limits(model: type[BaseModel], told: dict[str, dict]) -> None:
    """Sees that the limits of each field are told as the model has them."""
    for name, field in model.model_json_schema()["properties"].items():
        field |= field.get("anyOf", [{}])[0]
        if field.get("default") is None or model is ProductChange:  # whose fields keep their values
            field.pop("default", None)
        for limit in ("default", "minimum", "maximum", "minLength", "maxLength"):
            if limit in field or limit == "default":
                assert told[name].get(limit) == field.get(limit), (name, limit)


def test_every_field_of_the_models_is_described() -> None:
    for path, model in (("/api/productos", ListQuery), ("/api/eventos", EventQuery)):
        parameters = [field for field in OPENAPI["paths"][path]["get"]["parameters"] if "name" in field]
        told = {field["name"] for field in parameters}
        assert told == set(model.model_fields), path
        limits(model, {field["name"]: field["schema"] for field in parameters})
    for model in (NewProduct, ProductChange, StockMove, SaleLine, Sale):
        schema = OPENAPI["components"]["schemas"][model.__name__]
        assert set(schema["properties"]) == set(model.model_fields)
        assert schema["additionalProperties"] is False
        assert set(schema.get("required", [])) == set(model.model_json_schema().get("required", []))
        limits(model, schema["properties"])


def test_every_header_that_a_change_may_have_is_described() -> None:
    reading = (ROOT / "inventory_ws" / "web" / "reading.py").read_text()
    read = set(re.findall(r'request\.headers\.get(?:all)?\("([\w-]+)"', reading))
    assert read == {"Idempotency-Key", "X-Actor"}
    parameters = OPENAPI["components"]["parameters"]
    for path, methods in OPENAPI["paths"].items():
        for method, operation in methods.items():
            if "422" in operation["responses"]:  # a change
                references = [one["$ref"].rpartition("/")[2] for one in operation["parameters"] if "$ref" in one]
                told = {parameters[name]["name"] for name in references}
                assert read <= told, (path, method)


async def test_descriptions_and_their_page_need_no_token(dsn: str, aiohttp_client: Callable) -> None:
    host = web.Application()
    host.add_subapp("/inventario", create_app(dsn=dsn, authenticate=bearer("clave")))
    client = await aiohttp_client(host)
    for path in ("openapi.json", "asyncapi.json", "docs", "docs.js"):
        resp = await client.get(f"/inventario/{path}")
        assert resp.status == 200, path
    assert (await client.get("/inventario/api/productos")).status == 401


async def test_paths_include_the_prefix_of_a_host(dsn: str, aiohttp_client: Callable) -> None:
    host = web.Application()
    host.add_subapp("/inventario", create_app(dsn=dsn))
    client = await aiohttp_client(host)
    resp = await client.get("/inventario/openapi.json")
    description = await resp.json()
    base = urljoin(str(resp.url), description["servers"][0]["url"]).rstrip("/")
    assert base.endswith("/inventario")
    for path in ("/api/productos", "/api/eventos", "/api/salud", "/"):
        assert path in description["paths"]
        assert (await client.get(URL(base + path).relative())).status == 200


async def test_product_is_described_as_stored_and_as_created(client: TestClient) -> None:
    schemas = OPENAPI["components"]["schemas"]
    assert list(schemas["Product"]["properties"]) == schemas["Product"]["required"] == list(await create(client))
    for name in NewProduct.model_fields:
        row, new = (schemas[model]["properties"][name] for model in ("Product", "NewProduct"))
        for limit in ("type", "minimum", "maximum", "maxLength"):
            assert row.get(limit) == new.get(limit), name


async def test_examples_are_accepted(client: TestClient) -> None:
    product = await create(client)
    for path, methods in OPENAPI["paths"].items():
        for method, operation in methods.items():
            if body := operation.get("requestBody"):
                url = path.replace("{id}", str(product["id"]))
                for kind, content in body["content"].items():
                    example = content["example"]
                    data = json.dumps(example) if kind == "application/json" else example
                    resp = await client.request(method, url, data=data, headers={"Content-Type": kind})
                    assert str(resp.status) in operation["responses"], await resp.text()
                    assert resp.status in (200, 201), await resp.text()


async def test_answers_have_what_is_described_and_no_more(client: TestClient) -> None:
    product = {"nombre": "Teclado", "precio": 64.9, "stock": 3}
    one, old = "/api/productos/1", {"If-Match": '"2024-01-30T10:00:00.000Z"'}
    csv = {"data": "nombre,precio\nRatón,1\n", "headers": {"Content-Type": "text/csv"}}
    asked = set()
    for method, url, options in (
        ("post", "/api/productos", {"json": product}),
        ("post", "/api/productos", {"json": {"precio": -1}}),
        ("post", "/api/productos", csv),
        ("post", "/api/productos", csv | {"data": "nombre,precio\nRatón,1.299\n"}),
        ("post", "/api/productos?ensayo=1", csv),
        ("post", "/api/productos?ensayo=1", csv | {"data": "a,b\nRatón,x\n"}),
        ("post", "/api/productos?filas=validas", csv | {"data": "nombre,precio\nRatón,x\n"}),
        ("post", "/api/productos", csv | {"headers": csv["headers"] | {"Idempotency-Key": "k"}}),
        ("post", "/api/importaciones/k/deshacer", {}),
        ("post", "/api/importaciones/otra/deshacer", {}),
        ("get", "/api/productos", {}),
        ("get", "/api/productos.csv", {}),
        ("get", "/api/productos?limit=x", {}),
        ("get", one, {}),
        ("get", "/api/productos/9", {}),
        ("put", one, {"json": product | {"precio": 2}}),
        ("patch", one, {"json": {"stock": 2}}),
        ("patch", one, {"json": {"stock": 1}, "headers": old}),
        ("post", f"{one}/stock", {"json": {"delta": -1, "motivo": "venta"}}),
        ("post", f"{one}/stock", {"json": {"delta": -9}}),
        ("post", "/api/stock", {"json": {"movimientos": [{"id": 1, "delta": -1}, {"id": 2, "delta": 2}]}}),
        ("post", "/api/stock", {"json": {"movimientos": [{"id": 1, "delta": -9}]}}),
        ("post", "/api/stock", {"json": {"movimientos": [{"id": 1, "delta": -9}, {"id": 9, "delta": 1}]}}),
        ("delete", one, {"headers": old}),
        ("post", f"{one}/restaurar", {}),
        ("delete", one, {}),
        ("post", f"{one}/restaurar", {}),
        ("post", "/api/productos/9/restaurar", {}),
        ("get", "/api/eventos", {}),
        ("get", "/api/salud", {}),
        ("get", "/api/vivo", {}),
    ):
        resp = await client.request(method, url, **options)
        path = re.sub(r"/\d+", "/{id}", url.partition("?")[0])
        path = re.sub("/importaciones/[^/]+", "/importaciones/{clave}", path)
        asked.add((path, method))
        response = OPENAPI["paths"][path][method]["responses"][str(resp.status)]
        name = response["$ref"].rpartition("/")[2]
        if name == "Export":
            assert resp.content_type == "text/csv"
            continue
        schema = OPENAPI["components"]["responses"][name]["content"]["application/json"]["schema"]
        assert differences(OPENAPI, schema, await resp.json()) == [], (method, url)
    assert asked == {
        (path, method) for path, methods in OPENAPI["paths"].items() for method in methods if "/api" in path
    }


@pytest.mark.slow
def test_schemathesis_finds_no_difference(service: Callable, psql: Callable) -> None:  # noqa: F811
    psql("INSERT INTO productos (nombre, precio, stock) SELECT 'Cable', 1, 5 FROM generate_series(1, 5)")
    command = [sys.executable, "-W", "ignore", "-m", "schemathesis.cli", *SCHEMATHESIS, f"{service().url}/openapi.json"]
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks"}
    found = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60 * PATIENCE
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Tested: 17" in found.stdout, found.stdout
