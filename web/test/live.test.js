// @ts-check
// The live map against a booker of the test's own: what the page is told, whatever
// ends the stream.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { mock, test } from 'node:test';
import { Booker, eventsOf, Refused } from '../assets/booker.js';
import { Live, seatsOf } from '../assets/live.js';

/** @param {string} name */
const golden = (name) => JSON.parse(readFileSync(new URL('../../internal/seatmap/testdata/' + name, import.meta.url), 'utf8'));
// What a booker tells, to the byte: its own tests write these files.
const folder = new URL('../../internal/shop/testdata/live/', import.meta.url);
/** @param {string} name */
const wire = (name) => readFileSync(new URL(name, folder), 'utf8');
/** @typedef {import('../assets/booker.js').LiveEvent} LiveEvent */
/** @type {Record<string, LiveEvent>} */
const EVENTS = {};
for (const file of readdirSync(folder).filter((f) => f.endsWith('.txt'))) {
  for await (const event of eventsOf(new Response(wire(file)).body ?? assert.fail(file))) EVENTS[file.replace('.txt', '')] = /** @type {LiveEvent} */ (event);
}

/** Fails where a test invents what no booker tells. @param {string} kind @param {any} data */
function asTold(kind, data) {
  const like = Object.values(EVENTS).filter((e) => e.kind === kind);
  assert.ok(like.length > 0, `no booker tells ${kind}`);
  const fields = (/** @type {any} */ d) => Object.keys(d ?? {}).sort().join();
  assert.ok(like.some((e) => fields(e.data) === fields(data)), `no booker tells ${kind} with ${fields(data)}`);
  if (kind === 'bye') assert.ok(like.some((e) => /** @type {any} */ (e.data).reason === data.reason), `no booker says ${data.reason}`);
}
const PLAN = { version: 'P', sections: [{ name: '', rows: [{ name: 'A', seats: '1-3' }] }] };

/** Lets everything that is due happen. */
async function turn() {
  for (let i = 0; i < 30; i++) await Promise.resolve();
}

/** A booker whose streams the test feeds, and what the page made of them. */
function stage() {
  mock.timers.enable({ apis: ['setTimeout'] });
  let clock = 0;
  mock.method(performance, 'now', () => clock);
  mock.method(Math, 'random', () => 0.5);
  const world = {
    /** @type {any} */ answer: { version: 'L.1.5', plan: 'P', seats: 'fff' },
    plan: PLAN,
    refuse: '',
    /** @type {string[]} */ asked: [],
    /** @type {any[]} */ told: [],
    /** @type {Record<string, string>} */ seats: {},
    /** @type {{tell: (kind: string, data?: any) => void, end: (error?: Error) => void}[]} */ streams: [],
    async pass(/** @type {number} */ ms) {
      for (let at = 0; at < ms; at += 100) {
        clock += 100;
        mock.timers.tick(100);
        await turn();
      }
    },
  };
  const live = new Live({
    async map(since) {
      world.asked.push('map ' + since);
      if (world.answer instanceof Error) throw world.answer;
      return world.answer;
    },
    async plan(version) {
      world.asked.push('plan ' + version);
      return /** @type {any} */ (world.plan);
    },
    async *live(since, signal) {
      world.asked.push('live ' + since);
      if (world.refuse) throw new Refused({ code: world.refuse });
      /** @type {any[]} */
      const queue = [];
      let wake = () => {};
      world.streams.push({
        tell: (kind, data) => { asTold(kind, data); queue.push({ kind, data }); wake(); },
        end: (error) => { queue.push(error ?? null); wake(); },
      });
      signal.addEventListener('abort', () => { queue.push(new Error('aborted')); wake(); });
      for (;;) {
        while (queue.length === 0) await new Promise((done) => { wake = () => done(undefined); });
        const one = queue.shift();
        if (one === null) return;
        if (one instanceof Error) throw one;
        yield one;
      }
    },
  }, (event) => {
    world.told.push(event);
    if (event.type === 'seats') world.seats = {};
    if (event.type === 'seats' || event.type === 'changed') for (const s of event.seats) world.seats[s.id] = s.state;
  });
  return { world, live };
}

