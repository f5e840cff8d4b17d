import { newKey } from './net.js';

// The changes whose outcome is not known yet. No DOM.

const STORE = 'cambios';
const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

/** The changes after a step, {put, remove}: a change to write, and the `n` of those to remove; or a function that returns this for them. */
function after(changes, step) {
  const { put, remove = [] } = typeof step === 'function' ? step(changes) : step;
  const left = changes.filter(({ n }) => n !== put?.n && !remove.includes(n));
  return left.concat(put ?? []).sort((a, b) => (a.n < b.n ? -1 : 1));
}

/**
 * Returns a function that makes a step in the storage of the browser, in one transaction, and returns all changes after it, in order.
 * IndexedDB: a browser that is killed forgets the localStorage of the last seconds.
 */
function stored(name) {
  const open = async () => {
    const opening = indexedDB.open(name, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: 'n' });
    return done(opening);
  };
  let database;
  return async (step) => {
    const transaction = (await (database ??= open())).transaction(STORE, 'readwrite', { durability: 'strict' });
    const written = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
    const store = transaction.objectStore(STORE);
    const { put, remove = [] } = typeof step === 'function' ? step(await done(store.getAll())) : step;
    for (const n of remove) store.delete(n);
    if (put) store.put(put);
    const all = done(store.getAll());
    transaction.commit(); // so that a page may be closed as soon as something was added
    return (await Promise.all([all, written]))[0];
  };
}

/** What a change does to products, each with a name: {id, delta} of a move, {id, values} of an edit or a deletion. */
function effectsOf({ kind, key, id, delta, values, lines }) {
  const own = { move: { id, delta }, update: { id, values }, delete: { id, values: { gone: true } } }[kind];
  return (lines ?? (own ? [own] : [])).map((line) => ({ ...line, name: `${key} ${line.id}` }));
}

const isSame = (a, b) => (a ?? null) === (b ?? null);
const keysOf = ({ key, keys = [key] }) => keys;

/** Whether two moves of a product are one to people. */
export const areAlike = (a, b) => isSame(a.motivo, b.motivo) && !a.undoes === !b.undoes;

/** The changes as they are sent: moves of one product that wait are one, with the `keys` of all of them. */
function joined(changes) {
  const sent = [];
  for (const change of changes) {
    const at = sent.findLastIndex(({ id, owner }) => isSame(id, change.id) && owner === change.owner);
    const last = sent[at];
    const joins = change.kind === 'move' && last?.kind === 'move' && !last.sent && areAlike(last, change);
    if (joins) sent[at] = { ...last, delta: last.delta + change.delta, keys: [...keysOf(last), change.key] };
    else sent.push(change);
  }
  return sent;
}

/**
 * Changes in the order in which they were made, each with an Idempotency-Key. They are kept in the browser until their
 * outcome is known, also after a reload or the next day. Of several pages one sends them, one after the other.
 *
 * A change is {kind, id, ...}. Moves ({kind: 'move', id, delta, motivo}) of one product that still wait are made one; a sale
 * ({kind: 'sale', lines: [{id, delta}]}) moves several products. An update
 * ({kind: 'update', id, values, base, version}) or a deletion that is refused with 412 because of other fields is sent again:
 * `base` has the former values of its fields, those of earlier changes that wait included. `send(change)` makes a change, and throws a ServiceError if it is refused; with status 401 the
 * change stays, and the queue stops; `again`: it may have been made before. `versionOf(id)` is the `updated_at` of the product as the page knows it.
 * Events:
 *   'cola'      the changes that wait are others
 *   'resultado' {change, answer, error, mine, quiet}: an outcome; `mine`: the change was added since this page was loaded
 */
export class Queue extends EventTarget {
  /** Whose changes are sent and shown: those of another owner stay in the storage until that owner comes back. null: everybody's. */
  owner = '';
  /** Whether changes outlive the page: some browsers forbid it. */
  lasting = true;
  #changes = []; // as they are in the storage
  #adding = new Set(); // those that are being written to it
  #waiting = new Map(); // key -> {resolve, reject, quiet} of changes that were added here
  #landed = new Set(); // names of moves whose event has come before the answer
  #unseen = []; // {id, delta, values, version} of effects whose answer has come before the event
  #started = false;
  #running = false;
  #storage;
  #channel;

