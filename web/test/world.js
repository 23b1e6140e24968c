// @ts-check
// A world for the waiting page's machine: one clock, a line that follows
// PROTOCOL.md as far as a page can tell, a network that loses connections without
// a word, and pages that do what waiting.js does with effects. All of it is
// virtual and deterministic: a seed is a whole story.

import { nextDue, start, step } from '../assets/line.js';

/** @typedef {import('../assets/line.js').State} State */
/** @typedef {import('../assets/line.js').Happening} Happening */

/** mulberry32. @param {number} seed */
export function chance(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class World {
  now = 0;
  /** @type {{at: number, run: () => void}[]} */ queue = [];
  /** @type {Page[]} */ pages = [];
  /** What must never be, and was. @type {string[]} */ faults = [];
  /** @type {string[]} */ log = [];

  /** @param {number} seed */
  constructor(seed) {
    this.random = chance(seed);
    this.line = new Line(this);
  }

  /** @param {number} ms @param {() => void} run */
  after(ms, run) {
    const entry = { at: this.now + ms, run };
    let i = this.queue.length;
    while (i > 0 && this.queue[i - 1].at > entry.at) i--;
    this.queue.splice(i, 0, entry);
  }

  /** Lets time pass. @param {number} ms */
  run(ms) {
    const end = this.now + ms;
    for (;;) {
      let at = this.queue[0]?.at ?? Infinity;
      /** @type {Page|null} */ let first = null;
      for (const page of this.pages) {
        if (page.asleep) continue;
        const due = Math.max(this.now, page.due);
        if (due < at) [at, first] = [due, page];
      }
      if (at > end) break;
      this.now = at;
      if (first) first.happen({ type: 'timer' });
      else /** @type {{run: () => void}} */ (this.queue.shift()).run();
    }
    this.now = end;
  }

  /** @param {string} sentence */
  fault(sentence) {
    if (this.faults.length < 5) this.faults.push(`at ${Math.round(this.now)}: ${sentence}`);
  }
}

/** Places and their standing, and the connections of one node after another. */
export class Line {
  up = true;
  /** Answers 503 before the upgrade. */ full = false;
  /** New dials are swallowed. */ dark = false;
  /** The store behind the line: while it is away joins and claims answer `stalled`. */ away = false;
  /** The node knows the room: else no `room` is ever said. */ knows = true;
  room = 'open';
  beat = 5_000;
  /** Claims are heard, and not answered. */ mute = false;
  /** Answers 429 before the upgrade to whoever offers no place of this line. */ gate = false;
  /** Joins are refused with this code. */ refusal = '';
  /** New places are refused to every address, for so many ms each time. */ crowded = 0;
  /** @type {Connection[]} */ connections = [];
  /** @type {Map<string, {standing: 'waits'|'admitted'|'inside'|'gone', ends: number, reason?: string}>} */ places = new Map();
  count = 0;

  /** @param {World} world */
  constructor(world) {
    this.world = world;
    const tick = () => {
      this.tick();
      world.after(1_000, tick);
    };
    world.after(1_000, tick);
  }

  tick() {
    const { now } = this.world;
    if (!this.away) {
      for (const [place, p] of this.places) {
        if ((p.standing === 'admitted' || p.standing === 'inside') && p.ends <= now) this.end(place, p.standing === 'admitted' ? 'missed' : 'spent');
      }
    }
    for (const c of this.connections) {
      if (!c.open || now - c.saidAt < this.beat - 500) continue;
      const p = this.places.get(c.place);
      if (p?.standing === 'waits' && !this.away) c.say({ type: 'position', position: 7, waiting: 99, eta: null });
      else if (c.place || (c.refused && this.knows)) c.say(this.roomFrame());
    }
  }

  roomFrame() {
    return { type: 'room', state: this.away ? 'stalled' : this.room, beat_ms: this.beat + 1_000 };
  }

  /** The room changes, and who hears it hears it within a second. @param {string} state */
  change(state) {
    this.room = state;
    for (const c of this.connections) {
      if (c.open && (c.place || c.refused)) this.world.after(this.world.random() * 1_000, () => c.open && c.say(this.roomFrame()));
    }
  }

  /** @param {string} place @param {string} word @param {string} [reason] why it is spent */
  end(place, word, reason) {
    const p = this.places.get(place);
    if (!p) return;
    p.standing = 'gone';
    p.reason = reason;
    for (const c of this.connections) {
      if (c.open && c.place === place) c.say({ type: word, reason });
    }
  }

  /** @param {string} place @param {number} ms */
  admit(place, ms) {
    const p = this.places.get(place);
    if (p?.standing !== 'waits' || this.away) return;
    p.standing = 'admitted';
    p.ends = this.world.now + ms;
    for (const c of this.connections) {
      if (c.open && c.place === place) c.say({ type: 'admitted', claim_ms: ms });
    }
  }

  /** The admissions of now are lost, and given again within ms, before any position. @param {number} ms */
  lose(ms) {
    for (const [place, p] of this.places) {
      if (p.standing !== 'admitted') continue;
      p.standing = 'waits';
      this.world.after(ms * this.world.random(), () => this.admit(place, 60_000));
    }
  }

  /** @param {number} retry */
  drain(retry) {
    for (const c of this.connections.filter((c) => c.open)) {
      c.say({ type: 'drain', retry_ms: retry * this.world.random() });
      c.shut(4000);
    }
  }

  /** @param {Connection} c @param {string} code @param {number} [retry] */
  refuse(c, code, retry) {
    c.say({ type: 'error', code, ...(retry && { retry_ms: retry }) });
    const close = CLOSES[code];
    if (close) return c.shut(close);
    c.refused = true;
    if (this.knows) c.say(this.roomFrame());
  }

  /** @param {Connection} c @param {any} m */
  hear(c, m) {
    const { now } = this.world;
    if (!c.open) return;
    if (m.type !== 'join' && !c.place) return c.say({ type: 'error', code: 'not_joined' });
    const p = this.places.get(c.place);
    switch (m.type) {
      case 'join': {
        if (p && p.standing !== 'gone') this.world.fault('got a join on a connection with a living place, want none');
        if (m.place && !/^P\d+$/.test(m.place)) return this.refuse(c, 'place_malformed');
        if (this.refusal) return this.refuse(c, this.refusal);
        if (this.crowded && !m.place) {
          if (now < c.again) this.world.fault(`got a join ${c.again - now} ms before the time that was told`);
          c.again = now + this.crowded;
          return this.refuse(c, 'address_limit', this.crowded);
        }
        if (this.away) return this.refuse(c, 'stalled');
        let place = m.place;
        if (place && !this.places.has(place)) return this.refuse(c, 'place_other_epoch');
        if (!place) {
          const no = { full: 'room_full', closed: 'room_closed', sold_out: 'sold_out', recovering: 'recovering' }[this.room];
          if (no) return this.refuse(c, no);
          place = 'P' + ++this.count;
          this.places.set(place, { standing: 'waits', ends: 0 });
        }
        c.place = place;
        c.refused = false;
        c.say({ type: 'joined', place, number: 1, epoch: 'abcdefgh', beat_ms: this.beat + 1_000 });
        c.say(this.roomFrame());
        const q = /** @type {{standing: string, ends: number, reason?: string}} */ (this.places.get(place));
        if (q.standing === 'admitted') c.say({ type: 'admitted', claim_ms: Math.max(0, q.ends - now) });
        if (q.standing === 'inside') c.say({ type: 'pass', pass: 'X', url: '/s', expires_ms: Math.max(0, q.ends - now) });
        if (q.standing === 'gone') c.say({ type: 'spent', reason: q.reason });
        return;
      }
      case 'claim':
        if (this.mute) return;
        if (this.away) return c.say({ type: 'error', code: 'stalled' });
        if (p?.standing === 'gone') return c.say({ type: 'spent', reason: p.reason });
        if (p?.standing === 'waits') return;
        if (p?.standing === 'admitted') {
          p.standing = 'inside';
          p.ends = now + 600_000;
        }
        for (const x of this.connections) {
          if (x.open && x.place === c.place) x.say({ type: 'pass', pass: 'X', url: '/s', expires_ms: (p?.ends ?? 0) - now });
        }
        return;
      case 'leave':
        if (this.away) return c.say({ type: 'error', code: 'stalled' });
        if (p?.standing === 'inside') return c.say({ type: 'error', code: 'leave_in_shop' });
        this.end(c.place, 'left');
    }
  }
}

/** The close code behind an error; the others leave the connection open. @type {Record<string, number>} */
const CLOSES = {
  overloaded: 4002, no_join: 4003, internal: 4010, slow: 4001, draining: 4000, too_many_tabs: 4500, unknown_room: 4501, room_deleted: 4501,
  place_malformed: 4502, place_foreign: 4502, place_other_room: 4502, place_other_epoch: 4502, too_fast: 4503, bad_message: 4503,
};

/** One WebSocket, both ends. */
class Connection {
  open = false; // the server's end
  gone = false; // the page's end
  dark = false; // nothing passes any more, and nobody is told
  place = '';
  refused = false;
  again = 0; // no join before it
  saidAt = 0;
  #last = 0;

  /** @param {Page} page @param {number} socket */
  constructor(page, socket) {
    this.page = page;
    this.socket = socket;
    this.world = page.world;
    this.line = page.world.line;
  }

  /** In order, with a delay of its own each. @param {() => void} run */
  pass(run) {
    this.#last = Math.max(this.#last, this.world.now + 10 + 90 * this.world.random());
    this.world.after(this.#last - this.world.now, () => !this.dark && run());
  }

  /** @param {string} place what the handshake offers */
  dial(place) {
    const { line } = this;
    this.dark = line.dark || this.page.cut;
    this.pass(() => {
      if (this.gone) return;
      if (!line.up || line.full || (line.gate && !line.places.has(place))) return this.tell({ type: 'closed', code: 1006 });
      this.open = true;
      this.saidAt = this.world.now;
      line.connections.push(this);
      this.pass(() => this.tell({ type: 'opened' }));
    });
  }

  /** @param {Happening} event */
  tell(event) {
    if (this.gone) return;
    this.page.hear({ ...event, socket: this.socket });
  }

  /** @param {object} message */
  say(message) {
    this.saidAt = this.world.now;
    this.pass(() => this.tell({ type: 'message', message }));
  }

  /** The server closes. @param {number} code */
  shut(code) {
    this.drop();
    this.pass(() => this.tell({ type: 'closed', code }));
  }

  drop() {
    this.open = false;
    const at = this.line.connections.indexOf(this);
    if (at >= 0) this.line.connections.splice(at, 1);
  }

  /** The page sends. @param {any} message */
  send(message) {
    this.pass(() => this.line.hear(this, message));
  }

  /** The page closes. */
  leave() {
    this.gone = true;
    if (this.dark) this.world.after(30_000, () => this.drop()); // the server finds out late
    else this.pass(() => this.drop());
  }
}

/** A browser's storage, shared by its tabs. */
export class Browser {
  kept = '';
  /** @type {Page[]} */ tabs = [];

  /** @returns {any} */
  read() {
    return this.kept ? JSON.parse(this.kept) : null;
  }

  /** @param {Page} by @param {string} value */
  write(by, value) {
    this.kept = value;
    const place = this.read();
    for (const tab of this.tabs) {
      if (tab !== by && place) by.world.after(5, () => tab.hear({ type: 'kept', message: place }));
    }
  }
}

/** What waiting.js is around the machine. */
export class Page {
  asleep = false;
  due = 0; // when its timer rings, on the world's clock
  cut = false; // its new connections are swallowed
  network = true; // what navigator.onLine says
  stopped = 0; // how long its clock stood still in all
  slept = 0;
  /** @type {Happening[]} */ inbox = [];
  /** @type {Connection|null} */ ws = null;
  /** @type {number[]} */ dials = [];
  /** @type {{type: string, at: number, socket: number, clicked: boolean}[]} */ sent = [];
  clicked = false; // clicked, or admitted anew, since the last claim
  /** @type {string[]} */ went = [];

  /** @param {World} world @param {Browser} [browser] */
  constructor(world, browser = new Browser()) {
    this.world = world;
    this.browser = browser;
    browser.tabs.push(this);
    world.pages.push(this);
    /** @type {State} */
    this.state = start(browser.read());
    this.look();
  }

  look(back = false) {
    this.hear({ type: 'look', network: this.network, back });
  }

  /** A frozen page hears everything when it wakes. @param {Happening} event */
  hear(event) {
    if (this.asleep) this.inbox.push(event);
    else this.happen(event);
  }

  /** @param {boolean} counts whether the page's clock goes on meanwhile @param {number} ms */
  sleep(counts, ms) {
    if (this.asleep) return;
    this.asleep = true;
    this.world.after(ms, () => {
      this.asleep = false;
      if (!counts) {
        this.stopped += ms;
        this.slept += ms;
      }
      // Whatever comes first after waking.
      if (this.world.random() < 0.5) this.happen({ type: 'timer' });
      for (const event of this.inbox.splice(0)) this.happen(event);
      if (this.world.random() < 0.7) this.look();
    });
  }

  /** @param {Happening} event */
  happen(event) {
    const { world } = this;
    const before = this.state;
    if (event.type === 'claim' || (event.type === 'message' && event.message.type === 'admitted')) this.clicked = true;
    if (event.type === 'closed' && this.ws?.socket === event.socket) this.ws.gone = true;
    const [state, effects] = step(before, { ...event, now: world.now - this.stopped, random: world.random(), slept: this.slept });
    this.slept = 0;
    this.state = state;
    this.due = nextDue(state) + this.stopped + 1e-6; // past what a difference of two clocks rounds away
    for (const effect of effects) {
      switch (effect.do) {
        case 'open': this.open(effect.socket, effect.place); break;
        case 'send': this.send(effect.message); break;
        case 'close': this.close(); break;
        case 'keep': {
          const { do: _, ...place } = effect;
          this.browser.write(this, JSON.stringify(place));
          break;
        }
        case 'forget': if (this.browser.read()?.place === effect.place) this.browser.write(this, ''); break;
        case 'go': this.went.push(effect.url); break;
      }
    }
    this.check(before, event);
  }

  /** @param {number} socket @param {string} place */
  open(socket, place) {
    if (this.ws && !this.ws.gone) this.close();
    this.dials.push(this.world.now);
    this.ws = new Connection(this, socket);
    this.ws.dial(place);
  }

  /** @param {any} message */
  send(message) {
    if (!this.ws || this.ws.gone) return this.world.fault(`got ${message.type} sent on no connection`);
    this.sent.push({ type: message.type, at: this.world.now, socket: this.state.socket, clicked: this.clicked });
    if (message.type === 'claim') this.clicked = false;
    this.ws.send(message);
  }

  close() {
    this.ws?.leave();
    this.ws = null;
  }

  /** What holds after every step. @param {State} before @param {Happening} event */
  check(before, event) {
    const s = this.state;
    const say = (/** @type {string} */ what) => this.world.fault(`${what} after ${event.type} ${event.message?.type ?? ''} ${event.message?.code ?? event.code ?? ''} in ${before.phase}/${before.conn}: ${s.phase}/${s.conn} ${JSON.stringify(s.timers)}`);
    const wants = /** @type {Record<string, string>} */ ({ pause: 'dial', dialing: 'connect', asked: 'answer', refused: 'silence', joined: 'silence', quiet: 'silence' })[s.conn];
    if (wants && !(wants in s.timers)) say(`got a deaf ${s.conn}, want timer ${wants}`);
    if (s.conn === 'idle' && !(['over', 'stopped'].includes(s.phase) && s.why)) say('got an idle page without a reason');
    if (['over', 'stopped', 'blocked'].includes(s.phase) && !s.why) say('got an end that nobody is told');
    if ((s.socket !== 0) !== (this.ws !== null && !this.ws.gone)) say(`got socket ${s.socket}, and the page's is ${this.ws?.gone === false}`);
    if (s.phase === 'claiming' && s.conn === 'joined' && !('claim' in s.timers)) say('got a claim that may hang');
    if (s.link === 'live' && s.heardAt + 2 * s.beat + 2_000 < this.world.now - this.stopped) say('got a silent link called live');
    if (Object.values(s.timers).some((at) => !Number.isFinite(at))) say('got a timer without a time');
  }
}
