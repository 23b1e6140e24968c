// @ts-check
// The waiting page's whole behaviour as one pure function: what has happened so
// far, and one thing that happens now, give the new state and what to do. It
// knows neither the page nor the socket nor a clock: time and chance come with
// every event and timers are data in the state, so that every golden message of
// the protocol, and hours of a bad network, are tested on it without a browser.
//
// The connection (`conn`), and what ends each wait in it:
//
//              dial due             opened              joined
//     pause ───────────► dialing ───────────► asked ─────────────► joined
//       ▲                   │                 │   ▲                   │
//       │                   │    refused: told│   │ask due: own timer,│
//       │                   │   and stays here▼   │or the room is open│
//       │                   │                refused                 │
//       │                   │ connect 10 s    │ answer 10 s           │
//       │                   │ closed < 4500   │ silence, closed < 4500│
//       └───────────────────┴───── lost ──────┴───────────────────────┘
//
//     any open one ── missed, spent, left ──► quiet ── the button ──► asked
//     any ── closed ≥ 4500, an end that was told ──► idle ── the button ──► pause
//     quiet ── lost ──► idle
//
// Only `joined` calms the backing off. No state but idle is without a timer that
// ends it, and idle only goes with the phases over and stopped, which say why.

/**
 * Where the visitor is:
 *   joining   nothing is known yet, or a join is on its way
 *   waiting   has a place; `position` is null until the first one comes
 *   turn      admitted: may claim until `turnEnds`
 *   claiming  claimed: the answer is on its way, or the connection is and the
 *             claim follows it
 *   inside    the pass is here
 *   over      the place is used up (`why`); a button joins anew
 *   blocked   the room takes nobody now (`why`); the page asks again by itself
 *   stopped   no reconnect (`why`); perhaps a button
 * @typedef {'joining'|'waiting'|'turn'|'claiming'|'inside'|'over'|'blocked'|'stopped'} Phase
 *
 * How the connection looks to a person:
 *   connecting  the first one, or a new one, is under way and nobody has answered
 *               a join on it
 *   live        open, answered, and heard within the limit
 *   lost        gone, and coming back by itself at a time that is set (in over and
 *               stopped: gone, and not wanted)
 *   offline     the browser says that there is no network, and nothing was heard
 *               since
 *   waiting     the server stops and named the time to come back
 * @typedef {'connecting'|'live'|'lost'|'offline'|'waiting'} Link
 *
 * @typedef {'idle'|'pause'|'dialing'|'asked'|'refused'|'joined'|'quiet'} Conn
 *
 * dial: open a socket. connect: opening it took too long. answer: the join was
 * not answered. silence: nothing was heard. ask: join again after a refusal.
 * rush: no frame since the claim. claim: no answer to the claim. turn, pass: its
 * time is over.
 * @typedef {'dial'|'connect'|'answer'|'silence'|'ask'|'rush'|'claim'|'turn'|'pass'} Timer
 *
 * A place as a browser keeps it. `turned`: its turn was told, and no pass since.
 * @typedef {{place: string, epoch: string, from: number, turned?: boolean}} Place
 *
 * The page shows the first group; the second is the machine's own.
 * @typedef {{
 *   phase: Phase,
 *   online: boolean,
 *   link: Link,
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
 *   late: boolean,
 *   why: string,
 *   said: string,
 *   claimed: boolean,
 *   pass: {pass: string, url: string, ends: number}|null,
 *   conn: Conn,
 *   socket: number,
 *   dials: number,
 *   dialedAt: number,
 *   attempt: number,
 *   draining: boolean,
 *   offline: boolean,
 *   heardAt: number,
 *   beat: number,
 *   doubted: boolean,
 *   answered: boolean,
 *   refusal: string,
 *   asks: number,
 *   welcomed: boolean,
 *   eager: number,
 *   turned: boolean,
 *   claimSent: boolean,
 *   claimAt: number,
 *   rushed: boolean,
 *   spare: Place|null,
 *   timers: Partial<Record<Timer, number>>,
 * }} State
 *
 * `late`: the time of the turn is over by this page's clock and no word has come:
 * the server's word decides, so a page says that it is checking.
 * `socket`: the id of the connection under way, 0 for none; what an older one
 * still says is ignored. `dials` counts them.
 * `beat`: the longest silence, in ms, that the server allowed itself last.
 * `spare`: this browser's own place, while one that came by a link is unproven.
 *
 * What the page's shell has to do after a step, in order. After it, it sets its
 * one timer to `nextDue(state)` and then tells {type: 'timer'}.
 * @typedef {{do: 'open', socket: number, place: string}
 *   | {do: 'send', message: object}
 *   | {do: 'close'}
 *   | {do: 'keep', place: string, epoch: string, from: number, turned?: boolean, spare?: Place}
 *   | {do: 'forget', place: string}
 *   | {do: 'go', url: string}} Effect
 *
 * opened, message, closed: of a socket. claim, leave, join: a button. place: one
 * came by a link. kept: another tab keeps one. timer, tick: time has passed. look:
 * the page is shown again or the network changed (`network`: what the browser
 * says; `back`: out of the browser's cache, where no socket lives).
 * Each brings `now` in ms of a clock that never goes back, `random` in [0,1), and
 * `slept`: how much time that clock missed while the machine was asleep.
 * @typedef {{type: string, now?: number, random?: number, slept?: number, socket?: number,
 *   code?: number, message?: any, place?: string, network?: boolean, back?: boolean}} Happening
 */

