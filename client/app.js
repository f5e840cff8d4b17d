import { drawBasket } from './basket.js';
import { cards } from './cards.js';
import { bringBack, editInPlace, step } from './changes.js';
import { followKey, login, openEdit, tellDialogs } from './dialogs.js';
import { exportRows } from './files.js';
import { past, shownTime } from './history.js';
import './keys.js';
import { $, changeKey, isOwn, log, notifyOfOther, say, toast, toastOf, whenKnown } from './notices.js';
import { drawWith, inventory, keep, kept, mayWrite, schedule } from './page.js';
import { attachPaper } from './paper.js';
import { openProduct } from './product.js';
import { attachScanner } from './scanner.js';
import { askDelete, choose, drawChoice, picked } from './selection.js';
import { blocks as rowBlocks, drawTable } from './table.js';
import { expected, queue, withPending } from './unsent.js';
import { choicesInWords, follow, inPlace, isFiltered, isFollowed, isOnlyFollowed, isShown, isTable, order, select, settle, showAll } from './view.js';
import { eventInWords, hour, plural, price, whole, worthOf } from './words.js';

// ---- what can be done with a product of the list

const ACTIONS = {
  follow: ({ id }) => follow(id, !isFollowed(id)),
  edit: openEdit,
  delete: (row) => askDelete([row]),
  events: openProduct,
  choose,
  take: (row) => step(row, -1),
  add: (row) => step(row, 1),
  'stock-field': (row, button) => editInPlace(button.closest('.product-card').querySelector('.stock'), row, 'stock'),
};

function act(event) {
  const { target } = event;
  const row = expected((past() ?? inventory.products).get(Number(target.closest('[data-id]')?.dataset.id)));
  const [button, cell] = [target.closest('[data-action]'), target.closest('[data-edit]')];
  const allowed = past() ? ['events'] : ['events', 'follow'];
  if (!row || ((past() || !mayWrite()) && !allowed.includes(button?.dataset.action)) || target.closest('.editor')) return;
  if (button) ACTIONS[button.dataset.action](row, button, event);
  else if (cell) editInPlace(cell, row, cell.dataset.edit);
}

for (const list of [$('productList'), $('productTable')]) list.addEventListener('click', act);
$('productTable').addEventListener('keydown', (event) => {
  if (!['Enter', 'F2'].includes(event.key) || !event.target.matches('[data-edit]')) return;
  event.preventDefault();
  act(event);
});

attachScanner(({ id }) => {
  toFocus = id;
  schedule();
});

$('export').onclick = () => {
  const products = past() ?? inventory.products; // without what is not sent: it is not of this version
  exportRows((picked().length ? picked() : shown).map(({ id }) => products.get(id)).filter(Boolean), shownTime());
};
$('showAll').onclick = () => {
  const from = isOnlyFollowed() ? $('onlyFollowed') : $('search');
  showAll();
  from.focus();
};

// ---- drawing

let shown = []; // the rows of the list, in order
let toFocus = null; // the id of the product whose −1 gets the focus, as soon as it is drawn
let loaded = false;

drawWith(() => {
  const products = past() ?? withPending(inventory.products);
  const { total, rows } = select(products);
  shown = rows;
  document.body.classList.toggle('past', past() !== null);
  if (past()) settle();
  const placed = past() ? rows : inPlace(rows, products); // nothing of the past is tapped
  cards.draw(isTable() ? [] : placed);
  $('productTable').hidden = !isTable() || !placed.length;
  drawTable(isTable() ? placed : []);
  const found = toFocus && (isTable() ? rowBlocks : cards).nodeOf(toFocus);
  if (found) {
    found.querySelector('[data-action=take]').focus();
    toFocus = null;
  }
  drawChoice(rows);
  drawCounts(total, rows);
  $('empty').hidden = !loaded || placed.length > 0;
  drawBasket();
});
queue.addEventListener('cola', schedule);

attachPaper(() => (loaded ? shown : []));

function drawCounts(total, rows) {
  say('productCount', loaded ? whole.format(total) : '…');
  // Products that are not subscribed may have changed: the page says so.
  const catchingUp = loaded && inventory.state === 'conectado' && !inventory.isCovered();
  const age = catchingUp ? ' · poniendo la lista al día…' : lostAt && ` · a las ${lostAt}`;
  say('matchCount', (isFiltered() ? ` · ${plural(rows.length, 'coincide', 'coinciden')}` : '') + age);
  say('worth', loaded && rows.length ? `· ${price(worthOf(rows))}` : '');
  const [title, text] = total ? ['Nada coincide', `Con ${choicesInWords().join(', ')}.`]
    : isOnlyFollowed() ? ['Todavía no sigues ningún producto', 'Pulsa la estrella de un producto para seguirlo: aquí verás solo los que elijas.']
      : past() ? ['Entonces no había productos', 'Es lo que cuenta el registro de ese momento.']
        : ['Todavía no hay productos', mayWrite() ? 'Crea el primero, o importa un archivo: aparecerá aquí y en todas las pantallas abiertas.' : 'El primero aparecerá aquí.'];
  say('emptyTitle', title);
  say('emptyText', text);
  $('showAll').hidden = !total && !isOnlyFollowed();
  $('export').disabled = !loaded || !rows.length;
  $('loading').hidden = loaded || rows.length > 0 || inventory.state === 'detenido';
  $('productList').ariaBusy = String(!loaded);
  say('followHint', inventory.isLimited() ? 'Mientras este filtro esté puesto no llega nada de los demás productos, ni de los nuevos.' : '');
}

