import { newKey } from './net.js';

// The changes whose outcome is not known yet. No DOM.

const STORE = 'cambios';
const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

/** The changes after a step that writes the change `put`, and removes the one with the number `remove`. */
const after = (changes, { put, remove }) => changes.filter(({ n }) => n !== remove && n !== put?.n).concat(put ?? []).sort((a, b) => a.n - b.n);

// A storage is a function that, in one transaction, reads all changes in order and makes the step that `task` returns for them;
// it returns [the changes after it, `put`].

/** The storage of the browser (IndexedDB: a browser that is killed forgets the localStorage of the last seconds). */
function stored(name) {
  const open = async () => {
    const opening = indexedDB.open(name, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: 'n' });
    return done(opening);
  };
  let database;
  return async (task) => {
    const transaction = (await (database ??= open())).transaction(STORE, 'readwrite', { durability: 'strict' });
    const written = new Promise((resolve, reject) => { transaction.oncomplete = resolve; transaction.onabort = () => reject(transaction.error); });
    const store = transaction.objectStore(STORE);
    const all = await done(store.getAll());
    const step = task(all);
    if (step.put) store.put(step.put);
    if (step.remove) store.delete(step.remove);
    await written;
    return [after(all, step), step.put];
  };
}

/** A storage until the page is closed, for browsers that forbid the other. */
function fleeting() {
  let changes = [];
  return async (task) => {
    const step = task(changes);
    changes = after(changes, step);
    return [changes, step.put];
  };
}

const isSame = (a, b) => (a ?? null) === (b ?? null);

/**
 * Changes in the order in which they were made, each with an Idempotency-Key. They are kept in the browser until their
 * outcome is known, also after a reload or the next day. Of several pages one sends them, one after the other.
 *
 * A change is {kind, id, ...}. Moves ({kind: 'move', id, delta, motivo}) of one product that still wait are made one. An update
 * ({kind: 'update', id, values, base, version}) or a deletion that is refused with 412 because of other fields is sent again:
 * `base` has the former values of its fields, those of earlier moves that wait included. `send(change)` makes a change, and throws a ServiceError if it is refused; with status 401 the
 * change stays, and the queue stops; `again`: it may have been made before. `versionOf(id)` is the `updated_at` of the product as the page knows it.
 * Events:
 *   'cola'      the changes that wait are others
 *   'resultado' {change, answer, error, mine, quiet}: an outcome; `mine`: the change was added since this page was loaded
 */
export class Queue extends EventTarget {
  /** Whose changes are sent and shown: those of another owner stay in the storage until that owner comes back. */
  owner = '';
  #changes = []; // as they are in the storage
  #adding = new Set(); // those that are being written to it
  #waiting = new Map(); // key -> [{resolve, reject, quiet}] of changes that were added here
  #landed = new Set(); // keys of moves whose event has come before the answer
  #unseen = []; // {id, delta, version} of moves whose answer has come before the event
  #started = false;
  #running = false;
  #fleeting = fleeting();
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

  #isOurs = ({ owner }) => owner === '' || owner === this.owner;

