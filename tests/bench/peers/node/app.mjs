// The guide's own architecture: one HTTP server with Express and ws, pg below, and a Set of clients that hear of each
// change after it was stored. PostgreSQL is found by PGHOST and its like, the port by PORT.
import http from 'node:http';
import express from 'express';
import pg from 'pg';
import { WebSocketServer, WebSocket } from 'ws';

const POOL_SIZE = 8;
const FIELDS = ['nombre', 'descripcion', 'precio', 'stock'];

class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

class ProductRepository {
  constructor(pool) {
    this.pool = pool;
  }

  async prepare() {
    await this.pool.query(`CREATE TABLE IF NOT EXISTS productos (
      id SERIAL PRIMARY KEY,
      nombre VARCHAR(255) NOT NULL,
      descripcion TEXT,
      precio NUMERIC(12, 2) NOT NULL CHECK (precio >= 0),
      stock INTEGER NOT NULL DEFAULT 0 CHECK (stock >= 0),
      created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
      updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
    )`);
  }

  async list(limit) {
    const { rows } = await this.pool.query('SELECT * FROM productos ORDER BY id LIMIT $1', [limit]);
    return rows;
  }

  async get(id) {
    const { rows } = await this.pool.query('SELECT * FROM productos WHERE id = $1', [id]);
    return rows[0];
  }

  async create({ nombre, descripcion = null, precio, stock = 0 }) {
    const { rows } = await this.pool.query(
      'INSERT INTO productos (nombre, descripcion, precio, stock) VALUES ($1, $2, $3, $4) RETURNING *',
      [nombre, descripcion, precio, stock],
    );
    return rows[0];
  }

  async update(id, fields) {
    const names = Object.keys(fields);
    const changes = names.map((name, index) => `${name} = $${index + 2}`).join(', ');
    const { rows } = await this.pool.query(
      `UPDATE productos SET ${changes}, updated_at = now() WHERE id = $1 RETURNING *`,
      [id, ...names.map((name) => fields[name])],
    );
    return rows[0];
  }

  async moveStock(id, delta) {
    const { rows } = await this.pool.query(
      'UPDATE productos SET stock = stock + $2, updated_at = now() WHERE id = $1 AND stock + $2 >= 0 RETURNING *',
      [id, delta],
    );
    return rows[0];
  }

  async delete(id) {
    const { rows } = await this.pool.query('DELETE FROM productos WHERE id = $1 RETURNING *', [id]);
    return rows[0];
  }
}

class ProductService {
  constructor(repository) {
    this.repository = repository;
  }

  validate(body, required) {
    const fields = Object.fromEntries(FIELDS.filter((name) => body?.[name] !== undefined).map((name) => [name, body[name]]));
    const { nombre, descripcion, precio, stock } = fields;
    const good =
      (nombre === undefined ? !required : typeof nombre === 'string' && nombre.trim() && nombre.length <= 255) &&
      (descripcion === undefined || descripcion === null || typeof descripcion === 'string') &&
      (precio === undefined ? !required : typeof precio === 'number' && precio >= 0 && precio < 1e10) &&
      (stock === undefined || (Number.isInteger(stock) && stock >= 0)) &&
      Object.keys(fields).length;
    if (!good) throw new Failure(400, 'Datos no válidos');
    if (nombre !== undefined) fields.nombre = nombre.trim();
    return fields;
  }

  list(limit) {
    return this.repository.list(Number.isInteger(limit) && limit > 0 ? limit : null);
  }

  async get(id) {
    const product = await this.repository.get(id);
    if (!product) throw new Failure(404, 'Producto no encontrado');
    return product;
  }

  createProduct(body) {
    return this.repository.create(this.validate(body, true));
  }

  async updateProduct(id, body) {
    const product = await this.repository.update(id, this.validate(body, false));
    if (!product) throw new Failure(404, 'Producto no encontrado');
    return product;
  }

  async moveStock(id, delta) {
    if (!Number.isInteger(delta) || delta === 0) throw new Failure(400, 'Datos no válidos');
    const product = await this.repository.moveStock(id, delta);
    if (!product) {
      await this.get(id);
      throw new Failure(409, 'No hay existencias suficientes');
    }
    return product;
  }

  async deleteProduct(id) {
    const product = await this.repository.delete(id);
    if (!product) throw new Failure(404, 'Producto no encontrado');
    return product;
  }
}

class WebSocketService {
  constructor(server) {
    this.wss = new WebSocketServer({ server });
    this.clients = new Set();
    this.wss.on('connection', (ws) => {
      this.clients.add(ws);
      ws.on('close', () => this.clients.delete(ws));
      ws.on('error', () => this.clients.delete(ws));
      ws.send(
        JSON.stringify({
          type: 'CONNECTION_ESTABLISHED',
          message: 'Conectado al servidor WebSocket',
          timestamp: new Date().toISOString(),
        }),
      );
    });
  }

  broadcast(type, data) {
    const message = JSON.stringify({ type, data, timestamp: new Date().toISOString() });
    this.clients.forEach((client) => {
      if (client.readyState === WebSocket.OPEN) client.send(message);
    });
  }
}

pg.types.setTypeParser(pg.types.builtins.NUMERIC, parseFloat);
const pool = new pg.Pool({ max: POOL_SIZE });
const repository = new ProductRepository(pool);
const service = new ProductService(repository);
await repository.prepare();

const app = express();
app.use(express.json());
const server = http.createServer(app);
const sockets = new WebSocketService(server);

app.get('/api/productos', async (req, res) => {
  res.json({ success: true, data: await service.list(Number(req.query.limit)) });
});

app.get('/api/productos/:id', async (req, res) => {
  res.json({ success: true, data: await service.get(parseInt(req.params.id)) });
});

app.post('/api/productos', async (req, res) => {
  const data = await service.createProduct(req.body);
  sockets.broadcast('PRODUCT_CREATED', data);
  res.status(201).json({ success: true, message: 'Producto creado exitosamente', data });
});

const update = async (req, res) => {
  const data = await service.updateProduct(parseInt(req.params.id), req.body);
  sockets.broadcast('PRODUCT_UPDATED', data);
  res.json({ success: true, message: 'Producto actualizado exitosamente', data });
};
app.put('/api/productos/:id', update);
app.patch('/api/productos/:id', update);

app.post('/api/productos/:id/stock', async (req, res) => {
  const data = await service.moveStock(parseInt(req.params.id), req.body?.delta);
  sockets.broadcast('PRODUCT_UPDATED', data);
  res.json({ success: true, message: 'Existencias actualizadas exitosamente', data });
});

app.delete('/api/productos/:id', async (req, res) => {
  const data = await service.deleteProduct(parseInt(req.params.id));
  sockets.broadcast('PRODUCT_DELETED', { id: data.id });
  res.json({ success: true, message: 'Producto eliminado exitosamente', data });
});

// Express knows an error handler by its four parameters.
app.use((error, req, res, next) => {
  res.status(error.status ?? 500).json({ success: false, message: error.message });
});

server.listen(Number(process.env.PORT), '127.0.0.1');
