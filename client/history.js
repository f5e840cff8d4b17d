import { byId } from './net.js';
import { $, say } from './notices.js';
import { inventory, schedule } from './page.js';
import { eventInWords, moment } from './words.js';

const NEAR = 50; // ids searched backwards for an event: rolled back transactions leave gaps

let rows = null; // Map of the products at the selected position; null: the present
let wanted = null; // the position requested last
let loading = false;
let time = null; // of the event at the selected position

/** The products at the selected position; null for the present. */
export const past = () => rows;
/** When the products were like this. */
export const shownTime = () => (rows && time ? new Date(time) : new Date());

inventory.addEventListener('evento', grow);
inventory.addEventListener('lista', grow);

function grow() {
  if ($('history').hidden) return;
  $('moment').max = Math.max($('moment').max, inventory.lastEventId);
  limitSteps();
}

function limitSteps() {
  const { value, min, max } = $('moment');
  // Not `disabled`, because a disabled button loses the focus.
  $('previousEvent').ariaDisabled = String(Number(value) <= Number(min));
  $('nextEvent').ariaDisabled = String(Number(value) >= Number(max));
}

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
    $('moment').value = $('moment').max;
    $('moment').focus();
    go($('moment').value);
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

function go(id) {
  wanted = Number(id);
  $('moment').value = wanted;
  limitSteps();
  if (!loading) load();
}

// One request at a time. Of the positions selected meanwhile, only the last is requested.
async function load() {
  loading = true;
  for (let at = null; wanted !== null && wanted !== at;) {
    at = wanted;
    try {
      const [list, events] = await Promise.all([inventory.list(at), inventory.events(Math.max(0, at - NEAR), NEAR)]);
      if (wanted === null) break;
      rows = byId(list);
      const event = events.data.findLast(({ id }) => id <= at);
      time = event?.timestamp ?? null;
      const text = event ? `Tras el evento ${event.id} · ${moment.format(new Date(event.timestamp))}: ${eventInWords(event).log}` : `Tras el evento ${at}`;
      if (event && wanted === at) $('moment').value = wanted = at = Math.max(event.id, $('moment').min);
      $('moment').setAttribute('aria-valuetext', text);
      say('momentText', text);
      say('historyError', '');
      limitSteps();
      schedule();
    } catch (error) {
      say('historyError', wanted === null ? '' : `No se pudo ver el evento ${at}: ${error.message}`);
    }
  }
  loading = false;
}

$('historyToggle').onclick = () => ($('history').hidden ? open() : close());
$('toPresent').onclick = close;
$('moment').oninput = () => go($('moment').value);
$('previousEvent').onclick = () => wanted > Number($('moment').min) && go(wanted - 1);
$('nextEvent').onclick = async () => {
  if (wanted === null || wanted >= Number($('moment').max)) return;
  try {
    const from = wanted;
    const { data: [next] } = await inventory.events(from, 1);
    if (next && wanted === from) go(next.id);
  } catch (error) {
    say('historyError', error.message);
  }
};
addEventListener('keydown', ({ key, target }) => {
  if (key === 'Escape' && !$('history').hidden && target.id !== 'search' && !document.querySelector('dialog[open]')) close();
});
