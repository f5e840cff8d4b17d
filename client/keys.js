import { $, toast } from './notices.js';
import { keep, kept } from './page.js';
import { undo } from './unsent.js';

// The keyboard. Shortcuts of one character can be switched off, for people who use voice control.

const name = 'inventario-atajos';
const ACTS = {
  '/': () => {
    $('search').focus();
    $('search').select();
  },
  n: () => {
    $('createPanel').open = true;
    $('nombre').focus();
  },
  l: () => (document.querySelector('#productTable tbody [tabindex="0"]') ?? document.querySelector('.product-card button') ?? $('listTitle')).focus(),
  t: () => $('asTable').click(),
  i: () => $('import').click(),
  e: () => $('export').click(),
  c: () => $('basketToggle').click(),
  u: undo,
};

$('useKeys').checked = kept(name, true);
$('useKeys').onchange = () => keep(name, $('useKeys').checked);

$('help').onclick = () => $('helpDialog').showModal();

addEventListener('keydown', (event) => {
  const { key, target } = event;
  const control = event.ctrlKey || event.metaKey;
  if (event.altKey || event.defaultPrevented || document.querySelector('dialog[open]')) return;
  if (target.closest?.('input:not([type=checkbox]), textarea, select')) return;
  if (control && key === 'f') return toast('Ctrl+F busca en lo que se ve; «Buscar productos» (/), en todos.', { key: 'find' });
  if (control && key === 'z' && !event.shiftKey) undo();
  else if (control) return;
  else if (key === '?') $('help').click();
  else if ($('useKeys').checked && Object.hasOwn(ACTS, key)) ACTS[key]();
  else return;
  event.preventDefault();
});
