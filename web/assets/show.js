// @ts-check
// What the waiting page says and how it shows it: one pure table from the state to
// sentences, and one render of them. Nothing here happens at import, so the table
// is tested without a browser.

import { CODES, RESUMABLE } from './line.js';
import { clock, el, haveTexts, moment, number, plural, say, sayOrHide, sayStart, show, spoken, t, wait } from './page.js';

/**
 * The state as the page reads it.
 *   link   connecting: no connection yet, or a new one under way; live; lost: gone,
 *          coming back by itself; offline: the device has no network; waiting: told
 *          to come back later
 * @typedef {'connecting'|'live'|'lost'|'offline'|'waiting'} Link
 * @typedef {import('./line.js').State & {link: Link}} State
 *
 * A sentence: its key in lang/*.json, with `count` one of its plural forms.
 * @typedef {{key: string, count?: number, values?: Record<string, string|number>}} Phrase
 *
 * What one state says. `text` is the sentence of the part that is shown; `about`
 * what is the matter with the room or the connection; `keep` what becomes of the
 * place; `next` what the page does meanwhile. null: nothing to say.
 * @typedef {{
 *   part: 'line'|'turn'|'inside'|'ended',
 *   link: Phrase,
 *   heading: Phrase,
 *   text: Phrase,
 *   ahead: Phrase|null,
 *   about: Phrase|null,
 *   keep: Phrase|null,
 *   next: Phrase|null,
 *   said: Phrase|null,
 *   done: number,
 *   claim: 'shown'|'busy'|'gone',
 * }} Words
 */

// At most this often a new position is spoken: a list of numbers helps nobody.
const SPEAK_EVERY = 30_000;

// At these times left, in s, the end of a turn is spoken.
export const SPEAK_LEFT = [60, 20, 10];

// The ring of the countdown: its length is the circle's, 2πr with r = 54.
const RING = 2 * Math.PI * 54;

// How far the bar goes while nobody is let in: whoever is first stands before a
// door that is shut.
const DOOR_SHUT = 0.92;

/** @param {string} key @param {Record<string, string|number>} [values] @returns {Phrase} */
const phrase = (key, values) => (values ? { key, values } : { key });

const LINKS = /** @type {Record<Link, string>} */ ({
  connecting: 'link.connecting', live: 'link.live', lost: 'link.lost', offline: 'link.offline', waiting: 'link.waiting',
});

/**
 * The table: state × whether this browser keeps anything × whether a place is
 * held → sentences. Nothing is promised to who has no place, and no reload to who
 * has nowhere to keep it.
 * @param {State} s @param {number} now @param {boolean} stored @returns {Words}
 */
export function words(s, now, stored) {
  const placed = s.place !== '';
  const known = placed && s.position !== null;
  const live = s.link === 'live';
  const keep = phrase(!placed ? 'keep.none' : stored ? 'keep.stored' : 'keep.page');
  const base = /** @type {Words} */ ({
    part: 'line', link: phrase(LINKS[s.link]), heading: phrase('line.title'), text: phrase('line.joining'),
    ahead: null, about: null, keep, next: null, said: s.said ? phrase((CODES[s.said] ?? CODES.internal).text) : null, done: 0, claim: 'gone',
  });
  const line = s.phase === 'joining' || s.phase === 'waiting';
  // Someone with a place in a room that closed or sold out is told so, not a number.
  if (s.phase === 'blocked' || (line && ['closed', 'sold_out'].includes(s.room))) return { ...base, part: 'ended', ...blocked(s, keep) };
  switch (s.phase) {
    case 'turn':
    case 'claiming': {
      const mine = { ...base, part: /** @type {const} */ ('turn'), keep: stored ? null : keep };
      // From a fault on everybody whose turn it was has a whole turn, which this page's
      // clock does not know of.
      if (live && s.room === 'recovering') {
        const text = s.turnEnds <= now ? 'turn.recovering_over' : 'turn.recovering';
        return { ...mine, heading: phrase('turn.title'), text: phrase(text), said: s.said === 'recovering' ? null : base.said, claim: s.phase === 'claiming' ? 'busy' : 'shown' };
      }
      // A claim on its way over a live connection may be in time by a hair.
      if (s.turnEnds <= now && !(s.phase === 'claiming' && live)) {
        return { ...mine, heading: phrase('turn.ended.title'), text: phrase(live ? 'turn.ended' : 'turn.ended_away') };
      }
      const text = live ? 'turn.text' : s.link === 'offline' ? 'turn.offline' : 'turn.away';
      return { ...mine, heading: phrase('turn.title'), text: phrase(text), claim: s.phase === 'claiming' || !live ? 'busy' : 'shown' };
    }
    case 'inside':
      return { ...base, part: 'inside', heading: phrase('inside.title'), text: phrase('inside.text'), keep: stored ? null : keep };
    case 'over':
      return { ...base, part: 'ended', keep: null, ...over(s.why) };
    case 'stopped':
      return { ...base, part: 'ended', keep: null, ...stopped(s.why) };
  }
  base.text = known ? { key: 'line.of', count: s.waiting } : away(s) ?? phrase(placed ? 'line.finding' : 'line.joining');
  base.about = known ? away(s) ?? about(s, now) : about(s, now);
  if (base.said && base.said.key === base.about?.key) base.said = null; // the room says it already
  if (!known) return base;
  const from = Math.max(s.from, s.position ?? 1);
  base.done = Math.max(0, Math.min(1, from > 1 ? (from - (s.position ?? 1)) / (from - 1) : 1));
  // While places are brought back those before the fault are let in.
  const shut = !['open', 'full', 'recovering'].includes(s.room);
  if (shut) base.done = Math.min(base.done, DOOR_SHUT);
  base.ahead = s.position !== 1 ? { key: 'line.ahead', count: (s.position ?? 1) - 1 }
    : phrase(s.room === 'opening' ? 'line.first_opening' : shut ? 'line.first_shut' : 'line.first');
  return base;
}

