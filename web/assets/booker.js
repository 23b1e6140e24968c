// @ts-check
// The booker's HTTP API as the seat page needs it. An answer that is no success
// is thrown as a Refused with the problem's code; no answer at all is 'offline'.

// Beyond this the network is considered gone; the booker's own limit is shorter.
const PATIENCE = 15_000;

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

  /** The seats, or null when nothing has changed since the last time. */
  async seats() {
    /** @type {Record<string, string>} */
    const headers = this.#etag ? { 'If-None-Match': this.#etag } : {};
    const answer = await this.#ask('GET', '/seats', undefined, headers);
    if (answer.status === 304) return null;
    const { seats } = await answer.json();
    this.#etag = answer.headers.get('ETag') ?? '';
    return /** @type {{id: string, state: string}[]} */ (seats);
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

  /** @param {string} id */
  async confirm(id) {
    return (await this.#ask('POST', '/holds/' + id + '/confirm')).json();
  }

  async leave() {
    await this.#ask('DELETE', '/pass');
  }

  /**
   * @param {string} method @param {string} path @param {object} [body]
   * @param {Record<string, string>} [headers]
   */
  async #ask(method, path, body, headers = {}) {
    let answer;
    try {
      answer = await fetch(this.#base + path, {
        method,
        headers: { Authorization: 'Bearer ' + this.#pass, ...(body ? { 'Content-Type': 'application/json' } : {}), ...headers },
        body: body && JSON.stringify(body),
        cache: 'no-store',
        referrerPolicy: 'no-referrer',
        signal: AbortSignal.timeout(PATIENCE),
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
