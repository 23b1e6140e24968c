// @ts-check
// The waiting page: one state (line.js), one render from it, and the shell that
// does what a step asks for.

import { nextDue, placeIn, start, step } from './line.js';
import { chooseLanguage, dialog, el, eventName, here, kept, loadTexts, onClick, show } from './page.js';
import { forgetSpoken, render as draw } from './show.js';
import { Socket } from './socket.js';

/** @typedef {import('./line.js').State} State */

const { prefix, room } = here();
const name = eventName(room);
const store = kept('localStorage', 'waitroom:place:' + room);
const socket = new Socket(location.origin.replace(/^http/, 'ws') + prefix + '/rooms/' + room + '/ws', happen);

// The one timer looks at the clock again at least this often: phones freeze it.
const TIMER_MOST = 60_000;
// What the wall clock gains on the page's clock at once is sleep; less is drift.
const SLEPT_LEAST = 1_000;

// A page that finds no server has to find words for that.
const WORDS_WITHIN = 3_000;

/** @type {State} */
let state = start(readPlace());
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

let wanted = false;

/** Fetches the words, once. */
function wantWords() {
  if (wanted) return;
  wanted = true;
  void loadTexts().then(render);
}

/** @param {import('./line.js').Happening} event */
function happen(event) {
  const now = performance.now();
  const [next, effects] = step(state, { ...event, now, random: Math.random(), slept: slept() });
  state = next;
  for (const effect of effects) {
    switch (effect.do) {
      case 'open': socket.open(effect.socket, effect.place); break;
      case 'send':
        socket.send(effect.message);
        wantWords(); // beside the answer to the join, which waits for nothing
        break;
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
  timer = setTimeout(happen, Math.max(0, Math.min(Math.ceil(nextDue(state) - now), TIMER_MOST)), { type: 'timer' });
  render();
}

const icon = el('icon');
const icons = { line: icon.getAttribute('href') ?? '', turn: icon.dataset.turn ?? '' };

// How the turn reaches someone who looks away comes after the join, and may fail:
// then it is tried again, this often and no sooner than after so many ms.
const REACH_TRIES = 10;
const REACH_AGAIN = 15_000;
let reaching = { tries: 0, next: 0 };
/** @type {((state: State, name: string) => void)|undefined} */
let reach;

function render() {
  const now = performance.now();
  draw(state, now, { stored: store.works, name, icons });
  reach?.(state, name);
  if (reach || !state.place || state.link !== 'live' || now < reaching.next || reaching.tries >= REACH_TRIES) return;
  reaching = { tries: reaching.tries + 1, next: now + REACH_AGAIN };
  import('./turn.js').then((module) => (reach = module.reach), () => {});
}

function main() {
  takePlace();
  look(); // dials
  show('never', false);
  onClick('claim', () => happen({ type: 'claim' }));
  onClick('again', () => happen({ type: 'join' }));
  onClick('leave', () => dialog('leave-ask').showModal());
  onClick('leave-ask-no', () => dialog('leave-ask').close());
  onClick('leave-ask-yes', () => {
    dialog('leave-ask').close();
    happen({ type: 'leave' });
  });
  onClick('share', async () => {
    const { share } = await import('./share.js');
    if (state.place) share(location.origin + location.pathname, state.place);
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
  chooseLanguage(prefix, () => {
    forgetSpoken();
    render();
  });
  setInterval(() => happen({ type: 'tick' }), 500);
}

// The place in line first, the words after it: nothing is asked before the join is
// on its way, or could not go for a while. What goes wrong here leaves what the
// HTML brought along, and the note that offers to reload.
try {
  main();
  setTimeout(wantWords, WORDS_WITHIN);
} catch (error) {
  console.error(error);
  show('never', true);
  el('never').classList.add('at-once');
}
