// @ts-check
// What both pages share: their elements, their texts, where they are and what
// they keep. One module, because each module is a request before the join. Text
// is only ever set as text, and every word comes from lang/*.json through here.

// --- elements -----------------------------------------------------------------

/** @param {string} id @returns {HTMLElement} */
export function el(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error('no element ' + id);
  return found;
}

/** @param {string} id @param {string|null} text null leaves what stands there */
export function say(id, text) {
  const e = el(id);
  if (text !== null && e.textContent !== text) e.textContent = text;
}

/** @param {string} id @param {boolean} shown */
export function show(id, shown) {
  const e = el(id);
  if (e.hidden === shown) e.hidden = !shown;
}

/** @param {string} id @param {string} text an empty one hides the element */
export function sayOrHide(id, text) {
  say(id, text);
  show(id, text !== '');
}

/** @param {string} id @param {(event: Event) => void} act */
export function onClick(id, act) {
  el(id).addEventListener('click', act);
}

/** A dialog of the page. @param {string} id */
export function dialog(id) {
  return /** @type {HTMLDialogElement} */ (el(id));
}

// --- where the page is, and what it keeps ---------------------------------------

/** Where the page is: its room and the path prefix, both from its address. */
export function here() {
  const found = /^(.*)\/rooms\/([a-z0-9][a-z0-9-]{0,62})(?:\/shop)?$/.exec(location.pathname);
  if (!found) throw new Error('not a room address');
  return { prefix: found[1], room: found[2] };
}

/**
 * What came in the fragment under this name, which leaves the address at once, so
 * that no copied link, no history and no screenshot carries it; '' for nothing.
 * @param {'pass'|'place'} name
 */
export function takeFragment(name) {
  const start = '#' + name + '=';
  if (!location.hash.startsWith(start)) return '';
  const found = location.hash.slice(start.length);
  history.replaceState(null, '', location.pathname + location.search);
  try {
    return decodeURIComponent(found);
  } catch {
    return found; // torn on the way: the server will say so
  }
}

/**
 * Storage that may be missing, full or forbidden: the page then works without,
 * and `works` says that nothing outlives it.
 * @param {'localStorage'|'sessionStorage'} kind @param {string} key
 */
export function kept(kind, key) {
  const store = {
    works: false,
    read() {
      try {
        return window[kind].getItem(key) ?? '';
      } catch {
        return '';
      }
    },
    /** @param {string} value */
    write(value) {
      try {
        if (value) window[kind].setItem(key, value);
        else window[kind].removeItem(key);
        store.works = (window[kind].getItem(key) ?? '') === value;
      } catch {
        store.works = false;
      }
    },
  };
  // Reading may work where writing does not. The key itself is not touched: another
  // tab may be writing it.
  try {
    window[kind].setItem(key + ':probe', '1');
    window[kind].removeItem(key + ':probe');
    store.works = true;
  } catch {
    // A private window: what is kept lives as long as the page.
  }
  return store;
}

// --- texts ------------------------------------------------------------------------

/** @type {Record<string, string>|null} */
let texts = null;
let lang = 'en';

// A language file is asked for again after a wait of up to this, doubling from
// the first, in ms; after so many tries in a row the page stays with the
// sentences that its HTML brought along.
const RETRY_FIRST = 1_000;
const RETRY_MOST = 30_000;
const RETRIES = 40;
const PATIENCE = 10_000;

/** Whether the texts are here; until then what stands in the HTML stays. */
export function haveTexts() {
  return texts !== null;
}

/**
 * Loads the language file that lies beside this module, trying again when that
 * fails. The latest call wins: an older one then answers false.
 * @param {string} [want] the page's own language if it is not named
 * @returns {Promise<boolean>} whether the texts are in use now
 */
export async function loadTexts(want = document.documentElement.lang) {
  const mine = ++asked;
  for (let n = 0; n < RETRIES && mine === asked; n++) {
    try {
      const answer = await fetch(new URL(`./lang/${document.documentElement.dataset.words ?? ''}${want}.json`, import.meta.url), { signal: AbortSignal.timeout(PATIENCE) });
      if (!answer.ok) throw new Error('HTTP ' + answer.status);
      const loaded = await answer.json();
      if (mine !== asked) break;
      useTexts(loaded);
      return true;
    } catch {
      await new Promise((done) => setTimeout(done, Math.random() * Math.min(RETRY_MOST, RETRY_FIRST * 2 ** n)));
    }
  }
  return false;
}
let asked = 0;

/** @param {Record<string, string>} loaded */
export function useTexts(loaded) {
  texts = loaded;
  lang = loaded['lang.code'];
}

