import io
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import psycopg2
import pytest

from inventory_ws.pg.schema import sql_file


def test_schema_applied_again_keeps_the_data(psql: Callable) -> None:
    psql("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1)")
    epoch = psql("SELECT epoca FROM eventos_epoca")
    psql(sql_file("schema.sql"))
    assert psql("SELECT nombre FROM productos") == [("Mouse",)]
    assert psql("SELECT count(*) FROM eventos") == [(1,)]
    assert psql("SELECT epoca FROM eventos_epoca") == epoch


def test_schema_that_an_editor_has_saved_with_a_bom_is_applied(
    psql: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "schema.sql").write_text(sql_file("schema.sql"), "utf-8-sig")
    monkeypatch.setattr("inventory_ws.pg.schema.package_folder", lambda _: tmp_path)
    psql(sql_file("schema.sql"))


def test_schema_applied_again_waits_for_no_open_transaction(connect: Callable, psql: Callable) -> None:
    writer = connect()
    writer.autocommit = False
    writer.cursor().execute("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1)")
    psql("SET lock_timeout = '1s'")
    psql(sql_file("schema.sql"))
    writer.rollback()


@pytest.mark.parametrize(
    "values",
    [
        "(' ', 1, 0)",
        "(E'\\t\\n', 1, 0)",
        "(NULL, 1, 0)",
        "(repeat('x', 256), 1, 0)",
        "('x', -0.01, 0)",
        "('x', 'NaN', 0)",
        "('x', 10000000000, 0)",
        "('x', NULL, 0)",
        "('x', 1, -1)",
        "('x', 1, 2147483648)",
    ],
)
def test_schema_refuses_an_invalid_product(psql: Callable, values: str) -> None:
    with pytest.raises((psycopg2.IntegrityError, psycopg2.DataError)):
        psql(f"INSERT INTO productos (nombre, precio, stock) VALUES {values}")
    assert psql("SELECT * FROM productos") == []
    assert psql("SELECT * FROM eventos") == []


def test_no_index_depends_on_how_the_system_sorts(psql: Callable) -> None:
    """With the data folder or a standby on a newer system, a broken one finds no key again: requests are made twice."""
    depends = """
        SELECT indexrelid::regclass FROM pg_index JOIN pg_class ON pg_class.oid = indrelid, unnest(indcollation) AS sorting
        WHERE relnamespace = 'public'::regnamespace AND sorting NOT IN (0, 'pg_catalog."C"'::regcollation)
        """
    assert psql(depends) == []


def test_schema_never_changes_an_id(psql: Callable) -> None:
    psql("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1)")
    with pytest.raises(psycopg2.IntegrityError):
        psql("UPDATE productos SET id = DEFAULT")


BRINGING = "INSERT INTO productos (id, nombre, precio) OVERRIDING SYSTEM VALUE VALUES (%s, 'traído', 1)"
CREATING = "INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1) RETURNING id"


@pytest.mark.parametrize(
    ("brought", "drawn"),
    [
        ([1], 2),
        ([7], 8),
        ([9, 3, 5], 10),
        ([0, -7], 1),
        ([1_000_001], 1_000_002),
        ([5_000_000], 5_000_001),
        ([2_147_000_000], 2_147_000_001),
        ([2_147_483_647, 3], 4),
    ],
)
def test_sequence_follows_explicit_ids(psql: Callable, brought: list[int], drawn: int) -> None:
    for number in brought:
        psql(BRINGING, [number])
    assert psql(CREATING) == [(drawn,)]


def test_restarted_sequence_follows_explicit_ids(psql: Callable) -> None:
    psql(BRINGING, [7])
    psql("TRUNCATE productos RESTART IDENTITY")
    psql(BRINGING, [1])
    assert psql(CREATING) == [(2,)]


def test_sequence_follows_a_copy_and_never_moves_back(connect: Callable, psql: Callable) -> None:
    def copy(ids: Iterable[int]) -> None:
        rows = "".join(f"{number}\tcopiado\t1\n" for number in ids)
        connect().cursor().copy_expert("COPY productos (id, nombre, precio) FROM STDIN", io.StringIO(rows))

    copy(range(1, 21))
    assert psql(CREATING) == [(21,)]
    copy([1000, *range(100, 120)])
    assert psql(CREATING) == [(1001,)]
    copy([50])
    assert psql(CREATING) == [(1002,)]


def test_schema_corrects_a_sequence_that_is_behind(psql: Callable) -> None:
    psql("ALTER TABLE productos DISABLE TRIGGER USER")
    psql(BRINGING, [1])
    psql(BRINGING, [8])
    psql("ALTER TABLE productos ENABLE TRIGGER USER")
    psql(sql_file("schema.sql"))
    assert psql(CREATING) == [(9,)]


def test_sequence_with_another_name_or_step_works(psql: Callable) -> None:
    psql("ALTER TABLE productos RENAME TO antes")
    psql(sql_file("schema.sql"))
    psql("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1)")
    psql(BRINGING, [6])
    assert psql(CREATING) == [(7,)]
    psql("ALTER TABLE productos ALTER id SET INCREMENT BY 10 SET CACHE 5")
    assert psql(CREATING) == [(17,)]
    psql(BRINGING, [100])
    ((drawn,),) = psql(CREATING)
    assert drawn > 100
    assert drawn % 10 == 7


