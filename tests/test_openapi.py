"""What the service says of itself is so: by the public validator, and by requests made from it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from urllib.parse import urljoin

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from openapi_spec_validator import OpenAPIV31SpecValidator
from yarl import URL

from inventory_ws import __version__, create_app, handlers
from inventory_ws.openapi import OPENAPI, OPERATIONS
from inventory_ws.product import EventPage, NewProduct, Page, ProductChange, StockMove
from inventory_ws.security import bearer

from .conftest import create
from .test_main import ROOT, service  # noqa: F401

FILES = {handlers.client_file, handlers.docs}
SCHEMATHESIS = [
    *("--config-file", str(ROOT / "tests" / "schemathesis.toml"), "run", "--seed", "1"),
    *("--max-examples", "30", "--workers", "1", "--generation-database", "none", "--no-color"),
]


def described(app: web.Application) -> dict[str, dict]:
    return json.loads(app[OPENAPI])


def test_every_route_is_described_and_nothing_else() -> None:
    app = create_app(dsn="")
    routes = [route for route in app.router.routes() if route.method != "HEAD" and route.resource.canonical]
    unsaid = {route.handler for route in routes} - set(OPERATIONS) - FILES
    assert {handler.__name__ for handler in unsaid} == {"openapi"}
    told = {(path, method) for path, methods in described(app)["paths"].items() for method in methods}
    assert told == {(route.resource.canonical, route.method.lower()) for route in routes if route.handler in OPERATIONS}
    assert set(OPERATIONS) <= {route.handler for route in routes}


async def test_description_is_valid_and_of_this_version(client: TestClient) -> None:
    resp = await client.get("/openapi.json")
    assert resp.content_type == "application/json"
    description = await resp.json()
    assert list(OpenAPIV31SpecValidator(description).iter_errors()) == []
    assert (description["openapi"], description["info"]["version"]) == ("3.1.0", __version__)
    description["paths"]["/"]["get"]["responses"] = []
    assert list(OpenAPIV31SpecValidator(description).iter_errors()) != []


def test_every_field_of_the_models_is_told() -> None:
    description = described(create_app(dsn=""))
    for path, model in (("/api/productos", Page), ("/api/eventos", EventPage)):
        told = {field["name"] for field in description["paths"][path]["get"]["parameters"] if "name" in field}
        assert told >= set(model.model_fields), path
    for model in (NewProduct, ProductChange, StockMove):
        schema = description["components"]["schemas"][model.__name__]
        assert set(schema["properties"]) == set(model.model_fields)
        assert schema["additionalProperties"] is False


async def test_descriptions_and_their_page_need_no_token(dsn: str, aiohttp_client: Callable) -> None:
    host = web.Application()
    host.add_subapp("/inventario", create_app(dsn=dsn, authenticate=bearer("clave")))
    client = await aiohttp_client(host)
    for path in ("openapi.json", "asyncapi.json", "docs", "docs.js"):
        resp = await client.get(f"/inventario/{path}")
        assert resp.status == 200, path
    assert (await client.get("/inventario/api/productos")).status == 401


async def test_paths_are_right_under_the_prefix_of_a_host(dsn: str, aiohttp_client: Callable) -> None:
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


async def test_product_is_described_as_it_is_and_as_it_is_made(client: TestClient) -> None:
    schemas = described(client.app)["components"]["schemas"]
    assert list(schemas["Product"]["properties"]) == schemas["Product"]["required"] == list(await create(client))
    for name in NewProduct.model_fields:
        row, new = (schemas[model]["properties"][name] for model in ("Product", "NewProduct"))
        for limit in ("type", "minimum", "maximum", "maxLength"):
            assert row.get(limit) == new.get(limit), name


async def test_examples_are_accepted(client: TestClient) -> None:
    product = await create(client)
    for path, methods in described(client.app)["paths"].items():
        for method, operation in methods.items():
            if body := operation.get("requestBody"):
                example = body["content"]["application/json"]["example"]
                url = path.replace("{id}", str(product["id"]))
                resp = await client.request(method, url, json=example)
                assert resp.status in (200, 201), await resp.text()


@pytest.mark.slow
def test_schemathesis_finds_no_difference(service: Callable, psql: Callable) -> None:  # noqa: F811
    psql("INSERT INTO productos (nombre, precio, stock) SELECT 'Cable', 1, 5 FROM generate_series(1, 5)")
    command = [sys.executable, "-W", "ignore", "-m", "schemathesis.cli", *SCHEMATHESIS, f"{service().url}/openapi.json"]
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks"}
    found = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Tested: 11" in found.stdout, found.stdout