/** Says every text that stands in the HTML anew. */
function retell() {
  const root = document.documentElement;
  root.lang = lang;
  root.dir = t('lang.dir');
  for (const e of document.querySelectorAll('[data-t]')) e.textContent = t(/** @type {HTMLElement} */ (e).dataset.t ?? '');
  for (const e of document.querySelectorAll('[data-t-label]')) e.setAttribute('aria-label', t(/** @type {HTMLElement} */ (e).dataset.tLabel ?? ''));
}

/**
 * Lets people choose their language by hand, in place: a reload would lose what
 * lives in the page. A cookie remembers it, so that the server's first sentences
 * are in it next time.
 * @param {string} prefix @param {() => void} after the rest is told anew
 */
export function chooseLanguage(prefix, after) {
  const links = /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll('[data-lang]'));
  for (const link of links) {
    link.addEventListener('click', async (event) => {
      event.preventDefault();
      const code = link.dataset.lang ?? '';
      document.cookie = `lang=${code}; path=${prefix}/; max-age=${365 * 24 * 3600}; samesite=lax`;
      if (!(await loadTexts(code))) return;
      retell();
      for (const other of links) other.hidden = other === link;
      [...links].find((other) => other !== link)?.focus();
      after();
    });
  }
}

/**
 * The text of a key with its {parameters} filled in. Numbers are written the
 * language's way. A missing key shows itself instead of nothing, but only once
 * the texts are there at all.
 * @param {string} key @param {Record<string, string|number>} [values]
 */
export function t(key, values = {}) {
  if (!texts) return '';
  const text = texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === 'number' ? number(value) : value;
  });
}

/**
 * One of several texts by the language's plural rules: key.one, key.other, …
 * @param {string} key @param {number} count @param {Record<string, string|number>} [values]
 */
export function plural(key, count, values = {}) {
  const exact = key + '.' + new Intl.PluralRules(lang).select(count);
  return t(texts && exact in texts ? exact : key + '.other', { count, ...values });
}

/** @param {number} n */
export function number(n) {
  return new Intl.NumberFormat(lang).format(n);
}

/** @param {string[]} items */
export function list(items) {
  return new Intl.ListFormat(lang, { type: 'conjunction' }).format(items);
}

/** What the page is for: the event's title, or the room's name. @param {string} room */
export function eventName(room) {
  return el('name').dataset.event ?? title(room);
}

/** Says the event's time, if the page has one, in the visitor's own zone. */
export function sayStart() {
  const time = document.getElementById('starts');
  if (time instanceof HTMLTimeElement) say('starts', moment(new Date(time.dateTime)));
}

/** A moment in the visitor's own zone, which is named. @param {Date} at */
export function moment(at) {
  return new Intl.DateTimeFormat(lang, {
    weekday: 'short', year: 'numeric', month: 'long', day: 'numeric', hour: 'numeric', minute: '2-digit', timeZoneName: 'short',
  }).format(at);
}

/** "4:07" or "1:02:09": what is left of `ms`, never below zero. @param {number} ms */
export function clock(ms) {
  const s = Math.max(0, Math.ceil(ms / 1000));
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0');
  const [h, m] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
  return (h > 0 ? `${h}:${two(m)}` : `${m}`) + ':' + two(s % 60);
}

/**
 * The same for a screen reader, in whole minutes down to the last one.
 * @param {number} ms
 */
export function spoken(ms) {
  const s = Math.max(0, Math.ceil(ms / 1000));
  return s <= 90 ? plural('time.second', s) : plural('time.minute', Math.round(s / 60));
}

/**
 * An estimated wait as words, or '' when it is unknown. The range is widened to
 * whole minutes, to hours from two hours on: an estimate must not look exact.
 * @param {{low_s: number, high_s: number}|null} eta
 */
export function wait(eta) {
  if (!eta) return '';
  if (eta.high_s <= 60) return t('eta.minute');
  if (eta.high_s > 7200) {
    const [low, high] = [Math.floor(eta.low_s / 3600), Math.ceil(eta.high_s / 3600)];
    return low < 1 ? t('eta.up_to_hours', { high }) : t('eta.hours', { low, high });
  }
  const [low, high] = [Math.floor(eta.low_s / 60), Math.ceil(eta.high_s / 60)];
  if (low < 1) return t('eta.up_to_minutes', { high });
  return low === high ? t('eta.about_minutes', { high }) : t('eta.minutes', { low, high });
}

/** "autumn-gala" → "Autumn gala": what a room without an event is called. @param {string} room */
export function title(room) {
  const words = room.replaceAll('-', ' ').trim() || room;
  return words[0].toUpperCase() + words.slice(1);
}
