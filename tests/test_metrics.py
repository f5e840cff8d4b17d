"""The metrics: what Prometheus is told, by its own parser, and that the numbers are those of what has happened."""

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path

import prometheus_client
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from inventory_ws import bearer, create_app
from inventory_ws.live.log import LOG
from inventory_ws.metrics import Metrics

from .conftest import PRODUCT, Connect, Listen, create, error, healthy, receive, settled, waits

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
README = Path(__file__).parents[1].joinpath("README.md").read_text()


async def scraped(
    client: TestClient, path: str = "/metrics", headers: dict[str, str] | None = None
) -> dict[str, Metric]:
    resp = await client.get(path, headers=headers)
    assert resp.status == 200, await resp.text()
    parse = openmetrics if resp.content_type == "application/openmetrics-text" else plain
    return {metric.name.removeprefix("inventory_ws_"): metric for metric in parse(await resp.text())}


def value(metric: Metric, suffix: str = "", **labels: str) -> float:
    return next(
        (s.value for s in metric.samples if s.name == metric.name + suffix and labels.items() <= s.labels.items()), 0
    )


async def test_changes_are_counted_by_kind_and_outcome(client: TestClient, listen: Listen) -> None:
    ws = await listen()
    key = {"Idempotency-Key": "a"}
    for _ in range(2):
        assert (await client.post("/api/productos", json={"nombre": "Cable", "precio": 1}, headers=key)).status == 201
    await create(client)
    await error(await client.post("/api/productos/1/stock", json={"delta": -1}), 409)
    await error(await client.post("/api/stock", json={"movimientos": [{"id": 9, "delta": 1}]}), 404)
    assert (
        await client.post("/api/productos", data="id,precio\n1,7\n", headers={"Content-Type": "text/csv"})
    ).status == 200
    await receive(ws, 3)
    await settled(client, 3)
    found = await scraped(client)
    assert {(s.labels["kind"], s.labels["outcome"]): s.value for s in found["changes"].samples} == {
        ("create_product", "made"): 2,
        ("create_product", "repeated"): 1,
        ("move_stock", "refused"): 1,
        ("sell", "refused"): 1,
        ("import_products", "made"): 1,
    }
    assert value(found["events_published"], "_total") == 3
    assert value(found["last_event_id"]) == 3
    assert (value(found["sockets"]), value(found["sockets_behind"]), value(found["feed_live"])) == (1, 0, 1)
    assert 1 <= value(found["publish_delay_seconds"], "_count") <= 6
    assert value(found["publish_delay_seconds"], "_sum") > 0


