// @ts-check
// The seat page: takes the pass out of the address at once, then one state
// (shop.js), one render from it, and the calls to the booker.

import { Booker, Refused } from './booker.js';
import { Live } from './live.js';
import { inOrder, SeatMap } from './map.js';
import { chooseLanguage, clock, dialog, el, eventName, here, kept, list, loadTexts, onClick, plural, say, sayOrHide, sayStart, show, spoken, t, takeFragment } from './page.js';
import { CODES, look, offersMore, start, step } from './shop.js';

/** @typedef {import('./shop.js').State} State */

// The longest pause between two tries to hear how the pass stands.
const ASK_MOST = 30_000;

// After these nobody here knows how the pass stands.
const UNSETTLED = new Set(['offline', 'unavailable', 'overloaded', 'internal', 'hold_open', 'hold_ended', 'hold_extended', 'hold_unknown', 'pass_spent', 'pass_expired']);

const { prefix, room } = here();
const name = eventName(room);
const passes = kept('sessionStorage', 'waitroom:pass:' + room);

// Before anything else: the pass leaves the address, so that no copied link, no
// history and no screenshot carries it.
const fresh = takePass();
const booker = new Booker(prefix + '/rooms/' + room, fresh || passes.read());

let state = start();
/** @type {SeatMap} */
let map;
const live = new Live(booker, hear);
let asked = false; // how the pass stands
let fitted = false;
let spokenWhat = '';
let shownPhase = '';

function takePass() {
  const pass = takeFragment('pass');
  if (pass) passes.write(pass);
  return pass;
}

/** @param {{type: string, [more: string]: any}} event */
function happen(event) {
  state = step(state, { ...event, now: performance.now() });
  render();
  follow();
}

/**
 * One call to the booker. Without an answer nobody knows whether it took effect:
 * then the booker is asked what it knows of the pass, until it answers.
 * @param {State['busy']} what @param {() => Promise<object>} call gives the event to go on with
 */
async function act(what, call) {
  if (state.busy) return;
  happen({ type: 'busy', what });
  try {
    happen(/** @type {{type: string}} */ (await call()));
  } catch (error) {
    const problem = problemOf(error);
    // A spent pass may have been spent by this very booking, here or in another
    // tab: the booker knows.
    if (problem.code !== 'pass_spent') happen({ type: 'problem', problem });
    if (UNSETTLED.has(problem.code)) await settle();
  }
  live.look();
}

let settling = false;

/** Asks what the booker knows of the pass until it says; once at a time. */
async function settle() {
  if (settling) return;
  settling = true;
  try {
    await askPass();
  } finally {
    settling = false;
  }
}

async function askPass() {
  for (let attempt = 0; !['over', 'booked'].includes(state.phase); attempt++) {
    try {
      const said = state.said;
      happen({ type: 'pass', answer: await booker.pass() });
      if (said === 'offline') happen({ type: 'heard' });
      return;
    } catch (error) {
      const problem = problemOf(error);
      happen({ type: 'problem', problem });
      if (problem.code !== 'offline' && !problem.retry) return;
      await new Promise((done) => setTimeout(done, Math.random() * Math.min(ASK_MOST, 1000 * 2 ** attempt)));
    }
  }
}

/** @param {unknown} error @returns {{code: string, seats?: string[], retry?: boolean}} */
function problemOf(error) {
  if (error instanceof Refused) return error.problem;
  console.error(error);
  return { code: 'internal' };
}

/** What is heard of the map. @param {Parameters<ConstructorParameters<typeof Live>[1]>[0]} event */
function hear(event) {
  if (event.type === 'ended') {
    settle(); // the pass has expired: the booker knows what it came to
  } else if (event.type !== 'problem' || CODES[event.problem.code]?.ends || ['offline', 'no_seats'].includes(event.problem.code)) {
    happen(event);
    if (event.type === 'seats' && !fitted) {
      fitted = true;
      fit();
    }
  }
}

/** Everything in view, as far as a finger can still hit it. */
function fit() {
  map.fit(matchMedia('(pointer: coarse)').matches || innerWidth < 700);
}

