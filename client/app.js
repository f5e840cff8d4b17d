import { attach, followKey, keptKey, openDelete, openEdit, tellDialogs } from './dialogs.js';
import { attachHistory, past } from './history.js';
import { Inventario } from './inventario.js';
import { $, changeKey, isOwn, log, notifyOfOther, say, stamp, toast, working } from './notices.js';
import { FIELDS, clock, differing, eventInWords, folded, plural, short, shown, whole } from './words.js';

const BLOCK = 60; // rows of a block, which has cards only while it is near: full lines of 1 to 6 columns
const STEP = 60; // new cards in a frame: more would make it stutter

const inventory = new Inventario(document.baseURI);
const here = inventory.api.pathname; // one origin may have several inventories
inventory.token = keptKey(`inventario-clave ${here}`);

// ---- following

const followedName = `inventario-siguiendo ${here}`;
let followed = keptFollowed(new Set()); // ids; some may not exist any more
let onlyFollowed = false;

/** The ids in storage, where other tabs of this page change them too; `otherwise` where storage is forbidden. */
function keptFollowed(otherwise) {
  try {
    const ids = JSON.parse(localStorage.getItem(followedName) ?? '[]');
    return new Set(Array.isArray(ids) ? ids.filter((id) => Number.isInteger(id) && id > 0 && id < 2 ** 31) : []);
  } catch {
    return otherwise;
  }
}

function follow(ids, yes) {
  followed = keptFollowed(followed);
  for (const id of ids) {
    if (yes) followed.add(id);
    else followed.delete(id);
  }
  try {
    localStorage.setItem(followedName, JSON.stringify([...followed]));
  } catch { /* as above */ }
  listen();
}

function listen() {
  inventory.only(onlyFollowed ? followed : null);
  schedule();
}

function showOnlyFollowed(yes) {
  onlyFollowed = yes;
  $('onlyFollowed').ariaPressed = String(yes);
  listen();
}

$('onlyFollowed').onclick = () => showOnlyFollowed(!onlyFollowed);
$('showAll').onclick = () => {
  showOnlyFollowed(false);
  $('onlyFollowed').focus();
};
addEventListener('storage', ({ key }) => {
  if (key !== followedName && key !== null) return;
  followed = keptFollowed(followed);
  listen();
});

attach(inventory, ({ id }) => onlyFollowed && follow([id], true)); // or it would vanish from the eyes of its maker
attachHistory(inventory, schedule);

// ---- cards

$('productList').addEventListener('click', ({ target }) => {
  const button = target.closest('button');
  const row = button && inventory.products.get(Number(button.closest('.product-card').dataset.id));
  if (!row || past()) return;
  if (button.dataset.action === 'follow') follow([row.id], !followed.has(row.id));
  else if (button.dataset.action === 'edit') openEdit(row, button);
  else if (button.dataset.action === 'delete') openDelete(row, button);
  else moveStock(row, button, button.dataset.action === 'add' ? 1 : -1);
});

async function moveStock(row, button, delta) {
  const key = `stock ${row.id}`;
  try {
    const answer = await working(button, () => inventory.moveStock(row.id, delta));
    if (answer) toast(`${short(row.nombre)}: stock ${shown('stock', answer.data)}`, { kind: 'success', key });
  } catch (error) {
    const left = error.status === 409 && delta < 0 ? error.data?.stock : undefined;
    const text = left === 0 ? 'no queda ninguna unidad' : left > 0 ? `no alcanza, quedan ${whole.format(left)}` : error.message;
    toast(`${short(row.nombre)}: ${text}`, { kind: 'error', key });
  }
}

const PARTS = ['name', 'number', 'description', 'price', 'units', 'units-label', 'stepper', 'take', 'add', 'edit', 'delete', 'follow'];
const views = new Map(); // id -> {card, part, row, followed} of each card on the page
const arriving = new Set(); // ids that slide in
const wordsOf = new WeakMap(); // row -> its searchable text
let terms = [];
let loaded = false;
let scheduled = false;

// All drawing happens here, once a frame: a flood of events costs what one does.
function schedule() {
  if (!scheduled) requestAnimationFrame(render);
  scheduled = true;
}

function render() {
  scheduled = false;
  const products = past() ?? inventory.products;
  const all = onlyFollowed ? [...followed].filter((id) => products.has(id)).map((id) => products.get(id)) : [...products.values()];
  const rows = all.filter(matches).sort((a, b) => b.id - a.id); // the newest first
  drawBlocks(rows);
  arriving.clear();
  drawCounts(all.length, rows.length);
}