async def test_changes_that_share_a_commit_are_told(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inventory_ws.products.batching.BATCH_TIMEOUT", 60)  # on a busy machine, too
    await create(client)
    await asyncio.gather(*(create(client) for _ in range(29)))
    found = (await scraped(client))["commit_changes"]
    assert value(found, "_sum") == 30
    assert 1 < value(found, "_count") < 30
    assert value(found, "_bucket", le="+Inf") == value(found, "_count") > value(found, "_bucket", le="1.0") >= 0


async def test_request_that_is_answered_from_its_key_is_no_commit(client: TestClient) -> None:
    for _ in range(2):
        resp = await client.post("/api/productos", json=PRODUCT, headers={"Idempotency-Key": "1"})
        assert resp.status == 201, await resp.text()
    assert value((await scraped(client))["commit_changes"], "_count") == 1


async def test_sockets_behind_and_their_replays_are_told(client: TestClient, listen: Listen) -> None:
    await create(client)
    await settled(client, 1)
    await listen()
    async with client.app[LOG].replaying:  # as long as another socket is written to
        await listen("/ws?last_event_id=0")
        found = await scraped(client)
        health = (await (await client.get("/api/salud")).json())["data"]
    assert (value(found["sockets"]), value(found["sockets_behind"]), value(found["replays"], "_total")) == (2, 1, 1)
    assert (health["sockets"], health["behind"]) == (2, 1)


async def test_waits_for_a_connection_are_counted(
    dsn: str, aiohttp_client: Callable, connect: Connect, psql: Callable
) -> None:
    client = await aiohttp_client(create_app(dsn=dsn, pool_size=1))
    await create(client)
    found = (await scraped(client))["connection_waits"]
    before = {sample.labels["lane"]: sample.value for sample in found.samples}
    assert before.keys() == {"health", "quick", "change", "long"}
    with connect().cursor() as cursor:
        cursor.execute("BEGIN; SELECT FROM productos FOR UPDATE")
        first = asyncio.create_task(client.post("/api/productos/1/stock", json={"delta": 1}))
        await waits(psql, "Lock")
        second = asyncio.create_task(client.post("/api/stock", json={"movimientos": [{"id": 1, "delta": 1}]}))
        async with asyncio.timeout(10):
            while value((await scraped(client))["connection_waits"], "_total", lane="change") == before["change"]:
                await asyncio.sleep(0.01)
        cursor.execute("COMMIT")
    assert [resp.status for resp in await asyncio.gather(first, second)] == [200, 200]


async def test_loss_of_postgresql_is_counted(client: TestClient, psql: Callable) -> None:
    psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    async with asyncio.timeout(10):
        while not value((await scraped(client))["postgresql_losses"], "_total"):
            await asyncio.sleep(0.01)
    await healthy(client)


async def test_names_follow_the_conventions_and_stand_in_the_readme(client: TestClient) -> None:
    await create(client)
    for headers in ({}, OPENMETRICS):
        found = await scraped(client, headers=headers)
        ours = {name: metric for name, metric in found.items() if not name.startswith("process_")}
        assert all(metric.documentation for metric in ours.values())
        assert all(re.fullmatch("[a-z_]+", name) for name in ours)
        told = {metric.name + "_total" * (metric.type == "counter") for metric in ours.values()}
        told = {name + "_info" * (name == "inventory_ws") for name in told}
        assert {name.removesuffix("_info") for name in told} == {
            name.removesuffix("_info") for name in re.findall(r"^\| `(inventory_ws_\w+)", README, re.MULTILINE)
        }


async def test_who_may_read_may_read_the_metrics(dsn: str, aiohttp_client: Callable) -> None:
    client = await aiohttp_client(create_app(dsn=dsn, authenticate=bearer("clave")))
    await error(await client.get("/metrics"), 401)
    assert "sockets" in await scraped(client, headers={"Authorization": "Bearer clave"})
    assert "sockets" in await scraped(
        await aiohttp_client(create_app(dsn=dsn, authenticate=bearer("clave", open_reads=True)))
    )


async def test_each_application_has_its_own_metrics(dsn: str, aiohttp_client: Callable) -> None:
    """Two inventories in a host with a registry of its own."""
    before = prometheus_client.generate_latest()
    host, registry = web.Application(), CollectorRegistry()
    inventories = [create_app(dsn=dsn) for _ in range(2)]
    for number, inventory in enumerate(inventories):
        host.add_subapp(f"/{number}/", inventory)
    registry.register(Metrics(inventories[1]))
    client = await aiohttp_client(host)
    async with client.ws_connect("/1/ws") as ws:
        assert (await client.post("/1/api/productos", json=PRODUCT)).status == 201
        await receive(ws, 2)
        first, second = await scraped(client, "/0/metrics"), await scraped(client, "/1/metrics")
        assert [value(each["sockets"]) for each in (first, second)] == [0, 1]
        assert [len(each["changes"].samples) for each in (first, second)] == [0, 1]
        assert registry.get_sample_value("inventory_ws_sockets") == 1
    assert re.findall(b"^\\w+", before, re.MULTILINE) == re.findall(
        b"^\\w+", prometheus_client.generate_latest(), re.MULTILINE
    )


async def test_without_the_extra_there_are_no_metrics(
    dsn: str, aiohttp_client: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "inventory_ws.metrics")
    client = await aiohttp_client(create_app(dsn=dsn))
    assert (await error(await client.get("/metrics"), 404))["code"] == "ruta_no_encontrada"
    await create(client)
