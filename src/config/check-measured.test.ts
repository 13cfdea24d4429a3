import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseConfig } from './parse.ts';
import { UNMEASURED } from './steering-model.ts';

const EXAMPLE = readFileSync(new URL('../../examples/two-sites.yaml', import.meta.url), 'utf8');

function parse(steering: string, links: string) {
  const text = EXAMPLE.replace('dns:\n', `dns:\n  steering: ${steering}\n`).replace('{ transit: 10Gbit/s }', links);
  return parseConfig(text, 'x.yaml');
}

test('without a word of it, nothing is measured', () => {
  const result = parseConfig(EXAMPLE, 'x.yaml');
  assert.ok(result.ok);
  assert.deepEqual(result.config.steering.measured, UNMEASURED);
});

test('bounds, shared links and links of some users are read', () => {
  const result = parse(
    '{ measured: on, interval: 2s, step: 20%, deadBand: 0%, explore: 0.5%, sharedLinks: { atlantic: 40Gbit/s } }',
    '{ transit: 10Gbit/s, peering: { capacity: 1Gbit/s, clients: [new-york], shared: atlantic, interface: eu-b1/eth0 } }',
  );
  assert.ok(result.ok, JSON.stringify(result));
  assert.deepEqual(result.config.steering.measured, {
    ...UNMEASURED,
    mode: 'on',
    intervalMs: 2000,
    stepShare: 0.2,
    deadBandShare: 0,
    exploreShare: 0.005,
    sharedLinks: new Map([['atlantic', 4e10]]),
  });
  assert.deepEqual(result.config.sites.get('eu')?.links, [
    { name: 'transit', capacityBitsPerSecond: 1e10, clients: null, shared: null, interfaces: [] },
    {
      name: 'peering',
      capacityBitsPerSecond: 1e9,
      clients: ['new-york'],
      shared: 'atlantic',
      interfaces: [{ machine: 'eu-b1', name: 'eth0' }],
    },
  ]);
});

test('every error is told at its place, with what to write', () => {
  const result = parse(
    '{ measured: maybe, interval: 10ms, explore: 5%, groups: 0, sharedLinks: { atlantic: 40 } }',
    '{ a: { clients: [x] }, b: { capacity: 1Gbit/s, clients: [atlantis] }, c: { capacity: 1Gbit/s, shared: pacific }, d: { capacity: 1Gbit/s, speed: 1 }, e: { capacity: 1Gbit/s, interface: us-b1/eth0 }, f: { capacity: 1Gbit/s, interface: eth0 } }',
  );
  assert.ok(!result.ok);
  const told = result.problems.map(({ path, message }) => `${path}: ${message}`);
  assert.deepEqual(told, [
    'sites.eu.links.a: "capacity" is missing',
    'sites.eu.links.b.clients[0]: there is no network "atlantis"',
    'sites.eu.links.c.shared: there is no shared link "pacific"',
    'sites.eu.links.d: the key "speed" is unknown',
    'sites.eu.links.e.interface: eu has no balancer or backend "us-b1"',
    'sites.eu.links.f: "interface" is no interface of a machine',
    'dns.steering.measured: this is none of the choices',
    'dns.steering.interval: the duration is out of range',
    'dns.steering.explore: the share is out of range',
    'dns.steering.groups: the number is out of range',
    'dns.steering.sharedLinks.atlantic: a bandwidth needs a unit',
  ]);
  assert.ok(result.problems.every(({ remedy }) => remedy !== ''));
});
