const SOCKET_REFUSALS = {
  1003: 'el servidor no admite este tipo de mensaje',
  1008: 'demasiados mensajes seguidos',
  1009: 'un mensaje era demasiado grande',
  4401: 'falta una clave de acceso válida',
};
const isFinal = (code) => code in SOCKET_REFUSALS || (code >= 4400 && code < 4500);
const PRODUCT_EVENT = /^PRODUCT_(CREATED|UPDATED|DELETED)$/;
const UNKNOWN = [0, 502, 503, 504]; // statuses that leave open whether a change was made; 0: nothing came back
const ROOM_LIMIT = 300; // ids of ten digits in a frame of 4 KiB and in a URL

// What is listened to is a Set of product ids, or null for all of them.
const covers = (a, b) => a === null || (b !== null && [...b].every((id) => a.has(id)));
const same = (a, b) => covers(a, b) && covers(b, a);
const both = (a, b) => (a === null ? b : b === null ? a : new Set([...a].filter((id) => b.has(id))));

/** UTF-8 as a string of one character a byte: what a header holds and btoa takes. */
const bytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));
const base64url = (text) => btoa(bytes(text)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

/** A key for one change. Not randomUUID, which pages have over https alone. */
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

/** What fetch() does, telling which part of the body has gone out. */
function send(url, { method, headers, body, signal }, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => progress(loaded / total);
    request.onload = () => {
      const retry = request.getResponseHeader('Retry-After');
      resolve(new Response(request.response, { status: request.status, headers: retry ? { 'Retry-After': retry } : {} }));
    };
    request.onerror = request.onabort = reject;
    signal.onabort = () => request.abort();
    request.send(body);
  });
}

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
 * `products` is a Map from id to row. `token` is the access key, '' where the service needs none.
 * `create`, `update`, `delete` and `moveStock` make a change once, and return when its outcome is known: where the network,
 * the service or its database is away they ask again, with the same key, until it is back. They throw a ServiceError where
 * the change was refused. A service without keys (and so without positions) is asked once; its outcome may stay unknown.
 * Events, each with a `detail`:
 *   'estado'    {state, seconds, reason, unauthorized}: conectando, conectado, reconectando (seconds left),
 *               detenido (reason; unauthorized: for want of the right `token`)
 *   'lista'     {before}: `products` was loaded anew; `before` is the Map it replaces
 *   'evento'    {message, before, applied, missed}: one change as it came, the row before it, whether it was news,
 *               whether it is (or may be) from the time without a connection
 *   'reanudado' {changes}: a connection went on where the last one ended, and this many changes had been missed
 *   'mensaje'   {message}: CONNECTION_ESTABLISHED or ERROR
 */
export class Inventario extends EventTarget {
  products = new Map();
  // Of the products in #heard, `products` holds all that happened up to this position. Both mean something within one
  // epoch of the log; null before the first list, and of a service that has no positions.
  lastEventId = 0;
  epoch = null;
  #heard = null;
  state = 'conectando';
  #wanted = null; // what to listen to
  #asked = null; // what the socket was last told to listen to
  #asking = false; // and has not confirmed yet
  #current = null; // the epoch that the socket was last told
  #resuming = false;
  #early = null; // what arrives before the list or, resuming, before the welcome
  #catchUp = null; // {changes, until} while what was missed comes in
  #socket = null;
  #retryTimer;
  #pingTimer;
  #deadline;
  #calmTimer;
  #quietTimer;
  #ceiling;
  #keyless = false;
  /** What requests and sockets are made with, here for whoever looks on to put theirs in its place. */
  net = {
    ask: (url, options, progress) => (progress ? send(url, options, progress) : fetch(url, options)),
    open: (url, protocols) => new WebSocket(url, protocols),
  };

