import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Address, parsePrefix } from '../../net/address.ts';
import type { Asker } from './exchange.ts';
import { LIMIT_REGION_BYTES, RateLimiter, type RateLimits, type Verdict } from './rate-limit.ts';
import { address } from './sample.ts';

const START_MS = 1_800_000_000_000;
const LIMITS: RateLimits = { perSecond: 20, provedPerSecond: 1000, slip: 2, exempt: [] };

function createLimiter(changes: Partial<RateLimits> = {}): { limiter: RateLimiter; counters: { displaced: number } } {
  const counters = { displaced: 0 };
  return { limiter: new RateLimiter({ ...LIMITS, ...changes }, 0x5eed, counters), counters };
}

function askerAt(client: Address, nowMs: number): Asker {
  return { client, transport: 'udp', nowMs, keepaliveTenths: 0 };
}

/** How often each verdict is given when one client asks `count` times at one time. */
function ask(limiter: RateLimiter, client: string, count: number, nowMs: number, subject = 1, hasCookie = false) {
  const verdicts: Record<Verdict, number> = { send: 0, slip: 0, drop: 0 };
  for (let i = 0; i < count; i++)
    verdicts[limiter.judge(askerAt(address(client), nowMs), 'positive', subject, hasCookie)]++;
  return verdicts;
}

test('a second’s worth of answers passes at once, and then so many a second', () => {
  const { limiter } = createLimiter();
  assert.deepEqual(ask(limiter, '192.0.2.1', 100, START_MS), { send: 20, slip: 40, drop: 40 });
  assert.equal(ask(limiter, '192.0.2.1', 100, START_MS + 500).send, 10);
  assert.equal(ask(limiter, '192.0.2.1', 100, START_MS + 500).send, 0);
  assert.equal(ask(limiter, '192.0.2.1', 100, START_MS + 60_000).send, 20);
  let sent = 0;
  for (let ms = 0; ms < 10_000; ms++) sent += ask(limiter, '192.0.2.1', 1, START_MS + 70_000 + ms).send;
  assert.ok(sent >= 219 && sent <= 221, `${sent} in 10 s`);
});

test('a client prefix has one limit; other prefixes, names and kinds have their own', () => {
  const { limiter } = createLimiter();
  ask(limiter, '192.0.2.1', 20, START_MS);
  assert.equal(ask(limiter, '192.0.2.254', 1, START_MS).send, 0);
  assert.equal(ask(limiter, '192.0.3.1', 1, START_MS).send, 1);
  assert.equal(ask(limiter, '192.0.2.1', 1, START_MS, 2).send, 1);
  assert.equal(limiter.judge(askerAt(address('192.0.2.1'), START_MS), 'nxdomain', 1, false), 'send');
  ask(limiter, '2001:db8:0:1::1', 20, START_MS);
  assert.equal(ask(limiter, '2001:db8:0:ff::1', 1, START_MS).send, 0, 'the same /56');
  assert.equal(ask(limiter, '2001:db8:0:100::1', 1, START_MS).send, 1);
});

test('who proved its address by cookie or TCP has a limit of its own', () => {
  const { limiter } = createLimiter();
  ask(limiter, '192.0.2.1', 100, START_MS);
  assert.equal(ask(limiter, '192.0.2.1', 2000, START_MS, 1, true).send, 1000);
  assert.equal(ask(limiter, '192.0.2.2', 2000, START_MS, 1, true).send, 1000, 'each address for itself');
  limiter.prove(askerAt(address('192.0.2.3'), START_MS));
  assert.equal(ask(limiter, '192.0.2.3', 2000, START_MS).send, 1000);
  assert.equal(ask(limiter, '192.0.2.4', 2000, START_MS).send, 0, 'the neighbour proved nothing');
  assert.equal(ask(limiter, '192.0.2.3', 2000, START_MS + 599_999).send, 1020, 'after the 20 of its prefix');
  assert.equal(ask(limiter, '192.0.2.3', 2000, START_MS + 601_000).send, 20, 'for ten minutes');
});

test('slip says how many of those above the limit get a short answer', () => {
  const above = (slip: number) => {
    const { send, ...rest } = ask(createLimiter({ slip }).limiter, '192.0.2.1', 120, START_MS);
    assert.equal(send, 20);
    return rest;
  };
  assert.deepEqual(above(0), { slip: 0, drop: 100 });
  assert.deepEqual(above(1), { slip: 100, drop: 0 });
  assert.deepEqual(above(5), { slip: 20, drop: 80 });
});

test('exempt prefixes and a limit of 0 let everything pass', () => {
  const prefix = parsePrefix('192.0.2.0/28');
  assert.ok(prefix !== null);
  const { limiter } = createLimiter({ exempt: [prefix] });
  assert.equal(ask(limiter, '192.0.2.1', 1000, START_MS).send, 1000);
  assert.equal(ask(limiter, '192.0.2.77', 1000, START_MS).send, 0);
  assert.equal(ask(createLimiter({ perSecond: 0 }).limiter, '192.0.2.1', 1000, START_MS).send, 1000);
});

test('a flood from a million forged prefixes does not free a prefix that is at its limit', () => {
  const { limiter, counters } = createLimiter();
  let sent = 0;
  for (let i = 0; i < 1_000_000; i++) {
    const forged = { family: 4, bytes: Uint8Array.of(10 + (i >> 16), i >> 8, i, 1) } as const;
    const nowMs = START_MS + i / 1000;
    limiter.judge(askerAt(forged, nowMs), 'positive', 1, false);
    if (i % 10 === 0) sent += ask(limiter, '192.0.2.1', 1, nowMs).send;
  }
  assert.ok(sent >= 20 && sent <= 41, `${sent} of 100,000 in a second`);
  assert.ok(counters.displaced > 100_000, 'it was a flood');
});

test('a clock that is set back does not shut anybody out', () => {
  const { limiter } = createLimiter();
  ask(limiter, '192.0.2.1', 100, START_MS);
  assert.equal(ask(limiter, '192.0.2.1', 100, START_MS - 3_600_000).send, 20);
});

test('those who share a region share its limits and who is proved', () => {
  const region = new SharedArrayBuffer(LIMIT_REGION_BYTES);
  const [one, other] = [1, 2].map(() => new RateLimiter(LIMITS, 0x5eed, { displaced: 0 }, region));
  assert.ok(one !== undefined && other !== undefined);
  for (const [index, client] of ['192.0.2.1', '2001:db8::1'].entries()) {
    assert.equal(ask(one, client, 12, START_MS).send, 12);
    assert.equal(ask(other, client, 12, START_MS).send, 8);
    one.prove(askerAt(address(client), START_MS));
    assert.equal(ask(other, client, 2000, START_MS, index).send, index === 0 ? 1020 : 1000);
  }
});
