import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CheckResult } from './anycast-check.ts';
import { AnycastVerdict } from './anycast-verdict.ts';

const GOOD: CheckResult = { kind: 'good' };
const BAD: CheckResult = { kind: 'bad', reason: 'no answer' };
const REFUSED: CheckResult = { kind: 'refused', reason: 'nobody listens there' };

function checks(verdict: AnycastVerdict, ...results: CheckResult[]): (string | null)[] {
  return results.map((result) => {
    verdict.check(result);
    return verdict.reason(0);
  });
}

test('addresses are announced after three answers in a row, and taken back after three silences in a row', () => {
  const verdict = new AnycastVerdict(1000, false, 0);
  assert.notEqual(verdict.reason(0), null);
  const before = checks(verdict, GOOD, GOOD, BAD, GOOD, GOOD);
  assert.ok(before.every((reason) => reason !== null));
  assert.deepEqual(checks(verdict, GOOD, BAD, BAD, GOOD, BAD, BAD), [null, null, null, null, null, null]);
  assert.deepEqual(checks(verdict, BAD), ['no answer']);
});

test('where nobody listens, one look suffices', () => {
  const verdict = new AnycastVerdict(1000, true, 0);
  assert.deepEqual(checks(verdict, GOOD, REFUSED), [null, 'nobody listens there']);
});

test('what a guard before announced stays announced until something is wrong', () => {
  assert.equal(new AnycastVerdict(1000, true, 0).reason(0), null);
});

test('a silent process, and probes that are too old, take the addresses back, and new ones give them again', () => {
  const verdict = new AnycastVerdict(1000, true, 0);
  assert.equal(verdict.reason(1000), null);
  assert.match(verdict.reason(1001) ?? '', /told nothing/);
  verdict.heard(300, 2000);
  assert.equal(verdict.reason(2700), null);
  assert.match(verdict.reason(2701) ?? '', /what it knows of sites/);
  verdict.heard(null, 2701);
  assert.equal(verdict.reason(3701), null);
});
