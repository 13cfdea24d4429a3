import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Balancer } from '../config/model.ts';
import { formatAddress } from '../net/address.ts';
import { fixtureConfig } from './fleet-fixture.ts';
import { planBackendProbes, planSiteProbes, probeSource } from './probe-plan.ts';

const INDICES = new Map([
  ['eu-1', 1],
  ['eu-2', 2],
  ['eu-3', 3],
  ['us-1', 1],
]);

function plan(balancer: string, edit?: (text: string) => string) {
  const config = fixtureConfig(edit);
  return planBackendProbes(config, config.balancers.get(balancer) as Balancer, (name) => INDICES.get(name));
}

test('a balancer probes the backends of its site on both paths, each from the address that chooses it', () => {
  const probes = plan('eu-b1');
  assert.deepEqual(
    probes.map(({ target }) => [target.id, target.sourceAddress, target.address]),
    [1, 2, 3].flatMap((i) => [
      [`www/eu-${i}/vip`, `10.1.201.${i}`, '192.0.2.10'],
      [`www/eu-${i}/direct`, `10.1.201.${i}`, `10.1.2.${i}`],
    ]),
  );
  assert.equal(probes[0]?.target.path, '/healthz');
});

test('without a prober, probes through the VIP are replaced by direct ones', () => {
  const config = fixtureConfig();
  const balancer = { ...(config.balancers.get('us-b1') as Balancer), probePrefix: null };
  const targets = planBackendProbes(config, balancer, () => 1).map(({ target }) => [target.id, target.sourceAddress]);
  assert.deepEqual(targets, [['www/us-1/direct', null]]);
});

test('where only the VIP is asked for there are no direct probes', () => {
  const probes = plan('eu-b1', (text) => text.replace('through: both', 'through: vip'));
  assert.deepEqual(
    probes.map(({ path }) => path),
    ['vip', 'vip', 'vip'],
  );
});

test('with nat the direct probe goes to the port that the backend listens on', () => {
  const ports = (options: string) =>
    plan('eu-b1', (text) => text.replace('ports: [80/tcp]', `ports: [80/tcp]\n    ${options}`))
      .slice(0, 2)
      .map(({ target }) => target.port);
  assert.deepEqual(ports('forwarding: nat\n    backendPort: 8080'), [80, 8080]);
  assert.deepEqual(ports('forwarding: nat'), [80, 80]);
});

test('by nat direct probes come from an address that no probe through the VIP has', () => {
  const probes = plan('eu-b1', (text) => text.replace('ports: [80/tcp]', `ports: [80/tcp]\n    forwarding: nat`));
  const sources = (path: string) =>
    new Set(probes.filter((probe) => probe.path === path).map(({ target }) => target.sourceAddress));
  assert.deepEqual(sources('direct'), new Set(['10.1.201.0']));
  assert.ok(!sources('vip').has('10.1.201.0'));
});

test('a backend without a number is not probed yet', () => {
  const config = fixtureConfig();
  const balancer = config.balancers.get('eu-b1') as Balancer;
  assert.deepEqual(
    planBackendProbes(config, balancer, () => undefined),
    [],
  );
});

test('an index beyond the prefix has no source, and is probed directly', () => {
  const balancer = fixtureConfig().balancers.get('eu-b1') as Balancer;
  const last = probeSource(balancer, 63);
  assert.equal(last === null ? null : formatAddress(last), '10.1.201.63');
  assert.equal(probeSource(balancer, 64), null);
});

test('a name server probes a VIP of each steered service at each site', () => {
  const targets = planSiteProbes(fixtureConfig()).map(({ target, backend }) => [target.id, target.address, backend]);
  assert.deepEqual(targets, [
    ['www/eu', '192.0.2.10', null],
    ['www/us', '198.51.100.10', null],
  ]);
});

test('a VIP that is a prefix is probed by the first address of it that no other VIP has', () => {
  const more = `  wide:
    vips: { eu: [192.0.2.0/24, 198.51.100.128/25] }
    ports: [81/tcp]
    health: { port: 81, through: vip }
  low:
    vips: { eu: [192.0.2.0/30] }
    ports: [81/tcp]
    health: { through: direct, port: 81 }
  one:
    vips: { eu: [192.0.2.4] }
    ports: [81/tcp]
    health: { through: direct, port: 81 }
dns:`;
  const probes = plan('eu-b1', (text) => text.replace('dns:', more)).filter(({ service }) => service === 'wide');
  assert.deepEqual([...new Set(probes.map(({ target }) => target.address))], ['192.0.2.5']);
});
