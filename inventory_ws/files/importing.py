"""The SQL of files: one statement that tells what a file would do, or does it."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ..pg.connection import BELL
from ..pg.database import Database
from ..pg.lanes import Lane
from ..products.exact_json import encode
from ..products.models import NewProduct
from ..products.repository import Cause, NotMade, Result, fetch_with_new_ids, find_first, once
from .columns import FIELDS
from .reader import FileQuery, Table
from .values import RETYPED

IMPORT_TIMEOUT = 60.0  # seconds for a whole file
MAX_FAULTS = 100  # that an error tells

# What a new product is that says nothing of itself.
DEFAULTS = encode({name: field.default for name, field in NewProduct.model_fields.items() if not field.is_required()})

# Sets the cause of a change of many products, which has the result `json`.
CAUSED = f"""{BELL}, set_config('inventory_ws.causa', jsonb_strip_nulls(
    %(cause)s::jsonb || jsonb_build_object('huella', %(fingerprint)s::text || ' ' || json))::text, true)"""


class NotImported(NotMade):
    """Nothing was imported. The argument is the list of the faults; of an undo that was not possible, True."""


# What becomes of each row of a file, as CTEs. `{values}`: the fields as (name, in the file, as exported, now).
# - filas: the rows; f is the product that a row gives. tocayos: the names that exist. pedidas: the product that each row is for.
# - vistos: those products now (p). casadas: the same as they were exported (b); sabido is 'ahora' if they have not changed since,
#   'antes' if the log has what was exported, else ''.
# - juntas: the fields to write (escribe), and those that both sides have changed (choques). juzgadas: all faults. juicios: the
#   verdict on the row (estado), and its warnings (notas).
# CSV cannot distinguish '' from NULL, and spreadsheets write CRLF in a cell as LF. A stored name may have blanks around it:
# it is also compared with the cell as it was.
JUDGED = """
filas AS MATERIALIZED (
    SELECT (j ->> 'fila')::integer AS fila, (j ->> 'id')::bigint AS pedido, j -> 'campos' AS campos, j ->> 'version' AS version,
        nullif(j ->> 'version', '?')::timestamptz AS exportada,
        coalesce(j ->> 'crudo', j -> 'campos' ->> 'nombre') COLLATE "C" AS crudo, j ? 'omitida' AS omitida,
        coalesce(j -> 'errors', '[]') AS leidas, coalesce(j -> 'avisos', '[]') AS avisos,
        CASE WHEN %(named)s::boolean AND NOT j ? 'id' AND NOT j ? 'omitida'
            THEN lower(j -> 'campos' ->> 'nombre') COLLATE "C" END AS llave,
        jsonb_populate_record(NULL::productos, CASE WHEN NOT j ? 'errors' THEN %(new)s::jsonb || (j -> 'campos') END) AS f,
        coalesce(%(decisions)s::jsonb ->> (j ->> 'fila'), %(decisions)s::jsonb ->> '') AS decision
    FROM jsonb_array_elements(%(rows)s::jsonb) AS e (j)
), tocayos AS MATERIALIZED (
    SELECT lower(nombre::text) COLLATE "C" AS llave, min(id) AS tocayo, count(*) AS cuantos FROM productos
    WHERE lower(nombre::text) COLLATE "C" IN (SELECT llave FROM filas) GROUP BY 1
), pedidas AS MATERIALIZED (
    SELECT *, CASE %(repeated)s::text WHEN 'actualizar' THEN coalesce(pedido, tocayo) ELSE pedido END AS id,
        coalesce(anterior, fila) AS primera
    FROM filas LEFT JOIN tocayos USING (llave) LEFT JOIN (
        SELECT llave, min(fila) AS anterior FROM filas WHERE llave IS NOT NULL GROUP BY 1
    ) AS nombradas USING (llave)
), vistos AS MATERIALIZED (
    SELECT id, p.*::productos AS p FROM productos AS p WHERE id IN (SELECT id FROM pedidas) ORDER BY id{lock}
), casadas AS (
    SELECT pedidas.*, v.id IS NOT NULL AS existe, p, b, CASE WHEN pedido IS NULL OR version IS NULL OR exportada = (p).updated_at
        THEN 'ahora' WHEN consta THEN 'antes' ELSE '' END AS sabido
    FROM pedidas LEFT JOIN vistos AS v USING (id) LEFT JOIN LATERAL (
        SELECT json_populate_record(NULL::productos, mensaje -> 'data') AS b, true AS consta FROM eventos, eventos_epoca
        WHERE exportada <> (p).updated_at AND producto_id = v.id AND eventos.id > desde
            AND mensaje -> 'data' ->> 'updated_at' = version
        ORDER BY eventos.id DESC LIMIT 1
    ) AS entonces ON true
), juntas AS (
    SELECT * FROM casadas LEFT JOIN LATERAL (
        SELECT array_agg(campo) FILTER (WHERE gana = 'archivo') AS escribe,
            jsonb_agg(jsonb_build_object('row', fila, 'field', campo, 'message', translate(
                CASE sabido WHEN 'antes' THEN format('era %s al exportar, ahora es %s y en el archivo %s', base, actual, suyo)
                ELSE format('ahora es %s, en el archivo %s, y no se sabe qué era al exportar', actual, suyo) END,
                CASE campo WHEN 'precio' THEN '.' ELSE '' END, ',')))
            FILTER (WHERE gana = 'nadie') AS choques
        FROM (
            SELECT *, CASE WHEN sabido = 'ahora' THEN 'archivo'
                WHEN sabido = 'antes' AND (base = suyo OR campo = 'nombre' AND base = crudo) THEN 'actual'
                WHEN sabido = 'antes' AND base = actual THEN 'archivo'
                ELSE coalesce(decision, 'nadie') END AS gana
            FROM (VALUES {values}) AS c (campo, suyo, base, actual)
            WHERE existe AND ROW({f})::record *<> ROW({p})::record AND campos ? campo AND suyo <> actual AND NOT (campo = 'nombre' AND crudo = actual)
        ) AS distintos
    ) AS mezcla ON true
), juzgadas AS (
    SELECT *, leidas || CASE WHEN razon IS NULL THEN coalesce(choques, '[]')
        ELSE jsonb_build_object('row', fila, 'field', razon[1], 'message', razon[2]) END AS faltas
    FROM (
        SELECT *, CASE WHEN leidas <> '[]' OR omitida THEN NULL
            WHEN pedido IS NOT NULL AND NOT existe THEN ARRAY['id', 'no existe']
            WHEN %(repeated)s::text = 'actualizar' AND cuantos > 1 THEN ARRAY['nombre', 'lo tienen ' || cuantos || ' productos']
            WHEN %(repeated)s::text = 'actualizar' AND primera < fila THEN ARRAY['nombre', 'está ya en la fila ' || primera]
            WHEN id IS NULL AND NOT campos ? 'precio' THEN ARRAY['precio', 'es obligatorio'] END AS razon
        FROM juntas
    ) AS miradas
), juicios AS MATERIALIZED (
    SELECT *, CASE WHEN omitida OR %(repeated)s::text = 'omitir' AND (cuantos > 0 OR primera < fila) THEN 'omitido'
        WHEN faltas <> '[]' THEN 'falta' WHEN id IS NULL THEN 'nuevo' WHEN escribe IS NOT NULL THEN 'cambiado' ELSE 'igual' END AS estado,
        avisos || CASE WHEN %(repeated)s::text = 'actualizar' THEN '[]'
            WHEN cuantos > 0 THEN to_jsonb('ya hay un producto con este nombre'::text)
            WHEN primera < fila THEN to_jsonb('el mismo nombre que en la fila ' || primera) ELSE '[]' END
        || CASE WHEN 'nombre' = ANY(escribe) AND (f).nombre::text ~* %(retyped)s::text THEN
            to_jsonb(format('¿cambió la hoja de cálculo el nombre «%s»?', (p).nombre)) ELSE '[]' END AS notas
    FROM juzgadas
)"""


def _judged(fields: Sequence[str], lock: str = "") -> str:
    # COLLATE: of two texts that only the type or the collation of the column calls equal, one changes the other.
    text = """replace(coalesce(({}).{}::text, ''), E'\\r\\n', E'\\n') COLLATE "C\""""
    values = ["(" + ", ".join([f"'{name}'", *(text.format(row, name) for row in "fbp")]) + ")" for name in fields]
    f, p = (", ".join(f"({row}).{name}" for name in fields) for row in "fp")
    return JUDGED.format(values=", ".join(values), f=f, p=p, lock=lock)