/**
 * What an error code means for the page, beside its sentence in en.json: the
 * place is worth nothing (drop), nothing more can come of this page (stop), the
 * room takes nobody until it says otherwise (wait), ask again (again, say).
 */
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
  address_limit: { text: 'error.address_limit', then: 'again' },
  place_limit: { text: 'error.too_fast', then: 'again' },
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
  // Never on the wire: the page's own word for a claim that nobody answered.
  no_answer: { text: 'error.internal', then: 'say' },
});

/** Codes after which a button may bring this page back. */
export const RESUMABLE = new Set(['too_many_tabs', 'too_fast', 'bad_message', 'bad_request', 'too_long', 'unknown_type', 'unsupported']);

// All in ms.

// A lost connection comes back at any moment up to a bound that doubles: the
// first is wide enough that 50,000 pages of one lost node are 12,500 a second.
const BACKOFF_FIRST = 4_000;
const BACKOFF_MOST = 30_000;
// No two dials are closer than this, whatever happens.
const DIAL_GAP = 1_000;
// Somebody looks at the page, or claims: back at once, with little jitter, but
// not faster than this after the last dial.
const SOON_WITHIN = 500;
const SOON_GAP = 5_000;
// A browser that says it is offline is mostly right: it is asked that seldom.
const OFFLINE_AGAIN = 30_000;
// A drain or a refusal that names no time, or a foolish one, is bounded.
const RETRY_MOST = 60_000;
const RETRY_SPREAD = 1_000;

// How long one step of the handshake may take.
const CONNECT_WITHIN = 10_000;
const ANSWER_WITHIN = 10_000;
// Lost after two beats and this without a frame; one beat and this, when there is
// a reason to doubt.
const BEAT_SLACK = 2_000;
// A server that names no beat: lost after 45 s.
const BEAT_UNKNOWN = 21_500;
const BEAT_LEAST = 1_000;
const BEAT_MOST = 600_000;

// A refused page asks again by its own clock, at any moment up to a bound that
// doubles; a full room at most twice a minute from the start.
const ASK_FIRST = 8_000;
const ASK_MOST = 30_000;
// A room that opens again is heard by everybody at once: so long they spread.
const WELCOME_WITHIN = 5_000;
const WELCOME_FULL_WITHIN = 30_000;

// A claim without any frame behind it this long is on a dead connection.
const RUSH_AFTER = 3_000;
// A claim without an answer: the button is given back.
const CLAIM_WITHIN = 10_000;

// The server's clock may call a turn over this much sooner than ours.
const LAPSE_SLACK = 2_000;

// The longest turn or pass that is believed: a day.
const LONGEST = 86_400_000;

/** Connections that are open. @type {ReadonlySet<Conn>} */
const OPEN = new Set(/** @type {Conn[]} */ (['asked', 'refused', 'joined', 'quiet']));

/**
 * The state of a page that has just opened. Its first event dials.
 * @param {(Place & {spare?: Place})|null} [kept]
 * @returns {State}
 */
