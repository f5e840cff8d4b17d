"""Files of real shops: what a trial tells is what an import does; what somebody has sold meanwhile does not come back."""

from typing import Any

from aiohttp.test_utils import TestClient

from .conftest import create, error, settled

FILE = {"Content-Type": "application/octet-stream"}


async def asked(client: TestClient, text: str | bytes, **query: Any) -> dict[str, Any]:
    """Sends the file, and returns the data of the answer."""
    body = text.encode() if isinstance(text, str) else text
    resp = await client.post("/api/productos", data=body, headers=FILE, params=query)
    assert resp.status == 200, await resp.text()
    return (await resp.json())["data"]


async def tried(client: TestClient, text: str | bytes, **query: Any) -> dict[str, Any]:
    """Sees what the file would do."""
    return await asked(client, text, ensayo=1, **query)


def counted(trial: dict[str, Any]) -> dict[str, int]:
    """The counts of a trial that are not 0."""
    names = ("nuevos", "cambiados", "iguales", "faltas", "avisos", "omitidos", "repetidos")
    return {name: trial[name] for name in names if trial[name]}


async def test_trial_tells_what_the_import_does(client: TestClient) -> None:
    await create(client, nombre="Teclado", precio=10, stock=1)
    await create(client, nombre="Ratón", precio=5, stock=2)
    await settled(client, 2)
    file = "id;nombre;precio;stock\n1;Teclado;12,50;1\n2;Ratón;5;2\n;Cable;1;-3\n;Silla;x;1\n;;;\n;Total;99;9\n"
    trial = await tried(client, file)
    assert {
        name: trial[name] for name in ("formato", "codificacion", "separador", "hojas", "hoja", "fila_titulos")
    } == {
        "formato": "csv",
        "codificacion": "utf-8",
        "separador": ";",
        "hojas": [],
        "hoja": None,
        "fila_titulos": 1,
    }
    assert trial["columnas"][1] == {
        "columna": 2,
        "titulo": "nombre",
        "campo": "nombre",
        "muestra": ["Teclado", "Ratón", "Cable"],
    }
    assert trial["desde"] == 2
    assert counted(trial) == {"nuevos": 1, "cambiados": 1, "iguales": 1, "faltas": 1, "omitidos": 1, "avisos": 2}
    changed, same, new, wrong, total = trial["filas"]
    assert changed == {
        "fila": 2,
        "estado": "cambiado",
        "id": 1,
        "nombre": "Teclado",
        "antes": {"precio": 10},
        "despues": {"precio": 12.5},
        "errors": [],
        "avisos": [],
    }
    assert (same["fila"], same["estado"]) == (3, "igual")
    assert (new["estado"], new["id"], new["avisos"]) == ("nuevo", None, ["el stock era -3: se importa 0"])
    assert new["despues"] == {"nombre": "Cable", "precio": 1, "stock": 0}
    assert wrong["errors"] == [{"row": 5, "field": "precio", "message": "tiene que ser un número"}]
    assert (total["estado"], total["avisos"]) == ("omitido", ["parece una fila de totales"])
    assert [row["fila"] for row in (await tried(client, file, solo="aviso"))["filas"]] == [4, 7]
    assert (await tried(client, file, limite=1))["filas"] == [changed]
    assert await last_event(client) == 2
    resp = await client.post("/api/productos", data=file.encode(), headers=FILE)
    assert (await error(resp, 400))["errors"] == wrong["errors"]
    assert await asked(client, file, filas="validas") == {
        "creados": 1,
        "actualizados": 1,
        "restantes": wrong["errors"],
    }


async def last_event(client: TestClient) -> int:
    return (await (await client.get("/api/salud")).json())["data"]["last_event_id"]


async def test_columns_are_chosen_where_titles_tell_nothing(client: TestClient) -> None:
    trial = await tried(client, "Mouse;12,50;3\nTeclado;20;4\n")
    assert trial["fila_titulos"] is None
    assert [fault["field"] for fault in trial["errors"]] == ["nombre", "precio"]
    assert [column["titulo"] for column in trial["columnas"]] == ["columna 1", "columna 2", "columna 3"]
    chosen = {"nombre": "columna 1", "precio": "columna 2", "stock": "columna 3"}
    assert counted(await tried(client, "Mouse;12,50;3\nTeclado;20;4\n", **chosen)) == {"nuevos": 2}
    file = "Producto;Nombre;Precio;Cantidad;Stock\nA1;Mouse;1;2;3\n"
    assert (await tried(client, file))["filas"][0]["despues"] == {"nombre": "Mouse", "precio": 1, "stock": 3}
    chosen = {"nombre": "Producto", "stock": ""}
    assert (await tried(client, file, **chosen))["filas"][0]["despues"] == {"nombre": "A1", "precio": 1}
    assert (await tried(client, file, precio="Coste"))["errors"] == [
        {"row": 1, "field": "precio", "message": "no hay ninguna columna «Coste»"},
        {"row": 1, "field": "precio", "message": "falta esta columna"},
    ]


async def test_name_that_exists_is_omitted_updated_or_created(client: TestClient) -> None:
    await create(client, nombre="Mouse", precio=10, stock=1)
    file = "nombre,precio,stock\nMouse,11,\nCable,1,2\nCable,3,4\n"
    trial = await tried(client, file)
    assert counted(trial) == {"nuevos": 3, "avisos": 2, "repetidos": 2}
    assert [row["avisos"] for row in trial["filas"]] == [
        ["ya hay un producto con este nombre"],
        [],
        ["el mismo nombre que en la fila 3"],
    ]
    assert counted(await tried(client, file, repetidos="omitir")) == {
        "nuevos": 1,
        "omitidos": 2,
        "avisos": 2,
        "repetidos": 2,
    }
    trial = await tried(client, file, repetidos="actualizar")
    assert counted(trial) == {"nuevos": 1, "cambiados": 1, "faltas": 1, "repetidos": 2}
    assert (trial["filas"][0]["id"], trial["filas"][0]["despues"]) == (1, {"precio": 11})
    count = "nombre,stock\nMouse,7\nOtro,1\n"  # a count of what exists needs no prices
    trial = await tried(client, count, repetidos="actualizar")
    assert [row["despues"] for row in trial["filas"]] == [{"stock": 7}, None]
    assert trial["filas"][1]["errors"] == [{"row": 3, "field": "precio", "message": "es obligatorio"}]
    await asked(client, count, repetidos="actualizar", filas="validas")
    assert (await (await client.get("/api/productos/1")).json())["data"]["stock"] == 7