  constructor(base, { token = '', pingEvery = 30_000, patience = 10_000, firstDelay = 1_000, maxDelay = 30_000, goodAfter = 5_000, answerWithin = 15_000 } = {}) {
    super();
    this.token = token;
    this.times = { pingEvery, patience, firstDelay, maxDelay, goodAfter, answerWithin };
    this.api = new URL('api/productos', base);
    this.log = new URL('api/eventos', base);
    this.socketUrl = new URL('ws', base);
    this.socketUrl.protocol = this.socketUrl.protocol.replace('http', 'ws');
    this.#ceiling = firstDelay;
    globalThis.addEventListener?.('online', () => this.#wake());
    globalThis.addEventListener?.('pageshow', ({ persisted }) => persisted && this.#wake(true));
    globalThis.document?.addEventListener('visibilitychange', () => document.hidden || this.#wake());
  }

  /** The products as they are, or as they were after the event `at`. */
  list = (at) => this.#request('GET', at === undefined ? '' : `?at=${at}`);
  events = (after, limit) => this.#request('GET', `?after=${after}&limit=${limit}`, { from: this.log });
  get = (id) => this.#request('GET', `/${id}`);
  create = (product) => this.#change('POST', '', { body: product });
  /** `version` is the `updated_at` the change began from: 412 when the row has moved on. */
  update = (id, changes, version) => this.#change('PATCH', `/${id}`, { body: changes, version });
  delete = (id, version) => this.#change('DELETE', `/${id}`, { version });
  /** `motivo`: why, where it is said. */
  moveStock = (id, delta, motivo) => this.#change('POST', `/${id}/stock`, { body: { delta, motivo } });
  /** Creates and changes products by the rows of a CSV file; `progress` is told which part of it has gone out. */
  importFile = (text, progress) => this.#change('POST', '', { file: text, progress });
  /** The newest 100 events of a product below the event `before`, the newest first. */
  eventsOf = (id, before = Number.MAX_SAFE_INTEGER) => this.#request('GET', `?producto=${id}&before=${before}&limit=100`, { from: this.log });

  /** Listens only to the products with these ids; to all with null, with none of them (nobody means that), and with very many. */
  only(ids) {
    const few = ids && ids.size > 0 && ids.size <= ROOM_LIMIT;
    this.#wanted = few ? new Set(ids) : null;
    this.#subscribe();
  }

  /** Whether only some products are listened to. */
  get limited() {
    return this.#wanted !== null;
  }

  /** Whether `products` is, or when connected again will be, current in all that is listened to without a new list. */
  get covered() {
    return covers(this.#heard, this.#wanted);
  }

  /** The WebSocket in use; null between two. */
  get socket() {
    return this.#socket;
  }

  /** Connects; when it is waiting to reconnect or has stopped, connects now. */
  connect() {
    this.#drop();
    this.#setState('conectando');
    this.#early = [];
    this.#asked = this.#wanted;
    this.#resuming = this.epoch !== null && this.covered;
    const url = new URL(this.socketUrl);
    if (this.#resuming) {
      url.searchParams.set('last_event_id', this.lastEventId);
      url.searchParams.set('epoch', this.epoch);
    }
    if (this.#asked) url.searchParams.set('productos', [...this.#asked].join());
    const socket = (this.#socket = this.net.open(url, this.token ? ['inventario.v1', `bearer.${base64url(this.token)}`] : []));
    this.#deadline = setTimeout(() => this.#retry(), this.times.patience);
    socket.onopen = () => {
      this.#pingTimer = setInterval(() => this.#ping(), this.times.pingEvery);
    };
    socket.onmessage = ({ data }) => {
      clearTimeout(this.#deadline); // a sign of life
      this.#receive(data);
    };
    socket.onclose = ({ code, reason }) => {
      if (isFinal(code)) this.stop(reason || SOCKET_REFUSALS[code] || `código ${code}`, code === 4401);
      else this.#retry();
    };
  }

  stop(reason = 'se pidió parar', unauthorized = false) {
    this.#drop();
    this.#setState('detenido', { reason, unauthorized });
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
    if (type === 'CONNECTION_ESTABLISHED') this.#begin(message);
    else if (type === 'SUBSCRIBED') this.#subscribed();
    else if (type === 'ERROR' && this.#asking) {
      this.#wanted = null; // it does not know rooms: everything, then
      this.connect();
    }
    else if (type === 'PONG') this.#moveOn(message);
    if (!PRODUCT_EVENT.test(type)) return;
    if (this.#early) this.#early.push(message);
    else this.#apply(message);
  }

  #begin({ recovered, epoch = null, last_event_id: position = 0 }) {
    this.#current = epoch;
    // Only now the list: read before this position was taken, it could lack what lies between.
    if (!recovered || !this.#resuming) return this.#load(position);
    this.epoch = epoch; // it may be a newer one, in which the position counts as well
    this.#heard = this.#asked; // from here on the position moves for these alone
    this.#catchUp = { changes: 0, until: performance.now() + 5_000 };
    this.#awaitQuiet();
    this.#goOn();
  }

  /** Loads the list on a socket that hears all the service does after `position`. */
  async #load(position) {
    const socket = this.#socket;
    this.#early ??= [];
    let answer;
    try {
      answer = await this.list();
    } catch (error) {
      if (socket !== this.#socket) return;
      if (error.status === 403) return this.stop(error.message);
      // A socket without its list is worth nothing: one way to fail, one backoff.
      return this.#retry(error.retryAfter * 1000);
    }
    if (socket !== this.#socket) return; // a newer connection took over meanwhile
    if ((answer.epoch ?? null) !== this.#current) return this.#retry(); // the log began anew between the two
    const before = this.products;
    this.products = new Map(answer.data.map((row) => [row.id, row]));
    // Of two instances of the service, that of the list may be the one behind: the list still holds what the socket told of.
    this.lastEventId = Math.max(answer.last_event_id ?? 0, position);
    this.epoch = this.#current;
    this.#keyless = this.epoch === null;
    this.#heard = this.#asked;
    this.#emit('lista', { before });
    this.#goOn();
  }

  #goOn() {
    const early = this.#early;
    this.#early = null;
    for (const message of early) this.#apply(message);
    if (this.state !== 'conectado') {
      this.#calmTimer = setTimeout(() => { this.#ceiling = this.times.firstDelay; }, this.times.goodAfter);
      this.#setState('conectado');
    }
    this.#subscribe();
  }

  /** Tells the socket what to listen to, if that has changed and nothing is under way; whatever is, comes back here. */
  #subscribe() {
    if (this.state !== 'conectado' || this.#early || this.#asking || same(this.#asked, this.#wanted)) return;
    this.#asking = true;
    this.#asked = this.#wanted;
    // What it hears no more ends here; what it hears anew begins with the list.
    this.#heard = both(this.#heard, this.#asked);
    this.#send(this.#asked ? { type: 'SUBSCRIBE', productos: [...this.#asked] } : { type: 'UNSUBSCRIBE' });
  }

  #subscribed() {
    if (!this.#asking) return;
    this.#asking = false;
    if (covers(this.#heard, this.#asked)) this.#subscribe();
    else this.#load(this.lastEventId);
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
    if (this.#catchUp) {
      this.#catchUp.changes += applied;
      this.#awaitQuiet();
    }
    this.#emit('evento', { message, before, applied, missed: this.#catchUp !== null });
  }

  /** The socket has been sent all up to `position`, even if nothing of it was for this client; it counts in `epoch`. */
  #moveOn({ last_event_id: position, epoch = this.#current }) {
    this.#current = epoch;
    if (this.#early) return; // the list says where it stands
    this.epoch = epoch;
    if (!this.#catchUp && position > this.lastEventId) this.lastEventId = position;
  }

  // Nothing on the wire says where the missed ends: a moment without events does, or five seconds.
  #awaitQuiet() {
    clearTimeout(this.#quietTimer);
    this.#quietTimer = setTimeout(() => this.#caughtUp(), Math.min(300, this.#catchUp.until - performance.now()));
  }

  #caughtUp() {
    clearTimeout(this.#quietTimer);
    if (!this.#catchUp) return;
    const { changes } = this.#catchUp;
    this.#catchUp = null;
    this.#emit('reanudado', { changes });
  }

  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #ping() {
    this.#send({ type: 'PING' });
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#retry(), this.times.patience);
  }

  #wake(thawed = false) {
    const { readyState } = this.#socket ?? {};
    // CLOSING or CLOSED, its event may never come; and in the browser's cache of pages none stays open, whatever it says.
    if (this.state === 'reconectando' || readyState > (thawed ? 0 : 1)) this.connect();
    else if (readyState === 1) this.#ping(); // after sleep a dead link still looks open
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
    clearTimeout(this.#calmTimer);
    clearInterval(this.#pingTimer);
    this.#caughtUp();
    this.#asking = false;
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

  async #change(method, path, more) {
    const key = newKey();
    for (let pause = this.times.firstDelay; ; pause = Math.min(pause * 2, this.times.patience)) {
      try {
        return await this.#request(method, path, { ...more, key });
      } catch (error) {
        if (this.#keyless || !UNKNOWN.includes(error.status)) throw error;
        const wait = error.retryAfter * 1000 + Math.random() * pause;
        await new Promise((resolve) => { setTimeout(resolve, wait); });
      }
    }
  }

  async #request(method, path, { body, file, progress, version, key, from = this.api } = {}) {
    const headers = method === 'GET' ? {} : { 'Content-Type': file ? 'text/csv' : 'application/json' };
    if (version) headers['If-Match'] = `"${version}"`;
    if (key && !this.#keyless) headers['Idempotency-Key'] = key;
    const { token } = this;
    if (token) headers.Authorization = `Bearer ${bytes(token)}`;
    const signal = AbortSignal.timeout(this.times.answerWithin * (file ? 8 : 1));
    const options = { method, headers, body: file ?? (body && JSON.stringify(body)), cache: 'no-cache', signal };
    let response;
    try {
      response = await this.net.ask(from + path, options, progress);
    } catch {
      throw new ServiceError(0, signal.aborted ? 'El servidor no contestó a tiempo.' : 'No se pudo llegar al servidor.');
    }
    const answer = await response.json().catch(() => null); // a proxy's error page is not JSON
    if (response.ok && answer?.success) {
      if (this.state === 'reconectando') this.connect(); // it answers again: no reason to wait
      return answer;
    }
    const message = answer?.message || `El servidor contestó con un error (${response.status}).`;
    if (response.status === 401 && token === this.token) this.stop(message, true);
    throw new ServiceError(response.status, message, {
      errors: answer?.errors,
      data: answer?.data,
      retryAfter: Number(response.headers.get('Retry-After')) || 0,
    });
  }
}