/** @param {string} name @param {(s: ReturnType<typeof stage>) => Promise<void>} story */
function story(name, story) {
  test(name, async () => {
    const s = stage();
    try {
      await story(s);
    } finally {
      s.live.stop();
      await turn();
      mock.timers.reset();
      mock.restoreAll();
    }
  });
}

test('a plan names its seats in order', () => {
  assert.deepEqual(seatsOf(golden('plan.json')), ['A-1', 'A-2', 'A-3', 'A-5', 'B-2', 'AA-10', 'AA-12', 'AA-13']);
  assert.deepEqual(seatsOf(golden('plan_sections.json')), ['LEFT-A-1', 'LEFT-A-2', 'LEFT-B-1', 'RIGHT-B-2', 'RIGHT-1-9', 'RIGHT-1-10']);
  assert.equal(seatsOf(golden('plan.json')).length, golden('plan.json').seats);
});

test('events are read whatever packets they come in', async () => {
  const names = ['hello', 'seats', 'beat', 'changes', 'changes_of_all_states', 'seats_of_another_plan', 'bye_draining', 'bye_tabs', 'bye_pass'];
  assert.deepEqual(Object.keys(EVENTS).sort(), [...names].sort());
  const bytes = new TextEncoder().encode(names.map((n) => wire(n + '.txt')).join('') + 'event: cut');
  for (const size of [1, 7, 1000]) {
    const body = new ReadableStream({
      start(c) {
        for (let i = 0; i < bytes.length; i += size) c.enqueue(bytes.slice(i, i + size));
        c.close();
      },
    });
    const got = [];
    for await (const event of eventsOf(body)) got.push(event);
    assert.deepEqual(got.map((e) => e.kind), ['hello', 'seats', '', 'changes', 'changes', 'seats', 'bye', 'bye', 'bye']);
    assert.deepEqual(got.map((e) => e.data), names.map((n) => {
      const data = wire(n + '.txt').split('\n').find((line) => line.startsWith('data: '));
      return data ? JSON.parse(data.slice(6)) : null;
    }));
  }
});

test('a stream is asked for, and taken in, as the booker has it', async () => {
  const answer = JSON.parse(wire('answer.json'));
  /** @type {string[]} */
  const asked = [];
  const fetched = globalThis.fetch;
  globalThis.fetch = /** @type {any} */ (async (/** @type {string} */ url, /** @type {any} */ how) => {
    asked.push(how.method + ' ' + url, how.headers.Authorization);
    return new Response(wire('hello.txt') + wire('bye_pass.txt'), { status: answer.status, headers: answer.header });
  });
  try {
    const got = [];
    for await (const event of new Booker('/rooms/gig', 'PASS').live('LIFE1.2.9', new AbortController().signal)) got.push(event);
    assert.deepEqual(got, [EVENTS.hello, EVENTS.bye_pass]);
    assert.deepEqual(asked, [`${answer.method} ${answer.path}?since=LIFE1.2.9`, 'Bearer PASS']);
  } finally {
    globalThis.fetch = fetched;
  }
});

