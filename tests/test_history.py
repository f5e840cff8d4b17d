"""A position counts in one history: through dumps, copies, failovers, restarts and cuts."""

import asyncio
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from psycopg2.extensions import make_dsn

from inventory_ws import Lost, create_app, watch
from inventory_ws.live.log import LOG
from inventory_ws.pg.database import Database
from inventory_ws.pg.errors import Unavailable

from .conftest import PRODUCT, create, healthy, settled
from .reliability.killed import data_folder, serving
from .test_stream import ids, resume
from .tools.cluster import Cluster
from .tools.guide import GUIDE
from .tools.markdown import blocks
from .tools.screen import agree, run, shown
from .tools.service import free_port

NUMBERS = count()
Serve = Callable[[str], Awaitable[TestClient]]
INSERT = "INSERT INTO productos (nombre, precio) VALUES ('psql', 1)"


@pytest.fixture
def serve(aiohttp_client: Callable[..., Awaitable[TestClient]]) -> Serve:
    """Starts an instance of the service on a database."""

    async def serve(dsn: str) -> TestClient:
        return await aiohttp_client(create_app(dsn=dsn))

    return serve


@pytest.fixture(scope="module")
def empty(folder: Path) -> Iterator[Path]:
    """The data of a cluster with an empty database, to be put into others."""
    place = folder / f"empty{next(NUMBERS)}"  # another one for each module that imports this
    with Cluster(place) as cluster:
        cluster.create()
        cluster.stop()
        yield place / "cluster"


@pytest.fixture
def cluster(folder: Path, empty: Path) -> Iterator[Cluster]:
    """A PostgreSQL of the test's own."""
    with Cluster(folder / f"p{next(NUMBERS)}") as cluster:
        cluster.put_back(empty)
        cluster.start()
        yield cluster


@pytest.fixture
def standby(folder: Path, cluster: Cluster) -> Iterator[Cluster]:
    """A standby of it."""
    with Cluster(folder / f"s{next(NUMBERS)}") as standby:
        standby.follow(cluster)
        standby.start()
        yield standby


async def test_primary_that_returns_as_a_standby_answers_nothing(serve: Serve, cluster: Cluster) -> None:
    """As an old one does behind a balancer, whose last changes the new primary may not have."""
    client = await serve(cluster.dsn)
    again = {"json": PRODUCT, "headers": {"Idempotency-Key": "a"}}
    assert (await client.post("/api/productos", **again)).status == 201
    cluster.stop()
    (cluster.folder / "cluster" / "standby.signal").touch(0o666)
    cluster.start()
    for _ in range(3):
        assert (await client.get("/api/productos/1")).status == 503
        assert (await client.post("/api/productos", **again)).status == 503
        resp = await client.get("/api/salud")
        assert (resp.status, (await resp.json())["data"]["database"]) == (503, False)
    cluster.promote()
    await healthy(client)
    resp = await client.post("/api/productos", **again)
    assert (resp.status, resp.headers["Idempotency-Replayed"]) == (201, "true")


async def make(client: TestClient, number: int) -> None:
    """Makes so many events, and waits until the service has read them."""
    position = client.app[LOG].head
    for _ in range(number):
        await create(client)
    await settled(client, position + number)


async def honoured(client: TestClient, position: int, epoch: str) -> list[int] | None:
    """The events that one who comes back at the position is told at once; None where it is not recovered."""
    ws, welcome = await resume(client, position, epoch)
    try:
        if not welcome["recovered"]:
            return None
        log = await (await client.get(f"/api/eventos?after={position}")).json()
        return await ids(ws, len(log["data"]))
    finally:
        await ws.close()


async def renewed(client: TestClient, epoch: str) -> str:
    """Waits until the service has come to another epoch, and returns it."""
    async with asyncio.timeout(20):
        while client.app[LOG].epoch == epoch:
            await asyncio.sleep(0.01)
    return client.app[LOG].epoch


async def test_server_without_transaction_ids_is_no_refusal_of_a_value(cluster: Cluster) -> None:
    run(cluster.dsn, "ALTER SYSTEM SET autovacuum = off")  # it would give ids back
    cluster.stop()
    (status := cluster.folder / "cluster" / "pg_xact" / "07FD").write_bytes(bytes(1 << 18))
    status.chmod(0o666)
    cluster.run("pg_resetwal", "-x", "2145000000", "-D", "cluster")
    cluster.start()
    async with Database(cluster.dsn) as db:
        with pytest.raises(Unavailable, match="wraparound"):
            await db.fetch("SELECT pg_current_xact_id()")


