"""One JSON body for every error, including aiohttp's own 404 and 405."""

import json
import logging
import re
from collections.abc import Mapping, Sequence

from aiohttp import hdrs, web
from aiohttp.typedefs import LooseHeaders
from pydantic import ValidationError

from ..pg.errors import Rejected, Unavailable
from ..products.csvfile import fault
from ..products.exact_json import encode
from ..products.models import NewProduct, explain
from ..products.repository import KeyReused
from ..products.several import MissingProducts, NotMoved

INVALID = "Datos inválidos"
NOT_IMPORTED = f"{INVALID}: no se ha importado nada"
STATUS_MESSAGES = {
    400: "Petición mal formada",
    401: "Hay que identificarse",
    403: "No está permitido",
    404: "Ruta no encontrada",
    405: "Método no permitido",
    422: "Esa Idempotency-Key ya es de otra petición",
    500: "Error interno",
    503: "La base de datos no responde; inténtelo de nuevo",
}

# Messages for values that PostgreSQL rejects, by SQLSTATE. They also apply to constraints that the owner has added.
REFUSALS = {
    "22001": "es un texto demasiado largo",
    "22003": "es un número demasiado grande",
    "22021": "lleva un carácter que no se puede guardar",
    "22P05": "lleva un carácter que no se puede guardar",
    "23001": "no encaja con los datos de otra tabla",
    "23502": "es obligatorio",
    "23503": "no encaja con los datos de otra tabla",
    "23505": "ya lo tiene otro producto",
    "23P01": "no es compatible con otro producto",
    "42501": "no lo permite la base de datos",
    "54000": "es un texto demasiado largo",
}

KEPT = (hdrs.ALLOW, hdrs.RETRY_AFTER, hdrs.WWW_AUTHENTICATE)  # headers of aiohttp's own errors

log = logging.getLogger(__name__)


class Failure(Exception):
    """End a request with `status` and the error body. `data`: JSON text for the body, such as the current product."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        errors: Sequence[Mapping[str, str | int]] = (),
        data: str | None = None,
        headers: LooseHeaders | None = None,
    ) -> None:
        super().__init__(message)
        body = f'{{"success":false,"message":{encode(message)}'
        body += f',"errors":{encode(errors)}' if errors else ""
        body += f',"data":{data}' if data else ""
        self.response = web.Response(status=status, text=body + "}", content_type="application/json", headers=headers)


def error_response(exc: Exception, request: web.Request) -> web.Response:
    """Return the response for an exception that a request has raised. Raise the redirects of aiohttp again."""
    match exc:
        case Failure():
            failure = exc
        case ValidationError():
            failure = Failure(400, INVALID, errors=explain(exc))
        case NotMoved():
            failure = _not_moved(*exc.args)
        case MissingProducts():
            failure = Failure(400, NOT_IMPORTED, errors=[fault(row, "id", "no existe") for row in exc.args[0]])
        case KeyReused():
            failure = Failure(422, STATUS_MESSAGES[422])
        case Unavailable():
            failure = Failure(503, STATUS_MESSAGES[503], headers={hdrs.RETRY_AFTER: "1"})
        case _ if exc is request.content.exception():  # from reading the body: broken, or the client has disconnected
            failure = Failure(400, STATUS_MESSAGES[400])
        case web.HTTPException() if exc.status < 400:
            raise exc
        case web.HTTPException():
            headers = {name: exc.headers[name] for name in KEPT if name in exc.headers}
            message = STATUS_MESSAGES.get(exc.status, exc.reason)
            if exc.status == 404:
                message += _without_slash(request)
            elif exc.status in (401, 403) and exc.text != f"{exc.status}: {exc.reason}":  # in the words of the host
                message = exc.text or message
            failure = Failure(exc.status, message, headers=headers)
        case Rejected() if faults := _refused(exc):
            failure = Failure(400, INVALID, errors=faults)
        case _:
            log.error("%s %s failed", request.method, request.rel_url.raw_path, exc_info=exc)
            failure = Failure(500, STATUS_MESSAGES[500])
    return failure.response


def _refused(exc: Rejected) -> list[dict[str, str]]:
    """Return the errors by field; an empty list if no client can correct them. The caller then answers 500."""
    field = next((name for name in NewProduct.model_fields if name in exc.place), "")
    if not (field or exc.raised) and (exc.code == "23502" or re.search(r"\(id$|created_at", exc.place)):
        return []
    message = str(exc) if exc.raised else REFUSALS.get(exc.code, "no es un valor permitido")
    return [{"field": field, "message": message}]


def _not_moved(unfit: Sequence[tuple[int, str | None]]) -> Failure:
    """Name each line of a sale whose product does not exist, or what there is of it."""
    errors = [
        {"field": f"movimientos.{line}.delta", "message": f"hay {json.loads(product)['stock']}"}
        if product
        else {"field": f"movimientos.{line}.id", "message": "no existe"}
        for line, product in unfit
    ]
    status = 409 if all(product for _, product in unfit) else 404
    products = dict.fromkeys(product for _, product in unfit if product)
    return Failure(
        status, "No se ha movido nada: no son posibles todas las líneas", errors=errors, data=f"[{','.join(products)}]"
    )


def _without_slash(request: web.Request) -> str:
    """Return a hint for a path that exists without its trailing slash."""
    path, _, rest = request.rel_url.raw_path.rpartition("/")
    known = [resource.get_info() for resource in request.app.router.resources() if not rest]
    ours = any(path == each.get("path") or ("pattern" in each and each["pattern"].fullmatch(path)) for each in known)
    return f"; sin la barra final: {path}" if ours else ""
