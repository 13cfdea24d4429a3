import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Config } from '../config/model.ts';
import { parseConfig } from '../config/parse.ts';
import type { MeasuredAnswers } from '../config/steering-model.ts';
import { parseAddress } from '../net/address.ts';
import { QueryColumns } from '../observe/query-rows.ts';
import { SteeringRows } from '../observe/steering-rows.ts';
import { MeasuredBrain } from './measured-brain.ts';

const EXAMPLE = new URL('../../examples/classes.yaml', import.meta.url);
const SITES = ['eu', 'us', 'br'];
/** /24s; round trips to each site in milliseconds. Dakar is nearest to eu on the map, and to br by packets. */
const USERS = [
  { name: 'amsterdam', low: 0xcb_00_71, ms: [0.1, 40, 40] },
  { name: 'dakar', low: 0xc6_12_71, ms: [40, 40, 0.1] },
];
const LATE_SECONDS = 4;

function bytesOf(low: number): Uint8Array {
  return Uint8Array.of(low >> 16, low >> 8, low, 0, 0, 0);
}

/** Site of each class, by user. */
function told({ ipv4, rows, orders, classCount }: MeasuredAnswers, low: number): number[] | null {
  const at = ipv4.starts.indexOf((low << 8) >>> 0);
  if (at < 0 || ipv4.values[at] * classCount >= rows.length) return null;
  const row = rows.subarray(ipv4.values[at] * classCount, (ipv4.values[at] + 1) * classCount);
  return [...row].map((order) => (order < 0 ? 0 : orders[order][0].sites[0]));
}

test('from rows as machines give them: each class its site, the region by its round trips, and why', () => {
  const parsed = parseConfig(readFileSync(EXAMPLE, 'utf8'), 'classes.yaml');
  assert.ok(parsed.ok);
  const config: Config = parsed.config;
  const brain = new MeasuredBrain(config, { snapshot: null, seed: 5, version: 0 }, () => 0);
  // What users get follows what was decided, after names have lived on in caches.
  const gets = new Map(USERS.map(({ low }) => [low, [0, 0, 0]]));
  const later: { readonly at: number; readonly low: number; readonly sites: number[] }[] = [];
  for (let second = 1; second <= 90; second++) {
    const rows = new SteeringRows({ rttRows: 1000, trafficRows: 1000 });
    const queries = new QueryColumns(1000);
    for (const { low, ms } of USERS)
      for (const [service, site] of gets.get(low)!.entries()) {
        const us = (sample: number) => ms[site] * 1000 + 400 * sample;
        rows.readRtt(site, { takeRtt: (each) => [0, 1, 2].forEach((sample) => void each(0, low, us(sample))) });
        rows.readTraffic(site, { takeTraffic: (each) => each(0, low, service, 8, 24_000) }, (subject) => subject);
        const [resolver, subnet] = [0x0a_35_00, low].map((key) => ({
          family: 4 as const,
          length: 24,
          bytes: bytesOf(key),
        }));
        if (second % 4 === 0) queries.add(resolver, subnet, service, site, 1);
      }
    const nowMs = second * 1000;
    brain.take({
      nowMs,
      intervalMs: 1000,
      rows: rows.take(),
      queries: queries.take(),
      beacons: null,
      linkLoad: new Map(),
    });
    if (second % 2 === 0) {
      const { answers } = brain.decide(nowMs, { sites: new Map(SITES.map((site) => [site, 1])) });
      if (answers !== null)
        for (const { low } of USERS) {
          const sites = told(answers, low);
          if (sites !== null) later.push({ at: second + LATE_SECONDS, low, sites });
        }
    }
    while ((later[0]?.at ?? Number.POSITIVE_INFINITY) <= second) {
      const { low, sites } = later.shift()!;
      gets.set(low, sites);
    }
  }
  const went = USERS.map(({ name, low }) => [name, ...gets.get(low)!.map((site) => SITES[site])]);
  assert.deepEqual(went, [
    ['amsterdam', 'eu', 'us', 'br'],
    ['dakar', 'br', 'us', 'br'],
  ]);
  const why = brain.explain({ service: 'search', address: parseAddress('198.18.113.9')! });
  assert.equal(why?.group, '198.18.113.0/24');
  const [best] = why?.candidates ?? [];
  assert.equal(best?.site, 'br');
  assert.equal(best?.source, 'measured');
  assert.ok(best.rttMs < 10 && best.share > 0.99, JSON.stringify(best));
  const learned = brain.snapshot();
  const next = new MeasuredBrain(config, { snapshot: learned, seed: 6, version: 9 }, () => 0);
  assert.equal(next.restored, true);
});
