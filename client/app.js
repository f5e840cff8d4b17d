import { Inventario } from './inventario.js';

const LOG_LIMIT = 200;
const PAGE = 500; // cards drawn at first; search looks at all the products
const CALM = 5; // changes of others in a second; above it they share one notification
const FIELDS = { nombre: 'Nombre', descripcion: 'Descripción', precio: 'Precio', stock: 'Stock' };

const $ = (id) => document.getElementById(id);
const stamp = (template) => $(template).content.firstElementChild.cloneNode(true);
const inventory = new Inventario(document.baseURI);

// ---- words

const money = new Intl.NumberFormat('es', { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const whole = new Intl.NumberFormat('es');
const clock = new Intl.DateTimeFormat('es', { timeStyle: 'medium' });
const plural = (n, one, many) => `${whole.format(n)} ${n === 1 ? one : many}`;
const short = (text, limit = 80) => (text.length > limit ? `${text.slice(0, limit - 1)}…` : text);
const folded = (text) => text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
const differing = (a, b) => Object.keys(FIELDS).filter((field) => a[field] !== b[field]);

function shown(field, row) {
  if (field === 'precio') return `$${money.format(row.precio)}`;
  if (field === 'stock') return whole.format(row.stock);
  return row[field] ?? 'Sin descripción';
}

function changeInWords(before, after) {
  return differing(before, after).map((field) => {
    if (field === 'nombre') return `ahora se llama «${short(after.nombre)}»`;
    if (field === 'descripcion') return 'otra descripción';
    return `${FIELDS[field].toLowerCase()} ${shown(field, before)} → ${shown(field, after)}`;
  }).join(', ');
}

function stateInWords(before, after) {
  return differing(before, after).map((field) => {
    const value = short(shown(field, after));
    return `${FIELDS[field].toLowerCase()} ${typeof after[field] === 'string' ? `«${value}»` : value}`;
  }).join(', ') || 'está otra vez como lo ves aquí';
}

function eventInWords({ type, data }, before) {
  const name = short(before?.nombre ?? data.nombre ?? '');
  if (type === 'PRODUCT_CREATED') return { log: `Producto creado: ${name}`, toast: `Nuevo producto: ${name}` };
  if (type === 'PRODUCT_DELETED') {
    const text = name ? `Producto eliminado: ${name}` : 'Producto eliminado';
    return { log: `${text} (ID: ${data.id})`, toast: text };
  }
  const change = before ? changeInWords(before, data) : '';
  return { log: `Producto actualizado: ${name}${change && ` (${change})`}`, toast: `${name}: ${change || 'actualizado'}` };
}

// ---- notifications

const toastOf = (key) => [...$('toasts').children].find((item) => key && item.dataset.key === key);

/** A toast with the `key` of one that is still there takes its place. */
function toast(text, { kind = 'info', key = '' } = {}) {
  toastOf(key)?.remove();
  const item = stamp('toastTemplate');
  item.dataset.key = key;
  item.classList.add(kind);
  if (kind === 'error') item.setAttribute('role', 'alert');
  item.querySelector('p').textContent = text;
  let timer;
  const hold = () => clearTimeout(timer);
  const release = () => { timer = setTimeout(() => item.remove(), kind === 'error' ? 12_000 : 5_000); };
  item.onpointerenter = item.onfocusin = hold;
  item.onpointerleave = item.onfocusout = () => { hold(); release(); };
  item.querySelector('button').onclick = () => item.remove();
  $('toasts').append(item);
  if ($('toasts').childElementCount > 4) $('toasts').firstElementChild.remove();
  release();
}

const succeeded = ({ message, data }) => toast(`${message}: ${short(data.nombre)}`, { kind: 'success' });

const own = new Set(); // changes made here and not yet heard of
const others = { waiting: [], times: [], flood: 0, timer: null };
const changeKey = ({ type, data }) => `${data.id} ${type === 'PRODUCT_DELETED' ? 'deleted' : data.updated_at}`;
let ownRequests = 0;

function notifyOfOther(entry) {
  if (entry) others.waiting.push(entry);
  others.timer ??= setTimeout(() => {
    others.timer = null;
    // An own change's event often arrives before its answer: only the answer tells whose it is.
    if (ownRequests) return notifyOfOther();
    const entries = others.waiting.filter(({ key }) => !own.delete(key));
    const now = performance.now();
    others.waiting = [];
    others.times = others.times.filter((time) => now - time < 1000).concat(entries.map(() => now));
    if (others.times.length <= CALM) {
      for (const { text, product } of entries) toast(text, { key: `product ${product}` });
    } else if (entries.length) {
      others.flood = (toastOf('flood') ? others.flood : 0) + entries.length;
      toast(plural(others.flood, 'cambio', 'cambios'), { key: 'flood' });
    }
  }, others.times.length > CALM ? 900 : 150);
}

/** Runs one request for a button, which is disabled meanwhile; null when it already was. */
async function working(button, request, deletes = false) {
  if (button.disabled) return null;
  const focused = document.activeElement === button;
  button.disabled = true;
  ownRequests += 1;
  try {
    const answer = await request();
    if (own.size > 500) own.clear();
    own.add(changeKey({ type: deletes && 'PRODUCT_DELETED', data: answer.data }));
    if (inventory.state === 'reconectando') inventory.connect(); // it answers again: no reason to wait
    return answer;
  } finally {
    ownRequests -= 1;
    button.disabled = false;
    if (focused && document.activeElement === document.body) button.focus(); // being disabled took the focus
  }
}

// ---- forms

class Problem extends Error {}

function need(right, message) {
  if (!right) throw new Problem(message);
}

function withinLimit(text, limit) {
  const length = [...text].length; // the service counts characters, not UTF-16 units
  need(length <= limit, `${whole.format(limit)} caracteres como mucho; hay ${whole.format(length)}.`);
  return text;
}

const PARSERS = {
  nombre(typed) {
    need(typed, 'Escribe un nombre.');
    return withinLimit(typed, 255);
  },
  descripcion: (typed) => withinLimit(typed, 10_000) || null,
  precio(typed) {
    const text = typed.replace(/^\$\s*/, '');
    need(text, 'Escribe un precio.');
    need(!/^[-−]/.test(text), 'El precio no puede ser negativo.');
    need(/^\d[\d.,\s]*$/.test(text), 'Escribe un número, por ejemplo 12,50.');
    // 1.299 is a thousand to some and one to others: no guess.
    need(/^\d+([.,]\d{1,2})?$/.test(text), 'Sin separador de miles y con dos decimales como mucho: 1299,99.');
    const price = Number(text.replace(',', '.'));
    need(price <= 9999999999.99, 'El precio máximo es 9999999999,99.');
    return price;
  },
  stock(typed) {
    need(typed, 'Escribe cuántas unidades hay.');
    need(!/^[-−]/.test(typed), 'El stock no puede ser negativo.');
    need(/^\d+$/.test(typed), 'Escribe un número entero, sin puntos ni comas.');
    need(Number(typed) <= 2147483647, 'El stock máximo es 2147483647.');
    return Number(typed);
  },
};

/** The values of `fields`, or null after saying at each field what is wrong with it. */
function readForm(form, fields = Object.keys(FIELDS)) {
  const values = {};
  const errors = [];
  for (const field of fields) {
    try {
      values[field] = PARSERS[field](form.elements[field].value.trim());
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      errors.push({ field, message: problem.message });
    }
  }
  showErrors(form, { errors });
  return errors.length ? null : values;
}

function showErrors(form, { errors = [], message = '' }) {
  const text = (of) => errors.filter(of).map((error) => error.message).join(' ');
  let first = null;
  for (const field of Object.keys(FIELDS)) {
    const input = form.elements[field];
    const problem = text((error) => error.field === field);
    $(`${input.id}Error`).textContent = problem;
    input.ariaInvalid = problem ? 'true' : null;
    if (problem) first ??= input;
  }
  form.querySelector('.form-error').textContent = text(({ field }) => !(field in FIELDS)) || (first ? '' : message);
  first?.focus();
}

for (const form of [$('createForm'), $('editForm')]) {
  form.addEventListener('input', ({ target }) => {
    target.ariaInvalid = null;
    $(`${target.id}Error`).textContent = '';
  });
}

$('createForm').addEventListener('submit', async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const values = readForm(form);
  if (!values) return;
  try {
    const answer = await working(form.querySelector('[type=submit]'), () => inventory.create(values));
    if (!answer) return;
    form.reset();
    form.elements.nombre.focus();
    succeeded(answer);
  } catch (error) {
    showErrors(form, error);
  }
});

// ---- dialogs

let editing = null; // {base: the row it began from, initial: the fields as first shown, gone: deleted meanwhile}
let conflict = null; // {values, theirs}
let deleting = null; // the row as last seen in the dialog

function open(dialog, opener) {
  const card = opener.closest('.product-card');
  const neighbour = card.nextElementSibling ?? card.previousElementSibling;
  dialog.addEventListener('close', () => {
    const stays = views.get(Number(card.dataset.id))?.card === card;
    (stays ? opener : neighbour?.isConnected ? neighbour : $('listTitle')).focus();
  }, { once: true });
  dialog.showModal();
}

for (const button of document.querySelectorAll('[data-close]')) {
  button.onclick = () => button.closest('dialog').close();
}

function openEdit(base, opener) {
  const form = $('editForm');
  editing = { base, initial: {}, gone: false };
  $('editTitle').textContent = `Editar «${short(base.nombre)}»`;
  for (const field of Object.keys(FIELDS)) {
    const input = form.elements[field];
    input.value = field === 'precio' ? base.precio.toFixed(2).replace('.', ',') : base[field] ?? '';
    editing.initial[field] = input.value; // read back: an input changes line ends
  }
  $('editNotice').textContent = '';
  $('saveEdit').textContent = 'Guardar cambios';
  showErrors(form, {});
  open($('editDialog'), opener);
  form.elements.nombre.select();
}

$('editForm').addEventListener('submit', async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const { base, initial, gone } = editing;
  const touched = Object.keys(FIELDS).filter((field) => gone || form.elements[field].value !== initial[field]);
  if (!touched.length) return $('editDialog').close();
  const values = readForm(form, touched);
  if (!values) return;
  const save = () => (gone ? inventory.create(values) : inventory.update(base.id, values, base.updated_at));
  try {
    const answer = await working($('saveEdit'), save);
    if (!answer) return;
    $('editDialog').close();
    succeeded(answer);
  } catch (error) {
    if (error.status === 404) tellDialogs(base.id, null);
    else if (error.status !== 412 || !error.data) showErrors(form, error);
    else {
      tellDialogs(base.id, error.data);
      showConflict(values, error.data);
    }
  }
});

