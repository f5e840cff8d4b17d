import { $ } from './notices.js';

// Where the person is: what is searched for is in the address, and each open dialog is an entry of the browser's history.

/** What the address says of the list; names of filters and of the view are true. */
export const readAddress = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

let timer;

/** Writes it, in the part of the address that no server sees. */
export function writeAddress(choices) {
  clearTimeout(timer);
  timer = setTimeout(() => { // browsers allow only so many in a minute
    const text = String(new URLSearchParams(Object.entries(choices).filter(([, value]) => value)));
    if (text !== location.hash.slice(1)) history.replaceState(history.state, '', text ? `#${text}` : location.pathname + location.search);
  }, 300);
}

// ---- dialogs: «Atrás» closes them, and what they do with notices and the focus

HTMLDialogElement.prototype.requestClose ??= function () { // browsers before 2025
  if (this.dispatchEvent(new Event('cancel', { cancelable: true }))) this.close();
};

let going = false; // the page itself goes back

const opened = () => [...document.querySelectorAll('dialog[open]')];
const depth = () => history.state?.depth ?? 0;

function sync() {
  const dialogs = opened().length;
  if (going || dialogs === depth()) return;
  going = dialogs < depth();
  if (going) history.go(dialogs - depth());
  else history.pushState({ depth: dialogs }, '');
}

addEventListener('popstate', () => {
  for (const dialog of going ? [] : opened().slice(depth()).reverse()) {
    dialog.requestClose();
    if (dialog.open) break;
  }
  going = false;
  sync();
});

history.replaceState({ depth: 0 }, '');
new MutationObserver(() => {
  // Notices are in the uppermost dialog: what is outside of it cannot be pressed.
  const front = opened().at(-1) ?? document.body;
  if ($('toasts').parentElement !== front) front.append($('toasts'));
  sync();
}).observe(document.body, { attributeFilter: ['open'], subtree: true });

// The browser gives the focus back to where it was before, unless that is gone.
document.addEventListener('close', () => {
  if (document.activeElement === document.body) $('listTitle').focus({ preventScroll: true });
}, { capture: true });

// ---- what has been typed is not thrown away without a question

const isTouched = (form) => [...form.elements].some((field) => 'defaultValue' in field && field.value !== field.defaultValue);

for (const button of document.querySelectorAll('[data-close]')) button.onclick = () => button.closest('dialog').requestClose();
$('editDialog').addEventListener('cancel', (event) => {
  const asks = !$('saveEdit').disabled && isTouched($('editForm'));
  if (asks && !confirm('¿Descartar lo que has escrito?')) event.preventDefault();
});
const FORMS = '#createForm, .editor, dialog[open] form:not(:has([type=submit]:disabled))';
const GIVES_BACK = '.toast.stays .act:not([hidden])'; // the buttons of notices that give back what was refused
addEventListener('beforeunload', (event) => ([...document.querySelectorAll(FORMS)].some(isTouched) || document.querySelector(GIVES_BACK)) && event.preventDefault());
