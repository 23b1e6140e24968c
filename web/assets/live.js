// @ts-check
// The seat map as it changes: the plan once, then a stream of changes, and reads
// every few seconds while there is no stream. What came is told in order, and never
// an older map over a newer one of the same server; two servers see to that
// themselves by the version that each request carries.

import { Refused } from './booker.js';

/** @typedef {{id: string, state: string}} Seat */
/** @typedef {{version: string, sections: {name: string, rows: {name: string, seats: string}[]}[]}} Plan */
/** @typedef {{version: string, plan: string, seats: string}} Whole */

// Without a stream the map is read again after 3 to 6 s while someone looks at it,
// more rarely while that fails.
const LOOK_AGAIN = 3_000;
const LOOK_MOST = 30_000;
// A stream that told something comes again within a second: a proxy cut it, which
// may be its habit. One that never came is asked for again ever more rarely.
const BACK = 1_000;
const TRY_MOST = 30_000;
// No stream is silent for longer than twice its beat and some; before it has named
// its beat: that long to answer.
const PATIENCE = 15_000;
const SLACK = 2_000;

const STATES = /** @type {Record<string, string>} */ ({ f: 'free', h: 'held', b: 'booked' });

/** The seats of a plan, in its order. @param {Plan} plan */
export function seatsOf(plan) {
  const ids = [];
  for (const section of plan.sections) {
    for (const row of section.rows) {
      const before = (section.name && section.name + '-') + row.name + '-';
      for (const run of row.seats.split(',')) {
        const [first, last = first] = run.split('-').map(Number);
        for (let n = first; n <= last; n++) ids.push(before + n);
      }
    }
  }
  return ids;
}

/**
 * How long until a stream is tried again, in ms.
 * @param {{told: boolean, reason?: string, retry?: number}} end @param {number} refused in a row
 */
function pauseAfter(end, refused) {
  if (end.retry !== undefined) return end.retry;
  // Newer tabs have what a pass may have: it is theirs for a while.
  if (end.reason === 'tabs') return TRY_MOST * (1 + Math.random());
  return Math.random() * (end.told ? BACK : Math.min(TRY_MOST, BACK * 2 ** refused));
}

export class Live {
  /** @type {AbortController|null} */ #running = null;
  /** @type {() => void} */ #wake = () => {};
  /** @type {{version: string, ids: string[]}} */ #plan = { version: '', ids: [] };
  #version = '';
  #booker;
  #tell;

  /**
   * @param {Pick<import('./booker.js').Booker, 'map'|'plan'|'live'>} booker
   * @param {(event: {type: 'seats', seats: Seat[]} | {type: 'changed', seats: Seat[]} | {type: 'heard'} | {type: 'ended'}
   *   | {type: 'problem', problem: {code: string}}) => void} tell
   */
  constructor(booker, tell) {
    this.#booker = booker;
    this.#tell = tell;
  }

  /** Follows the map until stop; without effect while it does. */
  start() {
    if (this.#running) return;
    this.#running = new AbortController();
    this.#follow(this.#running.signal);
  }

  stop() {
    this.#running?.abort();
    this.#running = null;
    this.#wake();
  }

  /** Reads the map at once where only reads tell it. */
  look() {
    this.#wake();
  }

  /** @param {AbortSignal} stopped */
  async #follow(stopped) {
    let failures = 0; // of reads, in a row
    let refused = 0; // streams that told nothing, in a row
    let next = 0; // when a stream may be tried
    for (let read = true; !stopped.aborted; read = true) {
      let wait = 0;
      if (performance.now() >= next && this.#version) {
        const end = await this.#stream(stopped);
        if (stopped.aborted) return;
        if (end.reason === 'pass') this.#tell({ type: 'ended' });
        refused = end.told ? 0 : refused + 1;
        wait = pauseAfter(end, refused);
        next = performance.now() + wait;
        // A stream that ended a moment ago has told everything.
        read = !end.told || wait > BACK;
      }
      if (read) {
        failures = (await this.#read(stopped)) ? 0 : failures + 1;
        wait = Math.min(LOOK_MOST, LOOK_AGAIN * 2 ** failures) * (1 + Math.random());
        // No later than a stream may be tried.
        if (!failures && this.#version) wait = Math.min(wait, Math.max(0, next - performance.now()));
      }
      if (wait > 0 && !stopped.aborted) await this.#pause(wait);
    }
  }

  /** @param {number} ms */
  #pause(ms) {
    return new Promise((done) => {
      const timer = setTimeout(done, Math.ceil(ms)); // a part of one is cut, and woken too early the map is read again
      this.#wake = () => {
        clearTimeout(timer);
        done(undefined);
      };
    });
  }

