import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashName } from './name-hash.ts';

test('a name hashes as MurmurHash3 x86 32-bit does, for every length of tail and with a seed', () => {
  const vectors: [string, number, number][] = [
    ['', 0, 0],
    ['', 1, 0x514e28b7],
    ['', 0xffffffff, 0x81f16f39],
    ['a', 0x9747b28c, 0x7fa09ea6],
    ['aa', 0x9747b28c, 0x5d211726],
    ['aaa', 0x9747b28c, 0x283e0130],
    ['aaaa', 0x9747b28c, 0x5a97808a],
    ['Hello, world!', 0x9747b28c, 0x24884cba],
    ['hello', 0, 0x248bfa47],
    ['hello, world', 0, 0x149bbb7f],
    ['ππππππππ', 0x9747b28c, 0xd58063c1],
  ];
  for (const [name, seed, hash] of vectors) assert.equal(hashName(name, seed), hash, JSON.stringify(name));
});

test('a name longer than any before it is hashed in full', () => {
  const long = 'x'.repeat(5_000);
  assert.notEqual(hashName(`${long}a`, 0), hashName(`${long}b`, 0));
});
