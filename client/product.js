import { undoChange } from './changes.js';
import { $, element, say, succeeded, working } from './notices.js';
import { inventory } from './page.js';
import { expected, move, restore, update } from './unsent.js';
import { FIELDS, differing, moment, pick, quoted, short, shown, signed } from './words.js';

// The history of one product: its events, newest first.

let id = null; // of the product
let events = []; // newest first, as far as they are loaded

inventory.addEventListener('evento', ({ detail: { message } }) => {
  if (id !== message.data.id || (events[0] && events[0].id >= message.id)) return;
  events.unshift(message);
  draw();
});

/** Opens the history of a product. */
export async function openProduct(row) {
  id = row.id;
  events = [];
  $('productTitle').textContent = `Historia de «${short(row.nombre)}»`;
  $('productEvents').replaceChildren();
  $('olderEvents').hidden = true;
  say('productError', '');
  $('productDialog').showModal();
  await more();
}

async function more() {
  const asked = id;
  say('productNow', 'Buscando…');
  try {
    const { data } = await inventory.eventsOf(id, events.at(-1)?.id);
    if (id !== asked) return;
    const oldest = events.at(-1)?.id ?? Infinity; // an event may have arrived while this was loading
    events.push(...data.filter((event) => event.id < oldest));
    $('olderEvents').hidden = data.length < 100;
  } catch (error) {
    say('productError', error.message);
  }
  draw();
}

$('olderEvents').onclick = more;
$('productDialog').onclose = () => { id = null; };

/** The former values of the product before an event, as far as known. */
function before(n) {
  const { data, antes } = events[n];
  const last = events[n + 1];
  if (antes) return { ...data, ...antes };
  return last?.data.nombre ? last.data : null;
}

function draw() {
  const now = expected(inventory.products.get(id));
  say('productNow', now ? `Ahora: ${shown('precio', now)}, stock ${shown('stock', now)}` : 'Ya no está en el inventario.');
  $('productEvents').replaceChildren(...events.map(entry));
  if (!events.length) say('productError', $('productError').textContent || 'El registro ya no guarda ninguno de sus eventos.');
}

function entry(event, n) {
  const { type, timestamp, data, antes, actor, motivo } = event;
  const reason = antes && 'stock' in antes ? '' : motivo; // of a movement it is said there
  const who = [actor, reason].filter(Boolean).map((text) => short(text)).join(' · ');
  const was = before(n);
  const lines = type === 'PRODUCT_CREATED' ? [line(`Creado: «${short(data.nombre)}», ${shown('precio', data)}, stock ${shown('stock', data)}`)]
    : type === 'PRODUCT_DELETED' ? [deleted(event, n)]
      : was ? differing(was, data).map((field) => (field === 'stock' ? moved(event, was) : changed(field, was, data))) : [line('Actualizado')];
  const head = element('p', {}, element('time', { dateTime: timestamp }, moment.format(new Date(timestamp))), ' ', element('span', {}, who));
  return element('li', {}, head, element('ul', {}, ...lines));
}

/** A line of an event; with a `label`, a button that makes a change, whose refusal is told by a notice. */
function line(text, label, ariaLabel, change) {
  const onclick = ({ currentTarget }) => {
    working(currentTarget, change).catch(() => {});
    $('productTitle').focus(); // the button goes with the list
  };
  return element('li', {}, element('span', {}, text), ...(label ? [element('button', { type: 'button', ariaLabel, onclick }, label)] : []));
}

/** A changed field, and a button that restores its former value unless it is the current one. */
function changed(field, was, data) {
  const text = `${FIELDS[field]}: ${quoted(field, was)} → ${quoted(field, data)}`;
  const now = inventory.products.get(id);
  if (!now || now[field] === was[field]) return line(text);
  const name = `Restaurar ${FIELDS[field].toLowerCase()} ${quoted(field, was)}`;
  return line(text, 'Restaurar este valor', name, async () => {
    const base = inventory.products.get(id);
    const answer = await update(base, pick(was, [field]));
    succeeded(answer, undoChange(base, answer, [field]));
  });
}

/** A deletion; the last one, and a button that brings the product back. */
function deleted({ antes: was }, n) {
  if (n > 0 || !was || inventory.products.has(id)) return line('Eliminado');
  const back = async () => succeeded(await restore(was));
  return line('Eliminado', 'Recuperar el producto', `Recuperar ${short(was.nombre)}`, back);
}

/** A movement of stock with its reason, and a button that moves it back, which leaves all later movements as they are. */
function moved(event, was) {
  const { data, motivo } = event;
  const delta = data.stock - was.stock;
  const text = `${[signed.format(delta), motivo && short(motivo)].filter(Boolean).join(' · ')} · Stock: ${shown('stock', was)} → ${shown('stock', data)}`;
  const undoes = `deshace el movimiento ${event.id}`;
  const now = expected(inventory.products.get(id));
  if (!now || events.some((later) => later.motivo?.split(' · ')[0] === undoes)) return line(text);
  const label = `Deshacer este movimiento (${signed.format(-delta)})`;
  const back = () => move(now, -delta, { motivo: undoes });
  return line(text, label, `${label} de las ${moment.format(new Date(event.timestamp))}`, back);
}
