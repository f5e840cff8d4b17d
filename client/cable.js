import { $, element, fold, say } from './notices.js';
import { inventory } from './page.js';
import { keep } from './view.js';
import { plural, whole } from './words.js';

const LIMIT = 500; // rows
const SHOWN = 64 * 1024; // characters kept of a payload
const OFFLINE = 10; // s
const COUNT_EVERY = 3_000; // ms
const TOLD = ['etag', 'idempotency-replayed', 'retry-after']; // response headers that are shown
const WAYS = { '→': 'enviado', '←': 'recibido', '⇄': 'petición', '×': 'perdido' };

let net = null; // the original `net` while the panel is open, else null
let watching; // AbortController of the listeners
let lastFrame = null; // the time of the last frame
let secondsLeft = 0; // of the simulated outage
let countDown;
let counting;

const figure = (number, unit) => `${whole.format(Math.round(number))} ${unit}`;

/** The size of a payload and its beginning. */
function payload(data) {
  const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : new Uint8Array(data);
  return { bytes: bytes.length, begins: new TextDecoder().decode(bytes.slice(0, SHOWN)) };
}

/** Indents JSON. Its numbers stay as they came, 64.90, where the browser knows how they did. */
function pretty({ bytes, begins }) {
  if (bytes > SHOWN) return `${begins}\n… (${figure(bytes, 'B')})`;
  const asItCame = (key, value, { source } = {}) => (typeof value === 'number' && source ? JSON.rawJSON(source) : value);
  try {
    return JSON.stringify(JSON.parse(begins, asItCame), null, 2);
  } catch {
    return begins; // CSV, or an error page of a proxy
  }
}

// ---- rows

const waiting = new Set(); // entries to draw, or to draw again

/** Appends a row, {way, kind, more, status, bytes, ms, tell}, or draws it again; `tell` returns the text of its details. */
function record(entry) {
  if (!waiting.size) requestAnimationFrame(draw);
  waiting.add(entry);
  if (waiting.size > LIMIT) waiting.delete(waiting.values().next().value); // a hidden tab draws nothing
  return entry;
}

