"""What a valid product is, and the errors of one that is not. Knows neither HTTP nor SQL."""

import re
from collections import Counter
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

INT4_MAX = 2_147_483_647
NOT_STORED = re.compile("[\x00\ud800-\udfff]")  # characters that PostgreSQL cannot store

# By pydantic's type of the error.
VALIDATION_MESSAGES = {
    "model_type": "tiene que ser un objeto JSON",
    "missing": "es obligatorio",
    "extra_forbidden": "no es un campo de este recurso",
    "list_type": "tiene que ser una lista",
    "too_short": "no puede estar vacía",
    "too_long": "tiene más de {max_length} líneas",
    "string_type": "tiene que ser un texto",
    "string_unicode": "no es texto válido",
    "string_too_short": "no puede estar vacío",
    "string_too_long": "tiene más de {max_length} caracteres",
    "int_type": "tiene que ser un número entero",
    "int_parsing": "tiene que ser un número entero",
    "int_parsing_size": "es un número demasiado grande",
    "literal_error": "no es una de las opciones",
    "bool_parsing": "tiene que ser 1 o 0",
    "string_pattern_mismatch": "no tiene la forma que se espera",
    "finite_number": "tiene que ser un número finito",
    "decimal_max_digits": "tiene demasiadas cifras",
    "decimal_whole_digits": "tiene demasiadas cifras",
    "decimal_max_places": "tiene más de {decimal_places} decimales",
    "greater_than_equal": "no puede ser menor que {ge}",
    "less_than_equal": "no puede ser mayor que {le}",
}


def _storable(text: str) -> str:
    if NOT_STORED.search(text):
        raise PydanticCustomError("storable", "lleva un carácter que no se puede guardar")
    return text


STORABLE = AfterValidator(_storable)


def _visible(text: str) -> str:
    if not (text.isprintable() or any(character.isprintable() and not character.isspace() for character in text)):
        raise PydanticCustomError("blank", "no puede estar vacío")
    return text


def _number(value: Any) -> Decimal:
    """Accept numbers only; pydantic would also parse the text "12.50"."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise PydanticCustomError("number", "tiene que ser un número")
    return Decimal(value)


def _to_cents(price: Decimal) -> Decimal:
    """Normalize to two decimals, because PostgreSQL rejects numbers with a large exponent, such as 0e-100000."""
    return price.quantize(Decimal("0.01"))


def _moving(delta: int) -> int:
    if delta == 0:
        raise PydanticCustomError("zero", "no puede ser 0")
    return delta


Delta = Annotated[int, Field(ge=-INT4_MAX, le=INT4_MAX), AfterValidator(_moving)]
Motivo = Annotated[str, StringConstraints(strip_whitespace=True, max_length=255), STORABLE]
Nombre = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=255),
    STORABLE,
    AfterValidator(_visible),
]
Descripcion = Annotated[str, StringConstraints(max_length=10_000), STORABLE]
Precio = Annotated[
    Decimal,
    Field(ge=0, max_digits=12, decimal_places=2, allow_inf_nan=False),
    BeforeValidator(_number),
    AfterValidator(_to_cents),
]
Stock = Annotated[int, Field(ge=0, le=INT4_MAX)]


class _Body(BaseModel):
    # Cache the strings of keys only; values are rarely repeated.
    model_config = ConfigDict(extra="forbid", strict=True, cache_strings="keys")


class NewProduct(_Body):
    """A product to create; the database sets `id`, `created_at` and `updated_at`."""

    nombre: Nombre
    descripcion: Descripcion | None = None
    precio: Precio
    stock: Stock = 0


class ProductChange(_Body):
    """The fields to change; an omitted field keeps its value, so the defaults are never used. Only `descripcion` may be null.
    A product may come back whole: `id` is not changed, and the times are not read."""

    id: int = Field(0, exclude=True)
    nombre: Nombre = ""
    descripcion: Descripcion | None = None
    precio: Precio = Decimal(0)
    stock: Stock = 0
    created_at: Any = Field(None, exclude=True)
    updated_at: Any = Field(None, exclude=True)


class StockMove(_Body):
    """Units that come in (positive) or go out (negative), and the reason."""

    delta: Delta
    motivo: Motivo = ""


class SaleLine(_Body):
    """Units of one product of several that are moved together."""

    id: Annotated[int, Field(ge=1, le=INT4_MAX)]
    delta: Delta


def _all_moving(lines: list[SaleLine]) -> list[SaleLine]:
    units = Counter[int]()
    for line in lines:
        units[line.id] += line.delta
    if 0 in units.values():  # such a product would have no event
        raise PydanticCustomError("zero", "las líneas de un producto no pueden sumar 0")
    return lines


class Sale(_Body):
    """Stock moves that are made together or not at all, and their reason."""

    movimientos: Annotated[list[SaleLine], Field(min_length=1, max_length=200), AfterValidator(_all_moving)]
    motivo: Motivo = ""


def explain(error: ValidationError) -> list[dict[str, str]]:
    """Return the errors by field: `[{"field": "precio", "message": "es obligatorio"}]`."""
    return [
        {
            "field": ".".join(map(str, fault["loc"] if len(fault["loc"]) > 2 else fault["loc"][:1])),
            "message": VALIDATION_MESSAGES.get(fault["type"], fault["msg"]).format(**fault.get("ctx", {})),
        }
        for fault in error.errors(include_url=False, include_input=False)
    ]
