"""GET /openapi.json: what the service says of its HTTP side, made from its routes and its models."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from pydantic import BaseModel

import inventory_ws

from . import handlers, sockets
from .product import EventPage, NewProduct, Page, ProductChange, StockMove, encode
from .security import SAFE_METHODS

Schema = dict[str, Any]
Model = type[BaseModel]

OPENAPI = web.AppKey("OPENAPI", bytes)

# What is to be said of a field, and what the models leave to validators, as near as a schema comes to it. Not that a
# price has two decimals: by the usual validators, which divide binary numbers, 0.29 is no multiple of 0.01.
FIELDS: dict[str, Schema] = {
    "nombre": {
        "description": "Con algo visible; se guarda sin los espacios de los extremos.",
        "pattern": r"^[^\u0000]*[^\s\u0000-\u001f\u007f-\u00a0\u00ad][^\u0000]*$",
    },
    "descripcion": {"type": ["string", "null"], "pattern": r"^[^\u0000]*$"},
    "precio": {"description": "Con dos decimales como mucho.", "maximum": 9999999999.99},
    "delta": {"description": "Las unidades que entran o, si es negativo, salen.", "not": {"const": 0}},
    "motivo": {"description": "Por qué; lo lleva el evento.", "pattern": r"^[^\u0000]*$"},
    "limit": {"description": "Cuántos como mucho."},
    "after": {"description": "Solo los de `id` mayor que este."},
    "producto": {"description": "Solo los de este producto."},
    "at": {"description": "Como eran después de este evento; 400 si el registro ya no lo sabe o no llega tan lejos."},
    "q": {
        "description": "Solo los que llevan cada palabra en el nombre o la descripción, en cualquier orden; ni mayúsculas ni acentos cuentan.",
        "pattern": r"^[^\u0000]*$",
    },
}


class Operation(NamedTuple):
    """What is to be said of a handler; the rest follows from its routes and its models."""

    summary: str
    answer: str
    others: tuple[int, ...] = ()  # statuses, beside those that follow
    query: Model | None = None
    body: Model | None = None
    example: object = None
    status: int = 200


NEW = {"nombre": "Teclado español", "precio": 64.9, "stock": 30}
OPERATIONS: dict[Handler, Operation] = {
    handlers.list_products: Operation("Los productos, por orden de id", "Products", (304,), Page),
    handlers.create_product: Operation("Crear un producto", "Created", (), None, NewProduct, NEW, 201),
    handlers.get_product: Operation("Un producto", "Product", (304,)),
    handlers.update_product: Operation(
        "Cambiar los campos que se mandan", "Done", (412,), body=ProductChange, example={"precio": 59.5}
    ),
    handlers.delete_product: Operation("Eliminar un producto", "Done", (400, 412)),
    handlers.move_stock: Operation("Sacar o meter unidades", "Done", (409,), None, StockMove, {"delta": -3}),
    handlers.list_events: Operation("El registro de los cambios", "Events", (), EventPage),
    handlers.health: Operation("Si el servicio atiende", "Health"),
    handlers.index: Operation("La página, o el socket a quien lo pide", "Page", (101, 400, 403)),
    sockets.websocket: Operation("El socket", "101", (400, 403), status=101),
}


async def openapi(request: web.Request) -> web.Response:
    """GET /openapi.json"""
    return web.Response(body=request.app[OPENAPI], headers=handlers.JSON)


def describe(routes: Iterable[web.AbstractRoute], open_to_all: Collection[Handler]) -> bytes:
    """The description of the routes whose handlers stand in the table; HEAD is GET without the body."""
    told = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
    told["info"]["version"] = inventory_ws.__version__
    paths: Schema = {}
    for route in routes:
        path = (
            route.resource.canonical if route.resource else ""
        )  # also that of the bare prefix, which only leads to "/"
        if path and route.handler in OPERATIONS and route.method != hdrs.METH_HEAD:
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, path, route.handler in open_to_all)
    schemas = {model.__name__: _schema(model) for model in (NewProduct, ProductChange, StockMove)}
    schemas["ProductChange"]["minProperties"] = 1
    for field in schemas["ProductChange"]["properties"].values():
        field.pop("default", None)  # one that is left out keeps its value
    told["components"]["schemas"] |= schemas
    return encode({**told, "paths": paths}).encode()


def _operation(route: web.AbstractRoute, path: str, open_to_all: bool) -> Schema:
    summary, answer, others, query, body, example, status = OPERATIONS[route.handler]
    may_come = {
        400: query or body,
        401: not open_to_all,
        **dict.fromkeys((403, 422), route.method not in SAFE_METHODS),
        404: "{id}" in path,
        **dict.fromkeys((408, 413, 415), body),
        **dict.fromkeys((421, 503), True),
    }
    statuses = {*others, *(status for status, comes in may_come.items() if comes)}
    fields = _schema(query)["properties"] if query else {}
    told: Schema = {
        "operationId": route.handler.__name__ + "_patch" * (route.method == "PATCH"),
        "summary": summary,
        "parameters": [
            *[_ref("parameters", "id")] * ("{id}" in path),
            *({"name": name, "in": "query", "schema": field} for name, field in fields.items()),
            *(_ref("parameters", condition) for condition in (304, 412, 422) if condition in statuses),
        ],
        "responses": {status: _ref("responses", answer)}
        | {other: _ref("responses", other) for other in sorted(statuses)},
    }
    if body:
        content = {"schema": _ref("schemas", body.__name__), "example": example}
        told["requestBody"] = {"required": True, "content": {"application/json": content}}
    if open_to_all:
        told["security"] = []
    return told


def _ref(kind: str, name: str | int) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _schema(model: Model) -> Schema:
    """The model's schema without what pydantic takes from the code: titles, the docstring, None for what is left out."""
    schema = model.model_json_schema()
    for name, field in schema["properties"].items():
        field |= {**field.pop("anyOf", [{}])[0], **FIELDS.get(name, {})}
        del field["title"]
        if field.get("default", "") is None:
            del field["default"]
    return {key: value for key, value in schema.items() if key not in ("title", "description")}
