import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { fuzz } from './fuzz.ts';

const MESSAGES = Number(process.env.PORTICO_MESSAGES ?? 100_000);

/** The same run again: PORTICO_SEED=number. */
const seed = Number(process.env.PORTICO_SEED ?? randomInt(1, 2 ** 31));

test(`${MESSAGES} damaged messages are all answered rightly or not at all`, (context) => {
  context.diagnostic(`seed ${seed}`);
  const { counters, slowestMs } = fuzz(seed, MESSAGES);
  const sum = (counts: Record<string, number>) => Object.values(counts).reduce((a, b) => a + b, 0);
  assert.equal(sum(counters.queries), sum(counters.responses) + sum(counters.dropped));
  assert.equal(sum(counters.types), sum(counters.responses));
  // They went everywhere.
  for (const [code, count] of Object.entries(counters.responses)) {
    if (code !== 'servfail') assert.ok(count > MESSAGES / 10_000, `${code}: ${count}`);
  }
  const { ecs, cookies, truncated, choices } = counters;
  for (const [what, count] of Object.entries({ ecs, truncated, ...choices, cookies: cookies.client })) {
    if (what !== 'full') assert.ok(count > MESSAGES / 5000, `${what}: ${count}`);
  }
  context.diagnostic(`${JSON.stringify(counters.responses)}, slowest thousand ${slowestMs.toFixed(1)} ms`);
});
