// @ts-check
// One connection to the line at a time, and nothing else: when to open, what to
// send and when to give up is line.js's to say. Every event carries the id that
// the connection was opened with.

const SUBPROTOCOL = 'waitroom.v1';

// What a place looks like. It travels in the handshake as the name of a second
// subprotocol, and the browser throws at a name of other characters: so a place
// that was kept or linked by somebody else is left out there, and the join tells
// what the server thinks of it. A header has room for the longest (1,024).
const PLACE = /^[A-Za-z0-9._-]{1,1024}$/;

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

  /**
   * Opens a connection in place of the one before, and offers the place in its
   * handshake: a place is not refused for its address.
   * @param {number} socket its id
   * @param {string} place '' for none
   */
  open(socket, place) {
    this.close();
    const ws = new WebSocket(this.#url, place && PLACE.test(place) ? [SUBPROTOCOL, 'place.' + place] : [SUBPROTOCOL]);
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
