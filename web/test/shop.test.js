// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choosable, look, offersMore, start, step } from '../assets/shop.js';

const NOW = 5_000;
const PASS = { expires_ms: 600_000, max_seats: 2, spent: false };
const SEATS = ['A-1', 'A-2', 'A-3', 'A-4'].map((id) => ({ id, state: id === 'A-4' ? 'booked' : 'free' }));

function choosing() {
  const state = step(start(), { type: 'pass', answer: PASS, now: NOW });
  return step(state, { type: 'seats', seats: SEATS, now: NOW });
}
/** @param {...string} ids */
function chosen(...ids) {
  return ids.reduce((s, seat) => step(s, { type: 'toggle', seat }), choosing());
}
function held() {
  return step(chosen('A-1'), { type: 'held', hold: { id: 'H', seats: ['A-1'], left_ms: 60_000 }, now: NOW });
}

test('a pass opens the map, a hold or the booking it came to', () => {
  assert.equal(choosing().phase, 'choosing');
  assert.equal(choosing().passEnds, NOW + 600_000);
  const resumed = step(start(), { type: 'pass', answer: { ...PASS, hold: { id: 'H', seats: ['A-1'], left_ms: 9 } }, now: NOW });
  assert.deepEqual([resumed.phase, resumed.hold?.ends], ['held', NOW + 9]);
  const done = step(start(), { type: 'pass', answer: { ...PASS, spent: true, expires_ms: 0, booking: { id: 'H', seats: ['A-1'] } }, now: NOW });
  assert.equal(done.phase, 'booked', 'a booking is shown even when the pass is spent and over');
  assert.equal(step(start(), { type: 'pass', answer: { ...PASS, spent: true }, now: NOW }).why, 'pass_spent');
  assert.equal(step(start(), { type: 'pass', answer: { ...PASS, expires_ms: 0 }, now: NOW }).why, 'pass_expired');
});

test('seats are chosen and put back, up to the most, and never taken ones', () => {
  assert.deepEqual(chosen('A-1', 'A-2').chosen, ['A-1', 'A-2']);
  assert.deepEqual(chosen('A-1', 'A-1').chosen, []);
  const much = chosen('A-1', 'A-2', 'A-3');
  assert.deepEqual([much.chosen, much.said], [['A-1', 'A-2'], 'seats_too_many']);
  const taken = chosen('A-4');
  assert.deepEqual([taken.chosen, taken.said, taken.named], [[], 'seat_taken', ['A-4']]);
  assert.equal(choosable(held(), 'A-2'), false, 'nothing is chosen while seats are held');
});

test('what changes on the map is as if all of it came', () => {
  const whole = step(chosen('A-1', 'A-2'), { type: 'seats', seats: SEATS.map((s) => (s.id === 'A-2' ? { ...s, state: 'held' } : s)) });
  const some = step(chosen('A-1', 'A-2'), { type: 'changed', seats: [{ id: 'A-2', state: 'held' }] });
  assert.deepEqual(some, whole);
  const before = choosing();
  step(before, { type: 'changed', seats: [{ id: 'A-1', state: 'held' }] });
  assert.equal(before.seats.get('A-1'), 'free', 'the state before is left as it was');
});

test('what is ours covers what the booker says of a seat', () => {
  const after = step(held(), { type: 'seats', seats: SEATS.map((s) => ({ ...s, state: 'held' })) });
  assert.deepEqual(['A-1', 'A-2'].map((id) => look(after, id)), ['mine', 'taken']);
  assert.equal(look(chosen('A-2'), 'A-2'), 'chosen');
});

test('a chosen seat that someone else took is named and put back', () => {
  const seats = SEATS.map((s) => (s.id === 'A-2' ? { ...s, state: 'held' } : s));
  const polled = step(chosen('A-1', 'A-2'), { type: 'seats', seats });
  assert.deepEqual([polled.chosen, polled.said, polled.named], [['A-1'], 'seat_taken', ['A-2']]);
  const asked = step(step(chosen('A-1', 'A-2'), { type: 'busy', what: 'hold' }), { type: 'seats', seats });
  assert.deepEqual(asked.chosen, ['A-1', 'A-2'], 'while a hold is asked for, its answer says so');
  const refused = step(chosen('A-1', 'A-2'), { type: 'problem', problem: { code: 'seat_taken', seats: ['A-1'] } });
  assert.deepEqual([refused.chosen, refused.named, look(refused, 'A-1')], [['A-2'], ['A-1'], 'taken']);
});

