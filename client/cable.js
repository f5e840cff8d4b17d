import { $, element, fold, say } from './notices.js';
import { inventory, keep } from './page.js';
import { plural, whole } from './words.js';

const LIMIT = 500; // rows
const SHOWN = 64 * 1024; // characters kept of a payload
const OFFLINE = 10; // s
const COUNT_EVERY = 3_000; // ms
const TOLD = ['etag', 'idempotency-replayed', 'retry-after']; // response headers that are shown
const WAYS = { '→': 'enviado', '←': 'recibido', '⇄': 'petición', '×': 'perdido' };

const { net } = inventory; // as it is without the panel
const watched = new WeakSet(); // sockets
let lastFrame = null; // the time of the last frame
let secondsLeft = 0; // of the simulated outage
let countDown;

const isOpen = () => !$('cable').hidden;

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
  if (!isOpen()) return entry;
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
  const lines = ([first, head, sent]) => [first, ...head.map((pair) => pair.join(': ')), sent.bytes ? `\n${pretty(sent)}` : ''].join('\n');
  const entry = record({ way: '⇄', kind: method, more: pathname + search, status: '…', tell: () => parts.map(lines).join('\n\n') });
  return (status, head = [], answer = undefined) => {
    parts.push([`← ${status}`, head, payload(answer ?? '')]);
    Object.assign(entry, { status, bytes: answer?.byteLength, ms: figure(performance.now() - began, 'ms') });
    if (entry.item || waiting.has(entry)) record(entry);
  };
}

async function ask(url, options) {
  const outcome = request(options.method, url, options);
  try {
    if (secondsLeft) throw new TypeError('no network');
    const response = await net.ask(url, options);
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
  const value = JSON.parse(data);
  const more = ['id', 'recovered', 'last_event_id'].filter((name) => name in value).map((name) => `${name}: ${value[name]}`);
  record({ way, kind: value.type, more: more.join(' · '), bytes: frame.bytes, ms: sinceLast(), tell: () => pretty(frame) });
}

const end = (way, code, reason = '') => record({ way, kind: 'CLOSE', more: reason, status: code, ms: sinceLast() });

function watch(socket) {
  if (!socket || watched.has(socket)) return;
  watched.add(socket);
  socket.addEventListener('message', ({ data }) => message('←', data));
  // Only once: after a simulated outage, the real close event of the socket follows.
  socket.addEventListener('close', ({ code, reason, wasClean }) => end(wasClean ? '←' : '×', code, reason), { once: true });
  socket.send = (text) => {
    message('→', text);
    WebSocket.prototype.send.call(socket, text);
  };
  socket.close = (code, reason) => {
    if (!secondsLeft && socket.readyState === WebSocket.OPEN) end('→', code, reason);
    WebSocket.prototype.close.call(socket, code, reason);
  };
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
  socket.addEventListener('open', () => outcome(101, socket.protocol ? [['Sec-WebSocket-Protocol', socket.protocol]] : []));
  socket.addEventListener('error', () => outcome('error'));
  watch(socket);
  return socket;
}

// ---- without a network

/** Counts the seconds of the outage down. */
function setSeconds(left) {
  clearTimeout(countDown);
  secondsLeft = left;
  $('goOffline').ariaPressed = String(left > 0);
  $('goOffline').textContent = `Sin red ${left || OFFLINE} s`;
  if (left) countDown = setTimeout(setSeconds, 1000, left - 1);
  else dispatchEvent(new Event('online')); // as a browser does
}

function goOffline() {
  setSeconds(OFFLINE);
  say('cableCount', 'sin red');
  // The event of a broken connection; the page then closes the socket itself.
  inventory.socket?.dispatchEvent(new CloseEvent('close', { code: 1006 }));
}

// ---- how many are connected

/** Uses fetch() directly, so that these requests are not in the list. */
async function count() {
  if (!isOpen() || document.hidden || secondsLeft) return;
  const asked = fetch(new URL('salud', inventory.api), { cache: 'no-store' });
  const answer = await asked.then((response) => response.json()).catch(() => null); // nobody answers
  const sockets = answer?.data?.sockets;
  if (!secondsLeft) say('cableCount', sockets === undefined ? 'sin respuesta' : plural(sockets, 'conectado', 'conectados'));
}

setInterval(count, COUNT_EVERY);
addEventListener('online', count);
inventory.addEventListener('estado', ({ detail: { state } }) => state === 'conectado' && count());

// ---- the panel

function show(open) {
  $('cable').hidden = !open;
  $('cableToggle').ariaExpanded = String(open);
  keep('inventario-cable', open);
}

export function open() {
  show(true);
  inventory.net = { ask, open: connect };
  lastFrame = null;
  watch(inventory.socket);
  count();
  if (document.activeElement === $('cableToggle')) $('cableTitle').focus();
}

export function close() {
  if (secondsLeft) setSeconds(0);
  inventory.net = net;
  clear();
  show(false);
  $('cableToggle').focus();
}

function clear() {
  waiting.clear();
  $('cableRows').replaceChildren();
}

$('cut').onclick = () => inventory.socket?.close(1000, 'cortado desde el panel');
$('goOffline').onclick = () => (secondsLeft ? setSeconds(0) : goOffline());
$('clearCable').onclick = clear;
$('closeCable').onclick = close;
$('cable').onkeydown = (event) => {
  if (event.key !== 'Escape') return;
  event.stopPropagation(); // Escape would close the history too
  close();
};
