import { $, element, say, tellRefusal, toast } from './notices.js';
import { inventory, keep, kept } from './page.js';
import { expected, queue, sell, tooFew } from './unsent.js';
import { searchFor } from './view.js';
import { plural, price, short, whole, worthOf } from './words.js';

// The basket. While it is open, a unit that is scanned or tapped is put into it, to be sold with the others.

const name = `inventario-cesta ${inventory.api.pathname}`;
const before = kept(name, {}, 'sessionStorage'); // of this tab: another one is another till
const lines = new Map((before.lines ?? []).map((line) => [line.id, line])); // id -> {id, nombre, delta}, the last one put in at the end
let drawn = ''; // the lines on the page

/** Whether it is open. */
export const isCollecting = () => !$('basket').hidden;

const rowOf = ({ id }) => expected(inventory.products.get(id));
const priceOf = (all) => price(worthOf(all.map((line) => ({ precio: rowOf(line)?.precio ?? 0, stock: -line.delta }))));
const inWords = (all) => `${plural(all.reduce((sum, { delta }) => sum - delta, 0), 'unidad', 'unidades')} · ${priceOf(all)}`;

/** Why the units of a line cannot be sold; a false value if they can. */
function obstacle(line) {
  const row = rowOf(line);
  return row && row.stock + line.delta < 0 && tooFew(row.stock);
}

/** Puts units of a product in, or takes them out again: −1 is one to sell. */
export function put({ id, nombre }, delta) {
  const line = { id, nombre, delta: (lines.get(id)?.delta ?? 0) + delta };
  lines.delete(id);
  if (line.delta) lines.set(id, line);
  changed();
  // Whoever goes through the buttons by keyboard stays there.
  if (lines.size && !document.activeElement?.matches('button:focus-visible')) $('basketSell').focus({ preventScroll: true });
}

function changed() {
  keep(name, { open: isCollecting(), lines: [...lines.values()] }, 'sessionStorage');
  drawBasket();
}

/** Shows the lines with the prices and the stocks of now. */
export function drawBasket() {
  const all = [...lines.values()].reverse();
  say('basketCount', String(lines.size || ''));
  say('basketTotal', lines.size ? inWords(all) : 'Vacía. Un código leído, o −1 en la lista, pone una unidad.');
  const now = JSON.stringify(all.map((line) => [line, rowOf(line)?.precio, obstacle(line)]));
  if (now === drawn) return;
  drawn = now;
  const list = $('basketLines');
  const held = list.contains(document.activeElement) && document.activeElement.name;
  list.replaceChildren(...all.map(nodeOf));
  if (held) (list.querySelector(`[name="${held}"]`) ?? $('basketTitle')).focus();
}

function nodeOf(line) {
  const { id, nombre, delta } = line;
  const button = (by, sign, label) => element('button', { type: 'button', name: `${id} ${by}`, ariaLabel: `${label} de ${nombre}`, onclick: () => put(line, by) }, sign);
  const stepper = element('span', { className: 'stepper' }, button(1, '−', 'Una menos'), element('b', {}, whole.format(-delta)), button(-1, '+', 'Una más'));
  return element('li', {}, element('span', { className: 'what' }, short(nombre), element('em', {}, obstacle(line) || '')), stepper, priceOf([line]));
}

function take() {
  const all = [...lines.values()];
  lines.clear();
  changed();
  $('basketTitle').focus({ preventScroll: true });
  return all;
}

const putBack = (all) => all.forEach((line) => put(line, line.delta));

$('basketClear').onclick = () => {
  const all = take();
  toast('La cesta está vacía otra vez', { key: 'sale', action: ['Deshacer', () => putBack(all)] });
};

$('basketSell').onclick = () => {
  const short = [...lines.values()].filter(obstacle).map((line) => `${line.nombre}: ${obstacle(line)}`);
  if (short.length) return toast(short.join('\n'), { kind: 'error', key: 'sale' });
  searchFor('');
  sell(take());
};

queue.addEventListener('resultado', ({ detail: { change, error } }) => {
  const { kind, lines: sold, undoes } = change;
  if (kind !== 'sale') return;
  if (error) {
    const why = error.errors?.map(({ field, message }) => `${short(sold[field.split('.')[1]]?.nombre ?? 'Cesta')}: ${message}`).join('\n') ?? error.message;
    return tellRefusal(`La venta no se ha hecho.\n${why}`, { action: ['A la cesta', () => { show(true); putBack(sold); }] });
  }
  if (change.at < performance.timeOrigin) return;
  const back = () => sell(sold.map((line) => ({ ...line, delta: -line.delta })), { undoes: !undoes });
  toast(undoes ? 'Venta deshecha' : `Venta: ${inWords(sold)}`, { kind: 'success', action: [undoes ? 'Rehacer' : 'Deshacer', back] });
});

function show(yes) {
  $('basket').hidden = !yes;
  $('basketToggle').ariaExpanded = String(yes);
  if (yes) $('createPanel').open = false;
  else $('basketToggle').focus();
  changed();
}

$('basketToggle').onclick = $('closeBasket').onclick = () => show(!isCollecting());
$('basket').addEventListener('keydown', ({ key }) => key === 'Escape' && show(false));
if (before.open) show(true);
