// @ts-check
// The waiting page: one state (line.js), one render from it, and the shell that
// does what a step asks for.

import { el, here, kept, onClick, say, sayOrHide, show } from './dom.js';
import { CODES, nextDue, placeIn, RESUMABLE, start, step } from './line.js';
import { Socket } from './socket.js';
import { clock, loadTexts, number, plural, spoken, t, title, wait } from './text.js';

/** @typedef {import('./line.js').State} State */

// At most this often a new position is spoken: a list of numbers helps nobody.
const SPEAK_EVERY = 30_000;

// The ring of the countdown: its length is the circle's, 2πr with r = 54.
const RING = 2 * Math.PI * 54;

const { prefix, room } = here();
const name = title(room);
const store = kept('localStorage', 'waitroom:place:' + room);
const socket = new Socket(location.origin.replace(/^http/, 'ws') + prefix + '/rooms/' + room + '/ws', happen);

// The one timer looks at the clock again at least this often: phones freeze it.
const TIMER_MOST = 60_000;
// What the wall clock gains on the page's clock at once is sleep; less is drift.
const SLEPT_LEAST = 1_000;

/** @type {State} */
let state = start(readPlace());
let spokenAt = 0;
let spokenWhat = '';
/** @type {ReturnType<typeof setTimeout>|undefined} */
let timer;
let ahead = Date.now() - performance.now();

function readPlace() {
  try {
    const kept = JSON.parse(store.read());
    const own = placeOf(kept);
    return own && { ...own, spare: placeOf(kept.spare) ?? undefined };
  } catch {
    return null; // nothing kept, or not by us
  }
}

/** @param {any} kept */
function placeOf(kept) {
  const { place, epoch, from, turned } = kept ?? {};
  return typeof place === 'string' && place ? { place, epoch: String(epoch), from: Number(from) || 0, turned: turned === true } : null;
}

/** A place that a link brought is taken out of the address at once: nobody should read it there. */
function takePlace() {
  const place = placeIn(location.hash);
  if (!place) return;
  history.replaceState(null, '', location.pathname + location.search);
  happen({ type: 'place', place });
}

/** performance.now stands still while the machine sleeps; the wall clock does not. */
function slept() {
  const before = ahead;
  ahead = Date.now() - performance.now();
  return ahead - before >= SLEPT_LEAST ? ahead - before : 0;
}

/** The page is looked at again, or the network changed. @param {boolean} [back] */
function look(back = false) {
  happen({ type: 'look', network: navigator.onLine, back });
}

/** @param {import('./line.js').Happening} event */
function happen(event) {
  const now = performance.now();
  const [next, effects] = step(state, { ...event, now, random: Math.random(), slept: slept() });
  state = next;
  for (const effect of effects) {
    switch (effect.do) {
      case 'open': socket.open(effect.socket); break;
      case 'send': socket.send(effect.message); break;
      case 'close': socket.close(); break;
      case 'keep': {
        const { do: _, ...place } = effect;
        store.write(JSON.stringify(place));
        break;
      }
      // Another tab may have joined anew meanwhile: only our own place is dropped.
      case 'forget': if (readPlace()?.place === effect.place) store.write(''); break;
      case 'go': location.replace(effect.url); break;
    }
  }
  clearTimeout(timer);
  timer = setTimeout(happen, Math.max(0, Math.min(nextDue(state) - now, TIMER_MOST)), { type: 'timer' });
  render();
}

