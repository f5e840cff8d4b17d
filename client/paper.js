import { $ } from './notices.js';
import { choicesInWords } from './view.js';
import { plural, price, shown } from './words.js';

// What is printed: all rows that match, as a table with a column to write in. On the screen only those nearby have nodes.

const day = new Intl.DateTimeFormat('es', { dateStyle: 'long', timeStyle: 'short' });

/** `rows()` returns the rows to print, in order; `worth(rows)` what they are worth. */
export function attachPaper(rows, worth) {
  const write = () => {
    const all = rows();
    $('paperTitle').textContent = document.title;
    $('paperAbout').textContent = [day.format(), ...choicesInWords(), plural(all.length, 'producto', 'productos'), price(worth(all))].join(' · ');
    $('paperRows').replaceChildren(...all.map((row) => {
      const line = document.createElement('tr');
      for (const text of [row.id, row.nombre, row.descripcion ?? '', shown('precio', row), shown('stock', row), '']) line.insertCell().textContent = text;
      return line;
    }));
  };
  addEventListener('beforeprint', write);
  matchMedia('print').addEventListener('change', ({ matches }) => matches && write());
  addEventListener('afterprint', () => $('paperRows').replaceChildren());
}
