"""The same inventory with FastAPI and asyncpg, its sockets kept by the ConnectionManager of FastAPI's own tutorial.

PostgreSQL is found by PGHOST and its like."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import asyncpg
from fastapi import FastAPI, HTTPException, Query, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field

POOL_SIZE = 8
TABLE = """
    CREATE TABLE IF NOT EXISTS productos (
        id serial PRIMARY KEY,
        nombre varchar(255) NOT NULL,
        descripcion text,
        precio numeric(12, 2) NOT NULL CHECK (precio >= 0),
        stock integer NOT NULL DEFAULT 0 CHECK (stock >= 0),
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    )
"""

Nombre = Annotated[str, Field(min_length=1, max_length=255)]
Precio = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2)]
Stock = Annotated[int, Field(ge=0)]


class NewProduct(BaseModel):
    nombre: Nombre
    descripcion: str | None = None
    precio: Precio
    stock: Stock = 0


class ProductChange(BaseModel):
    nombre: Nombre = ""
    descripcion: str | None = None
    precio: Precio = Decimal(0)
    stock: Stock = 0


class StockMove(BaseModel):
    delta: int


class Product(BaseModel):
    id: int
    nombre: str
    descripcion: str | None
    precio: float
    stock: int
    created_at: datetime
    updated_at: datetime


class Products(BaseModel):
    success: bool = True
    data: list[Product]


class One(BaseModel):
    success: bool = True
    data: Product


class Changed(One):
    message: str


class Event(BaseModel):
    type: str
    data: Product | dict[str, int]
    timestamp: datetime


class ConnectionManager:
    def __init__(self) -> None:
        self.active_connections: list[WebSocket] = []

    async def connect(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self.active_connections.append(websocket)

    def disconnect(self, websocket: WebSocket) -> None:
        self.active_connections.remove(websocket)

    async def broadcast(self, message: str) -> None:
        for connection in list(self.active_connections):
            with suppress(WebSocketDisconnect, RuntimeError):  # it is closing; its own endpoint takes it out
                await connection.send_text(message)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(min_size=POOL_SIZE, max_size=POOL_SIZE) as app.state.pool:
        await app.state.pool.execute(TABLE)
        yield


app = FastAPI(lifespan=lifespan)
manager = ConnectionManager()


def product(row: asyncpg.Record | None) -> Product:
    if row is None:
        raise HTTPException(404, "Producto no encontrado")
    return Product(**row)


async def tell(kind: str, data: Product | dict[str, int]) -> None:
    await manager.broadcast(Event(type=kind, data=data, timestamp=datetime.now(UTC)).model_dump_json())


@app.get("/api/productos")
async def list_products(limit: Annotated[int | None, Query(ge=1)] = None) -> Products:
    rows = await app.state.pool.fetch("SELECT * FROM productos ORDER BY id LIMIT $1", limit)
    return Products(data=[Product(**row) for row in rows])


@app.get("/api/productos/{product_id}")
async def get_product(product_id: int) -> One:
    return One(data=product(await app.state.pool.fetchrow("SELECT * FROM productos WHERE id = $1", product_id)))


@app.post("/api/productos", status_code=201)
async def create_product(new: NewProduct) -> Changed:
    row = await app.state.pool.fetchrow(
        "INSERT INTO productos (nombre, descripcion, precio, stock) VALUES ($1, $2, $3, $4) RETURNING *",
        new.nombre,
        new.descripcion,
        new.precio,
        new.stock,
    )
    created = product(row)
    await tell("PRODUCT_CREATED", created)
    return Changed(message="Producto creado exitosamente", data=created)


@app.put("/api/productos/{product_id}")
@app.patch("/api/productos/{product_id}")
async def update_product(product_id: int, change: ProductChange) -> Changed:
    fields: dict[str, Any] = change.model_dump(exclude_unset=True)
    if not fields:
        raise HTTPException(400, "No hay nada que cambiar")
    changes = ", ".join(f"{name} = ${number}" for number, name in enumerate(fields, 2))
    sql = f"UPDATE productos SET {changes}, updated_at = now() WHERE id = $1 RETURNING *"
    updated = product(await app.state.pool.fetchrow(sql, product_id, *fields.values()))
    await tell("PRODUCT_UPDATED", updated)
    return Changed(message="Producto actualizado exitosamente", data=updated)


@app.post("/api/productos/{product_id}/stock")
async def move_stock(product_id: int, move: StockMove) -> Changed:
    row = await app.state.pool.fetchrow(
        """
        UPDATE productos SET stock = stock + $2, updated_at = now()
        WHERE id = $1 AND stock + $2 >= 0 RETURNING *
        """,
        product_id,
        move.delta,
    )
    if row is None:
        await get_product(product_id)
        raise HTTPException(409, "No hay existencias suficientes")
    moved = product(row)
    await tell("PRODUCT_UPDATED", moved)
    return Changed(message="Existencias actualizadas exitosamente", data=moved)


@app.delete("/api/productos/{product_id}")
async def delete_product(product_id: int) -> Changed:
    gone = product(await app.state.pool.fetchrow("DELETE FROM productos WHERE id = $1 RETURNING *", product_id))
    await tell("PRODUCT_DELETED", {"id": gone.id})
    return Changed(message="Producto eliminado exitosamente", data=gone)


@app.websocket("/ws")
async def websocket_endpoint(websocket: WebSocket) -> None:
    await manager.connect(websocket)
    welcome = {"type": "CONNECTION_ESTABLISHED", "message": "Conectado al servidor WebSocket"}
    try:
        await websocket.send_json(welcome | {"timestamp": datetime.now(UTC).isoformat()})
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        manager.disconnect(websocket)
