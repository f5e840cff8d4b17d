import { clock, plural, short } from './words.js';

const LOG_LIMIT = 200;
const CALM = 5; // changes by others per second; above it they share one notice

export const $ = (id) => document.getElementById(id);
export const stamp = (template) => $(template).content.firstElementChild.cloneNode(true);

/** A new element with these properties and contents. */
export function element(tag, properties = {}, ...contents) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...contents);
  return node;
}

/** What is headed by the nodes `head` and, while it is open, has the text that `tell()` returns; `head` alone without `tell`. */
export function fold(head, tell, ...contents) {
  if (!tell) return head;
  const text = element('pre');
  const ontoggle = ({ target }) => { text.textContent = target.open ? tell() : ''; };
  return [element('details', { ontoggle }, element('summary', {}, ...head), ...contents, text)];
}

/** Sets the text of a live region, unless it is the same, which would be announced again. */
export function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

// ---- notifications

const undos = new Map(); // action -> the button that Ctrl+Z presses, the last first

/** The button that undoes the last change of this page that has not been undone. */
export const lastUndo = () => [...undos.values()].at(-1);

export const toastOf = (key) => [...$('toasts').children].find((item) => key && item.dataset.key === key);

/** Shows a notice, and returns it; it replaces one with the same `key`. `action`: [label, function] of its button. `stays`: until it is closed. */
export function toast(text, { kind = 'info', key = '', action = null, stays = false } = {}) {
  toastOf(key)?.remove();
  const item = stamp('toastTemplate');
  item.dataset.key = key;
  item.classList.add(kind, stays ? 'stays' : 'passing');
  item.role = kind === 'error' ? 'alert' : null;
  const [said, act, close] = item.children;
  said.textContent = text;
  act.hidden = !action;
  if (action) {
    act.textContent = action[0];
    act.onclick = () => {
      undos.delete(action);
      item.remove();
      action[1]();
    };
    undos.delete(action); // it may stand in another notice already
    if (action[0] === 'Deshacer') undos.set(action, act);
  }
  let timer;
  const hold = () => clearTimeout(timer);
  const release = () => { timer = stays ? 0 : setTimeout(() => item.remove(), kind === 'error' || action ? 12_000 : 5_000); };
  for (const type of ['pointerenter', 'focusin']) item.addEventListener(type, hold);
  for (const type of ['pointerleave', 'focusout']) item.addEventListener(type, () => { hold(); release(); });
  close.onclick = () => item.remove();
  $('toasts').append(item);
  const passing = $('toasts').querySelectorAll('.passing');
  if (passing.length > 4) passing[0].remove();
  release();
  return item;
}

/** Tells a refusal, in the list of events and in a notice that stays; those with one `key` share it. */
export function tellRefusal(text, { key, action } = {}) {
  log(text, 'error');
  const before = toastOf(key)?.firstElementChild.textContent.split('\n') ?? [];
  toast([...before.filter((line) => line !== text), text].join('\n'), { kind: 'error', stays: true, key, action });
}

export const succeeded = ({ message, data }, action = null) => toast(`${message}: ${short(data.nombre)}`, { kind: 'success', action });

const own = new Set(); // changes made on this page whose events have not arrived yet
const others = { waiting: [], times: [], flood: 0, timer: null };
/** Whether a file is being imported on this page, and until when its events arrive: they need no notices. */
export const importing = { now: false, until: 0 };
export const changeKey = ({ type, data }) => `${data.id} ${type === 'PRODUCT_DELETED' ? 'deleted' : data.updated_at}`;
let awaiting = () => false;

/** `isAwaiting()`: whether this page waits for an answer, which tells whether a change is its own. */
export const holdNotices = (isAwaiting) => { awaiting = isAwaiting; };

/** Calls `then` when it is known which of the changes that have come are this page's own. */
export const whenKnown = (then) => (awaiting() ? setTimeout(() => whenKnown(then), 150) : then());

/** Notes that a change was made on this page. */
export function addOwn(change) {
  if (own.size > 500) own.clear();
  own.add(changeKey(change));
}

/** Whether the change was made on this page; called once per change. */
export const isOwn = (key) => own.delete(key);

/** Shows a change, {text, product, key, action, imported}, unless it was made on this page. */
export function notifyOfOther(entry) {
  others.waiting.push(entry);
  // The event often arrives before the answer of its request.
  others.timer ??= setTimeout(() => whenKnown(() => {
    others.timer = null;
    if (importing.until > performance.now()) others.waiting = others.waiting.filter(({ imported }) => !imported);
    const entries = others.waiting.filter(({ key }) => !isOwn(key));
    const now = performance.now();
    others.waiting = [];
    others.times = others.times.filter((time) => now - time < 1000).concat(entries.map(() => now));
    if (others.times.length <= CALM) {
      for (const { text, product, action } of entries) toast(text, { key: `product ${product}`, action });
    } else if (entries.length) {
      others.flood = (toastOf('flood') ? others.flood : 0) + entries.length;
      toast(plural(others.flood, 'cambio', 'cambios'), { key: 'flood' });
    }
  }), others.times.length > CALM ? 900 : 150);
}

/** Runs a request for a button, which is disabled meanwhile. */
export async function working(button, request) {
  const focused = document.activeElement === button;
  button.disabled = true;
  try {
    return await request();
  } finally {
    button.disabled = false;
    if (focused && document.activeElement === document.body) button.focus(); // a disabled button loses the focus
  }
}

// ---- the log

const logQueue = [];

export function log(text, kind, message = null) {
  if (!logQueue.length) requestAnimationFrame(drawLog);
  logQueue.push({ text, kind, message, time: clock.format() });
  if (logQueue.length > LOG_LIMIT) logQueue.shift(); // a hidden tab draws nothing
}

function drawLog() {
  const list = $('eventsLog');
  for (const { text, kind, message, time } of logQueue.splice(0)) {
    const head = [element('span', { className: 'event-type' }, text), element('time', { className: 'event-timestamp' }, time)];
    const tell = message && (() => JSON.stringify(message, null, 2));
    const name = element('code', {}, [message?.type, message?.id].filter(Boolean).join(' '));
    list.prepend(element('li', { className: `event-item ${kind}` }, ...fold(head, tell, name)));
  }
  while (list.childElementCount > LOG_LIMIT) list.lastElementChild.remove();
}
