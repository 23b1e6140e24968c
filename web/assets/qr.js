// @ts-check
// A QR code of a text: bytes, error correction L, versions 1 to 25 (ISO/IEC 18004).
// Only what a link needs, and loaded only when someone asks for one.

// By version, from 1: error correction bytes of one block, and blocks, at level L.
const CORRECTION = [7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28, 28, 28, 30, 30, 26];
const BLOCKS = [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8, 8, 9, 9, 10, 12];

// The field of 256 elements over x^8+x^4+x^3+x^2+1, as powers of its generator.
const POWER = new Uint8Array(255);
const LOG = new Uint8Array(256);
for (let i = 0, x = 1; i < 255; i++) {
  POWER[i] = x;
  LOG[x] = i;
  x = (x << 1) ^ (x & 0x80 ? 0x11d : 0);
}
/** @param {number} a @param {number} b */
const times = (a, b) => (a && b ? POWER[(LOG[a] + LOG[b]) % 255] : 0);

/** The remainder that makes a block a multiple of the generator. @param {number[]} data @param {number} count */
function correction(data, count) {
  let generator = [1];
  for (let i = 0; i < count; i++) {
    const next = [...generator, 0];
    for (let k = 0; k < generator.length; k++) next[k + 1] ^= times(generator[k], POWER[i]);
    generator = next;
  }
  const rest = new Array(count).fill(0);
  for (const byte of data) {
    const factor = byte ^ rest.shift();
    rest.push(0);
    for (let k = 0; k < count; k++) rest[k] ^= times(generator[k + 1], factor);
  }
  return rest;
}

/** Where a version has its alignment patterns, in both directions. @param {number} version */
function alignments(version) {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const step = Math.ceil((version * 4 + 4) / (2 * count - 2)) * 2;
  const last = version * 4 + 10;
  return [6, ...Array.from({ length: count - 1 }, (_, i) => last - step * (count - 2 - i))];
}

