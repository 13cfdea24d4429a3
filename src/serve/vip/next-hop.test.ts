import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { egressOf, type LinkJson, resolveNextHop, sameNextHop } from './next-hop.ts';
import { address, cannotLoad, makeNetwork, type TestNetwork } from './test-network.ts';

describe('next hop', { skip: cannotLoad }, () => {
  let network: TestNetwork;
  before(() => {
    network = makeNetwork('loader-hop');
    const ip = (...args: string[]) => execFileSync('ip', ['-n', network.near, ...args]);
    ip('route', 'add', '198.51.100.0/24', 'via', '10.77.0.2', 'mtu', '1400');
    ip('route', 'add', '203.0.113.0/24', 'via', 'inet6', 'fd77::2', 'dev', 'near0');
    ip('tuntap', 'add', 'dev', 'tunnel0', 'mode', 'tun');
    ip('link', 'set', 'tunnel0', 'up');
    ip('route', 'add', '100.127.0.0/24', 'dev', 'tunnel0');
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
      const hop = await resolveNextHop(network.near, address(target), { source: address(source) });
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

  test('where the next hop must be the machine itself, a gateway is refused and a neighbour is not', async () => {
    const hop = await resolveNextHop(network.near, address('10.77.0.2'), { direct: true });
    assert.deepEqual(hop.mac, network.farMac);
    await assert.rejects(
      resolveNextHop(network.near, address('198.51.100.7'), { direct: true }),
      /198\.51\.100\.7 leads over the gateway 10\.77\.0\.2 on near0; l2 needs a backend in a subnet/,
    );
    await assert.rejects(resolveNextHop(network.near, address('203.0.113.7'), { direct: true }), /gateway fd77::2/);
  });

  test('an interface without MAC addresses is refused', async () => {
    await assert.rejects(
      resolveNextHop(network.near, address('100.127.0.9')),
      /is tunnel0, which has no MAC addresses/,
    );
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

// This kernel has no VLAN interfaces, so these are answers of iproute2 on another.
describe('VLANs', () => {
  const mac = '02:00:00:00:00:01';
  const ether = { mtu: 1500, link_type: 'ether', address: mac };
  const vlan = (id: number, protocol = '802.1Q') => ({ info_kind: 'vlan', info_data: { protocol, id } });
  const links: LinkJson[] = [
    { ifname: 'eth0', ifindex: 2, ...ether },
    { ifname: 'eth1', ifindex: 3, ...ether },
    { ifname: 'eth0.7', ifindex: 4, ...ether, mtu: 1400, link: 'eth0', linkinfo: vlan(7) },
    { ifname: 'eth0.7.8', ifindex: 5, ...ether, link: 'eth0.7', linkinfo: vlan(8) },
    { ifname: 'provider', ifindex: 6, ...ether, link: 'eth0', linkinfo: vlan(9, '802.1ad') },
  ];
  const leavesBy = (dev: string) => {
    const { ifindex, vlan: tag, mtuBytes } = egressOf(links, dev, '192.0.2.1');
    return { ifindex, tag, mtuBytes };
  };

  test('frames to a VLAN leave by the interface below with its tag, those beside it without, others as they came', () => {
    assert.deepEqual(leavesBy('eth0.7'), { ifindex: 2, tag: 7, mtuBytes: 1400 });
    assert.deepEqual(leavesBy('eth0'), { ifindex: 2, tag: 'none', mtuBytes: 1500 });
    assert.deepEqual(leavesBy('eth1'), { ifindex: 3, tag: undefined, mtuBytes: 1500 });
  });

  test('a tag inside of a tag and one of a provider are refused', () => {
    assert.throws(() => leavesBy('eth0.7.8'), /192\.0\.2\.1 is the VLAN eth0\.7\.8, which is not one of 802\.1Q/);
    assert.throws(() => leavesBy('provider'), /not one of 802\.1Q/);
    assert.throws(() => leavesBy('gone'), /gone/);
  });
});
