import { undoChange } from './changes.js';
import { PARSERS, Problem, typedAs } from './fields.js';
import { $, element, say, succeeded, tellRefusal, toast, working } from './notices.js';
import { inventory, useKey } from './page.js';
import { create, expected, queue, reasonOf, update } from './unsent.js';
import { showCreated } from './view.js';
import { FIELDS, differing, shown, short, stateInWords } from './words.js';

// ---- forms

/** The values of `fields`; null if one is invalid, with the error shown at each field. */
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
  for (const input of form.querySelectorAll('.field > :last-child')) {
    const error = element('p', { className: 'field-error', id: `${input.id}Error` });
    input.setAttribute('aria-describedby', error.id);
    input.after(error);
  }
  form.addEventListener('input', ({ target }) => {
    target.ariaInvalid = null;
    $(`${target.id}Error`).textContent = form.querySelector('.form-error').textContent = '';
  });
}

$('createForm').querySelector('[type=submit]').disabled = false; // until now, the browser would have sent the form by itself
$('createForm').addEventListener('submit', async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const values = readForm(form);
  if (!values) return;
  form.reset();
  form.elements.nombre.focus();
  submitted = values.nombre;
  const answer = await create(values).catch(() => null);
  if (!answer) return; // createRefused() has told it
  showCreated(answer.data);
  succeeded(answer);
});

let submitted = ''; // the name of the last product

/** Gives the values of a product that was not created back to the form; at once if nothing else has been typed there since. */
function createRefused(values, error) {
  const form = $('createForm');
  const typed = () => Object.fromEntries(new FormData(form));
  const isBlank = (texts) => Object.values(texts).every((text) => !text.trim());
  const fill = (texts, errors) => {
    $('createPanel').open = true;
    for (const [field, text] of Object.entries(texts)) form.elements[field].value = text;
    showErrors(form, errors);
  };
  const back = () => {
    const other = typed();
    fill(Object.fromEntries(Object.keys(FIELDS).map((field) => [field, typedAs(field, values)])), error);
    if (!isBlank(other)) toast(`Lo que escribías: «${short(other.nombre)}»`, { stays: true, action: ['Volver a ello', () => fill(other, {})] });
  };
  if (submitted === values.nombre && isBlank(typed())) return back();
  tellRefusal(`«${short(values.nombre)}» no se ha creado: ${reasonOf(error)}`, { action: ['Volver a escribirlo', back] });
}

queue.addEventListener('resultado', ({ detail: { change, error, quiet } }) => {
  if (error && change.kind === 'create') createRefused(change.values, error);
  if (error && change.kind === 'update' && !quiet && change.id === editing?.base.id) fillEdit(expected(inventory.products.get(change.id)) ?? editing.base);
});

// ---- dialogs

let editing = null; // {base: the row it began from, theirs: the one that somebody else has saved}

/** Shows the values of a row in the fields that the person has not touched. */
function fillEdit(base) {
  editing.base = base;
  for (const field of Object.keys(FIELDS)) {
    const input = $('editForm').elements[field];
    if (input.value !== input.defaultValue) continue;
    input.value = typedAs(field, base);
    input.defaultValue = input.value; // read back: an input changes line ends
  }
}

export function openEdit(base) {
  const form = $('editForm');
  editing = {};
  form.reset();
  fillEdit(base);
  $('editTitle').textContent = `Editar «${short(base.nombre)}»`;
  $('editNotice').textContent = '';
  $('saveEdit').disabled = $('overwrite').disabled = false; // one that was saved before may still wait for its answer
  showErrors(form, {});
  $('editDialog').showModal();
  form.elements.nombre.select();
}

$('editForm').addEventListener('submit', async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const mine = editing;
  const { base } = mine;
  const latest = $('conflictDialog').open ? mine.theirs : base;
  const quiet = () => editing === mine && $('editDialog').open; // else the outcome is told by a notice
  const touched = Object.keys(FIELDS).filter((field) => form.elements[field].value !== form.elements[field].defaultValue);
  if (!touched.length) return $('editDialog').close();
  const values = readForm(form, touched);
  if (!values) return;
  try {
    const button = latest === base ? $('saveEdit') : $('overwrite');
    const answer = await working(button, () => update(latest, values, { quiet }));
    if (quiet()) closeBoth();
    succeeded(answer, undoChange(latest, answer, touched));
  } catch (error) {
    if (!quiet()) return;
    if (error.code === 'producto_cambiado') {
      tellDialogs(base.id, error.data);
      showConflict(values, error.data);
      $('conflictError').textContent = latest === base ? '' : 'Ha vuelto a cambiar: mira otra vez.';
    } else if ($('conflictDialog').open) $('conflictError').textContent = error.message;
    else showErrors(form, error);
  }
});