@pytest.mark.slow
@pytest.mark.parametrize("running", [False, True])
async def test_positions_after_a_restored_dump(cluster: Cluster, serve: Serve, running: bool) -> None:
    where = ["-h", str(cluster.folder), "-U", "postgres", "-d", "inventario"]
    client = await serve(cluster.dsn)
    epoch = client.app[LOG].epoch
    await make(client, 3)
    cluster.run("pg_dump", *where, "-Fc", "-f", "dump")
    await make(client, 3)
    assert await honoured(client, 5, epoch) == [6]
    async with shown(client, 2) as screens:
        if running:
            cluster.run("pg_restore", *where, "--clean", "--if-exists", "--single-transaction", "dump")
            run(cluster.dsn, INSERT)  # somebody writes before the service has looked
            await renewed(client, epoch)
            await agree(screens, cluster.dsn)
            assert screens[0].closed == [1012]
            assert screens[0].recovered == [False, False]
    if not running:
        await client.close()
        cluster.run("dropdb", *where[:-2], "inventario")
        cluster.run("createdb", *where[:-2], "inventario")
        cluster.run("pg_restore", *where, "dump")
        run(cluster.dsn, INSERT)
        client = await serve(cluster.dsn)
    assert client.app[LOG].epoch != epoch
    assert await honoured(client, 2, epoch) == [3, 4]
    assert await honoured(client, 3, epoch) == [4]
    for lost in (4, 5, 6):
        assert await honoured(client, lost, epoch) is None
    assert await honoured(client, 4, client.app[LOG].epoch) == []