// ---- events of the service

inventory.addEventListener('primeros', schedule);

inventory.addEventListener('lista', ({ detail: { before } }) => {
  const now = inventory.products;
  const changed = [...new Set([...now.keys(), ...before.keys()])].filter((id) => before.get(id)?.updated_at !== now.get(id)?.updated_at);
  for (const id of changed) tellDialogs(id, now.get(id) ?? null);
  log(`Lista cargada: ${plural(now.size, 'producto', 'productos')}`, 'info');
  const news = changed.filter((id) => !isOwn(changeKey(now.has(id) ? { data: now.get(id) } : { type: 'PRODUCT_DELETED', data: { id } })) && isShown(id));
  if (loaded && news.length) {
    toast(`${plural(news.length, 'producto cambió', 'productos cambiaron')} mientras no ${lostAt ? 'había conexión' : 'se seguían todos'}`);
  }
  const filters = choicesInWords().join(', '); // those in the address may be of yesterday
  if (!loaded && filters) toast(`No se ven todos: ${filters}`, { key: 'filters', action: ['Ver todos', showAll] });
  if (!loaded) settle(); // the first screen is not all
  loaded = true;
  schedule();
});

let missedKeys = []; // of the changes that a resumed connection has brought

inventory.addEventListener('evento', ({ detail: { message, before, applied, missed } }) => {
  const { type, data } = message;
  const words = eventInWords(message, applied ? before : undefined);
  log(words, type.slice('PRODUCT_'.length).toLowerCase(), message);
  schedule();
  if (!applied) return;
  if (!before) for (const list of [cards, rowBlocks]) list.arriving.add(data.id);
  if (missed) missedKeys.push(changeKey(message));
  else if (isShown(data.id)) {
    const action = type === 'PRODUCT_DELETED' && before && mayWrite() ? bringBack(before, 'Restaurar') : null;
    notifyOfOther({ text: words, product: data.id, key: changeKey(message), action, imported: message.motivo?.endsWith('importación') });
  }
  tellDialogs(data.id, inventory.products.get(data.id) ?? null);
});

inventory.addEventListener('reanudado', () => whenKnown(() => {
  const others = missedKeys.filter((key) => !isOwn(key)).length;
  const text = `${others ? plural(others, 'cambio', 'cambios') : 'Ningún cambio'} mientras no estabas`;
  if (others) toast(text);
  log(text, 'info');
  missedKeys = [];
}));

inventory.addEventListener('mensaje', ({ detail: { message } }) => {
  const isError = message.type === 'ERROR';
  log(isError ? message.message : 'Conexión establecida con el servidor', isError ? 'error' : 'info', message);
});

let lostAt = '';

inventory.addEventListener('estado', ({ detail }) => {
  const { state, seconds, unauthorized } = detail;
  const reason = unauthorized && login !== undefined ? 'hay que iniciar sesión' : detail.reason;
  const words = { conectando: 'Conectando…', conectado: 'Conectado', reconectando: `Reconectando en ${seconds} s`, detenido: `Detenido: ${reason}` }[state];
  $('connectionStatus').textContent = words;
  $('connectionStatus').dataset.state = state;
  if (state === 'conectado') {
    lostAt = '';
    toastOf('offline')?.remove();
  } else if (state !== 'conectando' && !lostAt) {
    lostAt = hour.format();
    log(unauthorized ? `Detenido: ${reason}` : 'Conexión perdida', 'error');
    const hint = `Puedes leer y buscar${mayWrite() ? '; lo que guardes se envía cuando vuelva' : ''}.`;
    toast(`Sin conexión. ${loaded ? hint : 'La lista no se ha podido cargar todavía.'}`, { key: 'offline' });
  }
  document.body.classList.toggle('stale', lostAt !== '');
  $('reconnect').hidden = !lostAt;
  for (const id of ['editOffline', 'conflictOffline', 'deleteOffline']) say(id, lostAt && 'Sin conexión: lo que guardes se envía cuando vuelva.');
  followKey(detail);
  schedule();
  // The countdown is only shown; screen readers announce the state when it changes.
  if (state !== 'conectando') say('stateAnnouncer', state === 'reconectando' ? 'Sin conexión. Se intenta reconectar.' : words);
});

$('reconnect').onclick = () => inventory.connect();

// ---- light and dark

const systemDark = matchMedia('(prefers-color-scheme: dark)');
const theme = document.documentElement.dataset;
const isDark = () => (theme.theme ? theme.theme === 'dark' : systemDark.matches);
const nameToggle = () => { $('themeToggle').ariaLabel = `Cambiar a modo ${isDark() ? 'claro' : 'oscuro'}`; };

$('themeToggle').onclick = () => {
  theme.theme = isDark() ? 'light' : 'dark';
  nameToggle();
  keep('inventario-theme', theme.theme);
};
systemDark.addEventListener('change', nameToggle);
nameToggle();

// On a phone the list comes first.
if (matchMedia('(max-width: 899px)').matches) $('createPanel').open = $('logPanel').open = false;
document.body.classList.add('ready');

// cable.js is loaded when the panel is opened. If it was left open, it is loaded before the page connects.
const useCable = (use) => import('./cable.js').then(({ open, close }) => (use ? open() : close()), () => toast('No se pudo cargar el cable.', { kind: 'error' }));
$('cableToggle').onclick = () => useCable($('cable').hidden);
if (kept('inventario-cable', false)) await useCable(true);

const { by, down } = order();
inventory.newestFirst = by === 'id' && down; // in another order, the rest would move what is about to be tapped
inventory.connect();
