import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatHostOrPrefix } from '../net/address.ts';
import { Allocation } from './allocation.ts';
import { fixtureConfig } from './fleet-fixture.ts';
import { assertRoom, OutOfNumbers, plannedKeys, planSite } from './site-plan.ts';

test('a plan holds what is of the site, and numbers stay with their names', () => {
  const config = fixtureConfig();
  const [indices, subjects] = [new Allocation(10), new Allocation(10)];
  indices.adopt('eu-3', 5);
  const plan = planSite(config, 'eu', indices, subjects);
  assert.deepEqual(
    plan.backends.map(({ backend, index }) => [backend.name, index]),
    [
      ['eu-1', 1],
      ['eu-2', 2],
      ['eu-3', 5],
    ],
  );
  assert.equal(plan.vips.length, 1);
  assert.notEqual(plan.vips[0]?.subject, plan.services[0]?.subject);
  assert.deepEqual(planSite(config, 'eu', indices, subjects), plan);
});

test('services that share a VIP share its subject', () => {
  const second = `  api:
    vips: { eu: [192.0.2.10] }
    ports: [81/tcp]
    backends: all
    health: { type: tcp, port: 81 }
dns:`;
  const config = fixtureConfig((text) => text.replace('dns:', second));
  const plan = planSite(config, 'eu', new Allocation(10), new Allocation(10));
  assert.equal(plan.vips.length, 1);
  assert.deepEqual(
    plan.services.map(({ vips }) => vips.map(({ subject }) => subject)),
    [[1], [1]],
  );
});

test('a site that does not fit is refused before anything is given out', () => {
  const [indices, subjects] = [new Allocation(3), new Allocation(10)];
  assert.throws(() => assertRoom(fixtureConfig(), 'eu', indices, subjects), OutOfNumbers);
  assert.equal(indices.free, 2);
  assert.throws(() => assertRoom(fixtureConfig(), 'eu', new Allocation(10), new Allocation(2)), /VIPs and services/);
  assertRoom(fixtureConfig(), 'eu', new Allocation(4), new Allocation(3));
});

test('an address in a prefix also has the ports of the prefix that it does not serve itself', () => {
  const more = `  wide:
    vips: { eu: [192.0.2.0/24] }
    ports: [80/tcp, 81/tcp]
    health: { type: tcp, port: 81 }
dns:`;
  const config = fixtureConfig((text) => text.replace('dns:', more));
  const plan = planSite(config, 'eu', new Allocation(10), new Allocation(10));
  const keys = plannedKeys(plan).map(({ vip, port, service }) => {
    return `${formatHostOrPrefix(vip.prefix)} ${port} ${service.service.name}`;
  });
  assert.deepEqual(keys.sort(), [
    '192.0.2.0/24 80 wide',
    '192.0.2.0/24 81 wide',
    '192.0.2.10 80 www',
    '192.0.2.10 81 wide',
  ]);
});
