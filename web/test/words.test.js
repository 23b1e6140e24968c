// @ts-check
// The table of sentences: every state × link × storage works or not × place held
// or not says something, and nothing that is not so.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CODES, start } from '../assets/line.js';
import { useTexts } from '../assets/page.js';
import { words } from '../assets/show.js';

const texts = /** @type {Record<string, string>} */ (JSON.parse(readFileSync(new URL('../lang/en.json', import.meta.url), 'utf8')));
useTexts(texts);

/** @typedef {import('../assets/show.js').State} State */

const NOW = 50_000;
const LINKS = /** @type {const} */ (['connecting', 'live', 'lost', 'offline', 'waiting']);
const ROOMS = ['open', 'opening', 'paused', 'full', 'closed', 'sold_out', 'stalled', 'recovering'];
const WAITED = ['address_limit', 'room_closed', 'sold_out', 'room_full', 'recovering', 'stalled', 'unavailable'];
const ENDED = ['missed', 'left', 'spent', 'away', 'pass_expired', 'place_malformed', 'place_foreign', 'place_other_room', 'place_other_epoch'];
const STOPPED = Object.keys(CODES).filter((code) => CODES[code].then === 'stop');

/** Every cell: its name, the state, and what is said in it. */
function* cells() {
  for (const stored of [true, false]) {
    for (const link of LINKS) {
      for (const room of ROOMS) {
        for (const s of states(room)) {
          const state = /** @type {State} */ ({ ...start(null), online: link === 'live', ...s, room, link });
          const name = `${state.phase} ${state.why} · room ${room} · ${link} · ${stored ? 'stored' : 'not stored'} · ${state.place ? 'place' : 'no place'} · position ${state.position} · ${state.turnEnds - NOW} ms left`;
          yield { name, stored, state, said: words(state, NOW, stored) };
        }
      }
    }
  }
}

/** @param {string} room @returns {Iterable<Partial<State>>} */
function* states(room) {
  yield { phase: 'joining' };
  yield { phase: 'joining', place: 'PLACE' };
  for (const position of [null, 1, 2, 4711]) {
    for (const opensAt of room === 'opening' ? [null, NOW - 1, NOW + 90_000] : [null]) {
      yield { phase: 'waiting', place: 'PLACE', position, from: position ? 5000 : 0, waiting: 12_480, opensAt };
    }
  }
  for (const turnEnds of [NOW + 60_000, NOW, NOW - 5_000]) {
    for (const phase of /** @type {const} */ (['turn', 'claiming'])) yield { phase, place: 'PLACE', turnEnds, turnLasts: 60_000 };
  }
  yield { phase: 'inside', place: 'PLACE', pass: { pass: 'PASS', url: '/s#pass=PASS', ends: NOW + 1_000 } };
  for (const why of ENDED) yield { phase: 'over', why };
  for (const why of WAITED) for (const place of ['', 'PLACE']) yield { phase: 'blocked', why, place };
  for (const why of STOPPED) for (const place of ['', 'PLACE']) yield { phase: 'stopped', why, place };
}

/** The English of all that one cell says. @param {import('../assets/show.js').Words} w */
function sentences(w) {
  return [w.link, w.heading, w.text, w.ahead, w.about, w.keep, w.next, w.said]
    .flatMap((p) => (p ? [p.count === undefined ? texts[p.key] : texts[p.key + '.other']] : []));
}

test('no cell is empty, and each of its sentences exists', () => {
  let n = 0;
  for (const { name, said } of cells()) {
    n++;
    for (const text of sentences(said)) assert.ok(text, `${name}: a sentence is missing: ${JSON.stringify(said)}`);
    for (const must of [said.link, said.heading, said.text]) assert.ok(must?.key, `${name}: got ${JSON.stringify(said)}, want a sentence`);
    if (said.part === 'line') assert.ok(said.keep, `${name}: nothing says what becomes of the place`);
  }
  assert.ok(n > 3_000, `got ${n} cells, want the whole table`);
});

test('nothing is promised to who has no place', () => {
  for (const { name, state, said } of cells()) {
    if (state.place) continue;
    const promise = sentences(said).find((text) => /your place is (kept|safe)|you keep|place lives/i.test(text) && !/kept in this browser is not valid/.test(text));
    assert.equal(promise, undefined, name);
    if (said.part === 'line') assert.equal(said.keep?.key, 'keep.none', name);
  }
});

test('no reload is promised where nothing is kept, and staying is asked for', () => {
  for (const { name, stored, state, said } of cells()) {
    if (stored) continue;
    const reload = sentences(said).find((text) => /you can reload|kept in this browser/i.test(text) && !/not valid/.test(text));
    assert.equal(reload, undefined, name);
    const holds = state.place && ['line', 'turn', 'inside'].includes(said.part);
    if (holds) assert.equal(said.keep?.key, 'keep.page', name);
  }
  assert.match(texts['keep.page'], /lives in this page.*keep the page open/i);
});

test('who is first before a door that is shut is next, but not let in', () => {
  for (const { name, state, said } of cells()) {
    if (said.part !== 'line' || state.position !== 1 || !state.place) continue;
    const shut = !['open', 'full', 'recovering'].includes(state.room);
    const ahead = texts[said.ahead?.key ?? ''];
    assert.match(ahead, /You are next/, name);
    assert.equal(/nobody is let in/i.test(ahead), shut, name);
    assert.equal(said.done === 1, !shut, `${name}: got a bar at ${said.done}`);
  }
});