export function start(kept) {
  return {
    phase: 'joining', online: false, link: 'connecting',
    place: kept?.place ?? '', epoch: kept?.epoch ?? '', from: kept?.from ?? 0,
    position: null, waiting: 0, eta: null, room: 'open', notice: '', opensAt: null,
    turnEnds: 0, turnLasts: 0, late: false, why: '', said: '', claimed: false, pass: null,
    conn: 'pause', socket: 0, dials: 0, dialedAt: -LONGEST, attempt: 0, draining: false, offline: false,
    heardAt: 0, beat: BEAT_UNKNOWN, doubted: false, answered: false,
    refusal: '', asks: 0, welcomed: false, eager: 0,
    turned: kept?.turned ?? false, claimSent: false, claimAt: 0, rushed: false,
    spare: kept?.spare ?? null, timers: { dial: 0 },
  };
}

/** The place in a link's fragment, or ''. @param {string} hash */
export function placeIn(hash) {
  return /^#place=([A-Za-z0-9._-]{1,1024})$/.exec(hash)?.[1] ?? '';
}

/** When the shell's timer is due; Infinity: not at all. @param {State} state */
export function nextDue(state) {
  return Math.min(...Object.values(state.timers), Infinity);
}

/**
 * One step: the new state and what to do, in order.
 * @param {State} state
 * @param {Happening} event
 * @returns {[State, Effect[]]}
 */
export function step(state, event) {
  const s = { ...state, timers: { ...state.timers } };
  const c = new Context(event);
  if (event.slept) wake(s, event.slept);
  // A timer says when it is due and not that it is: a phone freezes them. What a
  // socket says goes first, since it may have waited as long as the timers.
  if (!SOCKET.has(event.type)) due(s, c);
  else if (event.socket !== undefined && event.socket !== s.socket) event = { type: 'late' };
  happen(s, event, c);
  due(s, c);
  s.online = OPEN.has(s.conn);
  s.link = linkOf(s);
  return [s, c.does];
}

const SOCKET = new Set(['opened', 'message', 'closed']);

/** What one step needs beside the state, which its functions change in place. */
class Context {
  /** @type {Effect[]} */ does = [];
  /** @param {Happening} event */
  constructor(event) {
    this.now = event.now ?? 0;
    this.random = event.random ?? 0.5;
  }
}

/** @param {State} s @param {Happening} event @param {Context} c */
function happen(s, event, c) {
  switch (event.type) {
    case 'opened': return opened(s, c);
    case 'closed': return closed(s, event.code ?? 1006, c);
    case 'message':
      heard(s, event.message, c);
      return received(s, event.message, c);
    case 'look': return look(s, event, c);
    case 'claim': return claim(s, c);
    case 'leave':
      if (s.conn !== 'joined' || !['waiting', 'turn'].includes(s.phase)) return;
      s.said = '';
      c.does.push({ do: 'send', message: { type: 'leave' } });
      return;
    case 'join': return joinAnew(s, c);
    case 'place': return moved(s, event.place ?? '', c);
    case 'kept':
      // Another tab of this browser has kept a place: this one follows only when
      // it has none of its own to lose.
      if (!s.place && ['joining', 'blocked'].includes(s.phase)) Object.assign(s, event.message);
  }
}

/** @param {State} s @returns {Link} */
function linkOf(s) {
  if (s.offline) return 'offline';
  if (s.draining) return 'waiting';
  if (s.conn === 'dialing' || (s.conn === 'asked' && !s.answered)) return 'connecting';
  if (OPEN.has(s.conn)) return 'live';
  return s.dials === 0 ? 'connecting' : 'lost';
}

// ---- Timers.

/** @param {State} s @param {Timer[]} names */
function clear(s, ...names) {
  for (const name of names) delete s.timers[name];
}

/** The clock stood still for so long: everything is that much nearer. @param {State} s @param {number} ms */
function wake(s, ms) {
  for (const name of /** @type {Timer[]} */ (Object.keys(s.timers))) s.timers[name] = (s.timers[name] ?? 0) - ms;
  s.heardAt -= ms;
  s.dialedAt -= ms;
  s.claimAt -= ms;
  if (s.turnEnds > 0) s.turnEnds -= ms;
  if (s.opensAt !== null) s.opensAt -= ms;
  if (s.pass) s.pass = { ...s.pass, ends: s.pass.ends - ms };
}

/** Everything whose time has come, in order. @param {State} s @param {Context} c */
function due(s, c) {
  for (;;) {
    const all = /** @type {[Timer, number][]} */ (Object.entries(s.timers));
    const [name, at] = all.reduce((a, b) => (b[1] < a[1] ? b : a), ['dial', Infinity]);
    if (!(at <= c.now)) return;
    clear(s, name);
    fire(s, name, c);
  }
}

