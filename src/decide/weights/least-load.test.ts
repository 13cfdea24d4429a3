import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { populateTable } from '../maglev.ts';
import { balanceLoad, effectiveWeight, LOAD_RULES, type LoadedBackend, movedShare } from './least-load.ts';

const utilisation = fc.option(fc.double({ min: 0, max: 3, noNaN: true }), { nil: null });
const backend = fc.record({
  weight: fc.integer({ min: 1, max: 1000 }),
  factor: fc.double({ min: LOAD_RULES.leastFactor, max: LOAD_RULES.mostFactor, noNaN: true }),
  utilisation,
});

test('steps are bounded: for each backend, and for all flows together', () => {
  fc.assert(
    fc.property(fc.array(backend, { minLength: 1, maxLength: 20 }), (backends) => {
      const factors = balanceLoad(backends);
      for (const [i, { factor }] of backends.entries()) {
        const after = factors[i] as number;
        assert.ok(Math.abs(after / factor - 1) <= LOAD_RULES.maxStep + 1e-9, `${factor} -> ${after}`);
        assert.ok(after >= LOAD_RULES.leastFactor - 1e-9 && after <= LOAD_RULES.mostFactor + 1e-9);
      }
      assert.ok(movedShare(backends, factors) <= LOAD_RULES.maxMoved + 1e-9);
    }),
  );
});

test('who does not report keeps its factor, and nobody moves where fewer than two report', () => {
  fc.assert(
    fc.property(fc.array(backend, { minLength: 1, maxLength: 20 }), (backends) => {
      const factors = balanceLoad(backends);
      for (const [i, one] of backends.entries()) if (one.utilisation === null) assert.equal(factors[i], one.factor);
      if (backends.filter((one) => one.utilisation !== null).length < 2)
        assert.deepEqual(
          factors,
          backends.map(({ factor }) => factor),
        );
    }),
  );
});

test('nobody moves while all are within the dead band', () => {
  const backends = [0.5, 0.52, 0.49].map((u): LoadedBackend => ({ weight: 1, factor: 1, utilisation: u }));
  assert.deepEqual(balanceLoad(backends), [1, 1, 1]);
});

interface Plant {
  readonly gain: number;
  readonly delay: number;
  readonly lifetime: number;
  readonly capacities: readonly number[];
}

/** A constant demand on unequal machines; utilisations are seen `delay` rounds late, load lags by `lifetime` rounds. */
function play({ gain, delay, lifetime, capacities }: Plant): { reversals: number; spread: number; lastMove: number } {
  const demand = 0.6 * capacities.reduce((a, b) => a + b, 0);
  let factors = capacities.map(() => 1);
  const load = capacities.map(() => 1 / capacities.length);
  const seen: number[][] = [];
  const direction = capacities.map(() => 0);
  let reversals = 0;
  let lastMove = 0;
  let busy: number[] = [];
  const rounds = 600;
  for (let round = 0; round < rounds; round++) {
    const sum = factors.reduce((a, b) => a + b, 0);
    busy = capacities.map((capacity, i) => {
      load[i] = (load[i] as number) + ((factors[i] as number) / sum - (load[i] as number)) / lifetime;
      return (demand * (load[i] as number)) / capacity;
    });
    seen.push(busy);
    if (round < delay) continue;
    const report = seen[round - delay] as number[];
    const backends = factors.map((factor, i) => ({ weight: 1, factor, utilisation: report[i] as number }));
    const next = balanceLoad(backends, { ...LOAD_RULES, gain });
    for (const [i, factor] of next.entries()) {
      const step = Math.sign(factor - (factors[i] as number));
      if (step !== 0 && step === -(direction[i] as number)) reversals++;
      if (step !== 0) {
        direction[i] = step;
        lastMove = round;
      }
    }
    factors = next;
  }
  return { reversals, spread: Math.max(...busy) - Math.min(...busy), lastMove };
}

test('no oscillation over a grid of delays, gains and connection lifetimes: everything comes to rest in the dead band', () => {
  for (const gain of [0.05, LOAD_RULES.gain])
    for (const delay of [0, 1, 2, 3])
      for (const lifetime of [1, 2, 4])
        for (const capacities of [
          [100, 100, 200, 400],
          [1, 2],
          [50, 60, 70, 80, 300],
        ]) {
          const plant = { gain, delay, lifetime, capacities };
          const { reversals, spread, lastMove } = play(plant);
          const what = JSON.stringify({ ...plant, reversals, spread, lastMove });
          assert.ok(lastMove < 300, `comes to rest: ${what}`);
          assert.ok(spread < 2 * LOAD_RULES.deadBand * 0.6 + 0.01, `utilisations are even: ${what}`);
          assert.ok(reversals <= 3 * capacities.length, `overshoots little: ${what}`);
        }
});

test('a loop that is too eager for its delay is found by that test', () => {
  assert.ok(play({ gain: 0.9, delay: 3, lifetime: 4, capacities: [100, 100, 200, 400] }).lastMove > 300);
});

test('weights in any scale give the same table, with factors too', () => {
  const table = (scale: number, factors: readonly number[]): Uint16Array =>
    populateTable(
      65_537,
      [1, 10, 3, 7].map((weight, i) => ({
        name: `b${i}`,
        index: i + 1,
        weight: effectiveWeight(weight * scale, factors[i] as number),
      })),
    );
  for (const factors of [
    [1, 1, 1, 1],
    [0.1, 1.33, 7.9, 0.777],
  ])
    for (const scale of [10, 100, 977, 1_000_000]) assert.deepEqual(table(scale, factors), table(1, factors));
});
