const SOCKET_REFUSALS = {
  1003: 'el servidor no admite este tipo de mensaje',
  1008: 'demasiados mensajes seguidos',
  1009: 'un mensaje era demasiado grande',
  4401: 'falta una clave de acceso válida',
};
const isFinal = (code) => code in SOCKET_REFUSALS || (code >= 4400 && code < 4500);
const PRODUCT_EVENT = /^PRODUCT_(CREATED|UPDATED|DELETED)$/;

/** What the service answered instead of doing it; `status` is 0 when nothing came back. */
export class ServiceError extends Error {
  constructor(status, message, { errors = [], data = null, retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { name: 'ServiceError', status, errors, data, retryAfter });
  }
}

/**
 * The products of the service at `base`, kept current. No DOM.
 *
 * `products` is a Map from id to row. Events, each with a `detail`:
 *   'estado'   {state, seconds, reason}: conectando, conectado, reconectando (seconds left), detenido (reason)
 *   'lista'    {before}: `products` was loaded anew; `before` is the Map it replaces
 *   'evento'   {message, before, applied}: one change as it came, the row before it, whether it was news
 *   'mensaje'  {message}: CONNECTION_ESTABLISHED or ERROR
 */
export class Inventario extends EventTarget {
  products = new Map();
  lastEventId = 0; // a resuming connection asks for what comes after it
  state = 'conectando';
  #socket = null;
  #early = null; // what arrives while the list is under way
  #retryTimer;
  #pingTimer;
  #deadline;
  #ceiling;

  constructor(base, { pingEvery = 30_000, patience = 10_000, firstDelay = 1_000, maxDelay = 30_000, answerWithin = 15_000 } = {}) {
    super();
    this.times = { pingEvery, patience, firstDelay, maxDelay, answerWithin };
    this.api = new URL('api/productos', base);
    this.socketUrl = new URL('ws', base);
    this.socketUrl.protocol = this.socketUrl.protocol.replace('http', 'ws');
    this.#ceiling = firstDelay;
    globalThis.addEventListener?.('online', () => this.#wake());
    globalThis.document?.addEventListener('visibilitychange', () => document.hidden || this.#wake());
  }

  list = () => this.#request('GET', '');
  get = (id) => this.#request('GET', `/${id}`);
  create = (product) => this.#request('POST', '', { body: product });
  /** `version` is the `updated_at` the change began from: 412 when the row has moved on. */
  update = (id, changes, version) => this.#request('PATCH', `/${id}`, { body: changes, version });
  delete = (id, version) => this.#request('DELETE', `/${id}`, { version });
  moveStock = (id, delta) => this.#request('POST', `/${id}/stock`, { body: { delta } });

  /** Connects; when it is waiting to reconnect or has stopped, connects now. */
  connect() {
    this.#drop();
    this.#setState('conectando');
    this.#early = [];
    const socket = (this.#socket = new WebSocket(this.socketUrl));
    this.#deadline = setTimeout(() => this.#retry(), this.times.patience);
    socket.onopen = () => {
      this.#signOfLife();
      this.#pingTimer = setInterval(() => this.#ping(), this.times.pingEvery);
      this.#load(socket);
    };
    socket.onmessage = ({ data }) => {
      this.#signOfLife();
      this.#receive(data);
    };
    socket.onclose = ({ code, reason }) => {
      if (isFinal(code)) this.stop(reason || SOCKET_REFUSALS[code] || `código ${code}`);
      else this.#retry();
    };
  }

  stop(reason = 'se pidió parar') {
    this.#drop();
    this.#setState('detenido', { reason });
  }

  async #load(socket) {
    let answer;
    try {
      answer = await this.list();
    } catch (error) {
      if (socket !== this.#socket) return;
      if (error.status === 401 || error.status === 403) return this.stop(error.message);
      // A socket without its list is worth nothing: one way to fail, one backoff.
      return this.#retry(error.retryAfter * 1000);
    }
    if (socket !== this.#socket) return; // a newer connection took over meanwhile
    const before = this.products;
    this.products = new Map(answer.data.map((row) => [row.id, row]));
    this.lastEventId = answer.last_event_id ?? 0;
    this.#emit('lista', { before });
    const early = this.#early;
    this.#early = null;
    for (const message of early) this.#apply(message);
    this.#ceiling = this.times.firstDelay;
    this.#setState('conectado');
  }

  #receive(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    const { type } = message ?? {};
    if (type === 'CONNECTION_ESTABLISHED' || type === 'ERROR') this.#emit('mensaje', { message });
    else if (!PRODUCT_EVENT.test(type)) return;
    else if (this.#early) this.#early.push(message);
    else this.#apply(message);
  }

  #apply(message) {
    const { type, id, data } = message;
    const before = this.products.get(data.id);
    let applied = false;
    // The list may be ahead of the socket: it holds all up to lastEventId and perhaps more, which updated_at tells
    // (ISO 8601 in UTC with milliseconds: text order is time order). HTTP answers never touch the list: the log's
    // order alone decides, so a late answer cannot bring back a deleted row.
    if (!(id <= this.lastEventId)) {
      if (id) this.lastEventId = id;
      if (type === 'PRODUCT_DELETED') applied = this.products.delete(data.id);
      else if ((applied = !before || data.updated_at > before.updated_at)) this.products.set(data.id, data);
    }
    this.#emit('evento', { message, before, applied });
  }

  #ping() {
    this.#socket.send('{"type":"PING"}');
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#retry(), this.times.patience);
  }

  #signOfLife() {
    clearTimeout(this.#deadline);
  }

  #wake() {
    if (this.state === 'reconectando') this.connect();
    else if (this.#socket?.readyState === 1) this.#ping(); // after sleep a dead link still looks open
  }

  #retry(atLeast = 0) {
    this.#drop();
    const due = performance.now() + atLeast + Math.random() * this.#ceiling;
    this.#ceiling = Math.min(this.#ceiling * 2, this.times.maxDelay);
    const countDown = () => {
      const left = due - performance.now();
      if (left <= 0) return this.connect();
      this.#setState('reconectando', { seconds: Math.ceil(left / 1000) });
      this.#retryTimer = setTimeout(countDown, (left % 1000) + 1);
    };
    countDown();
  }

  #drop() {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#deadline);
    clearInterval(this.#pingTimer);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    // On a dead link close() stays in CLOSING for a minute or more: do not wait for its event.
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #setState(state, more = {}) {
    this.state = state;
    this.#emit('estado', { state, ...more });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  async #request(method, path, { body, version } = {}) {
    const headers = method === 'GET' ? {} : { 'Content-Type': 'application/json' };
    if (version) headers['If-Match'] = `"${version}"`;
    const signal = AbortSignal.timeout(this.times.answerWithin);
    let response;
    try {
      response = await fetch(this.api + path, { method, headers, body: body && JSON.stringify(body), cache: 'no-cache', signal });
    } catch {
      throw new ServiceError(0, signal.aborted && method !== 'GET'
        ? 'El servidor no contestó a tiempo: el cambio pudo guardarse o no.'
        : 'No se pudo llegar al servidor.');
    }
    const answer = await response.json().catch(() => null); // a proxy's error page is not JSON
    if (response.ok && answer?.success) return answer;
    throw new ServiceError(response.status, answer?.message || `El servidor contestó con un error (${response.status}).`, {
      errors: answer?.errors,
      data: answer?.data,
      retryAfter: Number(response.headers.get('Retry-After')) || 0,
    });
  }
}