@pytest.mark.slow
async def test_list_of_a_dump_that_is_half_restored_is_loaded_again(cluster: Cluster, serve: Serve) -> None:
    where = ["-h", str(cluster.folder), "-U", "postgres", "-d", "inventario"]
    client = await serve(cluster.dsn)
    epoch = client.app[LOG].epoch
    await make(client, 3)
    cluster.run("pg_dump", *where, "-Fc", "-f", "dump")
    run(cluster.dsn, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    cluster.run("pg_restore", *where, "--section=pre-data", "dump")
    cluster.run("pg_restore", *where, "--data-only", "-t", "eventos", "-t", "eventos_epoca", "dump")
    async with asyncio.timeout(20):
        while run(cluster.dsn, "SELECT epoca::text FROM eventos_epoca") == [(epoch,)]:  # nobody has looked
            await asyncio.sleep(0.05)
    half = await (await client.get("/api/productos")).json()
    assert half["data"] == []
    cluster.run("pg_restore", *where, "--data-only", "-t", "productos", "dump")
    cluster.run("pg_restore", *where, "--section=post-data", "dump")
    await renewed(client, epoch)
    await healthy(client)
    assert await honoured(client, half["last_event_id"], half["epoch"]) is None


@pytest.mark.slow
async def test_positions_after_a_restored_folder(cluster: Cluster, serve: Serve, tmp_path: Path) -> None:
    client = await serve(cluster.dsn)
    epoch = client.app[LOG].epoch
    await make(client, 2)
    async with shown(client, 2) as screens:
        cluster.stop()
        cluster.keep(tmp_path / "copy")
        cluster.start()
        await healthy(client, 20)
        second = await renewed(client, epoch)
        await make(client, 3)
        await agree(screens, cluster.dsn)
        cluster.stop()
        cluster.put_back(tmp_path / "copy")
        cluster.start()
        run(cluster.dsn, INSERT, INSERT)
        await renewed(client, second)
        await agree(screens, cluster.dsn)
        for screen in screens:
            assert (screen.recovered, screen.closed) == ([False, False], [1012])
    assert await honoured(client, 2, epoch) == [3, 4]
    assert await honoured(client, 3, epoch) is None
    assert await honoured(client, 2, second) is None, "of an epoch that this history never had"


@pytest.mark.slow
async def test_positions_in_the_experiment_of_the_guide(tmp_path: Path) -> None:
    data, port, welcomes = data_folder(), free_port(), []
    keep, put_back = [block.text for block in blocks(GUIDE, "sh") if "DATOS" in block.text]
    keep = keep.replace("/home/ana/.local/share/inventory_ws", str(data))
    for number, step in enumerate((keep, f"DATOS={data}\n{put_back}", "")):
        async with serving(data, port) as service, service.session.ws_connect(f"{service.url}/ws") as ws:
            await ws.receive_json()
            for _ in range(3):
                async with service.session.post(f"{service.url}/api/productos", json=PRODUCT) as resp:
                    assert resp.status == 201
            await ws.send_json({"type": "PING"})
            while (message := await ws.receive_json(timeout=5))["type"] != "PONG" or message["last_event_id"] < 3:
                await asyncio.sleep(0.1)  # more than 20 a second are too many
                await ws.send_json({"type": "PING"})
            welcomes.append(message)
            if number == 2:
                for before, recovered in zip(welcomes, (True, False, True), strict=True):
                    query = {"last_event_id": str(before["last_event_id"]), "epoch": before["epoch"]}
                    async with service.session.ws_connect(f"{service.url}/ws", params=query) as again:
                        assert (await again.receive_json())["recovered"] is recovered
        await asyncio.to_thread(subprocess.run, step, shell=True, check=True, cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("tail", [True, False])
async def test_positions_after_the_promotion_of_a_standby(
    cluster: Cluster, standby: Cluster, serve: Serve, tail: bool
) -> None:
    hosts = f"{cluster.folder},{standby.folder}"
    client = await serve(make_dsn(cluster.dsn, host=hosts, target_session_attrs="read-write"))
    epoch = client.app[LOG].epoch
    await make(client, 3)
    await replayed(standby, cluster)
    async with shown(client, 2) as screens:
        if tail:
            await make(client, 2)
            await replayed(standby, cluster)
        else:
            run(standby.dsn, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
            async with asyncio.timeout(10):
                while run(cluster.dsn, "SELECT count(*) FROM pg_stat_replication") != [(0,)]:
                    await asyncio.sleep(0.05)
            await make(client, 2)
        await agree(screens, cluster.dsn)
        cluster.stop(signal.SIGQUIT)
        standby.promote()
        run(standby.dsn, INSERT)  # somebody writes before the service has looked
        await renewed(client, epoch)
        await agree(screens, standby.dsn)
        ((new,),) = run(standby.dsn, "SELECT max(id) FROM eventos")
        for screen in screens:
            assert screen.closed == ([] if tail else [1012])
            assert screen.recovered == ([False] if tail else [False, False])
            assert screen.told == ([4, 5, new] if tail else [4, 5])
    assert await honoured(client, 3, epoch) == ([4, 5, new] if tail else [new])
    for position in (4, 5):
        assert await honoured(client, position, epoch) == ([*range(position + 1, 6), new] if tail else None)


async def replayed(standby: Cluster, primary: Cluster) -> None:
    """Waits until the standby has all that its primary has committed. Before that, a table may not be there to be asked."""
    ((position,),) = run(primary.dsn, "SELECT pg_current_wal_flush_lsn()")
    async with asyncio.timeout(10):
        while run(standby.dsn, f"SELECT coalesce(pg_last_wal_replay_lsn() >= '{position}', false)") != [(True,)]:
            await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_restart_of_postgresql_keeps_positions(cluster: Cluster, serve: Serve, how: signal.Signals) -> None:
    client = await serve(cluster.dsn)
    epochs = [client.app[LOG].epoch]
    async with shown(client, 2) as screens:
        for number in range(3):
            await make(client, 2)
            cluster.stop(how)
            cluster.start()
            await renewed(client, epochs[-1])
            await healthy(client, 20)
            epochs.append(client.app[LOG].epoch)
            if number == 1:
                run(cluster.dsn, INSERT)
        await agree(screens, cluster.dsn)
        for screen in screens:
            assert (screen.recovered, screen.closed) == ([False], [])
            assert sorted(set(screen.told)) == screen.told
            assert screen.epoch == epochs[-1]
    for number, epoch in enumerate(epochs[:-1]):
        assert await honoured(client, 1, epoch) == [
            event for (event,) in run(cluster.dsn, "SELECT id FROM eventos WHERE id > 1 ORDER BY id")
        ], number


async def test_restart_of_an_instance_keeps_positions(dsn: str, serve: Serve) -> None:
    first, second = await serve(dsn), await serve(dsn)
    async with shown(second) as screens:
        await make(first, 3)
        epoch = first.app[LOG].epoch
        await first.close()
        await make(second, 2)
        first = await serve(dsn)
        assert await honoured(first, 2, epoch) == [3, 4, 5]
        await make(first, 1)
        await agree(screens, dsn)
        assert (screens[0].recovered, screens[0].closed) == ([False], [])
    assert first.app[LOG].epoch == second.app[LOG].epoch == epoch


async def test_fifty_lost_listening_connections_keep_positions(dsn: str, serve: Serve) -> None:
    client = await serve(dsn)
    epoch = client.app[LOG].epoch
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with shown(client, 2) as screens:
        for _ in range(50):
            run(dsn, cut, INSERT)
            await asyncio.sleep(0.02)
        await agree(screens, dsn)
        for screen in screens:
            assert (screen.recovered, screen.closed) == ([False], [])
            assert screen.told == [event for (event,) in run(dsn, "SELECT id FROM eventos ORDER BY id")]
    assert client.app[LOG].epoch == epoch


ELSEWHERE = "UPDATE eventos_epoca SET lugar = '{elsewhere}'"


async def test_epoch_begun_by_another_instance_is_adopted(
    dsn: str, serve: Serve, psql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inventory_ws.live.feed.POLL", 60)
    monkeypatch.setattr("inventory_ws.pg.connection.Connection.wait_for_notification", lambda _: asyncio.sleep(60))
    client = await serve(dsn)
    await make(client, 2)
    psql(ELSEWHERE)
    ((_, epoch, _),) = psql("SELECT * FROM eventos_estado()")
    assert client.app[LOG].epoch != epoch
    assert await honoured(client, 1, epoch) == [2]
    assert client.app[LOG].epoch == epoch


@pytest.mark.parametrize(
    "loss",
    [
        ("UPDATE eventos SET mensaje = (SELECT mensaje FROM eventos WHERE id = 1) WHERE id = 3",),
        ("TRUNCATE productos",),
        ("TRUNCATE eventos",),
        ("BEGIN; CREATE TABLE otra AS TABLE eventos; DROP TABLE eventos; ALTER TABLE otra RENAME TO eventos; COMMIT",),
    ],
)
@pytest.mark.parametrize("written", [False, True])
async def test_log_without_its_end_makes_every_client_reload(
    dsn: str, serve: Serve, psql: Callable, loss: tuple[str], written: bool
) -> None:
    client = await serve(dsn)
    await make(client, 3)
    epoch = client.app[LOG].epoch
    async with shown(client) as screens:
        psql("; ".join([*loss, *[INSERT] * written]))
        await renewed(client, epoch)
        await agree(screens, dsn)
        assert (screens[0].recovered, screens[0].closed) == ([False, False], [1012])
    for position in range(4):
        assert await honoured(client, position, epoch) is None
    assert await honoured(client, client.app[LOG].head, client.app[LOG].epoch) == []


async def test_former_epochs_are_removed_with_the_log(attentive: None, dsn: str, serve: Serve, psql: Callable) -> None:
    client = await serve(dsn)
    epochs = [client.app[LOG].epoch]
    for _ in range(3):
        await make(client, 2)
        psql(ELSEWHERE)
        epochs.append(await renewed(client, epochs[-1]))
    psql("SELECT eventos_podar(NULL, 2)")
    assert psql("SELECT anteriores FROM eventos_epoca") == [({epochs[1]: 4, epochs[2]: 6},)]
    client = await serve(dsn)
    assert await honoured(client, 4, epochs[1]) == [5, 6]
    assert await honoured(client, 2, epochs[0]) is None


async def test_list_has_the_epoch_of_its_position(
    attentive: None, client: TestClient, psql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(client, 2)
    log, epoch = client.app[LOG], client.app[LOG].epoch
    fetch = log._db.fetch

    async def slow(*args: Any, **options: Any) -> Any:
        rows = await fetch(*args, **options)
        psql(ELSEWHERE)
        monkeypatch.undo()
        await renewed(client, epoch)
        return rows

    monkeypatch.setattr(log._db, "fetch", slow)
    answer = await (await client.get("/api/productos")).json()
    assert (answer["last_event_id"], answer["epoch"]) == (2, epoch)


async def test_watch_continues_in_a_new_epoch_and_raises_lost_without_its_position(
    attentive: None, dsn: str, serve: Serve, psql: Callable
) -> None:
    client = await serve(dsn)
    await make(client, 1)
    epoch = client.app[LOG].epoch
    events = watch(client.app, last_event_id=0, epoch=epoch)
    assert (await anext(events)).epoch == epoch
    psql(ELSEWHERE)
    new = await renewed(client, epoch)
    await make(client, 1)
    event = await anext(events)
    assert (event.id, event.epoch) == (2, new)
    psql("TRUNCATE productos")
    with pytest.raises(Lost):
        await anext(events)
