// @ts-check
// How the turn reaches someone who looks elsewhere: a sound, a vibration, a system
// notification for a hidden tab, and a phone that stays awake. Each only where the
// browser allows it; what is not allowed is left out without a word. Loaded once
// the place is there, so that it never stands in the way of the join.

import { el, onClick, show, t } from './page.js';

/** @typedef {import('./line.js').State} State */

// Two notes, a fourth apart: [Hz, start, end] in s.
const CHIME = [[660, 0, 0.35], [880, 0.3, 0.9]];
const LOUD = 0.25;
const BUZZ = [300, 150, 300];

/** @type {AudioContext|null} */
let audio = null;
/** @type {WakeLockSentinel|null} */
let lock = null;
let locking = false;
let called = false;
/** @type {Notification|null} */
let note = null;

const phone = matchMedia('(pointer: coarse)');
const notes = 'Notification' in window && isSecureContext;

/** A sound needs a gesture, any one: from then on it may be made. */
function arm() {
  if (audio || !('AudioContext' in window)) return;
  audio = new AudioContext();
  void audio.suspend(); // silent for an hour costs nothing
}
for (const gesture of ['pointerdown', 'keydown']) document.addEventListener(gesture, arm, { passive: true });
if (navigator.userActivation?.hasBeenActive) arm();

async function chime() {
  if (!audio) return;
  await audio.resume();
  const start = audio.currentTime + 0.05;
  for (const [pitch, from, to] of CHIME) {
    const tone = audio.createOscillator();
    const gain = audio.createGain();
    tone.frequency.value = pitch;
    gain.gain.setValueAtTime(0, start + from);
    gain.gain.linearRampToValueAtTime(LOUD, start + from + 0.03);
    gain.gain.exponentialRampToValueAtTime(0.001, start + to);
    tone.connect(gain).connect(audio.destination);
    tone.start(start + from);
    tone.stop(start + to);
  }
}

/** @param {string} name what the room is called */
function call(name) {
  void chime().catch(() => {});
  if (navigator.userActivation?.hasBeenActive) navigator.vibrate?.(BUZZ);
  if (!document.hidden || !notes || Notification.permission !== 'granted') return;
  try {
    note = new Notification(t('tell.title'), { body: t('tell.text', { room: name }), tag: 'waitroom:' + location.pathname, requireInteraction: true });
    note.onclick = () => {
      window.focus();
      note?.close();
    };
  } catch {
    // Phones have it in service workers only.
  }
}

/** A phone that is looked at stays awake until the wait is over. @param {boolean} wanted */
async function awake(wanted) {
  if (!wanted) {
    void lock?.release().catch(() => {});
    lock = null;
    return;
  }
  if (lock && !lock.released || locking || !('wakeLock' in navigator)) return;
  locking = true;
  try {
    lock = await navigator.wakeLock.request('screen');
  } catch {
    // Low battery, or not allowed: the page says to keep it open anyway.
  }
  locking = false;
}

onClick('tell', async () => {
  arm();
  await Notification.requestPermission();
  show('tell', false);
});

/** After each render. @param {State} state @param {string} name */
export function reach(state, name) {
  const turn = state.phase === 'turn' || state.phase === 'claiming';
  if (turn && !called) call(name);
  if (!turn && called) note?.close();
  called = turn;
  void awake(phone.matches && !document.hidden && (turn || state.phase === 'waiting'));
  // Asked at a calm moment, by the visitor's own hand, and never again.
  // Nor of a room that is closed or sold out, where no turn comes.
  const calm = document.documentElement.dataset.part === 'line' && state.phase === 'waiting' && state.link === 'live' && state.position !== null;
  show('tell', calm && notes && !phone.matches && Notification.permission === 'default');
  el('tell').dataset.asked = notes ? Notification.permission : 'no';
}
