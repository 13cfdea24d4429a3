import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixtureConfig } from './fleet-fixture.ts';
import { HealthBook } from './health-book.ts';
import { planSiteProbes } from './probe-plan.ts';
import type { SiteRuntime } from './site-runtime.ts';
import { SteeringWatch } from './steering-watch.ts';

function watch() {
  const config = fixtureConfig();
  const health = new HealthBook(
    () => 0,
    () => {},
  );
  health.watch('ns1', planSiteProbes(config), () => ({ rise: 1, fall: 1 }));
  const state = { canServe: true, balancers: new Map([['eu-b1', {}]]) };
  const eu = { balancers: state.balancers, canServe: () => state.canServe } as unknown as SiteRuntime;
  const say = (site: string, reason: string | null) => health.take('ns1', { id: `www/${site}`, reason, tookMs: 1 });
  return { steering: new SteeringWatch(config, health, new Map([['eu', eu]])), state, say };
}

test('a site is up until its VIP is not reached, its backends are too few, or it is drained', () => {
  const { steering, state, say } = watch();
  assert.equal(steering.siteUp('www', 'eu'), true, 'nothing is known yet');
  state.canServe = false;
  assert.equal(steering.siteUp('www', 'eu'), false);
  state.canServe = true;
  say('eu', 'timeout');
  assert.equal(steering.siteUp('www', 'eu'), false);
  say('eu', null);
  assert.equal(steering.siteUp('www', 'eu'), true);
  steering.drainedSites.add('eu');
  assert.equal(steering.siteUp('www', 'eu'), false);
});

test('a site that others run is judged by its VIP alone', () => {
  const { steering, state, say } = watch();
  assert.equal(steering.siteUp('www', 'us'), true);
  say('us', 'timeout');
  assert.equal(steering.siteUp('www', 'us'), false);
  state.balancers.clear();
  state.canServe = false;
  assert.equal(steering.siteUp('www', 'eu'), true, 'no balancer here knows better');
});

test('a full site has room again only below nine tenths of its capacity', () => {
  const { steering } = watch();
  assert.equal(steering.setRate('eu', 99), false);
  assert.equal(steering.setRate('eu', 100), true);
  assert.equal(steering.siteFull('www', 'eu'), true);
  assert.equal(steering.setRate('eu', 95), false);
  assert.equal(steering.setRate('eu', 89), true);
  assert.equal(steering.siteFull('www', 'eu'), false);
  assert.equal(steering.setRate('us', 1e9), false, 'no capacity, no limit');
});

test('what was up when last a site was is remembered, and nothing of the time when none is', () => {
  const { steering } = watch();
  assert.equal(steering.siteWasUp('www', 'us'), false, 'nobody looked yet');
  steering.drainedSites.add('eu');
  steering.remember();
  assert.deepEqual([steering.siteWasUp('www', 'eu'), steering.siteWasUp('www', 'us')], [false, true]);
  steering.drainedSites.add('us');
  steering.remember();
  assert.equal(steering.siteWasUp('www', 'us'), true);
});
