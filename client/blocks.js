import { $, stamp } from './notices.js';
import { schedule } from './page.js';
import { isFollowed } from './view.js';
import { FIELDS, differing, signed } from './words.js';

const SIZE = 60; // rows of a block: full lines of 1 to 6 columns of cards
const STEP = 60; // new rows per animation frame; more would make scrolling stutter

/** The parts of a node by their actions or first classes. */
const partsOf = (node) => Object.fromEntries([...node.querySelectorAll('[data-action], [class]')].map((part) => [part.dataset.action ?? part.classList[0], part]));

/** Shows what cards and lines of the table have in common. */
function show({ node, part, row: before, followed }, row) {
  const changed = before ? differing(before, row) : Object.keys(FIELDS);
  if (changed.includes('nombre') || followed !== isFollowed(row.id)) nameActions(part, row);
  node.classList.toggle('sold-out', row.stock === 0);
  node.classList.toggle('gone', row.gone === true);
  part.pending.textContent = row.pending ? `${signed.format(row.pending)} por enviar` : '';
  if (!before || !changed.length) return;
  node.classList.remove('arriving');
  node.classList.add('flash');
  if (changed.includes('precio')) part.price.classList.add('flash');
  if (changed.includes('stock')) part.units.classList.add('flash');
}

function nameActions(part, row) {
  part.name.textContent = part.name.title = row.nombre;
  part.take.ariaLabel = `−1 unidad de ${row.nombre}`;
  part.add.ariaLabel = `+1 unidad de ${row.nombre}`;
  part.edit.ariaLabel = part.edit.title = `Editar ${row.nombre}`;
  part.delete.ariaLabel = part.delete.title = `Eliminar ${row.nombre}`;
  part.events.ariaLabel = part.events.title = `Historia de ${row.nombre}`;
  part.follow.ariaLabel = part.follow.title = `${isFollowed(row.id) ? 'Dejar de seguir' : 'Seguir'} ${row.nombre}`;
  part.follow.ariaPressed = String(isFollowed(row.id));
}

/**
 * A long list, divided into blocks. Only blocks near the screen have nodes; the others keep their height.
 *
 * `list`: the element of the blocks; `tag`: the element name of a block; `template`: the id of the template of a row. `update(view, row)`
 * shows in a view, {node, part}, what this list shows of the row. `place(view, index)` sets its place in the list.
 */
export class Blocks {
  #views = new Map(); // id -> view of each row on the page
  #blocks = [];
  #nearby;

  constructor(list, tag, template, { update, place = () => {} }) {
    Object.assign(this, { list, tag, template, update, place });
    this.arriving = new Set(); // ids that slide in
    const paper = matchMedia('print'); // on which paper.js writes: the list keeps its nodes and its place
    this.#nearby = new IntersectionObserver((seen) => {
      if (paper.matches) return;
      for (const { target, isIntersecting } of seen) target.near = isIntersecting;
      schedule();
    }, { rootMargin: '800px' });
    addEventListener('resize', () => {
      for (const block of this.#blocks) if (!block.firstElementChild) block.style.height = '';
      schedule();
    });
    list.addEventListener('animationend', ({ target }) => target.classList.remove('flash', 'arriving'));
  }

  /** The node of a product, if it is near the screen. */
  nodeOf = (id) => this.#views.get(id)?.node;

  draw(rows) {
    while (this.#blocks.length < Math.ceil(rows.length / SIZE)) this.#blocks.push(this.#newBlock());
    const parts = this.#blocks.map((block, i) => ({
      block,
      first: i * SIZE,
      rows: rows.slice(i * SIZE, (i + 1) * SIZE),
      drawn: block.near || block.contains(document.activeElement),
    }));
    const staying = new Set(parts.flatMap((part) => (part.drawn ? part.rows.map(({ id }) => id) : [])));
    for (const { block, drawn } of parts) if (!drawn && block.firstElementChild) block.style.height = `${block.offsetHeight}px`;
    for (const [id, view] of this.#views) if (!staying.has(id)) this.#remove(id, view);
    let fresh = 0;
    for (const { block, first, rows, drawn } of parts) {
      if (!rows.length && !block.firstElementChild) this.#drop(block);
      if (!drawn) continue;
      let next = block.firstElementChild;
      for (const [i, row] of rows.entries()) {
        let view = this.#views.get(row.id);
        if (!view && ++fresh > STEP) continue;
        if (!view) {
          const node = stamp(this.template);
          node.dataset.id = row.id;
          node.classList.toggle('arriving', this.arriving.has(row.id));
          block.insertBefore(node, next);
          view = { node, part: partsOf(node), row: null, followed: null };
          this.#views.set(row.id, view);
        } else if (view.node === next) next = next.nextElementSibling;
        else move(view.node, block, next);
        if (view.row !== row || view.followed !== isFollowed(row.id)) {
          show(view, row);
          this.update(view, row);
          Object.assign(view, { row, followed: isFollowed(row.id) });
        }
        this.place(view, first + i);
      }
      if (fresh <= STEP) block.style.height = '';
    }
    this.arriving.clear();
    if (fresh > STEP) schedule();
    const unknown = parts.filter(({ block, rows, drawn }) => !drawn && rows.length && !block.style.height);
    const model = unknown.length ? parts.find(({ block, drawn }) => drawn && block.firstElementChild)?.block : null;
    if (!model) return;
    const usual = model.offsetHeight / model.childElementCount;
    for (const { block, rows } of unknown) block.style.height = `${usual * rows.length}px`;
  }

  #newBlock() {
    const block = document.createElement(this.tag);
    if (this.tag === 'div') block.className = 'cards';
    block.near = !this.#blocks.length;
    this.list.append(block);
    this.#nearby.observe(block);
    return block;
  }

  #drop(block) {
    this.#nearby.unobserve(block);
    this.#blocks.splice(this.#blocks.indexOf(block), 1);
    block.remove();
  }

  #remove(id, { node }) {
    this.#views.delete(id);
    if (node.contains(document.activeElement)) {
      // The row gets the focus, not its button: the next key press must not change another product.
      (node.nextElementSibling ?? node.previousElementSibling ?? $('listTitle')).focus();
    }
    node.remove();
  }
}

/** Moves a node, keeping its focus if the browser supports it (moveBefore). */
function move(node, block, next) {
  if (block.moveBefore) return block.moveBefore(node, next);
  const focused = node.contains(document.activeElement) && document.activeElement;
  block.insertBefore(node, next);
  if (focused) focused.focus({ preventScroll: true });
}
