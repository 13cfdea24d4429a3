import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Balancer } from '../config/model.ts';
import { fixtureConfig } from './fleet-fixture.ts';
import { HealthBook } from './health-book.ts';
import { planBackendProbes, planSiteProbes } from './probe-plan.ts';

function book() {
  const changes: string[] = [];
  const health = new HealthBook(
    () => 0,
    (probe, observer, before, now) => changes.push(`${observer} ${probe.target.id} ${before} ${now.verdict}`),
  );
  const watch = (observer: string, edit?: (text: string) => string) => {
    const config = fixtureConfig(edit);
    const balancer = config.balancers.get(observer) as Balancer | undefined;
    const index = (name: string) => Number(name.at(-1));
    const plan = balancer === undefined ? planSiteProbes(config) : planBackendProbes(config, balancer, index);
    health.watch(observer, plan, () => ({ rise: 2, fall: 2 }));
  };
  const say = (observer: string, id: string, reason: string | null, times = 1) => {
    for (let i = 0; i < times; i++) health.take(observer, { id, reason, tookMs: 1 });
  };
  return { health, changes, watch, say };
}

test('a backend is healthy only when every path of one observer is', () => {
  const { health, watch, say, changes } = book();
  watch('eu-b1');
  assert.deepEqual(health.backend('www', 'eu-1'), { verdict: 'unknown', diagnosis: 'not probed yet', reason: null });
  say('eu-b1', 'www/eu-1/vip', null);
  assert.equal(health.backend('www', 'eu-1').verdict, 'unknown');
  say('eu-b1', 'www/eu-1/direct', null);
  assert.equal(health.backend('www', 'eu-1').verdict, 'healthy');
  say('eu-b1', 'www/eu-1/vip', 'no answer', 2);
  const { verdict, diagnosis, reason } = health.backend('www', 'eu-1');
  assert.deepEqual([verdict, diagnosis, reason], ['unhealthy', 'decapsulation misconfigured', 'no answer']);
  assert.equal(changes.at(-1), 'eu-b1 www/eu-1/vip healthy unhealthy');
});

test('one observer that sees it serve is enough, and one that is gone counts no more', () => {
  const { health, watch, say } = book();
  for (const observer of ['eu-b1', 'eu-b2']) watch(observer);
  for (const path of ['vip', 'direct']) {
    say('eu-b1', `www/eu-1/${path}`, null);
    say('eu-b2', `www/eu-1/${path}`, 'refused', 2);
  }
  assert.equal(health.backend('www', 'eu-1').verdict, 'healthy');
  health.forget('eu-b1');
  assert.equal(health.backend('www', 'eu-1').verdict, 'unhealthy');
});

test('a single failure of somebody unknown decides nothing', () => {
  const { health, watch, say } = book();
  watch('eu-b1');
  say('eu-b1', 'www/eu-1/direct', 'refused');
  assert.equal(health.backend('www', 'eu-1').verdict, 'unknown');
});

test('what is known stays over a reload, but not for another machine under the same name', () => {
  const { health, watch, say } = book();
  watch('eu-b1');
  for (const name of ['eu-1', 'eu-2']) for (const path of ['vip', 'direct']) say('eu-b1', `www/${name}/${path}`, null);
  watch('eu-b1', (text) => text.replace('address: 10.1.2.1', 'address: 10.1.2.99'));
  assert.equal(health.backend('www', 'eu-1').verdict, 'unknown');
  assert.equal(health.backend('www', 'eu-2').verdict, 'healthy');
  health.forgetBackend('eu-2');
  assert.equal(health.backend('www', 'eu-2').verdict, 'unknown');
});

test('results of targets that nobody watches are ignored', () => {
  const { watch, say, changes } = book();
  say('eu-b1', 'www/eu-1/vip', null);
  watch('eu-b1');
  say('eu-b1', 'www/nobody/vip', null);
  assert.deepEqual(changes, []);
});

test('a site is up if one name server reaches its VIP', () => {
  const { health, watch, say } = book();
  for (const observer of ['ns1', 'ns2']) watch(observer);
  say('ns1', 'www/us', 'timeout', 2);
  assert.equal(health.site('www', 'us'), 'unknown');
  say('ns2', 'www/us', 'timeout', 2);
  assert.equal(health.site('www', 'us'), 'unhealthy');
  say('ns2', 'www/us', null, 2);
  assert.equal(health.site('www', 'us'), 'healthy');
});
