import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  connectionId,
  ID_BYTES,
  MESSAGE_BYTES,
  readAnswer,
  readMessage,
  readQuic,
  readQuicAnswer,
  writeAnswer,
  writeInitial,
  writeMessage,
  writeQuicAnswer,
  writeShort,
} from './messages.ts';

test('a message and its answer are read as they were written', () => {
  const message = writeMessage(70_000, 12);
  assert.equal(message.length, MESSAGE_BYTES);
  assert.deepEqual(readMessage(message, 0), { id: 70_000, count: 12, intact: true });
  assert.equal(readAnswer(writeAnswer(70_000, 12, 3, true), 0, 70_000, 12), 3);
});

test('any other byte, connection or count in an answer is noticed', () => {
  const answer = writeAnswer(5, 9, 3, true);
  for (let at = 0; at < answer.length; at++) {
    if (at === 8 || at === 9) continue; // the backend's number, which may be any
    const other = Buffer.from(answer);
    other[at] = (other[at] as number) ^ 1;
    assert.equal(typeof readAnswer(other, 0, 5, 9), 'string', `byte ${at}`);
  }
  assert.equal(readAnswer(answer, 0, 6, 9), 'an answer to something else');
  assert.equal(readAnswer(answer, 0, 5, 10), 'an answer to something else');
  assert.equal(readAnswer(writeAnswer(5, 9, 3, false), 0, 5, 9), 'the message did not arrive as it was sent');
});

test('packets that look like QUIC keep flow, count and connection ID', () => {
  const id = connectionId(2, Uint8Array.of(0xab, 0xcd), 77);
  assert.deepEqual([...id.subarray(0, 3)], [0x40 | (ID_BYTES - 1), 0xab, 0xcd]);
  const initial = writeInitial(77);
  assert.equal(initial.length, 1200);
  assert.equal((initial[0] as number) & 0xf0, 0xc0, 'long header, type Initial');
  assert.deepEqual(readQuic(initial), { id: null, flow: 77, count: 0 });
  assert.deepEqual(readQuic(writeShort(id, 77, 4)), { id, flow: 77, count: 4 });
  assert.deepEqual(readQuicAnswer(writeQuicAnswer(77, 4, 6, id)), { flow: 77, count: 4, backend: 6, id });
  assert.equal(readQuic(Buffer.alloc(3)), null);
});
