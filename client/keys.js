import { $, toast, undoLast } from './notices.js';
import { isTable, keep, kept, useTable } from './view.js';

// The keyboard. Shortcuts of one character can be switched off, for people who use voice control.

const name = 'inventario-atajos';
const undo = () => undoLast() || toast('No queda nada que deshacer.', { key: 'undo' });
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
  u: undo,
};

$('useKeys').checked = kept(name, true);
$('useKeys').onchange = () => keep(name, $('useKeys').checked);

$('help').onclick = () => $('helpDialog').showModal();

addEventListener('keydown', (event) => {
  const { key, target } = event;
  const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && key === 'z';
  const isFind = (event.ctrlKey || event.metaKey) && key === 'f';
  if ((event.ctrlKey && !isUndo && !isFind) || event.altKey || (event.metaKey && !isUndo && !isFind) || event.defaultPrevented) return;
  if (document.querySelector('dialog[open]') || target.closest?.('input:not([type=checkbox]), textarea, select')) return;
  if (isFind) return toast('Ctrl+F busca en lo que se ve; «Buscar productos» (/), en todos.', { key: 'find' });
  if (isUndo) undo();
  else if (key === '?') $('help').click();
  else if ($('useKeys').checked && Object.hasOwn(ACTS, key)) ACTS[key]();
  else return;
  event.preventDefault();
});