/** What stands fixed in a version: for each module its colour, or null where data goes. @param {number} version */
function frame(version) {
  const size = version * 4 + 17;
  /** @type {(0|1|null)[][]} */
  const at = Array.from({ length: size }, () => new Array(size).fill(null));
  /** @param {number} x @param {number} y @param {boolean} dark */
  const set = (x, y, dark) => {
    if (x >= 0 && y >= 0 && x < size && y < size) at[y][x] = dark ? 1 : 0;
  };
  for (let i = 0; i < size; i++) {
    set(6, i, i % 2 === 0);
    set(i, 6, i % 2 === 0);
  }
  for (const [cx, cy] of [[3, 3], [size - 4, 3], [3, size - 4]]) {
    for (let dy = -4; dy <= 4; dy++) {
      for (let dx = -4; dx <= 4; dx++) {
        const ring = Math.max(Math.abs(dx), Math.abs(dy));
        set(cx + dx, cy + dy, ring !== 2 && ring !== 4);
      }
    }
  }
  const middles = alignments(version);
  for (const [i, cy] of middles.entries()) {
    for (const [k, cx] of middles.entries()) {
      const corner = (i === 0 && (k === 0 || k === middles.length - 1)) || (i === middles.length - 1 && k === 0);
      if (corner) continue;
      for (let dy = -2; dy <= 2; dy++) for (let dx = -2; dx <= 2; dx++) set(cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
    }
  }
  format(set, size, 0); // its place is taken; the mask's own follows
  if (version >= 7) {
    const bits = (version << 12) | remainder(version, 12, 0x1f25);
    for (let i = 0; i < 18; i++) {
      const [a, b] = [size - 11 + (i % 3), Math.floor(i / 3)];
      set(a, b, ((bits >> i) & 1) === 1);
      set(b, a, ((bits >> i) & 1) === 1);
    }
  }
  return at;
}

/** @param {number} value @param {number} shift @param {number} generator */
function remainder(value, shift, generator) {
  let rest = value << shift;
  for (let i = 31 - Math.clz32(rest); i >= shift; i--) if ((rest >> i) & 1) rest ^= generator << (i - shift);
  return rest;
}

/** The format: level L and the mask, twice. @param {(x: number, y: number, dark: boolean) => void} set @param {number} size @param {number} mask */
function format(set, size, mask) {
  const value = (1 << 3) | mask;
  const bits = ((value << 10) | remainder(value, 10, 0x537)) ^ 0x5412;
  for (let i = 0; i < 15; i++) {
    const dark = ((bits >> i) & 1) === 1;
    if (i < 6) set(8, i, dark);
    else if (i < 8) set(8, i + 1, dark);
    else if (i === 8) set(7, 8, dark);
    else set(14 - i, 8, dark);
    if (i < 8) set(size - 1 - i, 8, dark);
    else set(8, size - 15 + i, dark);
  }
  set(8, size - 8, true);
}

/** @type {((x: number, y: number) => boolean)[]} */
const MASKS = [
  (x, y) => (x + y) % 2 === 0, (_, y) => y % 2 === 0, (x) => x % 3 === 0, (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0, (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0, (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

/** How hard a code is to read: long runs, squares, what looks like a corner, and too much of one colour. @param {number[][]} at */
function penalty(at) {
  const size = at.length;
  const lines = [...at.map((row) => row.join('')), ...at.map((_, x) => at.map((row) => row[x]).join(''))];
  let sum = 0;
  for (const line of lines) {
    for (const run of line.match(/0{5,}|1{5,}/g) ?? []) sum += run.length - 2;
    for (const look of ['00001011101', '10111010000']) for (let i = line.indexOf(look); i >= 0; i = line.indexOf(look, i + 1)) sum += 40;
  }
  let dark = 0;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      dark += at[y][x];
      if (x && y && at[y][x] === at[y][x - 1] && at[y][x] === at[y - 1][x] && at[y][x] === at[y - 1][x - 1]) sum += 3;
    }
  }
  return sum + 10 * Math.floor(Math.abs((dark * 20) / (size * size) - 10));
}

/**
 * The code of a text as rows of 0 (light) and 1 (dark), without its quiet zone; or
 * null for a text that is too long.
 * @param {string} text @returns {number[][]|null}
 */
export function encode(text) {
  const bytes = new TextEncoder().encode(text);
  for (let version = 1; version <= CORRECTION.length; version++) {
    const fixed = frame(version);
    const total = Math.floor(fixed.flat().filter((m) => m === null).length / 8);
    const room = total - CORRECTION[version - 1] * BLOCKS[version - 1];
    const counted = version < 10 ? 8 : 16;
    if (4 + counted + 8 * bytes.length > room * 8) continue;
    return draw(fixed, codewords(bytes, counted, room, total, version));
  }
  return null;
}

/** @param {Uint8Array} bytes @param {number} counted @param {number} room @param {number} total @param {number} version */
function codewords(bytes, counted, room, total, version) {
  const bits = '0100' + bytes.length.toString(2).padStart(counted, '0') + [...bytes].map((b) => b.toString(2).padStart(8, '0')).join('');
  const ended = bits + '0'.repeat(Math.min(4, room * 8 - bits.length));
  const whole = ended.padEnd(Math.ceil(ended.length / 8) * 8, '0');
  const data = (whole.match(/.{8}/g) ?? []).map((b) => parseInt(b, 2));
  for (let i = 0; data.length < room; i++) data.push(i % 2 ? 0x11 : 0xec);

  const blocks = BLOCKS[version - 1];
  const count = CORRECTION[version - 1];
  const short = Math.floor(total / blocks) - count;
  const longer = total % blocks; // so many of the last blocks have one more
  /** @type {number[][]} */
  const parts = [];
  for (let i = 0, from = 0; i < blocks; i++) {
    const length = short + (i >= blocks - longer ? 1 : 0);
    parts.push(data.slice(from, from + length));
    from += length;
  }
  const out = [];
  for (let i = 0; i <= short; i++) for (const part of parts) if (i < part.length) out.push(part[i]);
  const checks = parts.map((part) => correction(part, count));
  for (let i = 0; i < count; i++) for (const check of checks) out.push(check[i]);
  return out;
}

/** Data goes up and down in pairs of columns from the right; the best mask wins. @param {(0|1|null)[][]} fixed @param {number[]} words */
function draw(fixed, words) {
  const size = fixed.length;
  const at = fixed.map((row) => row.map((m) => m ?? 0));
  let n = 0;
  for (let right = size - 1, up = true; right > 0; right -= 2, up = !up) {
    if (right === 6) right = 5; // the timing column
    for (let i = 0; i < size; i++) {
      const y = up ? size - 1 - i : i;
      for (const x of [right, right - 1]) {
        if (fixed[y][x] !== null) continue;
        at[y][x] = n < words.length * 8 && (words[n >> 3] >> (7 - (n & 7))) & 1 ? 1 : 0;
        n++;
      }
    }
  }
  /** @type {number[][]} */
  let best = at;
  let least = Infinity;
  for (const [mask, flips] of MASKS.entries()) {
    const tried = at.map((row, y) => row.map((m, x) => (fixed[y][x] === null && flips(x, y) ? 1 - m : m)));
    format((x, y, dark) => (tried[y][x] = dark ? 1 : 0), size, mask);
    const cost = penalty(tried);
    if (cost < least) [best, least] = [tried, cost];
  }
  return best;
}
