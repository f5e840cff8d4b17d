import { decode, guarded, parse, unguarded, write } from './csv.js';
import { typedAs } from './fields.js';
import { $, element, importing, say, tableRow, tellRefusal, toast, working } from './notices.js';
import { inventory, mayWrite } from './page.js';
import { FIELDS, folded, plural, short, whole } from './words.js';

// Import and export of files.

const LIMIT = 5 * 1024 * 1024; // bytes; this and ROWS are the limits of the service (requests.py, csvfile.py)
const ROWS = 50_000;
const TITLES = { id: 'Número', ...FIELDS };
const COLUMNS = Object.keys(TITLES);
// Names of the columns in files of other programs. Their `id` is not an id of this inventory.
const ALIASES = {
  id: ['id'],
  nombre: ['nombre', 'name', 'title', 'producto', 'product', 'articulo'],
  descripcion: ['descripcion', 'descripcion corta', 'description', 'short description', 'body (html)', 'detalle'],
  precio: ['precio', 'precio normal', 'price', 'regular price', 'variant price', 'pvp'],
  stock: ['stock', 'inventario', 'existencias', 'cantidad', 'variant inventory qty', 'quantity', 'qty', 'unidades'],
};

let file = null; // {head, rows} of the file that was chosen

$('importColumns').append(...COLUMNS.map((name) => {
  const id = `import-${name}`;
  return element('div', {}, element('label', { htmlFor: id }, TITLES[name]), element('select', { id }));
}));

// ---- export

