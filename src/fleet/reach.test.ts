import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixtureConfig } from './fleet-fixture.ts';
import { HealthBook } from './health-book.ts';
import { planBackendProbes } from './probe-plan.ts';
import { ReachWatch } from './reach.ts';

function site() {
  const config = fixtureConfig();
  let nowMs = 0;
  const health = new HealthBook(
    () => nowMs,
    () => {},
  );
  const balancers = ['eu-b1', 'eu-b2'].map((name) => ({
    name,
    withdrawnFor: null as string | null,
    async withdraw(reason: string) {
      this.withdrawnFor = reason;
    },
    async restore() {
      this.withdrawnFor = null;
    },
  }));
  for (const { name } of balancers) {
    const balancer = config.balancers.get(name);
    assert.ok(balancer !== undefined);
    const plan = planBackendProbes(config, balancer, (backend) => Number(backend.at(-1)));
    health.watch(name, plan, () => ({ rise: 1, fall: 1 }));
  }
  const say = (observer: string, backend: string, reason: string | null) => {
    for (const path of ['vip', 'direct']) health.take(observer, { id: `www/${backend}/${path}`, reason, tookMs: 1 });
  };
  for (const { name } of balancers) for (const backend of ['eu-1', 'eu-2', 'eu-3']) say(name, backend, null);
  const log = { info: () => {}, warn: () => {}, error: () => {} };
  const watch = new ReachWatch({ site: 'eu', health, nowMs: () => nowMs, log });
  const [one, two] = balancers as [(typeof balancers)[0], (typeof balancers)[0]];
  const look = (ms = 0) => {
    nowMs += ms;
    return watch.look(balancers);
  };
  return { one, two, say, look };
}

test('a balancer that alone does not reach a backend is withdrawn when others do for long enough, and comes back', async () => {
  const { one, two, say, look } = site();
  say('eu-b1', 'eu-2', 'no way');
  await look();
  await look(1_000);
  assert.equal(one.withdrawnFor, null, 'the others may find out yet');
  await look(60_000);
  assert.match(one.withdrawnFor ?? '', /does not reach backend eu-2 of www, which other balancers do/);
  assert.equal(two.withdrawnFor, null);
  say('eu-b1', 'eu-2', null);
  await look();
  assert.equal(one.withdrawnFor, null);
});

test('a backend that nobody reaches is dead, and no balancer is withdrawn for it', async () => {
  const { one, two, say, look } = site();
  for (const balancer of ['eu-b1', 'eu-b2']) say(balancer, 'eu-2', 'refused');
  await look();
  await look(60_000);
  assert.deepEqual([one.withdrawnFor, two.withdrawnFor], [null, null]);
});

test('where each lacks another backend, one goes on; what it was withdrawn for otherwise stays', async () => {
  const { one, two, say, look } = site();
  say('eu-b1', 'eu-1', 'no way');
  say('eu-b2', 'eu-2', 'no way');
  await look();
  await look(60_000);
  assert.notEqual(one.withdrawnFor, null);
  assert.equal(two.withdrawnFor, null);
  await one.withdraw('takes no changes');
  say('eu-b1', 'eu-1', null);
  await look();
  assert.equal(one.withdrawnFor, 'takes no changes');
});
