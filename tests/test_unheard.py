"""Whoever changes a product, the log knows; where it cannot know, the service says so."""

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from psycopg2.extensions import make_dsn

from inventory_ws import create_app
from inventory_ws.live.eventlog import prune_events
from inventory_ws.live.log import LOG
from inventory_ws.pg.database import DATABASE, Database
from inventory_ws.pg.schema import apply_schema, compare, find_faults, sql_file

from .conftest import PRODUCT, create, error, healthy, settled, waits
from .test_connections import no_standby
from .test_history import Serve, honoured, make, renewed, serve  # noqa: F401
from .test_past import live
from .tools.screen import agree, shown

EPOCH = "SELECT epoca FROM eventos_epoca"
REPLICA = "UPDATE eventos_epoca SET replica = true"

pytestmark = pytest.mark.usefixtures("attentive")


async def reason(client: TestClient) -> str:
    """Waits until the service is not in health, and returns what it says of it."""
    async with asyncio.timeout(10):
        while (resp := await client.get("/api/salud")).status == 200:
            await asyncio.sleep(0.02)
    return (await error(resp, 503))["data"]["reason"]


async def refused(dsn: str, remedy: str) -> None:
    """Sees that a start ends with one line that has the remedy."""
    runner = web.AppRunner(create_app(dsn=dsn))
    with pytest.raises((ValueError, PermissionError), match=remedy) as raised:
        await runner.setup()
    assert "\n" not in str(raised.value)


async def restarted(dsn: str) -> None:
    """Does what a start of the service does to its database."""
    async with Database(dsn, 1) as db:
        await apply_schema(db)
        await compare(db, always=True)
        assert await find_faults(db) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE productos DISABLE TRIGGER USER", "eventos_registrar de productos"),
        ("ALTER TABLE productos DISABLE TRIGGER zz_productos_version", "zz_productos_version"),
        ("ALTER TABLE eventos DISABLE TRIGGER ALL", "eventos_borrados de eventos"),
        ("ALTER TABLE productos ENABLE REPLICA TRIGGER eventos_registrar", "eventos_registrar"),
        ("DROP TRIGGER eventos_registrar ON productos", "eventos_registrar"),
        ("ALTER SEQUENCE eventos_id_seq CACHE 20", "CACHE"),
        (REPLICA, "eventos_registrar"),
    ],
)
async def test_what_a_start_repairs_is_reported_by_health(
    dsn: str,
    serve: Serve,  # noqa: F811
    psql: Callable,
    change: str,
    named: str,
) -> None:
    client = await serve(dsn)
    epoch, told = psql(EPOCH), client.app[LOG].epoch
    psql(change)
    assert named in await reason(client)
    await restarted(dsn)
    await healthy(client)
    assert (psql(EPOCH) == epoch) == ("CACHE" not in change), "nothing was changed unheard"
    if "CACHE" in change:
        await renewed(client, told)
    ws = await client.ws_connect("/ws")
    await ws.receive_json(timeout=5)
    await create(client)
    assert (await ws.receive_json(timeout=5))["type"] == "PRODUCT_CREATED"


