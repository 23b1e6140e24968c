// @ts-check
// Opens every state of both pages on scripted servers, in the looks named by its
// arguments, and checks each; on a desk, and with `quick`, a few states only. WAITROOM_SHOTS=DIR
// keeps a picture of each, WAITROOM_ONLY=TEXT those whose name has the text.

import { allow, calm, check, DESK, finish, launch, open, PHONE, see, want } from './chromium.mjs';

const [, , base, ...wanted] = process.argv;
const shots = process.env.WAITROOM_SHOTS;
const only = process.env.WAITROOM_ONLY;
const quick = wanted.includes('quick');

// room → the text that must be on the page, and what must not.
const waiting = /** @type {Record<string, {see: RegExp, not?: RegExp}>} */ ({
  connecting: { see: /Connecting …[^]*You are not in line yet/, not: /kept/ },
  silent: { see: /Connecting …[^]*You are not in line yet/, not: /kept/ },
  finding: { see: /Finding your place/ },
  waiting: { see: /3,284[^]*of 12,480 people waiting[^]*3,283 people are ahead[^]*About 6 to 10 minutes/ },
  next: { see: /You are next[^]*About a minute or less/ },
  'no-eta': { see: /of 1,234 people/, not: /minute/ },
  opening: { see: /Opens \S.*, in 12:3[^]*kept in this browser/ },
  'first-opening': { see: /You are next. Nobody is let in before/ },
  'first-paused': { see: /You are next. Nobody is let in at the moment/ },
  paused: { see: /paused[^]*doors open ten minutes later/ },
  stalled: { see: /cannot reach the line[^]*kept in this browser/ },
  turn: { see: /It’s your turn[^]*Choose seats[^]*1:4/ },
  late: { see: /It’s your turn[^]*0:1/ },
  inside: { see: /You’re in[^]*Continue to the seats[^]*9:5/ },
  back: { see: /of 60 people/, not: /your turn\b/ },
  missed: { see: /Your turn has passed[^]*Join the line/ },
  spent: { see: /Your visit is over[^]*Join the line/ },
  left: { see: /You left the line[^]*Join the line/ },
  epoch: { see: /earlier sale[^]*Join the line/ },
  tabs: { see: /another tab[^]*Use this tab/ },
  unknown: { see: /no waiting room at this address/, not: /Join the line/ },
  closed: { see: /Closed[^]*room is closed/ },
  sold: { see: /Sold out/, not: /1,234/ },
  'closed-note': { see: /Closed[^]*another day/, not: /kept/ },
  full: { see: /line is full[^]*by itself[^]*not in line yet/, not: /kept/ },
  'full-note': { see: /line is full[^]*second sale/ },
  'stalled-new': { see: /cannot reach the line[^]*not in line yet/, not: /kept/ },
  recovering: { see: /had a fault[^]*you get one as soon as[^]*not in line yet/, not: /kept|Join the line/ },
  'lost-waiting': { see: /87[^]*of 940 people waiting[^]*nobody loses theirs[^]*kept in this browser/, not: /minute|Join the line|Nobody is let in/ },
  'lost-finding': { see: /Finding your place[^]*nobody loses theirs[^]*kept in this browser/, not: /Join the line/ },
  'lost-turn': { see: /It’s your turn[^]*Choose seats[^]*1:4[^]*Your turn is not lost/, not: /Join the line/ },
  'lost-late': { see: /It’s your turn[^]*Choose seats[^]*may have longer/, not: /Time is up|Join the line/ },
  'over-late': { see: /Time is up[^]*while the connection was away/, not: /Choose seats/ },
  drained: { see: /of 1,234 people/ },
  flaky: { see: /29 people are ahead/ },
  event: { see: /Autumn Gala <img src=x onerror=alert\(1\)> & Friends[^]*December 24, 2026.*Grand Hall "East", Seoul[^]*3,284/ },
  'event-turn': { see: /It’s your turn[^]*Choose seats[^]*1:4/ },
  nowhere: { see: /Nothing here/ },
  strange: { see: /of 1,234 people/ },
});

const browser = await launch();
// Refused requests and sockets that the scripts provoke.
allow(/status of (401|403|404|409|410)/);

/** @param {import('playwright-core').Page} page @param {string} name */
async function keep(page, name) {
  if (shots) await page.screenshot({ path: `${shots}/${name}.png` });
}