/** What a state says in one line, for the heading and the screen reader. @param {State} s @returns {[string, string]} */
function words(s) {
  switch (s.phase) {
    case 'over':
      if (s.why === 'missed') return [t('over.missed.title'), t('over.missed.text')];
      if (s.why === 'left') return [t('over.left.title'), t('over.left.text')];
      if (s.why === 'spent') return [t('over.spent.title'), t('over.spent.text')];
      if (s.why === 'pass_expired') return [t('over.expired.title'), t('over.expired.text')];
      return [t('over.place.title'), t((CODES[s.why] ?? CODES.internal).text)];
    case 'blocked':
      if (s.why === 'room_closed' || s.room === 'closed') return [t('blocked.closed.title'), t('room.closed')];
      if (s.why === 'sold_out' || s.room === 'sold_out') return [t('blocked.sold_out.title'), t('room.sold_out')];
      if (s.why === 'room_full') return [t('blocked.full.title'), t('room.full')];
      return [t('blocked.stalled.title'), t((CODES[s.why] ?? CODES.internal).text)];
    case 'stopped':
      if (s.why === 'too_many_tabs') return [t('stopped.tabs.title'), t('error.too_many_tabs')];
      if (['unknown_room', 'bad_room', 'room_deleted'].includes(s.why)) return [t('missing.title'), t((CODES[s.why] ?? CODES.internal).text)];
      return [t('stopped.title'), t((CODES[s.why] ?? CODES.internal).text)];
  }
  return ['', ''];
}

/** The line under the position that says what the room is doing. @param {State} s @param {number} now */
function roomWords(s, now) {
  switch (s.room) {
    case 'opening': {
      const left = (s.opensAt ?? 0) - now;
      return s.opensAt !== null && left > 0 ? t('room.opens_in', { time: clock(left) }) : t('room.opening');
    }
    case 'paused': return t('room.paused');
    case 'closed': return t('room.closed');
    case 'sold_out': return t('room.sold_out');
    case 'stalled': return t('room.stalled');
    case 'recovering': return t('room.recovering');
  }
  return '';
}

function render() {
  const now = performance.now();
  const { phase } = state;
  const line = phase === 'joining' || phase === 'waiting';
  const turn = phase === 'turn' || phase === 'claiming';
  // Someone with a place in a room that closed or sold out is told so, not a number.
  const ended = line && ['closed', 'sold_out'].includes(state.room);
  const shownPhase = ended ? 'blocked' : phase;

  document.documentElement.dataset.phase = shownPhase;
  say('name', name);
  show('line', line && !ended);
  show('turn', turn);
  show('inside', phase === 'inside');
  show('ended', shownPhase === 'blocked' || phase === 'over' || phase === 'stopped');

  // The link: calm while it works, a word when it does not.
  const quiet = phase === 'over' || phase === 'stopped';
  el('link').dataset.link = state.online ? 'live' : 'lost';
  show('link', !quiet);
  say('link-word', state.online ? t('link.live') : state.attempt > 0 ? t('link.lost') : t('link.connecting'));

  sayOrHide('notice-text', state.notice);
  show('notice', state.notice !== '');

  // In line.
  const known = state.position !== null;
  el('line').dataset.known = String(known);
  say('position', known ? number(state.position ?? 0) : '···');
  say('waiting', known ? plural({ one: 'line.of_one', other: 'line.of' }, state.waiting) : t(state.place ? 'line.finding' : 'line.joining'));
  const first = state.position === 1;
  say('ahead', !known ? '' : first ? t('line.first') : plural({ one: 'line.ahead_one', other: 'line.ahead' }, (state.position ?? 1) - 1));
  const done = known && state.from > 1 ? (state.from - (state.position ?? 1)) / (state.from - 1) : first ? 1 : 0;
  el('track').style.setProperty('--done', String(Math.max(0, Math.min(1, done))));
  sayOrHide('eta', state.room === 'open' || state.room === 'full' ? wait(state.eta) : '');
  const about = roomWords(state, now);
  say('room-text', about);
  show('room', about !== '');
  el('room').dataset.room = state.room;

  // Your turn.
  const left = state.turnEnds - now;
  say('turn-left', clock(left));
  const share = state.turnLasts > 0 ? Math.max(0, Math.min(1, left / state.turnLasts)) : 0;
  el('ring').style.strokeDashoffset = String(RING * (1 - share));
  el('turn').dataset.late = String(left < 20_000);
  const claim = /** @type {HTMLButtonElement} */ (el('claim'));
  claim.disabled = phase === 'claiming' || !state.online;
  say('claim', phase === 'claiming' ? t('turn.claiming') : t('turn.claim'));

  // Inside, ended.
  if (state.pass) {
    /** @type {HTMLAnchorElement} */ (el('continue')).href = state.pass.url;
    say('inside-left', t('inside.left', { time: clock(state.pass.ends - now) }));
  }
  const [heading, text] = ended ? words({ ...state, phase: 'blocked' }) : words(state);
  say('ended-title', heading);
  say('ended-text', text);
  const again = phase === 'over' || (phase === 'stopped' && RESUMABLE.has(state.why));
  show('again', again);
  say('again', phase === 'stopped' ? (state.why === 'too_many_tabs' ? t('stopped.use_here') : t('stopped.again')) : t('over.again'));
  show('asking', phase === 'blocked' && state.online && !['room_closed', 'sold_out'].includes(state.why));

  sayOrHide('said', state.said ? t((CODES[state.said] ?? CODES.internal).text) : '');
  show('leave', (phase === 'waiting' && !ended) || phase === 'turn');
  /** @type {HTMLButtonElement} */ (el('leave')).disabled = !state.online;
  show('keep', line && !ended);
  for (const [i, id] of ['step-wait', 'step-turn', 'step-seats'].entries()) {
    const at = line ? 0 : turn ? 1 : 2;
    el(id).dataset.step = i < at ? 'done' : i === at ? 'now' : 'next';
    if (i === at) el(id).setAttribute('aria-current', 'step');
    else el(id).removeAttribute('aria-current');
  }
  show('steps', (line && !ended) || turn || phase === 'inside');

  document.title = turn ? t('title.turn', { time: clock(left), room: name })
    : phase === 'waiting' && known && !ended ? t('title.position', { position: state.position ?? 0, room: name })
      : heading ? t('title.other', { what: heading, room: name }) : t('title.room', { room: name });
  const icon = /** @type {HTMLLinkElement} */ (el('icon'));
  const want = new URL(turn ? './favicon-turn.svg' : './favicon.svg', import.meta.url).href;
  if (icon.href !== want) icon.href = want;

  speak(now, shownPhase, heading, text, about, left);
}

