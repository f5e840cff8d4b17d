import { Inventario } from './inventario.js';

// What the parts of the page share: the service, and the next drawing.

export const inventory = new Inventario(document.baseURI);

const root = document.documentElement; // its `data-reader`: without a key, this page may only read
const keyName = `inventario-clave ${inventory.api.pathname}`;
try {
  inventory.token = sessionStorage.getItem(keyName) ?? '';
} catch { /* storage may be forbidden */ }
root.classList.toggle('writer', inventory.token !== '');

/** Whether the service lets this page change something. */
export const mayWrite = () => !root.matches('[data-reader]:not(.writer)');

/** Uses an access key, which this tab keeps. */
export function useKey(key) {
  inventory.token = key;
  root.classList.toggle('writer', key !== '');
  try {
    if (key) sessionStorage.setItem(keyName, key);
    else sessionStorage.removeItem(keyName);
  } catch { /* as above */ }
}

let draw; // draws the products
let scheduled = false;

export const drawWith = (render) => { draw = render; };

/** Draws the products in the next animation frame: many events cost as much as one. */
export function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    draw();
  });
}