story('what a booker tells from its first word to its last', async ({ world, live }) => {
  const tell = (/** @type {string} */ name) => world.streams[world.streams.length - 1].tell(EVENTS[name].kind, EVENTS[name].data);
  const shown = () => Object.entries(world.seats).filter(([, s]) => s !== 'free').map((e) => e.join(' '));
  world.plan = JSON.parse(wire('plan.json'));
  world.answer = { ...EVENTS.seats.data };
  live.start();
  await turn();
  for (const name of ['hello', 'seats', 'beat', 'changes']) tell(name);
  await turn();
  assert.deepEqual(shown(), ['A-2 held', 'A-3 held']);
  tell('changes_of_all_states');
  await turn();
  const all = ['A-1 blocked', 'A-2 booked', 'B-1 held'];
  assert.deepEqual([Object.keys(world.seats).length, shown()], [12, all]);
  world.plan = JSON.parse(wire('another_plan.json'));
  tell('seats_of_another_plan');
  await turn();
  assert.deepEqual([Object.keys(world.seats).length, shown()], [14, all]);
  assert.equal(world.asked.at(-1), 'plan ' + world.plan.version);
  world.answer = { ...EVENTS.seats_of_another_plan.data };
  tell('bye_draining');
  await world.pass(2_100);
  assert.equal(world.asked.at(-1), 'live LIFE2.1.9');
  for (const name of ['hello', 'bye_tabs']) tell(name);
  await world.pass(46_000);
  assert.equal(world.streams.length, 3, 'and back when the newer tabs had their time');
  for (const name of ['hello', 'bye_pass']) tell(name);
  await turn();
  assert.equal(world.told.filter((e) => e.type === 'ended').length, 1);
});

story('the plan once, the map, then what changes', async ({ world, live }) => {
  world.answer = { version: 'L.1.5', plan: 'P', seats: 'fhb' };
  live.start();
  live.start();
  await turn();
  assert.deepEqual(world.asked, ['map ', 'plan P', 'live L.1.5']);
  assert.deepEqual(world.seats, { 'A-1': 'free', 'A-2': 'held', 'A-3': 'booked' });
  world.streams[0].tell('hello', { beat_ms: 5000 });
  world.streams[0].tell('changes', { version: 'L.2.6', changes: { h: [0], f: [1], x: [2] } });
  await turn();
  assert.deepEqual(world.seats, { 'A-1': 'held', 'A-2': 'free', 'A-3': 'blocked' });
  // A proxy cuts it: back within a second, with what was seen, and nothing is read.
  world.streams[0].end();
  await world.pass(1_000);
  assert.deepEqual(world.asked.slice(3), ['live L.2.6']);
  live.stop();
  await world.pass(60_000);
  assert.equal(world.asked.length, 4, 'nothing is asked after stop');
});

story('a new plan is loaded before its map is told', async ({ world, live }) => {
  live.start();
  await turn();
  world.plan = { version: 'Q', sections: [{ name: '', rows: [{ name: 'A', seats: '1-4' }] }] };
  world.streams[0].tell('hello', { beat_ms: 5000 });
  world.streams[0].tell('seats', { version: 'M.1.9', plan: 'Q', seats: 'ffhf' });
  world.streams[0].tell('changes', { version: 'M.2.9', changes: { b: [3] } });
  await turn();
  assert.deepEqual(world.seats, { 'A-1': 'free', 'A-2': 'free', 'A-3': 'held', 'A-4': 'booked' });
  // A map of a plan that this booker does not have yet is not shown.
  world.streams[0].tell('seats', { version: 'N.1.9', plan: 'R', seats: 'fffff' });
  await turn();
  assert.equal(world.seats['A-3'], 'held');
});

story('without a stream the map is read every few seconds, and the stream tried again', async ({ world, live }) => {
  world.refuse = 'overloaded';
  live.start();
  await world.pass(60_000);
  const reads = world.asked.filter((a) => a.startsWith('map')).length;
  const tries = world.asked.filter((a) => a.startsWith('live')).length;
  assert.ok(reads >= 10 && reads <= 21, `got ${reads} reads in a minute, want one every 3 to 6 s`);
  assert.ok(tries >= 3 && tries <= 10, `got ${tries} tries in a minute, want fewer and fewer`);
  world.refuse = '';
  await world.pass(31_000);
  assert.ok(world.streams.length > 0, 'a stream comes back within half a minute');
});

story('an older map of the same server is not shown over a newer one', async ({ world, live }) => {
  live.start();
  await turn();
  world.streams[0].tell('changes', { version: 'L.5.9', changes: { h: [0] } });
  await turn();
  world.refuse = 'overloaded';
  world.streams[0].end(new Error('cut')); // without a hello: it told nothing
  await turn();
  assert.equal(world.asked.at(-1), 'map L.5.9');
  assert.equal(world.seats['A-1'], 'held', 'L.1.5 is older');
  world.answer = { version: 'K.1.9', plan: 'P', seats: 'bff' };
  await world.pass(7_000);
  assert.equal(world.seats['A-1'], 'booked', 'another server says what it has');
});

