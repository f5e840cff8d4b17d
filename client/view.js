import { readAddress, writeAddress } from './address.js';
import { $, say } from './notices.js';
import { inventory, keep, kept, schedule } from './page.js';
import { alphabet, folded, plural, short } from './words.js';

// The choices of the person: which products are shown, in which order, as cards or as a table.

const here = inventory.api.pathname; // one origin may have several inventories
const names = { followed: `inventario-siguiendo ${here}`, view: `inventario-vista ${here}` };
const isId = (id) => Number.isInteger(id) && id > 0 && id < 2 ** 31;

const byText = (field) => (a, b) => alphabet.compare(a[field] ?? '', b[field] ?? '');
const byValue = (field) => (a, b) => (a[field] < b[field] ? -1 : Number(a[field] > b[field]));

const MINIMUM = 5; // units, where none are typed
const narrow = matchMedia('(max-width: 899px)');
const remembered = kept(names.view, {});
const chosen = {
  table: remembered.table === true,
  minimum: Number.isInteger(remembered.minimum) && remembered.minimum >= 0 ? remembered.minimum : MINIMUM,
  by: [...$('sort').options].some(({ value }) => value === remembered.by) ? remembered.by : 'id',
  down: remembered.down !== false,
};
let terms = [];
let followed = readFollowed(); // ids; a deleted product may come back
/** What each filter hides, by the id of its button. */
const HIDES = { onlyFollowed: ({ id }) => !followed.has(id), soldOut: ({ stock }) => stock > 0, low: ({ stock }) => stock >= chosen.minimum };
const isOn = (id) => $(id).ariaPressed === 'true';

function changed() {
  inventory.only(isOn('onlyFollowed') ? followed : null);
  schedule();
}

function choose() {
  $('asTable').ariaPressed = String(chosen.table);
  document.body.classList.toggle('as-table', isTable());
  settle();
  changed();
  writeAddress({ buscar: $('search').value.trim(), agotados: isOn('soldOut'), minimo: isOn('low'), sigo: isOn('onlyFollowed'), vista: chosen.table && 'tabla' });
}

export const isTable = () => chosen.table && !narrow.matches;
export const isFollowed = (id) => followed.has(id);
export const isShown = (id) => !isOn('onlyFollowed') || followed.has(id);
export const order = () => chosen;

/** Shows a product that was created on this page, whatever the filters are. */
export function showCreated({ id }) {
  settle();
  if (isOn('onlyFollowed')) follow(id, true);
}

// ---- following

function readFollowed() {
  const ids = kept(names.followed, []);
  return new Set(Array.isArray(ids) ? ids.filter(isId) : []);
}

/** Follows a product, or stops following it; other tabs may have changed the list in the storage. */
export function follow(id, yes) {
  followed = kept(names.followed, null) ? readFollowed() : followed;
  if (yes) followed.add(id);
  else followed.delete(id);
  keep(names.followed, [...followed]);
  changed();
}

// ---- filters

const filter = (id, yes) => { $(id).ariaPressed = String(yes); };

for (const id of Object.keys(HIDES)) {
  $(id).onclick = () => {
    filter(id, !isOn(id));
    choose();
  };
}

$('minimum').value = chosen.minimum;
$('minimum').oninput = ({ target }) => {
  if (!/^\d{0,9}$/.test(target.value)) return;
  chosen.minimum = Number(target.value || MINIMUM);
  keep(names.view, chosen);
  choose();
};

function search() {
  terms = folded($('search').value).split(/\s+/).filter(Boolean);
  choose();
}

$('search').oninput = search;

/** Searches for the text. */
export function searchFor(text) {
  $('search').value = text;
  search();
}

/** Takes off the filters that hide the row; without one, all filters. */
export function unfilter(row) {
  for (const [id, hides] of Object.entries(HIDES)) if (!row || hides(row)) filter(id, false);
  choose();
}

/** Clears the search and all filters. */
export function showAll() {
  unfilter();
  searchFor('');
}

// ---- cards or table, and its order

function useTable(yes) {
  chosen.table = yes;
  keep(names.view, chosen);
  choose();
}

$('asTable').onclick = () => useTable(!chosen.table);
narrow.addEventListener('change', choose);

$('sort').value = chosen.by;
$('sort').onchange = ({ target }) => sortBy(target.value);

/** Sorts the products by the column; by the same again, the other way round. */
export function sortBy(column) {
  Object.assign(chosen, { by: column, down: chosen.by === column ? !chosen.down : ['id', 'updated_at'].includes(column) });
  $('sort').value = column;
  keep(names.view, chosen);
  choose();
}

let sortedLast = []; // the ids in the order of the last call

function sorted(rows) {
  // Sorting is fast if the rows are nearly in order, as they are when they start in the last one.
  const byId = new Map(rows.map((row) => [row.id, row]));
  const nearly = [...new Set([...sortedLast, ...byId.keys()])].map((id) => byId.get(id)).filter(Boolean);
  const compare = (['nombre', 'descripcion'].includes(chosen.by) ? byText : byValue)(chosen.by);
  const way = chosen.down ? -1 : 1;
  const all = nearly.sort((a, b) => way * compare(a, b) || b.id - a.id);
  sortedLast = all.map(({ id }) => id);
  return all;
}