  /** Reads the whole map once. @param {AbortSignal} stopped */
  async #read(stopped) {
    try {
      const answer = await this.#booker.map(this.#version);
      if (stopped.aborted) return true;
      if (answer) {
        // A booker one version older has neither plan nor stream.
        if (Array.isArray(answer.seats)) this.#tell({ type: 'seats', seats: answer.seats });
        else await this.#whole(/** @type {Whole} */ (answer));
      }
      if (!stopped.aborted) this.#tell({ type: 'heard' });
      return true;
    } catch (error) {
      if (!stopped.aborted) this.#tell({ type: 'problem', problem: error instanceof Refused ? error.problem : { code: 'internal' } });
      return false;
    }
  }

  /** @param {Whole} whole */
  async #whole(whole) {
    if (this.#older(whole.version)) return;
    if (whole.plan !== this.#plan.version) {
      const plan = await this.#booker.plan(whole.plan);
      this.#plan = { version: plan.version, ids: seatsOf(plan) };
    }
    const { version, ids } = this.#plan;
    // It changed between the two answers: the next one fits.
    if (version !== whole.plan || ids.length !== whole.seats.length) throw new Refused({ code: 'unavailable', retry: true });
    this.#version = whole.version;
    this.#tell({ type: 'seats', seats: ids.map((id, i) => ({ id, state: STATES[whole.seats[i]] ?? 'blocked' })) });
  }

  /** Whether this very server told a later map before. @param {string} version */
  #older(version) {
    const [life, n] = version.split('.');
    const [ours, last] = this.#version.split('.');
    return life === ours && Number(n) < Number(last);
  }

  /**
   * Listens until the stream ends, in whichever way.
   * @param {AbortSignal} stopped
   * @returns {Promise<{told: boolean, reason?: string, retry?: number}>} told: it told of the map
   */
  async #stream(stopped) {
    const cut = new AbortController();
    const stop = () => cut.abort();
    stopped.addEventListener('abort', stop);
    let silence = setTimeout(stop, PATIENCE);
    let patience = PATIENCE;
    let told = false;
    try {
      for await (const event of this.#booker.live(this.#version, cut.signal)) {
        clearTimeout(silence);
        if (stopped.aborted) break;
        silence = setTimeout(stop, patience);
        switch (event.kind) {
          case 'hello':
            patience = 2 * event.data.beat_ms + SLACK;
            told = true;
            this.#tell({ type: 'heard' });
            break;
          case 'seats':
            await this.#whole(event.data);
            break;
          case 'changes':
            this.#changes(event.data);
            break;
          case 'bye':
            return { told: true, reason: event.data.reason, retry: event.data.retry_ms };
        }
      }
    } catch {
      // Refused, cut or garbled: the reads will tell what is wrong.
    } finally {
      clearTimeout(silence);
      stopped.removeEventListener('abort', stop);
      cut.abort();
    }
    return { told };
  }

  /** @param {{version: string, changes: Record<string, number[]>}} data */
  #changes({ version, changes }) {
    const seats = [];
    for (const [state, list] of Object.entries(changes)) {
      for (const i of list) seats.push({ id: this.#plan.ids[i], state: STATES[state] ?? 'blocked' });
    }
    this.#version = version;
    this.#tell({ type: 'changed', seats });
  }
}
