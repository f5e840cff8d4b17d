"""JSON with exact numbers: a price is read as a Decimal and never passes through a float."""

import json
from decimal import Decimal
from typing import Any

from pydantic_core import to_json


def number_of(text: str) -> int | Decimal:
    """Parse a number: an int if it is whole, however it is written (30.0, 3e1), else a Decimal."""
    number = Decimal(text)
    return int(number) if number.adjusted() < 20 and number == number.to_integral_value() else number


# int() raises on more than 4,300 digits. Decimal has no limit: a long number is an error of its field, and not invalid JSON.
DECODER = json.JSONDecoder(
    parse_float=number_of, parse_int=lambda digits: int(digits) if len(digits) < 20 else Decimal(digits)
)


def decode(body: bytes) -> Any:
    """Parse JSON in UTF-8, with or without a BOM. Raise ValueError; UnicodeDecodeError if it is not UTF-8."""
    try:
        return DECODER.decode(body.decode("utf-8-sig"))
    except (RecursionError, ArithmeticError) as exc:
        raise ValueError("nested too deeply, or an exponent out of all range") from exc


def encode(value: object) -> str:
    return to_json(value).decode()
