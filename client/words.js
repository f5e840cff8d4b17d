export const FIELDS = { nombre: 'Nombre', descripcion: 'Descripción', precio: 'Precio', stock: 'Stock' };

const currency = globalThis.document?.documentElement.dataset.currency;
const money = currency
  ? new Intl.NumberFormat('es', { style: 'currency', currency })
  : new Intl.NumberFormat('es', { minimumFractionDigits: 2, maximumFractionDigits: 2 });
export const price = (value) => (currency ? money.format(value) : `$${money.format(value)}`);
/** What the page shows beside the number of a price. */
export const symbol = currency ? money.formatToParts(0).find(({ type }) => type === 'currency').value : '$';
export const whole = new Intl.NumberFormat('es');
export const signed = new Intl.NumberFormat('es', { signDisplay: 'always' });
export const hour = new Intl.DateTimeFormat('es', { hour: '2-digit', minute: '2-digit' });
export const clock = new Intl.DateTimeFormat('es', { timeStyle: 'medium' });
export const moment = new Intl.DateTimeFormat('es', { day: 'numeric', month: 'short', hour: 'numeric', minute: '2-digit', second: '2-digit' });
export const alphabet = new Intl.Collator('es', { numeric: true });
export const plural = (n, one, many) => `${whole.format(n)} ${n === 1 ? one : many}`;
export const short = (text, limit = 80) => (text.length > limit ? `${text.slice(0, limit - 1)}…` : text);
// The same comparison as in the service: without case and accents, in any Unicode form. Σ is lowered alone, because at the end
// of a word it would become ς.
export const folded = (text) => text.normalize('NFD').replace(/[\u0300-\u036f]/g, '').replace(/Σ/g, 'σ').toLowerCase();
export const differing = (a, b) => Object.keys(FIELDS).filter((field) => a[field] !== b[field]);
export const pick = (row, fields) => Object.fromEntries(fields.map((field) => [field, row[field]]));
/** What rows are worth, without the errors of adding fractions. */
export const worthOf = (rows) => rows.reduce((sum, { precio, stock }) => sum + Math.round(precio * 100) * stock, 0) / 100;
export const unitsOf = (row) => (row.stock === 0 ? 'agotado' : row.stock === 1 ? 'unidad' : 'unidades');

export function shown(field, row) {
  if (field === 'precio') return price(row.precio);
  if (field === 'stock') return whole.format(row.stock);
  return row[field] ?? 'Sin descripción';
}

function changeInWords(before, after) {
  return differing(before, after).map((field) => {
    if (field === 'nombre') return `ahora se llama «${short(after.nombre)}»`;
    if (field === 'descripcion') return 'otra descripción';
    if (field === 'stock') return `${signed.format(after.stock - before.stock)}, stock ${shown('stock', before)} → ${shown('stock', after)}`;
    return `${FIELDS[field].toLowerCase()} ${shown(field, before)} → ${shown(field, after)}`;
  }).join(', ');
}

/** A value in a sentence: texts stand in quotes. */
export const quoted = (field, row) => (typeof row[field] === 'string' ? `«${short(row[field])}»` : shown(field, row));

export function stateInWords(before, after) {
  const fields = differing(before, after).map((field) => `${FIELDS[field].toLowerCase()} ${quoted(field, after)}`);
  return fields.join(', ') || 'está otra vez como lo ves aquí';
}

/** An event in words. `before`: the former row, for events that do not contain it. */
export function eventInWords({ type, data, antes, actor = '', motivo = '' }, before) {
  const was = antes ? { ...data, ...antes } : before;
  const name = short(was?.nombre ?? data.nombre ?? '');
  const why = [motivo && ` · ${short(motivo)}`, actor && ` · ${short(actor)}`].join('');
  if (type === 'PRODUCT_CREATED') return `Producto creado: ${name}${why}`;
  if (type === 'PRODUCT_DELETED') return `Producto eliminado: ${name || `#${data.id}`}${why}`;
  const change = was ? changeInWords(was, data) : '';
  return `${name}: ${change || 'actualizado'}${why}`;
}
