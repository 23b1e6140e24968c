// @ts-check
// The waiting page's steps, over the same golden JSON that the server's tests read.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CODES, start, step } from '../assets/line.js';

const golden = new URL('../../internal/wire/testdata/', import.meta.url);
/** @param {string} path */
const read = (path) => JSON.parse(readFileSync(new URL(path, golden), 'utf8'));

const NOW = 5_000;
/** @param {import('../assets/line.js').State} state @param {string} file */
const hear = (state, file) => step(state, { type: 'message', message: read(`server/${file}.json`), now: NOW });

function joining() {
  return step(start(), { type: 'opened' })[0];
}
function waiting() {
  return hear(hear(joining(), 'joined')[0], 'position')[0];
}
function turn() {
  return hear(waiting(), 'admitted')[0];
}

/** What each golden message must do to someone who waits. @type {Record<string, {phase: string, has?: object, does?: string[]}>} */
const effects = {
  joined: { phase: 'waiting', has: { place: 'PLACE', epoch: 'abcdefgh' }, does: ['keep'] },
  position: { phase: 'waiting', has: { position: 42, waiting: 1234, eta: { low_s: 60, high_s: 90 } } },
  position_first: { phase: 'waiting', has: { position: 1, waiting: 1, from: 42 } },
  position_no_eta: { phase: 'waiting', has: { position: 42, eta: null } },
  admitted: { phase: 'turn', has: { turnEnds: NOW + 120_000, turnLasts: 120_000 } },
  missed: { phase: 'over', has: { why: 'missed', place: '' }, does: ['forget'] },
  spent: { phase: 'over', has: { why: 'spent', place: '' }, does: ['forget'] },
  left: { phase: 'over', has: { why: 'left', place: '' }, does: ['forget'] },
  pass: { phase: 'inside', has: { place: 'PLACE', pass: { pass: 'PASS', ends: NOW + 600_000, url: 'https://shop.example/rooms/show/shop#pass=PASS' } } },
  drain: { phase: 'waiting', has: { draining: true, position: 42 }, does: ['connect'] },
  error_place_epoch: { phase: 'over', has: { why: 'place_other_epoch', place: '' }, does: ['forget'] },
  error_unknown_room: { phase: 'stopped', has: { why: 'unknown_room' }, does: ['close'] },
  room_open: { phase: 'waiting', has: { room: 'open', notice: '', eta: { low_s: 60, high_s: 90 } } },
  room_opening: { phase: 'waiting', has: { room: 'opening', opensAt: NOW + 90_000, eta: null } },
  room_paused_notice: { phase: 'waiting', has: { room: 'paused', notice: 'Back in <5 min> & soon', eta: null } },
  room_closed: { phase: 'waiting', has: { room: 'closed' } },
  room_sold_out: { phase: 'waiting', has: { room: 'sold_out' } },
  room_full: { phase: 'waiting', has: { room: 'full' } },
  room_stalled: { phase: 'waiting', has: { room: 'stalled', position: 42 } },
  room_recovering: { phase: 'waiting', has: { room: 'recovering', position: 42 } },
};

test('every golden message of the server does what it should', () => {
  const files = readdirSync(new URL('server/', golden)).map((f) => f.replace('.json', ''));
  assert.deepEqual(files.sort(), Object.keys(effects).sort(), 'golden files and this table');
  for (const [file, want] of Object.entries(effects)) {
    const [got, does] = hear(waiting(), file);
    assert.equal(got.phase, want.phase, file);
    for (const [key, value] of Object.entries(want.has ?? {})) {
      assert.deepEqual(/** @type {any} */ (got)[key], value, `${file}: ${key}`);
    }
    assert.deepEqual(does.map((d) => d.do), want.does ?? [], file);
  }
});

