"""Apply sql/schema.sql at the start."""

from collections.abc import AsyncIterator
from pathlib import Path

import psycopg2
from aiohttp import web
from psycopg2.errors import InsufficientPrivilege, InvalidSchemaName

from .database import DATABASE, Database
from .errors import Rejected, Unavailable
from .lanes import Lane

PACKAGE = Path(__file__).parents[1]
UNFIT = "55000"  # the SQLSTATE of what schema.sql raises
COMPARE_TIMEOUT = 60.0  # seconds to compare the table with the log: 100,000 products take one or two


def package_folder(name: str) -> Path:
    """Return the path of sql/ or client/: inside the package in a wheel, and beside it in a checkout."""
    for folder in (PACKAGE / name, PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{PACKAGE / name} is missing: pack the data of inventory_ws too, and not into a zip file")


def sql_file(name: str) -> str:
    return (package_folder("sql") / name).read_text("utf-8-sig")  # an editor may have put a BOM there


async def migrated_database(app: web.Application, *, pruning: bool) -> AsyncIterator[None]:
    """Open the database, which then has the schema, for a cleanup context. `pruning`: the service prunes the log."""
    async with app[DATABASE] as db:
        try:
            await apply_schema(db)
        except PermissionError as exc:  # the owner may have created the schema already
            missing = await _missing_grants(db, pruning)
            if missing or not await _is_current(db):
                remedy = "; ".join(["inventory-ws schema | psql", *missing])
                raise PermissionError(f"al rol le faltan permisos ({exc}); que ejecute el dueño: {remedy}") from exc
        await compare(db, always=True)
        if faults := await find_faults(db):
            raise ValueError("; ".join(faults))
        yield


async def apply_schema(db: Database) -> None:
    """Run sql/schema.sql, which changes only what is missing or old.

    Raise Unavailable, PermissionError if the role lacks a right or an event trigger of the owner forbids it, or ValueError if the
    schema does not fit the database: a table of the same name may be another one, or the database belongs to a newer version.
    """
    try:
        async with db.connection() as conn:
            await conn.execute(sql_file("schema.sql"))
    except InsufficientPrivilege as exc:
        raise PermissionError(str(exc).splitlines()[0]) from exc
    except InvalidSchemaName as exc:
        raise PermissionError("el esquema de search_path no existe, o falta USAGE en él") from exc
    except (Rejected, psycopg2.Error) as exc:
        if isinstance(exc, Rejected) and exc.raised:
            raise (ValueError if exc.code == UNFIT else PermissionError)(str(exc)) from exc
        reason = f"el esquema no cabe en esta base de datos ({str(exc).splitlines()[0]})"
        raise ValueError(f"{reason}; indique otra con --database-url (DATABASE_URL)") from exc


async def find_faults(db: Database) -> list[str]:
    """Return what keeps changes from the log, each with its remedy."""
    ((faults,),) = await db.fetch("SELECT ARRAY(SELECT eventos_faltas())", lane=Lane.QUICK)
    return list(faults)


async def find_hindrance(db: Database) -> str:
    """Return why PostgreSQL takes no changes now, or an empty text."""
    # A commit that waits for its synchronous standby holds back the changes after it.
    sql = """
        SELECT CASE WHEN current_setting('transaction_read_only') = 'on' THEN 'PostgreSQL no admite cambios'
            WHEN EXISTS (
                SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query_start < now() - interval '2 s'
            ) THEN 'los cambios esperan a una réplica síncrona de PostgreSQL' ELSE '' END
        """
    try:
        ((hindrance,),) = await db.fetch(sql, lane=Lane.HEALTH)
    except Unavailable:
        return "PostgreSQL no responde"
    return str(hindrance)


async def may_prevent(db: Database, seconds: float) -> bool:
    """Return whether the owner has a trigger, a rule or a policy that can prevent a change."""
    sql = """
        SELECT relrowsecurity OR relhasrules OR EXISTS (
            SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgtype & 2 <> 0 AND tgname <> 'zz_productos_version' -- BEFORE
        ) FROM pg_class AS c WHERE oid = 'productos'::regclass
        """
    ((may,),) = await db.fetch(sql, lane=Lane.QUICK, seconds=seconds)
    return bool(may)


async def compare(db: Database, *, always: bool = False) -> None:
    """Compare the table with the log if it may have been changed unheard, or `always`: where they differ, an epoch begins."""
    await db.fetch("SELECT eventos_revisar(%(always)s)", {"always": always}, Lane.LONG, seconds=COMPARE_TIMEOUT)


async def _is_current(db: Database) -> bool:
    ((version,),) = await db.fetch("SELECT to_jsonb(e) ->> 'esquema' FROM eventos_epoca AS e", lane=Lane.QUICK)
    return f"version constant integer := {version};" in sql_file("schema.sql")


async def _missing_grants(db: Database, pruning: bool) -> list[str]:
    """Return the GRANT statements that the current role needs to read and write products and, if asked, to prune the log."""
    sql = """
        SELECT format('GRANT %s ON %s TO %I', string_agg(permiso, ', '), objeto, current_user) FROM (
            SELECT objeto, permiso, has_table_privilege(to_regclass(objeto), permiso) FROM (VALUES
                ('productos', 'SELECT'), ('productos', 'INSERT'), ('productos', 'UPDATE'), ('productos', 'DELETE'),
                ('eventos', 'SELECT'), ('eventos_epoca', 'SELECT')
            ) AS tablas (objeto, permiso)
            UNION ALL
            SELECT format('SCHEMA %I', nspname), 'USAGE', has_schema_privilege(oid, 'USAGE') FROM pg_namespace
            WHERE oid IN (SELECT relnamespace FROM pg_class WHERE relname = 'eventos_epoca') OR nspname = 'public'
            UNION ALL
            SELECT 'FUNCTION ' || nombre, 'EXECUTE', has_function_privilege(to_regproc(nombre), 'EXECUTE')
            FROM unnest(%(functions)s::text[]) AS nombre
        ) AS necesario (objeto, permiso, dado)
        WHERE dado IS NOT TRUE GROUP BY objeto ORDER BY objeto
        """
    # Anybody may execute them, unless the owner's default privileges say otherwise.
    functions = """producto_json texto_plegado productos_cambiar eventos_estado eventos_revisar eventos_faltas eventos_disparadores
        eventos_cortar eventos_productos"""
    rows = await db.fetch(sql, {"functions": functions.split() + ["eventos_podar"] * pruning})
    return [grant for (grant,) in rows]
