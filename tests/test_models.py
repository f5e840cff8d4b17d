from decimal import Decimal

import pytest
from pydantic import ValidationError

from inventory_ws.products.exact_json import decode, encode
from inventory_ws.products.listing import ListQuery
from inventory_ws.products.models import NewProduct, ProductChange, StockMove, explain
from inventory_ws.products.repository import Product


def faults(model: type, body: str) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(decode(body.encode()))
    return {fault["field"]: fault["message"] for fault in explain(caught.value)}


def test_product_keeps_its_price_exact() -> None:
    product = NewProduct.model_validate(decode(b'{"nombre":" Mouse ","precio":9999999999.99}'))
    assert product.precio == Decimal("9999999999.99")
    assert product.nombre == "Mouse"
    assert product.descripcion is None
    assert product.stock == 0


@pytest.mark.parametrize("number", ["0", "-0.0", "0e-1000000", "12.5", "12.50", "12.500", "1e2", "1E+2"])
def test_product_accepts_every_notation_of_a_price(number: str) -> None:
    assert NewProduct.model_validate(decode(f'{{"nombre":"x","precio":{number}}}'.encode())).precio == Decimal(number)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("NaN", "tiene que ser un número finito"),
        ("Infinity", "tiene que ser un número finito"),
        ("1e400", "tiene demasiadas cifras"),
        ("9" * 5000, "tiene demasiadas cifras"),
        ("true", "tiene que ser un número"),
        ("null", "tiene que ser un número"),
        ('"12.50"', "tiene que ser un número"),
        ("[1]", "tiene que ser un número"),
        ("-0.01", "no puede ser menor que 0"),
        ("1.234", "tiene más de 2 decimales"),
        ("1e-5", "tiene más de 2 decimales"),
        ("10000000000", "tiene demasiadas cifras"),
        ("1234567890.129999999999", "tiene demasiadas cifras"),
    ],
)
def test_product_names_what_is_wrong_with_a_price(number: str, message: str) -> None:
    assert faults(NewProduct, f'{{"nombre":"x","precio":{number}}}') == {"precio": message}


@pytest.mark.parametrize("number", ["-1", "2147483648", "9" * 5000, "1.5", "1e-5", "1e10", "true", "null", '"1"'])
def test_product_names_what_is_wrong_with_a_stock(number: str) -> None:
    assert faults(NewProduct, f'{{"nombre":"x","precio":1,"stock":{number}}}').keys() == {"stock"}


@pytest.mark.parametrize("number", ["30", "30.0", "3e1", "300e-1"])
def test_stock_is_whole_in_every_notation(number: str) -> None:
    assert NewProduct.model_validate(decode(f'{{"nombre":"x","precio":1,"stock":{number}}}'.encode())).stock == 30


@pytest.mark.parametrize(
    "text",
    ['""', '"  \\t"', '"\\u00a0\\u200b"', '"\\u0000"', '"a\\u0000b"', '"\\ud800"', "null", "5", f'"{"x" * 256}"'],
)
def test_product_names_what_is_wrong_with_a_name(text: str) -> None:
    assert faults(NewProduct, f'{{"nombre":{text},"precio":1}}').keys() == {"nombre"}


def test_product_names_all_invalid_fields_together() -> None:
    assert faults(NewProduct, '{"descripcion":7,"stock":-1,"color":"rojo"}') == {
        "nombre": "es obligatorio",
        "descripcion": "tiene que ser un texto",
        "precio": "es obligatorio",
        "stock": "no puede ser menor que 0",
        "color": "no es un campo de este recurso",
    }


@pytest.mark.parametrize("body", ["[]", "null", '"x"', "7"])
def test_product_must_be_an_object(body: str) -> None:
    assert faults(NewProduct, body) == {"": "tiene que ser un objeto JSON"}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 100_000, b'{"nombre":"\xff"}', b'{"precio":1e99999999999999999999}']
)
def test_decode_refuses_what_is_not_json(body: bytes) -> None:
    with pytest.raises(ValueError, match="."):
        decode(body)


def test_change_distinguishes_omitted_fields() -> None:
    change = ProductChange.model_validate(decode(b'{"descripcion":null,"stock":3}'))
    assert change.model_dump(exclude_unset=True) == {"descripcion": None, "stock": 3}


@pytest.mark.parametrize("field", ["nombre", "precio", "stock"])
def test_change_accepts_null_for_the_description_only(field: str) -> None:
    assert faults(ProductChange, f'{{"{field}":null}}').keys() == {field}


@pytest.mark.parametrize("delta", ["0", "1.5", "true", "null", '"1"', "-2147483648", "9" * 5000])
def test_move_names_what_is_wrong_with_a_delta(delta: str) -> None:
    assert faults(StockMove, f'{{"delta":{delta}}}').keys() == {"delta"}


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "x"),
        ("limit", ""),
        ("after", "-1"),
        ("after", "9" * 40),
        ("q", "\0"),
    ],
)
def test_query_names_what_is_wrong(field: str, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ListQuery.model_validate({field: text})
    assert [fault["field"] for fault in explain(caught.value)] == [field]


def test_version_is_not_taken_from_a_text() -> None:
    named = {"id": 1, "nombre": '","updated_at":"ayer', "updated_at": "2026-11-24T10:00:00.000Z"}
    assert Product(1, encode(named)).version == "2026-11-24T10:00:00.000Z"
