import assert from 'node:assert/strict';
import { test } from 'node:test';
import { address, fixtureConfig } from './fleet-fixture.ts';
import { findLocalMachines, localAddresses, pinsOf, probeNamespaceOf } from './local-machines.ts';

test('a host is every machine of the file that has one of its addresses', () => {
  const config = fixtureConfig();
  const find = (...own: string[]) => findLocalMachines(config, own.map(address));
  assert.deepEqual(find('10.1.1.2'), ['eu-b2']);
  assert.deepEqual(find('10.9.9.9', '10.2.1.1', '10.2.2.1', '10.53.0.1'), ['us-b1', 'us-1', 'ns1']);
  assert.deepEqual(find('192.0.2.10'), [], 'a VIP is nobody in particular');
  assert.deepEqual(find(), []);
});

test("the host's own addresses are read, the loopback's too", () => {
  const texts = localAddresses().map(({ bytes }) => [...bytes].join('.'));
  assert.ok(texts.includes('127.0.0.1'));
});

test('names of pins and namespaces tell installations apart', () => {
  const config = fixtureConfig();
  assert.equal(pinsOf(config, 'eu-b1'), 'test-eu-b1');
  assert.equal(probeNamespaceOf(config, 'eu-b1'), 'portico-test-eu-b1-probe');
});