  /** The changes of the owner that wait, in order. */
  get changes() {
    return [...this.#changes, ...this.#adding].filter(this.#isOurs);
  }

  /** Whether they outlive the page. */
  get lasting() {
    return this.#storage !== this.#fleeting;
  }

  /** The units by which moves will change the stock of a product from what the page knows. */
  unitsOf(id) {
    const moves = this.changes.filter((change) => change.kind === 'move' && !this.#landed.has(change.key));
    const unseen = this.#unseen.filter(({ version }) => this.versionOf(id) < version);
    return [...moves, ...unseen].reduce((sum, move) => sum + (move.id === id ? move.delta : 0), 0);
  }

  /** The ids of products for which unitsOf() may not be 0. */
  get moving() {
    return new Set([...this.changes.filter(({ kind }) => kind === 'move'), ...this.#unseen].map(({ id }) => id));
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
    const added = { ...change, key: newKey(), at: Date.now(), owner: this.owner };
    this.#adding.add(added);
    this.#emit('cola');
    const kept = await this.#step((all) => ({ put: this.#join(all, added) }));
    const outcome = new Promise((resolve, reject) => {
      this.#waiting.set(kept.key, [...this.#waiting.get(kept.key) ?? [], { resolve, reject, quiet }]);
    });
    this.#adding.delete(added);
    this.#channel?.postMessage(null);
    this.#emit('cola');
    this.#run();
    return outcome;
  }

  /** Notes that the event of a product has come, which moved its stock by so many units to this version. */
  land(id, delta, version) {
    if (this.#unseen.some((move) => move.id === id && move.version === version)) return;
    const sent = this.changes.find((change) => change.kind === 'move' && change.sent && change.id === id && change.delta === delta && !this.#landed.has(change.key));
    if (sent) this.#landed.add(sent.key);
  }

  /** The change as it is kept: a move may join the last one of its product, unless that is on its way. */
  #join(all, added) {
    const last = all.findLast(({ id, owner }) => isSame(id, added.id) && owner === added.owner);
    const joins = added.kind === 'move' && last?.kind === 'move' && !last.sent && isSame(last.motivo, added.motivo) && !last.undoes === !added.undoes;
    return joins ? { ...last, delta: last.delta + added.delta } : { ...added, n: (all.at(-1)?.n ?? 0) + 1 };
  }

  /** A step in the storage, in a new connection to it if that is gone, or without it. */
  async #step(task) {
    for (const storage of [this.#storage, stored(this.name), this.#fleeting]) {
      this.#storage = storage;
      try {
        const [changes, put] = await storage(task);
        this.#changes = changes;
        return put;
      } catch { /* the next */ }
    }
  }

  async #read() {
    await this.#step(() => ({}));
    this.#emit('cola');
    this.#run();
  }

  async #run() {
    if (this.#running || !this.#started || !this.changes.some(({ n }) => n)) return;
    this.#running = true;
    try {
      const turn = () => this.#sendFirst();
      await (this.locks ? this.locks.request(this.name, turn) : turn());
    } finally {
      this.#running = false;
    }
    this.#run();
  }

  /** Sends the first change, which nothing joins any more; without locks, another page may send it too, with the same key. */
  async #sendFirst() {
    let change = await this.#step((all) => {
      const next = all.find(this.#isOurs);
      return { put: next && { ...next, sent: true, again: next.sent } };
    });
    while (change && this.#started) {
      const outcome = { change, answer: null };
      try {
        if (change.delta !== 0) outcome.answer = await this.send(change);
      } catch (error) {
        const { status, code, message, errors, data } = error;
        if (status === 401) {
          this.#started = false;
          return;
        }
        const again = code === 'producto_cambiado' && rebased(change, data);
        if (again) {
          change = await this.#step(() => ({ put: again }));
          continue;
        }
        outcome.error = { status, code, message, errors, data };
      }
      await this.#step(() => ({ remove: change.n }));
      this.#settle(outcome);
      this.#channel?.postMessage(outcome);
      this.#emit('cola');
      return;
    }
  }

  /** Tells an outcome to those who wait for it on this page. */
  #settle({ change, answer, error }) {
    const { key, kind, id, delta } = change;
    const waiting = this.#waiting.get(key) ?? [];
    const version = answer?.data?.updated_at;
    if (kind === 'move' && version > this.versionOf(id) && !this.#landed.has(key)) this.#unseen.push({ id, delta, version });
    this.#unseen = this.#unseen.filter((move) => this.versionOf(move.id) < move.version);
    this.#changes = this.#changes.filter((one) => one.key !== key);
    this.#waiting.delete(key);
    this.#landed.delete(key);
    for (const { resolve, reject } of waiting) error ? reject(error) : resolve(answer);
    this.#emit('resultado', { change, answer, error, mine: waiting.length > 0, quiet: waiting.length === 1 && waiting[0].quiet() });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** The update or deletion for the version that there is now, unless somebody else has changed one of its fields. */
function rebased(change, now) {
  const { values = {}, base } = change;
  const alone = base && now && Object.keys(base).every((field) => now[field] === base[field] || now[field] === values[field]);
  return alone && { ...change, version: now.updated_at };
}
