// @ts-check
// The waiting page's whole behaviour as one pure function: what has happened so
// far, and one thing that happens now, give the new state and what to do. It
// knows neither the page nor the socket, so every golden message of the protocol
// is tested on it without a browser.

/**
 * Where the visitor is:
 *   joining   nothing is known yet, or a join is on its way
 *   waiting   has a place; `position` is null until the first one comes
 *   turn      admitted: may claim until `turnEnds`
 *   claiming  the claim is on its way
 *   inside    the pass is here
 *   over      the place is used up (`why`); a button joins anew
 *   blocked   the room takes nobody now (`why`); the page asks again by itself
 *   stopped   no reconnect (`why`); perhaps a button
 * @typedef {'joining'|'waiting'|'turn'|'claiming'|'inside'|'over'|'blocked'|'stopped'} Phase
 *
 * @typedef {{
 *   phase: Phase,
 *   online: boolean,
 *   draining: boolean,
 *   attempt: number,
 *   place: string,
 *   epoch: string,
 *   from: number,
 *   position: number|null,
 *   waiting: number,
 *   eta: {low_s: number, high_s: number}|null,
 *   room: string,
 *   notice: string,
 *   opensAt: number|null,
 *   turnEnds: number,
 *   turnLasts: number,
 *   why: string,
 *   said: string,
 *   claimed: boolean,
 *   pass: {pass: string, url: string, ends: number}|null,
 * }} State
 *
 * What the page's shell has to do after a step. `later` asks for an event
 * {type:'again'} after a random wait of at most `within` ms.
 * @typedef {{do: 'send', message: object}
 *   | {do: 'keep', place: string, epoch: string, from: number}
 *   | {do: 'forget'}
 *   | {do: 'later', within: number}
 *   | {do: 'connect', within: number, least?: number}
 *   | {do: 'close'}
 *   | {do: 'go', url: string}} Effect
 *
 * @typedef {{type: string, now?: number, code?: number, message?: any}} Happening
 */

/** What an error code means for the page, beside its sentence in en.json. */
export const CODES = /** @type {Record<string, {text: string, then: 'say'|'again'|'drop'|'stop'|'wait'}>} */ ({
  bad_request: { text: 'error.protocol', then: 'stop' },
  bad_message: { text: 'error.protocol', then: 'stop' },
  too_long: { text: 'error.protocol', then: 'stop' },
  unknown_type: { text: 'error.protocol', then: 'stop' },
  unsupported: { text: 'error.protocol', then: 'stop' },
  too_fast: { text: 'error.too_fast', then: 'stop' },
  no_join: { text: 'error.no_join', then: 'again' },
  not_joined: { text: 'error.not_joined', then: 'again' },
  bad_room: { text: 'error.unknown_room', then: 'stop' },
  unknown_room: { text: 'error.unknown_room', then: 'stop' },
  room_deleted: { text: 'error.room_deleted', then: 'stop' },
  room_closed: { text: 'room.closed', then: 'wait' },
  sold_out: { text: 'room.sold_out', then: 'wait' },
  room_full: { text: 'room.full', then: 'again' },
  recovering: { text: 'room.recovering', then: 'again' },
  stalled: { text: 'room.stalled', then: 'again' },
  unavailable: { text: 'room.stalled', then: 'again' },
  overloaded: { text: 'error.overloaded', then: 'say' },
  slow: { text: 'error.slow', then: 'say' },
  draining: { text: 'error.draining', then: 'say' },
  internal: { text: 'error.internal', then: 'say' },
  too_many_tabs: { text: 'error.too_many_tabs', then: 'stop' },
  origin: { text: 'error.origin', then: 'stop' },
  place_malformed: { text: 'error.place', then: 'drop' },
  place_foreign: { text: 'error.place', then: 'drop' },
  place_other_room: { text: 'error.place', then: 'drop' },
  place_other_epoch: { text: 'error.place_epoch', then: 'drop' },
  leave_in_shop: { text: 'error.leave_in_shop', then: 'say' },
});

/** Codes after which a button may bring this page back. */
export const RESUMABLE = new Set(['too_many_tabs', 'too_fast', 'bad_message', 'bad_request', 'too_long', 'unknown_type', 'unsupported']);

// Waits in ms. A room that refuses is asked again within half a minute, which
// keeps 50,000 pages below 2,000 questions a second.
const AGAIN_WITHIN = 30_000;
const BACKOFF_FIRST = 1_000;
const BACKOFF_MOST = 30_000;