test('a hold that ended is explained, and the map is open again', () => {
  const ended = step(held(), { type: 'pass', answer: PASS, now: NOW });
  assert.deepEqual([ended.phase, ended.said, ended.hold], ['choosing', 'hold_ended', null]);
  const late = step(held(), { type: 'problem', problem: { code: 'hold_ended' } });
  assert.deepEqual([late.phase, late.said, late.hold], ['choosing', 'hold_ended', null]);
});

test('more time is offered in the last minute, once, where it is worth it', () => {
  const held = (/** @type {number|undefined} */ extend, left = 300_000) => step(chosen('A-1'), { type: 'held', hold: { id: 'H', seats: ['A-1'], left_ms: left, extend_ms: extend }, now: NOW });
  const offered = (/** @type {import('../assets/shop.js').State} */ state, /** @type {number} */ left) => offersMore(state, NOW + 300_000 - left);
  const state = held(120_000);
  assert.deepEqual([60_001, 60_000, 1, 0, -1].map((left) => offered(state, left)), [false, true, true, false, false]);
  for (const extend of [undefined, 0, 9_999]) assert.equal(offered(held(extend), 30_000), false, `${extend}`);
  assert.equal(offersMore(chosen('A-1'), NOW), false, 'nothing is held');
  const extended = step(step(state, { type: 'busy', what: 'extend' }), { type: 'held', hold: { id: 'H', seats: ['A-1'], left_ms: 150_000, extend_ms: 0 }, now: NOW + 270_000 });
  assert.deepEqual([extended.busy, extended.hold?.ends, extended.hold?.more], ['', NOW + 420_000, 0]);
  assert.equal(offersMore(extended, NOW + 400_000), false, 'not again');
  // Another tab was first.
  const refused = step(step(state, { type: 'busy', what: 'extend' }), { type: 'problem', problem: { code: 'hold_extended' } });
  assert.deepEqual([refused.phase, refused.said, refused.hold?.id], ['held', 'hold_extended', 'H']);
  assert.equal(offered(refused, 30_000), false);
  const told = step(refused, { type: 'pass', answer: { ...PASS, hold: { id: 'H', seats: ['A-1'], left_ms: 150_000, extend_ms: 0 } }, now: NOW });
  assert.deepEqual([told.hold?.ends, told.said], [NOW + 150_000, 'hold_extended'], 'the booker knows until when, and the sentence stays');
  assert.equal(step(told, { type: 'busy', what: 'confirm' }).said, '');
});

test('a declined payment and a lost connection leave the hold', () => {
  for (const code of ['payment_declined', 'offline', 'unavailable', 'never_heard_of']) {
    const got = step(held(), { type: 'problem', problem: { code } });
    assert.deepEqual([got.phase, got.hold?.id, got.busy], ['held', 'H', ''], code);
    assert.ok(got.said, code);
  }
});

test('a pass that is no good ends the visit with a reason', () => {
  for (const code of ['pass_missing', 'pass_malformed', 'pass_foreign', 'pass_expired', 'pass_other_room', 'pass_spent', 'unknown_room']) {
    const got = step(held(), { type: 'problem', problem: { code } });
    assert.deepEqual([got.phase, got.why], ['over', code]);
  }
  assert.equal(step(held(), { type: 'left' }).why, 'left');
});

test('the pass ends by its own time, but not under a hold that still runs', () => {
  assert.equal(step(choosing(), { type: 'tick', now: NOW + 599_999 }).phase, 'choosing');
  assert.equal(step(choosing(), { type: 'tick', now: NOW + 600_000 }).why, 'pass_expired');
  const to = step(held(), { type: 'held', hold: { id: 'H', seats: ['A-1'], left_ms: 700_000 }, now: NOW });
  assert.equal(step(to, { type: 'tick', now: NOW + 650_000 }).phase, 'held');
});

test('a room without seats says so, ends nothing, and shows them once they come', () => {
  const visit = step(start(), { type: 'pass', answer: { expires_ms: 60_000, max_seats: 6, spent: false }, now: 0 });
  const none = step(visit, { type: 'problem', problem: { code: 'no_seats' } });
  assert.equal(none.phase, 'choosing');
  assert.equal(none.said, 'no_seats');
  const some = step(none, { type: 'seats', seats: [{ id: 'A-1', state: 'free' }] });
  assert.equal(some.said, '');
  assert.ok(choosable(some, 'A-1'));
});
