// @ts-check
// What both runs share: the browser, and a page that fails the run when it logs
// an error, breaks its CSP, throws, or does not pass axe.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const PHONE = { width: 390, height: 844 };
export const DESK = { width: 1280, height: 800 };

/** @param {import('playwright-core').LaunchOptions} [more] @param {string[]} [args] */
export function launch(more = {}, args = []) {
  return chromium.launch({
    ...more,
    executablePath: process.env.WAITROOM_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync', ...args],
  });
}

/** Everything that went wrong on any page, as sentences. @type {string[]} */
const faults = [];

/** Notes what went wrong, and says so at once: a run that is cut short has said it. @param {string} sentence */
export function fault(sentence) {
  faults.push(sentence);
  console.log('FAULT ' + sentence);
}

/**
 * @param {import('playwright-core').Browser} browser
 * @param {{viewport?: {width: number, height: number}, dark?: boolean, still?: boolean, scale?: number, touch?: boolean, lang?: string}} [how]
 */
export async function open(browser, how = {}) {
  const context = await browser.newContext({
    viewport: how.viewport ?? PHONE,
    colorScheme: how.dark ? 'dark' : 'light',
    reducedMotion: how.still === false ? 'no-preference' : 'reduce',
    deviceScaleFactor: how.scale ?? 1,
    hasTouch: how.touch ?? false,
    locale: how.lang ?? 'en-GB',
  });
  const page = await context.newPage();
  watch(page);
  // What moves by itself is added up; what follows a finger or a key does not count.
  await page.addInitScript(() => {
    /** @type {any} */ (window).shifted = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        const shift = /** @type {any} */ (entry);
        if (!shift.hadRecentInput) /** @type {any} */ (window).shifted += shift.value;
      }
    }).observe({ type: 'layout-shift', buffered: true });
  });
  return page;
}

// What may move while a page loads and changes its state: "good" of Web Vitals.
const CALM = 0.1;

/** @param {import('playwright-core').Page} page @param {string} where */
export async function calm(page, where) {
  const shifted = await page.evaluate(() => /** @type {any} */ (window).shifted);
  want(shifted <= CALM, `${where}: got a layout shift of ${shifted.toFixed(3)}, want at most ${CALM}`);
}

/** @param {import('playwright-core').Page} page */
function watch(page) {
  page.on('console', (message) => {
    if (message.type() === 'error' && !expected(message.text())) fault(`${page.url()}: console: ${message.text()}`);
  });
  page.on('pageerror', (error) => fault(`${page.url()}: thrown: ${error.message}`));
}

/** @type {RegExp[]} */
let allowed = [];

/** The browser itself logs refused requests; a run names those it provokes. @param {RegExp[]} patterns */
export function allow(...patterns) {
  allowed = patterns;
}

/** @param {string} text */
function expected(text) {
  // A CSP violation is never expected.
  return !/Content Security Policy|Trusted Type/i.test(text) && allowed.some((p) => p.test(text));
}

/** @param {import('playwright-core').Page} page @param {string} where */
export async function check(page, where) {
  const found = await page.evaluate(async (source) => {
    // Through the debugger, so the page's CSP stays as it is.
    if (!('axe' in window)) (0, eval)(source);
    // @ts-ignore
    const { violations } = await window.axe.run(document, { resultTypes: ['violations'] });
    return violations.map((/** @type {any} */ v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((/** @type {any} */ n) => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).join(' | ')}`);
  }, axe);
  for (const violation of found) fault(`${where}: axe: ${violation}`);
}

/**
 * Waits until the page says something, and returns all it says but the seats.
 * @param {import('playwright-core').Page} page @param {string} where @param {RegExp} pattern @param {number} [patience] ms
 */
export async function see(page, where, pattern, patience = 8_000) {
  let text = '';
  for (const end = Date.now() + patience; Date.now() < end;) {
    // The page may be on its way to the next one: asked again.
    text = await page.evaluate(() => [...document.querySelectorAll('header, main section, main > p, main > div, main > footer')]
      .filter((e) => !e.parentElement?.closest('section') && /** @type {HTMLElement} */ (e).offsetParent !== null && !e.querySelector('section'))
      .map((e) => (e.querySelector('#map') ? /** @type {HTMLElement} */ (e.firstElementChild).innerText : /** @type {HTMLElement} */ (e).innerText)).join('\n')).catch(() => '');
    if (pattern.test(text)) return text;
    await page.waitForTimeout(50);
  }
  want(false, `${where}: got ${JSON.stringify(text)}, want ${pattern}`);
  return text;
}

/** @param {boolean} ok @param {string} sentence */
export function want(ok, sentence) {
  if (!ok) fault(sentence);
}

/** Ends the run with its exit code. @param {import('playwright-core').Browser} browser */
export async function finish(browser) {
  await browser.close();
  process.exitCode = faults.length === 0 ? 0 : 1;
}