/** Each either ends or sets itself later than now, so `due` ends too. @param {State} s @param {Timer} name @param {Context} c */
function fire(s, name, c) {
  switch (name) {
    case 'dial': return dial(s, c);
    case 'connect':
    case 'answer': return lost(s, c);
    case 'silence': return lost(s, c, s.doubted);
    case 'ask': return ask(s, c);
    case 'rush':
      if (s.heardAt > s.claimAt || s.rushed) return;
      s.rushed = true;
      return lost(s, c, true);
    case 'claim':
      // Frames come, and none of them answers. `claimed` stays: a late pass may
      // still take this tab along.
      s.phase = 'turn';
      s.said = 'no_answer';
      return;
    case 'turn':
      s.late = true;
      return doubt(s, c);
    case 'pass': return over(s, 'pass_expired', c);
  }
}

// ---- The connection.

/** @param {State} s @param {Context} c */
function dial(s, c) {
  if (s.socket) c.does.push({ do: 'close' });
  s.conn = 'dialing';
  s.socket = s.dials = s.dials + 1;
  s.dialedAt = c.now;
  s.draining = s.doubted = s.answered = s.claimSent = s.welcomed = false;
  s.beat = BEAT_UNKNOWN;
  clear(s, 'dial', 'answer', 'silence', 'ask', 'rush', 'claim');
  s.timers.connect = c.now + CONNECT_WITHIN;
  c.does.push({ do: 'open', socket: s.socket, place: s.place });
}

/** @param {State} s @param {Context} c */
function opened(s, c) {
  clear(s, 'dial', 'connect');
  heard(s, null, c);
  if (s.phase === 'over' || s.phase === 'stopped') s.conn = 'quiet';
  else ask(s, c);
}

/** Sends the join: with the place, if there is one. @param {State} s @param {Context} c */
function ask(s, c) {
  s.conn = 'asked';
  clear(s, 'ask');
  s.timers.answer = c.now + ANSWER_WITHIN;
  c.does.push({ do: 'send', message: s.place ? { type: 'join', place: s.place } : { type: 'join' } });
}

/** Any frame is a sign of life, of the network too. @param {State} s @param {any} m @param {Context} c */
function heard(s, m, c) {
  if ((m?.type === 'joined' || m?.type === 'room') && Number.isInteger(m.beat_ms) && m.beat_ms >= BEAT_LEAST && m.beat_ms <= BEAT_MOST) s.beat = m.beat_ms;
  s.heardAt = c.now;
  s.doubted = s.offline = false;
  s.timers.silence = c.now + 2 * s.beat + BEAT_SLACK;
}

/**
 * The connection is gone. Everything known stays on the page; the place brings it
 * back, and a claim that was not answered is made again.
 * @param {State} s @param {Context} c @param {boolean} [soon]
 */
function lost(s, c, soon = false) {
  if (s.socket) c.does.push({ do: 'close' });
  s.socket = 0;
  clear(s, 'connect', 'answer', 'silence', 'ask', 'rush', 'claim');
  if (s.phase === 'over' || s.phase === 'stopped') return rest(s);
  s.conn = 'pause';
  const within = Math.min(BACKOFF_MOST, BACKOFF_FIRST * 2 ** s.attempt);
  s.attempt = Math.min(s.attempt + 1, 10); // far beyond the ceiling
  if (s.draining && s.timers.dial !== undefined) return; // the time to come back is set already
  s.timers.dial = s.offline ? seldom(c) : soon ? atOnce(s, c) : Math.max(c.now + c.random * within, s.dialedAt + DIAL_GAP);
}

/** @param {Context} c */
function seldom(c) {
  return c.now + OFFLINE_AGAIN * (0.5 + 0.5 * c.random);
}

/** @param {State} s @param {Context} c */
function atOnce(s, c) {
  return Math.max(c.now + c.random * SOON_WITHIN, s.dialedAt + SOON_GAP);
}

/** Nothing is wanted of the server any more. @param {State} s */
function rest(s) {
  s.conn = 'idle';
  s.socket = 0;
  s.draining = false;
  s.timers = {};
}

/** A waiting dial comes sooner, unless the server or the browser said when. @param {State} s @param {Context} c */
function hasten(s, c) {
  if (s.conn !== 'pause' || s.draining || s.offline) return;
  s.timers.dial = Math.min(s.timers.dial ?? Infinity, atOnce(s, c));
}