/** The map is followed while somebody looks at it and may choose. */
function follow() {
  if (['over', 'booked'].includes(state.phase) || document.visibilityState === 'hidden') live.stop();
  else if (asked) live.start();
}

function render() {
  const now = performance.now();
  const { phase, hold, booking } = state;
  const inShop = phase === 'choosing' || phase === 'held';
  document.documentElement.dataset.phase = phase;
  say('name', name);
  sayStart();
  show('loading', phase === 'loading');
  show('shop', inShop);
  show('done', phase === 'booked');
  show('over', phase === 'over');

  const left = state.passEnds - now;
  show('pass-left', inShop);
  say('pass-time', clock(left));
  el('pass-left').dataset.late = String(left < 60_000);

  if (inShop) map.update(state.seats.keys(), (id) => look(state, id));
  const seats = [...state.seats.values()];
  const free = seats.filter((s) => s === 'free').length;
  // Only what is held may come back.
  const none = seats.includes('held') ? t('map.none_free') : t('map.all_booked');
  say('free', state.seats.size === 0 ? '' : free === 0 ? none : plural('map.free', free));

  show('choosing', phase === 'choosing');
  show('held', phase === 'held');
  if (phase === 'choosing') {
    say('choose-title', state.chosen.length === 0 ? t('choose.title') : plural('choose.some', state.chosen.length));
    say('chosen', state.chosen.length === 0 ? plural('choose.hint', state.most) : list(inOrder(state.chosen)));
    const button = /** @type {HTMLButtonElement} */ (el('hold'));
    button.disabled = state.chosen.length === 0 || state.busy !== '';
    say('hold', state.busy === 'hold' ? t('choose.holding') : plural('choose.hold', Math.max(1, state.chosen.length)));
  }
  if (hold) {
    say('held-seats', list(inOrder(hold.seats)));
    const rest = hold.ends - now;
    say('held-left', clock(rest));
    el('held-bar').style.setProperty('--left', String(Math.max(0, Math.min(1, rest / Math.max(1, hold.lasts)))));
    el('held').dataset.late = String(rest < 30_000);
    /** @type {HTMLButtonElement} */ (el('confirm')).disabled = state.busy !== '';
    /** @type {HTMLButtonElement} */ (el('release')).disabled = state.busy !== '';
    more(now);
    say('confirm', state.busy === 'confirm' ? t('held.confirming') : t('held.confirm'));
  }
  /** @type {HTMLButtonElement} */ (el('leave')).disabled = state.busy !== '';

  const said = state.said ? t(CODES[state.said].text, { seats: list(inOrder(state.named)), most: state.most }) : '';
  sayOrHide('said', said);

  if (booking) {
    say('done-seats', list(inOrder(booking.seats)));
    say('done-count', plural('done.seat', booking.seats.length));
    say('done-room', name);
    say('done-id', booking.reference || booking.id); // an older booker gives none
  }
  if (phase === 'over') {
    say('over-title', t(state.why === 'left' ? 'over.shop_left.title' : state.why === 'pass_expired' ? 'over.shop_expired.title' : state.why === 'pass_spent' ? 'over.shop_spent.title' : 'over.shop.title'));
    say('over-text', t((CODES[state.why] ?? CODES.internal).text));
    const back = document.documentElement.dataset.waiting ?? '';
    show('back', back !== '');
    if (back) /** @type {HTMLAnchorElement} */ (el('back')).href = back.replaceAll('{room}', room);
  }

  document.title = phase === 'held' && hold ? t('title.held', { time: clock(hold.ends - now), room: name })
    : phase === 'booked' ? t('title.booked', { room: name }) : t('title.seats', { room: name });

  speak(said, now);
  // Focus follows when what it was on has gone: to the new part's heading.
  if (shownPhase && shownPhase !== phase) focusOn(phase);
  shownPhase = phase;
}

/** The button for more time. When it goes, who was on it goes to the heading. @param {number} now */
function more(now) {
  const button = /** @type {HTMLButtonElement} */ (el('more'));
  const extending = state.busy === 'extend';
  const offered = extending || offersMore(state, now);
  if (!offered && document.activeElement === button) el('held-title').focus();
  show('more', offered);
  button.disabled = state.busy !== '' && !extending;
  say('more', extending ? t('held.extending') : t('held.more', { time: spoken(state.hold?.more ?? 0) }));
}

