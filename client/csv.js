// CSV as spreadsheets write it. No DOM.

const FORMULA = /^'*[=+\-@\t\r\n]/; // the start of a cell that a spreadsheet would run as a formula

/** The text of a file: UTF-8, UTF-16 with its mark, or Windows-1252. */
export function decode(buffer) {
  const [a, b] = new Uint8Array(buffer);
  if (a === 0xff && b === 0xfe) return new TextDecoder('utf-16le').decode(buffer);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(buffer);
  } catch {
    return new TextDecoder('windows-1252').decode(buffer);
  }
}

/** The rows of a CSV text, each an array of cells; what separates them is what the first line has most of. */
export function parse(text) {
  const [head] = text.split('\n', 1);
  const count = (mark) => head.split(mark).length;
  const comma = [',', ';', '\t'].reduce((best, mark) => (count(mark) > count(best) ? mark : best));
  const rows = [];
  let row = [];
  const cells = new RegExp(`(?:"((?:[^"]|"")*)"|((?:[^"${comma}\\r\\n][^${comma}\\r\\n]*)?))(${comma}|\\r\\n|\\r|\\n|$)`, 'gy');
  for (let found; cells.lastIndex < text.length && (found = cells.exec(text));) {
    row.push(found[1] === undefined ? found[2] : found[1].replaceAll('""', '"'));
    if (found[3] !== comma) {
      rows.push(row);
      row = [];
    } else if (cells.lastIndex === text.length) row.push('');
  }
  if (row.length) rows.push(row);
  if (cells.lastIndex < text.length) throw new SyntaxError(`Fila ${rows.length + 1}: las comillas no están bien puestas.`);
  return rows;
}

/** Rows of cells as CSV. */
export function write(rows, comma) {
  const quoted = (cell) => (cell.includes(comma) || /["\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  return rows.map((row) => `${row.map(quoted).join(comma)}\r\n`).join('');
}

export const guarded = (text) => (FORMULA.test(text) ? `'${text}` : text);
export const unguarded = (text) => (text.startsWith("'") && FORMULA.test(text) ? text.slice(1) : text);
