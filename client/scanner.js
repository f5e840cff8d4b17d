import { isCollecting } from './basket.js';
import { closeEditor, step } from './changes.js';
import { past } from './history.js';
import { $, tellRefusal, toast, toastOf } from './notices.js';
import { inventory, keep, kept, mayWrite } from './page.js';
import { expected } from './unsent.js';
import { containing, meantOf, searchFor, select, unfilter } from './view.js';
import { plural, short, shown } from './words.js';

// A scanner is a keyboard that types a code and Enter, faster than people do.

const FAST = 40; // ms between its keys, on average
const PAUSE = 120; // ms; what is longer is a stutter, or the end of a code
const STUTTER = 1000; // ms
const MEMORY = 60_000; // ms in which the same code sells
const SHORTEST = 3; // characters of a code that is known by its speed
const CODE = /^\d{6,}$/; // what is no text of a field if it comes so fast

let burst = null; // {text, at, took, stuttered, field, value, search}: what was typed, until when, in how many ms, where, what was there and in the search before
let last = {}; // {code, id, at} of the last scan
const store = `inventario-leidos ${inventory.api.pathname}`;
let waiting = kept(store, [], 'sessionStorage'); // the scans before the list came, also before a reload; null: it is there
let show;

/** `goTo(row)` shows a row, and gives its −1 the focus. */
export const attachScanner = (goTo) => { show = goTo; };

/** What the key would be typed into; null: nothing. */
const fieldOf = (target) => target.closest?.('input:not([type=checkbox], [type=range]), textarea, select') ?? null;

/** Whether no person types so fast. */
const isFast = ({ text, took }, shortest = SHORTEST) => text.length >= shortest && took <= FAST * text.length;

/** Whether a key in the field, so long after the last one, belongs to the burst. */
function goesOn(gap, field) {
  if (gap <= PAUSE) return true;
  if (!field) return gap <= STUTTER && /\d|../.test(burst.text); // one letter may be a shortcut
  return field.value.endsWith(burst.text) && (gap <= STUTTER || isFast(burst, burst.field ? SHORTEST : 1));
}

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

function typed(event, field) {
  const { key, timeStamp } = event;
  burst ??= { text: '', at: timeStamp, took: 0, field, value: field?.value, search: $('search').value };
  burst.text += key;
  // Who has switched off the keys of one character types none: only a scanner does.
  if (field || !/\d/.test(key) || obstacle() || !($('useKeys').checked || isFast(burst))) return;
  // A digit where none can be typed begins a search, with what came before it of the same code.
  event.preventDefault();
  event.stopPropagation();
  $('search').focus();
  searchFor(burst.text);
  $('search').setSelectionRange(burst.text.length, burst.text.length);
}

function entered(event, field) {
  const inSearch = field === $('search');
  const held = burst ?? { text: '' };
  burst = null;
  const code = inSearch && held.field !== field ? field.value : held.text; // the first keys led there: digits, or a shortcut
  const scanned = isFast(held) && (!field || inSearch || CODE.test(code));
  if (!scanned && !inSearch) return;
  event.preventDefault(); // else it would submit the form, or press what happens to have the focus
  if (!scanned) return look();
  event.stopPropagation();
  putBack(held);
  read({ ...held, code: code.trim() });
}

/** Searches for what was scanned, when the list is there. */
function read(scan, takeFocus = true) {
  const [{ code }, reason] = [scan, obstacle()];
  if (reason) return tellRefusal(`Código ${short(code)}: no se ha buscado, porque ${reason}.`, { key: 'scan' });
  closeEditor();
  if (takeFocus) $('search').focus();
  searchFor(code);
  if (!waiting) return look(scan);
  waiting.push(scan);
  keep(store, waiting, 'sessionStorage');
  tellWaiting();
}

const tellWaiting = () => waiting.length && toast(`${plural(waiting.length, 'código leído espera', 'códigos leídos esperan')} a la lista.`, { key: 'waiting', stays: true });
tellWaiting();

/** Goes to the product that is searched for; the same code scanned again sells one. */
function look(scan) {
  const code = $('search').value.trim();
  const rows = waiting || past() ? [] : scan ? containing(inventory.products) : select(inventory.products).rows;
  const row = expected(meantOf(rows));
  const again = row && scan?.search === code && last.code === code && last.id === row.id && scan.at - last.at <= MEMORY;
  if (scan) unfilter(row);
  last = { code, id: row?.id, at: scan?.at };
  const free = [null, $('search')].includes(fieldOf(document.activeElement)); // nobody types somewhere else
  if (free) $('search').select(); // what is typed next is another search
  if (!row) {
    const why = rows.length ? 'está en varios productos' : 'no es de ningún producto';
    return scan && tellRefusal(scan.stuttered && !rows.length ? 'Código leído a medias: léelo otra vez.' : `Código ${short(code)}: ${why}.`, { key: 'scan' });
  }
  const sells = again || isCollecting();
  if (sells && mayWrite()) step(row, -1);
  if (!isCollecting() && free) show(row);
  if (scan && !sells) toast(`${short(row.nombre)}: stock ${shown('stock', row)}.${mayWrite() ? ' Intro, o el mismo código otra vez, vende uno.' : ''}`, { key: `stock ${row.id}` });
}

inventory.addEventListener('lista', () => {
  const scans = waiting ?? [];
  waiting = null;
  keep(store, [], 'sessionStorage');
  toastOf('waiting')?.remove();
  for (const scan of scans) read(scan, false);
});

function keyed(event) {
  const { key, target, timeStamp } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || key === 'Shift') return;
  if (key !== 'Enter' && (key.length !== 1 || event.repeat)) {
    burst = null; // Tab, an arrow, a key held down: a person
    return;
  }
  const field = fieldOf(target);
  const gap = timeStamp - burst?.at;
  burst = burst && goesOn(gap, field) ? { ...burst, at: timeStamp, took: burst.took + Math.min(gap, PAUSE), stuttered: burst.stuttered || gap > PAUSE } : null;
  if (key === 'Enter') entered(event, field);
  else typed(event, field);
}

addEventListener('keydown', keyed, { capture: true });
early.forEach(keyed);
early = null; // theme.js collects no more