function showConflict(values, theirs) {
  const mine = { ...editing.base, ...values };
  const names = Object.keys(values).map((field) => FIELDS[field].toLowerCase()).join(', ');
  conflict = { values, theirs };
  $('conflictText').textContent = `Mientras editabas «${short(editing.base.nombre)}» se guardaron otros cambios. Guardar tu versión cambia solo: ${names}.`;
  $('conflictRows').replaceChildren(...Object.keys(FIELDS).map((field) => {
    const [head, left, right] = ['th', 'td', 'td'].map((tag) => document.createElement(tag));
    head.scope = 'row';
    head.textContent = FIELDS[field];
    left.textContent = shown(field, mine);
    right.textContent = shown(field, theirs);
    left.classList.toggle('changed', field in values);
    right.classList.toggle('changed', theirs[field] !== editing.base[field]);
    const line = document.createElement('tr');
    line.append(head, left, right);
    return line;
  }));
  $('conflictError').textContent = '';
  if (!$('conflictDialog').open) $('conflictDialog').showModal();
}

function closeBoth() {
  $('conflictDialog').close();
  $('editDialog').close();
}

$('keepTheirs').onclick = closeBoth;

$('overwrite').onclick = async () => {
  const { values, theirs } = conflict;
  try {
    const answer = await working($('overwrite'), () => inventory.update(theirs.id, values, theirs.updated_at));
    if (!answer) return;
    closeBoth();
    succeeded(answer);
  } catch (error) {
    if (error.status === 404) tellDialogs(theirs.id, null);
    if (error.status === 412 && error.data) showConflict(values, error.data);
    $('conflictError').textContent = error.status === 412 ? 'Ha vuelto a cambiar: mira otra vez.' : error.message;
  }
};