def _trial_sql(fields: Sequence[str]) -> str:
    """Return the statement that tells what a file would do, as the text of a JSON object."""
    states = {"nuevos": "nuevo", "cambiados": "cambiado", "iguales": "igual", "faltas": "falta", "omitidos": "omitido"}
    counts = [f"count(*) FILTER (WHERE estado = '{state}') AS {name}" for name, state in states.items()]
    pairs = "CASE WHEN estado = 'nuevo' OR '{1}' = ANY(escribe) THEN '{1}' ELSE '' END, ({0}).{1}"
    before, after = [", ".join(pairs.format(row, name) for name in fields) for row in "pf"]
    return f"""
        WITH {_judged(fields)}
        SELECT row_to_json(c)::text, (
            SELECT '[' || coalesce(string_agg(row_to_json(r)::text, ',' ORDER BY fila), '') || ']' FROM (
                SELECT fila, estado, id, coalesce((p).nombre, (f).nombre, crudo) AS nombre,
                    CASE estado WHEN 'cambiado' THEN jsonb_build_object({before}) - '' END AS antes,
                    CASE WHEN estado IN ('cambiado', 'nuevo') THEN jsonb_build_object({after}) - '' END AS despues,
                    choques IS NOT NULL AS conflicto, faltas AS errors, notas AS avisos
                FROM juicios
                WHERE %(only)s::text = '' OR estado = %(only)s OR %(only)s = 'aviso' AND notas <> '[]'
                ORDER BY fila LIMIT %(limit)s
            ) AS r
        ) FROM (
            SELECT {", ".join(counts)}, count(*) FILTER (WHERE notas <> '[]') AS avisos,
                count(*) FILTER (WHERE cuantos > 0 OR primera < fila) AS repetidos FROM juicios
        ) AS c
        """