test('what is sold out does not come back', () => {
  for (const { name, state, said } of cells()) {
    if (state.room !== 'sold_out' || !['joining', 'waiting', 'blocked'].includes(state.phase)) continue;
    assert.equal(said.heading.key, 'blocked.sold_out.title', name);
    for (const text of sentences({ ...said, link: said.heading })) assert.doesNotMatch(text, /come back|by itself|asking|again/i, name);
  }
});

test('a lost connection is never called live, and a number from before is called old', () => {
  for (const { name, state, said } of cells()) {
    assert.equal(said.link.key === 'link.live', state.link === 'live', name);
    if (said.part !== 'line' || state.link === 'live') continue;
    if (state.place && state.position !== null && ['lost', 'connecting'].includes(state.link)) assert.match(texts[said.about?.key ?? ''], /old one/, name);
    if (state.link === 'offline') assert.match([said.text, said.about].map((p) => texts[p?.key ?? '']).join(), /no network/, name);
  }
});

test('a turn whose time is over offers no button and does not say to go in', () => {
  for (const { name, state, said } of cells()) {
    if (said.part !== 'turn') continue;
    const over = state.turnEnds <= NOW;
    if (state.room === 'recovering' && state.link === 'live') continue; // below
    if (over && state.link !== 'live') assert.equal(said.text.key, 'turn.ended_away', name);
    if (over && state.phase === 'turn') assert.equal(said.claim, 'gone', name);
    if (!over) assert.equal(said.claim, state.phase === 'turn' && state.link === 'live' ? 'shown' : 'busy', name);
  }
});

test('a newcomer whom the line does not know yet is told so in every link, and what the page does', () => {
  for (const link of LINKS) {
    for (const room of ['stalled', 'recovering', 'full']) {
      const said = words({ ...start(null), phase: 'blocked', room, link, online: link === 'live' }, NOW, true);
      assert.equal(said.keep?.key, 'keep.none', `${room} · ${link}`);
      assert.ok(said.next, `${room} · ${link}: nothing says what the page does`);
    }
  }
});

test('a room that takes people again is not called full, closed or sold out any more', () => {
  for (const why of WAITED.filter((why) => why !== 'address_limit')) {
    for (const room of ['open', 'opening', 'paused']) {
      const said = words({ ...start(null), phase: 'blocked', why, room, link: 'live', online: true }, NOW, true);
      assert.equal(said.text.key, 'blocked.reopened', `${why}, then ${room}`);
    }
  }
});

test('whose network has too many people is told so, and what the page does, whatever an open room says', () => {
  for (const link of LINKS) {
    for (const room of ['open', 'opening', 'paused']) {
      const said = words({ ...start(null), phase: 'blocked', why: 'address_limit', room, link, online: link === 'live' }, NOW, true);
      assert.equal(said.text.key, 'error.address_limit', `${room} · ${link}`);
      assert.ok(said.next, `${room} · ${link}: nothing says what the page does`);
      assert.doesNotMatch(sentences(said).join(' '), /your fault|blocked|attack/i);
    }
  }
  assert.match(texts['error.address_limit'], /network.*by itself/);
});

test('while places are brought back everybody who has one hears that it is not lost, and keeps the number that is known', () => {
  for (const { name, state, said } of cells()) {
    if (state.room !== 'recovering' || state.link !== 'live' || !['joining', 'waiting', 'blocked'].includes(state.phase)) continue;
    const all = sentences(said).join(' ');
    if (state.place) assert.match(all, /Places are being brought back, and nobody loses theirs/, name);
    else assert.match(all, /Places are being brought back; you get one as soon as that is done/, name);
    if (state.phase === 'waiting' && state.position !== null) {
      assert.equal(said.text.key, 'line.of', name);
      assert.doesNotMatch(texts[said.ahead?.key ?? ''] ?? '', /nobody is let in/i, `${name}: those before the loss are let in`);
    }
    assert.doesNotMatch(all, /join again|at the end|tail|line is full|closed/i, name);
    const twice = sentences(said).filter((text, i, list) => list.indexOf(text) !== i);
    assert.deepEqual(twice, [], `${name}: said twice`);
  }
});

test('a refused return does not say once more what the room says', () => {
  const s = /** @type {State} */ ({ ...start(null), phase: 'waiting', place: 'PLACE', position: 7, waiting: 9, said: 'recovering', room: 'recovering', link: 'live' });
  assert.equal(words(s, NOW, true).said, null);
  assert.equal(words({ ...s, room: 'open' }, NOW, true).said?.key, 'room.recovering');
  const turn = { ...s, phase: /** @type {const} */ ('turn'), turnEnds: NOW + 1_000 };
  assert.equal(words(turn, NOW, true).said, null);
  assert.equal(words({ ...turn, said: 'no_answer' }, NOW, true).said?.key, 'error.internal');
});

test('a turn is not called over by the clock of a page while places are brought back', () => {
  for (const { name, state, said } of cells()) {
    if (state.room !== 'recovering' || state.link !== 'live' || said.part !== 'turn') continue;
    assert.equal(said.heading.key, 'turn.title', name);
    assert.equal(said.text.key, state.turnEnds <= NOW ? 'turn.recovering_over' : 'turn.recovering', name);
    assert.equal(said.claim, state.phase === 'turn' ? 'shown' : 'busy', name);
  }
});
