import { Blocks } from './blocks.js';
import { $ } from './notices.js';
import { short, shown, unitsOf } from './words.js';

/** The products as cards. */
export const cards = new Blocks($('productList'), 'div', 'cardTemplate', { update });

function update({ node, part }, row) {
  node.ariaLabel = row.nombre;
  part.stepper.ariaLabel = `Stock de ${row.nombre}`;
  part['stock-field'].ariaLabel = part['stock-field'].title = `Mover o contar el stock de ${row.nombre}`;
  part.number.textContent = `#${row.id}`;
  part.description.textContent = short(shown('descripcion', row), 400);
  part.description.classList.toggle('none', row.descripcion === null);
  part.price.textContent = shown('precio', row);
  part.units.textContent = shown('stock', row);
  part['units-label'].textContent = unitsOf(row);
}
