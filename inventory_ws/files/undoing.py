"""The SQL that takes an import back."""

from ..pg.database import Database
from ..products.repository import Cause, Result
from .columns import FIELDS
from .importing import CAUSED, change_once

WRITTEN = ", ".join(FIELDS)

# The events of an import are those of its transaction (xmin), as many as its first one says. In a restored dump all events are of
# one transaction: then they are too many, and nothing is taken back. Its result follows the 64 digits of its hash and a blank.
UNDO = f"""
    WITH primero AS (
        SELECT id, xmin AS transaccion, substr(huella, 66) AS hecho FROM eventos WHERE clave = %(undone)s
    ), suyos AS MATERIALIZED (
        SELECT producto_id, tipo, mensaje -> 'data' ->> 'updated_at' AS version, mensaje -> 'antes' AS antes,
            count(*) OVER () = (hecho::json ->> 'creados')::integer + (hecho::json ->> 'actualizados')::integer AS completa
        FROM eventos JOIN primero ON eventos.id >= primero.id AND xmin = transaccion
        WHERE hecho LIKE '{{"creados"%'
    ), vistos AS MATERIALIZED (
        SELECT id, tipo, antes, j.j AS ahora, j.j ->> 'updated_at' <> version AS tocado
        FROM productos AS p JOIN suyos ON producto_id = id AND completa, producto_json(p.*) AS j ORDER BY id FOR UPDATE OF p
    ), eliminados AS (
        DELETE FROM productos AS p USING vistos AS v WHERE p.id = v.id AND NOT tocado AND tipo = 'PRODUCT_CREATED' RETURNING p.id
    ), devueltos AS (
        UPDATE productos AS p SET ({WRITTEN}) = (SELECT {WRITTEN} FROM json_populate_record(p, antes)) FROM vistos AS v
        WHERE p.id = v.id AND NOT tocado AND tipo = 'PRODUCT_UPDATED' RETURNING p.id
    ), hecho AS (
        SELECT cuantos, format('{{"deshechos":%s,"tocados":[%s]}}', cuantos,
            (SELECT string_agg(ahora::text, ',' ORDER BY id) FROM vistos WHERE tocado)) AS json
        FROM (SELECT (SELECT count(*) FROM eliminados) + (SELECT count(*) FROM devueltos) AS cuantos) AS suma
    )
    SELECT json, (SELECT bool_and(completa) FROM suyos) IS NOT TRUE, cuantos, {CAUSED} FROM hecho
    """


async def undo_import(db: Database, key: str, cause: Cause) -> Result:
    """Delete what the import with this key has created, and give the other products their former values back, where nobody has
    changed them since.

    The result is `{"deshechos":2,"tocados":[...]}`, with the products that somebody has changed, as they are. Raise NotImported
    if the log does not have all of the import, KeyReused, Rejected or Unavailable.
    """
    return await change_once(db, UNDO, {"undone": key}, cause)
