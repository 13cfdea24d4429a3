import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { nearestName } from './nearest.ts';
import { isPrime, nearestPrimes } from './prime.ts';
import {
  formatDuration,
  type Reading,
  readBandwidth,
  readDuration,
  readInteger,
  readRate,
  readSeconds,
  readShare,
} from './units.ts';

function readingOf<T>(reading: Reading<T>): T {
  assert.ok(reading.ok, reading.ok ? '' : reading.message);
  return reading.value;
}

test('quantities are read with their unit, and never without', () => {
  const hour = 3_600_000;
  assert.equal(readingOf(readDuration('500ms', 0, hour)), 500);
  assert.equal(readingOf(readDuration('1.5 s', 0, hour)), 1500);
  assert.equal(readingOf(readSeconds('14d', 0, 1e9)), 1_209_600);
  assert.equal(readingOf(readBandwidth('10Gbit/s')), 1e10);
  assert.equal(readingOf(readRate('20k/s')), 20_000);
  assert.equal(readingOf(readShare('12.5%', true)), 0.125);
  for (const raw of [30, '30', '', 's', '-1s', '1e3s', '30sec', null, undefined, ['1s'], { s: 1 }]) {
    assert.equal(readDuration(raw, 0, hour).ok, false, String(raw));
  }
  for (const raw of [0.5, '0%', '101%', '%', '5']) assert.equal(readShare(raw, true).ok, false);
  assert.equal(readSeconds('1500ms', 0, 100).ok, false);
  assert.equal(readInteger(1.5, 0, 9).ok, false);
});

test('a unit in wrong letter case is told in the right one', () => {
  const reading = readBandwidth('10gbit/s');
  assert.ok(!reading.ok && reading.remedy === 'write 10Gbit/s');
});

test('a formatted duration is read as the same', () => {
  fc.assert(
    fc.property(fc.nat(1e9), (ms) => {
      assert.equal(readingOf(readDuration(formatDuration(ms), 0, 1e9)), ms);
    }),
  );
});

test('the nearest primes are primes, and none is nearer', () => {
  assert.deepEqual(nearestPrimes(65_536), { below: 65_521, above: 65_537 });
  assert.ok(isPrime(655_373) && isPrime(2) && !isPrime(1) && !isPrime(0) && !isPrime(655_371));
  fc.assert(
    fc.property(fc.integer({ min: 3, max: 20_000 }), (around) => {
      const { below, above } = nearestPrimes(around);
      assert.ok(below < around && around < above && isPrime(below) && isPrime(above));
      for (let n = below + 1; n < above; n++) assert.ok(n === around || !isPrime(n));
    }),
  );
});

test('the nearest name is found by typing errors, and none is made up', () => {
  const known = ['balancers', 'backends', 'services', 'sites', 'dns'];
  assert.equal(nearestName('servcies', known), 'services');
  assert.equal(nearestName('backend', known), 'backends');
  assert.equal(nearestName('Sites', known), 'sites');
  assert.equal(nearestName('frontends-of-mine', known), null);
  assert.equal(nearestName('x', known), null);
});
