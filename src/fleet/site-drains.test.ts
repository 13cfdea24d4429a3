import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixtureConfig } from './fleet-fixture.ts';
import { SiteDrains } from './site-drains.ts';

const MINUTE = 60_000;

function drainsAt(startMs = 1_000_000) {
  let nowMs = startMs;
  const drains = new SiteDrains('eu', () => nowMs);
  const leftMinutes = () => {
    const atMs = drains.deadlines.get('eu-1')?.atMs;
    return atMs === undefined ? null : (atMs - nowMs) / MINUTE;
  };
  const pass = (minutes: number) => {
    nowMs += minutes * MINUTE;
  };
  const follow = (drain: string | null) =>
    drains.follow(
      fixtureConfig((text) => (drain === null ? text : text.replace('10.1.2.1 }', `10.1.2.1, drain: ${drain} }`))),
    );
  return { drains, leftMinutes, pass, follow };
}

test('a deadline that the file changes counts from when the drain began', () => {
  const { drains, leftMinutes, pass, follow } = drainsAt();
  follow('{ deadline: 10m }');
  pass(4);
  follow('{ deadline: 30m }');
  assert.equal(leftMinutes(), 26);
  follow('{ deadline: 5m }');
  assert.equal(leftMinutes(), 1);
  follow('true');
  assert.equal(leftMinutes(), null);
  assert.ok(drains.isDrained('eu-1'));
  follow(null);
  assert.ok(!drains.isDrained('eu-1'));
});

test('the end of every drain is told, of the second too', () => {
  const { drains, pass, follow } = drainsAt();
  for (let drain = 0; drain < 2; drain++) {
    follow('{ deadline: 10m }');
    assert.deepEqual(drains.takeOver(), []);
    pass(10);
    assert.deepEqual(drains.takeOver(), ['eu-1']);
    assert.deepEqual(drains.takeOver(), []);
    follow(null);
  }
  drains.set('eu-1', true, MINUTE);
  pass(1);
  assert.deepEqual(drains.takeOver(), ['eu-1']);
  follow('{ deadline: 10m }');
  drains.set('eu-1', true, 2 * MINUTE);
  assert.deepEqual(drains.takeOver(), []);
  pass(2);
  assert.deepEqual(drains.takeOver(), ['eu-1']);
});

test("what the operator has said counts more than the file, and an earlier version's note is the file's", () => {
  const { drains, leftMinutes, follow } = drainsAt();
  drains.set('eu-1', true, 7 * MINUTE);
  follow('{ deadline: 10m }');
  assert.equal(leftMinutes(), 7);
  const other = drainsAt();
  other.drains.setDeadline('eu-1', { atMs: 1_000_000 + 3 * MINUTE, fileMs: null });
  other.follow('{ deadline: 10m }');
  assert.equal(other.leftMinutes(), 3);
  other.follow('{ deadline: 12m }');
  assert.equal(other.leftMinutes(), 5);
});