/** Shows the rows as blocks of cards; one that is far away is empty, and as high as it was. */
function drawBlocks(rows) {
  const list = $('productList');
  while (list.childElementCount < Math.ceil(rows.length / BLOCK)) list.append(newBlock());
  const parts = [...list.children].map((block, i) => ({
    block,
    rows: rows.slice(i * BLOCK, (i + 1) * BLOCK),
    drawn: block.near || block.contains(document.activeElement),
  }));
  const staying = new Set(parts.flatMap((part) => (part.drawn ? part.rows.map(({ id }) => id) : [])));
  for (const { block, drawn } of parts) if (!drawn && block.firstElementChild) block.style.height = `${block.offsetHeight}px`;
  for (const [id, view] of views) if (!staying.has(id)) removeCard(id, view);
  let fresh = 0;
  for (const { block, rows, drawn } of parts) {
    if (!rows.length && !block.firstElementChild) block.remove();
    if (!drawn) continue;
    let next = block.firstElementChild;
    for (const row of rows) {
      while (next?.classList.contains('leaving')) next = next.nextElementSibling;
      const view = views.get(row.id);
      if (!view) {
        if (++fresh <= STEP) addCard(row, block, next);
        continue;
      }
      if (view.row !== row || view.followed !== followed.has(row.id)) updateCard(view, row);
      if (view.card === next) next = next.nextElementSibling;
      else moveCard(view.card, block, next);
    }
    if (fresh <= STEP) block.style.height = '';
  }
  if (fresh > STEP) schedule();
  const unknown = parts.filter(({ block, rows, drawn }) => !drawn && rows.length && !block.style.height);
  const model = unknown.length ? parts.find(({ block, drawn }) => drawn && block.firstElementChild)?.block : null;
  if (!model) return;
  const usual = model.offsetHeight / model.childElementCount;
  for (const { block, rows } of unknown) block.style.height = `${usual * rows.length}px`;
}

addEventListener('resize', () => {
  for (const block of $('productList').children) if (!block.firstElementChild) block.style.height = '';
  schedule();
});

const nearby = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) target.near = isIntersecting;
  schedule();
}, { rootMargin: '800px' });

function newBlock() {
  const block = document.createElement('div');
  block.className = 'cards';
  block.near = !$('productList').firstElementChild;
  nearby.observe(block);
  return block;
}

/** To another place, where the browser can without a loss of focus. */
function moveCard(card, block, next) {
  if (block.moveBefore) return block.moveBefore(card, next);
  const focused = card.contains(document.activeElement) && document.activeElement;
  block.insertBefore(card, next);
  if (focused) focused.focus({ preventScroll: true });
}

function matches(row) {
  if (!terms.length) return true;
  if (!wordsOf.has(row)) wordsOf.set(row, folded(`${row.nombre} ${row.descripcion ?? ''}`));
  return terms.every((term) => wordsOf.get(row).includes(term));
}

function addCard(row, block, next) {
  const card = stamp('cardTemplate');
  const part = Object.fromEntries(PARTS.map((name) => [name, card.querySelector(`.${name}, [data-action=${name}]`)]));
  const view = { card, part, row: null, followed: null };
  card.dataset.id = row.id;
  part.number.textContent = `#${row.id}`;
  updateCard(view, row);
  card.classList.toggle('arriving', arriving.has(row.id));
  views.set(row.id, view);
  block.insertBefore(card, next);
}

