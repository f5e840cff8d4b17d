"""One JSON body for every error, including aiohttp's own 404 and 405."""

import json
import logging
import re
from collections.abc import Mapping, Sequence

from aiohttp import hdrs, web
from aiohttp.typedefs import LooseHeaders
from pydantic import ValidationError

from ..pg.errors import Rejected, Unavailable
from ..products.exact_json import encode
from ..products.models import NewProduct, explain
from ..products.repository import KeyReused
from ..products.sales import NotMoved

# Each way to fail: the code for programs, its status (0: only in an ERROR message of a socket), and the text for people.
# The first code of a status is that of aiohttp's own errors. README.md and openapi.json list the codes too.
FAILURES = {
    "peticion_mal_formada": (400, "Petición mal formada"),
    "json_invalido": (400, "El cuerpo no es JSON válido"),
    "texto_no_utf8": (400, "El cuerpo no está en UTF-8"),
    "datos_invalidos": (400, "Datos inválidos"),
    "valor_repetido": (400, "Datos inválidos"),
    "rechazado_por_la_base": (400, "Datos inválidos"),
    "fuera_del_registro": (400, "Datos inválidos"),
    "sin_cambios": (400, "No hay nada que cambiar"),
    "if_match_vacio": (400, "If-Match está vacío"),
    "idempotency_key_invalida": (400, "Idempotency-Key lleva de 1 a 255 caracteres ASCII visibles"),
    "subprotocolo_desconocido": (400, "El subprotocolo de este servicio es inventario.v1"),
    "sin_identificar": (401, "Hay que identificarse"),
    "otro_usuario": (401, "Hay que identificarse"),
    "no_permitido": (403, "No está permitido"),
    "origen_no_permitido": (403, "Ese origen (Origin) no está permitido; véase --origins (INVENTORY_WS_ORIGINS)"),
    "ruta_no_encontrada": (404, "Ruta no encontrada"),
    "producto_no_encontrado": (404, "Producto no encontrado"),
    "producto_irrecuperable": (404, "El registro no guarda cómo era este producto, o la base de datos no lo permite"),
    "importacion_no_encontrada": (404, "El registro no guarda esa importación"),
    "metodo_no_permitido": (405, "Método no permitido"),
    "cuerpo_lento": (408, "El cuerpo tarda demasiado"),
    "stock_insuficiente": (409, "No hay existencias suficientes"),
    "stock_excesivo": (409, "No caben tantas unidades"),
    "lineas_imposibles": (409, "No se pueden mover todas las líneas: no se ha movido nada"),
    "producto_existente": (409, "El producto no está eliminado"),
    "producto_cambiado": (412, "Alguien cambió este producto antes"),
    "cuerpo_grande": (413, "El cuerpo es demasiado grande"),
    "tipo_no_admitido": (415, "El cuerpo tiene que ser application/json; el de un archivo de productos, text/csv"),
    "sin_lector_de_hojas": (415, "Para hojas de cálculo falta un paquete: pip install 'inventory-ws[files]'"),
    "host_no_permitido": (421, "Este servidor no atiende ese nombre (Host); véase --hosts (INVENTORY_WS_HOSTS)"),
    "idempotency_key_repetida": (422, "Esa Idempotency-Key ya es de otra petición"),
    "error_interno": (500, "Error interno"),
    "sin_servicio": (503, "El servicio no atiende"),
    "sin_base_de_datos": (503, "La base de datos no responde; inténtelo de nuevo"),
    "cerrando": (503, "El servicio se está cerrando"),
    "demasiados_sockets": (503, "Hay demasiados clientes conectados"),
    "mensaje_invalido": (0, "Se esperaba un objeto JSON con un campo type"),
    "mensaje_desconocido": (0, "Tipo de mensaje desconocido"),
    "suscripcion_invalida": (0, "SUBSCRIBE lleva listas: productos (identificadores) y eventos (tipos)"),
}
BY_STATUS = {status: code for code, (status, _) in reversed(FAILURES.items())}

# Messages for values that PostgreSQL rejects, by SQLSTATE. They also apply to constraints that the owner has added.
REFUSALS = {
    "0A000": "no lo permite la base de datos",
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

PREVENTED = [{"field": "", "message": REFUSALS["42501"]}]  # by a trigger or a policy of the owner

KEPT = (hdrs.ALLOW, hdrs.RETRY_AFTER, hdrs.WWW_AUTHENTICATE)  # headers of aiohttp's own errors

logger = logging.getLogger(__name__)

Faults = Sequence[Mapping[str, str | int]]


class Failure(Exception):
    """End a request with the error body of a code. `message`: another text than that of FAILURES. `data`: JSON text for
    the body, such as the current product."""

    def __init__(
        self, code: str, message: str = "", *, errors: Faults = (), data: str = "", headers: LooseHeaders | None = None
    ) -> None:
        super().__init__(code)
        status, text = FAILURES[code]
        body = f'{{"success":false,"code":"{code}","message":{encode(message or text)}'
        body += f',"errors":{encode(errors)}' if errors else ""
        body += f',"data":{data}' if data else ""
        self.response = web.Response(status=status, text=body + "}", content_type="application/json", headers=headers)


def error_response(exc: Exception, request: web.Request) -> web.Response:
    """Return the response for an exception that a request has raised. Raise the redirects of aiohttp again."""
    match exc:
        case Failure():
            failure = exc
        case ValidationError():
            failure = Failure("datos_invalidos", errors=explain(exc))
        case NotMoved():
            failure = _not_moved(*exc.args)
        case KeyReused():
            failure = Failure("idempotency_key_repetida")
        case Unavailable():
            failure = Failure("sin_base_de_datos", headers={hdrs.RETRY_AFTER: "1"})
        case _ if exc is request.content.exception():  # from reading the body: broken, or the client has disconnected
            failure = Failure("peticion_mal_formada")
        case web.HTTPException() if exc.status < 400:
            raise exc
        case web.HTTPException():
            headers = {name: exc.headers[name] for name in KEPT if name in exc.headers}
            code = BY_STATUS.get(exc.status, "peticion_mal_formada" if exc.status < 500 else "error_interno")
            message = FAILURES[code][1] if exc.status in BY_STATUS else exc.reason
            if exc.status in (401, 403) and exc.text != f"{exc.status}: {exc.reason}":  # in the words of the host
                message = exc.text or message
            failure = Failure(code, message, headers=headers)
            failure.response.set_status(exc.status)
        case Rejected() if faults := _refused(exc):
            code = "valor_repetido" if exc.code in ("23505", "23P01") else "rechazado_por_la_base"
            failure = Failure(code, errors=faults)
        case _:
            logger.error("%s %s failed", request.method, request.rel_url.raw_path, exc_info=exc)
            failure = Failure("error_interno")
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
    products = dict.fromkeys(product for _, product in unfit if product)
    code = "lineas_imposibles" if all(product for _, product in unfit) else "producto_no_encontrado"
    return Failure(code, FAILURES["lineas_imposibles"][1], errors=errors, data=f"[{','.join(products)}]")
