// @ts-check
// Takes the place to another device: a link and its QR code, with the place in the
// fragment, which no server sees. Loaded when someone asks for it.

import { dialog, el, onClick, say, show, t } from './page.js';
import { encode } from './qr.js';

// The quiet zone that a reader needs around a code, in modules.
const QUIET = 4;

let ready = false;

/** Opens the dialog. @param {string} url of the room @param {string} place */
export function share(url, place) {
  const link = url + '#place=' + place;
  const field = /** @type {HTMLInputElement} */ (el('share-link'));
  field.value = link;
  const code = encode(link);
  show('share-code', code !== null);
  if (code) picture(code);
  say('share-copy', t('share.copy'));
  if (!ready) {
    ready = true;
    onClick('share-close', () => dialog('share-ask').close());
    onClick('share-copy', async () => {
      try {
        await navigator.clipboard.writeText(field.value);
        say('share-copy', t('share.copied'));
      } catch {
        field.select(); // not allowed, or not over plain http: by hand
      }
    });
    // What was shown is shown no longer than it is looked at.
    dialog('share-ask').addEventListener('close', () => {
      field.value = '';
      el('share-code').replaceChildren();
    });
  }
  dialog('share-ask').showModal();
}

/** @param {number[][]} code */
function picture(code) {
  const box = el('share-code');
  const size = code.length + 2 * QUIET;
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', code.flatMap((row, y) => row.map((m, x) => (m ? `M${x + QUIET} ${y + QUIET}h1v1h-1z` : ''))).join(''));
  box.setAttribute('viewBox', `0 0 ${size} ${size}`);
  box.replaceChildren(path);
}
