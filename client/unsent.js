import { ServiceError } from './net.js';
import { $, addOwn, element, holdNotices, importing, lastUndo, log, say, toast, toastOf } from './notices.js';
import { inventory, keep, kept, mayWrite } from './page.js';
import { Queue, areAlike } from './queue.js';
import { FIELDS, hour, pick, plural, short, shown, signed, whole } from './words.js';

// What was changed here and has not been answered: how it is sent, and what is told of it.

const QUIETLY = 2_000; // ms in which nothing is said of a change that waits
const day = new Intl.DateTimeFormat('es', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });

/** The queue of this inventory. */
export const queue = new Queue(`inventario ${inventory.api.pathname}`, send, { versionOf: (id) => inventory.products.get(id)?.updated_at ?? '' });
const { user = '', login } = document.documentElement.dataset; // where a host application has users
const owner = () => (inventory.token ? null : user); // an access key is everybody's, and may be changed while something waits
queue.owner = owner();
inventory.user = user;
queue.addEventListener('cola', drawLine);
queue.addEventListener('resultado', ({ detail }) => tell(detail));
inventory.addEventListener('vuelve', () => mayWrite() && queue.start(owner()));
inventory.addEventListener('mensaje', ({ detail: { message: { type, actor = '' } } }) => {
  if (login !== undefined && type === 'CONNECTION_ESTABLISHED' && actor !== user) location.reload(); // somebody else has signed in
});
inventory.addEventListener('estado', drawLine);
inventory.addEventListener('evento', ({ detail: { message: { data, antes } } }) => antes?.stock !== undefined && queue.land(data.id, data.stock - antes.stock, data.updated_at));
holdNotices(() => importing.now || queue.changes.some(({ sent }) => sent));

// A page that is closed would not send what its browser cannot keep, nor the rest of a file.
addEventListener('beforeunload', (event) => (importing.now || (!queue.lasting && queue.changes.length)) && event.preventDefault());

/** Makes a change; throws a ServiceError. */
async function send(change) {
  const { kind, epoch, again, lines = [change] } = change;
  if (again && inventory.epoch === null) throw new ServiceError(0, 'no se sabe si llegó, y este servicio no lo recuerda');
  // A restored backup, or another inventory at this address, may have another product of this number.
  const other = epoch !== inventory.epoch && lines.find((line) => ![undefined, line.nombre].includes(inventory.products.get(line.id)?.nombre));
  if (other) throw new ServiceError(404, `ahora el #${other.id} es otro producto`);
  return inventory[kind](change);
}

/** Changes fields of a product; `base` is the row that was edited. */
export const update = (base, values, options) => add('update', base, { values, version: base.updated_at, base: pick(base, Object.keys(values)) }, options);
export const create = (values) => add('create', { nombre: values.nombre }, { values });
export const remove = (row) => add('delete', row, { version: row.updated_at, base: pick(row, Object.keys(FIELDS)) });
export const restore = (row) => add('restore', row, {});
/** `motivo`: the reason, optional; `undoes`: it takes back another move. */
export const move = (row, delta, { motivo, undoes } = {}) => add('move', row, { delta, undoes, motivo: withDevice(motivo) });
/** `lines` are {id, nombre, delta}; `undoes`: they take back another sale. */
export const sell = (lines, { undoes } = {}) => add('sale', {}, { lines, undoes, motivo: withDevice(!undoes && 'venta') });
const withDevice = (motivo) => [motivo, $('device').value.trim()].filter(Boolean).join(' · ') || undefined;

function add(kind, { id, nombre }, more, options) {
  const outcome = queue.add({ kind, id, nombre, epoch: inventory.epoch, ...more }, options);
  outcome.catch(() => {}); // tell() tells it to those who do not wait
  return outcome;
}

/** A product as it will be when all that waits is made; `pending`: the units that are not sent. */
export function expected(row) {
  if (!row || !queue.moving.has(row.id)) return row;
  const made = queue.expected(row);
  return { ...made, stock: Math.max(0, made.stock), pending: made.stock - row.stock };
}

/** All products, as they will be. */
export function withPending(products) {
  const moving = [...queue.moving].filter((id) => products.has(id));
  return moving.length ? new Map([...products, ...moving.map((id) => [id, expected(products.get(id))])]) : products;
}

export const tooFew = (stock) => (stock === 0 ? 'no queda ninguna unidad' : `no alcanza, quedan ${whole.format(stock)}`);

