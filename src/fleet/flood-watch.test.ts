import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PrefixCount } from '../serve/vip/prefixes.ts';
import { FloodWatch, mergePrefixes } from './flood-watch.ts';
import type { Log } from './log.ts';

function recorder(): { log: Log; told: [string, object, string][] } {
  const told: [string, object, string][] = [];
  const tell = (level: string) => (fields: object, message: string) => void told.push([level, fields, message]);
  return { log: { info: tell('info'), warn: tell('warn'), error: tell('error') }, told };
}

const count = (prefix: string, newPerSecond: number, more: Partial<PrefixCount> = {}): PrefixCount => ({
  prefix,
  newPerSecond,
  errorPerSecond: 1,
  seconds: 5,
  refused: 0,
  ...more,
});

test('pressure is told once when it begins, with who sends most, and once when it is over', () => {
  const { log, told } = recorder();
  const watch = new FloodWatch(log);
  const look = (second: number, limited: number) =>
    watch.record('eu', 'web', { limited, untracked: 7 }, second * 1000, () => [count('203.0.113.0/24', 1234.4)]);
  look(0, 100);
  look(1, 100);
  assert.equal(watch.pressureSinceMs('eu', 'web'), null);
  look(2, 150);
  look(3, 200);
  assert.equal(watch.pressureSinceMs('eu', 'web'), 2000);
  for (let second = 4; second <= 12; second++) look(second, 200);
  assert.equal(watch.pressureSinceMs('eu', 'web'), 2000);
  look(13, 200);
  assert.equal(watch.pressureSinceMs('eu', 'web'), null);
  assert.deepEqual(
    told.map(([level, fields]) => [level, fields]),
    [
      ['warn', { site: 'eu', service: 'web', most: '203.0.113.0/24 1234/s' }],
      ['info', { site: 'eu', service: 'web', seconds: 1, limited: 100, untracked: 0 }],
    ],
  );
  assert.match(told[0][2], /client prefix are dropped/);
});

test('a service whose flows are not tracked any more is under pressure too', () => {
  const { log, told } = recorder();
  const watch = new FloodWatch(log);
  watch.record('eu', 'web', { limited: 0, untracked: 0 }, 0, () => []);
  watch.record('eu', 'web', { limited: 0, untracked: 1 }, 1000, () => []);
  assert.match(told[0][2], /not tracked/);
  assert.equal(watch.pressureSinceMs('eu', 'api'), null);
});

test('what several balancers count of a prefix adds up', () => {
  const first = [count('198.51.100.0/24', 30), count('203.0.113.0/24', 20, { seconds: 9, refused: 2 })];
  const second = [count('203.0.113.0/24', 25, { refused: 3 }), count('192.0.2.0/24', 1)];
  assert.deepEqual(mergePrefixes([first, second], 2), [
    { prefix: '203.0.113.0/24', newPerSecond: 45, errorPerSecond: 2, seconds: 9, refused: 5 },
    first[0],
  ]);
});