/**
 * The state of a page that has just opened.
 * @param {{place: string, epoch: string, from: number}|null} [kept]
 * @returns {State}
 */
export function start(kept) {
  return {
    phase: 'joining', online: false, draining: false, attempt: 0,
    place: kept?.place ?? '', epoch: kept?.epoch ?? '', from: kept?.from ?? 0,
    position: null, waiting: 0, eta: null, room: 'open', notice: '', opensAt: null,
    turnEnds: 0, turnLasts: 0, why: '', said: '', claimed: false, pass: null,
  };
}

/**
 * One step: the new state and what to do, in order.
 * @param {State} state
 * @param {Happening} event
 * @returns {[State, Effect[]]}
 */
export function step(state, event) {
  const now = event.now ?? 0;
  switch (event.type) {
    case 'opened':
      return opened(state);
    case 'closed':
      return closed(state, event.code ?? 1006);
    case 'message':
      return received({ ...state, attempt: 0 }, event.message, now);
    case 'claim':
      if (state.phase !== 'turn' || !state.online) return [state, []];
      return [{ ...state, phase: 'claiming', claimed: true, said: '' }, [{ do: 'send', message: { type: 'claim' } }]];
    case 'leave':
      if (!state.online || !['waiting', 'turn'].includes(state.phase)) return [state, []];
      return [{ ...state, said: '' }, [{ do: 'send', message: { type: 'leave' } }]];
    case 'join':
      return joinAnew(state);
    case 'again':
      if (!state.online || !['joining', 'blocked'].includes(state.phase)) return [state, []];
      return [state, [{ do: 'send', message: hello(state) }]];
    case 'tick':
      if (state.phase === 'inside' && state.pass && state.pass.ends <= now) return drop(state, 'pass_expired');
      return [state, []];
    case 'kept':
      // Another tab of this browser has kept a place: this one follows only when
      // it has none of its own to lose.
      if (state.place || !['joining', 'blocked'].includes(state.phase)) return [state, []];
      return [{ ...state, ...event.message }, []];
  }
  return [state, []];
}

/** @param {State} state */
function hello(state) {
  return state.place ? { type: 'join', place: state.place } : { type: 'join' };
}

/** @param {State} state @returns {[State, Effect[]]} */
function opened(state) {
  const next = { ...state, online: true, draining: false };
  if (state.phase === 'over') return [next, []];
  if (state.phase === 'claiming') next.phase = 'turn';
  if (!state.place) next.phase = 'joining';
  return [next, [{ do: 'send', message: hello(next) }]];
}

/** @param {State} state @returns {[State, Effect[]]} */
function joinAnew(state) {
  const next = { ...start(null), online: state.online, room: state.room, notice: state.notice, opensAt: state.opensAt };
  if (state.phase === 'stopped') {
    // "Use this tab": the place is still good.
    next.place = state.place;
    next.epoch = state.epoch;
    next.from = state.from;
  } else if (state.phase !== 'over') {
    return [state, []];
  }
  if (state.online) return [next, [{ do: 'send', message: hello(next) }]];
  return [next, [{ do: 'connect', within: 0 }]];
}

/**
 * The connection is gone. Everything known stays on the page; the place brings
 * it back. Codes from 4500 to 4999 ask not to come back by oneself.
 * @param {State} state @param {number} code @returns {[State, Effect[]]}
 */
function closed(state, code) {
  const next = { ...state, online: false };
  if (state.phase === 'over' || state.phase === 'stopped') return [next, []];
  if (code === 4502) return drop(next, 'place_malformed');
  if (code === 4504) return [over(next, 'left'), [{ do: 'forget' }]];
  if (code >= 4500 && code <= 4999) {
    const why = { 4500: 'too_many_tabs', 4501: 'unknown_room' }[code] ?? 'bad_message';
    return [{ ...next, phase: 'stopped', why }, []];
  }
  if (state.phase === 'claiming') next.phase = 'turn';
  if (state.draining) return [next, []]; // the time to come back is set already
  next.attempt = state.attempt + 1;
  // Full jitter: any moment up to a bound that doubles.
  const within = Math.min(BACKOFF_MOST, BACKOFF_FIRST * 2 ** state.attempt);
  return [next, [{ do: 'connect', within }]];
}

/** @param {State} state @param {string} why @returns {State} */
function over(state, why) {
  return { ...state, phase: 'over', why, place: '', epoch: '', from: 0, position: null, eta: null, claimed: false, pass: null, said: '' };
}

