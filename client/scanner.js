import { closeEditor } from './changes.js';
import { $, toast } from './notices.js';
import { searchFor } from './view.js';
import { short, shown } from './words.js';

// A scanner is a keyboard that types a code and Enter, faster than people do.

const FAST = 40; // ms between its keys, on average
const PAUSE = 120; // ms after which a key belongs to something else
const SHORTEST = 3; // characters of a code that is known by its speed
const SCANNED = 6; // digits that are no stock if they come so fast

let burst = ''; // what was typed without a pause
let began = 0; // the time of its first key
let lastKey = -Infinity; // and of its last
let last = null; // {code, id} of the last scan that found its product
let page; // {find, show, sell}

/** `find()` returns the row that the search means, or a false value; `show(row)` and `sell(row)` do it. */
export function attachScanner(callbacks) {
  page = callbacks;
}

/** What the key would be typed into; null: nothing. */
const fieldOf = (target) => target.closest?.('input:not([type=checkbox], [type=range]), textarea, select') ?? null;

function typed(event, goesOn) {
  const { key, target, timeStamp } = event;
  if (!goesOn || !burst) began = timeStamp;
  burst = goesOn ? burst + key : key;
  if (fieldOf(target) || !/\d/.test(key) || document.querySelector('dialog[open]')) return;
  // Who has switched off the keys of one character types none: only a scanner does.
  if (!$('useKeys').checked && (burst.length < SHORTEST || timeStamp - began > FAST * burst.length)) return;
  // A digit where none can be typed begins a search, with what came before it of the same code.
  event.preventDefault();
  event.stopPropagation();
  $('search').focus();
  searchFor(burst);
  $('search').setSelectionRange(burst.length, burst.length);
}

function entered(event, goesOn) {
  const field = fieldOf(event.target);
  const scanned = goesOn && burst.length >= SHORTEST && event.timeStamp - began <= FAST * burst.length;
  const code = burst;
  burst = '';
  if (field === $('search')) {
    event.preventDefault();
    return look(scanned);
  }
  const intoStock = scanned && field?.closest('.editor') && code.length >= SCANNED && /^\d+$/.test(code);
  if (!scanned || (field && !intoStock)) return;
  event.preventDefault(); // else it would press what happens to have the focus
  event.stopPropagation();
  if (document.querySelector('dialog[open]')) return;
  closeEditor();
  searchFor(code);
  look(true);
}

/** Goes to the product that is searched for; the same code scanned again sells one. */
function look(scanned) {
  const code = $('search').value.trim();
  const row = code && page.find();
  const again = scanned && row && last?.code === code && last.id === row.id;
  last = row ? { code, id: row.id } : null;
  $('search').select(); // what is typed next is another search
  if (!row) return;
  if (again) return page.sell(row);
  page.show(row);
  if (scanned) toast(`${short(row.nombre)}: stock ${shown('stock', row)}. Intro, o el mismo código otra vez, vende uno.`, { key: `stock ${row.id}` });
}

addEventListener('keydown', (event) => {
  const { key, timeStamp } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || key === 'Shift') return;
  if (key.length !== 1 && key !== 'Enter') {
    burst = ''; // Tab, an arrow: a person
    return;
  }
  const goesOn = timeStamp - lastKey <= PAUSE;
  lastKey = timeStamp;
  if (key === 'Enter') entered(event, goesOn);
  else typed(event, goesOn);
}, { capture: true });
