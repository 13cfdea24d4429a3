import assert from 'node:assert/strict';
import test from 'node:test';
import type { ToldResolvers } from '../fleet/measured-resolvers.ts';
import { csvLines, textLines } from './resolvers.ts';

const TOLD: ToldResolvers = {
  known: 2,
  forgotten: { resolvers: 0, clients: 0 },
  resolvers: [
    {
      prefix: '203.0.113.0/24',
      queriesPerSecond: 2.5,
      demand: { value: 120.4, low: 100, high: 140, method: 'beacons', isAtLeast: false },
      classes: [{ kind: 'latency', demand: 120.4 }],
      share: 0.4,
      gainMs: 12,
      impact: 1444.8,
      ecsShare: 0,
      decay: { ttlSeconds: 30, lateShare: 0.3, lateSeconds: 900 },
      places: [{ prefix: '198.51.100.0/24', share: 0.75 }],
      unnamedShare: 0.25,
    },
    {
      prefix: '192.0.2.0/24',
      queriesPerSecond: 0.03,
      demand: { value: 5, low: 5, high: null, method: 'gaps', isAtLeast: true },
      classes: [],
      share: 0.1,
      gainMs: null,
      impact: null,
      ecsShare: 1,
      decay: { ttlSeconds: 30, lateShare: 0, lateSeconds: 0 },
      places: [],
      unnamedShare: 1,
    },
  ],
};

test('resolvers are told in a table, with their users where one was asked for', () => {
  const lines = textLines(TOLD, false);
  assert.match(lines[1], /^203\.0\.113\.0\/24 +2\.5 +120 +100 and 140 +beacons +40 % +12 ms +0 % +30 %, 900 s$/);
  assert.match(lines[2], /at least 5 +gaps/);
  assert.equal(lines[3], '2 resolvers known');
  const places = textLines({ ...TOLD, resolvers: TOLD.resolvers.slice(0, 1) }, true);
  assert.deepEqual(places.slice(2), [
    'its users:',
    '    75 %  198.51.100.0/24',
    '    25 %  elsewhere, or too few to be named',
  ]);
});

test('an export has a column for each word of its head', () => {
  const lines = csvLines(TOLD).map((line) => line.split(','));
  assert.ok(lines.every((cells) => cells.length === lines[0].length));
  assert.equal(lines[2][lines[0].indexOf('demand_high')], '');
});
