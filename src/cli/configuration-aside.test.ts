import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { NO_STEERING_STATE } from '../config/steering-model.ts';
import { compileSteering } from '../decide/steer/policy.ts';
import { lookupPrefix, prefixScope } from '../net/prefix-map.ts';
import { loadConfig } from './configuration.ts';
import { loadConfigAside } from './configuration-aside.ts';

const folder = mkdtempSync(join(tmpdir(), 'portico-aside-'));
after(() => rmSync(folder, { recursive: true }));

const FILE = join(folder, 'portico.yaml');
const LIST = join(folder, 'networks.csv');
writeFileSync(
  FILE,
  [
    'name: aside',
    'sites: { eu: { location: { latitude: 52, longitude: 5 } }, us: { location: { latitude: 40, longitude: -74 } } }',
    'balancers: { b1: { site: eu, addresses: [10.0.0.1] }, b2: { site: us, addresses: [10.0.0.2] } }',
    'backends: { c1: { site: eu, address: 10.0.1.1 }, c2: { site: us, address: 10.0.1.2 } }',
    'services: { www: { dnsName: www.example.test, vips: { eu: [192.0.2.1], us: [192.0.2.2] }, ports: [443/tcp], health: { through: direct } } }',
    'dns:',
    '  servers: { n: { listen: [192.0.2.53] } }',
    '  networkLists: [networks.csv]',
    '  zones:',
    '    example.test:',
    '      nameServers: [ns1.example.test]',
    '      soa: { primary: ns1.example.test, contact: host@example.test, serial: 1 }',
    '      records: { ns1: { A: 192.0.2.53 } }',
  ].join('\n'),
);

test('a configuration that another thread read is the same, and its maps are there already', async () => {
  writeFileSync(LIST, '61.0.0.0/16, us\n61.0.7.0/24, eu\n');
  const result = await loadConfigAside(FILE, NO_STEERING_STATE);
  assert.ok(result.ok);
  const { clients, ...config } = result.value;
  const { clients: expected, ...same } = loadConfig(FILE);
  assert.deepEqual(config, same);
  assert.ok(clients !== null && expected !== null);
  assert.deepEqual(clients.groups, expected.groups);
  assert.equal(clients.maps.length, 1);
  const steering = compileSteering(result.value).get('www');
  assert.equal(steering?.map, clients.maps[0].map);
  assert.equal(prefixScope(lookupPrefix(clients.maps[0].map, 4, Uint8Array.of(61, 0, 200), 0, 24)), 17);
});

test('what is wrong in a list is told with its file and line', async () => {
  writeFileSync(LIST, '61.0.0.0/16, us\n61.0.7.0/24, ue\n');
  const result = await loadConfigAside(FILE, NO_STEERING_STATE);
  assert.ok(!result.ok);
  assert.ok(
    result.error.startsWith(`${LIST}:2: dns.networkLists[0]: there is no site "ue"; did you mean eu?`),
    result.error,
  );
});