function openDelete(row, opener) {
  deleting = row;
  $('deleteText').textContent = `«${short(row.nombre)}» (${shown('precio', row)}, stock ${shown('stock', row)}) desaparecerá de todas las pantallas. No se puede deshacer.`;
  $('deleteNotice').textContent = $('deleteError').textContent = '';
  $('confirmDelete').textContent = 'Eliminar';
  open($('deleteDialog'), opener);
}

$('confirmDelete').onclick = async () => {
  const row = deleting;
  try {
    const answer = await working($('confirmDelete'), () => inventory.delete(row.id, row.updated_at), true);
    if (!answer) return;
    $('deleteDialog').close();
    succeeded(answer);
  } catch (error) {
    if (error.status === 404) tellDialogs(row.id, null);
    else if (error.status !== 412 || !error.data) $('deleteError').textContent = error.message;
    else {
      $('deleteNotice').textContent = `Alguien lo cambió antes: ahora ${stateInWords(row, error.data)}.`;
      $('confirmDelete').textContent = 'Eliminar de todos modos';
      deleting = error.data;
    }
  }
};

/** Says in an open dialog what somebody else just did to its product; `row` is null when it was deleted. */
function tellDialogs(id, row) {
  if ($('editDialog').open && editing.base.id === id && !$('saveEdit').disabled && !$('overwrite').disabled) {
    editing.gone = !row;
    $('editNotice').textContent = row
      ? `Alguien lo cambió: ahora ${stateInWords(editing.base, row)}.`
      : 'Alguien lo eliminó. Lo que ves aquí se puede crear de nuevo.';
    $('saveEdit').textContent = row ? 'Guardar cambios' : 'Crear de nuevo';
    if (!row) $('conflictDialog').close();
  }
  if ($('deleteDialog').open && deleting.id === id && !$('confirmDelete').disabled) {
    if (row) $('deleteNotice').textContent = `Alguien lo cambió: ahora ${stateInWords(deleting, row)}.`;
    else $('deleteDialog').close();
  }
}

