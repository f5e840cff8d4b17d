import { isCollecting, put } from './basket.js';
import { PARSERS, Problem, readStock, typedAs } from './fields.js';
import { stamp, succeeded, toast } from './notices.js';
import { inventory, schedule } from './page.js';
import { expected, move, restore, tooFew, update } from './unsent.js';
import { pick, short, shown, signed, whole } from './words.js';

// Changes without a form: stock moves, prices and counts edited in place, undo.

const name = ({ nombre }) => short(nombre);

/** The units that a button moves. They count at once, and are sent together with those of other taps that wait. */
export function step(row, delta) {
  if (isCollecting()) put(row, delta);
  else if (row.stock + delta < 0) toast(`${name(row)}: ${tooFew(row.stock)}`, { kind: 'error', key: `refused ${row.id}` });
  else move(row, delta);
}

/** The action of a notice that makes a change, and tells it when it is done. A refusal has been told. */
function action(label, change, inWords) {
  return [label, () => change().then(({ data }) => toast(inWords(name(data)), { kind: 'success' }), () => {})];
}

/** That which restores the fields to their values in `before`; what others changed meanwhile stays. */
export const undoChange = (before, { data: after }, fields) =>
  action('Deshacer', () => update(after, pick(before, fields)), (product) => `Deshecho: ${product}`);

/** That which brings a deleted product back. */
export const bringBack = (row, label) => action(label, () => restore(row), (product) => `${product} está otra vez`);

// ---- in place

let editing = null; // {host, editor, input, field, base: the row it began from, motivo}

/** Shows an editor for the price or the stock of a row in the element `host`. */
export function editInPlace(host, row, field) {
  closeEditor();
  const editor = stamp('editorTemplate');
  const [input] = editor.elements;
  input.defaultValue = typedAs(field, row);
  input.ariaLabel = field === 'stock' ? `Stock de ${row.nombre}: −12 sale, +40 entra, =37 es un recuento` : `Precio de ${row.nombre}`;
  input.inputMode = field === 'precio' ? 'decimal' : matchMedia('(pointer: coarse)').matches ? 'numeric' : 'text'; // the buttons are its signs
  editor.classList.toggle('of-price', field === 'precio');
  editor.addEventListener('pointerdown', (event) => event.target.closest('button') && event.preventDefault()); // the focus stays, and nothing is saved by its going
  editor.onsubmit = submit;
  editor.onkeydown = (event) => {
    event.stopPropagation();
    if (event.key !== 'Escape') return;
    event.preventDefault();
    closeEditor(true);
  };
  input.oninput = hint;
  // Not when the window loses the focus, which leaves the field its own.
  editor.addEventListener('focusout', ({ relatedTarget }) => { if (editing?.editor === editor && !editor.contains(relatedTarget) && document.activeElement !== input) save(false); });
  editing = { host, editor, input, field, base: row };
  host.append(editor);
  input.select();
  hint();
}

/** The element that has the focus before and after its value is edited in `host`. */
const homeOf = (host) => (host.matches('[tabindex]') ? host : host.closest('[data-id]')?.querySelector('[data-action=stock-field]'));

/** Closes the editor, which saves nothing; `refocus`: the focus returns to where it was. */
export function closeEditor(refocus = false) {
  if (!editing) return;
  const { host, editor } = editing;
  editing = null;
  editor.remove();
  schedule(); // it held the rows in their places
  if (refocus) homeOf(host)?.focus();
}

function note(text, wrong = false) {
  editing.editor.querySelector('.note').textContent = text;
  editing.editor.classList.toggle('wrong', wrong);
  editing.input.ariaInvalid = wrong ? 'true' : null;
}

/** What was typed, as {delta or values, called: its description}; null if it changes nothing. Throws a Problem. */
function meant() {
  const { input, field, base } = editing;
  const typed = input.value.trim();
  if (field === 'precio') {
    const precio = PARSERS.precio(typed);
    return precio === base.precio ? null : { values: { precio } };
  }
  const { delta, count } = readStock(typed);
  if (delta === undefined) return count === base.stock && !typed.startsWith('=') ? null : { values: { stock: count }, called: `Recuento: hay ${whole.format(count)}` };
  const left = expected(inventory.products.get(base.id))?.stock + delta;
  if (left < 0) throw new Problem(`Movimiento ${signed.format(delta)}: ${tooFew(left - delta)}.`);
  return { delta, called: `Movimiento ${signed.format(delta)}: quedarán ${whole.format(left)}` };
}

/** Saves the units that were typed as what the button says: sold, delivered, broken, or counted. */
function submit(event) {
  event.preventDefault();
  const { reason, sign } = event.submitter.dataset;
  const { input } = editing;
  if (reason) {
    input.value = sign + input.value.replace(/^[-−+=]?\s*/, '');
    editing.motivo = reason;
  }
  save(true);
}

function hint() {
  try {
    note(meant()?.called ?? (editing.field === 'stock' ? '−12 sale · +40 entra · =37 recuento' : ''));
  } catch (problem) {
    note(problem.message);
  }
}

/** Saves what was typed. With `refocus`, an invalid input is explained, and the focus returns to where it was. */
async function save(refocus) {
  const { input, base, motivo } = editing;
  const typed = input.value.trim();
  let change;
  try {
    change = meant();
  } catch (problem) {
    if (refocus) return note(problem.message, true);
    if (typed) toast(`${name(base)}: «${short(typed)}» no se ha guardado. ${problem.message}`, { kind: 'error' });
    return closeEditor();
  }
  closeEditor(refocus);
  if (change?.delta) move(base, change.delta, { motivo });
  if (!change?.values) return;
  const answer = await update(base, change.values).catch(() => null); // a refusal has been told
  if (!answer) return;
  const undo = undoChange(base, answer, Object.keys(change.values));
  const counted = `${name(base)}: recuento ${shown('stock', answer.data)} (había ${shown('stock', base)})`;
  if (change.called) toast(counted, { kind: 'success', action: undo });
  else succeeded(answer, undo);
}
