// @ts-check
// The page of the API: it shows the contract of the server that it comes from, under the
// policy of the other pages, and asks nobody else for anything.

import { allow, fault, finish, launch, open, want, DESK } from './chromium.mjs';

const [address] = process.argv.slice(2);
const browser = await launch();
const page = await open(browser, { viewport: DESK });
allow();
/** @type {string[]} */
const asked = [];
page.on('request', (request) => asked.push(request.url()));
await page.goto(address);

/** @param {string} what @param {RegExp} pattern */
async function shows(what, pattern) {
  for (const end = Date.now() + 10_000; Date.now() < end;) {
    const text = await page.evaluate(() => document.body.innerText);
    if (pattern.test(text)) return;
    await page.waitForTimeout(50);
  }
  fault(`${what}: got ${JSON.stringify(await page.evaluate(() => document.body.innerText))}, want ${pattern}`);
}

await shows('the title', /The shop of waitroom/);
await shows('the description, in paragraphs', /Every request carries the pass[^]*A request has a body of at most 4,096 bytes/);
for (const path of ['/seats', '/plan', '/live', '/pass', '/holds', '/holds/{hold}', '/holds/{hold}/extend', '/holds/{hold}/confirm']) {
  const found = await page.evaluate((path) => [...document.querySelectorAll('.opblock-summary-path')]
    .some((e) => /** @type {HTMLElement} */ (e).innerText.replaceAll('\u200b', '').trim() === '/rooms/{room}' + path), path);
  want(found, `want an operation at ${path}`);
}

// One operation opened: its answers, and a golden one among them.
await page.click('#operations-holds-hold .opblock-summary-control');
await shows('an operation', /The same pass and seats are answered the same hold/);
await shows('an answer', /Somebody else has a seat of these/);
await shows('an example', /"code": "hold_open"/);
want(!(await page.evaluate(() => /Try it out|Authorize\b/.test(document.body.innerText))), 'want nothing that can be sent from here, nor a pass asked for');

const origin = new URL(address).origin;
for (const url of asked) want(url.startsWith(origin + '/') || url.startsWith('data:'), `got a request to ${url}, want none to anybody else`);
want(asked.some((url) => url.endsWith('/api/openapi.json')), `got ${asked}, want the contract loaded`);
console.log(asked.join('\n'));
await finish(browser);
