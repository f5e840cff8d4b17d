import { typedAs } from './fields.js';
import { newKey } from './net.js';
import { $, element, importing, say, tellRefusal, toast, working } from './notices.js';
import { inventory, mayWrite } from './page.js';
import { reasonOf } from './unsent.js';
import { FIELDS, plural, quoted, short, whole } from './words.js';

// Import and export of files. The service reads a file: this shows what it would do with it, and people decide.

const LIMIT = 16 * 1024 * 1024; // bytes; the limit of the service
const AT_FIRST = 200; // rows that are shown
const COLUMNS = { id: 'Número', ...FIELDS, updated_at: 'Cambió' };
const STATES = { // of rows: name of their count, one, many, what a row says
  nuevo: ['nuevos', 'nuevo', 'nuevos', 'Nuevo'],
  cambiado: ['cambiados', 'cambia', 'cambian', 'Cambia'],
  igual: ['iguales', 'sigue igual', 'siguen iguales', 'Sigue igual'],
  falta: ['faltas', 'no entra', 'no entran', 'No entra'],
  omitido: ['omitidos', 'se omite', 'se omiten', 'Se omite'],
  aviso: ['avisos', 'con aviso', 'con avisos'],
};

// ---- export

const digits = new Intl.DateTimeFormat('sv', { dateStyle: 'short', timeStyle: 'short' }); // 2026-11-30 10:42
const delimited = (cell) => (/[;"\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
const guarded = (text) => (/^'*[=+\-@\t\r\n]/.test(text) ? `'${text}` : text); // a spreadsheet would run it as a formula

/** Saves rows that were so at `time` as a file that opens in a spreadsheet with Spanish settings (semicolons, decimal commas). */
export function exportRows(rows, time) {
  const cells = rows.map((row) => [String(row.id), guarded(row.nombre), guarded(row.descripcion ?? ''), typedAs('precio', row), String(row.stock), row.updated_at]);
  const text = [Object.keys(COLUMNS), ...cells].map((line) => `${line.map(delimited).join(';')}\r\n`).join('');
  const url = URL.createObjectURL(new Blob(['\ufeff', text], { type: 'text/csv' }));
  const link = element('a', { href: url, download: `inventario-${digits.format(time).replace(' ', '-').replace(':', '')}.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  toast(`${plural(rows.length, 'producto exportado', 'productos exportados')}: ${link.download}`, { kind: 'success' });
}

// ---- the file, which stays until it is imported: a closed dialog loses nothing

const [form, dialog, confirmed] = [$('importForm'), $('importDialog'), $('confirmImport')];
let file = null; // its bytes
let trial = null; // what the service says of it
let only = ''; // the state of the rows that are shown; '': any
let limit = AT_FIRST;
let drawn = ''; // the rows
const decided = new Map(); // who wins, by the number of a row that both sides have changed

const fields = Object.entries(COLUMNS).map(([name, title]) => {
  const select = element('select', { id: `import-${name}`, className: 'chip', name });
  $('importColumns').append(element('div', {}, element('label', { htmlFor: select.id }, title), select));
  return select;
});
const chips = Object.keys(STATES).map((state) => {
  const onclick = () => { only = only === state ? '' : state; limit = AT_FIRST; ask(); };
  return element('button', { type: 'button', className: 'chip', name: state, onclick });
});
$('importCounts').append(...chips);

$('import').onclick = () => {
  if (!dialog.open && mayWrite()) dialog.showModal();
  if (file) ask();
  else forget(); // also what was wrong with another one
};
dialog.addEventListener('cancel', (event) => { if (importing.now) event.preventDefault(); });
$('importFile').onclick = ({ target }) => { target.value = ''; }; // else choosing the corrected file again would be no change
$('importFile').onchange = ({ target }) => target.files[0] && read(target.files[0]);

for (const type of ['dragover', 'drop']) {
  document.addEventListener(type, (event) => {
    const { files, types } = event.dataTransfer;
    if (!types.includes('Files') || importing.now || !mayWrite()) return;
    event.preventDefault();
    if (type === 'dragover' || !files[0] || document.querySelector('dialog[open]:not(#importDialog)')) return;
    $('importFile').files = files;
    if (!dialog.open) dialog.showModal();
    read(files[0]);
  });
}

function forget() {
  file = trial = null;
  only = '';
  limit = AT_FIRST;
  decided.clear();
  form.reset();
  for (const select of [...fields, $('importSheet')]) select.replaceChildren();
  fields.at(-1).parentElement.hidden = true; // until there is a file that was exported here
  for (const id of ['importError', 'importSummary']) say(id, '');
  $('importPreview').hidden = confirmed.disabled = true;
  confirmed.textContent = 'Importar';
}

async function read(chosen) {
  forget();
  if (chosen.size > LIMIT) return say('importError', 'El archivo pasa de 16 MiB. Divídelo en varios, o quítale lo que no sean productos.');
  file = await chosen.arrayBuffer().catch(() => null); // as it is now: it may be saved again before it is imported
  if (!file) return say('importError', 'El navegador no pudo leer el archivo. Elígelo otra vez.');
  await ask();
  only = (!$('importAll').hidden && ['falta', 'cambiado', 'nuevo'].find((state) => trial?.[STATES[state][0]])) || ''; // first what needs a look
  if (only) await ask();
  (form.querySelector('[aria-invalid]') ?? confirmed).focus();
}

// ---- the trial

let asking = false;
let again = false; // it was asked for while it was being asked
let took = 0; // ms, the last one
let timer = null;

/** What was chosen, as the service takes it. */
const query = () => ({ ...Object.fromEntries(new FormData(form)), conflictos: [...decided].map((pair) => pair.join(':')).join() });

/** Asks what the file would change, one trial after the other. */
async function ask() {
  clearTimeout(timer);
  timer = null;
  again = asking;
  if (asking || !file || importing.now) return;
  const [asked, began] = [file, performance.now()];
  asking = true;
  say('importStep', trial ? '' : 'Leyendo el archivo…');
  try {
    const { data } = await inventory.tryFile(file, { ...query(), limite: limit, solo: only });
    if (asked === file) show(data);
  } catch (error) {
    if (asked === file) say('importError', [error.message, ...error.errors.map(({ message }) => message)].join(': '));
  }
  say('importStep', '');
  asking = false;
  took = performance.now() - began;
  if (again) await ask();
}

/** Asks again soon, because products have changed or the connection is back; of a large file, more seldom. */
function renew() {
  if (dialog.open) timer ??= setTimeout(ask, Math.max(500, 4 * took));
}

for (const event of ['vuelve', 'lista']) inventory.addEventListener(event, renew);
inventory.addEventListener('evento', ({ detail: { message } }) => trial && !(message.id <= trial.desde) && renew());

form.onchange = ({ target }) => {
  if (target === $('importSheet')) {
    for (const select of fields) select.replaceChildren(); // its columns are others
    decided.clear();
  }
  const { row } = target.dataset;
  if (row) decided[target.value ? 'set' : 'delete'](row, target.value);
  confirmed.disabled = true; // until its label is true again
  ask();
};
$('importAll').onclick = () => {
  limit = 50_000;
  $('importTable').focus(); // the button goes
  ask();
};

/** Fills a select that has no options yet. */
function fill(select, options, value) {
  if (!select.options.length) select.append(...options.map(([name, text]) => new Option(text, name, false, name === value)));
}

function show(data) {
  trial = data;
  const { formato, codificacion, fila_titulos, columnas, hojas, hoja, repetidos, nuevos, cambiados, iguales, faltas, omitidos, filas, errors = [] } = trial;
  const options = columnas.map(({ columna, titulo, muestra }) => [`columna ${columna}`, [short(titulo || `Columna ${columna}`, 40), short(muestra[0] ?? '', 24)].filter(Boolean).join(' · ')]);
  for (const select of fields) {
    fill(select, [['', '—'], ...options], `columna ${columnas.find(({ campo }) => campo === select.name)?.columna}`);
    select.parentElement.hidden &&= !select.value;
    select.ariaInvalid = errors.some(({ field }) => field === select.name) ? 'true' : null;
  }
  fill($('importSheet'), hojas.map((name) => [name, name]), hoja);
  $('importSheet').parentElement.hidden = hojas.length < 2;
  $('importRepeated').parentElement.hidden = !repetidos;
  $('importRound').parentElement.hidden = !$('importRound').checked && !filas.some((row) => row.errors.some(({ field }) => field === 'precio'));
  const unused = errors.length ? '' : columnas.filter(({ campo, titulo }) => !campo && titulo).map(({ titulo }) => titulo).join(', ');
  const kind = [formato, codificacion].filter(Boolean).join(', ').toUpperCase();
  $('importAbout').textContent = `${kind}, ${fila_titulos ? `títulos en la fila ${fila_titulos}` : 'sin títulos'}${unused && `. No se usan: ${short(unused, 300)}`}`;
  for (const chip of chips) {
    const [count, one, many] = STATES[chip.name];
    chip.hidden = !trial[count];
    chip.ariaPressed = String(only === chip.name);
    chip.textContent = plural(trial[count], one, many);
  }
  const missing = new Intl.ListFormat('es').format(fields.filter(({ ariaInvalid }) => ariaInvalid).map(({ name }) => COLUMNS[name].toLowerCase()));
  const wrong = errors.filter(({ field }) => !field).map(({ row, message }) => `Fila ${row}: ${message}`).join('\n');
  const counts = chips.filter(({ hidden }) => !hidden).map(({ textContent }) => textContent).join(' · ');
  say('importError', wrong);
  say('importSummary', wrong ? '' : missing ? `Elige la columna de ${missing}.` : counts || 'El archivo no tiene productos.');
  $('importSummary').classList.toggle('visually-hidden', !missing && counts !== ''); // it is on the chips
  const writes = errors.length ? 0 : nuevos + cambiados;
  confirmed.disabled = !writes;
  confirmed.textContent = !writes ? 'Importar' : !faltas ? `Importar ${whole.format(writes)}` : `Importar ${plural(writes, 'válida', 'válidas')}; ${plural(faltas, 'queda', 'quedan')} fuera`;
  const left = (only ? trial[STATES[only][0]] : nuevos + cambiados + iguales + faltas + omitidos) - filas.length;
  $('importAll').hidden = left <= 0;
  $('importAll').textContent = `Ver ${plural(left, 'fila más', 'filas más')}`;
  $('importTable').hidden = !filas.length;
  $('importPreview').hidden = false;
  if (drawn === (drawn = JSON.stringify(filas))) return; // what is being decided stays open
  const { id } = document.activeElement;
  $('importRows').replaceChildren(...filas.map(line));
  if (id.startsWith('conflict-')) $(id)?.focus();
}

function line({ fila, estado, nombre, antes, despues, conflicto, errors = [], avisos = [] }) {
  const told = Object.keys(FIELDS).filter((field) => field in (despues ?? {}) && (antes || (field !== 'nombre' && despues[field] !== null)))
    .map((field) => `${FIELDS[field].toLowerCase()} ${antes ? `${quoted(field, antes)} → ` : ''}${quoted(field, despues)}`).join(' · ');
  const title = (field) => trial.columnas.find(({ campo }) => campo === field)?.titulo || COLUMNS[field];
  const faults = errors.map(({ field, message }) => element('p', { className: 'fault' }, [title(field), message].filter(Boolean).join(': ')));
  const what = element('td', { role: 'cell' }, ...(faults.length ? faults : [STATES[estado][3] + (told && `: ${told}`)]), ...avisos.map((text) => element('p', { className: 'doubt' }, text)));
  if (decided.has(String(fila)) || conflicto) {
    const select = element('select', { id: `conflict-${fila}`, className: 'chip', ariaLabel: `Qué vale en la fila ${fila}` });
    select.dataset.row = fila;
    fill(select, [['', 'Decide…'], ['archivo', 'Vale lo del archivo'], ['actual', 'Vale lo de ahora']], decided.get(String(fila)));
    what.append(select);
  }
  return element('tr', { role: 'row' }, element('td', { role: 'cell' }, String(fila)), element('th', { role: 'rowheader' }, short(nombre ?? '')), what);
}

// ---- the import, and taking it back

/** Makes a request whose events need no notices. */
function alone(request) {
  importing.now = true;
  return request.finally(() => Object.assign(importing, { now: false, until: performance.now() + 10_000 }));
}

confirmed.onclick = async () => {
  const [cancel, key] = [dialog.querySelector('[data-close]'), newKey()];
  say('importError', '');
  say('importStep', 'Guardando…');
  cancel.disabled = form.inert = true;
  try {
    const { data } = await working(confirmed, () => alone(inventory.importFile(file, { ...query(), ...(trial.faltas && { filas: 'validas' }) }, key)));
    dialog.close();
    forget();
    $('importFile').value = '';
    const done = [data.creados && plural(data.creados, 'producto nuevo', 'productos nuevos'), data.actualizados && plural(data.actualizados, 'cambiado', 'cambiados')];
    const rest = (data.restantes ?? []).map(({ row, field, message }) => ['Fila', row, field, message].join(' '));
    toast([`Importado: ${done.filter(Boolean).join(', ')}`, ...rest].join('\n'), { kind: 'success', stays: rest.length > 0, action: ['Deshacer', () => takeBack(key)] });
  } catch (error) {
    const why = `No se ha importado nada: ${short(reasonOf(error), 300)}`;
    if (!dialog.open) tellRefusal(why); // another file, or the key, may have closed it
    await ask(); // what has changed since the trial
    say('importError', why);
  }
  say('importStep', '');
  cancel.disabled = form.inert = false;
};

async function takeBack(key) {
  try {
    const { data: { deshechos, tocados } } = await alone(inventory.undoImport(key));
    const others = tocados.length ? `\nSiguen como están, porque alguien los cambió después: ${tocados.map(({ nombre }) => short(nombre)).join(', ')}` : '';
    toast(`Importación deshecha: ${plural(deshechos, 'producto', 'productos')}${others}`, { kind: 'success', stays: others !== '' });
  } catch (error) {
    tellRefusal(`La importación no se ha deshecho: ${reasonOf(error)}`);
  }
}
