import { ServiceError, base64url, byId, bytes, isFinal, newKey } from './net.js';

const PRODUCT_EVENT = /^PRODUCT_(CREATED|UPDATED|DELETED)$/;
const UNKNOWN = [0, 429, 502, 503, 504]; // statuses after which a change may have been made, by this try or by an earlier one; 0: no answer
const ROOM_LIMIT = 300; // ids of ten digits in a frame of 4 KiB and in a URL

// A subscription is a Set of product ids, or null for all products.
const covers = (a, b) => a === null || (b !== null && b.isSubsetOf(a));
const same = (a, b) => covers(a, b) && covers(b, a);
const both = (a, b) => (a === null ? b : b === null ? a : a.intersection(b));

/**
 * The products of the service at `base`, kept current. No DOM.
 *
 * `products` is a Map from id to row. `newestFirst`: the newest are loaded before the rest. `token` is the access key, '' if the service needs none.
 * `user`: in whose name changes are made; those in another name are refused.
 * `create`, `update`, `delete`, `restore`, `move` and `sale` make a change once, and return when its outcome is known. While the network,
 * the service or its database is unavailable, they retry with the same Idempotency-Key: `key`, where a change is made again that
 * may have been made before this page was loaded. They throw a ServiceError if the change is refused. A service without positions has no keys either: it gets each request once, and an outcome may stay unknown.
 * Events, each with a `detail`:
 *   'estado'    {state, seconds, reason, unauthorized}: conectando, conectado, reconectando (seconds left),
 *               detenido (reason; unauthorized: the `token` is missing or wrong)
 *   'lista'     {before}: `products` was loaded again; `before` is the former Map
 *   'primeros'  {}: of the first list, `products` has the newest 60, and all others follow
 *   'evento'    {message, before, applied, missed}: one change, the former row, whether `products` has changed, and whether
 *               the change was (or may have been) made while the connection was lost
 *   'reanudado' {}: a new connection resumed where the last one ended, and has brought what was missed
 *   'mensaje'   {message}: CONNECTION_ESTABLISHED or ERROR
 */
export class Inventario extends EventTarget {
  products = new Map();
  newestFirst = false;
  token = '';
  times = { pingEvery: 20_000, patience: 10_000, firstDelay: 1_000, maxDelay: 30_000, goodAfter: 5_000, answerWithin: 15_000, doubtAfter: 2_000 }; // ms
  // The position: `products` contains all events up to it of the products in #heard. It is valid in `epoch`, which is null
  // before the first list and if the service has no positions.
  lastEventId = 0;
  epoch = null;
  #heard = null;
  state = 'conectando';
  #wanted = null; // the subscription that this page needs
  #asked = null; // the subscription that was sent last
  #asking = false; // it is not confirmed yet
  #current = null; // the last epoch that the service has sent
  #resuming = false;
  #early = null; // events that arrive before the list or, when resuming, before the welcome
  #catchUp = 0; // the last event that was missed, until it has arrived
  socket = null; // the current WebSocket
  #timers = {}; // retry, ping (an interval), deadline, calm
  #ceiling = this.times.firstDelay;
  #keyless = false;
  #deaths = 0; // connections that gave no PONG in time, since the last that did
  #line = new AbortController(); // of the requests that go over the same line as the socket
  /** Makes requests and sockets. An observer may replace both functions. */
  net = {
    ask: (url, options) => fetch(url, options),
    open: (url, protocols) => new WebSocket(url, protocols),
  };

  #send = (message) => this.socket.send(JSON.stringify(message));
  #emit = (name, detail) => this.dispatchEvent(new CustomEvent(name, { detail }));

