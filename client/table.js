import { Blocks } from './blocks.js';
import { $ } from './notices.js';
import { isChosen } from './selection.js';
import { order, sortBy } from './view.js';
import { hour, moment, short, shown, signed } from './words.js';

const table = $('productTable');
const FIRST = 2; // the place of the first row: the header has the one before
/** The products as a table. */
export const blocks = new Blocks(table, 'tbody', 'rowTemplate', { update, place });

/** Draws the rows. */
export function drawTable(rows) {
  table.ariaRowCount = String(rows.length + 1);
  setWidths(rows);
  const { by, down } = order();
  for (const head of table.tHead.querySelectorAll('[data-sort]')) {
    head.parentElement.ariaSort = head.dataset.sort !== by ? 'none' : down ? 'descending' : 'ascending';
  }
  blocks.draw(rows);
  if (!stop?.isConnected) makeStop(table.querySelector('[data-edit]'));
}

/** Gives the columns of numbers the room of their longest one; all blocks have the same. */
function setWidths(rows) {
  const most = (of) => rows.reduce((max, row) => Math.max(max, of(row)), 0);
  const pending = most((row) => Math.abs(row.pending ?? 0));
  const texts = {
    number: [44, String(most(({ id }) => id))],
    price: [104, shown('precio', { precio: most(({ precio }) => precio) })],
    units: [76, shown('stock', { stock: most(({ stock }) => stock) }) + (pending ? `  -${pending} ↑` : '')],
  };
  for (const [name, [least, text]] of Object.entries(texts)) table.style.setProperty(`--${name}`, `max(${least}px, ${text.length}ch + 14px)`);
}

table.tHead.addEventListener('click', ({ target }) => {
  const head = target.closest('[data-sort]');
  if (head) sortBy(head.dataset.sort);
});

const earlier = new Intl.DateTimeFormat('es', { day: 'numeric', month: 'short' });

function update({ part }, row) {
  const time = new Date(row.updated_at);
  part.choose.ariaLabel = `Elegir ${row.nombre}`;
  part.number.textContent = row.id;
  part.description.textContent = short(row.descripcion ?? '', 200);
  part.description.title = row.descripcion ?? '';
  part.price.querySelector('.value').textContent = shown('precio', row);
  part.units.querySelector('.value').textContent = shown('stock', row);
  part.when.textContent = (time.toDateString() === new Date().toDateString() ? hour : earlier).format(time);
  part.when.title = moment.format(time);
  part.pending.title = part.pending.textContent;
  if (row.pending) part.pending.textContent = `${signed.format(row.pending)} ↑`;
}

function place({ node, part, row }, index) {
  const place = String(index + FIRST);
  if (node.ariaRowIndex !== place) node.ariaRowIndex = place;
  part.choose.checked = isChosen(row.id);
}

// ---- by keyboard: one stop of the Tab key, and arrows from there

let stop = null; // where the Tab key enters the rows

function makeStop(control) {
  if (stop) stop.tabIndex = -1;
  stop = control;
  if (stop) stop.tabIndex = 0;
}

const controlsOf = (node) => [...node.querySelectorAll('button, input, [data-edit]')].filter((control) => control.checkVisibility());

table.addEventListener('focusin', ({ target }) => {
  const control = target.closest('tbody :is(button, input, [data-edit])');
  if (control && !target.closest('.editor')) makeStop(control);
});

table.addEventListener('keydown', (event) => {
  const { key, target } = event;
  const row = target.closest('.product-row');
  if (!row || target.closest('.editor') || event.ctrlKey || event.altKey || event.metaKey) return;
  const controls = controlsOf(row);
  const at = Math.max(0, controls.indexOf(target));
  const column = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: controls.length - 1 }[key];
  const lines = { ArrowUp: -1, ArrowDown: 1, PageUp: -15, PageDown: 15 }[key];
  if (column === undefined && !lines) return;
  event.preventDefault();
  const place = Math.min(Math.max(FIRST, Number(row.ariaRowIndex) + lines), Number(table.ariaRowCount));
  const next = lines ? controlsOf(table.querySelector(`[aria-rowindex="${place}"]`) ?? row)[at] : controls[column];
  next?.focus({ preventScroll: true });
  next?.closest('tr').scrollIntoView({ block: 'nearest' });
});
