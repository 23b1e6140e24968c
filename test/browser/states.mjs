// @ts-check
// Opens every state of both pages on scripted servers, in the looks named by its
// arguments, and checks each; on a desk, and with `quick`, a few states only. WAITROOM_SHOTS=DIR
// keeps a picture of each, WAITROOM_ONLY=TEXT those whose name has the text.

import { allow, check, DESK, finish, launch, open, PHONE, see, want } from './chromium.mjs';

const [, , base, ...wanted] = process.argv;
const shots = process.env.WAITROOM_SHOTS;
const only = process.env.WAITROOM_ONLY;
const quick = wanted.includes('quick');

// room → the text that must be on the page, and what must not.
const waiting = /** @type {Record<string, {see: RegExp, not?: RegExp}>} */ ({
  silent: { see: /Joining the line/ },
  finding: { see: /Finding your place/ },
  waiting: { see: /3,284[^]*of 12,480 people waiting[^]*3,283 people are ahead[^]*About 6 to 10 minutes/ },
  next: { see: /You are next[^]*About a minute or less/ },
  'no-eta': { see: /of 1,234 people/, not: /minute/ },
  opening: { see: /Opens in 12:3/ },
  paused: { see: /doors open ten minutes later[^]*paused/ },
  stalled: { see: /cannot reach the line/ },
  turn: { see: /It’s your turn[^]*1:4[^]*Choose seats/ },
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
  full: { see: /line is full[^]*by itself/ },
  drained: { see: /of 1,234 people/ },
  flaky: { see: /29 people are ahead/ },
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
  for (const [room, { see: pattern, not }] of Object.entries(waiting)) {
    const where = `${room}-${look.name}`;
    if ((only && !where.includes(only)) || (few && !['waiting', 'paused', 'turn', 'inside', 'missed'].includes(room))) continue;
    await page.goto(`${base}/rooms/${room}`);
    const text = await see(page, where, pattern);
    if (not) want(!not.test(text), `${where}: got ${JSON.stringify(text)}, want no ${not}`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    want(wide <= 0, `${where}: got a page ${wide} px too wide, want none`);
    await check(page, where);
    await keep(page, where);
  }
  await page.context().close();
  if (!only || `shop-${look.name}`.includes(only)) await seats(look);
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

await finish(browser);
