import { isCollecting } from './basket.js';
import { closeEditor, step } from './changes.js';
import { past } from './history.js';
import { $, toast } from './notices.js';
import { mayWrite } from './page.js';
import { searchFor, unfilter } from './view.js';
import { short, shown } from './words.js';

// A scanner is a keyboard that types a code and Enter, faster than people do.

const FAST = 40; // ms between its keys, on average
const PAUSE = 120; // ms after which a key belongs to something else
const SHORTEST = 3; // characters of a code that is known by its speed
const CODE = /^\d{6,}$/; // what is no text of a field if it comes so fast

let burst = null; // {text, began, field, value}: what was typed without a pause, since when, where, and what was there before
let lastKey = -Infinity; // the time of its last key
let last = null; // {code, id} of the last scan that found its product
let page; // {find, show}

/** `find(scanned)` returns the row that the search means, or a false value, of all products if it was scanned; `show(row)` goes to it. */
export function attachScanner(callbacks) {
  page = callbacks;
}

/** What the key would be typed into; null: nothing. */
const fieldOf = (target) => target.closest?.('input:not([type=checkbox], [type=range]), textarea, select') ?? null;

/** Whether no person types so fast. */
const isFast = ({ text, began }, now) => text.length >= SHORTEST && now - began <= FAST * text.length;

/** What keeps a scan from searching, in words; a false value: nothing. */
function obstacle() {
  const edited = document.querySelector('.editor input');
  if (document.querySelector('dialog[open]')) return 'hay un diálogo abierto';
  if (past()) return 'lo que se ve es el pasado';
  return edited && edited.value !== edited.defaultValue && `«${short(edited.value)}» está sin guardar`;
}

/** Gives the field that the code was typed into its text back. */
function putBack({ field, value }) {
  if (!field || field.value === value) return;
  field.value = value;
  for (const type of ['input', 'change']) field.dispatchEvent(new Event(type, { bubbles: true }));
}

function typed(event, goesOn) {
  const { key, target, timeStamp } = event;
  const field = fieldOf(target);
  if (!goesOn || !burst) burst = { text: '', began: timeStamp, field, value: field?.value };
  burst.text += key;
  if (field || !/\d/.test(key) || obstacle()) return;
  // Who has switched off the keys of one character types none: only a scanner does.
  if (!$('useKeys').checked && !isFast(burst, timeStamp)) return;
  // A digit where none can be typed begins a search, with what came before it of the same code.
  event.preventDefault();
  event.stopPropagation();
  $('search').focus();
  searchFor(burst.text);
  $('search').setSelectionRange(burst.text.length, burst.text.length);
}

function entered(event, goesOn) {
  const field = fieldOf(event.target);
  const inSearch = field === $('search');
  const held = burst ?? { text: '' };
  burst = null;
  const code = inSearch && held.field !== field ? field.value : held.text; // the first keys led there: digits, or a shortcut
  const scanned = goesOn && isFast(held, event.timeStamp) && (!field || inSearch || CODE.test(code));
  if (!scanned && !inSearch) return;
  event.preventDefault(); // else it would submit the form, or press what happens to have the focus
  if (!scanned) return look(false);
  event.stopPropagation();
  putBack(held);
  const reason = obstacle();
  if (reason) return toast(`Código ${short(code)}: no se ha buscado, porque ${reason}.`, { kind: 'error', key: 'scan' });
  closeEditor();
  $('search').focus();
  searchFor(code);
  look(true);
}

/** Goes to the product that is searched for; the same code scanned again sells one. */
function look(scanned) {
  const code = $('search').value.trim();
  const row = code && page.find(scanned);
  if (scanned) unfilter(row);
  const again = scanned && row && last?.code === code && last.id === row.id;
  last = row ? { code, id: row.id } : null;
  $('search').select(); // what is typed next is another search
  if (!row) return;
  const sells = again || isCollecting();
  if (sells && mayWrite()) step(row, -1);
  if (!isCollecting()) page.show(row);
  if (scanned && !sells) toast(`${short(row.nombre)}: stock ${shown('stock', row)}.${mayWrite() ? ' Intro, o el mismo código otra vez, vende uno.' : ''}`, { key: `stock ${row.id}` });
}

addEventListener('keydown', (event) => {
  const { key, timeStamp } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || key === 'Shift') return;
  if (key !== 'Enter' && (key.length !== 1 || event.repeat)) {
    burst = null; // Tab, an arrow, a key held down: a person
    return;
  }
  const goesOn = timeStamp - lastKey <= PAUSE;
  lastKey = timeStamp;
  if (key === 'Enter') entered(event, goesOn);
  else typed(event, goesOn);
}, { capture: true });