function draw() {
  const list = $('cableRows');
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 8;
  for (const entry of waiting) {
    if (!entry.item) list.append(entry.item = row(entry));
    fill(entry);
  }
  waiting.clear();
  while (list.childElementCount > LIMIT) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function row({ way, kind, more, tell }) {
  const cells = [
    element('span', { className: 'way', role: 'img', ariaLabel: WAYS[way] }, way),
    element('span', { className: 'what' }, element('b', {}, kind), ' ', element('span', { className: 'more' }, more)),
    ...['status', 'bytes', 'ms'].map((className) => element('span', { className })),
  ];
  const item = element('li', {}, ...fold(cells, tell));
  item.dataset.way = way;
  return item;
}

function fill({ item, status = '', bytes, ms = '', tell }) {
  item.querySelector('.status').textContent = status;
  item.querySelector('.bytes').textContent = bytes === undefined ? '' : figure(bytes, 'B');
  item.querySelector('.ms').textContent = ms;
  item.classList.toggle('bad', status === 'error' || (status >= 400 && status !== 1000));
  if (tell && item.firstElementChild.open) item.querySelector('pre').textContent = tell();
}

// ---- requests

/** Appends the row of a request; returns a function that is called with its outcome. */
function request(method, url, { headers = {}, body = '' } = {}) {
  const began = performance.now();
  const { pathname, search } = new URL(url);
  const parts = [[`→ ${method} ${pathname}${search}`, Object.entries(headers).filter(([name]) => name !== 'Authorization'), payload(body)]];
  const lines = ([first, head, { bytes, begins }]) => [first, ...head.map((pair) => pair.join(': ')), bytes ? `\n${pretty({ bytes, begins })}` : ''].join('\n');
  const entry = record({ way: '⇄', kind: method, more: pathname + search, status: '…', tell: () => parts.map(lines).join('\n\n') });
  return (status, head = [], answer = null) => {
    const { bytes, begins } = payload(answer ?? '');
    parts.push([`← ${status}`, head, { bytes, begins }]);
    Object.assign(entry, { status, bytes: answer ? bytes : undefined, ms: figure(performance.now() - began, 'ms') });
    if (entry.item || waiting.has(entry)) record(entry);
  };
}

async function ask(url, options) {
  const carrier = net;
  const outcome = request(options.method, url, options);
  try {
    if (secondsLeft) throw new TypeError('no network');
    const response = await carrier.ask(url, options);
    if (secondsLeft) throw new TypeError('the network went before the answer came');
    const head = [...response.headers].filter(([name]) => TOLD.includes(name));
    response.clone().arrayBuffer().then((answer) => outcome(response.status, head, answer), () => outcome('error'));
    return response;
  } catch (error) {
    outcome('error');
    throw error;
  }
}

// ---- sockets

function sinceLast() {
  const before = lastFrame;
  lastFrame = performance.now();
  return before === null ? '' : `+${figure(lastFrame - before, 'ms')}`;
}

function message(way, data) {
  const frame = payload(data);
  let value = null;
  try {
    value = JSON.parse(data);
  } catch { /* it is shown as it is */ }
  const more = ['id', 'recovered', 'last_event_id'].filter((name) => value?.[name] !== undefined).map((name) => `${name}: ${value[name]}`);
  record({ way, kind: value?.type ?? 'texto', more: more.join(' · '), bytes: frame.bytes, ms: sinceLast(), tell: () => pretty(frame) });
}

const end = (way, code, reason = '') => record({ way, kind: 'CLOSE', more: reason, status: code, ms: sinceLast() });

function watch(socket) {
  const { signal } = watching;
  socket.addEventListener('message', ({ data }) => message('←', data), { signal });
  // Only once: after a simulated outage, the real close event of the socket follows.
  socket.addEventListener('close', ({ code, reason, wasClean }) => end(wasClean ? '←' : '×', code, reason), { signal, once: true });
  socket.send = (text) => {
    message('→', text);
    WebSocket.prototype.send.call(socket, text);
  };
  socket.close = (code, reason) => {
    if (!secondsLeft && socket.readyState === WebSocket.OPEN) end('→', code, reason);
    WebSocket.prototype.close.call(socket, code, reason);
  };
  signal.addEventListener('abort', () => {
    delete socket.send;
    delete socket.close;
  });
}

/** Opens a socket. Its `protocols` are not shown, because they contain the token. */
function connect(url, protocols) {
  const outcome = request('GET', url, { headers: { Upgrade: 'websocket' } });
  if (secondsLeft) {
    const none = { readyState: WebSocket.CLOSED, close() {} };
    setTimeout(() => {
      outcome('error');
      end('×', 1006);
      none.onclose?.({ code: 1006, reason: '' });
    });
    return none;
  }
  const socket = net.open(url, protocols);
  const { signal } = watching;
  socket.addEventListener('open', () => outcome(101, socket.protocol ? [['Sec-WebSocket-Protocol', socket.protocol]] : []), { signal });
  socket.addEventListener('error', () => outcome('error'), { signal });
  watch(socket);
  return socket;
}

// ---- without a network

function setSeconds(left) {
  secondsLeft = left;
  $('goOffline').ariaPressed = String(secondsLeft > 0);
  $('goOffline').textContent = `Sin red ${secondsLeft || OFFLINE} s`;
}

function goOffline() {
  setSeconds(OFFLINE);
  say('cableCount', 'sin red');
  countDown = setInterval(() => (secondsLeft > 1 ? setSeconds(secondsLeft - 1) : goOnline()), 1000);
  // The event of a broken connection; the page then closes the socket itself.
  inventory.socket?.dispatchEvent(new CloseEvent('close', { code: 1006 }));
}

function goOnline() {
  clearInterval(countDown);
  setSeconds(0);
  dispatchEvent(new Event('online')); // as a browser does
  count();
}

// ---- how many are connected

/** Uses fetch() directly, so that these requests are not in the list. */
async function count() {
  if (document.hidden || secondsLeft) return;
  let sockets;
  try {
    const answer = await (await fetch(new URL('salud', inventory.api), { cache: 'no-store' })).json();
    sockets = answer.data?.sockets;
  } catch { /* nobody answers */ }
  if (!secondsLeft) say('cableCount', sockets === undefined ? 'sin respuesta' : plural(sockets, 'conectado', 'conectados'));
}

// ---- the panel

function show(open) {
  $('cable').hidden = !open;
  $('cableToggle').ariaExpanded = String(open);
  keep('inventario-cable', open);
}

export function open() {
  if (net) return; // it was opened twice while this file was loading
  net = inventory.net;
  inventory.net = { ask, open: connect };
  watching = new AbortController();
  lastFrame = null;
  if (inventory.socket) watch(inventory.socket);
  inventory.addEventListener('estado', ({ detail: { state } }) => state === 'conectado' && count(), { signal: watching.signal });
  counting = setInterval(count, COUNT_EVERY);
  count();
  show(true);
  if (document.activeElement === $('cableToggle')) $('cableTitle').focus();
}

export function close() {
  if (secondsLeft) goOnline();
  clearInterval(counting);
  watching.abort();
  inventory.net = net;
  net = null;
  clear();
  show(false);
  $('cableToggle').focus();
}

function clear() {
  waiting.clear();
  $('cableRows').replaceChildren();
}

$('cut').onclick = () => inventory.socket?.close(1000, 'cortado desde el panel');
$('goOffline').onclick = () => (secondsLeft ? goOnline() : goOffline());
$('clearCable').onclick = clear;
$('closeCable').onclick = close;
$('cable').onkeydown = (event) => {
  if (event.key !== 'Escape') return;
  event.stopPropagation(); // Escape would close the history too
  close();
};