function updateCard(view, row) {
  const { card, part, row: before } = view;
  const changed = before ? differing(before, row) : Object.keys(FIELDS);
  view.row = row;
  if (changed.includes('nombre')) {
    part.name.textContent = part.name.title = card.ariaLabel = row.nombre;
    part.stepper.ariaLabel = `Stock de ${row.nombre}`;
    part.take.ariaLabel = `−1 unidad de ${row.nombre}`;
    part.add.ariaLabel = `+1 unidad de ${row.nombre}`;
    part.edit.ariaLabel = `Editar ${row.nombre}`;
    part.delete.ariaLabel = `Eliminar ${row.nombre}`;
  }
  if (changed.includes('nombre') || view.followed !== followed.has(row.id)) {
    view.followed = followed.has(row.id);
    part.follow.ariaLabel = part.follow.title = `${view.followed ? 'Dejar de seguir' : 'Seguir'} ${row.nombre}`;
    part.follow.ariaPressed = String(view.followed);
  }
  part.description.textContent = short(shown('descripcion', row), 400);
  part.description.classList.toggle('none', row.descripcion === null);
  part.price.textContent = shown('precio', row);
  part.units.textContent = shown('stock', row);
  part['units-label'].textContent = row.stock === 0 ? 'agotado' : row.stock === 1 ? 'unidad' : 'unidades';
  card.classList.toggle('sold-out', row.stock === 0);
  if (!before || !changed.length) return;
  card.classList.remove('arriving');
  card.classList.add('flash');
  if (changed.includes('precio')) part.price.classList.add('flash');
  if (changed.includes('stock')) part.units.classList.add('flash');
}

$('productList').addEventListener('animationend', ({ target }) => target.classList.remove('flash', 'arriving'));

function removeCard(id, { card }) {
  views.delete(id);
  if (card.contains(document.activeElement)) {
    // To the card and not to its button: the next key press must not act on another product.
    (card.nextElementSibling ?? card.previousElementSibling ?? $('listTitle')).focus();
  }
  if (inventory.products.has(id) || matchMedia('(prefers-reduced-motion: reduce)').matches) return card.remove();
  card.classList.add('leaving');
  card.animate({ opacity: [1, 0], scale: [1, 0.97] }, 160).onfinish = () => {
    card.remove();
    schedule();
  };
}

function drawCounts(total, matching) {
  const typed = short($('search').value.trim());
  const none = onlyFollowed && !total; // followed, of all there are
  say('productCount', loaded ? whole.format(total) : '…');
  say('matchCount', terms.length ? ` · ${plural(matching, 'coincide', 'coinciden')}` : '');
  if (none) {
    say('emptyTitle', 'Todavía no sigues ningún producto');
    say('emptyText', 'Pulsa la estrella de un producto para seguirlo: aquí verás solo los que elijas.');
  } else if (past() && !total) {
    say('emptyTitle', 'Entonces no había productos');
    say('emptyText', 'Es lo que cuenta el registro de ese momento.');
  } else {
    say('emptyTitle', total ? 'Nada coincide' : 'Todavía no hay productos');
    say('emptyText', total
      ? `Ninguno de los ${onlyFollowed ? 'que sigues' : 'productos'} contiene «${typed}».`
      : 'Crea el primero: aparecerá aquí y en todas las pantallas abiertas.');
  }
  $('empty').hidden = !loaded || matching > 0;
  $('clearSearch').hidden = !total;
  $('showAll').hidden = !none;
  $('loading').hidden = loaded || inventory.state === 'detenido';
  $('productList').ariaBusy = String(!loaded);
  drawHint();
}

// What is not listened to may have changed: the page says so.
function drawHint() {
  const catchingUp = loaded && inventory.state === 'conectado' && !inventory.covered;
  say('followHint', catchingUp ? 'Poniendo la lista al día…'
    : inventory.limited ? 'Mientras este filtro esté puesto no llega nada de los demás productos, ni de los nuevos.'
      : '');
}

$('search').addEventListener('input', () => {
  terms = folded($('search').value).split(/\s+/).filter(Boolean);
  schedule();
});

$('clearSearch').onclick = () => {
  $('search').value = '';
  $('search').dispatchEvent(new Event('input'));
  $('search').focus();
};

// ---- what comes from the service

inventory.addEventListener('lista', ({ detail: { before } }) => {
  const now = inventory.products;
  const changed = [...new Set([...now.keys(), ...before.keys()])].filter((id) => before.get(id)?.updated_at !== now.get(id)?.updated_at);
  for (const id of changed) tellDialogs(id, now.get(id) ?? null);
  log(`Lista cargada: ${plural(now.size, 'producto', 'productos')}`, 'info');
  const news = changed.filter((id) => !isOwn(changeKey(now.has(id) ? { data: now.get(id) } : { type: 'PRODUCT_DELETED', data: { id } })) && isShown(id));
  if (loaded && news.length) {
    toast(`${plural(news.length, 'producto cambió', 'productos cambiaron')} mientras no ${lostAt ? 'había conexión' : 'se seguían todos'}`);
  }
  // One that is followed and was never seen here may be so new that this list had not got it yet.
  const gone = [...followed].filter((id) => !now.has(id) && (before.has(id) || !loaded));
  loaded = true;
  if (gone.length) follow(gone, false);
  schedule();
});

