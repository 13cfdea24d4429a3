import assert from 'node:assert/strict';
import { test } from 'node:test';
import { secondaryProblems } from '../api/secondary-status.ts';
import type { SecondaryStatus } from '../api/source.ts';
import { secondaryLines } from './secondary-lines.ts';

const NEW: SecondaryStatus = {
  secondary: 'ns3',
  zone: 'example.net',
  ours: 13,
  serial: null,
  transfer: null,
  notify: null,
};

test('of each secondary and zone there is a line with what it has, fetched and was told', () => {
  const behind: SecondaryStatus = {
    ...NEW,
    serial: 12,
    transfer: { kind: 'AXFR', serial: 12, records: 7, bytes: 400, isWhole: false, atMs: 5_000 },
    notify: { serial: 13, atMs: 9_000, result: 'unanswered' },
  };
  const current: SecondaryStatus = {
    ...NEW,
    serial: 13,
    transfer: { kind: 'current', serial: 13, records: 1, bytes: 60, isWhole: true, atMs: 8_400 },
    notify: { serial: 13, atMs: 9_000, result: 'acknowledged' },
  };
  assert.deepEqual(secondaryLines([NEW, behind, current], 10_000), [
    '  secondary ns3, zone example.net: never asked here',
    '  secondary ns3, zone example.net: has 12, ours is 13; AXFR of 7 records, 400 bytes, CUT OFF, 5 s ago; NOTIFY of 13 unanswered, 1 s ago',
    '  secondary ns3, zone example.net: has 13; was current, 2 s ago; NOTIFY of 13 acknowledged, 1 s ago',
  ]);
  assert.deepEqual(secondaryProblems('ns1', [NEW, behind, current]), [
    'secondary ns3 does not answer when ns1 tells it that zone example.net has serial 13',
  ]);
});
