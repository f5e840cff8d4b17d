"""The service as a role of PostgreSQL that may not more than the README says."""

import asyncio
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection, make_dsn

from ..tools.service import PATIENCE, Figure, database, inventory, writer
from .accounts import kept
from .start import refusal

README = Path(__file__).parents[2] / "README.md"
(GRANTS,) = re.findall(r"^```sql\n(GRANT.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
KEPT = 20  # events
PRUNED = 5.0 * PATIENCE  # seconds until the log is pruned
FORBIDDEN = """
    TRUNCATE productos
    TRUNCATE eventos
    DROP TABLE productos CASCADE
    DROP FUNCTION eventos_registrar CASCADE
    ALTER TABLE productos DISABLE TRIGGER ALL
    ALTER TABLE productos ADD COLUMN x int
    CREATE TABLE x ()
    CREATE FUNCTION nextval(text) RETURNS bigint LANGUAGE sql AS 'SELECT 1'
    CREATE OR REPLACE FUNCTION eventos_comprobar() RETURNS void LANGUAGE sql AS ''
    CREATE TRIGGER x AFTER INSERT ON productos FOR EACH ROW EXECUTE FUNCTION productos_version()
    SET session_replication_role = replica
    INSERT INTO eventos VALUES (1000000, 'PRODUCT_DELETED', 1, '{}')
    UPDATE eventos SET mensaje = '{}'
    DELETE FROM eventos
    SELECT nextval('eventos_id_seq')
    SELECT setval('eventos_id_seq', 1)
    SELECT nextval('productos_id_seq')
    SELECT setval('productos_id_seq', 1)
    SELECT productos_alcanzar(1000000)
    UPDATE eventos_epoca SET epoca = gen_random_uuid()
    DELETE FROM eventos_epoca
    SELECT eventos_podar(0, 0)
    SELECT eventos_comprobar()
    CREATE TEMP TABLE x (id int); CREATE TRIGGER x AFTER DELETE ON x FOR EACH ROW EXECUTE FUNCTION eventos_registrar()
    CREATE TEMP TABLE x (id int); CREATE TRIGGER x AFTER TRUNCATE ON x EXECUTE FUNCTION eventos_nueva_epoca()
    CREATE TEMP TABLE x (id int); CREATE TRIGGER x BEFORE INSERT ON x FOR EACH ROW EXECUTE FUNCTION productos_version()
"""


@contextmanager
def role(owner: connection) -> Iterator[tuple[str, str]]:
    """A role with the grants of the README that every service needs; yields its name and the words of its DSN."""
    name, password = f"servicio_{os.getpid()}_{secrets.token_hex(4)}", secrets.token_hex()
    with owner.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        try:
            cursor.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
            cursor.execute(grants(name, pruning=False))
            yield name, make_dsn(owner.dsn, user=name, password=password)
        finally:
            cursor.execute(f"DROP OWNED BY {name}")
            cursor.execute(f"DROP ROLE {name}")


def grants(name: str, *, pruning: bool) -> str:
    """The README's, for the role: those of every service, or those of one that prunes."""
    lines = [line for line in GRANTS.splitlines() if ("--keep-events" in line) == pruning]
    return "\n".join(lines).replace("servicio", name)


def refused(dsn: str, statement: str) -> bool:
    """Whether the statement is refused for want of a privilege; what it has done is undone."""
    with closing(psycopg2.connect(dsn)) as conn, conn.cursor() as cursor:
        try:
            cursor.execute(statement)
        except psycopg2.errors.InsufficientPrivilege:
            return True
    return False


async def missing(owner: connection, name: str, dsn: str, grant: str, flags: list[str]) -> bool:
    """Whether a service without the grant says in one line how to give it."""
    with owner.cursor() as cursor:
        cursor.execute(f"REVOKE {grant} FROM {name}")
        said = await refusal(inventory(dsn, *flags))
        cursor.execute(f"GRANT {grant} TO {name}")
    return f"GRANT {grant} TO {name}" in said


async def check(server: str, seconds: float = 10.0, grants_missing: int = 7) -> list[Figure]:
    """the service as a role with the README's grants: all works, nothing else can be done, a missing one is named"""
    with database(server) as dsn, closing(writer(dsn)) as owner, role(owner) as (name, url):
        async with inventory(url) as service, kept(service.port) as accounts:
            for _ in range(int(seconds)):
                await asyncio.sleep(1)
                accounts.listeners[0].cut()
            figures = await accounts.balance(dsn)
            complaints = [service.complaints()]
        forbidden = [line.strip() for line in FORBIDDEN.strip().splitlines()]
        done = [statement for statement in forbidden if not await asyncio.to_thread(refused, url, statement)]
        keep = ["--keep-events", str(KEPT)]
        with owner.cursor() as cursor:
            cursor.execute(grants(name, pruning=True))
        async with inventory(url, *keep) as service:
            deadline, left = asyncio.get_running_loop().time() + PRUNED, KEPT + 1
            while left > KEPT and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.1)
                left = len((await service.get("/api/eventos?after=0&limit=1000"))["data"])
            complaints.append(service.complaints())
        needed = [
            "EXECUTE ON FUNCTION eventos_podar",
            "DELETE ON productos",
            "SELECT ON eventos",
            "SELECT ON productos",
        ]
        needed += ["INSERT ON productos", "UPDATE ON productos", "SELECT ON eventos_epoca"]
        said = [grant for grant in needed[:grants_missing] if await missing(owner, name, url, grant, keep)]
    silent = f"{len(needed[:grants_missing]) - len(said)}"
    return [
        *figures,
        Figure(
            "statements beyond the grants that were refused",
            str(len(forbidden)),
            f"{len(forbidden) - len(done)} {done or ''}".strip(),
            not done,
        ),
        Figure("events that retention leaves", f"<= {KEPT}", str(left), left <= KEPT),
        Figure("missing grants that were not named in one line", "0", silent, silent == "0"),
        *complaints,
    ]
