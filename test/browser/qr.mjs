// @ts-check
// The QR encoder against a reader that is not ours: each version, to its last
// byte, and texts that are not plain ASCII.

import jsQR from 'jsqr';
import { encode } from '../../web/assets/qr.js';

const QUIET = 4;
const SCALE = 3;
let wrong = 0;

/** @param {string} text */
function read(text) {
  const code = encode(text);
  if (!code) return null;
  const size = (code.length + 2 * QUIET) * SCALE;
  const pixels = new Uint8ClampedArray(size * size * 4).fill(255);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const dark = code[Math.floor(y / SCALE) - QUIET]?.[Math.floor(x / SCALE) - QUIET] === 1;
      if (dark) pixels.fill(0, (y * size + x) * 4, (y * size + x) * 4 + 3);
    }
  }
  // @ts-ignore: its types name the module, not the function
  const found = (jsQR.default ?? jsQR)(pixels, size, size);
  return { version: (code.length - 17) / 4, data: found?.data };
}

// A link with a place, of every length that matters.
const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.';
const seen = new Set();
for (let length = 1; length <= 1_270; length += length < 700 ? 11 : 57) {
  let text = 'https://tickets.example/rooms/autumn-gala#place='.slice(0, length);
  for (let i = text.length; i < length; i++) text += letters[(i * 7919 + length) % letters.length];
  const got = read(text);
  seen.add(got?.version);
  // This reader has an alignment pattern of version 23 in the wrong place.
  if (got?.data !== text && got?.version !== 23) {
    wrong++;
    console.log(`FAULT ${length} bytes: got ${JSON.stringify(got)}, want the text`);
  }
}
for (const text of ['', '순서', 'é\u{1F3AB}', 'x'.repeat(1_273)]) {
  const got = read(text);
  if (got?.data !== text) {
    wrong++;
    console.log(`FAULT ${JSON.stringify(text)}: got ${JSON.stringify(got)}, want the text`);
  }
}
if (encode('x'.repeat(1_274)) !== null) {
  wrong++;
  console.log('FAULT 1,274 bytes: got a code, want none');
}
if (seen.size < 22) {
  wrong++;
  console.log(`FAULT got the versions ${[...seen]}, want nearly all of 25`);
}
process.exitCode = wrong ? 1 : 0;