// ---- cards

$('productList').addEventListener('click', ({ target }) => {
  const button = target.closest('button');
  const row = button && inventory.products.get(Number(button.closest('.product-card').dataset.id));
  if (!row) return;
  if (button.dataset.action === 'edit') openEdit(row, button);
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

const PARTS = ['name', 'number', 'description', 'price', 'units', 'units-label', 'stepper', 'take', 'add', 'edit', 'delete'];
const views = new Map(); // id -> {card, part, row} of each card on the page
const arriving = new Set(); // ids that slide in
const wordsOf = new WeakMap(); // row -> its searchable text
let terms = [];
let limit = PAGE;
let loaded = false;
let scheduled = false;

// All drawing happens here, once a frame: a flood of events costs what one does.
function schedule() {
  if (!scheduled) requestAnimationFrame(render);
  scheduled = true;
}

function render() {
  scheduled = false;
  const rows = [...inventory.products.values()].filter(matches).sort((a, b) => b.id - a.id); // the newest first
  const onPage = rows.slice(0, limit);
  const staying = new Set(onPage.map(({ id }) => id));
  for (const [id, view] of views) if (!staying.has(id)) removeCard(id, view);
  let next = $('productList').firstElementChild;
  for (const row of onPage) {
    while (next?.classList.contains('leaving')) next = next.nextElementSibling;
    const view = views.get(row.id);
    if (!view) addCard(row, next);
    else if (view.row !== row) updateCard(view, row);
    if (view) next = next.nextElementSibling;
  }
  arriving.clear();
  drawLog();
  drawCounts(rows.length, rows.length - onPage.length);
}

function matches(row) {
  if (!terms.length) return true;
  if (!wordsOf.has(row)) wordsOf.set(row, folded(`${row.nombre} ${row.descripcion ?? ''}`));
  return terms.every((term) => wordsOf.get(row).includes(term));
}

function addCard(row, next) {
  const card = stamp('cardTemplate');
  const part = Object.fromEntries(PARTS.map((name) => [name, card.querySelector(`.${name}, [data-action=${name}]`)]));
  const view = { card, part, row: null };
  card.dataset.id = row.id;
  part.number.textContent = `#${row.id}`;
  updateCard(view, row);
  card.classList.toggle('arriving', arriving.has(row.id));
  views.set(row.id, view);
  $('productList').insertBefore(card, next);
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
  card.animate({ opacity: [1, 0], scale: [1, 0.97] }, 160).onfinish = () => card.remove();
}

function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text; // a live region repeats what is set again
}

function drawCounts(matching, more) {
  const total = inventory.products.size;
  say('productCount', loaded ? whole.format(total) : '…');
  say('matchCount', terms.length ? ` · ${plural(matching, 'coincide', 'coinciden')}` : '');
  say('more', `Mostrar más (quedan ${whole.format(more)})`);
  say('emptyTitle', total ? 'Nada coincide' : 'Todavía no hay productos');
  say('emptyText', total ? `Ningún producto contiene «${short($('search').value.trim())}».` : 'Crea el primero: aparecerá aquí y en todas las pantallas abiertas.');
  $('more').hidden = !more;
  $('empty').hidden = !loaded || matching > 0;
  $('clearSearch').hidden = !total;
  $('loading').hidden = loaded;
  $('productList').ariaBusy = String(!loaded);
}

$('search').addEventListener('input', () => {
  terms = folded($('search').value).split(/\s+/).filter(Boolean);
  limit = PAGE;
  schedule();
});

$('clearSearch').onclick = () => {
  $('search').value = '';
  $('search').dispatchEvent(new Event('input'));
  $('search').focus();
};

function showMore() {
  limit += PAGE;
  schedule();
}

$('more').onclick = showMore;
new IntersectionObserver(([end]) => end.isIntersecting && showMore(), { rootMargin: '600px' }).observe($('more'));

// ---- the log

const logQueue = [];

function log(text, kind, message = null) {
  logQueue.push({ text, kind, message, time: clock.format() });
  if (logQueue.length > LOG_LIMIT) logQueue.shift(); // a hidden tab draws nothing
  schedule();
}

function drawLog() {
  const list = $('eventsLog');
  for (const { text, kind, message, time } of logQueue.splice(0)) {
    const item = stamp('eventTemplate');
    item.classList.add(kind);
    item.querySelector('.event-type').textContent = text;
    item.querySelector('.event-timestamp').textContent = time;
    item.querySelector('code').textContent = [message?.type, message?.id].filter(Boolean).join(' ');
    if (message) item.firstElementChild.ontoggle = () => { item.querySelector('pre').textContent = JSON.stringify(message, null, 2); };
    else item.replaceChildren(...item.querySelector('summary').childNodes);
    list.prepend(item);
  }
  while (list.childElementCount > LOG_LIMIT) list.lastElementChild.remove();
}

// ---- what comes from the service

inventory.addEventListener('lista', ({ detail: { before } }) => {
  const now = inventory.products;
  const changed = [...new Set([...now.keys(), ...before.keys()])].filter((id) => before.get(id)?.updated_at !== now.get(id)?.updated_at);
  for (const id of changed) tellDialogs(id, now.get(id) ?? null);
  log(`Lista cargada: ${plural(now.size, 'producto', 'productos')}`, 'info');
  if (loaded && changed.length) toast(`${plural(changed.length, 'producto cambió', 'productos cambiaron')} mientras no había conexión`);
  loaded = true;
});

inventory.addEventListener('evento', ({ detail: { message, before, applied } }) => {
  const { type, data } = message;
  const words = eventInWords(message, applied ? before : undefined);
  log(words.log, type.slice('PRODUCT_'.length).toLowerCase(), message);
  if (!applied) return;
  if (!before) arriving.add(data.id);
  notifyOfOther({ text: words.toast, product: data.id, key: changeKey(message) });
  tellDialogs(data.id, inventory.products.get(data.id) ?? null);
});

inventory.addEventListener('mensaje', ({ detail: { message } }) => {
  const isError = message.type === 'ERROR';
  log(isError ? message.message : 'Conexión establecida con el servidor', isError ? 'error' : 'info', message);
});

let lostAt = '';
let announced = 'conectando';

inventory.addEventListener('estado', ({ detail: { state, seconds, reason } }) => {
  const connected = state === 'conectado';
  const words = { conectando: 'Conectando…', conectado: 'Conectado', reconectando: `Reconectando en ${seconds} s`, detenido: `Detenido: ${reason}` }[state];
  $('connectionStatus').textContent = words;
  $('connectionStatus').className = `connection-status ${connected ? 'connected' : 'disconnected'}`;
  $('connectionStatus').dataset.state = state;
  if (connected) lostAt = '';
  else if (state !== 'conectando' && !lostAt) {
    lostAt = clock.format();
    log('Conexión perdida', 'error');
  }
  document.body.classList.toggle('stale', lostAt !== '');
  $('offline').hidden = !lostAt;
  $('offlineTitle').textContent = state === 'detenido' ? 'Conexión detenida.' : 'Sin conexión.';
  $('offlineText').textContent = loaded
    ? `Ves lo último que llegó, a las ${lostAt}. Puedes leer y buscar; lo que guardes ahora puede no llegar.`
    : 'La lista no se ha podido cargar todavía.';
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
