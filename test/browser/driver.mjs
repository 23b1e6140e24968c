// @ts-check
// A browser that another program commands: one JSON object per line on stdin, one
// answer per line on stdout, `{id, value}` or `{id, error}`. Commands run at once
// and answer in any order. It ends, with its Chromium, when stdin does.
//
// Each page writes down what it asks of the network and what it hears, by the
// browser's own word (CDP): the commanding test judges that list.

import { createInterface } from 'node:readline';
import { launch, PHONE } from './chromium.mjs';

// Beyond this an answer of a page is no answer: a frozen one gives none.
const PATIENCE = 10_000;
// Entries that a page keeps; a page of an hour at two frames a second has fewer.
const MOST = 20_000;

/**
 * One thing that a page did or heard, `at` in ms since 1970.
 * @typedef {{at: number, what: string, id?: string, url?: string, text?: string, code?: number}} Entry
 * @typedef {{page: import('playwright-core').Page, cdp: import('playwright-core').CDPSession, log: Entry[],
 *   alone: import('playwright-core').Browser|undefined, stopped: boolean}} Tab
 */

/** @type {Map<string, Tab>} */
const tabs = new Map();

// Playwright turns the cache of left pages off; here one of them is tested. Pages
// share processes, which Chromium otherwise gives each site for itself: dozens of
// them starting would be the load of the machine. Each visitor has a host of its
// own (v1.localhost, …) and with it a storage of its own.
const start = () => launch({ ignoreDefaultArgs: ['--disable-back-forward-cache'] },
  ['--renderer-process-limit=2', '--disable-site-isolation-trials', '--disable-features=IsolateOrigins,site-per-process']);
// Dozens of pages that move would be another load.
const looks = { viewport: PHONE, reducedMotion: /** @type {'reduce'} */ ('reduce') };
const browser = await start();
const visitors = await browser.newContext(looks);

/** @param {string} name */
function tab(name) {
  const found = tabs.get(name);
  if (!found) throw new Error('no page ' + name);
  return found;
}

/** @param {Tab} t */
async function listen({ page, cdp, log }) {
  // CDP's clock counts from the machine's start; the first request tells both.
  let offset = 0;
  /** @param {string} what @param {number|undefined} time @param {Partial<Entry>} more */
  const note = (what, time, more) => {
    const at = time !== undefined && offset ? (time + offset) * 1000 : Date.now();
    if (log.length < MOST) log.push({ at, what, ...more });
  };
  cdp.on('Network.requestWillBeSent', (e) => {
    offset = e.wallTime - e.timestamp;
    note('request', e.timestamp, { id: e.requestId, url: e.request.url });
  });
  cdp.on('Network.responseReceived', (e) => note('answer', e.timestamp, { id: e.requestId, url: e.response.url, code: e.response.status }));
  cdp.on('Network.loadingFinished', (e) => note('whole', e.timestamp, { id: e.requestId }));
  cdp.on('Network.loadingFailed', (e) => note('failed', e.timestamp, { id: e.requestId, text: e.errorText }));
  cdp.on('Network.webSocketCreated', (e) => note('dial', undefined, { id: e.requestId, url: e.url }));
  cdp.on('Network.webSocketWillSendHandshakeRequest', (e) => note('upgrade', e.timestamp, { id: e.requestId }));
  cdp.on('Network.webSocketHandshakeResponseReceived', (e) => note('open', e.timestamp, { id: e.requestId, code: e.response.status }));
  cdp.on('Network.webSocketFrameSent', (e) => note('sent', e.timestamp, { id: e.requestId, text: e.response.payloadData, code: e.response.opcode }));
  cdp.on('Network.webSocketFrameReceived', (e) => note('heard', e.timestamp, { id: e.requestId, text: e.response.payloadData, code: e.response.opcode }));
  cdp.on('Network.webSocketFrameError', (e) => note('broken', e.timestamp, { id: e.requestId, text: e.errorMessage }));
  cdp.on('Network.webSocketClosed', (e) => note('closed', e.timestamp, { id: e.requestId }));
  page.on('console', (m) => note('console', undefined, { text: `${m.type()}: ${m.text()}` }));
  page.on('pageerror', (e) => note('thrown', undefined, { text: e.message }));
  // Why a page that was left is loaded anew instead of shown again.
  cdp.on('Page.backForwardCacheNotUsed', (e) => note('not kept', undefined, { text: e.notRestoredExplanations.map((x) => x.reason).join(' ') }));
  await cdp.send('Page.enable');
  await cdp.send('Network.enable');
}

