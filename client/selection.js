import { $, say, toast } from './notices.js';
import { schedule } from './page.js';
import { remove, restore } from './unsent.js';
import { isTable } from './view.js';
import { short, shown, whole } from './words.js';

// Rows of the table that are chosen, to export or delete them together; and how products are deleted.

const chosen = new Set(); // ids
let rows = []; // those that are shown
let last = null; // the id that was chosen last

const isChoosing = () => $('choosing').ariaPressed === 'true' && isTable();
export const isChosen = (id) => chosen.has(id);

/** The chosen rows, of those that are shown. */
export const picked = () => (isChoosing() ? rows.filter(({ id }) => chosen.has(id)) : []);

function begin(yes) {
  $('choosing').ariaPressed = String(yes);
  chosen.clear();
  last = null;
  schedule();
}

function end() {
  begin(false);
  $('choosing').focus();
}

function mark(ids, yes) {
  for (const id of ids) if (yes) chosen.add(id); else chosen.delete(id);
  schedule();
}

/** Chooses the row whose box was clicked; with Shift, all from the last one to it. */
export function choose({ id }, box, { shiftKey }) {
  const [from, to] = [last, id].map((end) => rows.findIndex((row) => row.id === end)).sort((a, b) => a - b);
  mark(shiftKey && from >= 0 ? rows.slice(from, to + 1).map((row) => row.id) : [id], box.checked);
  last = id;
}

/** Shows how many of the rows are chosen, and what can be done with them. */
export function drawChoice(all) {
  rows = all;
  const number = picked().length;
  document.body.classList.toggle('choosing', isChoosing());
  $('deleteChosen').disabled = !number;
  for (const [id, label] of [['deleteChosen', 'Eliminar'], ['export', 'Exportar']]) say(id, number ? `${label} ${whole.format(number)}` : label);
  Object.assign($('chooseAll'), { checked: number > 0 && number === rows.length, indeterminate: number > 0 && number < rows.length });
}

$('choosing').onclick = () => begin(!isChoosing());
$('chooseAll').onchange = ({ target }) => mark(rows.map(({ id }) => id), target.checked);
$('productTable').addEventListener('keydown', ({ key, target }) => {
  if (key === 'Escape' && isChoosing() && !target.closest('.editor')) end();
});

$('deleteChosen').onclick = () => askDelete(picked());

// ---- deleting

let leaving = []; // the rows that the dialog asks about

/** Asks whether the rows are to be deleted. */
export function askDelete(rows) {
  leaving = rows;
  const [one] = rows;
  const what = rows.length > 1 ? `${whole.format(rows.length)} productos desaparecerán`
    : `«${short(one.nombre)}» (${shown('precio', one)}, stock ${shown('stock', one)}) desaparecerá`;
  $('deleteText').textContent = `${what} de todas las pantallas.`;
  $('deleteDialog').showModal();
}

$('confirmDelete').onclick = async () => {
  $('deleteDialog').close();
  if (leaving.length > 1) end();
  const gone = (await Promise.allSettled(leaving.map((row) => remove(row)))).flatMap(({ value }) => value?.data ?? []); // a refusal has been told
  if (!gone.length) return;
  const back = () => Promise.allSettled(gone.map((row) => restore(row)));
  const names = gone.map(({ nombre }) => nombre).join(', ');
  toast(`Eliminado: ${short(names)}`, { kind: 'success', action: ['Deshacer', back] });
};
