import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { resolveNextHop, sameNextHop } from './next-hop.ts';
import { address, cannotLoad, makeNetwork, type TestNetwork } from './test-network.ts';

describe('next hop', { skip: cannotLoad }, () => {
  let network: TestNetwork;
  before(() => {
    network = makeNetwork('loader-hop');
    const ip = (...args: string[]) => execFileSync('ip', ['-n', network.near, ...args]);
    ip('route', 'add', '198.51.100.0/24', 'via', '10.77.0.2', 'mtu', '1400');
    ip('route', 'add', '203.0.113.0/24', 'via', 'inet6', 'fd77::2', 'dev', 'near0');
    ip('route', 'add', 'blackhole', '100.64.0.0/10');
  });
  after(() => {
    network.remove();
  });

  for (const [target, source] of [
    ['10.77.0.2', '10.77.0.1'],
    ['fd77::2', 'fd77::1'],
  ]) {
    test(`a neighbour that nobody has spoken to yet is found: ${target}`, async () => {
      const hop = await resolveNextHop(network.near, address(target), address(source));
      assert.deepEqual(hop.mac, network.farMac);
      assert.deepEqual(hop.ownMac, network.nearMac);
      assert.equal(hop.interfaceName, 'near0');
      assert.equal(hop.mtuBytes, 1500);
      assert.ok(sameNextHop(hop, await resolveNextHop(network.near, address(target))));
    });
  }

  test("behind a gateway the MAC is the gateway's and the MTU the route's", async () => {
    const hop = await resolveNextHop(network.near, address('198.51.100.7'));
    assert.deepEqual(hop.mac, network.farMac);
    assert.equal(hop.mtuBytes, 1400);
  });

  test('an IPv4 route over an IPv6 gateway is followed', async () => {
    const hop = await resolveNextHop(network.near, address('203.0.113.7'));
    assert.deepEqual(hop.mac, network.farMac);
  });

  test('no route, an own address, and a silent neighbour are errors that say so', async () => {
    await assert.rejects(resolveNextHop(network.near, address('8.8.8.8')), /unreachable/);
    await assert.rejects(resolveNextHop(network.near, address('100.64.1.1')), /Invalid argument|blackhole/);
    await assert.rejects(resolveNextHop(network.near, address('10.77.0.1')), /local|address of this machine/);
    const begin = performance.now();
    await assert.rejects(resolveNextHop(network.near, address('10.77.0.9')), /10\.77\.0\.9 on near0 does not answer/);
    assert.ok(performance.now() - begin < 6000);
  });
});
