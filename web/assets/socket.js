// @ts-check
// One connection to the line at a time, and nothing else: when to open, what to
// send and when to give up is line.js's to say. Every event carries the id that
// the connection was opened with.

const SUBPROTOCOL = 'waitroom.v1';

export class Socket {
  /** @type {WebSocket|null} */ #ws = null;
  #url;
  #tell;

  /**
   * @param {string} url
   * @param {(event: import('./line.js').Happening) => void} tell
   */
  constructor(url, tell) {
    this.#url = url;
    this.#tell = tell;
  }

  /** Opens a connection in place of the one before. @param {number} socket its id */
  open(socket) {
    this.close();
    const ws = new WebSocket(this.#url, SUBPROTOCOL);
    this.#ws = ws;
    ws.onopen = () => this.#tell({ type: 'opened', socket });
    ws.onclose = (event) => this.#tell({ type: 'closed', socket, code: event.code });
    ws.onmessage = (event) => {
      let message;
      try {
        message = JSON.parse(event.data);
      } catch {
        // Not of this protocol: ignored like an unknown type, but a sign of life.
      }
      this.#tell({ type: 'message', socket, message });
    };
  }

  /** @param {object} message */
  send(message) {
    if (this.#ws?.readyState === WebSocket.OPEN) this.#ws.send(JSON.stringify(message));
  }

  /** No event follows. */
  close() {
    const ws = this.#ws;
    this.#ws = null;
    if (!ws) return;
    ws.onopen = ws.onmessage = ws.onclose = null;
    ws.close(1000);
  }
}
