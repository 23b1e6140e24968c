// @ts-check
// The seat page's behaviour as one pure function, as line.js is for the waiting
// page: state and happening in, state out. What to ask the booker is the shell's.

/**
 * loading   the pass is being looked at
 * choosing  seats may be chosen
 * held      seats are held until `hold.ends`
 * booked    done
 * over      the pass opens nothing (more): `why`
 * @typedef {'loading'|'choosing'|'held'|'booked'|'over'} Phase
 *
 * @typedef {{id: string, seats: string[], ends: number, lasts: number, more: number}} Hold more: ms by which it may be extended
 *
 * @typedef {{
 *   phase: Phase,
 *   busy: ''|'hold'|'release'|'extend'|'confirm'|'leave',
 *   passEnds: number,
 *   most: number,
 *   seats: Map<string, string>,
 *   chosen: string[],
 *   hold: Hold|null,
 *   booking: {id: string, reference?: string, seats: string[]}|null,
 *   why: string,
 *   said: string,
 *   named: string[],
 * }} State
 */

/** What an error code of the booker means here, beside its sentence in en.json. */
export const CODES = /** @type {Record<string, {text: string, ends?: boolean}>} */ ({
  pass_missing: { text: 'error.pass_missing', ends: true },
  pass_malformed: { text: 'error.pass_bad', ends: true },
  pass_foreign: { text: 'error.pass_bad', ends: true },
  pass_expired: { text: 'error.pass_expired', ends: true },
  pass_other_room: { text: 'error.pass_other_room', ends: true },
  pass_old: { text: 'error.pass_old', ends: true },
  pass_spent: { text: 'error.pass_spent', ends: true },
  left: { text: 'error.left_shop', ends: true },
  unknown_room: { text: 'error.unknown_shop', ends: true },
  bad_room: { text: 'error.unknown_shop', ends: true },
  no_seats: { text: 'error.no_seats' },
  sold_out: { text: 'error.shop_sold_out' },
  seat_taken: { text: 'error.seat_taken' },
  seat_malformed: { text: 'error.seat_unknown' },
  seat_unknown: { text: 'error.seat_unknown' },
  seats_too_many: { text: 'error.seats_too_many' },
  seats_twice: { text: 'error.seat_unknown' },
  seats_none: { text: 'error.seats_none' },
  hold_unknown: { text: 'error.hold_ended' },
  hold_ended: { text: 'error.hold_ended' },
  hold_extended: { text: 'error.hold_extended' },
  hold_open: { text: 'error.hold_open' },
  key_in_use: { text: 'error.unavailable' },
  key_malformed: { text: 'error.unavailable' },
  key_reused: { text: 'error.unavailable' },
  keys_too_many: { text: 'error.unavailable' },
  payment_declined: { text: 'error.payment_declined' },
  clock_skew: { text: 'error.unavailable' },
  unavailable: { text: 'error.unavailable' },
  stalled: { text: 'error.unavailable' },
  pass_limit: { text: 'error.unavailable' },
  address_limit: { text: 'error.unavailable' },
  too_slow: { text: 'error.unavailable' },
  too_long: { text: 'error.request' },
  bad_request: { text: 'error.request' },
  not_found: { text: 'error.request' },
  method_not_allowed: { text: 'error.request' },
  origin: { text: 'error.request' },
  overloaded: { text: 'error.unavailable' },
  internal: { text: 'error.internal_shop' },
  offline: { text: 'error.offline' },
});

/** @returns {State} */
export function start() {
  return {
    phase: 'loading', busy: '', passEnds: 0, most: 6, seats: new Map(), chosen: [],
    hold: null, booking: null, why: '', said: '', named: [],
  };
}

/** Whether a seat may be chosen now. @param {State} state @param {string} id */
export function choosable(state, id) {
  return state.phase === 'choosing' && !state.busy && (state.seats.get(id) === 'free' || state.chosen.includes(id));
}

// More time is offered when the time becomes short, and while it is worth a press.
const MORE_FROM = 60_000;
const MORE_LEAST = 10_000;

/** Whether more time is offered for what is held. @param {State} state @param {number} now */
export function offersMore({ phase, hold }, now) {
  return phase === 'held' && hold !== null && hold.more >= MORE_LEAST && hold.ends > now && hold.ends - now <= MORE_FROM;
}

/**
 * How the map shows a seat: what is ours covers what the booker says of it.
 * @param {State} state @param {string} id @returns {'free'|'chosen'|'mine'|'booked'|'taken'}
 */
export function look(state, id) {
  if (state.booking?.seats.includes(id)) return 'booked';
  if (state.hold?.seats.includes(id)) return 'mine';
  if (state.chosen.includes(id)) return 'chosen';
  return state.seats.get(id) === 'free' ? 'free' : 'taken';
}

/**
 * @param {State} state
 * @param {{type: string, now?: number, [more: string]: any}} event
 * @returns {State}
 */