def _import_sql(fields: Sequence[str]) -> str:
    columns, values = (", ".join(form.format(name) for name in FIELDS) for form in ("{}", "(f).{}"))
    sets = ", ".join(
        f"{name} = CASE WHEN '{name}' = ANY(j.escribe) THEN (j.f).{name} ELSE p.{name} END" for name in fields
    )
    return f"""
        WITH {_judged(fields, " FOR NO KEY UPDATE")}, faltas AS MATERIALIZED (
            SELECT falta FROM juicios, jsonb_array_elements(faltas) AS falta WHERE estado = 'falta' ORDER BY fila LIMIT 1000
        ), permiso AS MATERIALIZED (
            SELECT WHERE %(partly)s::boolean OR NOT EXISTS (SELECT FROM faltas)
        ), creados AS (
            INSERT INTO productos ({columns}) SELECT {values} FROM juicios, permiso
            WHERE estado = 'nuevo' ORDER BY fila RETURNING id
        ), cambiados AS (
            UPDATE productos AS p SET {sets} FROM juicios AS j, permiso WHERE p.id = j.id AND j.estado = 'cambiado'
            RETURNING p.id
        ), hecho AS (
            SELECT c + a AS cuantos, quedan, format('{{"creados":%s,"actualizados":%s%s}}', c, a,
                CASE WHEN %(partly)s::boolean THEN ',"restantes":' || quedan END) AS json
            FROM (SELECT count(*) AS c FROM creados) AS nuevos, (SELECT count(*) AS a FROM cambiados) AS otros,
                (SELECT coalesce(json_agg(falta), '[]')::text AS quedan FROM faltas) AS resto
        )
        SELECT json, CASE WHEN NOT %(partly)s::boolean THEN quedan::json END, cuantos, {CAUSED} FROM hecho
        """


def _params(table: Table, query: FileQuery) -> dict[str, Any]:
    named = query.ensayo or query.repetidos != "crear"  # else nobody is told which names exist already
    asked = {"decisions": encode(query.decisions), "repeated": query.repetidos, "named": named}
    return asked | {"rows": table.rows, "new": DEFAULTS, "retyped": RETYPED}


async def try_file(db: Database, table: Table, query: FileQuery) -> tuple[str, str]:
    """Return what the file would do: the text of a JSON object of counts, and of a JSON array of rows. Raise Unavailable."""
    params = _params(table, query) | {"only": query.solo, "limit": query.limite}
    ((counts, rows),) = await db.fetch(_trial_sql(table.fields or FIELDS), params, Lane.LONG, seconds=IMPORT_TIMEOUT)
    return counts, rows


async def import_products(db: Database, table: Table, query: FileQuery, cause: Cause) -> Result:
    """Create and change products by the rows of a file, in one statement: all rows or none, or those without faults. Raise
    NotImported, KeyReused, Rejected or Unavailable. The result is `{"creados":2,"actualizados":1}`."""
    params = _params(table, query) | {"partly": query.filas == "validas"}
    return await change_once(db, _import_sql(table.fields), params, cause)


async def change_once(db: Database, sql: str, params: dict[str, Any], cause: Cause) -> Result:
    """Run a statement that changes many products, once for the key of its cause. Its row is the result, why nothing was changed,
    and the number of changes. Raise NotImported, KeyReused, Rejected or Unavailable."""
    params |= {"cause": cause._replace(fingerprint="").text(), "fingerprint": cause.fingerprint or None}

    async def make() -> Result:
        ((json, faults, changes, *_),) = await fetch_with_new_ids(db, sql, params, Lane.LONG, IMPORT_TIMEOUT)
        if faults:
            raise NotImported(faults)
        return Result(json, changed=changes > 0)

    find = partial(find_first, db, cause, lambda fingerprint, *_: Result(fingerprint.partition(" ")[2], replayed=True))
    return await once(find, make)