  constructor(base) {
    super();
    this.api = new URL('api/productos', base);
    this.log = new URL('api/eventos', base);
    this.stock = new URL('api/stock', base);
    this.socketUrl = new URL('ws', base);
    this.socketUrl.protocol = this.socketUrl.protocol.replace('http', 'ws');
    globalThis.addEventListener?.('online', () => this.#wake());
    globalThis.addEventListener?.('pageshow', ({ persisted }) => persisted && this.#wake(true));
    globalThis.document?.addEventListener('visibilitychange', () => document.hidden || this.#wake());
  }

  /** The current products, or those after the event `at`. */
  list = (at) => this.#request('GET', at === undefined ? '' : `?at=${at}`);
  events = (after, limit) => this.#request('GET', `?after=${after}&limit=${limit}`, { from: this.log });
  create = ({ values, key }) => this.#change('POST', '', { body: values, key });
  /** `version`: the `updated_at` of the row that was edited. 412 if it has changed since. */
  update = ({ id, values, version, key }) => this.#change('PATCH', `/${id}`, { body: values, version, key });
  delete = ({ id, version, key }) => this.#change('DELETE', `/${id}`, { version, key });
  /** Brings a deleted product back, with its id. */
  restore = ({ id, key }) => this.#change('POST', `/${id}/restaurar`, { key });
  /** `motivo`: the reason, optional. */
  move = ({ id, delta, motivo, key }) => this.#change('POST', `/${id}/stock`, { body: { delta, motivo }, key });
  /** What a file would change; `how`: the query. */
  tryFile = (file, how) => this.#request('POST', `?${new URLSearchParams({ ...how, ensayo: 1 })}`, { file });
  importFile = (file, how, key) => this.#change('POST', `?${new URLSearchParams(how)}`, { file, key });
  /** Takes back what nobody has changed since the import with this key. */
  undoImport = (key) => this.#change('POST', '', { from: new URL(`importaciones/${key}/deshacer`, this.api) });
  /** Moves the stock of several products, of all or of none; `lines` are {id, delta}. */
  sale = ({ lines, motivo, key }) => {
    const movimientos = lines.map(({ id, delta }) => ({ id, delta }));
    return this.#change('POST', '', { body: { movimientos, motivo }, key, from: this.stock });
  };
  /** The newest 100 events of a product below the event `before`, the newest first. */
  eventsOf = (id, before = Number.MAX_SAFE_INTEGER) => this.#request('GET', `?producto=${id}&before=${before}&limit=100`, { from: this.log });

  /** Subscribes to the products with these ids; to all products if `ids` is null, empty, or too large for one message. */
  only(ids) {
    const few = ids && ids.size > 0 && ids.size <= ROOM_LIMIT;
    this.#wanted = few ? new Set(ids) : null;
    this.#subscribe();
  }

  /** Whether the subscription is limited to some products. */
  isLimited = () => this.#wanted !== null;
  /** Whether `products` is current for all subscribed products, or will be after a resume, without loading the list again. */
  isCovered = () => covers(this.#heard, this.#wanted);

  /** Connects; also if it has stopped or is waiting to reconnect. */
  connect() {
    this.#drop();
    this.#setState('conectando');
    this.#early = [];
    this.#asked = this.#wanted;
    this.#resuming = this.epoch !== null && this.isCovered();
    const url = new URL(this.socketUrl);
    if (this.#resuming) {
      url.searchParams.set('last_event_id', this.lastEventId);
      url.searchParams.set('epoch', this.epoch);
    }
    if (this.#asked) url.searchParams.set('productos', [...this.#asked].join());
    const socket = (this.socket = this.net.open(url, this.token ? ['inventario.v1', `bearer.${base64url(this.token)}`] : []));
    this.#timers.deadline = setTimeout(() => this.#retry(), this.times.patience);
    socket.onopen = () => {
      this.#timers.ping = setInterval(() => this.#ping(), this.times.pingEvery);
    };
    socket.onmessage = ({ data }) => {
      clearTimeout(this.#timers.deadline); // the connection is alive
      this.#receive(data);
    };
    socket.onclose = ({ code, reason }) => {
      if (isFinal(code)) this.stop(reason || `código ${code}`, code === 4401);
      else this.#retry();
    };
  }

  stop(reason = 'se pidió parar', unauthorized = false) {
    this.#drop();
    this.#setState('detenido', { reason, unauthorized });
  }

  #receive(text) {
    const message = JSON.parse(text);
    const { type } = message;
    if (type === 'CONNECTION_ESTABLISHED' || type === 'ERROR') this.#emit('mensaje', { message });
    if (type === 'CONNECTION_ESTABLISHED') this.#begin(message);
    else if (type === 'SUBSCRIBED') this.#subscribed();
    else if (type === 'ERROR' && this.#asking) {
      this.#wanted = null; // the service has no rooms: all events
      this.connect();
    }
    else if (type === 'PONG') this.#moveOn(message);
    if (!PRODUCT_EVENT.test(type)) return;
    if (this.#early) this.#early.push(message);
    else this.#apply(message);
  }

  #begin({ recovered, epoch = null, last_event_id: position = 0, newest_event_id: newest = 0 }) {
    this.#current = epoch;
    this.#catchUp = 0;
    // The list is loaded after the position is known: an older list could lack the events in between.
    if (!recovered || !this.#resuming) return this.#load(position);
    this.epoch = epoch; // a newer epoch, perhaps, in which the position is valid too
    this.#heard = this.#asked; // from now on, the position advances with events of these products only
    this.#catchUp = Math.max(newest, this.lastEventId);
    this.#goOn();
    if (this.#asked) this.#ping(); // where the subscription excludes the last one, the position tells
    this.#caughtUp(this.lastEventId);
  }

  /** Loads the list, while the socket receives all events after `position`. */
  async #load(position) {
    const socket = this.socket;
    this.#early ??= [];
    if (this.newestFirst && this.#current && !this.products.size) this.#loadNewest();
    const answer = await this.list().catch((error) => ({ error }));
    if (socket !== this.socket) return; // there is a newer connection
    const { error } = answer;
    if (error?.status === 403) return this.stop(error.message);
    // A socket without a list is useless: reconnect, so that both share one backoff.
    if (error) return this.#retry(error.retryAfter * 1000);
    if ((answer.epoch ?? null) !== this.#current) return this.#retry(); // an epoch began between the two
    const before = this.products;
    this.products = byId(answer);
    this.lastEventId = answer.last_event_id ?? position;
    this.epoch = this.#current;
    this.#keyless = this.epoch === null;
    this.#heard = this.#asked;
    this.#emit('lista', { before });
    // A list that a cache had kept, or of an instance that lags behind, is continued from its own position: at once, or later if
    // the service has just not known it.
    if (this.lastEventId < position) return this.#resuming ? this.#retry() : this.connect();
    this.#goOn();
  }

  /** Loads the first screen, which does not wait for the rest. */
  async #loadNewest() {
    const { socket, products } = this;
    const answer = await this.#request('GET', `?before=${Number.MAX_SAFE_INTEGER}&limit=60`).catch(() => null); // the list will tell
    if (!answer || socket !== this.socket || products !== this.products) return;
    this.products = byId(answer);
    this.#emit('primeros', {});
  }

  #goOn() {
    const early = this.#early;
    this.#early = null;
    for (const message of early) this.#apply(message);
    if (this.state !== 'conectado') {
      this.#timers.calm = setTimeout(() => { this.#ceiling = this.times.firstDelay; }, this.times.goodAfter);
      this.#setState('conectado');
      this.#emit('vuelve');
    }
    this.#subscribe();
  }

  /** Sends the subscription if it has changed. If a list or a confirmation is pending, this is called again after it. */
  #subscribe() {
    if (this.state !== 'conectado' || this.#early || this.#asking || same(this.#asked, this.#wanted)) return;
    this.#asking = true;
    this.#asked = this.#wanted;
    // Products that are no longer subscribed are not current from now on; new ones are after the next list.
    this.#heard = both(this.#heard, this.#asked);
    this.#ping(); // the position tells how new the next list has to be
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
    // The list contains all events up to lastEventId, and perhaps later ones: updated_at decides, whose texts sort like times
    // (ISO 8601, UTC, milliseconds). Answers of requests never change `products`, only events do: a late answer cannot bring
    // back a deleted row.
    if (!(id <= this.lastEventId)) {
      if (id) this.lastEventId = id;
      if (type === 'PRODUCT_DELETED') applied = this.products.delete(data.id);
      else if ((applied = !before || data.updated_at > before.updated_at)) this.products.set(data.id, data);
    }
    this.#emit('evento', { message, before, applied, missed: this.#catchUp > 0 });
    this.#caughtUp(id);
  }

  /** Advances to the position of the socket, which also counts the events that the subscription excludes. */
  #moveOn({ last_event_id: position, epoch = this.#current }) {
    this.#deaths = 0;
    this.#current = epoch;
    if (this.#early) return; // the list will contain its position
    if (epoch !== this.epoch) { // a promoted standby may lack events: some that `products` has, and the last that was missed
      if (position < this.lastEventId) return this.connect();
      this.#caughtUp();
    }
    this.epoch = epoch;
    this.#caughtUp(position);
    if (!this.#catchUp && position > this.lastEventId) this.lastEventId = position;
  }

  #caughtUp(position) {
    if (!this.#catchUp || position < this.#catchUp) return;
    this.#catchUp = 0;
    this.#emit('reanudado', {});
  }

  #ping(patience = this.times.patience) {
    this.#send({ type: 'PING' });
    clearTimeout(this.#timers.deadline);
    this.#timers.deadline = setTimeout(() => this.#dead(), patience);
  }

  #dead() {
    this.#deaths += 1; // a line that is only slow is given more time the next time
    this.#line.abort();
    this.#line = new AbortController();
    this.#retry();
  }

  #wake(thawed = false) {
    const { readyState } = this.socket ?? {};
    if (this.state === 'conectado') this.#emit('vuelve'); // what waits is tried at once
    // The close event of a CLOSING or CLOSED socket may never come. In the back/forward cache, no socket stays open.
    if (this.state === 'reconectando' || readyState > (thawed ? 0 : 1)) this.connect();
    else if (readyState === 1) this.#ping(); // after sleep, a dead connection still looks open
  }

  #retry(atLeast = 0) {
    this.#drop();
    const due = performance.now() + atLeast + Math.random() * this.#ceiling;
    this.#ceiling = Math.min(this.#ceiling * 2, this.times.maxDelay);
    const countDown = () => {
      const left = due - performance.now();
      if (left <= 0) return this.connect();
      this.#setState('reconectando', { seconds: Math.ceil(left / 1000) });
      this.#timers.retry = setTimeout(countDown, (left % 1000) + 1);
    };
    countDown();
  }

  #drop() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer); // or an interval
    this.#caughtUp();
    this.#asking = false;
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    // On a dead connection close() takes a minute or more: do not wait for its event.
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #setState(state, more = {}) {
    this.state = state;
    this.#emit('estado', { state, ...more });
  }

  async #change(method, path, { key = newKey(), ...more }) {
    for (let pause = this.times.firstDelay; ; pause = Math.min(pause * 2, this.times.patience)) {
      try {
        return await this.#request(method, path, { ...more, key });
      } catch (error) {
        if (this.#keyless || !UNKNOWN.includes(error.status)) throw error;
        const wait = error.retryAfter * 1000 + Math.random() * pause;
        await new Promise((resolve) => {
          setTimeout(resolve, wait);
          this.addEventListener('vuelve', resolve, { once: true, signal: AbortSignal.timeout(wait + 1) }); // no need to wait any more
        });
      }
    }
  }

  async #request(method, path, { body, file, version, key, from = this.api } = {}) {
    const headers = method === 'GET' ? {} : { 'Content-Type': file ? 'application/octet-stream' : 'application/json' };
    if (version) headers['If-Match'] = `"${version}"`;
    if (key && !this.#keyless) headers['Idempotency-Key'] = key;
    const { token, state } = this;
    if (token) headers.Authorization = `Bearer ${bytes(token)}`;
    if (this.user && key) headers['X-Actor'] = encodeURIComponent(this.user);
    const { answerWithin, doubtAfter } = this.times;
    const repeats = key && !this.#keyless && !file; // a dead connection ends it, because it is sent again
    const signal = repeats ? AbortSignal.any([AbortSignal.timeout(answerWithin), this.#line.signal]) : AbortSignal.timeout(answerWithin * (file ? 8 : 1));
    const doubt = setTimeout(() => this.state === 'conectado' && !file && this.#ping((answerWithin / 3) * 2 ** Math.min(this.#deaths, 3)), doubtAfter);
    const options = { method, headers, body: file ?? (body && JSON.stringify(body)), cache: 'no-cache', signal };
    let response;
    try {
      response = await this.net.ask(from + path, options);
    } catch {
      throw new ServiceError(0, signal.aborted ? 'El servidor no contestó a tiempo.' : 'No se pudo llegar al servidor.');
    } finally {
      clearTimeout(doubt);
    }
    const answer = await response.json().catch((error) => {
      if (!response.ok && error instanceof SyntaxError) return null; // an error page of a proxy
      throw new ServiceError(0, 'No llegó una respuesta entera.'); // cut, or the page of a Wi-Fi that wants a login
    });
    if (response.ok && answer?.success) {
      if (state === 'reconectando' && this.state === state) this.connect(); // the service answers again
      return answer;
    }
    const message = answer?.message || `El servidor contestó con un error (${response.status}).`;
    if (response.status === 401 && token === this.token) this.stop(message, true);
    throw new ServiceError(response.status, message, { ...answer, retryAfter: Number(response.headers.get('Retry-After')) || 0 });
  }
}
