/** Forecasts of drains against what came, in the synthetic internet. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runDrain } from './drain-forecast.ts';

const POINTS = 2;

test(`the share of a site that is drained is within ${POINTS} points of its forecast at every minute`, (t) => {
  for (const preset of ['friendly', 'typical'] as const) {
    for (const seed of [1, 2, 3]) {
      const size = { prefixes: 2000, resolvers: 300, sites: 6 };
      const { forecast, site, actual, worstPoints } = runDrain({ preset, size, seed, learnMinutes: 30, minutes: 8 });
      const { share } = forecast.sites[site];
      const off = Math.max(...actual.map((came, minute) => Math.abs(came - share[minute]) * 100));
      t.diagnostic(`${preset}, seed ${seed}: ${off.toFixed(2)} points, of all sites ${worstPoints.toFixed(2)}`);
      assert.ok(off <= POINTS, `${preset}, seed ${seed}: ${actual} came, ${share} was forecast`);
    }
  }
});
