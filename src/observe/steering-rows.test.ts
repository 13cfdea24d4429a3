import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_PREFIX } from '../decide/steer/measured.ts';
import { KEY_IPV6, KEY_REST, PrefixNumbers } from '../decide/steer/prefix-numbers.ts';
import { formatPrefix } from '../net/address.ts';
import { numberRows, SteeringRows, type TrafficSource } from './steering-rows.ts';

const V4 = [0, 0xc6_33_64] as const; // 198.51.100.0/24
const V6 = [KEY_IPV6 | 0x2001, 0x0db8_0007] as const; // 2001:db8:7::/48

test('round trips of prefixes of both families become rows, and those beyond the bound are counted', () => {
  const rows = new SteeringRows({ rttRows: 3, trafficRows: 1 });
  const source = (us: number) => ({
    takeRtt(each: (high: number, low: number, microseconds: number) => void) {
      each(...V4, us);
      each(...V6, 2 * us);
    },
  });
  rows.readRtt(0, source(12_500));
  rows.readRtt(3, source(40_000));
  const keyed = rows.take();
  assert.equal(keyed.lostRtt, 1);
  const numbers = new PrefixNumbers(8, 1);
  const { rtt } = numberRows(keyed, numbers);
  const seen = Array.from({ length: rtt.length }, (_, at) => [
    formatPrefix(numbers.prefixOf(rtt.prefix[at])),
    rtt.site[at],
    rtt.ms[at],
  ]);
  assert.deepEqual(seen, [
    ['198.51.100.0/24', 0, 12.5],
    ['2001:db8:7::/48', 0, 25],
    ['198.51.100.0/24', 3, 40],
  ]);
  assert.equal(rows.take().rtt.length, 0, 'what was taken is not there again');
});

test('traffic without a row or a number of its own is not lost: it is nobodys', () => {
  const rows = new SteeringRows({ rttRows: 1, trafficRows: 2 });
  const source: TrafficSource = {
    takeTraffic(each) {
      each(...V4, 7, 64, 1e6);
      each(...V6, 7, 128, 2e6);
      each(0, 5, 7, 1, 10);
      each(0, 6, 9, 1000, 1e9); // of no service that is steered
      each(KEY_REST, 0, 7, 2, 20);
    },
  };
  rows.readTraffic(1, source, (subject) => (subject === 7 ? 4 : undefined));
  const numbers = new PrefixNumbers(1, 1);
  const { traffic } = numberRows(rows.take(), numbers);
  assert.deepEqual([...traffic.prefix], [0, NO_PREFIX, NO_PREFIX]);
  assert.deepEqual([...traffic.connections.subarray(0, traffic.length)], [64, 128, 3]);
  assert.deepEqual([...traffic.bytes.subarray(0, traffic.length)], [1e6, 2e6, 30]);
  assert.deepEqual([...traffic.service.subarray(0, traffic.length)], [4, 4, 4]);
  assert.equal(numbers.importance[0], 64);
});

test('a round trip of a prefix that gets no number leaves the others where they are', () => {
  const rows = new SteeringRows({ rttRows: 8, trafficRows: 1 });
  rows.readRtt(2, {
    takeRtt(each) {
      each(...V4, 1000);
      each(...V6, 2000);
      each(...V4, 3000);
    },
  });
  const { rtt } = numberRows(rows.take(), new PrefixNumbers(1, 1));
  assert.equal(rtt.length, 2);
  assert.deepEqual([...rtt.ms.subarray(0, 2)], [1, 3]);
});

test('columns grow with what comes', () => {
  const rows = new SteeringRows({ rttRows: 5000, trafficRows: 5000 });
  const count = 4000;
  rows.readTraffic(
    0,
    {
      takeTraffic(each) {
        for (let i = 0; i < count; i++) each(0, i, 1, i, 2 * i);
      },
    },
    () => 3,
  );
  const { traffic } = rows.take();
  assert.equal(traffic.length, count);
  for (let i = 0; i < count; i++)
    assert.deepEqual([traffic.low[i], traffic.service[i], traffic.connections[i], traffic.bytes[i]], [i, 3, i, 2 * i]);
});