// ---- what is shown

const texts = new WeakMap(); // row -> its searchable text

function textOf(row) {
  if (!texts.has(row)) texts.set(row, folded(`${row.nombre} ${row.descripcion ?? ''}`));
  return texts.get(row);
}

/** The number of a product that is searched for, as #12 or 12; else NaN. */
const wantedNumber = () => (terms.length === 1 ? Number(/^#?(\d+)$/.exec(terms[0])?.[1] ?? NaN) : NaN);

const contains = (row) => row.id === wantedNumber() || terms.every((term) => textOf(row).includes(term));

/** The products that the search finds, whatever the filters are. */
export const containing = (products) => [...products.values()].filter(contains);

/** Of the rows that are found, the one that is meant: by its number, by a code that stands in it as a word, or as the only one. */
export function meantOf(rows) {
  if (!terms.length) return null;
  const numbered = rows.find(({ id }) => id === wantedNumber());
  if (numbered) return numbered;
  const whole = rows.filter((row) => terms.every((term) => textOf(row).split(/[^\p{L}\p{N}#_/.-]+|[.,;:]+(?=\s|$)/u).includes(term)));
  return whole.length === 1 ? whole[0] : rows.length === 1 ? rows[0] : null;
}

/** The number of products before the filters (`total`), and those that match them, sorted (`rows`). */
export function select(products) {
  const all = isOn('onlyFollowed') ? [...followed].filter((id) => products.has(id)).map((id) => products.get(id)) : [...products.values()];
  say('soldOutCount', String(all.reduce((n, row) => n + (row.stock === 0), 0) || ''));
  const hides = ['soldOut', 'low'].filter(isOn).map((id) => HIDES[id]);
  const rows = sorted(all.filter((row) => !hides.some((isHidden) => isHidden(row)) && contains(row)));
  const at = rows.findIndex(({ id }) => id === wantedNumber());
  if (at > 0) rows.unshift(...rows.splice(at, 1)); // first, whatever the order is
  return { total: all.length, rows };
}

// ---- what is about to be tapped keeps its place

const HELD = 4_000; // ms from a tap until the rows move again, and from when a mouse lies still until new ones are told
let held = null; // the rows as they are drawn; null: they may all move
let pointed = false; // whether a mouse is over the list, or a finger was just now
let moving = 0; // the timer while the pointer moves over the list, and HELD after

/** Lets the rows take their places, even under the pointer. */
export const settle = () => { held = null; };

/** The rows as they are to be drawn. Those drawn before keep their places under a pointer and an editor, with their new values. */
export function inPlace(rows, products) {
  const still = held && (pointed || document.querySelector('.editor'));
  held = still ? held.map((row) => products.get(row.id) ?? (row.gone ? row : { ...row, gone: true })) : rows;
  const ids = still && new Set(held.map(({ id }) => id));
  const news = still ? rows.filter(({ id }) => !ids.has(id)).length : 0;
  $('showNew').hidden = !news || moving > 0;
  $('showNew').textContent = `${plural(news, 'nuevo', 'nuevos')} · mostrar`;
  return held;
}

/** Notes whether the pointer is over the list. */
function point(inside, isMouse) {
  if (pointed && !inside) schedule();
  pointed = inside;
  clearTimeout(moving);
  moving = inside && setTimeout(() => {
    moving = 0;
    pointed = isMouse;
    schedule();
  }, HELD);
}

for (const type of ['pointerover', 'pointermove']) {
  addEventListener(type, ({ target, pointerType }) => point(target.closest?.('#productTable tbody, #productList') != null, pointerType === 'mouse'));
}
document.documentElement.addEventListener('pointerleave', ({ pointerType }) => pointerType === 'mouse' && point(false)); // a finger leaves after each tap
$('showNew').onclick = choose;

/** Whether the search or a filter of stock is on; and whether only followed products are shown. */
export const isFiltered = () => terms.length > 0 || isOn('soldOut') || isOn('low');
export const isOnlyFollowed = () => isOn('onlyFollowed');

/** The search and the filters, each in words. */
export function choicesInWords() {
  const typed = short($('search').value.trim());
  return [typed && `«${typed}»`, isOn('onlyFollowed') && 'solo los que sigo', isOn('soldOut') && 'agotados', isOn('low') && `menos de ${chosen.minimum} unidades`].filter(Boolean);
}

const { buscar = '', agotados, minimo, sigo, vista } = readAddress();
for (const [id, yes] of Object.entries({ soldOut: agotados, low: minimo, onlyFollowed: sigo })) filter(id, yes === 'true');
if (vista) useTable(vista === 'tabla');
searchFor($('search').value || buscar); // it may have been typed before this file came
