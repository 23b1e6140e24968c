// @ts-check
// The waiting page's steps, over the same golden JSON that the server's tests read.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CODES, nextDue, placeIn, start, step } from '../assets/line.js';

const golden = new URL('../../internal/wire/testdata/', import.meta.url);
/** @param {string} path */
const read = (path) => JSON.parse(readFileSync(new URL(path, golden), 'utf8'));

const NOW = 5_000;
/** @param {import('../assets/line.js').State} state @param {string} file */
const hear = (state, file) => step(state, { type: 'message', message: read(`server/${file}.json`), now: NOW });

/** A page on its connection `socket`, with the join sent. @param {import('../assets/line.js').State} [state] */
function joining(state = start()) {
  return step(step(state, { type: 'timer', now: Math.max(NOW, nextDue(state)) })[0], { type: 'opened', now: Math.max(NOW, nextDue(state)) })[0];
}
function waiting() {
  return hear(hear(joining(), 'joined')[0], 'position')[0];
}
function turn() {
  return hear(waiting(), 'admitted')[0];
}

test('a second `admitted` puts the end of the turn off, also after this page thought it over', () => {
  const [told] = step(waiting(), { type: 'message', message: { type: 'admitted', claim_ms: 5_000 }, now: NOW });
  const [late] = step(told, { type: 'timer', now: told.turnEnds });
  assert.equal(late.late, true);
  for (const state of [told, late, step(told, { type: 'claim', now: told.turnEnds - 500 })[0]]) {
    const now = told.turnEnds + 500;
    const [longer, does] = step(state, { type: 'message', message: { type: 'admitted', claim_ms: 40_000 }, now });
    assert.deepEqual([longer.phase, longer.turnEnds, longer.timers.turn, longer.late], [state.phase, now + 40_000, now + 40_000, false]);
    const again = state.phase === 'claiming' ? [{ do: 'send', message: { type: 'claim' } }] : [];
    assert.deepEqual(does, again, 'nothing new is kept; what was claimed is claimed again, the line may have lost it');
  }
});

