// @ts-check
// What was once seen to strand a page, each as a story in a small world.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Browser, Page, World } from './world.js';

/** A page in line in a healthy world. @param {number} [seed] */
function joined(seed = 1) {
  const world = new World(seed);
  const page = new Page(world);
  world.run(3_000);
  return { world, page, line: world.line };
}

/** A page whose turn it is. @param {number} ms @param {number} [seed] */
function turn(ms, seed) {
  const at = joined(seed);
  at.line.admit(at.page.state.place, ms);
  at.world.run(500);
  assert.equal(at.page.state.phase, 'turn');
  return at;
}

/** @param {World} world @param {() => boolean} fact */
function until(world, fact) {
  for (const end = world.now + 60_000; !fact(); world.run(1)) assert.ok(world.now < end, `waited a minute for ${fact}`);
}

/** @param {World} world */
function clean(world) {
  assert.deepEqual(world.faults, []);
}

/** @param {Page} page @param {number} from */
const dialsSince = (page, from) => page.dials.filter((at) => at > from).length;

/** @param {Page} page @param {string} type @param {number} from */
const sentSince = (page, type, from) => page.sent.filter((m) => m.type === type && m.at > from).length;

test('after a drain the page comes back with its place, and not before the time', () => {
  for (let seed = 0; seed < 20; seed++) {
    const { world, page, line } = joined(seed);
    const { place } = page.state;
    const at = world.now;
    line.drain(5_000);
    world.run(200);
    assert.equal(page.state.link, 'waiting');
    world.run(8_000);
    assert.equal(page.state.link, 'live', `seed ${seed}`);
    assert.equal(page.state.conn, 'joined');
    assert.equal(page.state.place, place);
    assert.equal(dialsSince(page, at), 1, 'one dial, at the time that was named');
    clean(world);
  }
});

test('a page that returns while the line is out of reach asks until it is joined, in every phase', () => {
  for (const phase of ['waiting', 'turn', 'inside']) {
    for (const knows of [true, false]) {
      const { world, page, line } = phase === 'waiting' ? joined() : turn(600_000);
      if (phase === 'inside') {
        page.happen({ type: 'claim' });
        world.run(1_000);
      }
      const { place } = page.state;
      line.away = true;
      line.knows = knows;
      line.drain(1_000);
      world.run(60_000);
      assert.equal(page.state.phase, phase);
      assert.equal(page.state.conn, 'refused', phase);
      line.away = false;
      world.run(31_000);
      assert.equal(page.state.conn, 'joined', `${phase}, ${knows}: deaf`);
      assert.equal(page.state.place, place);
      clean(world);
    }
  }
});

test('a join that is never answered is a lost connection', () => {
  const world = new World(3);
  const page = new Page(world);
  // The network goes right after the upgrade.
  until(world, () => page.sent.length > 0);
  /** @type {any} */ (page.ws).dark = true;
  world.run(9_000);
  assert.equal(page.state.link, 'connecting');
  world.run(8_000);
  assert.equal(page.state.conn, 'joined');
  clean(world);
});

test('an overloaded fleet is asked ever more slowly, errors or not', () => {
  for (const how of ['503', 'error', 'internal']) {
    const world = new World(4);
    if (how === '503') world.line.full = true;
    else world.line.refusal = how === 'error' ? 'overloaded' : 'internal';
    const pages = Array.from({ length: 40 }, () => new Page(world));
    world.run(600_000);
    const most = Math.max(...pages.map((p) => dialsSince(p, world.now - 60_000)));
    const all = pages.reduce((n, p) => n + dialsSince(p, world.now - 60_000), 0);
    assert.ok(most <= 12, `${how}: got ${most} dials of one page in a minute, want at most 12`);
    assert.ok(all / 40 <= 5, `${how}: got ${all / 40} dials a page and minute, want about 4`);
    clean(world);
  }
});

