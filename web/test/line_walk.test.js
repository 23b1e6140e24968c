// @ts-check
// Seeded walks through bad hours: whatever happens to the server, the network, the
// machine and the tabs, no step may break what world.js checks, and once the line
// is well again every page ends joined and knowing where it stands, or at an end
// that it tells.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CODES } from '../assets/line.js';
import { Browser, Page, World } from './world.js';

const WALKS = Number(process.env.WALKS ?? 2_000);
const FIRST = Number(process.env.FIRST_WALK ?? 1);
const STEPS = 30;
// After the line is well: a wait to come back (30 s; 60 s of a drain) that had just
// begun, the dial and the answer (10 s each) of a connection that was lost in a
// black hole, the silence that no beat was heard for (45 s), and one wait more.
const WELL_WITHIN = 180_000;
// By construction: full jitter from 4 s, doubling; only `joined` starts it anew,
// and a dial is a second behind the last whatever happens.
const DIALS_A_MINUTE = 25;

/** @param {number} seed */
function walk(seed) {
  const world = new World(seed);
  const { line } = world;
  const random = () => world.random();
  const pick = (/** @type {any[]} */ list) => list[Math.floor(random() * list.length)];
  const browsers = [new Browser(), new Browser()];
  /** @type {Record<string, number>} */
  const codes = CODES_BY_WEIGHT;
  const page = () => pick(world.pages);
  new Page(world, browsers[0]);
  const acts = /** @type {Record<string, [number, () => void]>} */ ({
    tab: [2, () => { if (world.pages.length < 4) new Page(world, pick(browsers)); }],
    drain: [3, () => line.drain(pick([0, 100, 5_000, 60_000]))],
    crash: [2, () => { for (const c of [...line.connections]) c.shut(1006); }],
    down: [2, () => { line.up = !line.up; }],
    overload: [1, () => { line.full = !line.full; }],
    away: [3, () => { line.away = !line.away; }],
    knows: [1, () => { line.knows = !line.knows; }],
    room: [4, () => line.change(pick(['open', 'open', 'opening', 'paused', 'full', 'sold_out', 'closed', 'recovering']))],
    refusal: [2, () => { line.refusal = line.refusal ? '' : pick(Object.keys(codes)); }],
    crowd: [2, () => { line.crowded = line.crowded ? 0 : pick([1_000, 10_000, 60_000]); }],
    gate: [2, () => { line.gate = !line.gate; }],
    dark: [2, () => { line.dark = !line.dark; }],
    hole: [4, () => { const c = pick(line.connections); if (c) c.dark = true; }],
    cut: [2, () => { const p = page(); p.cut = !p.cut; if (p.cut && p.ws) p.ws.dark = true; }],
    mute: [1, () => { line.mute = !line.mute; }],
    network: [3, () => { const p = page(); p.network = !p.network; p.look(); }],
    look: [3, () => page().look(random() < 0.2)],
    sleep: [3, () => page().sleep(random() < 0.5, pick([500, 5_000, 40_000, 600_000]))],
    admit: [5, () => line.admit(pick([...line.places.keys()]) ?? '', pick([2_000, 20_000, 120_000]))],
    lose: [2, () => line.lose(pick([0, 500, 20_000]))],
    spend: [1, () => line.end(pick([...line.places.keys()]) ?? '', 'spent', pick([undefined, 'away']))],
    claim: [6, () => page().hear({ type: 'claim' })],
    leave: [1, () => page().hear({ type: 'leave' })],
    join: [3, () => page().hear({ type: 'join' })],
    place: [1, () => page().hear({ type: 'place', place: pick([...line.places.keys(), 'foreign', 'P99']) })],
    beat: [1, () => { line.beat = pick([1_000, 5_000, 20_000]); }],
  });
  const names = Object.entries(acts).flatMap(([name, [weight]]) => Array(weight).fill(name));
  const story = [];
  for (let i = 0; i < STEPS; i++) {
    const name = pick(names);
    story.push(`${Math.round(world.now)} ${name}`);
    acts[name][1]();
    world.run(pick([0, 50, 500, 3_000, 10_000, 45_000]) * random());
  }
  // The line is well again; connections that went dark stay so.
  Object.assign(line, { up: true, full: false, away: false, knows: true, refusal: '', crowded: 0, gate: false, dark: false, mute: false });
  line.change('open');
  for (const p of world.pages) p.cut = false;
  let patience = WELL_WITHIN;
  for (const p of world.pages) if (p.asleep) patience = WELL_WITHIN + 600_000;
  world.run(patience);
  // Walks end at any moment of a turn, but not of the machine.
  for (const p of world.pages) {
    const { phase, conn, why, place, pass } = p.state;
    const stands = line.places.get(place)?.standing;
    const right = phase === 'over' || phase === 'stopped' ? why !== ''
      : conn === 'joined' && (
        stands === 'waits' ? phase === 'waiting'
          : stands === 'admitted' ? phase === 'turn' || phase === 'claiming'
            : stands === 'inside' && phase === 'inside' && pass !== null);
    if (!right) world.fault(`got ${phase}/${conn} (${why}) with a place that ${stands}, want joined or an end that is told: ${JSON.stringify(p.state)}`);
    // A page that is well needs no dial.
    for (let i = 0, k = 0; i < p.dials.length; i++) {
      while (p.dials[i] - p.dials[k] > 60_000) k++;
      if (i - k + 1 > DIALS_A_MINUTE) world.fault(`got ${i - k + 1} dials in a minute, want at most ${DIALS_A_MINUTE}`);
      if (i > 0 && p.dials[i] - p.dials[i - 1] < 999) world.fault(`got two dials within ${p.dials[i] - p.dials[i - 1]} ms, want a second`);
    }
    // A second claim follows a click, a refusal, another `admitted`, or a new connection.
    const claims = p.sent.filter((m) => m.type === 'claim');
    for (let i = 1; i < claims.length; i++) {
      if (!claims[i].clicked && claims[i].socket === claims[i - 1].socket) world.fault('got a second claim on one connection without a click or an `admitted`, want one');
    }
  }
  return { world, story };
}

// Refusals that pass: what never can change would only end the walk.
const CODES_BY_WEIGHT = Object.fromEntries(Object.keys(CODES).filter((code) => !['stop', 'drop'].includes(CODES[code].then) && code !== 'leave_in_shop' && code !== 'no_answer').map((code) => [code, 1]));

test(`${WALKS} walks end joined, or at an end that was told`, () => {
  const seen = new Set();
  for (let seed = FIRST; seed < FIRST + WALKS; seed++) {
    const { world, story } = walk(seed);
    for (const p of world.pages) seen.add(p.state.phase);
    assert.deepEqual(world.faults, [], `FIRST_WALK=${seed} WALKS=1\n${story.join('\n')}`);
  }
  if (WALKS > 100) for (const phase of ['waiting', 'inside', 'over']) assert.ok(seen.has(phase), `no walk ended ${phase}: they prove nothing about it`);
});
