import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sipHashKey } from '../../model/siphash.ts';
import { COOKIE_BYTES, judgeCookie, writeCookie } from './cookie.ts';
import { address } from './sample.ts';

const key = (hex: string) => sipHashKey(Uint8Array.from(Buffer.from(hex, 'hex')));
const SECRET = key('e5e973e5a6b2a43f48e7dc849e37bfcf');
const OTHER = key('dd3bdf9344b678b185a6f5cb60fca715');

function answerTo(keys: readonly Uint32Array[], cookieHex: string, client: string, nowSeconds: number): string {
  const cookie = Buffer.from(cookieHex, 'hex');
  const out = new Uint8Array(COOKIE_BYTES);
  const state = judgeCookie(keys, cookie, 0, cookie.length, address(client), nowSeconds);
  writeCookie(keys, cookie, 0, state, address(client), nowSeconds, out, 0);
  return `${state} ${Buffer.from(out).toString('hex')}`;
}

test('the examples of RFC 9018 appendix A come out', () => {
  const first = '2464c4abcf10c957010000005cf79f111f8130c3eee29480';
  assert.equal(answerTo([SECRET], first.slice(0, 16), '198.51.100.100', 1559731985), `client ${first}`);
  const renewed = '2464c4abcf10c957010000005cf7a871d4a564a1442aca77';
  assert.equal(answerTo([SECRET], first, '198.51.100.100', 1559734385), `good ${renewed}`);
  // A.3: reserved bytes that are not 0 count for the hash; the cookie is older there than section 4.3 lets it be.
  const reserved = 'fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5';
  assert.match(answerTo([SECRET], reserved, '203.0.113.203', 0x5cf78f71 + 10), /^good /);
  assert.equal(
    answerTo([SECRET], reserved, '203.0.113.203', 1559734700),
    'bad fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e',
  );
  // A.4: the secret was rolled over.
  const rolled = key('445536bcd2513298075a5d379663c962');
  const old = '22681ab97d52c298010000005cf7c57926556bd0934c72f8';
  const client = '2001:db8:220:1:59de:d0f4:8769:82b8';
  const answer = '22681ab97d52c298010000005cf7c609a6bb79d16625507a';
  assert.equal(answerTo([rolled, OTHER], old, client, 1559741961), `good ${answer}`);
  assert.equal(answerTo([rolled], old, client, 1559741961), `bad ${answer}`);
});

test('a cookie holds for an hour, from five minutes ahead, and is kept for half an hour', () => {
  const now = 1_800_000_000;
  const made = answerTo([SECRET], '0102030405060708', '192.0.2.1', now).slice('client '.length);
  const at = (seconds: number) => answerTo([SECRET], made, '192.0.2.1', now + seconds);
  assert.equal(at(0), `good ${made}`);
  assert.equal(at(1799), `good ${made}`);
  assert.notEqual(at(1800), `good ${made}`);
  for (const seconds of [1800, 3600, -300]) assert.match(at(seconds), /^good /, `${seconds}`);
  for (const seconds of [3601, -301]) assert.match(at(seconds), /^bad /, `${seconds}`);
});

test('the time of a cookie wraps', () => {
  const made = answerTo([SECRET], '0102030405060708', '192.0.2.1', 2 ** 32 - 100).slice('client '.length);
  assert.match(answerTo([SECRET], made, '192.0.2.1', 2 ** 32 + 100), /^good /);
});

test('a cookie of another client, address, secret, version or length is bad', () => {
  const now = 1_800_000_000;
  const made = answerTo([SECRET], '0102030405060708', '192.0.2.1', now).slice('client '.length);
  const stateOf = (cookie: string, client = '192.0.2.1', keys = [SECRET]) =>
    answerTo(keys, cookie, client, now).split(' ')[0];
  assert.equal(stateOf(made), 'good');
  assert.equal(stateOf(made.replace('01', '02')), 'bad');
  assert.equal(stateOf(made, '192.0.2.2'), 'bad');
  assert.equal(stateOf(made, '2001:db8::1'), 'bad');
  assert.equal(stateOf(made, '192.0.2.1', [OTHER]), 'bad');
  assert.equal(stateOf(made, '192.0.2.1', [OTHER, SECRET]), 'good');
  assert.equal(stateOf(`${made.slice(0, 16)}02${made.slice(18)}`), 'bad');
  assert.equal(stateOf(`${made}00`), 'bad');
  for (let byte = 0; byte < COOKIE_BYTES; byte++) {
    const bytes = Buffer.from(made, 'hex');
    bytes[byte] ^= 0x10;
    assert.equal(stateOf(bytes.toString('hex')), 'bad', `byte ${byte}`);
  }
});