test('a lost node is spread over several seconds', () => {
  const world = new World(5);
  const pages = Array.from({ length: 400 }, () => new Page(world));
  world.run(10_000);
  for (const c of [...world.line.connections]) c.shut(1006);
  const from = world.now;
  world.run(5_000);
  const perSecond = [0, 0, 0, 0, 0];
  for (const p of pages) perSecond[Math.min(4, Math.floor((p.dials[1] - from) / 1_000))]++;
  assert.ok(Math.max(...perSecond) < 160, `got ${perSecond} dials a second of 400 pages, want them spread over 4 s`);
  clean(world);
});

test('a sold out room makes no herd, and its reopening is heard and joined', () => {
  const world = new World(6);
  world.line.room = 'sold_out';
  const pages = Array.from({ length: 50 }, () => new Page(world));
  world.run(3_600_000);
  for (const p of pages) {
    assert.equal(p.state.why, 'sold_out');
    assert.equal(p.state.link, 'live');
    assert.equal(p.dials.length, 1, 'nobody reconnects');
    assert.equal(p.sent.length, 1, 'nobody asks');
  }
  world.line.change('open');
  world.run(8_000);
  for (const p of pages) assert.equal(p.state.conn, 'joined');
  clean(world);
});

test('who has joined joins no second time on that connection, whatever the room does', () => {
  const { world, page, line } = joined();
  for (const state of ['sold_out', 'open', 'full', 'open', 'closed', 'paused', 'recovering', 'open']) {
    line.change(state);
    world.run(40_000);
  }
  assert.equal(page.sent.length, 1, JSON.stringify(page.sent));
  assert.equal(page.state.phase, 'waiting');
  clean(world);
});

test('nor does who was refused, when a new connection overtakes the asking', () => {
  for (let seed = 0; seed < 300; seed++) {
    const world = new World(seed);
    world.line.room = 'sold_out';
    const page = new Page(world);
    world.run(10_000);
    world.line.change('open');
    world.run(1_000);
    for (const c of [...world.line.connections]) c.shut(1006);
    world.run(20_000);
    assert.equal(page.state.phase, 'waiting', `seed ${seed}`);
    assert.ok(page.sent.length <= 3, JSON.stringify(page.sent));
    clean(world);
  }
});

test('nor does who heard an error of another act', () => {
  for (const code of ['sold_out', 'room_closed', 'room_full', 'stalled']) {
    const { world, page, line } = joined();
    for (const c of line.connections) c.say({ type: 'error', code });
    world.run(1_000);
    line.change('paused');
    world.run(40_000);
    assert.deepEqual([page.state.phase, page.sent.length], ['waiting', 1], code);
    clean(world);
  }
});

test('a full room is asked at most twice a minute, and joined when it opens', () => {
  const world = new World(7);
  world.line.room = 'full';
  const page = new Page(world);
  world.run(600_000);
  assert.ok(page.sent.length < 60 && page.sent.length > 15, `got ${page.sent.length} joins in 10 min`);
  assert.equal(page.dials.length, 1);
  world.line.change('open');
  world.run(31_000);
  assert.equal(page.state.conn, 'joined');
  clean(world);
});

test('a claim into a black hole is made again on a new connection, once, within seconds', () => {
  for (let seed = 0; seed < 20; seed++) {
    const { world, page } = turn(60_000, seed);
    world.run(10_000);
    /** @type {any} */ (page.ws).dark = true;
    const at = world.now;
    page.happen({ type: 'claim' });
    world.run(2_900);
    assert.equal(page.state.phase, 'claiming');
    world.run(1_800);
    assert.equal(page.state.phase, 'inside', `seed ${seed}`);
    assert.equal(page.went.length, 1, 'and goes to the shop by itself');
    assert.equal(dialsSince(page, at), 1);
    assert.equal(sentSince(page, 'claim', at), 1);
    clean(world);
  }
});