const looks = [
  { name: 'phone', viewport: PHONE, dark: false, touch: true, scale: 2 },
  { name: 'phone-dark', viewport: PHONE, dark: true, touch: true, scale: 2 },
  { name: 'desk', viewport: DESK, dark: false },
  { name: 'desk-dark', viewport: DESK, dark: true },
].filter((look) => wanted.includes(look.name));

for (const look of looks) {
  // One page for all rooms: each keeps its place under a key of its own.
  const page = await open(browser, look);
  const few = quick || look.name.startsWith('desk');
  // In the dark the words are the same: one state for each thing that has a colour.
  const dark = ['waiting', 'opening', 'paused', 'stalled', 'lost-waiting', 'turn', 'late', 'inside', 'missed', 'unknown', 'closed-note', 'full', 'over-late', 'event', 'event-turn'];
  for (const [room, { see: pattern, not }] of Object.entries(waiting)) {
    const where = `${room}-${look.name}`;
    if (look.dark && !dark.includes(room) && !only) continue;
    if ((only && !where.includes(only)) || (few && !['waiting', 'paused', 'turn', 'inside', 'missed', 'event'].includes(room))) continue;
    await page.goto(`${base}/rooms/${room}`);
    const text = await see(page, where, pattern);
    if (not) want(!not.test(text), `${where}: got ${JSON.stringify(text)}, want no ${not}`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    want(wide <= 0, `${where}: got a page ${wide} px too wide, want none`);
    await calm(page, where);
    await check(page, where);
    await keep(page, where);
  }
  await page.context().close();
  if (look.name === 'phone') {
    for (const [name, story] of Object.entries({ order, late: lateWords, never, refused, korean, mirrored, reached, asleep, shared, near, walked, spoken, stark })) {
      if (only && !name.includes(only)) continue;
      const other = await open(browser, { ...look, touch: name !== 'reached', lang: name === 'korean' ? 'ko-KR' : 'en-GB' });
      await story(other);
      await other.context().close();
    }
  }
  if (!only || `shop-${look.name}`.includes(only)) await seats(look);
}

// Nothing but the HTML, its styles and its modules is asked for before the line.
/** @param {import('playwright-core').Page} page */
async function order(page) {
  /** @type {string[]} */
  const loaded = [];
  page.on('request', (r) => loaded.push(r.resourceType() + ' ' + new URL(r.url()).pathname.split('/').pop()));
  // The page's own order: what the browser reports of a socket comes later.
  await page.addInitScript(() => {
    const asked = /** @type {any} */ (window).asked = /** @type {string[]} */ ([]);
    const { fetch, WebSocket } = window;
    window.fetch = (...all) => (asked.push(String(all[0]).split('/').pop() ?? ''), fetch(...all));
    window.WebSocket = class extends WebSocket {
      /** @param {string} url @param {string|string[]} [kind] */
      constructor(url, kind) {
        asked.push('line');
        super(url, kind);
      }
    };
  });
  await page.goto(`${base}/rooms/waiting`);
  await see(page, 'order', /12,480 people/);
  const asked = await page.evaluate(() => /** @type {any} */ (window).asked);
  want(asked[0] === 'line' && asked[1] === 'en.json', `order: got ${asked}, want the line before the words`);
  const first = loaded.slice(0, loaded.findIndex((r) => r.startsWith('fetch')));
  want(first.length > 0 && first.every((r) => /^(document|stylesheet|script) /.test(r)), `order: got ${first} before the line, want only the document, its styles and its modules`);
}

// The words do not come at first: the sentences of the HTML stay, numbers are
// shown, and no key is; then the words come after all.
/** @param {import('playwright-core').Page} page */
async function lateWords(page) {
  let failed = 0;
  /** @type {() => void} */
  let release = () => {};
  const held = new Promise((done) => (release = () => done(undefined)));
  await page.route('**/lang/**', async (route) => {
    if (failed++ < 2) return route.abort();
    await held;
    return route.continue();
  });
  allow(/status of|net::ERR_FAILED/);
  await page.goto(`${base}/rooms/waiting`);
  const text = await see(page, 'late words', /3,284/);
  want(/Your place in line[^]*What happens next/.test(text), `late words: got ${JSON.stringify(text)}, want the sentences of the HTML`);
  want(!/\b[a-z_]+\.[a-z_.]+\b/.test(text.replace(/\.\s/g, ' ')), `late words: got ${JSON.stringify(text)}, want no key`);
  await page.goto(`${base}/rooms/turn`);
  await see(page, 'late words, turn', /It’s your turn[^]*Choose seats/);
  release();
  await page.goto(`${base}/rooms/sold`);
  await see(page, 'late words, then there', /Sold out/, 20_000);
  allow(/status of (401|403|404|409|410)/);
}

// A module that never comes is noticed without any script.
/** @param {import('playwright-core').Page} page */
async function never(page) {
  allow(/net::ERR_FAILED/);
  for (const path of ['/rooms/waiting', '/rooms/small/shop#pass=PASS']) {
    await page.route('**/page.js', (route) => route.abort());
    await page.goto(base + path, { waitUntil: 'load' });
    const note = page.locator('#never');
    want(!(await note.isVisible()), `never ${path}: got the note at once, want it after a while`);
    // The clock of the animation is put forward: no one waits here.
    const after = await page.evaluate(() => {
      const [clock] = document.getElementById('never')?.getAnimations() ?? [];
      const delay = Number(clock?.effect?.getTiming().delay);
      clock?.finish();
      return delay;
    });
    want(after >= 10_000, `never ${path}: got a note after ${after} ms, want some patience`);
    want(await note.isVisible(), `never ${path}: got no note, want one`);
    await check(page, 'never');
    await keep(page, 'never' + path.length);
    await page.unroute('**/page.js');
    await note.locator('a').click();
    await page.waitForFunction(() => document.documentElement.dataset.phase !== undefined);
    want(!(await note.isVisible()), `never ${path}: got the note after a good load, want none`);
  }
  allow(/status of (401|403|404|409|410)/);
}

// A browser that keeps nothing: no reload is promised, staying is asked for.
/** @param {import('playwright-core').Page} page */
async function refused(page) {
  await page.addInitScript(() => {
    Storage.prototype.setItem = () => {
      throw new DOMException('refused', 'QuotaExceededError');
    };
  });
  await page.goto(`${base}/rooms/waiting`);
  const text = await see(page, 'refused', /lives in this page[^]*Keep the page open/);
  want(!/kept in this browser|can reload/.test(text), `refused: got ${JSON.stringify(text)}, want no promise of a reload`);
  await check(page, 'refused');
  await keep(page, 'refused');
}

// The browser's language from the first byte on; another by hand, in place, and
// remembered.
/** @param {import('playwright-core').Page} page */
async function korean(page) {
  const answer = await page.goto(`${base}/rooms/waiting`);
  want(/연결하고 있어요/.test((await answer?.text()) ?? ''), 'korean: got a first sentence of another language, want Korean');
  await see(page, 'korean', /전체 12,480명 대기 중[^]*앞에 3,283명이 있어요[^]*약 6~10분/);
  await check(page, 'korean');
  await keep(page, 'korean');
  await page.evaluate(() => (/** @type {any} */ (window).same = true));
  await page.locator('[data-lang=en]').click();
  const text = await see(page, 'korean to english', /of 12,480 people waiting[^]*What happens next[^]*kept in this browser/);
  want(!/\p{Script=Hangul}/u.test(text.replace('한국어', '')), `korean to english: got ${JSON.stringify(text)}, want no Hangul but in the switch`);
  want(await page.evaluate(() => /** @type {any} */ (window).same && document.documentElement.lang === 'en'), 'korean to english: got another page, want the same one in English');
  want(await page.evaluate(() => document.activeElement?.getAttribute('data-lang') === 'ko'), 'korean to english: got the focus lost, want it on the way back');
  await page.reload();
  await see(page, 'english after a reload', /of 12,480 people waiting/);
  await page.goto(`${base}/rooms/small/shop#pass=PASS`);
  await see(page, 'the seats remember', /seats are free/);
  await page.locator('[data-lang=ko]').click();
  await see(page, 'the seats in korean', /좌석을 골라 주세요[^]*석이 남아 있어요/);
  const label = await page.locator('.seat[data-seat]').first().getAttribute('aria-label');
  want(/A열 좌석 1,/.test(label ?? ''), `the seats in korean: got the label ${label}, want a Korean one`);
  await check(page, 'the seats in korean');
  await keep(page, 'korean-seats');
  // Without the script the same link does it by a round trip.
  await page.goto(`${base}/rooms/waiting?lang=en`);
  await see(page, 'by the link alone', /of 12,480 people waiting/);
  want(!page.url().includes('?'), `by the link alone: got the address ${page.url()}, want it plain`);
}

// Written from right to left everything that has a direction turns round.
/** @param {import('playwright-core').Page} page */
async function mirrored(page) {
  await page.goto(`${base}/rooms/waiting`);
  await see(page, 'mirrored', /12,480/);
  const where = () => page.evaluate(() => ['.track-you', '.track-door', '#step-wait strong', '#name', '#link'].map((s) => {
    const box = /** @type {Element} */ (document.querySelector(s)).getBoundingClientRect();
    return { s, from: Math.round(box.left), to: Math.round(innerWidth - box.right) };
  }));
  const left = await where();
  const fill = await page.evaluate(() => getComputedStyle(/** @type {Element} */ (document.querySelector('.track-done'))).transformOrigin);
  await page.evaluate(() => (document.documentElement.dir = 'rtl'));
  const right = await where();
  for (const [i, a] of left.entries()) {
    const b = right[i];
    want(Math.abs(a.from - b.to) <= 1, `mirrored: ${a.s} stands ${a.from} px from the left, and ${b.to} px from the right, want the same`);
  }
  const filled = await page.evaluate(() => getComputedStyle(/** @type {Element} */ (document.querySelector('.track-done'))).transformOrigin);
  want(fill !== filled, `mirrored: got the bar filled from ${filled} both ways, want from the other end`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  want(wide <= 0, `mirrored: got a page ${wide} px too wide, want none`);
  await check(page, 'mirrored');
  await keep(page, 'mirrored');
  await page.goto(`${base}/rooms/small/shop#pass=PASS`);
  await see(page, 'mirrored seats', /seats are free/);
  await page.evaluate(() => (document.documentElement.dir = 'rtl'));
  const [one, two] = await page.evaluate(() => ['A-1', 'A-2'].map((id) => document.querySelector(`[data-seat="${id}"]`)?.getBoundingClientRect().left ?? 0));
  want(one < two, `mirrored seats: got seat 1 at ${one} and 2 at ${two}, want the hall as it is`);
  await check(page, 'mirrored seats');
  await keep(page, 'mirrored-seats');
}

// What the browser would ring, show and hold, written down instead.
/** @param {import('playwright-core').Page} page */
async function bells(page) {
  await page.addInitScript(() => {
    const rung = /** @type {any} */ (window).rung = /** @type {string[]} */ ([]);
    const node = () => ({ connect: (/** @type {any} */ to) => to, frequency: {}, start: () => rung.push('tone'), stop() {},
      gain: { setValueAtTime() {}, linearRampToValueAtTime() {}, exponentialRampToValueAtTime() {} } });
    /** @type {any} */ (window).AudioContext = class {
      currentTime = 0;
      constructor() {
        rung.push('armed');
      }
      suspend = async () => {};
      resume = async () => {};
      createOscillator = node;
      createGain = node;
    };
    const Fake = /** @type {any} */ (function (/** @type {string} */ title) {
      rung.push('note ' + title);
    });
    Fake.permission = 'default';
    Fake.requestPermission = async () => {
      rung.push('asked');
      return (Fake.permission = 'granted');
    };
    /** @type {any} */ (window).Notification = Fake;
    navigator.vibrate = () => rung.push('buzz') > 0;
    Object.defineProperty(navigator, 'wakeLock', { value: { request: async () => {
      rung.push('awake');
      return { released: false, release: async () => rung.push('asleep') };
    } } });
  });
  return () => page.evaluate(() => /** @type {string[]} */ (/** @type {any} */ (window).rung));
}

// A desk: consent is asked for by a button only; then a hidden tab rings, and the
// button has the focus. Spoken at the start and at a minute.
/** @param {import('playwright-core').Page} page */
async function reached(page) {
  const rung = await bells(page);
  await page.goto(`${base}/rooms/sold`);
  await see(page, 'reached, sold out', /Sold out/);
  await page.waitForFunction(() => document.getElementById('tell')?.dataset.asked);
  want(!(await page.locator('#tell').isVisible()), 'reached, sold out: got a turn promised, want none');
  await page.goto(`${base}/rooms/soon`);
  await see(page, 'reached', /One person is ahead/);
  await page.locator('#tell').waitFor();
  want(!(await rung()).some((r) => /asked|tone|note|buzz/.test(r)), `reached: got ${await rung()} before any click, want nothing asked`);
  await page.locator('#tell').click();
  await page.evaluate(() => Object.defineProperty(document, 'hidden', { get: () => true }));
  want(!(await page.locator('#tell').isVisible()), 'reached: got the button after consent, want it gone');
  await page.request.get(`${base}/rooms/soon/ring`);
  await see(page, 'reached', /It’s your turn/);
  await page.waitForFunction(() => /** @type {any} */ (window).rung.includes('tone'));
  const all = await rung();
  want(['asked', 'armed', 'buzz'].every((r) => all.includes(r)) && all.some((r) => /^note It’s your turn/.test(r)), `reached: got ${all}, want a sound, a vibration and a note after consent`);
  want(await page.evaluate(() => document.activeElement?.id === 'claim'), 'reached: got the focus elsewhere, want it on the button');
  want(/Your turn/.test(await page.title()), `reached: got the title ${await page.title()}, want the turn`);
  const alarm = page.locator('#alarm');
  want(/It’s your turn. You have 6[12] seconds/.test((await alarm.textContent()) ?? ''), `reached: got ${await alarm.textContent()} spoken, want the turn`);
  want((await alarm.getAttribute('aria-live')) === 'assertive', 'reached: got a polite voice, want an urgent one');
  await page.waitForFunction(() => /60 seconds left/.test(document.getElementById('alarm')?.textContent ?? ''), undefined, { timeout: 5_000 });
  want((await page.locator('#turn').isVisible()) && page.url().includes('/rooms/soon'), 'reached: got the page gone, want it to wait for a click');
}

// A phone: no note, but it stays awake and is told to keep the page open.
/** @param {import('playwright-core').Page} page */
async function asleep(page) {
  const rung = await bells(page);
  await page.addInitScript(() => {
    // The debugger's own calls count as gestures.
    Object.defineProperty(navigator, 'userActivation', { value: { hasBeenActive: false } });
    const match = window.matchMedia.bind(window);
    window.matchMedia = (query) => (query === '(pointer: coarse)' ? Object.defineProperty(match(query), 'matches', { value: true }) : match(query));
  });
  await page.goto(`${base}/rooms/soon`);
  await see(page, 'asleep', /One person is ahead/);
  await page.waitForFunction(() => /** @type {any} */ (window).rung.includes('awake'));
  want(!(await page.locator('#tell').isVisible()), 'asleep: got a note offered on a phone, want none');
  await page.request.get(`${base}/rooms/soon/ring`);
  await see(page, 'asleep', /It’s your turn/);
  want(!(await rung()).some((r) => /tone|buzz|note/.test(r)), `asleep: got ${await rung()} without a gesture, want silence`);
}

// The place goes to another device by a link whose fragment leaves the address.
/** @param {import('playwright-core').Page} page */
async function shared(page) {
  await page.goto(`${base}/rooms/waiting`);
  await see(page, 'shared', /12,480 people/);
  await page.locator('#share').click();
  await page.locator('#share-ask[open] #share-code path').waitFor();
  const link = await page.locator('#share-link').inputValue();
  want(link === `${base}/rooms/waiting#place=PLACE`, `shared: got the link ${link}, want the room with the place in the fragment`);
  want(/Whoever has this link has your place/.test(await page.locator('#share-ask').innerText()), 'shared: got no warning, want a plain one');
  await check(page, 'shared');
  await keep(page, 'shared');
  await page.locator('#share-close').click();
  want(await page.evaluate(() => !document.documentElement.outerHTML.includes('#place=')), 'shared: got the link in the closed dialog, want it gone');
  const other = await open(browser, { viewport: DESK });
  const joins = /** @type {string[]} */ ([]);
  other.on('websocket', (ws) => ws.on('framesent', (f) => joins.push(String(f.payload))));
  await other.goto(link);
  await see(other, 'shared, there', /12,480 people/);
  want(joins[0]?.includes('"place":"PLACE"'), `shared, there: got ${joins[0]} said first, want a join with the place`);
  want(!other.url().includes('PLACE'), `shared, there: got the address ${other.url()}, want no place in it`);
  await other.context().close();
}

// What one has to press is in reach without scrolling: in the first 390 px.
/** @param {import('playwright-core').Page} page */
async function near(page) {
  // The last is a desk at 200 %.
  for (const [width, height] of [[390, 844], [844, 390], [320, 568], [640, 400]]) {
    await page.setViewportSize({ width, height });
    for (const [room, id] of [['turn', 'claim'], ['event-turn', 'claim'], ['inside', 'continue'], ['missed', 'again'], ['paused', 'position']]) {
      await page.goto(`${base}/rooms/${room}`);
      await page.locator('#' + id).waitFor();
      await page.waitForFunction(() => document.documentElement.dataset.part !== 'line' || document.getElementById('line')?.dataset.known === 'true');
      const box = await page.locator('#' + id).boundingBox();
      const foot = box ? box.y + box.height : Infinity;
      want(foot <= 390, `near: ${room} at ${width}×${height}: got the end of #${id} at ${foot} px, want at most 390`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      want(wide <= 0, `near: ${room} at ${width}×${height}: got a page ${wide} px too wide, want none`);
      // Every target is one for a finger.
      const small = await page.evaluate(() => [...document.querySelectorAll('a, button, input')].flatMap((e) => {
        const b = e.getBoundingClientRect();
        return /** @type {HTMLElement} */ (e).checkVisibility({ visibilityProperty: true }) && (b.width < 44 || b.height < 44) ? [`${e.id || e.className || e.textContent} ${b.width}×${b.height}`] : [];
      }));
      want(small.length === 0, `near: ${room} at ${width}×${height}: got targets below 44 px: ${small}`);
    }
  }
}

// The order of the tab key is the order of reading, it gets everywhere, and each
// stop shows that it is there.
/** @param {import('playwright-core').Page} page */
async function walked(page) {
  for (const [room, want1] of /** @type {[string, string[]][]} */ ([['waiting', ['share', 'leave']], ['turn', ['claim', 'leave']], ['missed', ['again']], ['inside', ['continue']]])) {
    await page.goto(`${base}/rooms/${room}`);
    await page.waitForFunction(() => document.documentElement.dataset.phase !== undefined && document.documentElement.dataset.phase !== 'joining');
    // share comes with the words, which the line does not wait for.
    for (const id of want1) await page.locator('#' + id).waitFor();
    await page.mouse.click(1, 1); // the walk begins at the top, wherever the focus was put
    /** @type {{id: string, y: number, seen: boolean}[]} */
    const stops = [];
    for (let i = 0; i < 12; i++) {
      await page.keyboard.press('Tab');
      const stop = await page.evaluate(() => {
        const e = /** @type {HTMLElement} */ (document.activeElement);
        if (!e || e === document.body) return null;
        const style = getComputedStyle(e);
        return { id: e.id || e.dataset.lang || e.textContent || '', y: e.getBoundingClientRect().top + scrollY,
          seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 };
      });
      if (!stop || stops.some((s) => s.id === stop.id)) break;
      stops.push(stop);
    }
    const names = stops.map((s) => s.id);
    want(want1.every((id) => names.includes(id)), `walked: ${room}: got ${names}, want ${want1} among them`);
    want(stops.every((s, i) => i === 0 || s.y >= stops[i - 1].y - 4), `walked: ${room}: got ${JSON.stringify(stops)}, want each below the one before`);
    want(stops.every((s) => s.seen), `walked: ${room}: got ${names.filter((_, i) => !stops[i].seen)} without an outline, want one on each`);
  }
}

// The end of a turn is spoken at 20 and at 10 s, once each.
/** @param {import('playwright-core').Page} page */
async function spoken(page) {
  await page.addInitScript(() => {
    const said = /** @type {any} */ (window).said = /** @type {string[]} */ ([]);
    addEventListener('DOMContentLoaded', () => new MutationObserver(() => {
      const text = document.getElementById('alarm')?.textContent ?? '';
      if (text && said.at(-1) !== text) said.push(text);
    }).observe(/** @type {Node} */ (document.getElementById('alarm')), { childList: true, characterData: true, subtree: true }));
  });
  await page.goto(`${base}/rooms/ending`);
  await page.waitForFunction(() => /** @type {any} */ (window).said.some((/** @type {string} */ s) => /10 seconds left/.test(s)), undefined, { timeout: 20_000 });
  const said = await page.evaluate(() => /** @type {string[]} */ (/** @type {any} */ (window).said));
  want(said.filter((s) => /20 seconds left/.test(s)).length === 1 && said.filter((s) => /10 seconds left/.test(s)).length === 1,
    `spoken: got ${JSON.stringify(said)}, want 20 and 10 seconds once each`);
}

// The system's own colours: what means something without a word keeps a form that
// they show, and stands out by 3:1.
/** @param {import('playwright-core').Page} page */
async function stark(page) {
  for (const forced of [true, false]) {
    for (const dark of [false, true]) {
      await page.emulateMedia({ forcedColors: forced ? 'active' : 'none', colorScheme: dark ? 'dark' : 'light' });
      for (const [room, parts] of /** @type {[string, string[]][]} */ ([
        ['waiting', ['.track-done', '.track-you', '.dot']], ['turn', ['#claim', '.ring-left']], ['opening', ['.room-mark']]])) {
        const where = `stark ${forced ? 'forced' : 'own'} ${dark ? 'dark' : 'light'} ${room}`;
        await page.goto(`${base}/rooms/${room}`);
        await page.waitForFunction(() => document.documentElement.dataset.phase !== undefined && document.documentElement.dataset.phase !== 'joining');
        const low = await page.evaluate((parts) => {
          /** @param {string} colour */
          const rgb = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
          /** @param {number[]} c */
          const light = (c) => c.slice(0, 3).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          /** @param {Element|null} e */
          const ground = (e) => {
            for (; e; e = e.parentElement) {
              const c = rgb(getComputedStyle(e).backgroundColor);
              if (c.length === 3 || c[3] > 0) return c;
            }
            return [255, 255, 255];
          };
          return parts.flatMap((part) => {
            const e = document.querySelector(part);
            if (!e) return [part + ' is missing'];
            const style = getComputedStyle(e);
            const under = light(ground(e.parentElement));
            // Whichever of its colours says the most.
            const best = Math.max(...[style.backgroundColor, parseFloat(style.borderTopWidth) > 0 ? style.borderTopColor : '', e instanceof SVGElement ? style.stroke : ''].map((colour) => {
              const c = rgb(colour);
              if (c.length < 3 || (c.length > 3 && c[3] < 0.5)) return 1;
              const [a, b] = [light(c), under].sort((x, y) => y - x);
              return (a + 0.05) / (b + 0.05);
            }));
            return best >= 3 ? [] : [`${part} ${best.toFixed(2)}:1`];
          });
        }, parts);
        want(low.length === 0, `${where}: got ${low}, want at least 3:1`);
        await keep(page, where.replaceAll(' ', '-'));
      }
    }
  }
  await page.emulateMedia({ forcedColors: 'none' });
}

/** @param {typeof looks[number]} look */
async function seats(look) {
  for (const [room, pattern] of Object.entries({
    expired: /time is up/, spent: /has been used[^]*Back to the waiting room/,
  })) {
    const page = await open(browser, look);
    await page.goto(`${base}/rooms/${room}/shop#pass=PASS`);
    await see(page, `shop-${room}-${look.name}`, pattern);
    await check(page, `shop-${room}-${look.name}`);
    await keep(page, `shop-${room}-${look.name}`);
    await page.context().close();
  }
  {
    const page = await open(browser, look);
    await page.goto(`${base}/rooms/choosing/shop`);
    await see(page, `shop-nopass-${look.name}`, /No way in/);
    await check(page, `shop-nopass-${look.name}`);
    await keep(page, `shop-nopass-${look.name}`);
    await page.context().close();
  }
  for (const room of look.name === 'phone' ? ['small', 'large'] : ['small']) {
    const page = await open(browser, look);
    await page.goto(`${base}/rooms/${room}/shop#pass=PASS`);
    await see(page, `shop-${room}-${look.name}`, /seats are free/);
    await check(page, `shop-${room}-${look.name}`);
    await keep(page, `shop-${room}-${look.name}`);
    await page.context().close();
  }
  const page = await open(browser, look);
  const at = (/** @type {string} */ s) => `shop-${s}-${look.name}`;
  await page.goto(`${base}/rooms/taken/shop#pass=PASS`);
  await see(page, at('taken'), /seats are free/);
  want(!page.url().includes('PASS'), `${at('taken')}: got the pass in the address ${page.url()}, want none`);
  await keep(page, at('free'));
  const free = page.locator('#map .seat[data-look=free]');
  const first = await free.nth(340).getAttribute('data-seat');
  await page.locator(`[data-seat="${first}"]`).click();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowRight');
  await see(page, at('chosen'), /1 seat chosen/);
  await check(page, at('chosen'));
  await keep(page, at('chosen'));
  await page.locator('#hold').click();
  await see(page, at('quicker'), new RegExp(`Someone else was quicker: ${first}`));
  await check(page, at('quicker'));
  await keep(page, at('quicker'));

  await extended(look);

  const room = `whole-${look.name}`;
  await page.goto(`${base}/rooms/${room}/shop#pass=PASS`);
  await see(page, at('choosing'), /seats are free/);
  for (const n of [300, 301, 302]) await page.locator('#map .seat[data-look=free]').nth(n).click();
  await see(page, at('three'), /3 seats chosen/);
  await keep(page, at('three'));
  await page.locator('#hold').click();
  await see(page, at('held'), /Held for you[^]*4:3/);
  await check(page, at('held'));
  await keep(page, at('held'));
  await page.reload();
  await see(page, at('resumed'), /Held for you[^]*Confirm booking/);
  await page.locator('#release').click();
  await see(page, at('released'), /No seat chosen yet/);
  await page.locator('#map .seat[data-look=free]').nth(300).focus();
  await page.keyboard.press('Space');
  await page.locator('#hold').click();
  await see(page, at('held again'), /Held for you/);
  await page.locator('#confirm').click();
  await see(page, at('booked'), /Booked[^]*Reference/);
  await check(page, at('booked'));
  await keep(page, at('booked'));
  await page.reload();
  await see(page, at('booked after a reload'), /Booked[^]*Reference/);
  await page.context().close();
}

// In the last minute of a hold more time is offered: said aloud, taken by the keyboard,
// and gone when it was taken, here or in another tab.
/** @param {{name: string, viewport: {width: number, height: number}}} look */
async function extended(look) {
  const page = await open(browser, look.name === 'phone' ? { ...look, viewport: { width: 320, height: 640 } } : look);
  const at = (/** @type {string} */ s) => `shop-${s}-${look.name}`;
  const more = page.locator('#more');
  const said = () => page.locator('#voice').textContent();
  /** @param {import('playwright-core').Page} on @param {string} room */
  const hold = async (on, room) => {
    await on.goto(`${base}/rooms/${room}/shop#pass=PASS`);
    await see(on, at(room), /seats are free|Held for you/);
    if (await on.locator('#held').isVisible()) return;
    await on.locator('#map .seat[data-look=free]').first().click();
    await on.locator('#hold').click();
  };
  await hold(page, `long-${look.name}`);
  await see(page, at('long'), /Held for you/);
  want(!(await more.isVisible()), `${at('long')}: got more time offered at once, want it in the last minute`);
  await page.locator('#release').click();

  await hold(page, `short-${look.name}`);
  await see(page, at('more'), /Held for you[^]*0:4[^]*Take 2 minutes more/);
  want(/You can take more time/.test((await said()) ?? ''), `${at('more')}: got ${await said()} said, want the offer`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  want(wide <= 0, `${at('more')}: got a page ${wide} px too wide, want none`);
  await check(page, at('more'));
  await keep(page, at('more'));
  const other = await page.context().newPage();
  await other.addInitScript(() => sessionStorage.setItem('waitroom:pass:' + location.pathname.split('/').at(-2), 'PASS'));
  await hold(other, `short-${look.name}`);
  await more.focus();
  await page.keyboard.press('Enter');
  await see(page, at('extended'), /Held for you[^]*2:4/);
  want(!(await more.isVisible()), `${at('extended')}: got more time offered again, want it once`);
  want(await page.evaluate(() => document.activeElement?.id === 'held-title'), `${at('extended')}: got the focus lost, want it on the hold`);
  want(/held for you\. 3 minutes to confirm/.test((await said()) ?? ''), `${at('extended')}: got ${await said()} said, want the new time`);
  await other.bringToFront();
  await other.locator('#more').click();
  await see(other, at('extended elsewhere'), /have had their extra time already[^]*2:4/);
  want(!(await other.locator('#more').isVisible()), `${at('extended elsewhere')}: got more time offered, want none`);
  await page.context().close();
}

await finish(browser);
