import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { fuzz } from './fuzz.ts';

const MESSAGES = 10_000_000;

const seed = Number(process.env.PORTICO_SEED ?? randomInt(1, 2 ** 31));

test('ten million damaged messages: no crash, no hang, no answer too large, no answer to an answer', (context) => {
  context.diagnostic(`seed ${seed}`);
  const { counters, slowestMs } = fuzz(seed, MESSAGES);
  const all = Object.values(counters.responses).reduce((sum, count) => sum + count, 0);
  assert.ok(all > MESSAGES / 2);
  assert.ok(slowestMs < 2000, `1,000 messages took ${slowestMs} ms`);
  context.diagnostic(`${JSON.stringify(counters.responses)}, slowest thousand ${slowestMs.toFixed(1)} ms`);
});
