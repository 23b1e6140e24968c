// @ts-check
// One connection to the line at a time. It says `opened`, `message` and `closed`
// to whoever made it, and nothing after it was replaced.

const SUBPROTOCOL = 'waitroom.v1';

// A waiting page hears a beat every few seconds. After this silence the network
// is gone without a word, as phones do when they change cells.
const SILENCE = 45_000;

export class Socket {
  /** @type {WebSocket|null} */ #ws = null;
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #timer;
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #silence;
  #url;
  #tell;
  #beats;

  /**
   * @param {string} url
   * @param {(event: {type: string, code?: number, message?: any}) => void} tell
   * @param {() => boolean} beats whether silence means that the network is gone
   */
  constructor(url, tell, beats) {
    this.#url = url;
    this.#tell = tell;
    this.#beats = beats;
  }

  /** Connects after a random wait between least and within ms; the last call wins. @param {number} within @param {number} [least] */
  connect(within, least = 0) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), least + Math.random() * Math.max(0, within - least));
  }

  /** @param {object} message */
  send(message) {
    if (this.#ws?.readyState === WebSocket.OPEN) this.#ws.send(JSON.stringify(message));
  }

  /** Closes for good: no event follows. */
  close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    const ws = this.#ws;
    this.#ws = null;
    ws?.close(1000);
  }

  #open() {
    this.close();
    const ws = new WebSocket(this.#url, SUBPROTOCOL);
    this.#ws = ws;
    const mine = () => this.#ws === ws;
    const heard = () => {
      clearTimeout(this.#silence);
      this.#silence = setTimeout(() => (this.#beats() ? lost(1006) : heard()), SILENCE);
    };
    const lost = (/** @type {number} */ code) => {
      if (!mine()) return;
      this.close();
      this.#tell({ type: 'closed', code });
    };
    heard();
    ws.onopen = () => {
      if (!mine()) return;
      heard();
      this.#tell({ type: 'opened' });
    };
    ws.onmessage = (event) => {
      if (!mine()) return;
      heard();
      let message;
      try {
        message = JSON.parse(event.data);
      } catch {
        return; // not of this protocol: ignored like an unknown type
      }
      this.#tell({ type: 'message', message });
    };
    ws.onclose = (event) => lost(event.code);
  }
}