/** What each golden message must do to someone who waits. @type {Record<string, {phase: string, has?: object, does?: string[]}>} */
const effects = {
  joined: { phase: 'waiting', has: { place: 'PLACE', epoch: 'abcdefgh' }, does: ['keep'] },
  position: { phase: 'waiting', has: { position: 42, waiting: 1234, eta: { low_s: 60, high_s: 90 } } },
  position_first: { phase: 'waiting', has: { position: 1, waiting: 1, from: 42 } },
  position_no_eta: { phase: 'waiting', has: { position: 42, eta: null } },
  admitted: { phase: 'turn', has: { turnEnds: NOW + 120_000, turnLasts: 120_000, late: false }, does: ['keep'] },
  missed: { phase: 'over', has: { why: 'missed', place: '' }, does: ['forget'] },
  spent: { phase: 'over', has: { why: 'spent', place: '' }, does: ['forget'] },
  spent_away: { phase: 'over', has: { why: 'away', place: '' }, does: ['forget'] },
  left: { phase: 'over', has: { why: 'left', place: '' }, does: ['forget'] },
  pass: { phase: 'inside', has: { place: 'PLACE', pass: { pass: 'PASS', ends: NOW + 600_000, url: 'https://shop.example/rooms/show/shop#pass=PASS' } } },
  drain: { phase: 'waiting', has: { link: 'waiting', position: 42, timers: { dial: NOW + 3000, silence: NOW + 14_000 } } },
  error_place_epoch: { phase: 'over', has: { why: 'place_other_epoch', place: '', conn: 'idle' }, does: ['forget', 'close'] },
  error_address_limit: { phase: 'waiting', has: { said: 'address_limit', place: 'PLACE' } },
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

test('positions go on while places are brought back, and the room alone says when that is over', () => {
  const [recovering] = hear(waiting(), 'room_recovering');
  const [moved] = hear(recovering, 'position_first');
  assert.equal(moved.position, 1);
  assert.equal(moved.room, 'recovering');
  assert.equal(hear(moved, 'room_open')[0].room, 'open');
  const [stalled] = hear(waiting(), 'room_stalled');
  assert.equal(hear(stalled, 'position')[0].room, 'open', 'a line that tells positions is in reach');
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

/** @param {import('../assets/line.js').State} state @param {number} code @param {number} [random] */
const close = (state, code, random) => step(state, { type: 'closed', code, now: NOW, random });

test('a lost connection keeps the place and comes back with full jitter, bounded', () => {
  let state = waiting();
  const bounds = [];
  for (let i = 0; i < 6; i++) {
    // Far from the last dial, so that only the jitter decides.
    const before = { ...state, dialedAt: -1e6 };
    state = close(before, 1006, 1)[0];
    assert.equal(state.place, 'PLACE');
    assert.equal(state.position, 42, 'the last position stays on the page');
    assert.equal(state.link, 'lost');
    bounds.push(nextDue(state) - NOW);
    assert.equal(close(before, 1006, 0)[0].conn, 'dialing', 'any moment from now on');
    state = { ...state, conn: 'dialing', socket: i + 2 };
  }
  assert.deepEqual(bounds, [4000, 8000, 16000, 30000, 30000, 30000]);
  const [opened, does] = step(state, { type: 'opened', now: NOW });
  assert.deepEqual(/** @type {any} */ (does[0]).message, { type: 'join', place: 'PLACE' });
  for (const file of ['room_open', 'room_stalled', 'position', 'error_unknown_room']) {
    assert.equal(hear(opened, file)[0].attempt, 6, `${file} says nothing about a join`);
  }
  assert.equal(hear(opened, 'joined')[0].attempt, 0, 'only a join that was answered ends the backing off');
});

test('two dials are a second apart, whatever chance says', () => {
  const state = waiting();
  assert.equal(nextDue(close(state, 1006, 0)[0]) - state.dialedAt, 1000);
  const [drained] = step(state, { type: 'message', message: { type: 'drain', retry_ms: 0 }, now: NOW, random: 0 });
  assert.equal(drained.timers.dial, state.dialedAt + 1000);
});

test('a draining node is left, and the page comes back at the time it named', () => {
  const [draining, none] = hear(waiting(), 'drain');
  assert.deepEqual(none, []);
  const [closed] = close(draining, 4000);
  assert.equal(closed.link, 'waiting');
  assert.equal(nextDue(closed), NOW + 2500 + 500, 'the close sets no other time, and takes none away');
  const [dialing, does] = step(closed, { type: 'timer', now: NOW + 3000 });
  assert.deepEqual(does, [{ do: 'open', socket: 2, place: 'PLACE' }], 'the place is in the handshake too');
  assert.equal(dialing.link, 'connecting');
});

test('close codes from 4500 do not reconnect, those below do', () => {
  for (const code of [4500, 4501, 4503, 4999]) {
    const [got, does] = close(waiting(), code);
    assert.equal(got.phase, 'stopped', String(code));
    assert.notEqual(got.why, '', String(code));
    assert.deepEqual(does, [], String(code));
    assert.equal(nextDue(got), Infinity, String(code));
    assert.equal(got.place, 'PLACE', 'the place is kept');
  }
  assert.deepEqual(close(waiting(), 4502)[1], [{ do: 'forget', place: 'PLACE' }]);
  for (const code of [1000, 1001, 1006, 4000, 4001, 4010, 4499]) {
    assert.ok(Number.isFinite(close(waiting(), code)[0].timers.dial), String(code));
  }
});

test('only the tab that claimed goes to the shop by itself', () => {
  const [claiming] = step(turn(), { type: 'claim', now: NOW });
  assert.equal(claiming.phase, 'claiming');
  assert.deepEqual(hear(claiming, 'pass')[1].at(-1), { do: 'go', url: 'https://shop.example/rooms/show/shop#pass=PASS' });
  const [other, does] = hear(turn(), 'pass');
  assert.equal(other.phase, 'inside');
  assert.deepEqual(does.map((d) => d.do), ['keep']);
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
  for (const file of ['missed', 'left', 'spent', 'spent_away', 'error_place_epoch']) {
    const [over] = hear(waiting(), file);
    assert.equal(nextDue(close(over, 1006)[0]), Infinity, `${file}: nobody is joined again unasked`);
    for (const [name, state] of Object.entries({ over, closed: close(over, 1006)[0] })) {
      let [again, does] = step(state, { type: 'join', now: NOW + 1000 });
      assert.equal(again.place, '');
      if (name === 'closed' || file === 'error_place_epoch') {
        assert.deepEqual(does, [{ do: 'open', socket: 2, place: '' }], `${file}, ${name}`);
        [again, does] = step(again, { type: 'opened', now: NOW + 1000 });
      }
      assert.deepEqual(does, [{ do: 'send', message: { type: 'join' } }], `${file}, ${name}`);
    }
  }
});

test('whoever ends while a connection is being opened joins nothing on it', () => {
  const [inside] = hear(turn(), 'pass');
  const [dialing] = step(close(inside, 1006, 0)[0], { type: 'timer', now: NOW + 1000 });
  assert.equal(dialing.conn, 'dialing');
  const [over] = step({ ...dialing, timers: { pass: NOW + 1000, connect: NOW + 9000 } }, { type: 'timer', now: NOW + 1001 });
  assert.deepEqual([over.phase, over.conn], ['over', 'dialing']);
  const [quiet, does] = step(over, { type: 'opened', now: NOW + 1500 });
  assert.deepEqual([quiet.conn, does], ['quiet', []]);
});

test('a beat is believed within its bounds, from joined and room, the last one', () => {
  for (const [beat_ms, silence] of [[6000, 14_000], [1000, 4000], [600_000, 1_202_000], [999, 45_000], [600_001, 45_000], [1500.5, 45_000], ['6000', 45_000], [null, 45_000]]) {
    for (const message of [{ type: 'joined', place: 'P', epoch: 'e', beat_ms }, { type: 'room', state: 'open', beat_ms }]) {
      const [got] = step(joining(), { type: 'message', message, now: NOW });
      assert.equal(got.timers.silence, NOW + Number(silence), `${message.type} ${beat_ms}`);
    }
  }
  const [raised] = step(waiting(), { type: 'message', message: { type: 'room', state: 'open', beat_ms: 60_000 }, now: NOW });
  assert.equal(raised.timers.silence, NOW + 122_000);
});

test('what an older connection still says is ignored', () => {
  const state = waiting();
  for (const event of [{ type: 'closed', code: 4500 }, { type: 'message', message: { type: 'missed' } }, { type: 'opened' }]) {
    assert.deepEqual(step(state, { ...event, socket: 99, now: NOW }), [state, []], event.type);
  }
});

test('a link’s fragment is a place only when it looks like one', () => {
  assert.equal(placeIn('#place=aA0._-z'), 'aA0._-z');
  assert.equal(placeIn('#place=' + 'x'.repeat(1024)).length, 1024);
  for (const no of ['', '#', '#place=', '#pass=x', '#place=a b', '#place=a%20', '#place=<b>', '#place=' + 'x'.repeat(1025)]) assert.equal(placeIn(no), '', no);
});

/** What ends each wait of the connection, as the drawing in line.js has it. @type {[string, import('../assets/line.js').Happening, string, string, string[]][]} */
const moves = [
  ['pause', { type: 'timer', now: 99_000 }, 'dialing', 'connecting', ['open']],
  ['dialing', { type: 'opened' }, 'asked', 'connecting', ['send']],
  ['dialing', { type: 'timer', now: 99_000 }, 'pause', 'lost', ['close']],
  ['dialing', { type: 'closed', code: 1006 }, 'pause', 'lost', []],
  ['dialing', { type: 'look' }, 'dialing', 'connecting', []],
  ['dialing', { type: 'look', now: NOW + 5_000 }, 'pause', 'lost', ['close']],
  ['asked', { type: 'message', message: read('server/joined.json') }, 'joined', 'live', ['keep']],
  ['asked', { type: 'message', message: { type: 'error', code: 'stalled' } }, 'refused', 'live', []],
  ['asked', { type: 'message', message: { type: 'error', code: 'sold_out' } }, 'refused', 'live', []],
  ['asked', { type: 'message', message: { type: 'error', code: 'place_foreign' } }, 'idle', 'lost', ['forget', 'close']],
  ['asked', { type: 'message', message: { type: 'error', code: 'unknown_room' } }, 'idle', 'lost', ['close']],
  ['asked', { type: 'message', message: { type: 'spent' } }, 'quiet', 'live', ['forget']],
  ['asked', { type: 'timer', now: NOW + 10_000 }, 'pause', 'lost', ['close']],
  ['asked', { type: 'closed', code: 4002 }, 'pause', 'lost', []],
  ['refused', { type: 'message', message: read('server/room_open.json') }, 'refused', 'live', []],
  ['refused', { type: 'timer', now: NOW + 10_000 }, 'asked', 'live', ['send']],
  ['refused', { type: 'closed', code: 1006 }, 'pause', 'lost', []],
  ['joined', { type: 'timer', now: NOW + 14_000 }, 'pause', 'lost', ['close']],
  ['joined', { type: 'closed', code: 1006 }, 'pause', 'lost', []],
  ['joined', { type: 'message', message: read('server/missed.json') }, 'quiet', 'live', ['forget']],
  ['joined', { type: 'message', message: { type: 'error', code: 'not_joined' } }, 'asked', 'live', ['send']],
  ['joined', { type: 'message', message: { type: 'error', code: 'sold_out' } }, 'joined', 'live', []],
  ['joined', { type: 'look', network: false }, 'joined', 'offline', []],
  ['quiet', { type: 'join' }, 'asked', 'live', ['send']],
  ['quiet', { type: 'timer', now: 99_000 }, 'idle', 'lost', ['close']],
  ['quiet', { type: 'closed', code: 1006 }, 'idle', 'lost', []],
  ['idle', { type: 'join' }, 'pause', 'lost', []],
  ['idle', { type: 'look' }, 'idle', 'lost', []],
];

test('the connection moves as it is drawn', () => {
  const quiet = hear(waiting(), 'missed')[0];
  const from = /** @type {Record<string, import('../assets/line.js').State>} */ ({
    pause: start(), dialing: step(start(), { type: 'look', now: NOW })[0], asked: joining(), refused: refuse(joining(), 'stalled')[0],
    joined: waiting(), quiet, idle: close(quiet, 1006)[0],
  });
  for (const [conn, event, to, link, does] of moves) {
    const state = from[conn];
    assert.equal(state.conn, conn);
    const [got, did] = step(state, { now: NOW, ...event });
    const where = `${conn} × ${JSON.stringify(event)}`;
    assert.deepEqual([got.conn, got.link, did.map((d) => d.do)], [to, link, does], where);
  }
});

test('"Use this tab" comes back with the same place', () => {
  const [tabs] = step(waiting(), { type: 'message', message: { type: 'error', code: 'too_many_tabs' }, now: NOW });
  assert.equal(tabs.conn, 'idle');
  const [back] = step(tabs, { type: 'join', now: NOW + 1000 });
  assert.deepEqual(step(back, { type: 'opened' })[1], [{ do: 'send', message: { type: 'join', place: 'PLACE' } }]);
});

/** @param {import('../assets/line.js').State} state @param {string} code @param {number} [random] */
const refuse = (state, code, random) => step(state, { type: 'message', message: { type: 'error', code }, now: NOW, random });

test('a refused join asks again by itself, spread out, and no faster each time', () => {
  for (const [code, bounds] of Object.entries({
    room_full: [30_000, 30_000, 30_000], stalled: [8000, 16_000, 30_000], recovering: [8000, 16_000, 30_000], unavailable: [8000, 16_000, 30_000],
  })) {
    let state = joining();
    for (const bound of bounds) {
      state = refuse(state, code, 1)[0];
      assert.equal(state.phase, 'blocked', code);
      assert.equal(state.timers.ask, NOW + bound, code);
      const heard = step(state, { type: 'message', message: { type: 'room', state: 'stalled' }, now: NOW + bound - 1 })[0];
      const [asked, does] = step(heard, { type: 'timer', now: NOW + bound });
      assert.deepEqual(does, [{ do: 'send', message: { type: 'join' } }], code);
      state = asked;
    }
  }
});

test('an address with too many people is asked for again after the time it was told, spread out', () => {
  const told = (/** @type {import('../assets/line.js').State} */ state, /** @type {any} */ retry_ms, /** @type {number} */ random) =>
    step(state, { type: 'message', message: { type: 'error', code: 'address_limit', retry_ms }, now: NOW, random })[0];
  const [refused] = hear(joining(), 'error_address_limit');
  assert.deepEqual([refused.phase, refused.why, refused.conn, refused.link], ['blocked', 'address_limit', 'refused', 'live']);
  for (const [retry, least] of [[1500, 1500], [10_000, 10_000], [10 ** 9, 60_000], [0, 0], [-1, 0], ['1500', 0], [undefined, 0]]) {
    let state = joining();
    for (const bound of [8000, 16_000, 30_000, 30_000]) {
      assert.equal(told(state, retry, 0).timers.ask, NOW + Number(least) + bound / 10, `${retry}: the soonest`);
      state = told(state, retry, 1);
      assert.equal(state.timers.ask, NOW + Number(least) + bound, `${retry}: the latest`);
      // A room that takes people says nothing of this address.
      for (const file of ['room_open', 'room_opening', 'room_paused_notice']) {
        assert.equal(hear(state, file)[0].timers.ask, state.timers.ask, file);
      }
      state = { ...state, conn: 'asked' };
    }
  }
});

test('whoever a closed or sold out room refused hears it open, and asks once, spread out', () => {
  for (const code of ['room_closed', 'sold_out']) {
    let [state] = refuse(joining(), code);
    assert.equal(state.timers.ask, undefined, 'not by its own clock');
    for (const file of ['room_closed', 'room_sold_out', 'room_full']) {
      state = hear(state, file)[0];
      assert.equal(state.timers.ask, undefined, file);
    }
    for (const file of ['room_open', 'room_opening', 'room_paused_notice']) {
      const [open] = hear(state, file);
      assert.equal(open.timers.ask, NOW + 2500, file);
      const [beat] = step(open, { type: 'message', message: { type: 'room', state: 'open' }, now: NOW + 2000, random: 0 });
      assert.deepEqual([beat.conn, beat.timers.ask], ['refused', NOW + 2500], 'the next beat draws no new lot');
      const [asked, does] = step(open, { type: 'timer', now: NOW + 2500 });
      assert.deepEqual(does, [{ do: 'send', message: { type: 'join' } }]);
      // A room that calls and refuses is asked ever more slowly.
      const [again] = step(refuse(asked, code)[0], { type: 'message', message: { type: 'room', state: 'open' }, now: NOW, random: 1 });
      assert.equal(again.timers.ask, NOW + 10_000, file);
    }
  }
});

test('a pass whose time is over is not offered any more', () => {
  const [inside] = hear(turn(), 'pass');
  assert.equal(step(inside, { type: 'tick', now: NOW + 599_999 })[0].phase, 'inside');
  const [got, does] = step(inside, { type: 'tick', now: NOW + 600_000 });
  assert.equal(got.phase, 'over');
  assert.equal(got.why, 'pass_expired');
  assert.deepEqual(does.filter((d) => d.do === 'forget'), [{ do: 'forget', place: 'PLACE' }]);
});

test('the way already made survives a reload, and starts anew with a new place', () => {
  const first = step(hear(joining(), 'joined')[0], { type: 'message', message: { type: 'position', position: 900, waiting: 1000, eta: null }, now: NOW });
  const kept = /** @type {any} */ (first[1][0]);
  assert.deepEqual(kept, { do: 'keep', place: 'PLACE', epoch: 'abcdefgh', from: 900 });
  const reloaded = hear(joining(start(kept)), 'joined')[0];
  assert.equal(hear(reloaded, 'position')[0].from, 900);
  const anew = hear(step(hear(waiting(), 'missed')[0], { type: 'join', now: NOW })[0], 'joined')[0];
  assert.equal(anew.from, 0);
});

test('every error code leaves the page in a state with a sentence', () => {
  for (const code of [...Object.keys(CODES), 'never_heard_of']) {
    for (const [name, state] of Object.entries({ joining: joining(), waiting: waiting(), turn: turn() })) {
      const [got] = step(state, { type: 'message', message: { type: 'error', code }, now: NOW });
      assert.ok(got.said || got.why || (code === 'not_joined' && got.conn === 'asked'), `${code} while ${name}: nothing is said`);
    }
  }
});
