"""The models of products and queries, and JSON. Knows neither HTTP nor SQL."""

import json
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

INT4_MAX = 2_147_483_647
INT8_MAX = 9_223_372_036_854_775_807

# The errors of pydantic in Spanish.
MESSAGES = {
    "model_type": "tiene que ser un objeto JSON",
    "missing": "es obligatorio",
    "extra_forbidden": "no es un campo de este recurso",
    "string_type": "tiene que ser un texto",
    "string_unicode": "no es texto válido",
    "string_too_short": "no puede estar vacío",
    "string_too_long": "tiene más de {max_length} caracteres",
    "int_type": "tiene que ser un número entero",
    "int_parsing": "tiene que ser un número entero",
    "int_parsing_size": "es un número demasiado grande",
    "finite_number": "tiene que ser un número finito",
    "decimal_max_digits": "tiene demasiadas cifras",
    "decimal_whole_digits": "tiene demasiadas cifras",
    "decimal_max_places": "tiene más de {decimal_places} decimales",
    "greater_than_equal": "no puede ser menor que {ge}",
    "less_than_equal": "no puede ser mayor que {le}",
}


def _storable(text: str) -> str:
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise PydanticCustomError("storable", "lleva un carácter que no se puede guardar")
    return text


def _visible(text: str) -> str:
    if not any(character.isprintable() and not character.isspace() for character in text):
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


Nombre = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=255),
    AfterValidator(_storable),
    AfterValidator(_visible),
]
Descripcion = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_storable)]
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
    """The fields to change; an omitted field keeps its value, so the defaults are never used. Only `descripcion` may be null."""

    nombre: Nombre = ""
    descripcion: Descripcion | None = None
    precio: Precio = Decimal(0)
    stock: Stock = 0


class StockMove(_Body):
    """Units that come in (positive) or go out (negative), and the reason."""

    delta: Annotated[int, Field(ge=-INT4_MAX, le=INT4_MAX), AfterValidator(_moving)]
    motivo: Annotated[str, StringConstraints(strip_whitespace=True, max_length=255), AfterValidator(_storable)] = ""


class Page(BaseModel):
    """A query for at most `limit` products with ids above `after`. Each word of `q` has to occur in name or description. `at`: the
    state after that event (None: now)."""

    model_config = ConfigDict(frozen=True)

    limit: Annotated[int, Field(ge=1, le=1000)] | None = None
    after: Annotated[int, Field(ge=0, le=INT8_MAX)] = 0
    q: Annotated[str, StringConstraints(max_length=255), AfterValidator(_storable)] = ""
    at: Annotated[int, Field(ge=0, le=INT8_MAX)] | None = None


class EventPage(BaseModel):
    """A query for at most `limit` events with ids above `after`. `before`: only events below it, newest first. `producto`: only
    events of this product."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 1000
    after: Annotated[int, Field(ge=0, le=INT8_MAX)] = 0
    before: Annotated[int, Field(ge=1, le=INT8_MAX)] | None = None
    producto: Annotated[int, Field(ge=1, le=INT8_MAX)] | None = None


def number_of(text: str) -> int | Decimal:
    """Parse a number: an int if it is whole, however it is written (30.0, 3e1), else a Decimal."""
    number = Decimal(text)
    return int(number) if number.adjusted() < 20 and number == number.to_integral_value() else number


# int() raises on more than 4,300 digits. Decimal has no limit: a long number is an error of its field, and not invalid JSON.
DECODER = json.JSONDecoder(
    parse_float=number_of, parse_int=lambda digits: int(digits) if len(digits) < 20 else Decimal(digits)
)


def decode(body: bytes) -> Any:
    """Parse JSON with exact numbers. Raises ValueError."""
    try:
        return DECODER.decode(body.decode())
    except (RecursionError, ArithmeticError) as exc:
        raise ValueError("nested too deeply, or an exponent out of all range") from exc


def encode(value: object) -> str:
    """Serialize to JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def explain(error: ValidationError) -> list[dict[str, str]]:
    """Return the errors by field: `[{"field": "precio", "message": "es obligatorio"}]`."""
    return [
        {
            "field": str(fault["loc"][0]) if fault["loc"] else "",
            "message": MESSAGES.get(fault["type"], fault["msg"]).format(**fault.get("ctx", {})),
        }
        for fault in error.errors(include_url=False, include_input=False)
    ]