/** What the connection keeps from happening, or null while it is live. @param {State} s */
function away(s) {
  const known = s.place !== '' && s.position !== null;
  switch (s.link) {
    case 'connecting': return known ? phrase('away.lost_old') : s.place ? null : phrase('line.connecting');
    case 'lost': return phrase(known ? 'away.lost_old' : 'away.lost');
    case 'offline': return phrase(s.place ? 'away.offline' : 'away.offline_new');
    case 'waiting': return phrase('away.waiting');
  }
  return null;
}

/** What the room keeps from happening, or null while it lets people in. @param {State} s @param {number} now */
function about(s, now) {
  switch (s.room) {
    case 'opening': {
      const left = (s.opensAt ?? 0) - now;
      if (s.opensAt === null || left <= 0) return phrase('room.opening');
      // To ten seconds, or the minute on the wall flickers as the clocks drift.
      const at = new Date(Math.round((Date.now() + left) / 10_000) * 10_000);
      return phrase('room.opens_in', { time: clock(left), at: moment(at) });
    }
    case 'paused': return phrase('room.paused');
    case 'stalled': return phrase('room.stalled');
    case 'recovering': return recovering(s);
  }
  return null;
}

/** What a line that lost something says: whoever has a place has it still. @param {State} s */
function recovering(s) {
  return phrase(s.place ? 'room.recovering' : 'room.recovering_new');
}

/**
 * What keeps a room from taking this visitor: its state now, which is younger than
 * the refusal.
 * @param {State} s @param {Phrase} keep @returns {Partial<Words> & {heading: Phrase, text: Phrase}}
 */
function blocked(s, keep) {
  const next = away(s) ?? phrase('blocked.asking');
  switch (s.room) {
    case 'closed': return { heading: phrase('blocked.closed.title'), text: phrase('room.closed'), keep: null, next: phrase('blocked.closed.next') };
    // Nothing is promised once all is booked, whatever may happen.
    case 'sold_out': return { heading: phrase('blocked.sold_out.title'), text: phrase('room.sold_out'), keep: null };
    case 'full': return { heading: phrase('blocked.full.title'), text: phrase('room.full'), keep, next };
    case 'stalled': return { heading: phrase('blocked.stalled.title'), text: phrase('room.stalled'), keep, next };
    case 'recovering': return { heading: phrase('blocked.stalled.title'), text: recovering(s), keep, next };
  }
  if (s.why === 'address_limit') return { heading: phrase('blocked.stalled.title'), text: phrase(CODES[s.why].text), keep, next };
  return { heading: phrase('blocked.stalled.title'), text: phrase('blocked.reopened'), keep, next: away(s) };
}