test('the page says what the golden messages of the visitor say', () => {
  const sent = (/** @type {import('../assets/line.js').Effect[]} */ does) => does.flatMap((d) => (d.do === 'send' ? [d.message] : []));
  assert.deepEqual(sent(step(start(), { type: 'opened' })[1]), [read('visitor/join.json')]);
  const kept = start({ place: 'PLACE', epoch: 'abcdefgh', from: 9 });
  assert.deepEqual(sent(step(kept, { type: 'opened' })[1]), [read('visitor/join_place.json')]);
  assert.deepEqual(sent(step(turn(), { type: 'claim' })[1]), [read('visitor/claim.json')]);
  assert.deepEqual(sent(step(waiting(), { type: 'leave' })[1]), [read('visitor/leave.json')]);
});

test('unknown messages and fields change nothing', () => {
  const before = waiting();
  for (const message of [{ type: 'from_the_future', x: [1] }, null, 7, 'text', {}]) {
    const [after, does] = step(before, { type: 'message', message, now: NOW });
    assert.deepEqual(after, before);
    assert.deepEqual(does, []);
  }
});

test('a lost connection keeps the place and comes back with full jitter, bounded', () => {
  let state = waiting();
  let bounds = [];
  for (let i = 0; i < 8; i++) {
    const [next, does] = step(state, { type: 'closed', code: 1006 });
    assert.equal(next.place, 'PLACE');
    assert.equal(next.position, 42, 'the last position stays on the page');
    assert.equal(does[0].do, 'connect');
    bounds.push(/** @type {any} */ (does[0]).within);
    state = next;
  }
  assert.deepEqual(bounds, [1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  const [opened, does] = step(state, { type: 'opened' });
  assert.deepEqual(/** @type {any} */ (does[0]).message, { type: 'join', place: 'PLACE' });
  assert.equal(hear(opened, 'position')[0].attempt, 0, 'what is heard ends the backing off');
});

test('a draining node is left at the time it named, not sooner', () => {
  const [draining, does] = hear(waiting(), 'drain');
  assert.deepEqual(does, [{ do: 'connect', least: 2500, within: 3500 }]);
  const [closed, more] = step(draining, { type: 'closed', code: 4000 });
  assert.deepEqual(more, [], 'the close sets no other time');
  assert.equal(step(closed, { type: 'opened' })[0].draining, false);
});

test('close codes from 4500 do not reconnect, those below do', () => {
  for (const code of [4500, 4501, 4503, 4999]) {
    const [got, does] = step(waiting(), { type: 'closed', code });
    assert.equal(got.phase, 'stopped', String(code));
    assert.deepEqual(does, [], String(code));
    assert.equal(got.place, 'PLACE', 'the place is kept');
  }
  assert.equal(step(waiting(), { type: 'closed', code: 4502 })[1][0].do, 'forget');
  for (const code of [1000, 1001, 1006, 4000, 4001, 4010, 4499]) {
    assert.equal(step(waiting(), { type: 'closed', code })[1][0]?.do, 'connect', String(code));
  }
});

test('only the tab that claimed goes to the shop by itself', () => {
  const [claiming] = step({ ...turn(), online: true }, { type: 'claim' });
  assert.equal(claiming.phase, 'claiming');
  assert.deepEqual(hear(claiming, 'pass')[1], [{ do: 'go', url: 'https://shop.example/rooms/show/shop#pass=PASS' }]);
  const [other, does] = hear(turn(), 'pass');
  assert.equal(other.phase, 'inside');
  assert.deepEqual(does, []);
});

test('a pass is escaped in the fragment', () => {
  const message = { type: 'pass', pass: 'a#b c', expires_ms: 1, url: '/s' };
  const [got] = step(turn(), { type: 'message', message, now: NOW });
  assert.equal(got.pass?.url, '/s#pass=a%23b%20c');
});

test('an admission lost with the line puts the visitor back into it', () => {
  const [got] = hear(turn(), 'position');
  assert.equal(got.phase, 'waiting');
  assert.equal(got.position, 42);
});

test('a claim that meets a line out of reach may be made again', () => {
  const [claiming] = step(turn(), { type: 'claim' });
  for (const code of ['stalled', 'recovering', 'internal', 'unavailable']) {
    const [got] = step(claiming, { type: 'message', message: { type: 'error', code }, now: NOW });
    assert.equal(got.phase, 'turn', code);
    assert.equal(got.said, code);
  }
});

test('after missed, left or spent only the button joins, at the tail, without a place', () => {
  for (const file of ['missed', 'left', 'spent', 'error_place_epoch']) {
    const [over] = hear(waiting(), file);
    const [closed, none] = step(over, { type: 'closed', code: 1006 });
    assert.deepEqual(none, [], 'nobody is joined again unasked');
    assert.deepEqual(step(over, { type: 'join' })[1], [{ do: 'send', message: { type: 'join' } }]);
    const [again, does] = step(closed, { type: 'join' });
    assert.deepEqual(does, [{ do: 'connect', within: 0 }]);
    assert.equal(again.place, '');
    assert.deepEqual(step(again, { type: 'opened' })[1], [{ do: 'send', message: { type: 'join' } }]);
  }
});

test('"Use this tab" comes back with the same place', () => {
  const [tabs] = step(waiting(), { type: 'message', message: { type: 'error', code: 'too_many_tabs' }, now: NOW });
  const [back] = step({ ...tabs, online: false }, { type: 'join' });
  assert.deepEqual(step(back, { type: 'opened' })[1], [{ do: 'send', message: { type: 'join', place: 'PLACE' } }]);
});

test('a refused join asks again by itself, spread out', () => {
  for (const code of ['room_full', 'stalled', 'recovering', 'unavailable']) {
    const [got, does] = step(joining(), { type: 'message', message: { type: 'error', code }, now: NOW });
    assert.equal(got.phase, 'blocked', code);
    assert.deepEqual(does, [{ do: 'later', within: 30_000 }], code);
    assert.deepEqual(step(got, { type: 'again' })[1], [{ do: 'send', message: { type: 'join' } }], code);
  }
  const [closed, none] = step(joining(), { type: 'message', message: { type: 'error', code: 'room_closed' }, now: NOW });
  assert.deepEqual(none, [], 'a closed room is not asked again');
  assert.deepEqual(hear(closed, 'room_open')[1], [{ do: 'later', within: 5000 }], 'until it opens');
});

test('a pass whose time is over is not offered any more', () => {
  const [inside] = hear(turn(), 'pass');
  assert.equal(step(inside, { type: 'tick', now: NOW + 599_999 })[0].phase, 'inside');
  const [got, does] = step(inside, { type: 'tick', now: NOW + 600_000 });
  assert.equal(got.phase, 'over');
  assert.deepEqual(does, [{ do: 'forget' }]);
});

test('the way already made survives a reload, and starts anew with a new place', () => {
  const first = step(hear(joining(), 'joined')[0], { type: 'message', message: { type: 'position', position: 900, waiting: 1000, eta: null }, now: NOW });
  const kept = /** @type {any} */ (first[1][0]);
  assert.deepEqual(kept, { do: 'keep', place: 'PLACE', epoch: 'abcdefgh', from: 900 });
  const reloaded = hear(step(start(kept), { type: 'opened' })[0], 'joined')[0];
  assert.equal(hear(reloaded, 'position')[0].from, 900);
  const anew = hear(step(hear(waiting(), 'missed')[0], { type: 'join' })[0], 'joined')[0];
  assert.equal(anew.from, 0);
});

test('every error code leaves the page in a state with a sentence', () => {
  for (const code of [...Object.keys(CODES), 'never_heard_of']) {
    for (const [name, state] of Object.entries({ joining: joining(), waiting: waiting(), turn: turn() })) {
      const [got] = step(state, { type: 'message', message: { type: 'error', code }, now: NOW });
      assert.ok(got.said || got.why || code === 'not_joined', `${code} while ${name}: nothing is said`);
    }
  }
});
