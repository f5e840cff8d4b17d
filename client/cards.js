import { Blocks } from './blocks.js';
import { $, stamp } from './notices.js';
import { isFollowed } from './view.js';
import { FIELDS, differing, short, shown, signed, unitsOf } from './words.js';

/** The parts of a node by the names of their classes and actions. */
export const partsOf = (node, names) => Object.fromEntries(names.map((name) => [name, node.querySelector(`.${name}, [data-action=${name}]`)]));

/** Shows a row in a card or in a line of the table. `changed`: the fields that differ from the row shown before. */
export function updateView({ node, part, row: before, followed }, row, changed) {
  if (changed.includes('nombre') || followed !== isFollowed(row.id)) nameActions(part, row);
  node.classList.toggle('sold-out', row.stock === 0);
  part.pending.textContent = row.pending ? `${signed.format(row.pending)} por enviar` : '';
  if (before && changed.length) flash(node, part, changed);
}

function nameActions(part, row) {
  part.take.ariaLabel = `−1 unidad de ${row.nombre}`;
  part.add.ariaLabel = `+1 unidad de ${row.nombre}`;
  part.edit.ariaLabel = part.edit.title = `Editar ${row.nombre}`;
  part.delete.ariaLabel = part.delete.title = `Eliminar ${row.nombre}`;
  part.events.ariaLabel = part.events.title = `Historia de ${row.nombre}`;
  part.follow.ariaLabel = part.follow.title = `${isFollowed(row.id) ? 'Dejar de seguir' : 'Seguir'} ${row.nombre}`;
  part.follow.ariaPressed = String(isFollowed(row.id));
}

function flash(node, part, changed) {
  node.classList.remove('arriving');
  for (const each of [node, changed.includes('precio') && part.price, changed.includes('stock') && part.units]) {
    if (each) each.classList.add('flash');
  }
}

const PARTS = ['name', 'number', 'description', 'price', 'units', 'units-label', 'pending', 'stepper', 'take', 'add', 'stock-field', 'edit', 'delete', 'events', 'follow'];

/** The products as cards. */
export const cards = new Blocks($('productList'), 'div', { make, update });

function make(row) {
  const node = stamp('cardTemplate');
  const part = partsOf(node, PARTS);
  node.dataset.id = row.id;
  part.number.textContent = `#${row.id}`;
  return { node, part };
}

function update(view, row) {
  const { node, part, row: before } = view;
  const changed = before ? differing(before, row) : Object.keys(FIELDS);
  if (changed.includes('nombre')) {
    part.name.textContent = part.name.title = node.ariaLabel = row.nombre;
    part.stepper.ariaLabel = `Stock de ${row.nombre}`;
    part['stock-field'].ariaLabel = part['stock-field'].title = `Mover o contar el stock de ${row.nombre}`;
  }
  part.description.textContent = short(shown('descripcion', row), 400);
  part.description.classList.toggle('none', row.descripcion === null);
  part.price.textContent = shown('precio', row);
  part.units.textContent = shown('stock', row);
  part['units-label'].textContent = unitsOf(row);
  updateView(view, row, changed);
}