/** @param {string} why */
function over(why) {
  const known = /** @type {Record<string, [string, string]>} */ ({
    missed: ['over.missed.title', 'over.missed.text'], left: ['over.left.title', 'over.left.text'],
    spent: ['over.spent.title', 'over.spent.text'], away: ['over.away.title', 'over.away.text'],
    pass_expired: ['over.expired.title', 'over.expired.text'],
  });
  const [heading, text] = known[why] ?? ['over.place.title', (CODES[why] ?? CODES.internal).text];
  return { heading: phrase(heading), text: phrase(text) };
}

/** @param {string} why */
function stopped(why) {
  const text = phrase((CODES[why] ?? CODES.internal).text);
  if (why === 'too_many_tabs') return { heading: phrase('stopped.tabs.title'), text };
  if (['unknown_room', 'bad_room', 'room_deleted'].includes(why)) return { heading: phrase('missing.title'), text };
  return { heading: phrase('stopped.title'), text };
}

/** @param {Phrase|null} p */
function tell(p) {
  if (!p) return '';
  return p.count === undefined ? t(p.key, p.values) : plural(p.key, p.count, p.values);
}

let spokenAt = 0;
let spokenWhat = '';
let spokenLeft = Infinity;
let shownPart = '';
let focused = false; // on the button of this turn

/** Forgets what was spoken, after another language was chosen: it is said anew. */
export function forgetSpoken() {
  spokenWhat = '';
}

/**
 * @param {State} state @param {number} now
 * @param {{stored: boolean, name: string, icons: {line: string, turn: string}}} page
 */
export function render(state, now, page) {
  const w = words(state, now, page.stored);
  // Until the texts are here the sentences of the HTML stay, and so does the part
  // they stand in, but for the two that need no others.
  const texts = haveTexts();
  const part = texts || w.part !== 'ended' ? w.part : shownPart || 'line';
  shownPart = part;
  const root = document.documentElement;
  root.dataset.phase = part === 'ended' && state.phase !== 'over' && state.phase !== 'stopped' ? 'blocked' : state.phase;
  root.dataset.part = part;
  for (const id of /** @type {const} */ (['line', 'turn', 'inside', 'ended'])) show(id, part === id);

  el('link').dataset.link = state.link;
  show('link', state.phase !== 'over' && state.phase !== 'stopped');
  // With its part, or it would push down what is about to go.
  const notice = part === w.part ? state.notice : '';
  sayOrHide('notice-text', notice);
  show('notice', notice !== '');

  // In line.
  const known = part === 'line' && state.place !== '' && state.position !== null;
  el('line').dataset.known = String(known);
  say('position', known ? number(state.position ?? 0) : '···');
  el('track').style.setProperty('--done', String(w.done));
  el('room').dataset.room = state.link === 'live' ? state.room : 'away';

  // Your turn.
  const left = state.turnEnds - now;
  say('turn-left', clock(left));
  const share = state.turnLasts > 0 ? Math.max(0, Math.min(1, left / state.turnLasts)) : 0;
  el('ring').style.strokeDashoffset = String(RING * (1 - share));
  el('turn').dataset.late = String(left < 20_000);
  const claim = /** @type {HTMLButtonElement} */ (el('claim'));
  claim.disabled = w.claim === 'busy';
  show('claim', w.claim !== 'gone');
  show('turn-else', w.claim !== 'gone');
  show('turn-ring', w.claim !== 'gone');

  // Inside, ended.
  if (state.pass) /** @type {HTMLAnchorElement} */ (el('continue')).href = state.pass.url;
  show('again', state.phase === 'over' || (state.phase === 'stopped' && RESUMABLE.has(state.why)));

  const mayLeave = (state.phase === 'waiting' && part === 'line') || part === 'turn';
  show('leave', mayLeave);
  show('share', mayLeave && texts);
  /** @type {HTMLButtonElement} */ (el('leave')).disabled = !state.online;
  for (const [i, id] of ['step-wait', 'step-turn', 'step-seats'].entries()) {
    const at = part === 'line' ? 0 : part === 'turn' ? 1 : 2;
    el(id).dataset.step = i < at ? 'done' : i === at ? 'now' : 'next';
    if (i === at) el(id).setAttribute('aria-current', 'step');
    else el(id).removeAttribute('aria-current');
  }
  show('steps', part === 'line' || part === 'inside');
  const icon = /** @type {HTMLLinkElement} */ (el('icon'));
  const want = part === 'turn' ? page.icons.turn : page.icons.line;
  if (icon.getAttribute('href') !== want) icon.setAttribute('href', want);

  if (texts) renderTexts(state, w, now, page);
  else if (known) for (const id of ['waiting', 'ahead']) say(id, '');
  if (part !== 'turn') focused = false;
  else if (!focused && w.claim === 'shown') {
    // Whatever was open lies over the button.
    for (const open of document.querySelectorAll('dialog[open]')) /** @type {HTMLDialogElement} */ (open).close();
    claim.focus();
    focused = true;
  }
}