  constructor(name, send, { versionOf = () => '', locks = globalThis.navigator?.locks } = {}) {
    super();
    Object.assign(this, { name, send, versionOf, locks });
    this.#channel = globalThis.BroadcastChannel && new BroadcastChannel(name);
    this.#channel?.addEventListener('message', ({ data }) => {
      if (data) this.#settle(data);
      this.#read();
    });
    globalThis.addEventListener?.('pageshow', ({ persisted }) => persisted && this.#read());
    this.#storage = stored(name);
    this.#read();
  }

  #emit = (name, detail) => this.dispatchEvent(new CustomEvent(name, { detail }));
  #isOurs = ({ owner }) => owner === '' || [null, owner].includes(this.owner);

  #waits = () => [...this.#changes, ...this.#adding].filter(this.#isOurs);

  /** The changes of the owner that wait, in order, as they are sent. */
  get changes() {
    return joined(this.#waits());
  }

  /** A product, as the page knows it, as it will be when all that waits is made. */
  expected(row) {
    const unseen = this.#unseen.filter(({ version }) => this.versionOf(row.id) < version);
    const waiting = this.#waits().flatMap(effectsOf).filter(({ name }) => !this.#landed.has(name));
    const effects = [...unseen, ...waiting].filter(({ id }) => id === row.id);
    return effects.reduce((now, { values, delta = 0 }) => {
      const next = { ...now, ...values };
      return { ...next, stock: next.stock + delta };
    }, row);
  }

  /** The ids of products that will change. */
  get moving() {
    return new Set([...this.#waits().flatMap(effectsOf), ...this.#unseen].map(({ id }) => id));
  }

  /** Sends what waits, from now on. */
  start(owner = this.owner) {
    this.owner = owner;
    this.#started = true;
    this.#emit('cola');
    this.#run();
  }

  /** Returns the answer of the service, once there is one; null if nothing was left to do. `quiet()`: whether whoever adds it tells its refusal, if nothing has joined it. */
  async add(change, { quiet = () => false } = {}) {
    const key = newKey();
    const last = [...this.#changes, ...this.#adding].at(-1);
    const at = Math.max(Date.now(), Math.ceil(performance.timeOrigin), (last?.at ?? 0) + 1); // a clock may be put back
    const added = { ...change, key, at, n: `${at} ${key}`, owner: this.owner };
    const outcome = new Promise((resolve, reject) => this.#waiting.set(key, { resolve, reject, quiet }));
    this.#adding.add(added);
    this.#emit('cola');
    await this.#step({ put: added });
    this.#adding.delete(added);
    this.#channel?.postMessage(null);
    this.#emit('cola');
    this.#run();
    return outcome;
  }

  /** Notes that the event of a product has come, which moved its stock by so many units to this version. */
  land(id, delta, version) {
    if (this.#unseen.some((move) => move.id === id && move.version === version)) return;
    const moves = this.#waits().filter(({ sent }) => sent).flatMap(effectsOf);
    const move = moves.find((one) => one.id === id && one.delta === delta && !this.#landed.has(one.name));
    if (move) this.#landed.add(move.name);
  }

  /** Makes a step in the storage, in a new connection to it if that is gone, or without it. */
  async #step(step) {
    for (const storage of this.lasting ? [this.#storage, stored(this.name)] : []) {
      this.#storage = storage;
      try {
        return (this.#changes = await storage(step));
      } catch { /* the next */ }
    }
    this.lasting = false;
    this.#changes = after(this.#changes, step);
    return this.#changes;
  }

  async #read() {
    await this.#step({});
    this.#emit('cola');
    this.#run();
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    const turn = () => this.#sendFirst();
    try {
      // What is not stored is of this page alone, and a browser that forbids storage denies locks too.
      while (this.#started && this.#waits().length) await (this.lasting && this.locks ? this.locks.request(this.name, turn) : turn());
    } finally {
      this.#running = false;
    }
  }

  /** Sends the first change, which nothing joins any more. Without locks, another page may send it too, with the same key: the first outcome is told. */
  async #sendFirst() {
    const change = (await this.#step(this.#take)).find(this.#isOurs);
    if (!change) return this.#emit('cola'); // another page has made it
    const isLeft = (all) => all.some(({ n }) => n === change.n);
    const outcome = { change, answer: null };
    try {
      if (change.delta !== 0) outcome.answer = await this.send(change);
    } catch (error) {
      if (error.status === 401) {
        this.#started = false;
        return;
      }
      const again = error.code === 'producto_cambiado' && rebased(change, error.data);
      if (again) return this.#step((all) => (isLeft(all) ? { put: again } : {}));
      outcome.error = { ...error, message: error.message };
    }
    let isFirst;
    await this.#step((all) => {
      isFirst = this.locks || isLeft(all);
      return { remove: [change.n] };
    });
    if (isFirst) { // else the other page tells its outcome
      this.#settle(outcome);
      this.#channel?.postMessage(outcome);
    }
    this.#emit('cola');
  }

  /** The step that makes the first change one that is on its way, with the moves that have joined it. */
  #take = (all) => {
    const [next] = joined(all.filter(this.#isOurs));
    if (!next) return {};
    const others = all.filter(({ key }) => keysOf(next).indexOf(key) > 0);
    return { put: { ...next, sent: true, again: next.sent }, remove: others.map(({ n }) => n) };
  };

  /** Tells an outcome to those who wait for it on this page. */
  #settle({ change, answer, error }) {
    const keys = keysOf(change);
    const waiting = keys.flatMap((key) => this.#waiting.get(key) ?? []);
    const rows = [answer?.data].flat(); // of a sale, one for each line
    for (const [n, { id, delta, values, name }] of effectsOf(change).entries()) {
      const version = rows[n]?.updated_at;
      if (!this.#landed.delete(name) && version > this.versionOf(id)) this.#unseen.push({ id, delta, values, version });
    }
    this.#unseen = this.#unseen.filter((move) => this.versionOf(move.id) < move.version);
    this.#changes = this.#changes.filter(({ key }) => !keys.includes(key));
    for (const key of keys) this.#waiting.delete(key);
    for (const { resolve, reject } of waiting) error ? reject(error) : resolve(answer);
    const quiet = keys.length === 1 && waiting.some((one) => one.quiet());
    this.#emit('resultado', { change, answer, error, mine: waiting.length > 0, quiet });
  }
}

/** The update or deletion for the version that there is now, unless somebody else has changed one of its fields. */
function rebased(change, now) {
  const { values = {}, base } = change;
  const alone = base && now && Object.keys(base).every((field) => now[field] === base[field] || now[field] === values[field]);
  return alone && { ...change, version: now.updated_at, sent: false };
}