async def test_comparison_that_waits_for_a_standby_keeps_no_fault_from_health(
    client: TestClient, psql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.app[DATABASE], "timeout", 0.5)
    async with no_standby(client, psql):
        psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        psql("UPDATE eventos_epoca SET revisado = NULL")
        await waits(psql, "SyncRep")
        psql("ALTER TABLE productos DISABLE TRIGGER USER")
        async with asyncio.timeout(10):
            while "eventos_registrar de productos" not in await (await client.get("/api/salud")).text():
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ("ALTER TABLE productos DISABLE TRIGGER USER", r"inventory-ws schema \| psql"),
        ("ALTER TABLE eventos ENABLE ROW LEVEL SECURITY", "ALTER ROLE servicio_unheard BYPASSRLS"),
    ],
)
async def test_what_the_role_cannot_repair_is_refused_at_the_start(
    dsn: str,
    serve: Serve,  # noqa: F811
    psql: Callable,
    change: str,
    remedy: str,
) -> None:
    psql("CREATE ROLE servicio_unheard LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    try:
        psql("GRANT SELECT, INSERT, UPDATE, DELETE ON productos TO servicio_unheard")
        psql("GRANT SELECT ON eventos, eventos_epoca TO servicio_unheard")
        service = make_dsn(dsn, user="servicio_unheard")
        client = await serve(service)
        psql(change)
        assert await reason(client)
        await client.close()
        await refused(service, remedy)
    finally:
        psql("DROP OWNED BY servicio_unheard; DROP ROLE servicio_unheard")


async def test_table_that_inherits_is_refused_at_the_start(dsn: str, psql: Callable) -> None:
    psql("CREATE TABLE otros () INHERITS (productos)")
    await refused(dsn, "ALTER TABLE otros NO INHERIT productos")


async def test_table_in_partitions_is_told_a_remedy_that_is_one(dsn: str, psql: Callable) -> None:
    psql(
        "ALTER TABLE productos RENAME TO enteros; CREATE TABLE productos (LIKE enteros INCLUDING ALL) PARTITION BY RANGE (id)"
    )
    psql("CREATE TABLE todos PARTITION OF productos DEFAULT")
    await refused(dsn, "^TRUNCATE y DETACH de todos no se oyen: haga de productos una tabla sin particiones$")


async def test_service_that_writes_as_a_replica_is_refused_at_the_start(dsn: str, psql: Callable) -> None:
    """As where a load has left it to the role or the database."""
    replica = make_dsn(dsn, options="-c session_replication_role=replica")
    await refused(replica, "SET session_replication_role = origin")
    psql(REPLICA)
    await restarted(replica)


async def test_table_in_the_place_of_another_is_shown_after_the_remedy(
    client: TestClient, dsn: str, psql: Callable
) -> None:
    await create(client)
    psql(
        """
        CREATE TABLE nueva (LIKE productos INCLUDING ALL); INSERT INTO nueva (nombre, precio) VALUES ('Nuevo', 2);
        ALTER TABLE productos RENAME TO vieja; ALTER TABLE nueva RENAME TO productos
        """
    )
    assert "eventos_registrar de productos" in await reason(client)
    await restarted(dsn)
    await healthy(client)
    assert (await create(client))["id"] == 2
    listed = (await (await client.get("/api/productos")).json())["data"]
    assert [product["nombre"] for product in listed] == ["Nuevo", PRODUCT["nombre"]]


async def test_schema_with_the_name_of_the_role_hides_no_inventory(dsn: str, psql: Callable) -> None:
    psql("CREATE SCHEMA AUTHORIZATION CURRENT_USER")
    await restarted(dsn)
    assert psql("SELECT schemaname FROM pg_tables WHERE tablename = 'productos'") == [("public",)]


async def test_event_trigger_that_forbids_what_is_not_needed_keeps_no_service_from_its_start(
    dsn: str,
    serve: Serve,  # noqa: F811
    psql: Callable,
) -> None:
    psql("CREATE FUNCTION nada() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'nada nuevo'; END$$")
    psql("CREATE EVENT TRIGGER nada ON sql_drop EXECUTE FUNCTION nada()")
    await restarted(dsn)
    psql("DROP EVENT TRIGGER nada; CREATE EVENT TRIGGER nada ON ddl_command_start EXECUTE FUNCTION nada()")
    await create(await serve(dsn))
    psql("UPDATE eventos_epoca SET esquema = 1")
    await refused(dsn, r"nada nuevo.*inventory-ws schema \| psql$")


async def test_rows_of_replication_are_heard_if_the_owner_chooses_it(
    client: TestClient, dsn: str, psql: Callable
) -> None:
    psql(REPLICA)
    await restarted(dsn)
    psql("SET session_replication_role = replica")
    psql("INSERT INTO productos (nombre, precio) VALUES ('Ratón', 1), ('Cable', 2)")
    psql("UPDATE productos SET precio = 3 WHERE id = 1")
    psql("DELETE FROM productos WHERE id = 2")
    await settled(client, 4)
    epoch = client.app[LOG].epoch
    psql("TRUNCATE productos")
    await renewed(client, epoch)


LOAD = "ALTER TABLE productos DISABLE TRIGGER USER; {}; ALTER TABLE productos ENABLE TRIGGER USER"
BEHIND = [
    "INSERT INTO productos (nombre, precio) VALUES ('callado', 1)",
    "UPDATE productos SET precio = precio + 1 WHERE id = 2",
    "DELETE FROM productos WHERE id = 2",
    "DELETE FROM productos WHERE id = 1; INSERT INTO productos (nombre, precio) VALUES ('callado', 1)",
]


@pytest.mark.parametrize("change", [*BEHIND, "ALTER TABLE productos ALTER nombre TYPE text USING upper(nombre)"])
@pytest.mark.parametrize("running", [True, False])
async def test_table_changed_behind_the_triggers_makes_every_client_reload(
    dsn: str,
    serve: Serve,  # noqa: F811
    psql: Callable,
    change: str,
    running: bool,
) -> None:
    client = await serve(dsn)
    await make(client, 3)
    epoch = client.app[LOG].epoch
    async with shown(client, 1) as screens:
        if not running:
            await client.close()
            psql("SET session_replication_role = replica")  # leaves no trace at the triggers
        psql(change if "ALTER" in change or not running else LOAD.format(change))
        if running:
            await renewed(client, epoch)
            await agree(screens, dsn)
            assert screens[0].closed == [1012]
    client = client if running else await serve(dsn)
    assert await honoured(client, 3, epoch) is None
    again = psql(EPOCH)
    await restarted(dsn)
    await restarted(dsn)
    assert psql(EPOCH) == again, "a difference is told once"


@pytest.mark.parametrize("change", [BEHIND[0], BEHIND[2], BEHIND[3]])
async def test_products_that_come_or_go_unheard_are_noticed_in_a_pruned_log(
    dsn: str, psql: Callable, change: str
) -> None:
    psql("INSERT INTO productos (nombre, precio) SELECT 'p' || n, n FROM generate_series(1, 9) AS n")
    await restarted(dsn)
    psql("SELECT eventos_podar(NULL, 3)")
    epoch = psql(EPOCH)
    await restarted(dsn)
    assert psql(EPOCH) == epoch
    psql(f"SET session_replication_role = replica; {change}")
    await restarted(dsn)
    assert psql(EPOCH) != epoch


@pytest.mark.parametrize("seed", range(3))
async def test_restart_never_takes_an_ordinary_history_for_a_difference(
    dsn: str, connect: Callable, psql: Callable, seed: int
) -> None:
    await restarted(dsn)
    psql("SELECT eventos_estado()")  # the first look begins an epoch
    epoch = psql(EPOCH)
    async with Database(dsn, 1) as db:
        for step in range(5):
            live(connect, 10, 10 * seed + step)
            await compare(db, always=True)
            await prune_events(db, None, (40, 7, 100, 0, 20)[step])
            await compare(db, always=True)
    assert psql(f"{EPOCH} WHERE base IS NOT NULL AND revisado IS NOT NULL") == epoch


@pytest.mark.parametrize("pruned", [False, True])
async def test_sequences_behind_the_log_are_put_right_at_the_start(
    dsn: str,
    serve: Serve,  # noqa: F811
    psql: Callable,
    pruned: bool,
) -> None:
    psql("INSERT INTO productos (nombre, precio) SELECT 'p' || n, n FROM generate_series(1, 9) AS n")
    psql("DELETE FROM productos WHERE id = 9")
    if pruned:
        psql("DELETE FROM eventos WHERE id < 10")
    psql("ALTER SEQUENCE eventos_id_seq RESTART; ALTER SEQUENCE productos_id_seq RESTART")
    epoch = psql(EPOCH)
    client = await serve(dsn)
    assert (await create(client))["id"] == 10
    await settled(client, 11)
    assert await honoured(client, 10, str(epoch[0][0])) == [11]


@pytest.mark.parametrize("to", [1, 3])
async def test_sequence_that_is_set_back_hides_no_event(client: TestClient, dsn: str, psql: Callable, to: int) -> None:
    """As a dump without its schema does at its end: the next ids are those of other events, or lie between them."""
    await make(client, 3)
    psql("SELECT nextval('eventos_id_seq'), nextval('eventos_id_seq')")
    await make(client, 1)
    await settled(client, 6)
    async with shown(client, 2) as screens:
        await agree(screens, dsn)
        psql(f"SELECT setval('eventos_id_seq', {to})")
        async with asyncio.timeout(10):
            while (resp := await client.post("/api/productos", json=PRODUCT)).status != 201:
                assert resp.status == 503, await resp.text()
        await agree(screens, dsn)
        await create(client)
        await agree(screens, dsn)


@pytest.mark.parametrize(("deleted", "floor"), [("id IN (2, 3)", 3), ("id > 2", 5)])
async def test_floor_follows_events_that_are_deleted_by_hand(
    client: TestClient, dsn: str, psql: Callable, deleted: str, floor: int
) -> None:
    await make(client, 5)
    epoch = client.app[LOG].epoch
    psql(f"DELETE FROM eventos WHERE {deleted}")
    async with asyncio.timeout(10):
        while client.app[LOG].floor != floor:
            await asyncio.sleep(0.01)
    assert await honoured(client, floor - 1, epoch) is None
    assert await honoured(client, floor, epoch) == [*range(floor + 1, 6)]
    await error(await client.get("/api/productos?at=2"), 400)
    await restarted(dsn)
    assert client.app[LOG].epoch == epoch


async def test_older_service_refuses_a_newer_schema_and_leaves_it_alone(dsn: str, psql: Callable) -> None:
    psql("UPDATE eventos_epoca SET esquema = esquema + 1")
    psql("CREATE OR REPLACE FUNCTION texto_plegado(texto text) RETURNS text LANGUAGE sql STABLE AS 'SELECT ''nueva'''")
    await refused(dsn, "versión posterior.*actualice inventory-ws")
    with pytest.raises(psycopg2.Error, match="versión posterior"):
        psql(sql_file("schema.sql"))
    assert psql("ROLLBACK; SELECT texto_plegado('x')") == [("nueva",)]


async def changes(client: TestClient, psql: Callable, *statements: str) -> list[dict[str, Any]]:
    """The events of the statements, after the product that they find."""
    await create(client, nombre="Laptop", stock=1)
    for statement in statements:
        psql(statement)
    await settled(client, psql("SELECT max(id) FROM eventos")[0][0])
    return (await (await client.get("/api/eventos?after=1")).json())["data"]


async def test_change_that_the_type_calls_none_is_a_change(client: TestClient, psql: Callable) -> None:
    """As of case in citext or in a collation. Here it is blanks at the end, which every PostgreSQL can compare so."""
    psql("ALTER TABLE productos ALTER nombre TYPE bpchar")
    (event,) = await changes(client, psql, "UPDATE productos SET nombre = 'Laptop  '")
    assert (event["data"]["nombre"], event["antes"]) == ("Laptop  ", {"nombre": "Laptop"})


@pytest.mark.parametrize("column", ["json", "point", "xml"])
async def test_column_without_equality_fails_no_change(client: TestClient, psql: Callable, column: str) -> None:
    psql(f"ALTER TABLE productos ADD extra {column}")
    (event,) = await changes(client, psql, "UPDATE productos SET stock = 2", "UPDATE productos SET stock = 2")
    assert event["antes"] == {"stock": 1}


@pytest.mark.parametrize("change", ["id TYPE bigint", "nombre TYPE text", "created_at TYPE timestamp"])
async def test_type_that_is_altered_ends_only_the_plans_of_before(
    dsn: str, aiohttp_client: Callable, psql: Callable, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inventory_ws.live.eventlog.LOOK_EVERY", 3600)  # nothing else takes a connection
    client = await aiohttp_client(create_app(dsn=dsn))
    move = {"path": f"/api/productos/{(await create(client))['id']}/stock", "json": {"delta": 1}}
    assert (await client.post(**move)).status == 200
    psql(f"ALTER TABLE productos ALTER {change}")
    first, *others = [(await client.post(**move)).status for _ in range(5)]
    assert first in (503, 200), "it may be the connection that had prepared it, which ends"
    assert others == [200] * 4
    assert (await create(client))["id"] == 2
    psql("INSERT INTO productos (id, nombre, precio) OVERRIDING SYSTEM VALUE VALUES (40, 'Cable', 2)")
    await restarted(dsn)
    psql("TRUNCATE productos")
    assert (await create(client))["id"] == 41


async def test_generated_column_makes_no_event_of_no_change(client: TestClient, psql: Callable) -> None:
    psql("ALTER TABLE productos ADD valor numeric GENERATED ALWAYS AS (precio * stock) STORED, ADD nota text")
    statements = "UPDATE productos SET stock = 1", "UPDATE productos SET stock = 5", "UPDATE productos SET nota = 'x'"
    events = await changes(client, psql, *statements)
    assert [event["antes"] for event in events] == [{"stock": 1}, {}]


async def test_trigger_of_the_owner_changes_no_row_under_its_version(client: TestClient, psql: Callable) -> None:
    psql(
        """
        CREATE FUNCTION redondea() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.stock := NEW.stock / 10 * 10; RETURN NEW; END $$;
        CREATE TRIGGER w_redondea BEFORE UPDATE ON productos FOR EACH ROW EXECUTE FUNCTION redondea();
        """
    )
    before = await create(client, stock=11)
    psql("UPDATE productos SET stock = 11")
    after = (await (await client.get("/api/productos/1")).json())["data"]
    assert after["stock"] == 10
    assert after["updated_at"] > before["updated_at"]


NAMES = (
    "etag p j f r c a n fila crudo palabra productos productos_json estado elegidos filas texto value json known vistos"
)


async def test_columns_of_the_owner_may_have_any_name(client: TestClient, psql: Callable) -> None:
    psql(f"ALTER TABLE productos {', '.join(f'ADD {name} text' for name in NAMES.split())}")
    product = await create(client)
    body = "id,nombre,precio\n1,Ratón,2\n,Cable,3\n"
    resp = await client.post("/api/productos", data=body, headers={"Content-Type": "text/csv"})
    assert (await resp.json())["data"] == {"creados": 1, "actualizados": 1}
    await settled(client, 3)
    assert (await (await client.get("/api/productos?at=1")).json())["data"] == [product]
    for query in ("", "?q=able"):
        assert (await (await client.get(f"/api/productos{query}")).json())["data"][-1]["nombre"] == "Cable"
    assert (await client.get("/api/productos/1")).status == 200
    assert (await client.patch("/api/productos/1", json={"stock": 1})).status == 200
    assert (await client.delete("/api/productos/1")).status == 200


SILENT = """
    CREATE FUNCTION calla() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    CREATE TRIGGER calla BEFORE INSERT OR UPDATE OR DELETE ON productos FOR EACH ROW EXECUTE FUNCTION calla();
"""
BROKEN = """
    CREATE FUNCTION falla() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ASSERT false; END $$;
    CREATE TRIGGER falla BEFORE INSERT OR UPDATE OR DELETE ON productos FOR EACH ROW EXECUTE FUNCTION falla();
"""
UNFINISHED = BROKEN.replace("ASSERT false", "NULL")
COMMITTING = BROKEN.replace("ASSERT false", "COMMIT")


@pytest.mark.parametrize(
    "rule", [SILENT, BROKEN, UNFINISHED, COMMITTING], ids=["null", "assert", "no return", "commit"]
)
async def test_trigger_of_the_owner_that_prevents_a_change_is_told_as_that(
    client: TestClient, psql: Callable, rule: str
) -> None:
    version = {"If-Match": f'"{(await create(client, stock=5))["updated_at"]}"'}
    psql(rule)
    for method, path, body, headers in (
        ("POST", "", {"nombre": "Ratón", "precio": 1}, {}),
        ("PATCH", "/1", {"stock": 1}, {}),
        ("PATCH", "/1", {"stock": 1}, version),
        ("POST", "/1/stock", {"delta": -5}, {}),
        ("DELETE", "/1", None, version),
    ):
        answer = await error(await client.request(method, f"/api/productos{path}", json=body, headers=headers), 400)
        assert [fault["field"] for fault in answer["errors"]] == [""]
    if rule == SILENT:
        await error(await client.post("/api/productos/1/stock", json={"delta": -6}), 409)
        await error(await client.delete("/api/productos/1", headers={"If-Match": '"2000-01-01T00:00:00.000Z"'}), 412)


async def test_trigger_of_the_owner_that_changes_the_same_row_is_told_as_a_refusal(
    client: TestClient, psql: Callable
) -> None:
    await create(client)
    psql("""
        CREATE FUNCTION cuenta() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN UPDATE productos SET stock = stock + 1 WHERE id = OLD.id; RETURN coalesce(NEW, OLD); END $$;
        CREATE TRIGGER cuenta BEFORE UPDATE OR DELETE ON productos
        FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION cuenta();
        """)
    await error(await client.patch("/api/productos/1", json={"precio": 2}), 400)
    await error(await client.delete("/api/productos/1"), 400)


@pytest.mark.parametrize(
    "rule", ["WHERE NEW.precio > 100 DO INSTEAD NOTHING", "DO ALSO INSERT INTO copia VALUES (NEW.id)"]
)
async def test_rule_of_the_owner_that_goes_with_no_change_is_told_as_a_refusal(
    client: TestClient, psql: Callable, rule: str
) -> None:
    """503 would have every page ask again for ever."""
    await create(client, stock=5)
    psql(f"CREATE TABLE copia (id integer); CREATE RULE regla AS ON UPDATE TO productos {rule}")
    sale = {"movimientos": [{"id": 1, "delta": -1}]}
    file = {"data": "id,nombre,precio\n1,Ratón,2\n,Cable,3\n", "headers": {"Content-Type": "text/csv"}}
    asked = [await client.post("/api/stock", json=sale), await client.post("/api/productos", **file)]
    if "INSTEAD" in rule:
        asked.append(await client.patch("/api/productos/1", json={"precio": 2}))
    for resp in asked:
        assert (await error(resp, 400))["errors"] == [{"field": "", "message": "no lo permite la base de datos"}]
    assert (await client.delete("/api/productos/1")).status == 200
    await error(await client.post("/api/productos/1/restaurar"), 400)


async def test_policy_of_the_owner_is_told_as_a_refusal(
    dsn: str,
    serve: Serve,  # noqa: F811
    psql: Callable,
) -> None:
    psql("CREATE ROLE servicio_unheard LOGIN; GRANT SELECT ON eventos, eventos_epoca TO servicio_unheard")
    psql("GRANT SELECT, INSERT, UPDATE, DELETE ON productos TO servicio_unheard")
    try:
        client = await serve(make_dsn(dsn, user="servicio_unheard"))
        await create(client, stock=1)
        psql("ALTER TABLE productos ENABLE ROW LEVEL SECURITY; CREATE POLICY ver ON productos FOR SELECT USING (true)")
        psql("CREATE POLICY poco ON productos FOR INSERT WITH CHECK (stock < 10)")
        await create(client, stock=1)
        for resp in (
            await client.post("/api/productos", json={"nombre": "Ratón", "precio": 1, "stock": 10}),
            await client.patch("/api/productos/1", json={"stock": 2}),
            await client.delete("/api/productos/1"),
        ):
            assert (await error(resp, 400))["errors"] == [{"field": "", "message": "no lo permite la base de datos"}]
        await client.close()
    finally:
        psql("DROP OWNED BY servicio_unheard; DROP ROLE servicio_unheard")


async def test_role_without_usage_of_its_schema_is_told_to_get_it(dsn: str, psql: Callable) -> None:
    psql("CREATE ROLE servicio_unheard LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC")
    try:
        runner = web.AppRunner(create_app(dsn=make_dsn(dsn, user="servicio_unheard")))
        with pytest.raises(PermissionError, match="GRANT USAGE ON SCHEMA public TO servicio_unheard"):
            await runner.setup()
    finally:
        psql("DROP ROLE servicio_unheard")


async def test_timeouts_of_the_server_end_no_connection(dsn: str, psql: Callable) -> None:
    psql(f"ALTER DATABASE {psql('SELECT current_database()')[0][0]} SET idle_session_timeout = '1min'")
    async with Database(dsn, 1) as db:
        assert (
            await db.fetch(
                "SELECT setting FROM pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout') AND setting <> '0'"
            )
            == []
        )