/** What needs words. @param {State} state @param {Words} w @param {number} now @param {{name: string}} page */
function renderTexts(state, w, now, { name }) {
  const left = state.turnEnds - now;
  say('name', name);
  sayStart();
  say('link-word', tell(w.link));
  if (w.part === 'line') {
    say('waiting', tell(w.text));
    say('ahead', tell(w.ahead));
    say('eta', state.position !== null && state.link === 'live' && ['open', 'full'].includes(state.room) ? wait(state.eta) : '');
    say('room-text', tell(w.about));
    show('room', w.about !== null);
  }
  if (w.part === 'turn') {
    say('turn-title', tell(w.heading));
    say('turn-text', tell(w.text));
    say('claim', state.phase === 'claiming' ? t('turn.claiming') : t('turn.claim'));
  }
  if (state.pass) say('inside-left', t('inside.left', { time: clock(state.pass.ends - now) }));
  if (w.part === 'ended') {
    say('ended-title', tell(w.heading));
    say('ended-text', tell(w.text));
    sayOrHide('asking', tell(w.next));
    say('again', state.phase === 'stopped' ? (state.why === 'too_many_tabs' ? t('stopped.use_here') : t('stopped.again')) : t('over.again'));
  }
  sayOrHide('said', tell(w.said));
  sayOrHide(w.part === 'ended' ? 'ended-keep' : 'keep', tell(w.keep));
  show(w.part === 'ended' ? 'keep' : 'ended-keep', false);

  const heading = w.part === 'ended' ? tell(w.heading) : '';
  document.title = w.claim !== 'gone' ? t('title.turn', { time: clock(left), room: name })
    : w.part === 'line' && state.place && state.position !== null ? t('title.position', { position: state.position, room: name })
      : heading ? t('title.ended', { what: heading, room: name }) : t('title.room', { room: name });
  speak(state, w, now);
}

/**
 * The voices. The polite one: a change of what is going on at once, positions now
 * and then. The urgent one: the start of a turn, and its last minute.
 * @param {State} state @param {Words} w @param {number} now
 */
function speak(state, w, now) {
  const left = state.turnEnds - now;
  const open = w.claim !== 'gone';
  const mark = SPEAK_LEFT.filter((s) => left <= s * 1000).pop() ?? Infinity;
  const turning = w.part === 'turn' && open;
  if (turning && spokenLeft === Infinity) {
    spokenLeft = Math.min(mark, Number.MAX_VALUE);
    say('alarm', t('say.turn', { time: spoken(left) }));
  } else if (turning && mark < spokenLeft) {
    spokenLeft = mark;
    say('alarm', t('say.left', { time: spoken(left) }));
  } else if (!turning) {
    spokenLeft = Infinity;
    say('alarm', '');
  }
  const what = [w.part, w.heading.key, w.about?.key, w.said?.key, w.next?.key, state.notice, state.position === null].join('|');
  const fresh = what !== spokenWhat;
  const numbers = w.part === 'line' && state.place !== '' && state.position !== null;
  if (!fresh && !(numbers && state.link === 'live' && now - spokenAt > SPEAK_EVERY)) return;
  spokenWhat = what;
  spokenAt = now;
  // Whoever sits before an opening door does not hear its countdown.
  const about = w.about && w.about.key !== 'room.opens_in' ? tell(w.about) : '';
  const sentence = turning ? '' : numbers ? plural('say.position', state.waiting, { position: state.position ?? 0 })
    : w.part === 'line' ? '' : w.part === 'inside' ? tell(w.heading) : tell(w.heading) + '. ' + tell(w.text);
  const trouble = turning && state.link !== 'live' ? tell(w.text) : '';
  say('voice', [sentence, trouble, about, tell(w.next), state.notice, tell(w.said)].filter(Boolean).join(' '));
}