/** @param {State['phase']} phase */
function focusOn(phase) {
  const heading = { held: 'held-title', choosing: 'choose-title', booked: 'done-title', over: 'over-title' }[/** @type {string} */ (phase)];
  const active = document.activeElement;
  const gone = !active || active === document.body || /** @type {HTMLElement} */ (active).offsetParent === null;
  if (heading && gone) el(heading).focus();
}

/** @param {string} said @param {number} now */
function speak(said, now) {
  const offered = offersMore(state, now);
  const what = [state.phase, state.said, state.named.join(), state.chosen.join(), state.hold?.id, state.hold?.more, offered].join('|');
  if (what === spokenWhat) return;
  const before = spokenWhat;
  spokenWhat = what;
  // The offer went because the time is over: what became of the hold is said next.
  if (before.replace(/true$/, 'false') === what) return;
  let sentence = '';
  if (offered && state.hold) sentence = t('say.more', { time: spoken(state.hold.ends - now) });
  else if (state.phase === 'held' && state.hold) sentence = t('say.held', { seats: list(inOrder(state.hold.seats)), time: spoken(state.hold.ends - now) });
  else if (state.phase === 'booked' && state.booking) sentence = t('say.booked', { seats: list(inOrder(state.booking.seats)) });
  else if (state.phase === 'over') sentence = t((CODES[state.why] ?? CODES.internal).text);
  else if (state.chosen.length > 0) sentence = t('say.chosen', { seats: list(inOrder(state.chosen)) });
  say('voice', [said, sentence].filter(Boolean).join(' '));
}

/** @param {string} button @param {string} ask @param {() => void} then */
function askFirst(button, ask, then) {
  onClick(button, () => dialog(ask).showModal());
  onClick(ask + '-no', () => dialog(ask).close());
  onClick(ask + '-yes', () => {
    dialog(ask).close();
    then();
  });
}

async function main() {
  show('never', false);
  if (!(await loadTexts())) throw new Error('no language file');
  map = new SeatMap(el('map-box'), el('map'), (seat) => happen({ type: 'toggle', seat }));
  onClick('hold', () => act('hold', async () => ({ type: 'held', hold: await booker.hold(state.chosen) })));
  onClick('release', () => act('release', async () => {
    if (state.hold) await booker.release(state.hold.id);
    return { type: 'released' };
  }));
  onClick('more', () => act('extend', async () => ({ type: 'held', hold: await booker.extend(state.hold?.id ?? '') })));
  onClick('confirm', () => act('confirm', async () => ({ type: 'booked', booking: await booker.confirm(state.hold?.id ?? '') })));
  askFirst('leave', 'leave-ask', () => act('leave', async () => {
    await booker.leave();
    return { type: 'left' };
  }));
  chooseLanguage(prefix, () => {
    spokenWhat = '';
    map.retell();
    render();
  });
  onClick('nearer', () => map.zoom(1.3));
  onClick('farther', () => map.zoom(1 / 1.3));
  onClick('fit', () => map.fit(false));
  document.addEventListener('visibilitychange', () => {
    follow();
    if (document.visibilityState !== 'visible' || state.phase === 'loading') return;
    if (!state.busy) settle(); // another tab may have used the pass
  });
  // The same tab was sent here again, with a new pass.
  window.addEventListener('hashchange', () => {
    if (takePass()) location.reload();
  });

  if (!fresh && !passes.read()) {
    happen({ type: 'problem', problem: { code: 'pass_missing' } });
    return;
  }
  render();
  await settle();
  asked = true;
  follow();
  setInterval(() => {
    // A hold whose time is over on this clock: the booker says what became of it.
    const ended = state.phase === 'held' && state.hold && !state.busy && state.hold.ends <= performance.now();
    if (ended) settle();
    happen({ type: 'tick' });
  }, 1_000);
}

main().catch((error) => {
  console.error(error);
  show('loading', false);
  show('never', true);
  el('never').classList.add('at-once');
});
