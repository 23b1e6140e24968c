// @ts-check
// One visitor's whole way through both pages of a running demo, on a phone. With
// WAITROOM_SHOTS=DIR it keeps the README's three pictures there.

import { allow, check, finish, launch, open, PHONE, see, want } from './chromium.mjs';

const [, , line] = process.argv;
const shots = process.env.WAITROOM_SHOTS;
const browser = await launch();
// An ended or refused request is logged by the browser; the page must cope.
allow(/status of 409/);

const page = await open(browser, { viewport: PHONE, touch: true, scale: 2, still: false });

/** @param {string} name */
async function keep(name) {
  if (shots) await page.screenshot({ path: `${shots}/${name}.png` });
}

/** @param {import('playwright-core').Page} of */
async function position(of) {
  const text = await of.locator('#position').textContent();
  return Number((text ?? '').replace(/\D/g, ''));
}

// Behind a crowd, so that there is a line to watch. Everyone who looks joins, so
// this is looked at in visits of their own, each leaving again.
async function crowd() {
  const scout = await open(browser);
  await scout.goto(line);
  await see(scout, 'scout', /of [\d,]+ people waiting|You are the only one/);
  const end = Date.now() + 30_000;
  while ((await scout.locator('#waiting').textContent())?.match(/of ([\d,]+)/)?.[1] === undefined && Date.now() < end) await scout.waitForTimeout(200);
  for (let n = 0; n < 20 && Date.now() < end;) {
    n = Number((await scout.locator('#waiting').textContent())?.replace(/\D/g, '') ?? 0);
    await scout.waitForTimeout(200);
  }
  await scout.locator('#leave').click();
  await scout.locator('#leave-ask-yes').click();
  await see(scout, 'scout', /You left the line/);
  await check(scout, 'left');
  await scout.context().close();
}
await crowd();

await page.goto(line);
await see(page, 'waiting', /of [\d,]+ people waiting/);
const first = await position(page);
want(first > 1, `waiting: got position ${first}, want a line ahead`);
await check(page, 'waiting');

// A reload and a second tab keep the place.
await page.reload();
await see(page, 'reload', /of [\d,]+ people waiting/);
const again = await position(page);
want(again <= first, `reload: got position ${again} after ${first}, want no greater`);
const tab = await page.context().newPage();
await tab.goto(line);
await see(tab, 'second tab', /of [\d,]+ people waiting/);
const second = await position(tab);
want(second <= again, `second tab: got position ${second} after ${again}, want no greater`);
await tab.close();

// The line moves, never back.
let last = again;
let moves = 0;
for (const end = Date.now() + 90_000; Date.now() < end && !(await page.locator('#turn').isVisible());) {
  if (await page.locator('#line').isVisible()) {
    const now = await position(page).catch(() => 0);
    if (now > 0) {
      want(now <= last, `the line: got position ${now} after ${last}, want no greater`);
      if (now < last) moves++;
      // The picture: some way gone, and an estimate there.
      if (moves === 3 && (await page.locator('#eta').isVisible())) await keep('waiting');
      last = now;
    }
  }
  await page.waitForTimeout(100);
}
want(moves > 0, `the line: got ${moves} moves from position ${first}, want some`);

await see(page, 'turn', /It’s your turn/, 10_000);
want(/Your turn/.test(await page.title()), `turn: got title ${await page.title()}, want it to say so`);
want(await page.locator('#icon').evaluate((e) => e.getAttribute('href') === e.dataset.turn), 'turn: got the icon of the line, want that of the turn');
want(/your turn/.test((await page.locator('#alarm').textContent()) ?? ''), 'turn: got nothing said aloud, want the turn');
await page.waitForTimeout(1_200); // the picture: past the first second of the ring
await keep('turn');
await check(page, 'turn');
await page.locator('#claim').click();

await page.waitForURL(/\/shop$/, { timeout: 15_000 }).catch(() => want(false, `shop: got the address ${page.url()}, want …/shop without a pass`));
await see(page, 'seats', /seats are free/, 15_000);
await check(page, 'seats');
const seat = async (/** @type {number} */ n) => page.locator('#map .seat[data-look=free]').nth(n);
// Two free neighbours in the middle of what a phone shows.
const pair = await page.evaluate(() => {
  const box = /** @type {HTMLElement} */ (document.getElementById('map-box')).getBoundingClientRect();
  const middle = (/** @type {Element} */ e) => {
    const r = e.getBoundingClientRect();
    return Math.hypot(r.x - box.x - box.width * 0.45, r.y - box.y - box.height * 0.55);
  };
  const free = (/** @type {Element|null} */ e) => e instanceof HTMLElement && e.dataset.look === 'free';
  const [best] = [...document.querySelectorAll('#map .seat')].filter((e) => free(e) && free(e.nextElementSibling)).sort((a, b) => middle(a) - middle(b));
  return [best, best.nextElementSibling].map((e) => /** @type {HTMLElement} */ (e).dataset.seat);
});
for (const id of pair) await page.locator(`[data-seat="${id}"]`).click();
await see(page, 'chosen', /2 seats chosen/);
await check(page, 'chosen');
await keep('seats');
await page.locator('#hold').click();
await see(page, 'held', /Held for you|Someone else was quicker/);
// A bot may have been quicker: then another seat will do.
for (let n = 0; n < 5 && !(await page.locator('#held').isVisible()); n++) {
  if (await page.locator('#hold').isDisabled()) await (await seat(40 + 7 * n)).click();
  await page.locator('#hold').click();
  await page.waitForTimeout(500);
}
await see(page, 'held', /Held for you/);
await check(page, 'held');
await page.reload();
await see(page, 'held after a reload', /Held for you[^]*Confirm booking/);
await page.locator('#confirm').click();
await see(page, 'done', /Booked[^]*Reference/);
await check(page, 'done');
await page.reload();
await see(page, 'done after a reload', /Booked[^]*Reference/);

// Whoever comes back to the line after a booking is told so, and not joined unasked.
await page.goto(line);
await see(page, 'back', /Your visit is over[^]*Join the line/, 15_000);
await check(page, 'back');

await finish(browser);