/** Saves the rows as a file that opens in a spreadsheet with Spanish settings (semicolons, decimal commas). */
export function exportRows(rows) {
  const lines = rows.map((row) => [String(row.id), guarded(row.nombre), guarded(row.descripcion ?? ''), typedAs('precio', row), String(row.stock)]);
  const url = URL.createObjectURL(new Blob(['\ufeff', write([COLUMNS, ...lines], ';')], { type: 'text/csv' }));
  const link = element('a', { href: url, download: `inventario-${new Date().toISOString().slice(0, 10)}.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  toast(`${plural(rows.length, 'producto exportado', 'productos exportados')}: ${link.download}`, { kind: 'success' });
}

// ---- import

function open() {
  if ($('importDialog').open || !mayWrite()) return;
  show(null);
  $('importDialog').showModal();
}

$('import').onclick = open;
$('importDialog').addEventListener('cancel', (event) => { if (importing.now) event.preventDefault(); });
$('importDialog').addEventListener('close', () => $('import').focus());
$('importFile').onclick = ({ target }) => { target.value = ''; }; // else choosing the corrected file again would be no change
$('importFile').onchange = ({ target }) => target.files[0] && read(target.files[0]);

for (const type of ['dragover', 'drop']) {
  document.addEventListener(type, (event) => {
    if (!event.dataTransfer.types.includes('Files') || importing.now) return;
    event.preventDefault();
    if (type === 'dragover' || document.querySelector('dialog[open]:not(#importDialog)')) return;
    open();
    if (event.dataTransfer.files[0]) read(event.dataTransfer.files[0]);
  });
}

/** Shows the preview of the file, or why there is none. */
function show(read, problem = '') {
  file = read;
  $('importFaults').hidden = true;
  $('importProgress').hidden = true;
  say('importError', problem);
  $('importPreview').hidden = !file;
  if (!file) {
    $('importFile').value = '';
    $('confirmImport').disabled = true;
    $('confirmImport').textContent = 'Importar';
    return say('importSummary', '');
  }
  const ours = COLUMNS.every((name) => name === 'id' || file.head.includes(name));
  for (const name of COLUMNS) {
    const found = file.head.findIndex((title) => ALIASES[name].includes(folded(title.trim())));
    const select = $(`import-${name}`);
    select.replaceChildren(new Option('—', ''), ...file.head.map((title, n) => new Option(short(title, 40) || `Columna ${n + 1}`, n)));
    select.value = found < 0 || (name === 'id' && !(ours && file.head[found].trim() === 'id')) ? '' : String(found);
  }
  preview();
}

async function read(chosen) {
  if (chosen.size > LIMIT) return show(null, 'El archivo pasa de 5 MiB.');
  try {
    const [head, ...rows] = parse(decode(await chosen.arrayBuffer()));
    if (!head || head.length < 2) return show(null, 'No es un archivo CSV: su primera fila tiene que ser la de los títulos.');
    if (rows.length > ROWS) return show(null, `El archivo pasa de ${whole.format(ROWS)} filas.`);
    show({ head, rows });
    $('confirmImport').focus();
  } catch (error) {
    show(null, error instanceof SyntaxError ? error.message : 'No se pudo leer el archivo.');
  }
}

/** The chosen columns of the file: [names, rows of cells]. */
function mapped() {
  const names = COLUMNS.filter((name) => $(`import-${name}`).value !== '');
  const places = names.map((name) => Number($(`import-${name}`).value));
  return [names, file.rows.map((row) => places.map((place) => row[place] ?? ''))];
}

const number = (cell) => (/^-?\d+([.,]\d{1,2})?$/.test(cell.trim()) ? Number(cell.trim().replace(',', '.')) : NaN);

/** Whether a row of the file does not change its product. */
function changesNothing(product, names, cells) {
  return names.every((name, n) => {
    if (name === 'id') return true;
    if (name === 'precio' || name === 'stock') return number(cells[n]) === product[name];
    const [cell, value] = [unguarded(cells[n]), product[name] ?? ''];
    return cell === value || (name === 'nombre' && cell.trim() === value);
  });
}

function preview() {
  const [names, rows] = mapped();
  const counts = { nuevos: 0, cambian: 0, iguales: 0, faltan: 0 };
  const at = names.indexOf('id');
  const kindOf = (cells) => {
    if (at < 0 || !cells[at]) return 'nuevos';
    const product = inventory.products.get(Number(cells[at]));
    return !product ? 'faltan' : changesNothing(product, names, cells) ? 'iguales' : 'cambian';
  };
  for (const cells of rows) if (cells.some(Boolean)) counts[kindOf(cells)] += 1;
  const complete = at >= 0 ? names.length > 1 : names.includes('nombre') && names.includes('precio');
  const texts = [
    counts.nuevos && plural(counts.nuevos, 'nuevo', 'nuevos'),
    counts.cambian && plural(counts.cambian, 'cambia', 'cambian'),
    counts.iguales && plural(counts.iguales, 'sigue igual', 'siguen iguales'),
    counts.faltan && `${plural(counts.faltan, 'fila', 'filas')} con un número que no existe`,
  ].filter(Boolean);
  say('importSummary', complete ? texts.join(' · ') || 'El archivo no tiene productos.' : 'Elige la columna del nombre y la del precio.');
  $('confirmImport').disabled = !complete || counts.nuevos + counts.cambian === 0;
  $('confirmImport').textContent = `Importar ${whole.format(counts.nuevos + counts.cambian)}`;
  $('importHead').replaceChildren(tableRow(['Fila', ...names.map((name) => TITLES[name])], 'th'));
  $('importRows').replaceChildren(...rows.slice(0, 5).map((cells, n) => tableRow([n + 2, ...cells.map((cell) => short(cell, 60))])));
  $('importMore').textContent = rows.length > 5 ? `y ${plural(rows.length - 5, 'fila más', 'filas más')}` : '';
}

$('importColumns').onchange = preview;

$('confirmImport').onclick = async () => {
  const [names, rows] = mapped();
  const body = write([names, ...rows], ',');
  const cancel = $('importDialog').querySelector('[data-close]');
  const bar = $('importProgress').querySelector('progress');
  const sending = (part) => {
    if (part < 1) bar.value = part;
    else bar.removeAttribute('value'); // uploaded, and now being written
    say('importStep', part < 1 ? `Enviando: ${Math.round(part * 100)} %` : `Guardando ${plural(rows.length, 'fila', 'filas')}…`);
  };
  $('importFaults').hidden = true;
  $('importProgress').hidden = false;
  say('importError', '');
  sending(0);
  importing.now = cancel.disabled = true;
  try {
    const answer = await working($('confirmImport'), () => inventory.importFile(body, sending));
    const { creados, actualizados } = answer.data;
    $('importDialog').close();
    toast(`Importado: ${plural(creados, 'producto nuevo', 'productos nuevos')}, ${plural(actualizados, 'cambiado', 'cambiados')}`, { kind: 'success' });
  } catch (error) {
    if (!$('importDialog').open) return tellRefusal(`No se ha importado nada: ${error.message}`);
    say('importError', error.errors.length ? 'No se ha importado nada. Corrige el archivo y elígelo otra vez:' : error.message);
    const title = (field) => (names.includes(field) ? file.head[Number($(`import-${field}`).value)] : field);
    const faults = error.errors.map(({ row = '', field, message }) => tableRow([row, title(field), message]));
    $('importFaults').hidden = !faults.length;
    $('importFaults').querySelector('tbody').replaceChildren(...faults);
  } finally {
    importing.until = performance.now() + 10_000;
    importing.now = cancel.disabled = false;
    $('importProgress').hidden = true;
  }
};