const isShown = (id) => !onlyFollowed || followed.has(id);
let ownMissed = 0;

inventory.addEventListener('evento', ({ detail: { message, before, applied, missed } }) => {
  const { type, data } = message;
  const words = eventInWords(message, applied ? before : undefined);
  log(words.log, type.slice('PRODUCT_'.length).toLowerCase(), message);
  schedule();
  if (!applied) return;
  if (!before) arriving.add(data.id);
  if (missed) ownMissed += isOwn(changeKey(message));
  else if (isShown(data.id)) notifyOfOther({ text: words.toast, product: data.id, key: changeKey(message) });
  tellDialogs(data.id, inventory.products.get(data.id) ?? null);
  if (type === 'PRODUCT_DELETED' && followed.has(data.id)) follow([data.id], false);
});

inventory.addEventListener('reanudado', ({ detail: { changes } }) => {
  const text = `${plural(changes - ownMissed, 'cambio', 'cambios')} mientras no estabas`;
  if (changes > ownMissed) toast(text);
  log(changes > ownMissed ? text : 'Ningún cambio mientras no estabas', 'info');
  ownMissed = 0;
});

inventory.addEventListener('mensaje', ({ detail: { message } }) => {
  const isError = message.type === 'ERROR';
  log(isError ? message.message : 'Conexión establecida con el servidor', isError ? 'error' : 'info', message);
});

let lostAt = '';
let announced = 'conectando';

inventory.addEventListener('estado', ({ detail }) => {
  const { state, seconds, reason, unauthorized } = detail;
  const connected = state === 'conectado';
  const words = { conectando: 'Conectando…', conectado: 'Conectado', reconectando: `Reconectando en ${seconds} s`, detenido: `Detenido: ${reason}` }[state];
  $('connectionStatus').textContent = words;
  $('connectionStatus').className = `connection-status ${connected ? 'connected' : 'disconnected'}`;
  $('connectionStatus').dataset.state = state;
  if (connected) lostAt = '';
  else if (state !== 'conectando' && !lostAt) {
    lostAt = clock.format();
    log(unauthorized ? 'Hace falta una clave de acceso' : 'Conexión perdida', 'error');
  }
  document.body.classList.toggle('stale', lostAt !== '');
  $('offline').hidden = !lostAt;
  $('offlineTitle').textContent = state === 'detenido' ? 'Conexión detenida.' : 'Sin conexión.';
  $('offlineText').textContent = loaded
    ? `Ves lo último que llegó, a las ${lostAt}. Puedes leer y buscar; lo que guardes se envía cuando vuelva.`
    : 'La lista no se ha podido cargar todavía.';
  const warning = lostAt ? 'Sin conexión: lo que guardes se envía cuando vuelva, si no cierras la página.' : '';
  for (const id of ['createOffline', 'editOffline', 'conflictOffline', 'deleteOffline']) say(id, warning);
  followKey(detail);
  schedule();
  // The countdown is for the eyes; ears hear only what is new.
  if (state === announced || state === 'conectando') return;
  announced = state;
  $('stateAnnouncer').textContent = state === 'reconectando' ? 'Sin conexión. Se intenta reconectar.' : words;
});

$('reconnect').onclick = () => inventory.connect();

// ---- light and dark

const systemDark = matchMedia('(prefers-color-scheme: dark)');
const theme = document.documentElement.dataset;
const isDark = () => (theme.theme ? theme.theme === 'dark' : systemDark.matches);
const nameToggle = () => { $('themeToggle').ariaLabel = `Cambiar a modo ${isDark() ? 'claro' : 'oscuro'}`; };

try {
  theme.theme = localStorage.getItem('inventario-theme') ?? '';
} catch { /* storage may be forbidden */ }

$('themeToggle').onclick = () => {
  theme.theme = isDark() ? 'light' : 'dark';
  nameToggle();
  try {
    localStorage.setItem('inventario-theme', theme.theme);
  } catch { /* as above */ }
};
systemDark.addEventListener('change', nameToggle);
nameToggle();

// On a phone the list comes first.
if (matchMedia('(max-width: 899px)').matches) $('createPanel').open = $('logPanel').open = false;

inventory.connect();
