import { byId } from './net.js';
import { $, say } from './notices.js';
import { inventory, schedule } from './page.js';
import { eventInWords, moment } from './words.js';

const NEAR = 50; // ids searched backwards for an event: rolled back transactions leave gaps

let rows = null; // Map of the products at the selected position; null: the present
let wanted = null; // the position requested last
let loading = null; // the request on its way
let time = null; // of the event at the selected position

/** The products at the selected position; null for the present. */
export const past = () => rows;
/** When the products were like this. */
export const shownTime = () => (rows && time ? new Date(time) : new Date());

/** Lets the slider reach the newest event. */
function lengthen() {
  $('moment').max = Math.max($('moment').max, inventory.lastEventId);
}

for (const type of ['evento', 'lista']) inventory.addEventListener(type, lengthen);

async function open() {
  $('history').hidden = false;
  $('historyToggle').ariaExpanded = 'true';
  $('moment').disabled = true;
  say('historyError', '');
  say('momentText', 'Buscando el registro…');
  try {
    const { data: [oldest] } = await inventory.events(0, 1);
    if ($('history').hidden) return;
    if (!oldest) return say('momentText', 'El registro está vacío: todavía no hay pasado.');
    Object.assign($('moment'), { min: oldest.id, max: Math.max(oldest.id, inventory.lastEventId), disabled: false });
    $('moment').focus();
    go($('moment').max);
  } catch (error) {
    say('momentText', '');
    say('historyError', error.message);
  }
}

function close() {
  $('history').hidden = true;
  $('historyToggle').ariaExpanded = 'false';
  rows = wanted = null;
  schedule();
  $('historyToggle').focus();
}

/** Shows the list after the event. One request at a time: of the positions selected meanwhile, only the last is requested. */
async function go(id) {
  $('moment').value = id; // which keeps it between the ends
  const at = Number($('moment').value);
  wanted = at;
  await loading;
  if (wanted === at) loading = load(at);
}

async function load(at) {
  try {
    const [list, events] = await Promise.all([inventory.list(at), inventory.events(Math.max(0, at - NEAR), NEAR)]);
    if (wanted === null) return;
    rows = byId(list);
    const event = events.data.findLast(({ id }) => id <= at);
    time = event?.timestamp ?? null;
    const when = event && ` · ${moment.format(new Date(event.timestamp))}: ${eventInWords(event)}`;
    const text = event ? `Tras el evento ${event.id}${when}` : `Tras el evento ${at}`;
    $('moment').setAttribute('aria-valuetext', text);
    say('momentText', text);
    say('historyError', '');
    schedule();
  } catch (error) {
    say('historyError', wanted === null ? '' : `No se pudo ver el evento ${at}: ${error.message}`);
  }
}

$('historyToggle').onclick = () => ($('history').hidden ? open() : close());
$('toPresent').onclick = close;
$('moment').oninput = () => go($('moment').value);
$('previousEvent').onclick = () => wanted && go(wanted - 1);
$('nextEvent').onclick = () => wanted && go(wanted + 1);
addEventListener('keydown', ({ key, target }) => {
  if (key === 'Escape' && !$('history').hidden && target.id !== 'search' && !document.querySelector('dialog[open]')) close();
});
