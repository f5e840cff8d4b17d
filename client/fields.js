import { symbol, whole } from './words.js';

/** An error in a text that somebody typed. */
export class Problem extends Error {}

function need(right, message) {
  if (!right) throw new Problem(message);
}

function withinLimit(text, limit) {
  const length = [...text].length; // the service counts characters, not UTF-16 units
  need(length <= limit, `${whole.format(limit)} caracteres como mucho; hay ${whole.format(length)}.`);
  return text;
}

/** Parses the trimmed text of each field. Throws a Problem. */
export const PARSERS = {
  nombre(typed) {
    need(typed, 'Escribe un nombre.');
    return withinLimit(typed, 255);
  },
  descripcion: (typed) => withinLimit(typed, 10_000) || null,
  precio(typed) {
    const bare = [symbol, '$', '€', '£'].reduce((text, sign) => text.replace(sign, ''), typed).trim();
    // With two signs it is clear which one is that of thousands: 1.234,50 and 1,234.50, as the page shows prices.
    const text = /^\d{1,3}(\.\d{3})+,\d{1,2}$/.test(bare) ? bare.replaceAll('.', '') : /^\d{1,3}(,\d{3})+\.\d{1,2}$/.test(bare) ? bare.replaceAll(',', '') : bare;
    need(text, 'Escribe un precio.');
    need(!/^[-−]/.test(text), 'El precio no puede ser negativo.');
    need(/^\d[\d.,\s]*$/.test(text), 'Escribe un número, por ejemplo 12,50.');
    // 1.299 is ambiguous: a thousand in some countries, one in others.
    need(/^\d+([.,]\d{1,2})?$/.test(text), 'Sin separador de miles y con dos decimales como mucho: 1299,99.');
    const price = Number(text.replace(',', '.'));
    need(price <= 9999999999.99, 'El precio máximo es 9999999999,99.');
    return price;
  },
  stock(typed) {
    need(typed, 'Escribe cuántas unidades hay.');
    need(!/^[-−]/.test(typed), 'El stock no puede ser negativo.');
    need(/^\d+$/.test(typed), 'Escribe un número entero, sin puntos ni comas.');
    need(Number(typed) <= 2147483647, 'El stock máximo es 2147483647.');
    return Number(typed);
  },
};

/** Stock as people move it: `-12` and `+40` as {delta}, `=37` and `37` as {count}; throws a Problem. */
export function readStock(typed) {
  const [, sign, digits] = /^([-−+=]?)\s*(.*)$/.exec(typed);
  need(sign || !/^\d{8,}$/.test(digits), 'Eso parece un código de barras. Un recuento tan grande se escribe con =.');
  const units = PARSERS.stock(digits);
  if (sign === '=' || sign === '') return { count: units };
  need(units > 0, 'Un movimiento no puede ser de 0 unidades.');
  return { delta: sign === '+' ? units : -units };
}

/** A value as it is typed into the field of a form. */
export const typedAs = (field, row) => (field === 'precio' ? row.precio.toFixed(2).replace('.', ',') : String(row[field] ?? ''));
