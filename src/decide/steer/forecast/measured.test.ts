import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SMALL, SmallInternet } from '../book/small-internet.ts';
import { MeasuredSteering } from '../measured-loop.ts';
import { DEFAULT_LIMITS, type SteeringModel } from '../measured-model.ts';

const SITES = Array.from({ length: SMALL.sites }, (_, site) => site);
const MODEL: SteeringModel = {
  sites: SITES.map((site) => ({ name: `site-${site}`, capacity: 1e6, batchCost: 1 })),
  links: [],
  classes: [{ name: 'search', kind: 'latency', sites: SITES, bitsPerConnection: 8e5 }],
  services: [{ name: 'search', class: 0 }],
  regions: 1,
  regionOf: () => 0,
  paths: new Int32Array(SITES.length * 2).fill(-1),
  ttlSeconds: SMALL.ttlSeconds,
  limits: DEFAULT_LIMITS,
};

test('a drain is forecast by decisions on a copy: the site is left, everybody is somewhere, and what is decided is as without', () => {
  const net = new SmallInternet(SMALL, 5);
  const steering = new MeasuredSteering(MODEL, net.facts, 5);
  const health = { sites: new Float64Array(SITES.length).fill(1), links: new Float64Array(0) };
  let nowMs = 0;
  for (let round = 0; round < 5; round++) {
    const seen = net.step();
    nowMs = seen.nowMs;
    steering.observe(seen);
    steering.decide(nowMs, health);
  }
  const plan = (change: Parameters<MeasuredSteering['forecast']>[0]) =>
    steering.forecast(change, 10, health, { nowMs, wallMs: 0, intervalSeconds: 30 });
  const before = steering.decide(nowMs, health);
  const forecast = plan({ kind: 'drain', site: 'site-1' });
  assert.ok(forecast !== null);
  assert.equal(forecast.basis, 'measured');
  const { before: had, share } = forecast.sites[1];
  assert.ok(had > 0 && share[0] > share[1] && share[9] < 0.02, `${had}: ${share}`);
  for (let minute = 0; minute < 10; minute++) {
    const sum = forecast.sites.reduce((all, { load }) => all + load[minute], 0);
    const began = forecast.sites.reduce((all, its) => all + its.before, 0);
    assert.ok(Math.abs(sum - began) < 0.02 * began, `minute ${minute}: ${sum} of ${began}`);
  }
  assert.ok(forecast.rttMs !== null && forecast.rttMs.after >= forecast.rttMs.before);
  assert.equal(plan({ kind: 'drain', site: 'nowhere' }), null);
  assert.equal(steering.decide(nowMs, health).map, before.map, 'the plan moved nobody');
});