/** Why a change was refused. */
export function reasonOf({ code, data, errors, message }) {
  return code === 'stock_insuficiente' ? tooFew(data.stock) : errors?.map((error) => error.message).join(', ') || message;
}

/** A change in words. */
function inWords({ kind, nombre = '', values, delta, lines }) {
  const name = short(nombre);
  if (kind === 'sale') return `Venta: ${lines.map((line) => `${short(line.nombre)} ${signed.format(line.delta)}`).join(', ')}`;
  if (kind === 'move') return `${name}: ${signed.format(delta)}`;
  if (kind === 'create') return `${name}: nuevo`;
  if (kind === 'delete') return `${name}: eliminar`;
  if (kind === 'restore') return `${name}: recuperar`;
  return `${name}: ${Object.keys(values).map((field) => `${FIELDS[field].toLowerCase()} ${shown(field, values)}`).join(', ')}`;
}

$('device').value = kept('inventario-aparato', '');
$('device').onchange = ({ target }) => keep('inventario-aparato', target.value.trim());

// ---- outcomes

/** What a notice tells: the refusals, {change, why} of each line, or the moves of a product, {delta, motivo, undoes, action}. */
const told = new WeakMap();
let late = 0; // changes from before this page was loaded that are done now

const refusalInWords = ({ change, why }) => `${inWords(change)} no se ha guardado: ${why}`;

/** Adds a refusal to the notice of those that nobody has dismissed; moves of one product are added up. */
function addRefusal(change, why) {
  log(refusalInWords({ change, why }), 'error');
  const refusals = told.get(toastOf('refused')) ?? [];
  const same = refusals.find((one) => one.change.id === change.id && one.change.delta * change.delta > 0 && one.why === why);
  if (same) same.change = { ...change, delta: same.change.delta + change.delta };
  else refusals.push({ change, why });
  told.set(toast(refusals.map(refusalInWords).join('\n'), { kind: 'error', key: 'refused', stays: true }), refusals);
}

function tell({ change, answer, error, quiet }) {
  for (const data of answer ? [answer.data].flat() : []) addOwn({ type: change.kind === 'delete' && 'PRODUCT_DELETED', data });
  if (error) {
    if (quiet || ['create', 'sale'].includes(change.kind)) return; // the form or the basket tells it
    return addRefusal(change, reasonOf(error));
  }
  if (change.at < performance.timeOrigin) {
    late += 1;
    toast(`${plural(late, 'cambio de antes, enviado', 'cambios de antes, enviados')}`, { kind: 'success', key: 'late' });
  } else if (answer && change.kind === 'move') tellMove(change, answer.data);
}

/** Tells a move, together with those of the same kind in the notice that it replaces: the button takes back what it says. */
function tellMove({ delta, motivo, undoes }, row) {
  const key = `stock ${row.id}`;
  const before = told.get(toastOf(key));
  const joins = before && areAlike(before, { motivo, undoes }) && before.delta * delta > 0;
  const back = () => move(row, -moves.delta, { undoes: !undoes });
  const moves = joins ? before : { delta: 0, motivo, undoes, action: [undoes ? 'Rehacer' : 'Deshacer', back] };
  moves.delta += delta;
  const took = Math.abs(moves.delta) > 1 ? `movimiento ${signed.format(moves.delta)}, ` : '';
  told.set(toast(`${short(row.nombre)}: ${took}stock ${shown('stock', row)}`, { kind: 'success', key, action: moves.action }), moves);
}

/** Undoes the last change; while that is not sent, none before it. */
export function undo() {
  const [last, button] = [queue.changes.at(-1), lastUndo()];
  if (button && (!last || last.undoes || last.kind === 'restore')) button.click();
  else toast(last ? 'Lo último no se ha enviado todavía: se puede deshacer después.' : 'No queda nada que deshacer.', { key: 'undo' });
}

// ---- the line at the top

let timer;

function drawLine() {
  clearTimeout(timer);
  const { changes } = queue;
  const since = changes[0]?.at;
  const left = inventory.state === 'conectado' && since <= Date.now() ? since + QUIETLY - Date.now() : 0;
  const hidden = !changes.length || left > 0;
  if (left > 0) timer = setTimeout(drawLine, left + 1);
  $('unsent').hidden = hidden;
  if (hidden) return;
  const form = new Date(since).toDateString() === new Date().toDateString() ? hour : day;
  say('unsentText', `${plural(changes.length, 'cambio', 'cambios')} sin enviar · desde ${form.format(since)}`);
  $('unsentList').replaceChildren(...changes.map((change) => element('li', {}, inWords(change))));
}