test('an admission that is lost under its claim is claimed again when it comes again', () => {
  for (let seed = 0; seed < 20; seed++) {
    const { world, page, line } = turn(60_000, seed);
    world.run(10_000);
    line.lose(1_000);
    page.happen({ type: 'claim' });
    world.run(1_500);
    assert.equal(page.state.phase, 'inside', `seed ${seed}`);
    assert.equal(page.went.length, 1, 'and goes to the shop by itself');
    clean(world);
  }
});

test('a claim rushes to a new connection once', () => {
  const { world, page } = turn(120_000);
  /** @type {any} */ (page.ws).dark = true;
  const at = world.now;
  page.happen({ type: 'claim' });
  until(world, () => sentSince(page, 'claim', at) > 0);
  world.line.mute = true;
  /** @type {any} */ (page.ws).dark = true;
  world.run(9_000);
  assert.equal(dialsSince(page, at), 1);
  world.run(1_100);
  assert.deepEqual([page.state.phase, page.state.said], ['turn', 'no_answer']);
  clean(world);
});

test('while a claim is in a black hole the link is not called live', () => {
  const { world, page } = turn(60_000);
  world.run(10_000);
  /** @type {any} */ (page.ws).dark = true;
  page.cut = true;
  page.happen({ type: 'claim' });
  world.run(3_100);
  for (let i = 0; i < 60; i++) {
    assert.notEqual(page.state.link, 'live');
    world.run(1_000);
  }
  assert.equal(page.state.phase, 'claiming', 'the click is not forgotten');
  assert.equal(page.state.late, true, 'and its time is over');
  page.cut = false;
  world.run(31_000);
  assert.deepEqual([page.state.phase, page.state.why], ['over', 'missed'], 'a lapsed claim was missed');
  clean(world);
});

test('a claim made while reconnecting is sent as soon as the line knows the page again', () => {
  const { world, page, line } = turn(60_000);
  line.drain(4_000);
  world.run(300);
  assert.equal(page.state.conn, 'pause');
  page.happen({ type: 'claim' });
  assert.equal(page.state.phase, 'claiming');
  world.run(6_000);
  assert.equal(page.state.phase, 'inside');
  assert.equal(page.went.length, 1);
  clean(world);
});

test('a claim that nobody answers while frames come gives the button back', () => {
  const { world, page, line } = turn(120_000);
  line.mute = true;
  page.happen({ type: 'claim' });
  // Somebody else's tab of this visitor, say, keeps the frames coming.
  for (let i = 0; i < 5; i++) {
    line.change('open');
    world.run(2_000);
  }
  world.run(1_000);
  assert.deepEqual([page.state.phase, page.state.said], ['turn', 'no_answer']);
  line.mute = false;
  page.happen({ type: 'claim' });
  world.run(500);
  assert.equal(page.state.phase, 'inside');
  clean(world);
});

test('a black hole is noticed after two beats and 2 s, and at once when somebody looks', () => {
  const { world, page, line } = joined();
  /** @type {any} */ (page.ws).dark = true;
  const last = page.state.heardAt;
  world.run(last + 2 * (line.beat + 1_000) + 1_900 - world.now);
  assert.equal(page.state.link, 'live');
  world.run(200);
  assert.equal(page.state.link, 'lost');
  world.run(6_000);
  assert.equal(page.state.conn, 'joined');

  world.run(10_000);
  /** @type {any} */ (page.ws).dark = true;
  world.run(page.state.heardAt + 9_000 - world.now);
  assert.equal(page.state.link, 'live');
  page.look();
  assert.notEqual(page.state.link, 'live');
  world.run(1_000);
  assert.equal(page.state.conn, 'joined', 'one beat and 2 s of silence are enough then');

  world.run(10_000);
  /** @type {any} */ (page.ws).dark = true;
  world.run(page.state.heardAt + 2_000 - world.now);
  page.look(); // a network that has just changed
  world.run(8_000);
  assert.equal(page.state.conn, 'joined', 'a look also shortens the silence that is believed');
  clean(world);
});

