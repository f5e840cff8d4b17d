import { newKey } from './net.js';

// The changes whose outcome is not known yet. No DOM.

const STORE = 'cambios';
const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

/** The changes in the browser's storage (IndexedDB: a browser that is killed forgets the localStorage of the last seconds). */
class Stored {
  #database;

  constructor(name) {
    this.name = name;
  }

  async #open() {
    const opening = indexedDB.open(this.name, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: 'n' });
    return done(opening);
  }

  /** In one transaction, reads all changes in order and writes what `task` returns of them, {put, remove}; returns `put`. */
  async step(task) {
    const transaction = (await (this.#database ??= this.#open())).transaction(STORE, 'readwrite', { durability: 'strict' });
    const written = new Promise((resolve, reject) => { transaction.oncomplete = resolve; transaction.onabort = () => reject(transaction.error); });
    const store = transaction.objectStore(STORE);
    const { put, remove } = task(await done(store.getAll()));
    if (put) store.put(put);
    if (remove) store.delete(remove);
    await written;
    return put;
  }
}

/** The same until the page is closed, for browsers that forbid the storage. */
class Fleeting {
  #changes = [];

  async step(task) {
    const { put, remove } = task(this.#changes.slice());
    this.#changes = this.#changes.filter(({ n }) => n !== remove && n !== put?.n).concat(put ?? []).sort((a, b) => a.n - b.n);
    return put;
  }
}

const isSame = (a, b) => a === b || (a ?? null) === (b ?? null);

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
  lasting = true; // whether they outlive the page
  #changes = []; // as they are in the storage
  #adding = new Set(); // those that are being written to it
  #waiting = new Map(); // key -> [{resolve, reject, quiet}] of changes that were added here
  #landed = new Set(); // keys of moves whose event has come before the answer
  #unseen = []; // {id, delta, version} of moves whose answer has come before the event
  #started = false;
  #running = false;
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
    this.store = new Stored(name);
    this.#read();
  }

  /** The changes of the owner that wait, in order. */
  get changes() {
    const ours = ({ owner }) => owner === '' || owner === this.owner;
    return [...this.#changes, ...this.#adding].filter(ours);
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
    this.#tell();
    this.#run();
  }

  /** Returns the answer of the service, once there is one; null if nothing was left to do. `quiet()`: whether whoever adds it tells its refusal. */
  async add(change, { quiet = () => false } = {}) {
    const added = { ...change, key: newKey(), at: Date.now(), owner: this.owner };
    this.#adding.add(added);
    this.#tell();
    const kept = await this.#step((all) => ({ put: this.#join(all, added) }));
    const outcome = new Promise((resolve, reject) => {
      this.#waiting.set(kept.key, [...this.#waiting.get(kept.key) ?? [], { resolve, reject, quiet }]);
    });
    this.#adding.delete(added);
    this.#changes = [...this.#changes.filter(({ n }) => n !== kept.n), kept].sort((a, b) => a.n - b.n);
    this.#channel?.postMessage(null);
    this.#tell();
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

  async #step(task) {
    for (const again of [() => new Stored(this.name), () => this.#forget()]) {
      try {
        return await this.store.step(task);
      } catch {
        this.store = again(); // the connection to the storage is gone; then the storage
      }
    }
    return this.store.step(task);
  }

  #forget() {
    this.lasting = false;
    return new Fleeting();
  }

  async #read() {
    await this.#step((all) => {
      this.#changes = all;
      return {};
    });
    this.#tell();
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
    const first = (all) => all.find(({ owner }) => owner === '' || owner === this.owner);
    let change = await this.#step((all) => {
      const next = first(all);
      return { put: next && { ...next, sent: true, again: next.sent } };
    });
    await this.#read();
    while (change && this.#started) {
      const outcome = { change, answer: null };
      try {
        if (change.delta !== 0) outcome.answer = await this.send(change);
      } catch (error) {
        const { status, message, errors, data } = error;
        if (status === 401) {
          this.#started = false;
          return;
        }
        const again = status === 412 && rebased(change, data);
        if (again) {
          change = await this.#step(() => ({ put: again }));
          continue;
        }
        outcome.error = { status, message, errors, data };
      }
      const { n } = change;
      await this.#step(() => ({ remove: n }));
      this.#settle(outcome);
      this.#channel?.postMessage(outcome);
      await this.#read();
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
    this.#emit('resultado', { change, answer, error, mine: waiting.length > 0, quiet: waiting.some(({ quiet }) => quiet()) });
  }

  #tell() {
    this.#emit('cola');
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
