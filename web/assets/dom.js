// @ts-check
// The few lines between a state and the elements of a page. Text is only ever
// set as text.

/** @param {string} id @returns {HTMLElement} */
export function el(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error('no element ' + id);
  return found;
}

/** @param {string} id @param {string} text */
export function say(id, text) {
  const e = el(id);
  if (e.textContent !== text) e.textContent = text;
}

/** @param {string} id @param {boolean} shown */
export function show(id, shown) {
  el(id).hidden = !shown;
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

/** Where the page is: its room and the path prefix, both from its address. */
export function here() {
  const found = /^(.*)\/rooms\/([a-z0-9][a-z0-9-]{0,62})(?:\/shop)?$/.exec(location.pathname);
  if (!found) throw new Error('not a room address');
  return { prefix: found[1], room: found[2] };
}

/**
 * Storage that may be missing, full or forbidden: the page then works without.
 * @param {'localStorage'|'sessionStorage'} kind @param {string} key
 */
export function kept(kind, key) {
  return {
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
      } catch {
        // A private window: the place then lives as long as the page.
      }
    },
  };
}
