import { $, element } from './notices.js';
import { choicesInWords } from './view.js';
import { plural, price, shown, worthOf } from './words.js';

// What is printed: all rows that match, as a table with a column to write in. On the screen only those nearby have nodes.

const day = new Intl.DateTimeFormat('es', { dateStyle: 'long', timeStyle: 'short' });

const line = (texts, tag = 'td') => element('tr', {}, ...texts.map((text) => element(tag, {}, text)));

/** `rows()` returns the rows to print, in order. */
export function attachPaper(rows) {
  const write = () => {
    const all = rows();
    const about = [day.format(), ...choicesInWords(), plural(all.length, 'producto', 'productos'), price(worthOf(all))].join(' · ');
    $('paper').replaceChildren(
      element('caption', {}, element('strong', {}, document.title), element('span', { id: 'paperAbout' }, about)),
      element('thead', {}, line(['Nº', 'Nombre', 'Descripción', 'Precio', 'Stock', 'Contado'], 'th')),
      element('tbody', {}, ...all.map((row) => line([row.id, row.nombre, row.descripcion ?? '', shown('precio', row), shown('stock', row), '']))),
    );
  };
  addEventListener('beforeprint', write);
  matchMedia('print').addEventListener('change', ({ matches }) => matches && write());
  addEventListener('afterprint', () => $('paper').tBodies[0].replaceChildren());
}
