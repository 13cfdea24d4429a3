import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  afterProbe,
  diagnose,
  joinVerdicts,
  nextProbeMs,
  type PathHealth,
  UNKNOWN_HEALTH,
  usableBackends,
  type Verdict,
} from './health.ts';

const thresholds = { rise: 3, fall: 2 };

function run(results: readonly boolean[], start: PathHealth = UNKNOWN_HEALTH): PathHealth {
  return results.reduce((state, ok, at) => afterProbe(state, ok ? null : 'refused', thresholds, at), start);
}

test('a first success decides at once, first failures only when there are `fall` of them', () => {
  assert.equal(run([true]).verdict, 'healthy');
  assert.equal(run([false]).verdict, 'unknown');
  assert.equal(run([false, true]).verdict, 'healthy');
  assert.equal(run([false, false]).verdict, 'unhealthy');
});

test('a healthy path falls only after `fall` failures in a row', () => {
  assert.equal(run([true, false]).verdict, 'healthy');
  assert.equal(run([true, false, true, false]).verdict, 'healthy');
  const fallen = run([true, false, true, false, false]);
  assert.deepEqual([fallen.verdict, fallen.sinceMs, fallen.reason], ['unhealthy', 4, 'refused']);
});

test('an unhealthy path rises only after `rise` successes in a row', () => {
  assert.equal(run([false, false, true, true]).verdict, 'unhealthy');
  assert.equal(run([false, false, true, true, false, true, true]).verdict, 'unhealthy');
  assert.equal(run([false, false, true, true, true]).verdict, 'healthy');
});

test('a verdict changes exactly when as many results in a row contradict it as the threshold says', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 60 }), (results) => {
      let expected: Verdict = 'unknown';
      let against = 0;
      for (const ok of results) {
        const says = ok ? 'healthy' : 'unhealthy';
        against = says === expected ? 0 : against + 1;
        const needed = expected === 'unknown' && ok ? 1 : ok ? thresholds.rise : thresholds.fall;
        if (against >= needed && says !== expected) {
          expected = says;
          against = 0;
        }
      }
      assert.equal(run(results).verdict, expected);
    }),
  );
});

test('the next probe is within a tenth of the interval', () => {
  assert.equal(nextProbeMs(1000, 500, 0), 1450);
  assert.equal(nextProbeMs(1000, 500, 0.5), 1500);
  assert.ok(nextProbeMs(1000, 500, 0.999999) < 1550);
});

test('two paths together tell a dead machine from broken decapsulation', () => {
  const up = run([true]);
  const down = run([false, false]);
  assert.equal(diagnose(up, up).diagnosis, 'healthy');
  assert.equal(diagnose(down, up).diagnosis, 'decapsulation misconfigured');
  assert.equal(diagnose(up, down).diagnosis, 'direct path broken');
  assert.equal(diagnose(down, down).diagnosis, 'machine or service down');
  assert.equal(diagnose(null, down).diagnosis, 'machine or service down');
  assert.equal(diagnose(up, UNKNOWN_HEALTH).verdict, 'unknown');
  assert.equal(diagnose(null, null).verdict, 'unknown');
});

test('a failing path to the VIP alone does not say whose fault it is', () => {
  const down = run([false, false]);
  assert.equal(diagnose(down, null).diagnosis, 'not reached through the VIP');
  assert.equal(diagnose(down, UNKNOWN_HEALTH).diagnosis, 'not reached through the VIP');
  assert.equal(diagnose(down, null).verdict, 'unhealthy');
});

test('a backend serves if one observer sees it serve', () => {
  assert.equal(joinVerdicts(['unhealthy', 'healthy']), 'healthy');
  assert.equal(joinVerdicts(['unhealthy', 'unhealthy']), 'unhealthy');
  assert.equal(joinVerdicts(['unhealthy', 'unknown']), 'unknown');
});

test('when more than the panic share looks dead, all are used', () => {
  const verdicts = (dead: number, all: number): Map<string, Verdict> =>
    new Map(Array.from({ length: all }, (_, i) => [`b${i}`, i < dead ? 'unhealthy' : 'healthy']));
  assert.deepEqual(usableBackends(verdicts(1, 3), 0.5), { usable: ['b1', 'b2'], panic: false });
  assert.equal(usableBackends(verdicts(2, 3), 0.5).usable.length, 3);
  assert.equal(usableBackends(verdicts(2, 4), 0.5).panic, false);
  assert.equal(usableBackends(verdicts(3, 3), 1).usable.length, 0);
});

test('whatever is probed at jittered times, probes of a target are never closer than nine tenths of its interval', () => {
  const run = fc.record({
    intervalMs: fc.integer({ min: 100, max: 60_000 }),
    random: fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 2, maxLength: 50 }),
  });
  fc.assert(
    fc.property(run, ({ intervalMs, random }) => {
      let nowMs = 0;
      for (const one of random) {
        const next = nextProbeMs(nowMs, intervalMs, one);
        assert.ok(next - nowMs >= 0.9 * intervalMs - 1e-6 && next - nowMs <= 1.1 * intervalMs + 1e-6);
        nowMs = next;
      }
    }),
  );
});

test('with any verdicts, either nobody who looks dead is used, or everybody is', () => {
  const verdicts = fc.array(fc.constantFrom<Verdict>('unknown', 'healthy', 'unhealthy'), { maxLength: 40 });
  fc.assert(
    fc.property(verdicts, fc.double({ min: 0, max: 1, noNaN: true }), (list, panicShare) => {
      const names = new Map(list.map((verdict, i) => [`b${i}`, verdict]));
      const { usable, panic } = usableBackends(names, panicShare);
      const dead = list.filter((verdict) => verdict === 'unhealthy').length;
      assert.equal(panic, dead > panicShare * list.length);
      assert.equal(usable.length, panic ? list.length : list.length - dead);
      if (!panic) assert.ok(usable.every((name) => names.get(name) !== 'unhealthy'));
    }),
  );
});

test('the time of a verdict is that of the result that decided it', () => {
  const results = fc.array(fc.record({ ok: fc.boolean(), waitMs: fc.integer({ min: 1, max: 5_000 }) }), {
    minLength: 1,
  });
  fc.assert(
    fc.property(results, (list) => {
      let state = UNKNOWN_HEALTH;
      let nowMs = 0;
      for (const { ok, waitMs } of list) {
        nowMs += waitMs;
        const before = state;
        state = afterProbe(state, ok ? null : 'refused', thresholds, nowMs);
        assert.equal(state.sinceMs, state.verdict === before.verdict ? before.sinceMs : nowMs);
        assert.ok(state.against < Math.max(thresholds.rise, thresholds.fall));
      }
    }),
  );
});