test('a place that came out of the browser’s cache reconnects at once', () => {
  const { world, page } = joined();
  world.run(10_000);
  page.look(true);
  world.run(1_000);
  assert.equal(page.state.conn, 'joined');
  assert.equal(page.dials.length, 2);
  clean(world);
});

test('a machine that slept looks at the time that really passed', () => {
  const { world, page, line } = turn(60_000);
  const ends = page.state.turnEnds;
  line.world.random = () => 0.9; // the look comes after waking
  page.sleep(false, 30_000);
  world.run(30_100);
  assert.ok(page.state.turnEnds < ends - 29_000, 'the turn ends when the server says, not when this clock does');
  world.run(2_000);
  assert.equal(page.state.conn, 'joined');
  clean(world);
});

test('offline: no herd of dials, no blind trust, back at once', () => {
  const { world, page, line } = joined();
  page.network = false;
  page.look();
  assert.equal(page.state.link, 'offline');
  page.cut = true;
  /** @type {any} */ (page.ws).dark = true;
  world.run(300_000);
  assert.equal(page.state.link, 'offline');
  const gaps = page.dials.slice(1).map((at, i) => at - page.dials[i]).slice(1);
  assert.ok(gaps.length > 5 && Math.min(...gaps) >= 25_000 && Math.max(...gaps) <= 40_000, `got dials ${gaps} apart, want 10 s to fail and 15 to 30 s of wait`);
  assert.ok(page.dials[1] > 15_000, 'the first wait too');
  page.cut = false;
  world.run(50_000); // a dial that fails, and one wait
  assert.equal(page.state.conn, 'joined', 'the browser is wrong about it');
  assert.equal(page.state.link, 'live');

  page.cut = true;
  page.look();
  /** @type {any} */ (page.ws).dark = true;
  world.run(100_000);
  page.cut = false;
  page.network = true;
  page.look();
  world.run(6_000);
  assert.equal(page.state.conn, 'joined');
  assert.equal(line.count, 1);
  clean(world);
});

test('a turn that lapsed was missed, whatever the server calls it, a reload later too', () => {
  for (const reload of [false, true]) {
    const { world, page, line } = turn(10_000);
    /** @type {any} */ (page.ws).dark = true;
    page.cut = true;
    world.run(9_000);
    assert.equal(page.state.late, false);
    world.run(2_000);
    assert.deepEqual([page.state.phase, page.state.late], ['turn', true]);
    world.run(60_000);
    assert.equal(line.places.get('P1')?.standing, 'gone');
    let shown = page;
    if (reload) {
      page.asleep = true;
      shown = new Page(world, page.browser);
    } else page.cut = false;
    world.run(31_000);
    assert.deepEqual([shown.state.phase, shown.state.why], ['over', 'missed'], `reload ${reload}`);
    clean(world);
  }
});

test('a place that was used for a pass is spent, not missed', () => {
  const { world, page, line } = turn(60_000);
  page.happen({ type: 'claim' });
  world.run(1_000);
  line.drain(100);
  line.end('P1', 'spent');
  world.run(10_000);
  assert.deepEqual([page.state.phase, page.state.why], ['over', 'spent']);
  clean(world);
});

test('who comes back too late hears that the place was given up, and joins at the tail', () => {
  const { world, page, line } = joined(9);
  page.cut = true;
  if (page.ws) page.ws.dark = true;
  line.end('P1', 'spent', 'away');
  world.run(180_000);
  page.cut = false;
  world.run(31_000);
  assert.deepEqual([page.state.phase, page.state.why], ['over', 'away']);
  page.happen({ type: 'join' });
  world.run(5_000);
  assert.deepEqual([page.state.phase, page.state.place], ['waiting', 'P2']);
  clean(world);
});

