// @ts-check
// The booker's HTTP API as the seat page needs it. An answer that is no success
// is thrown as a Refused with the problem's code; no answer at all is 'offline'.

// Beyond this the network is considered gone; the booker's own limit is shorter.
const PATIENCE = 15_000;

/**
 * What a live map tells; '' is a sign of life. Of another kind than these a page knows
 * nothing, and goes on.
 * @typedef {{kind: 'hello', data: {beat_ms: number}}
 *   | {kind: 'seats', data: {version: string, plan: string, seats: string}}
 *   | {kind: 'changes', data: {version: string, changes: Record<string, number[]>}}
 *   | {kind: 'bye', data: {reason: 'pass'|'tabs'|'draining', retry_ms?: number}}
 *   | {kind: '', data: null}} LiveEvent
 */

export class Refused extends Error {
  /** @param {{code: string, seats?: string[], retry?: boolean}} problem */
  constructor(problem) {
    super(problem.code);
    this.problem = problem;
  }
}

export class Booker {
  #base;
  #pass;
  #etag = '';

  /** @param {string} base the room's address @param {string} pass */
  constructor(base, pass) {
    this.#base = base;
    this.#pass = pass;
  }

  /**
   * The whole map, no older than the version; null when nothing has changed since
   * the last time. A booker one version older answers the list of seats.
   * @param {string} since
   * @returns {Promise<{version?: string, plan?: string, seats: string|{id: string, state: string}[]}|null>}
   */
  async map(since) {
    /** @type {Record<string, string>} */
    // Who has seen nothing has nothing to keep.
    const headers = since && this.#etag ? { 'If-None-Match': this.#etag } : {};
    const answer = await this.#ask('GET', '/seats?plan' + (since && '&since=' + encodeURIComponent(since)), undefined, { headers });
    if (answer.status === 304) return null;
    const map = await answer.json();
    this.#etag = answer.headers.get('ETag') ?? '';
    return map;
  }

  /** Which seats there are: the browser keeps it. @param {string} version */
  async plan(version) {
    return (await this.#ask('GET', '/plan?v=' + encodeURIComponent(version), undefined, { cache: 'default' })).json();
  }

  /**
   * What changes on the map since a version, until the signal ends it.
   * @param {string} since @param {AbortSignal} signal
   * @returns {AsyncGenerator<LiveEvent>}
   */
  async *live(since, signal) {
    this.#etag = ''; // what was read is not what the page shows from now on
    const answer = await this.#ask('GET', '/live?since=' + encodeURIComponent(since), undefined, { signal });
    if (answer.body) yield* /** @type {AsyncGenerator<LiveEvent>} */ (eventsOf(answer.body));
  }

  async pass() {
    return (await this.#ask('GET', '/pass')).json();
  }

  /** @param {string[]} seats */
  async hold(seats) {
    return (await this.#ask('POST', '/holds', { seats })).json();
  }

  /** @param {string} id */
  async release(id) {
    await this.#ask('DELETE', '/holds/' + id);
  }

  /** More time for a hold, once. @param {string} id */
  async extend(id) {
    return (await this.#ask('POST', '/holds/' + id + '/extend')).json();
  }

  /** @param {string} id */
  async confirm(id) {
    return (await this.#ask('POST', '/holds/' + id + '/confirm')).json();
  }

  async leave() {
    await this.#ask('DELETE', '/pass');
  }

  /**
   * @param {string} method @param {string} path @param {object} [body]
   * @param {{headers?: Record<string, string>, cache?: RequestCache, signal?: AbortSignal}} [how]
   */
  async #ask(method, path, body, how = {}) {
    let answer;
    try {
      answer = await fetch(this.#base + path, {
        method,
        headers: { Authorization: 'Bearer ' + this.#pass, ...(body ? { 'Content-Type': 'application/json' } : {}), ...how.headers },
        body: body && JSON.stringify(body),
        cache: how.cache ?? 'no-store',
        referrerPolicy: 'no-referrer',
        signal: how.signal ?? AbortSignal.timeout(PATIENCE),
      });
    } catch {
      throw new Refused({ code: 'offline', retry: true });
    }
    if (answer.ok || answer.status === 304) return answer;
    let problem;
    try {
      problem = await answer.json();
    } catch {
      problem = { code: answer.status >= 500 ? 'unavailable' : 'internal' }; // a proxy's own page
    }
    throw new Refused(problem);
  }
}

/**
 * The events of a stream, as the HTML standard writes them. A comment is an event
 * of kind '': a sign of life.
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<{kind: string, data: any}>}
 */
export async function* eventsOf(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const blocks = rest.split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        let kind = '';
        let data = '';
        for (const line of block.split('\n')) {
          if (line.startsWith('event: ')) kind = line.slice(7);
          else if (line.startsWith('data: ')) data += line.slice(6);
        }
        yield { kind, data: data ? JSON.parse(data) : null };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
