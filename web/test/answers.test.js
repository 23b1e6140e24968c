// @ts-check
// What the booker answers, out of the files that its own tests write: the page takes
// every success in, and has a sentence for every problem.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Booker, Refused } from '../assets/booker.js';
import { CODES, start, step } from '../assets/shop.js';

const folder = new URL('../../internal/shop/testdata/answers/', import.meta.url);
const texts = JSON.parse(readFileSync(new URL('../lang/en.json', import.meta.url), 'utf8'));
const NOW = 5_000;

/** @typedef {{method: string, path: string, send?: any, status: number, header: Record<string, string>, body?: any}} Golden */

const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
/** @type {[string, Golden][]} */
const all = files.map((name) => [name.replace('.json', ''), JSON.parse(readFileSync(new URL(name, folder), 'utf8'))]);

/** The page's own call that this is the answer to, if it makes one. @param {Booker} booker @param {Golden} golden */
function call(booker, { method, path, send }) {
  const [, , , what, id, act] = path.split('/');
  switch ([method, what, act].join(' ').trim()) {
    case 'GET pass': return () => booker.pass();
    case 'DELETE pass': return () => booker.leave();
    case 'POST holds': return () => booker.hold(send.seats ?? []);
    case 'DELETE holds': return () => booker.release(id);
    case 'POST holds extend': return () => booker.extend(id);
    case 'POST holds confirm': return () => booker.confirm(id);
  }
  return null;
}

/** @param {Golden} golden @param {() => Promise<void>} told */
async function answering(golden, told) {
  const fetched = globalThis.fetch;
  globalThis.fetch = async (url, init) => {
    assert.equal(init?.method, golden.method);
    assert.equal(url, golden.path);
    assert.match(String(/** @type {any} */ (init?.headers).Authorization), /^Bearer /);
    if (golden.status < 300 && golden.send) assert.deepEqual(JSON.parse(String(init?.body)), golden.send);
    return new Response(golden.body ? JSON.stringify(golden.body) : null, { status: golden.status, headers: golden.header });
  };
  try {
    await told();
  } finally {
    globalThis.fetch = fetched;
  }
}

test('every answer of the booker is one that the page reads', async () => {
  let read = 0;
  for (const [name, golden] of all) {
    const ask = call(new Booker(golden.path.split('/').slice(0, 3).join('/'), 'PASS'), golden);
    if (!ask) continue;
    read++;
    await answering(golden, async () => {
      if (golden.status < 300) {
        const got = await ask();
        if (golden.body) assert.deepEqual(got, golden.body, name);
        return;
      }
      await assert.rejects(ask, (error) => {
        assert.ok(error instanceof Refused, name);
        assert.deepEqual(error.problem, golden.body, name);
        return true;
      });
    });
  }
  assert.ok(read > 30, `${read} read`);
});

test('every success shows what it says', () => {
  const answers = Object.fromEntries(all.map(([name, golden]) => [name, golden.body]));
  /** @param {any} event */
  const after = (event) => step(start(), { ...event, now: NOW });
  const seats = ['A-1', 'A-2'];
  assert.equal(after({ type: 'pass', answer: answers.pass }).phase, 'choosing');
  for (const state of [after({ type: 'pass', answer: answers.pass_held }), after({ type: 'held', hold: answers.held }), after({ type: 'held', hold: answers.held_repeated })]) {
    assert.deepEqual([state.phase, state.hold?.seats, state.hold?.ends], ['held', seats, NOW + 300_000]);
  }
  for (const answer of [{ type: 'pass', answer: answers.pass_held }, { type: 'held', hold: answers.held }, { type: 'held', hold: answers.held_repeated }]) {
    assert.equal(after(answer).hold?.more, 120_000);
  }
  const more = after({ type: 'held', hold: answers.extended }).hold;
  assert.deepEqual([more?.ends, more?.more], [NOW + 420_000, 0]);
  for (const state of [after({ type: 'pass', answer: answers.pass_booked }), after({ type: 'booked', booking: answers.confirmed })]) {
    assert.deepEqual([state.phase, state.booking?.seats], ['booked', seats]);
  }
  assert.deepEqual([after({ type: 'pass', answer: answers.pass_left }).why], ['pass_spent']);
});

test('every problem has a sentence, and ends the visit where nothing more can be done', () => {
  for (const [name, golden] of all.filter(([name]) => name.startsWith('problem_'))) {
    const { code } = golden.body;
    assert.ok(code in CODES, `${name}: no row for ${code}`);
    assert.ok(CODES[code].text in texts, `${name}: no sentence ${CODES[code].text}`);
    const state = step({ ...start(), phase: 'choosing' }, { type: 'problem', problem: golden.body, now: NOW });
    assert.equal(state.phase === 'over', CODES[code].ends === true, name);
    assert.equal(state.phase === 'over' ? state.why : state.said, code, name);
    if (golden.body.seats) assert.deepEqual(state.named, golden.body.seats, name);
  }
});
