import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRandom } from '../../model/random.ts';
import { createPrediction, expectedUtilisation, observeLoad } from './predictive.ts';
import { type SimulatedController, type SimulatedSite, type SimulationResult, simulateDays } from './simulated-day.ts';

const HOUR = 60;

/** Machines of four sizes that the operator gave equal weights, four with other work at hours of their own; a surge at nine. */
const SITE: SimulatedSite = {
  backends: [
    { capacity: 100, base: 0.05, extra: 0.5, from: 8.5 * HOUR, minutes: 120 },
    { capacity: 100, base: 0.05, extra: 0, from: 0, minutes: 0 },
    { capacity: 200, base: 0.05, extra: 0.5, from: 12 * HOUR, minutes: 90 },
    { capacity: 200, base: 0.1, extra: 0.5, from: 15 * HOUR, minutes: 120 },
    { capacity: 400, base: 0.1, extra: 0.4, from: 18 * HOUR, minutes: 120 },
  ],
  least: 100,
  most: 480,
  surge: 290,
  surgeFrom: 9 * HOUR,
  surgeMinutes: 120,
  delay: 5,
  lifetime: 20,
  noise: 0.05,
};
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];
const OTHER_DAY = 8;

function ordinaryDays(controller: SimulatedController, seed: number): SimulationResult {
  const random = createRandom(seed);
  return simulateDays({ site: SITE, controller, days: 8, measuredFrom: 3, random: () => random() / 2 ** 32 });
}

/** Eight days as always, then one on which everything comes five hours late; only that one counts. */
function otherDay(controller: SimulatedController, seed: number): SimulationResult {
  const random = createRandom(seed);
  const shift = (day: number): number => (day === OTHER_DAY ? 5 * HOUR : 0);
  return simulateDays({
    site: SITE,
    controller,
    days: OTHER_DAY + 1,
    measuredFrom: OTHER_DAY,
    shift,
    random: () => random() / 2 ** 32,
  });
}

test('on ordinary days predictive beats least-load, which beats fixed weights, with every seed', (context) => {
  for (const seed of SEEDS) {
    const none = ordinaryDays('none', seed);
    const reactive = ordinaryDays('least-load', seed);
    const predictive = ordinaryDays('predictive', seed);
    context.diagnostic(
      `seed ${seed}: p95 of the highest utilisation ${none.p95.toFixed(3)} fixed, ${reactive.p95.toFixed(3)} least-load, ` +
        `${predictive.p95.toFixed(3)} predictive; minutes of overload ${none.overloadMinutes}, ${reactive.overloadMinutes}, ${predictive.overloadMinutes}`,
    );
    assert.ok(reactive.p95 < none.p95 && reactive.overloadMinutes < none.overloadMinutes);
    assert.ok(predictive.p95 < 0.96 * reactive.p95, `${predictive.p95} and ${reactive.p95}`);
    assert.ok(reactive.overloadMinutes >= 20 && predictive.overloadMinutes <= reactive.overloadMinutes / 4);
    assert.ok(predictive.predictedRounds > 0);
  }
});

test('on a day that is different the forecast is dropped, and predictive does as well as least-load', (context) => {
  for (const seed of SEEDS) {
    const reactive = otherDay('least-load', seed);
    const predictive = otherDay('predictive', seed);
    context.diagnostic(
      `seed ${seed}: p95 ${reactive.p95.toFixed(3)} least-load, ${predictive.p95.toFixed(3)} predictive; ` +
        `minutes of overload ${reactive.overloadMinutes}, ${predictive.overloadMinutes}; ${predictive.fallbacks} fallbacks`,
    );
    assert.ok(predictive.fallbacks >= 1);
    assert.ok(predictive.p95 < 1.03 * reactive.p95, `${predictive.p95} and ${reactive.p95}`);
    assert.ok(predictive.overloadMinutes <= reactive.overloadMinutes + 15);
    assert.ok(predictive.fallbacks <= 6, 'and trust does not flap');
  }
});

const PART_MS = 300_000;
const DAY_PARTS = 288;

/** Feeds parts of a series, one sample each; the value by part. */
function feed(prediction: ReturnType<typeof createPrediction>, from: number, to: number, value: (p: number) => number) {
  for (let part = from; part < to; part++)
    observeLoad(prediction, part * PART_MS, new Set(['a']), [{ name: 'a', utilisation: value(part), share: 0.5 }]);
}

const daily = (part: number): number => 0.5 + 0.3 * Math.sin((2 * Math.PI * part) / DAY_PARTS);

test('there is no forecast before a day has been seen, and none is believed before it has proved itself', () => {
  const prediction = createPrediction();
  feed(prediction, 0, DAY_PARTS, daily);
  assert.equal(expectedUtilisation(prediction, 'a', 0.5), null);
  feed(prediction, DAY_PARTS, DAY_PARTS + 10, daily);
  assert.equal(prediction.isTrusted, false);
  feed(prediction, DAY_PARTS + 10, 2 * DAY_PARTS, daily);
  assert.equal(prediction.isTrusted, true);
  const now = 2 * DAY_PARTS - 1;
  const expected = expectedUtilisation(prediction, 'a', 0.5) as number;
  assert.ok(Math.abs(expected - daily(now - 1 + 3)) < 0.02, `${expected}`);
  assert.ok(Math.abs((expectedUtilisation(prediction, 'a', 0.25) as number) - expected / 2) < 1e-9);
});

test('a gap makes nothing up: the season stays, and what was expected before it is not judged', () => {
  const prediction = createPrediction();
  feed(prediction, 0, 2 * DAY_PARTS, daily);
  const { judged } = prediction;
  feed(prediction, 2 * DAY_PARTS + 50, 2 * DAY_PARTS + 53, daily);
  assert.ok(prediction.judged <= judged + 1);
  feed(prediction, 2 * DAY_PARTS + 53, 2 * DAY_PARTS + 80, daily);
  assert.equal(prediction.isTrusted, true);
});

test('a gap in the first day begins it anew, and who is gone is forgotten', () => {
  const prediction = createPrediction();
  feed(prediction, 0, 200, daily);
  feed(prediction, 210, 400, daily);
  assert.ok((prediction.backends.get('a')?.series.count ?? 0) < 200);
  observeLoad(prediction, 401 * PART_MS, new Set(['b']), []);
  assert.equal(prediction.backends.size, 0);
});