/** @type {Record<string, (ask: any) => Promise<unknown>>} */
const commands = {
  // A page; with `alone` in a browser of its own, which can be stopped.
  // `fail`: the first `times` requests whose address has `part` are answered with
  // `status`, or not at all when it is 0.
  async open({ page: name, alone: apart, url, fail }) {
    const alone = apart ? await start() : undefined;
    const context = alone ? await alone.newContext(looks) : visitors;
    const page = await context.newPage();
    /** @type {Tab} */
    const made = { page, cdp: await context.newCDPSession(page), log: [], alone, stopped: false };
    tabs.set(name, made);
    await listen(made);
    for (const { part, times, status } of fail ?? []) {
      let left = times;
      await page.route((address) => address.href.includes(part), async (route) => {
        if (left-- <= 0) await route.continue();
        else if (status) await route.fulfill({ status, contentType: 'text/plain', body: 'not now' });
        else await route.abort('connectionreset');
      });
    }
    await page.goto(url, { waitUntil: 'commit', timeout: PATIENCE });
  },
  // What a person sees, and what the page keeps.
  async look({ page: name }) {
    return tab(name).page.evaluate(() => ({
      phase: document.documentElement.dataset.phase ?? '',
      link: document.getElementById('link')?.dataset.link ?? '',
      word: document.getElementById('link')?.innerText ?? '',
      position: document.getElementById('position')?.innerText ?? '',
      text: document.body?.innerText ?? '',
      url: location.href.split('#')[0],
      visible: document.visibilityState,
      place: Object.entries({ ...localStorage }).find(([key]) => key.startsWith('waitroom:place:'))?.[1] ?? '',
    }));
  },
  async log({ page: name, from }) {
    return tab(name).log.slice(from);
  },
  // A click on what can be clicked; where a finger would meet it is for states.mjs.
  async click({ page: name, selector }) {
    await tab(name).page.evaluate((at) => {
      const e = /** @type {HTMLButtonElement|null} */ (document.querySelector(at));
      if (!e || e.disabled || e.offsetParent === null) throw new Error(at + ' cannot be clicked');
      e.click();
    }, selector);
  },
  async evaluate({ page: name, code }) {
    return tab(name).page.evaluate(code);
  },
  async go({ page: name, url }) {
    await tab(name).page.goto(url, { waitUntil: 'commit', timeout: PATIENCE });
  },
  // The debugger's `history.back()`: the page may come out of the browser's cache,
  // which Playwright's own goBack does not expect.
  async back({ page: name }) {
    const { cdp } = tab(name);
    const { currentIndex, entries } = await cdp.send('Page.getNavigationHistory');
    await cdp.send('Page.navigateToHistoryEntry', { entryId: entries[currentIndex - 1].id });
  },
  // As a phone does with a page that nobody looks at, but without a word to the
  // page: its process stands still while the browser's network goes on. Playwright
  // keeps pages awake, so the debugger's own freezing does nothing here. Only for a
  // page that has a browser of its own.
  async freeze({ page: name }) {
    for (const pid of await renderers(tab(name))) process.kill(pid, 'SIGSTOP');
    tab(name).stopped = true;
  },
  async thaw({ page: name }) {
    await thaw(tab(name));
  },
  async close({ page: name }) {
    const closing = tab(name);
    tabs.delete(name);
    if (closing.stopped) await thaw(closing);
    if (closing.alone) await closing.alone.close();
    else await closing.page.close();
  },
};

/** The processes that run pages, by their pids. @param {Tab} t @returns {Promise<number[]>} */
async function renderers({ alone }) {
  if (!alone) throw new Error('the page shares its browser');
  const cdp = await alone.newBrowserCDPSession();
  const { processInfo } = await cdp.send('SystemInfo.getProcessInfo');
  await cdp.detach();
  return processInfo.filter((p) => p.type === 'renderer').map((p) => p.id);
}

/** @param {Tab} t */
async function thaw(t) {
  for (const pid of await renderers(t)) process.kill(pid, 'SIGCONT');
  t.stopped = false;
}

/** @param {object} answer */
const tell = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');

/** @template T @param {Promise<T>} work @returns {Promise<T>} */
function inTime(work) {
  return Promise.race([work, new Promise((_, no) => setTimeout(no, 2 * PATIENCE, new Error('no answer within 20 s')).unref())]);
}

tell({ id: 0, value: browser.version() });
for await (const line of createInterface({ input: process.stdin })) {
  const ask = JSON.parse(line);
  inTime(Promise.resolve().then(() => commands[ask.do](ask)))
    .then((value) => tell({ id: ask.id, value: value ?? null }), (error) => tell({ id: ask.id, error: error.message }));
}
for (const { alone, stopped } of tabs.values()) if (alone && !stopped) await alone.close();
await browser.close();
process.exit(0); // and with it whatever Chromium still runs