test('a place of a link is used, kept, and given up for the own one when it is worth nothing', () => {
  for (const [name, place, want] of [['living', 'P1', 'P1'], ['foreign', 'x.y.z', 'P2'], ['used', 'P3', 'P2']]) {
    const world = new World(9);
    const other = new Page(world);
    world.run(500);
    const browser = new Browser();
    const first = new Page(world, browser);
    world.run(500);
    const third = new Page(world);
    world.run(500);
    third.happen({ type: 'leave' });
    world.run(6_000);
    assert.deepEqual([other.state.place, first.state.place, third.state.phase], ['P1', 'P2', 'over']);
    first.asleep = true;
    const page = new Page(world, browser);
    page.happen({ type: 'place', place });
    assert.equal(browser.read().place, place, `${name}: a reload before the answer loses neither place`);
    assert.equal(browser.read().spare.place, 'P2');
    world.run(20_000);
    assert.equal(page.state.place, want, name);
    assert.equal(page.state.phase, 'waiting', name);
    assert.equal(browser.read().place, want, name);
    assert.equal(browser.read().spare, undefined, name);
    clean(world);
  }
});

test('a page in line that opens a link moves to its place', () => {
  const { world, page } = joined();
  const other = new Page(world);
  world.run(10_000);
  page.happen({ type: 'place', place: other.state.place });
  world.run(2_000);
  assert.equal(page.state.conn, 'joined');
  assert.equal(page.state.place, 'P2');
  page.happen({ type: 'place', place: 'P2' });
  assert.equal(page.state.conn, 'joined', 'the same place again changes nothing');
  clean(world);
});

test('too many tabs stop the oldest, with a button that brings it back', () => {
  const { world, page, line } = joined();
  for (const c of [...line.connections]) {
    c.say({ type: 'error', code: 'too_many_tabs' });
    c.shut(4500);
  }
  world.run(60_000);
  assert.deepEqual([page.state.phase, page.state.why, page.dials.length], ['stopped', 'too_many_tabs', 1]);
  page.happen({ type: 'join' });
  world.run(1_000);
  assert.deepEqual([page.state.phase, page.state.place], ['waiting', 'P1']);
  clean(world);
});

test('a page whose network has too many people waits connected, and is joined when it may', () => {
  for (let seed = 0; seed < 20; seed++) {
    const world = new World(seed);
    world.line.crowded = 10_000;
    const page = new Page(world);
    world.run(60_000);
    assert.deepEqual([page.state.phase, page.state.why, page.state.conn, page.state.link], ['blocked', 'address_limit', 'refused', 'live'], `seed ${seed}`);
    assert.equal(page.dials.length, 1, 'the connection stays');
    assert.ok(page.sent.length <= 6, `got ${page.sent.length} joins in a minute, want 10 s and more between them`);
    world.line.crowded = 0;
    world.run(41_000);
    assert.equal(page.state.conn, 'joined', `seed ${seed}`);
    clean(world);
  }
});

test('a place comes back through an address with too many people', () => {
  const { world, page, line } = joined();
  const { place } = page.state;
  line.crowded = 60_000;
  line.drain(1_000);
  world.run(5_000);
  assert.deepEqual([page.state.conn, page.state.place], ['joined', place]);
  clean(world);
});

test('a place is in the handshake: its address’s limits let it through, and a newcomer comes in after them', () => {
  for (let seed = 0; seed < 20; seed++) {
    const { world, page, line } = joined(seed);
    const { place } = page.state;
    line.gate = true;
    const newcomer = new Page(world);
    line.drain(1_000);
    world.run(5_000);
    assert.deepEqual([page.state.conn, page.state.place], ['joined', place], `seed ${seed}`);
    assert.notEqual(newcomer.state.conn, 'joined');
    line.gate = false;
    world.run(41_000);
    assert.equal(newcomer.state.conn, 'joined', `seed ${seed}`);
    clean(world);
  }
});
