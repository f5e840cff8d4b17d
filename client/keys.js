import { $ } from './notices.js';
import { isTable, keep, kept, useTable } from './view.js';

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
  t: () => useTable(!isTable()),
  i: () => $('import').click(),
  e: () => $('export').click(),
};

$('useKeys').checked = kept(name, true);
$('useKeys').onchange = () => keep(name, $('useKeys').checked);

$('help').onclick = () => $('helpDialog').showModal();

addEventListener('keydown', (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
  if (document.querySelector('dialog[open]') || target.closest?.('input:not([type=checkbox]), textarea, select')) return;
  if (key === '?') $('help').click();
  else if ($('useKeys').checked && Object.hasOwn(ACTS, key)) ACTS[key]();
  else return;
  event.preventDefault();
});
