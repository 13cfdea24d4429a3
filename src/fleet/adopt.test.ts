import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostPrefix } from '../net/address.ts';
import { type AdoptedMaps, adoptNumbers } from './adopt.ts';
import { Allocation } from './allocation.ts';
import { address, fixtureConfig } from './fleet-fixture.ts';
import { serviceName, vipName } from './site-plan.ts';

function maps(
  backends: readonly [number, string][],
  vips: readonly [string, number][] = [],
  services: readonly [number, number, number][] = [],
): AdoptedMaps {
  return {
    listBackends: () =>
      backends.map(([index, text]) => ({ index, address: address(text), agent: true, forwarding: null })),
    vips: { list: () => vips.map(([text, subject]) => ({ prefix: hostPrefix(address(text)), subject, flags: 0 })) },
    services: {
      list: () => services.map(([vip, port, subject]) => ({ key: { vip, port, protocol: 'tcp' }, subject })),
    },
  };
}

function adopt(kernel: AdoptedMaps, indices = new Allocation(100), subjects = new Allocation(100)) {
  return { left: adoptNumbers(fixtureConfig(), 'eu', kernel, indices, subjects), indices, subjects };
}

test('backends are known by their address, whatever they are called now', () => {
  const { left, indices } = adopt(
    maps([
      [7, '10.1.2.2'],
      [9, '10.1.2.1'],
    ]),
  );
  assert.deepEqual([indices.numberOf('eu-1'), indices.numberOf('eu-2'), left.length], [9, 7, 0]);
});

test('a backend that the file no longer names keeps its number', () => {
  const { left, indices } = adopt(
    maps([
      [1, '10.1.2.77'],
      [2, '10.1.2.1'],
    ]),
  );
  assert.deepEqual(
    left.map(({ backend, index }) => [backend.name, index, backend.agent, backend.drain]),
    [['former 10.1.2.77', 1, true, true]],
  );
  assert.equal(indices.allocate('eu-2'), 3, 'its number is not given to another');
});

test('VIPs and services get their subjects back, and those that are gone free theirs', () => {
  const { subjects } = adopt(
    maps(
      [],
      [
        ['192.0.2.10', 4],
        ['192.0.2.99', 5],
      ],
      [
        [4, 80, 6],
        [4, 81, 7],
        [5, 80, 8],
      ],
    ),
  );
  assert.equal(subjects.numberOf(vipName(hostPrefix(address('192.0.2.10')))), 4);
  assert.equal(subjects.numberOf(serviceName('www')), 6);
  for (const gone of [5, 7, 8]) assert.equal(subjects.nameOf(gone), undefined);
});

test('a second balancer must have the same numbers', () => {
  const { indices, subjects } = adopt(maps([[1, '10.1.2.1']]));
  adopt(maps([[1, '10.1.2.1']]), indices, subjects);
  assert.throws(() => adopt(maps([[2, '10.1.2.1']]), indices, subjects), /take that balancer down first/);
  assert.throws(() => adopt(maps([[1, '10.1.2.2']]), indices, subjects), /it belongs to eu-1/);
});