/** There is a reason to believe the silence sooner. @param {State} s @param {Context} c */
function doubt(s, c) {
  if (!OPEN.has(s.conn)) return;
  const limit = s.heardAt + s.beat + BEAT_SLACK;
  if (limit <= c.now) return lost(s, c, true);
  s.doubted = true;
  s.timers.silence = Math.min(s.timers.silence ?? Infinity, limit);
}

/** @param {State} s @param {Happening} event @param {Context} c */
function look(s, event, c) {
  const before = s.offline;
  s.offline = event.network === false;
  if (s.offline && !before) {
    s.draining = false;
    if (s.conn === 'pause') s.timers.dial = seldom(c);
    else clear(s, 'dial');
  }
  if (event.back && s.socket) return lost(s, c, true);
  // A dial of before is on its way into the old network, or to nowhere.
  if (s.conn === 'dialing' && ((before && !s.offline) || s.dialedAt + SOON_GAP <= c.now)) return lost(s, c, true);
  hasten(s, c);
  doubt(s, c);
}

/** Codes from 4500 to 4999 ask not to come back by oneself. @param {State} s @param {number} code @param {Context} c */
function closed(s, code, c) {
  s.socket = 0; // it is closed already
  if (s.phase === 'over' || s.phase === 'stopped') return lost(s, c);
  if (code === 4502) return drop(s, 'place_malformed', c);
  if (code === 4504) return over(s, 'left', c);
  if (code >= 4500 && code <= 4999) return stop(s, { 4500: 'too_many_tabs', 4501: 'unknown_room' }[code] ?? 'bad_message', c);
  lost(s, c);
}

// ---- The buttons, and places from elsewhere.

/** @param {State} s @param {Context} c */
function claim(s, c) {
  if (s.phase !== 'turn') return;
  s.phase = 'claiming';
  s.claimed = true;
  s.rushed = false;
  s.said = '';
  // Without a connection that knows us the claim waits for `admitted` on the next.
  if (s.conn === 'joined') return sendClaim(s, c);
  if (s.conn === 'refused') s.timers.ask = Math.min(s.timers.ask ?? Infinity, c.now + c.random * SOON_WITHIN);
  hasten(s, c);
}

/** @param {State} s @param {Context} c */
function sendClaim(s, c) {
  s.claimSent = true;
  s.claimAt = c.now;
  if (!s.rushed) s.timers.rush = c.now + RUSH_AFTER;
  s.timers.claim = c.now + CLAIM_WITHIN;
  c.does.push({ do: 'send', message: { type: 'claim' } });
}

/** Everything of the last place is forgotten, but not the connection and the room. @param {State} s */
function blank(s) {
  Object.assign(s, {
    phase: 'joining', place: '', epoch: '', from: 0, position: null, eta: null, turnEnds: 0, turnLasts: 0, late: false,
    why: '', said: '', claimed: false, pass: null, turned: false, claimSent: false, rushed: false, spare: null,
  });
  clear(s, 'turn', 'pass', 'rush', 'claim');
}

/** @param {State} s @param {Context} c */
function joinAnew(s, c) {
  if (s.phase !== 'over' && s.phase !== 'stopped') return;
  const { place, epoch, from, turned, spare } = s;
  const again = s.phase === 'stopped';
  blank(s);
  // "Use this tab": the place is still good.
  if (again) Object.assign(s, { place, epoch, from, turned, spare });
  if (s.conn === 'quiet' && c.now < s.heardAt + s.beat + BEAT_SLACK) return ask(s, c);
  if (s.conn === 'dialing') return;
  s.conn = 'pause';
  s.timers.dial = Math.max(c.now, s.dialedAt + DIAL_GAP);
}

/** A link brought a place of another device. @param {State} s @param {string} place @param {Context} c */
function moved(s, place, c) {
  if (!place || place === s.place) return;
  const own = s.spare ?? (s.place ? { place: s.place, epoch: s.epoch, from: s.from } : null);
  blank(s);
  s.place = place;
  s.spare = own;
  keep(s, c);
  renew(s, c);
}

/** The place has changed: a new connection shows it. @param {State} s @param {Context} c */
function renew(s, c) {
  if (OPEN.has(s.conn)) return lost(s, c, true);
  if (s.conn === 'idle') {
    s.conn = 'pause';
    s.timers.dial = atOnce(s, c);
  }
  hasten(s, c);
}