export function step(state, event) {
  const now = event.now ?? 0;
  switch (event.type) {
    case 'pass': {
      // What the booker knows of the pass: the truth after a reload or a lost answer.
      const { expires_ms, max_seats, spent, hold, booking } = event.answer;
      const next = { ...state, passEnds: now + expires_ms, most: max_seats ?? state.most, busy: /** @type {''} */ ('') };
      if (booking) return booked(next, booking);
      if (spent) return over(next, state.why === 'left' ? 'left' : 'pass_spent');
      if (expires_ms <= 0) return over(next, 'pass_expired');
      // A hold at its end is still the booker's to expire: it stays until it is gone.
      // What brought the answer about is said beside it.
      if (hold) return { ...held(next, hold, now), said: ['hold_open', 'hold_extended'].includes(state.said) ? state.said : '' };
      const lost = state.phase === 'held' ? { said: 'hold_ended', chosen: [] } : {};
      return { ...next, phase: 'choosing', hold: null, ...lost };
    }
    case 'seats': // all of them
      return shown(state, new Map(event.seats.map((/** @type {{id: string, state: string}} */ s) => [s.id, s.state])));
    case 'changed': { // some
      const seats = new Map(state.seats);
      for (const { id, state: to } of event.seats) seats.set(id, to);
      return shown(state, seats);
    }
    case 'toggle': {
      const id = event.seat;
      if (state.chosen.includes(id) && choosable(state, id)) {
        return { ...state, chosen: state.chosen.filter((c) => c !== id), said: '', named: [] };
      }
      if (state.phase !== 'choosing' || state.busy) return state;
      if (!choosable(state, id)) return { ...state, said: 'seat_taken', named: [id] };
      if (state.chosen.length >= state.most) return { ...state, said: 'seats_too_many', named: [] };
      return { ...state, chosen: [...state.chosen, id], said: '', named: [] };
    }
    case 'busy':
      return { ...state, busy: event.what, said: '', named: [] };
    case 'held':
      return held({ ...state, busy: '' }, event.hold, now);
    case 'released':
      return { ...state, busy: '', phase: 'choosing', hold: null, chosen: [], said: '', named: [] };
    case 'booked':
      return booked({ ...state, busy: '' }, event.booking);
    case 'left':
      return over(state, 'left');
    case 'problem':
      return problem({ ...state, busy: '' }, event.problem);
    case 'heard':
      return state.said === 'offline' ? { ...state, said: '' } : state;
    case 'tick':
      if (['choosing', 'held'].includes(state.phase) && !state.busy && state.passEnds <= now && !(state.hold && state.hold.ends > now)) {
        return over(state, 'pass_expired');
      }
      return state;
  }
  return state;
}

/** The map as it is now: chosen seats that others have taken are put back and named. @param {State} state @param {State['seats']} seats @returns {State} */
function shown(state, seats) {
  if (state.said === 'no_seats') state = { ...state, said: '' };
  if (state.phase !== 'choosing' || state.busy) return { ...state, seats };
  const gone = state.chosen.filter((id) => seats.get(id) !== 'free');
  if (gone.length === 0) return { ...state, seats };
  return { ...state, seats, chosen: state.chosen.filter((id) => !gone.includes(id)), said: 'seat_taken', named: gone };
}

/** @param {State} state @param {{id: string, seats: string[], left_ms: number, extend_ms?: number}} hold @param {number} now @returns {State} */
function held(state, hold, now) {
  const lasts = state.hold?.id === hold.id ? Math.max(state.hold.lasts, hold.left_ms) : hold.left_ms;
  return { ...state, phase: 'held', chosen: [], said: '', named: [], hold: { id: hold.id, seats: hold.seats, ends: now + hold.left_ms, lasts, more: hold.extend_ms ?? 0 } }; // an older booker gives none
}

/** @param {State} state @param {{id: string, seats: string[]}} booking @returns {State} */
function booked(state, booking) {
  return { ...state, phase: 'booked', booking, hold: null, chosen: [], said: '', named: [], why: '' };
}

/** @param {State} state @param {string} why @returns {State} */
function over(state, why) {
  return { ...state, phase: 'over', busy: '', why, hold: null, chosen: [], said: '', named: [] };
}

/** @param {State} state @param {{code: string, seats?: string[]}} p @returns {State} */
function problem(state, p) {
  const code = p.code in CODES ? p.code : 'internal';
  if (CODES[code].ends) return over(state, code);
  const next = { ...state, said: code, named: p.seats ?? [] };
  if (code === 'seat_taken') {
    next.seats = new Map(state.seats);
    for (const id of next.named) next.seats.set(id, 'held');
    next.chosen = state.chosen.filter((id) => !next.named.includes(id));
  }
  if (code === 'hold_extended' && state.hold) next.hold = { ...state.hold, more: 0 };
  if (code === 'hold_ended' || code === 'hold_unknown') {
    next.hold = null;
    if (state.phase === 'held') next.phase = 'choosing';
  }
  return next;
}