/** The polite voice: a change of what is going on at once, positions now and then. @param {number} now @param {string} phase @param {string} heading @param {string} text @param {string} about @param {number} left */
function speak(now, phase, heading, text, about, left) {
  const what = [phase === 'claiming' ? 'turn' : phase, state.room, state.why, state.said, state.notice, state.position === null].join('|');
  const fresh = what !== spokenWhat;
  if (!fresh && !(phase === 'waiting' && now - spokenAt > SPEAK_EVERY)) return;
  spokenWhat = what;
  spokenAt = now;
  let sentence = '';
  if (phase === 'turn' || phase === 'claiming') sentence = t('say.turn', { time: spoken(left) });
  else if (phase === 'inside') sentence = t('inside.title');
  else if (phase === 'waiting' && state.position !== null) sentence = t('say.position', { position: state.position, waiting: state.waiting });
  else if (heading) sentence = heading + '. ' + text;
  const more = [state.notice, phase === 'waiting' && state.room !== 'opening' ? about : '', el('said').textContent ?? ''];
  say('voice', [sentence, ...more].filter(Boolean).join(' '));
}

async function main() {
  await loadTexts();
  render();
  onClick('claim', () => happen({ type: 'claim' }));
  onClick('again', () => happen({ type: 'join' }));
  onClick('leave', () => /** @type {HTMLDialogElement} */ (el('leave-ask')).showModal());
  onClick('leave-ask-no', () => /** @type {HTMLDialogElement} */ (el('leave-ask')).close());
  onClick('leave-ask-yes', () => {
    /** @type {HTMLDialogElement} */ (el('leave-ask')).close();
    happen({ type: 'leave' });
  });
  window.addEventListener('storage', () => {
    const place = readPlace();
    if (place) happen({ type: 'kept', message: place });
  });
  window.addEventListener('online', () => look());
  window.addEventListener('offline', () => look());
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') look();
  });
  // Shown again from the browser's cache: its socket is gone.
  window.addEventListener('pageshow', (event) => look(event.persisted));
  window.addEventListener('hashchange', takePlace);
  takePlace();
  look();
  setInterval(() => happen({ type: 'tick' }), 500);
}

main().catch((error) => {
  // Without its texts the page can still say what the HTML brought along.
  console.error(error);
  show('broken', true);
  show('line', false);
});