/** @param {State} state @param {string} why @returns {[State, Effect[]]} */
function drop(state, why) {
  return [over(state, why), [{ do: 'forget' }]];
}

/**
 * One message of the server. What this page does not know it ignores.
 * @param {State} state @param {any} m @param {number} now @returns {[State, Effect[]]}
 */
function received(state, m, now) {
  switch (m?.type) {
    case 'joined': {
      const same = state.place === m.place || (state.epoch === m.epoch && state.from > 0);
      const next = { ...state, place: m.place, epoch: m.epoch, from: same ? state.from : 0, why: '', said: '' };
      if (['joining', 'blocked', 'over'].includes(state.phase)) next.phase = 'waiting';
      return [next, [{ do: 'keep', place: next.place, epoch: next.epoch, from: next.from }]];
    }
    case 'position': {
      // Also after `admitted`: an admission that the line lost puts one back.
      const from = Math.max(state.from, m.position);
      const next = { ...state, phase: /** @type {Phase} */ ('waiting'), position: m.position, waiting: m.waiting, eta: m.eta ?? null, from, claimed: false, pass: null, why: '', said: '' };
      if (['stalled', 'recovering'].includes(state.room)) next.room = 'open';
      /** @type {Effect[]} */
      const effects = from === state.from ? [] : [{ do: 'keep', place: next.place, epoch: next.epoch, from }];
      return [next, effects];
    }
    case 'admitted': {
      const ends = now + m.claim_ms;
      const lasts = state.phase === 'turn' ? Math.max(state.turnLasts, m.claim_ms) : m.claim_ms;
      return [{ ...state, phase: 'turn', turnEnds: ends, turnLasts: lasts, position: null, eta: null, why: '', said: '' }, []];
    }
    case 'pass': {
      const pass = { pass: m.pass, url: m.url + '#pass=' + encodeURIComponent(m.pass), ends: now + m.expires_ms };
      // Only the tab whose button was pressed goes by itself: a second tab, or
      // one that is opened again, shows the way instead.
      return [{ ...state, phase: 'inside', pass, claimed: false, why: '', said: '' }, state.claimed ? [{ do: 'go', url: pass.url }] : []];
    }
    case 'missed':
    case 'spent':
    case 'left':
      return drop(state, m.type);
    case 'room':
      return changed(state, m, now);
    case 'drain':
      // The node stops. It says when to come back, already spread over everyone.
      return [{ ...state, draining: true }, [{ do: 'connect', least: m.retry_ms, within: m.retry_ms + BACKOFF_FIRST }]];
    case 'error':
      return refused(state, String(m.code));
  }
  return [state, []];
}

/** @param {State} state @param {any} m @param {number} now @returns {[State, Effect[]]} */
function changed(state, m, now) {
  const next = { ...state, room: m.state, notice: m.notice ?? '', opensAt: m.opens_ms == null ? null : now + m.opens_ms };
  if (m.state !== 'open' && m.state !== 'full') next.eta = null;
  const welcome = ['open', 'opening', 'paused'].includes(m.state);
  if (state.phase === 'blocked' && welcome && state.room !== m.state) {
    // The door opened again: everyone blocked hears it at once, so ask spread out.
    return [next, [{ do: 'later', within: 5_000 }]];
  }
  return [next, []];
}

/** @param {State} state @param {string} code @returns {[State, Effect[]]} */
function refused(state, code) {
  const known = CODES[code] ?? CODES.internal;
  const asking = state.phase === 'joining' || state.phase === 'blocked';
  switch (known.then) {
    case 'drop':
      return drop(state, code);
    case 'stop':
      return [{ ...state, phase: 'stopped', why: code }, [{ do: 'close' }]];
    case 'wait':
      if (state.phase === 'inside') return [state, []];
      return [{ ...state, phase: 'blocked', why: code, room: code === 'sold_out' ? 'sold_out' : 'closed', eta: null }, []];
    case 'again':
      if (state.phase === 'claiming') return [{ ...state, phase: 'turn', said: code, claimed: false }, []];
      if (code === 'not_joined') return [{ ...state, phase: 'joining' }, [{ do: 'send', message: hello(state) }]];
      if (!asking) return [{ ...state, said: code }, []];
      return [{ ...state, phase: 'blocked', why: code, room: code === 'room_full' ? 'full' : code === 'unavailable' ? 'stalled' : code },
        [{ do: 'later', within: AGAIN_WITHIN }]];
  }
  if (state.phase === 'claiming') return [{ ...state, phase: 'turn', said: code, claimed: false }, []];
  return [{ ...state, said: code }, []];
}