/** @param {State} s @param {Context} c */
function keep(s, c) {
  c.does.push({
    do: 'keep', place: s.place, epoch: s.epoch, from: s.from, ...(s.turned && { turned: true }), ...(s.spare && { spare: s.spare }),
  });
}

// ---- Ends.

/** @param {State} s @param {string} why @param {Context} c */
function over(s, why, c) {
  c.does.push({ do: 'forget', place: s.place });
  blank(s);
  s.phase = 'over';
  s.why = why;
  clear(s, 'dial', 'answer', 'ask');
  s.draining = false;
  if (OPEN.has(s.conn) && s.socket) s.conn = 'quiet';
  else if (s.conn !== 'dialing') rest(s);
}

/**
 * The server says that the place is worth nothing (any more). Whose turn was told
 * and went by has missed it, however late the word for it comes; who came with an
 * unproven place of a link still has an own one.
 * @param {State} s @param {string} why @param {Context} c
 */
function ended(s, why, c) {
  const own = s.spare;
  if (own) {
    blank(s);
    Object.assign(s, { turned: false }, own);
    keep(s, c);
    if (s.socket) return renew(s, c);
    return lost(s, c, true);
  }
  const lapsed = s.turned && (s.turnEnds === 0 || s.turnEnds - LAPSE_SLACK <= c.now);
  over(s, lapsed && why !== 'left' && why !== 'away' ? 'missed' : why, c);
}

/** The place is refused, and the server closes behind it. @param {State} s @param {string} why @param {Context} c */
function drop(s, why, c) {
  ended(s, why, c);
  if (s.phase !== 'over') return;
  if (s.socket) c.does.push({ do: 'close' });
  rest(s);
}

/** @param {State} s @param {string} why @param {Context} c */
function stop(s, why, c) {
  s.phase = 'stopped';
  s.why = why;
  s.claimed = false;
  if (s.socket) c.does.push({ do: 'close' });
  rest(s);
}

// ---- What the server says.

/** A duration of the wire. @param {any} v @param {number} most */
function ms(v, most) {
  return typeof v === 'number' && v > 0 ? Math.min(v, most) : 0;
}

/** One message of the server. What this page does not know it ignores. @param {State} s @param {any} m @param {Context} c */
function received(s, m, c) {
  switch (m?.type) {
    case 'joined': {
      const same = s.place === m.place || (s.epoch === m.epoch && s.from > 0);
      if (!same) s.from = 0;
      s.place = m.place;
      s.epoch = m.epoch;
      s.why = s.said = s.refusal = '';
      s.conn = 'joined';
      s.answered = true;
      s.welcomed = false;
      s.attempt = s.asks = s.eager = 0;
      clear(s, 'answer', 'ask');
      if (['joining', 'blocked', 'over'].includes(s.phase)) s.phase = 'waiting';
      // Where it stands follows at once; then the claim does.
      if (s.phase === 'claiming') s.timers.claim = c.now + CLAIM_WITHIN;
      return keep(s, c);
    }
    case 'position': {
      // Also after `admitted`: an admission that the line lost puts one back.
      const from = Math.max(s.from, m.position);
      const news = from !== s.from || s.turned || s.spare !== null;
      Object.assign(s, {
        phase: 'waiting', position: m.position, waiting: m.waiting, eta: m.eta ?? null, from,
        late: false, turned: false, claimed: false, pass: null, spare: null, why: '', said: '',
      });
      clear(s, 'turn', 'pass', 'rush', 'claim');
      // Positions go on while places are brought back: the room says when that is over.
      if (s.room === 'stalled') s.room = 'open';
      if (news) keep(s, c);
      return;
    }
    case 'admitted': {
      const left = ms(m.claim_ms, LONGEST);
      const news = !s.turned || s.spare !== null;
      s.turnLasts = s.phase === 'turn' || s.phase === 'claiming' ? Math.max(s.turnLasts, left) : left;
      s.turnEnds = s.timers.turn = c.now + left;
      if (s.phase !== 'claiming') s.phase = 'turn';
      Object.assign(s, { late: false, turned: true, spare: null, position: null, eta: null, why: '', said: '' });
      if (news) keep(s, c);
      // After a claim too: the line may have lost the admission that was claimed.
      if (s.phase === 'claiming') sendClaim(s, c);
      return;
    }
    case 'pass': {
      const news = s.turned || s.spare !== null;
      const claimed = s.claimed;
      s.pass = { pass: m.pass, url: m.url + '#pass=' + encodeURIComponent(m.pass), ends: c.now + ms(m.expires_ms, LONGEST) };
      s.timers.pass = s.pass.ends;
      Object.assign(s, { phase: 'inside', late: false, turned: false, spare: null, claimed: false, why: '', said: '' });
      clear(s, 'turn', 'rush', 'claim');
      if (news) keep(s, c);
      // Only the tab whose button was pressed goes by itself: a second tab, or
      // one that is opened again, shows the way instead.
      if (claimed) c.does.push({ do: 'go', url: s.pass.url });
      return;
    }
    case 'missed':
    case 'left':
      return ended(s, m.type, c);
    case 'spent':
      return ended(s, m.reason === 'away' ? 'away' : 'spent', c);
    case 'room': return changed(s, m, c);
    case 'drain':
      // The node stops. It says when to come back, already spread over everyone.
      if (s.phase === 'over') return;
      s.draining = true;
      s.timers.dial = Math.max(c.now + ms(m.retry_ms, RETRY_MOST) + c.random * RETRY_SPREAD, s.dialedAt + DIAL_GAP);
      return;
    case 'error': return refused(s, String(m.code), ms(m.retry_ms, RETRY_MOST), c);
  }
}

