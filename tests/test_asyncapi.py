"""What the service says of its socket is so: by AsyncAPI's rules, and by the messages that really go over it."""

import json
import re
from collections.abc import Callable

import pytest
from aiohttp.test_utils import TestClient
from jsonschema import Draft202012Validator

from inventory_ws.live.stream import Subscription

from .conftest import create, receive, settled
from .test_main import ROOT
from .test_openapi import OPENAPI
from .test_readme import README
from .tools.schemas import differences

ASYNCAPI = json.loads((ROOT / "client" / "asyncapi.json").read_text())
MESSAGES = ASYNCAPI["components"]["messages"]


def faults(message: dict) -> list[str]:
    """What the message's own description has against it."""
    return differences(ASYNCAPI, MESSAGES[message["type"]]["payload"], message)


def named(operation: dict) -> set[str]:
    return {message["$ref"].rpartition("/")[2] for message in operation["messages"]}


@pytest.mark.filterwarnings('ignore:Field name "schema":UserWarning')
def test_description_is_valid() -> None:
    """By asyncapi3, which knows its structure, and neither where references lead nor JSON Schema."""
    from asyncapi3.models.asyncapi import AsyncAPI3

    AsyncAPI3.model_validate(ASYNCAPI)
    for message in MESSAGES.values():
        Draft202012Validator.check_schema(message["payload"])
    # What Modelina makes of a message has this name, or AnonymousSchema_57.
    assert {message["payload"]["title"].upper() for message in MESSAGES.values()} == {
        name.replace("_", "") for name in MESSAGES
    }
    with pytest.raises(ValueError, match="action"):
        AsyncAPI3.model_validate({**ASYNCAPI, "operations": {"ws_told": {"action": "publish"}}})


@pytest.mark.parametrize("name", ASYNCAPI["channels"])
async def test_every_message_matches_the_description(client: TestClient, psql: Callable, name: str) -> None:
    channel, operations = ASYNCAPI["channels"][name], ASYNCAPI["operations"]
    ws = await client.ws_connect(channel["address"])
    heard = await receive(ws, 1)
    await create(client, descripcion=None)
    cause = json.dumps({"actor": "ana", "motivo": "rebajas"})
    psql(f"UPDATE productos SET precio = 2, stock = 3 WHERE set_config('inventory_ws.causa', '{cause}', true) <> ''")
    await client.delete("/api/productos/1")
    heard += await receive(ws, 3)
    assert heard[2].keys() == MESSAGES["PRODUCT_UPDATED"]["payload"]["properties"].keys()
    asked = [MESSAGES[kind]["examples"][0]["payload"] for kind in ("PING", "SUBSCRIBE", "UNSUBSCRIBE")]
    for message in [*asked, {"type": "NOTHING"}]:
        await ws.send_json(message)
    heard += await receive(ws, 4)
    assert [fault for message in [*heard, *asked] for fault in faults(message)] == []
    assert {message["type"] for message in [*heard, *asked]} == set(MESSAGES)
    assert named({"messages": channel["messages"].values()}) == set(channel["messages"]) == set(MESSAGES)
    told, ask = operations[f"{name}_told"], operations[f"{name}_asked"]
    for operation, messages in ((told, heard[:4]), (ask, asked), (ask["reply"], heard[4:])):
        assert named(operation) == {message["type"] for message in messages}
    assert [message["type"] for message in heard[-4:]] == ["PONG", "SUBSCRIBED", "SUBSCRIBED", "ERROR"]
    assert faults({**heard[1], "data": {}})
    assert faults({**heard[-4], "more": 1})


def test_examples_match_their_schemas_and_references_resolve() -> None:
    for name, message in MESSAGES.items():
        assert message["name"] == name
        for example in message["examples"]:
            assert example["payload"]["type"] == name
            assert faults(example["payload"]) == []

    def references(part: object) -> list[str]:
        if isinstance(part, dict):
            return [part["$ref"]] if "$ref" in part else [name for value in part.values() for name in references(value)]
        return [name for value in part for name in references(value)] if isinstance(part, list) else []

    found = references(ASYNCAPI)
    assert len(found) > 40
    for reference in found:
        at = ASYNCAPI
        for name in reference.removeprefix("#/").split("/"):
            at = at[name]


async def test_both_descriptions_have_the_same_product_and_version(client: TestClient) -> None:
    for name, schema in ASYNCAPI["components"]["schemas"].items():
        assert schema == OPENAPI["components"]["schemas"][name], name
    assert ASYNCAPI["info"]["version"] == OPENAPI["info"]["version"]
    resp = await client.get("/asyncapi.json")
    assert (resp.content_type, await resp.json()) == ("application/json", ASYNCAPI)


async def test_query_parameters_match_the_description(client: TestClient) -> None:
    described = ASYNCAPI["components"]["channelBindings"]["socket"]["ws"]["query"]
    assert described["properties"].keys() == {"last_event_id", "epoch", *Subscription.model_fields}
    epoch = (await (await client.get("/api/productos")).json())["epoch"]
    for name in ("uno", "dos", "tres"):
        await create(client, nombre=name)
    await settled(client, 3)
    query = {"last_event_id": 1, "epoch": epoch, "productos": "1,3", "eventos": "PRODUCT_CREATED"}
    assert list(Draft202012Validator(described).iter_errors(query)) == []
    ws = await client.ws_connect("/ws", params=query)
    welcome, event = await receive(ws, 2)
    assert (welcome["recovered"], event["id"]) == (True, 3)


def test_close_codes_match_the_readme() -> None:
    (line,) = re.findall(r"\*\*Close codes:\*\*(.*?)\n- ", README, re.DOTALL)
    said = set(re.findall(r"\b(1\d\d\d|4\d\d\d)\b", line))
    assert set(re.findall(r"^- (\d{4}):", ASYNCAPI["info"]["description"], re.MULTILINE)) == said


SPANISH = "El niño compró aquí un teclado español. " * 250


@pytest.mark.parametrize(
    ("text", "other", "number"), [("\x01" * 10_000, "\x02" * 10_000, 1), (SPANISH, SPANISH[1:], 0)]
)
async def test_largest_message_is_described(client: TestClient, text: str, other: str, number: int) -> None:
    """A text of 10,000 characters, of six bytes each in JSON if they are control characters, in the place of another one."""
    ws = await client.ws_connect("/ws")
    await receive(ws, 1)
    await create(client, nombre="a" + text[:254], descripcion=text, precio=1, stock=1)
    await receive(ws, 1)
    change = {"nombre": "b" + other[:254], "descripcion": other, "precio": 9999999999.99, "stock": 2**31 - 1}
    resp = await client.patch("/api/productos/1", json=change)
    assert resp.status == 200, await resp.text()
    largest = len((await ws.receive_str(timeout=10)).encode())
    (sizes,) = re.findall(r"como mucho unos (\d+) KB en español, y unos (\d+) KB", ASYNCAPI["info"]["description"])
    assert int(sizes[number]) - 2 < largest / 1000 < int(sizes[number])
    assert f"at most {sizes[number]} KB" in README