function showConflict(values, theirs) {
  const mine = { ...editing.base, ...values };
  const named = (fields) => fields.map((field) => FIELDS[field].toLowerCase()).join(', ');
  const changed = differing(editing.base, theirs);
  editing.theirs = theirs;
  $('conflictText').textContent = `Mientras editabas «${short(editing.base.nombre)}» alguien cambió: ${named(changed)}. Guardar tu versión cambia solo: ${named(Object.keys(values))}.`;
  $('conflictRows').replaceChildren(...Object.keys(FIELDS).filter((field) => field in values || changed.includes(field)).map((field) => {
    const cell = (row, isChanged) => element('td', { className: isChanged ? 'changed' : '' }, shown(field, row));
    return element('tr', {}, element('th', { scope: 'row' }, FIELDS[field]), cell(mine, field in values), cell(theirs, changed.includes(field)));
  }));
  if (!$('conflictDialog').open) $('conflictDialog').showModal();
}

function closeBoth() {
  $('conflictDialog').close();
  $('editDialog').close();
}

$('keepTheirs').onclick = closeBoth;

/** Closes the form that seems to hold back what waits for the line: the line at the top tells it. */
function leave() {
  if (inventory.state !== 'conectado' && ($('saveEdit').disabled || $('overwrite').disabled)) closeBoth();
}

inventory.addEventListener('estado', leave);
queue.addEventListener('cola', leave);

$('overwrite').onclick = () => $('editForm').requestSubmit();

/** Shows in the open form that somebody else has changed its product; `row` is null if it was deleted. */
export function tellDialogs(id, row) {
  if (!$('editDialog').open || editing.base.id !== id || $('saveEdit').disabled || $('overwrite').disabled) return;
  if (!row) say('editNotice', 'Alguien lo eliminó. Se puede guardar cuando esté otra vez.');
  else if ($('editNotice').textContent || differing(editing.base, row).length) { // changed, or changed back
    say('editNotice', `Alguien lo cambió: ahora ${stateInWords(editing.base, row)}.`);
  }
}

// ---- the access key, or signing in where a host application has users

export const { login, reader, user } = document.documentElement.dataset; // `login`: where they sign in; empty: unknown; undefined: there are none

$('login').hidden = !login;
$('login').addEventListener('click', () => {
  const url = new URL(login, location);
  url.searchParams.set('next', location.pathname + location.search);
  location.assign(url);
});
$('retryLogin').addEventListener('click', () => inventory.connect());

if (reader !== undefined) $('keyTitle').textContent = 'Para cambiar algo hace falta una clave';
$('askToWrite').hidden = user !== undefined || login === '';
$('askToWrite').addEventListener('click', () => (login ? $('login').click() : askKey('')));

function askKey(problem) {
  say('keyError', problem);
  $('enterKey').disabled = false;
  $('keyDialog').returnValue = '';
  if (!$('keyDialog').open) $('keyDialog').showModal();
  $('accessKey').select();
}

/** Asks for the access key, and shows whether a connection with it succeeds. */
export function followKey({ state, unauthorized }) {
  if (login !== undefined) {
    if (!unauthorized) $('loginDialog').close();
    else if (!$('loginDialog').open) $('loginDialog').showModal();
  } else if (unauthorized) {
    const problem = inventory.token ? 'Esa clave no es válida. Escríbela otra vez.' : '';
    useKey('');
    askKey(problem);
  } else if (state !== 'conectando') $('keyDialog').close('tried');
}

$('keyForm').addEventListener('submit', (event) => {
  event.preventDefault();
  $('enterKey').disabled = true; // until it is known whether the key is right
  useKey($('accessKey').value.trim());
  inventory.connect();
});

$('keyDialog').addEventListener('close', () => {
  $('accessKey').value = '';
  if ($('keyDialog').returnValue === 'tried') return;
  useKey('');
  if (reader === undefined) inventory.stop('falta la clave de acceso');
  else if (inventory.state !== 'conectado') inventory.connect();
});
