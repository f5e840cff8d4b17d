var early = []; // the keys that come before scanner.js does
addEventListener('keydown', (event) => early?.push(event), { capture: true });

// Runs before the page is drawn, so that it is drawn once, in the colours that were chosen.
try {
  document.documentElement.dataset.theme = localStorage.getItem('inventario-theme')?.replaceAll('"', '') ?? ''; // JSON; of earlier pages, the bare word
} catch { /* storage may be forbidden */ }
