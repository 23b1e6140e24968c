// @ts-check
// Every word on the pages comes from lang/en.json through here.

/** @type {Record<string, string>} */
let texts = {};
let lang = 'en';

/** Loads the language file that lies beside this module. */
export async function loadTexts() {
  const answer = await fetch(new URL('./lang/en.json', import.meta.url));
  if (!answer.ok) throw new Error('language file: HTTP ' + answer.status);
  useTexts(await answer.json());
}

/** @param {Record<string, string>} loaded */
export function useTexts(loaded) {
  texts = loaded;
  lang = loaded['lang.code'];
}

/**
 * The text of a key with its {parameters} filled in. Numbers are written the
 * language's way. A missing key shows itself instead of nothing.
 * @param {string} key @param {Record<string, string|number>} [values]
 */
export function t(key, values = {}) {
  const text = texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === 'number' ? number(value) : value;
  });
}

/**
 * One of several texts by the language's plural rules.
 * @param {Partial<Record<Intl.LDMLPluralRule, string>> & {other: string}} keys
 * @param {number} count @param {Record<string, string|number>} [values]
 */
export function plural(keys, count, values = {}) {
  const rule = new Intl.PluralRules(lang).select(count);
  return t(keys[rule] ?? keys.other, { count, ...values });
}

/** @param {number} n */
export function number(n) {
  return new Intl.NumberFormat(lang).format(n);
}

/** @param {string[]} items */
export function list(items) {
  return new Intl.ListFormat(lang, { type: 'conjunction' }).format(items);
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
  if (s <= 90) return plural({ one: 'time.second', other: 'time.seconds' }, s);
  return plural({ one: 'time.minute', other: 'time.minutes' }, Math.round(s / 60));
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

/** "autumn-gala" → "Autumn gala": a room has no other title yet. @param {string} room */
export function title(room) {
  const words = room.replaceAll('-', ' ').trim() || room;
  return words[0].toUpperCase() + words.slice(1);
}
