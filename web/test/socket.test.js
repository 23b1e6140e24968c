// @ts-check
// What the page offers in the handshake.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Socket } from '../assets/socket.js';

/** @type {string[][]} */
const offered = [];

/** As picky as a browser's: RFC 9110 tokens, none twice. */
class FakeWebSocket {
  /** @param {string} _ @param {string|string[]} [protocols] */
  constructor(_, protocols = []) {
    const list = [protocols].flat();
    for (const p of list) if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(p)) throw new SyntaxError(`protocol ${p}`);
    if (new Set(list).size !== list.length) throw new SyntaxError('a protocol twice');
    offered.push(list);
  }
  close() {}
}
globalThis.WebSocket = /** @type {any} */ (FakeWebSocket);

/** @param {any} place */
function open(place) {
  new Socket('wss://tickets.example/rooms/show/ws', () => {}).open(1, place);
  return offered.pop();
}

const JWT = 'eyJhbGciOiJFZERTQSIsImtpZCI6IngifQ.eyJ0eXAiOiJwbGFjZSJ9.c2ln_-bmF0dXJl';

test('a place is offered as a second subprotocol, the way the server reads it', () => {
  assert.deepEqual(open(JWT), ['waitroom.v1', 'place.' + JWT]);
  const golden = readFileSync(new URL('../../internal/wire/testdata/handshake.txt', import.meta.url), 'utf8');
  assert.equal(open('PLACE')?.join(', ') + '\n', golden);
});

test('what is no place, kept or linked, is not offered, and the page connects', () => {
  for (const place of ['', ' ', 'a b', 'a,b', 'a"b', 'a\nb', 'a\u0000', 'ä', '자리', 'a=', 'a/b', 'x'.repeat(1025), undefined, null]) {
    assert.deepEqual(open(place), ['waitroom.v1'], JSON.stringify(place));
  }
  assert.equal(open('x'.repeat(1024))?.length, 2);
});