def test_version_moves_strictly_forward_in_whole_milliseconds(psql: Callable) -> None:
    psql("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1)")
    versions = [psql("SELECT updated_at FROM productos")[0][0]]
    for stock in range(1, 40):
        versions += psql("UPDATE productos SET stock = %s RETURNING updated_at", [stock])[0]
    assert all(later > earlier for earlier, later in pairwise(versions))
    assert all(version.microsecond % 1000 == 0 for version in versions)


def test_version_moves_forward_when_the_clock_goes_back(psql: Callable) -> None:
    psql("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1)")
    psql("ALTER TABLE productos DISABLE TRIGGER zz_productos_version")
    ahead = psql(
        "UPDATE productos SET updated_at = date_trunc('milliseconds', now() + interval '1 day') RETURNING updated_at"
    )
    psql("ALTER TABLE productos ENABLE TRIGGER zz_productos_version")
    later = psql("UPDATE productos SET stock = 5 RETURNING updated_at")
    assert later[0][0] == ahead[0][0] + timedelta(milliseconds=1)


def test_log_has_one_event_for_each_change_with_an_effect(psql: Callable) -> None:
    psql("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1), ('Teclado', 2)")
    psql("UPDATE productos SET precio = 1.00 WHERE nombre = 'Mouse'")
    psql("UPDATE productos SET precio = 3 WHERE nombre = 'Mouse'")
    psql("UPDATE productos SET precio = 3")
    psql("DELETE FROM productos WHERE nombre = 'Mouse'")
    assert psql("SELECT id, tipo, producto_id FROM eventos ORDER BY id") == [
        (1, "PRODUCT_CREATED", 1),
        (2, "PRODUCT_CREATED", 2),
        (3, "PRODUCT_UPDATED", 1),
        (4, "PRODUCT_UPDATED", 2),
        (5, "PRODUCT_DELETED", 1),
    ]


def test_log_renders_the_message_of_the_guide(psql: Callable) -> None:
    psql("INSERT INTO productos (nombre, descripcion, precio, stock) VALUES ('Laptop \"Dell\"', NULL, 1299.9, 10)")
    psql("DELETE FROM productos")
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    (created,), (deleted,) = psql("SELECT mensaje::text FROM eventos ORDER BY id")
    assert re.fullmatch(
        r'\{"type":"PRODUCT_CREATED","id":1,"data":\{"id":1,"nombre":"Laptop \\"Dell\\"","descripcion":null,'
        rf'"precio":1299\.90,"stock":10,"created_at":"{moment}","updated_at":"{moment}"\}},"timestamp":"{moment}"\}}',
        created,
    )
    product = re.escape(created.partition('"data":')[2].partition(',"timestamp"')[0])
    assert re.fullmatch(
        rf'\{{"type":"PRODUCT_DELETED","id":2,"data":\{{"id":1\}},"timestamp":"{moment}","antes":{product}\}}', deleted
    )


def test_log_is_written_for_a_role_without_rights_on_it(psql: Callable) -> None:
    psql("CREATE ROLE vendedor")
    try:
        psql("GRANT SELECT, UPDATE, INSERT ON productos TO vendedor")
        psql("SET ROLE vendedor")
        psql("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1)")
        psql(BRINGING, [7])
        for forbidden in ("nextval('productos_id_seq')", "setval('productos_id_seq', 1)", "productos_alcanzar(100)"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                psql(f"SELECT {forbidden}")
        psql("CREATE TEMP TABLE suya (id int, created_at timestamptz, updated_at timestamptz)")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            psql("CREATE TRIGGER x BEFORE INSERT ON suya FOR EACH ROW EXECUTE FUNCTION productos_version()")
        psql("RESET ROLE")
        assert psql("SELECT count(*) FROM eventos") == [(2,)]
        assert psql(CREATING) == [(8,)]
    finally:
        psql("RESET ROLE")
        psql("DROP OWNED BY vendedor")
        psql("DROP ROLE vendedor")


def test_truncate_of_any_table_begins_an_epoch(psql: Callable) -> None:
    psql("INSERT INTO productos (nombre, precio) VALUES ('Mouse', 1)")
    epochs = psql("SELECT epoca FROM eventos_epoca")
    psql("TRUNCATE productos")
    assert psql("SELECT desde FROM eventos_epoca") == [(1,)]
    epochs += psql("SELECT epoca FROM eventos_epoca")
    psql("TRUNCATE eventos")
    epochs += psql("SELECT epoca FROM eventos_epoca")
    assert len(set(epochs)) == 3


def test_limit_is_unknown_during_a_commit(connect: Callable, psql: Callable) -> None:
    slow = connect()
    slow.autocommit = False
    slow.cursor().execute("INSERT INTO productos (nombre, precio) VALUES ('slow', 1)")
    psql("INSERT INTO productos (nombre, precio) VALUES ('fast', 1)")
    assert psql("SELECT limite FROM eventos_estado()") == [(1,)], "an open transaction draws no id before its commit"
    slow.cursor().execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert psql("SELECT limite FROM eventos_estado()") == [(None,)]
    slow.commit()
    assert psql("SELECT limite FROM eventos_estado()") == [(2,)]
