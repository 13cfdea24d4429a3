import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp, parseTransport } from './parse.ts';
import { readQuic } from './quic.ts';

const CONFIG = 2;
const V2 = [0x6b, 0x33, 0x43, 0xcf];

function read(packet: readonly number[], serverIdBytes = 3) {
  const frame = new Uint8Array(14 + 28 + packet.length);
  frame.set([0x08, 0x00, 0x45, 0, 0, 28 + packet.length], 12);
  frame.set([64, 17], 22);
  frame.set([0, 0, 0, 0, 0, 8 + packet.length], 34);
  frame.set(packet, 42);
  const ip = parseIp(frame)!;
  const transport = parseTransport(frame, ip);
  assert.ok(typeof transport !== 'string');
  const { kind, serverId } = readQuic(frame, ip, transport, CONFIG, serverIdBytes);
  return [kind, serverId];
}

const ID = [(CONFIG << 5) | 9, 0xaa, 0xbb, 0xcc, 1, 2, 3, 4, 5, 6];
const REST = new Array<number>(20).fill(7);
const long = (first: number, version: readonly number[], id = ID) => [first, ...version, id.length, ...id, ...REST];

test('types of long headers are read by version: 1, and 2 with its other bits', () => {
  const name = 0xaabbccn;
  assert.deepEqual(read(long(0xc0, [0, 0, 0, 1])), ['initial', name]);
  assert.deepEqual(read(long(0xd0, [0, 0, 0, 1])), ['early', name]);
  assert.deepEqual(read(long(0xe0, [0, 0, 0, 1])), ['later', name]);
  assert.deepEqual(read(long(0xf0, [0, 0, 0, 1])), ['later', name]);
  assert.deepEqual(read(long(0xd0, V2)), ['initial', name]);
  assert.deepEqual(read(long(0xe0, V2)), ['early', name]);
  assert.deepEqual(read(long(0xf0, V2)), ['later', name]);
  assert.deepEqual(read(long(0xc0, V2)), ['later', name]);
});

test('packets of unknown versions are never new, and go by ID where they have one', () => {
  assert.deepEqual(read(long(0xc0, [0x0a, 0x0a, 0x0a, 0x0a])), ['later', 0xaabbccn]);
  assert.deepEqual(read(long(0x80, [0, 0, 0, 0])), ['later', 0xaabbccn]);
});

test('the ID of a short header begins behind its first octet, whatever the fixed bit is', () => {
  assert.deepEqual(read([0x40, ...ID, ...REST]), ['later', 0xaabbccn]);
  assert.deepEqual(read([0x00, ...ID, ...REST]), ['later', 0xaabbccn]);
  assert.deepEqual(read([0x40, ...ID, ...REST], 8), ['later', 0xaabbcc0102030405n & 0xffffffffffffffffn]);
  assert.deepEqual(read([0x40, ...ID, ...REST], 1), ['later', 0xaan]);
});

test('an ID of another configuration, too short, or beyond the packet names nobody', () => {
  assert.deepEqual(read([0x40, 0xe0, ...ID.slice(1), ...REST]), ['later', null]);
  assert.deepEqual(read(long(0xc0, [0, 0, 0, 1], ID.slice(0, 3))), ['initial', null]);
  assert.deepEqual(read(long(0xc0, [0, 0, 0, 1], [])), ['initial', null]);
  assert.deepEqual(read([0xc0, 0, 0, 0, 1, 200, ...ID, ...REST]), ['later', null]);
  assert.deepEqual(read([0x40, ...ID, 7, 7, 7, 7]), ['later', null], '15 bytes');
});
