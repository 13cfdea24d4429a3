import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Draws, hashClient } from './draws.ts';

const A = 1;
const AAAA = 2;
const HTTPS = 4;
const NOW = 1_790_000_000_000;

test('the types of one client get one draw, the same type again a new one', () => {
  const draws = new Draws();
  const client = hashClient(3, Uint8Array.of(192, 0, 2, 1), 0, 24);
  assert.equal(draws.find(client, A, NOW), -1);
  draws.keep(client, A, NOW, 5);
  assert.equal(draws.find(client, AAAA, NOW + 3), 5);
  assert.equal(draws.find(client, HTTPS, NOW + 1999), 5);
  assert.equal(draws.find(client, AAAA, NOW + 1999), -1, 'asked before');
  draws.keep(client, AAAA, NOW + 1999, 6);
  assert.equal(draws.find(client, A, NOW + 2000), 6);
  assert.equal(draws.find(client, HTTPS, NOW + 4000), -1, 'too late');
});

test('clients are prefixes, and plans have draws of their own', () => {
  const at = (plan: number, last: number, bits: number) => hashClient(plan, Uint8Array.of(192, 0, 2, last), 0, bits);
  assert.equal(at(1, 7, 24), at(1, 200, 24));
  assert.notEqual(at(1, 7, 24), at(2, 7, 24));
  assert.notEqual(at(1, 7, 32), at(1, 200, 32));
  assert.equal(at(1, 7, 25), at(1, 120, 25));
  assert.notEqual(at(1, 7, 25), at(1, 200, 25));
});

test('more clients than there is room for lose the oldest draws, and nothing else', () => {
  const draws = new Draws();
  const client = (i: number) => hashClient(0, Uint8Array.of(10, i >> 16, i >> 8, i), 0, 32);
  for (let i = 0; i < 20_000; i++) draws.keep(client(i), A, NOW + (i >> 4), i);
  let kept = 0;
  for (let i = 0; i < 20_000; i++) {
    const draw = draws.find(client(i), AAAA, NOW + 1250);
    if (draw < 0) continue;
    assert.equal(draw, i);
    kept++;
  }
  assert.ok(kept > 3000 && kept <= 4096, String(kept));
  assert.ok(draws.find(client(19_999), HTTPS, NOW + 1250) === 19_999);
});