/** @param {State} s @param {any} m @param {Context} c */
function changed(s, m, c) {
  s.room = m.state;
  s.notice = m.notice ?? '';
  s.opensAt = m.opens_ms == null ? null : c.now + m.opens_ms;
  if (m.state !== 'open' && m.state !== 'full') s.eta = null;
  // A room that takes people says nothing of an address that had too many.
  if (s.conn !== 'refused' || s.welcomed || s.refusal === 'address_limit' || !['open', 'opening', 'paused'].includes(m.state)) return;
  // The door is open. Everyone refused hears it at once, so they ask spread out;
  // who was refused at an open door before spreads wider.
  const first = s.refusal === 'room_full' ? WELCOME_FULL_WITHIN : WELCOME_WITHIN;
  const at = c.now + c.random * Math.min(ASK_MOST, first * 2 ** s.eager);
  s.welcomed = true;
  s.timers.ask = Math.min(s.timers.ask ?? Infinity, at);
}

/** @param {State} s @param {string} code @param {number} retry the least wait it named @param {Context} c */
function refused(s, code, retry, c) {
  const { then } = CODES[code] ?? CODES.internal;
  if (then === 'drop') return drop(s, code, c);
  if (then === 'stop') return stop(s, code, c);
  if (s.conn === 'asked' && code !== 'leave_in_shop') return turnedAway(s, code, retry, c);
  if (s.conn === 'joined' && code === 'not_joined') return ask(s, c);
  s.said = code;
  if (s.phase !== 'claiming') return;
  s.phase = 'turn';
  s.claimed = false;
  clear(s, 'rush', 'claim');
}

/** What a refusal says of the room. @type {Record<string, string>} */
const ROOM_OF = {
  sold_out: 'sold_out', room_closed: 'closed', room_full: 'full', recovering: 'recovering', stalled: 'stalled', unavailable: 'stalled',
};

/** The join was refused: told, and asked again, from every phase. @param {State} s @param {string} code @param {number} retry @param {Context} c */
function turnedAway(s, code, retry, c) {
  const { then } = CODES[code] ?? CODES.internal;
  s.conn = 'refused';
  s.answered = true;
  s.refusal = code;
  s.eager = s.welcomed ? Math.min(s.eager + 1, 10) : 0;
  s.welcomed = false;
  clear(s, 'answer', 'claim');
  // Who waits for the room's word hears it on this connection, which beats.
  if (then !== 'wait') {
    const within = code === 'room_full' ? ASK_MOST : Math.min(ASK_MOST, ASK_FIRST * 2 ** s.asks);
    s.timers.ask = c.now + retry + within * (0.1 + 0.9 * c.random);
  }
  s.asks = Math.min(s.asks + 1, 10);
  const newcomer = s.phase === 'joining' || s.phase === 'blocked';
  if (!newcomer && !(then === 'wait' && s.phase === 'waiting') || then === 'say') {
    s.said = code; // the place, the turn or the pass stays on the page
    return;
  }
  Object.assign(s, { phase: 'blocked', why: code, said: '', room: ROOM_OF[code] ?? s.room, eta: null });
}
