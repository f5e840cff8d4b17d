import { Inventario } from './inventario.js';

// What the parts of the page share: the service, what the browser keeps, and the next drawing.

export const inventory = new Inventario(document.baseURI);

/** The JSON value that this browser keeps under the name, or `otherwise`. `where`: sessionStorage is that of the tab. */
export function kept(name, otherwise, where = 'localStorage') {
  try {
    return JSON.parse(window[where].getItem(name)) ?? otherwise;
  } catch {
    return otherwise; // storage may be forbidden, or contain something else
  }
}

/** Keeps a JSON value under the name, where the browser allows it. */
export function keep(name, value, where = 'localStorage') {
  try {
    window[where].setItem(name, JSON.stringify(value));
  } catch {
    if (where === 'sessionStorage') unkept.set(name, value.lines ?? value);
  }
}

const unkept = new Map(); // name -> what a reload would lose: codes, the lines of the basket, the access key
addEventListener('beforeunload', (event) => [...unkept.values()].some(({ length }) => length) && event.preventDefault());

const root = document.documentElement; // its `data-reader`: without a key, this page may only read
const keyName = `inventario-clave ${inventory.api.pathname}`;
inventory.token = String(kept(keyName, '', 'sessionStorage'));
root.classList.toggle('writer', inventory.token !== '');

/** Whether the service lets this page change something. */
export const mayWrite = () => !root.matches('[data-reader]:not(.writer)');

/** Uses an access key, which this tab keeps. */
export function useKey(key) {
  inventory.token = key;
  root.classList.toggle('writer', key !== '');
  keep(keyName, key, 'sessionStorage');
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