story('a stream that falls silent is given up', async ({ world, live }) => {
  live.start();
  await turn();
  world.streams[0].tell('hello', { beat_ms: 5000 });
  await world.pass(11_000);
  world.streams[0].tell('', null); // a beat
  await world.pass(11_000);
  assert.equal(world.streams.length, 1);
  await world.pass(2_500);
  assert.equal(world.streams.length, 2, 'after 12 s of silence');
});

story('bye says when to come back', async ({ world, live }) => {
  live.start();
  await turn();
  world.streams[0].tell('hello', { beat_ms: 5000 });
  world.streams[0].tell('bye', { reason: 'draining', retry_ms: 500 });
  await world.pass(600);
  assert.equal(world.streams.length, 2);
  world.streams[1].tell('hello', { beat_ms: 5000 });
  world.streams[1].tell('bye', { reason: 'draining', retry_ms: 2_000 });
  await world.pass(1_900);
  assert.deepEqual([world.streams.length, world.asked.at(-1)], [2, 'map L.1.5'], 'meanwhile it reads');
  await world.pass(200);
  assert.equal(world.streams.length, 3, 'and no later, though a read comes every few seconds');
  world.streams[2].tell('bye', { reason: 'tabs' });
  await world.pass(29_000);
  assert.equal(world.streams.length, 3, 'the newer tabs keep theirs');
  assert.ok(world.asked.filter((a) => a.startsWith('map')).length > 3, 'meanwhile it reads');
  await world.pass(30_000);
  world.streams[3].tell('bye', { reason: 'pass' });
  await turn();
  assert.equal(world.told.filter((e) => e.type === 'ended').length, 1);
});

story('a booker one version older is read, its list shown, and no stream asked for', async ({ world, live }) => {
  world.answer = { seats: [{ id: 'A-1', state: 'held' }] };
  live.start();
  await world.pass(10_000);
  assert.deepEqual(world.seats, { 'A-1': 'held' });
  const reads = world.asked.length;
  assert.ok(world.asked.every((a) => a === 'map ') && reads >= 2 && reads <= 4, `got ${world.asked}`);
});

story('no answer is told, and asked for ever more rarely', async ({ world, live }) => {
  world.answer = new Refused({ code: 'offline', retry: true });
  live.start();
  await world.pass(300_000);
  assert.ok(world.told.every((e) => e.type === 'problem' && e.problem.code === 'offline'));
  assert.ok(world.asked.length > 5 && world.asked.length < 16, `got ${world.asked.length} reads in five minutes`);
  world.answer = { version: 'L.1.5', plan: 'P', seats: 'fff' };
  live.look(); // somebody does something: at once
  await turn();
  assert.equal(world.seats['A-1'], 'free');
});

test('what was read before a stream is not vouched for after it', async () => {
  /** @type {(string|null)[]} */
  const vouched = [];
  globalThis.fetch = /** @type {any} */ (async (/** @type {string} */ url, /** @type {any} */ how) => {
    if (url.includes('/live')) return new Response('event: hello\ndata: {"beat_ms":5000}\n\n');
    vouched.push(how.headers['If-None-Match'] ?? null);
    return new Response('{"version":"L.1.5","plan":"P","seats":"f"}', { headers: { ETag: '"1"' } });
  });
  const booker = new Booker('/rooms/gig', 'PASS');
  await booker.map('');
  await booker.map(''); // nothing was shown of the first: the plan was lost, say
  await booker.map('L.1.5');
  for await (const event of booker.live('L.1.5', new AbortController().signal)) assert.equal(event.kind, 'hello');
  await booker.map('L.1.5');
  assert.deepEqual(vouched, [null, null, '"1"', null]);
});
