import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type Agent, openAgent, takeDownAgent } from './agent.ts';
import { mssFor } from './mss-clamp.ts';
import { inNamespace, openTcpListener, openTcpSocket } from './netns.ts';
import { removeInstance } from './pins.ts';
import { address, cannotLoad, makeNetwork, type TestNetwork, until } from './test-network.ts';

const NAME = `loader-clamp-${process.pid}`;
const VIP = { 4: '192.0.2.10', 6: '2001:db8::10' } as const;
/** In a VIP that is a prefix. */
const IN_PREFIX = '192.0.2.200';
const OWN = { 4: '10.77.0.2', 6: 'fd77::2' } as const;
const NEAR = { 4: '10.77.0.1', 6: 'fd77::1' } as const;
const PORT = 8080;
const TIMESTAMP_BYTES = 12;

describe('MSS clamp', { skip: cannotLoad }, () => {
  let network: TestNetwork;
  let agent: Agent;
  const open: (Server | Socket)[] = [];

  const run = (namespace: string, command: string, ...args: string[]): string =>
    inNamespace(namespace, () => execFileSync(command, args, { encoding: 'utf8' }));

  before(async () => {
    network = makeNetwork('loader-cl');
    run(network.near, 'ip', 'route', 'add', '2001:db8::/64', 'via', 'fd77::2');
    for (const [namespace, device] of [
      [network.near, 'near0'],
      [network.far, 'far0'],
    ] as const)
      run(namespace, 'ethtool', '-K', device, 'tx', 'off');
    agent = openAgent({ name: NAME, netns: network.far, interfaces: ['far0'], addresses: [address(OWN[4])] });
    await agent.setVips([address(VIP[4]), address(VIP[6]), { address: address('192.0.2.128'), length: 25 }]);
    for (const to of [VIP[4], VIP[6], OWN[4], IN_PREFIX]) {
      const server = createServer((socket) => open.push(socket.on('error', () => {}).resume()));
      server.listen({ fd: openTcpListener(network.far, address(to), PORT) });
      open.push(server);
    }
  });
  after(async () => {
    for (const one of open) 'destroy' in one ? one.destroy() : one.close();
    await agent?.close({ keep: false });
    removeInstance(NAME);
    network?.remove();
  });

  /** What a client may send to an address in one segment, after its data has arrived. */
  async function segmentTo(host: string): Promise<number> {
    const family = host.includes(':') ? 6 : 4;
    const fd = openTcpSocket(network.near, address(NEAR[family]), { bind: true });
    const socket = connect({ fd, host, port: PORT } as never);
    open.push(socket.on('error', () => {}));
    await once(socket, 'connect');
    socket.write(Buffer.alloc(200_000));
    await until(() => socket.writableLength === 0, 'the data has left');
    const list = run(network.near, 'ss', '-tinH', `sport = :${socket.localPort}`);
    return Number(/\bmss:(\d+)/.exec(list)?.[1]) + TIMESTAMP_BYTES;
  }

  test('VIPs announce no more than the limit, IPv4 and IPv6, and data goes through; other addresses are left alone', async () => {
    assert.equal(agent.clampTrouble, null);
    assert.equal(await segmentTo(VIP[4]), 1460);
    agent.clamp?.setLimit(1472);
    assert.equal(await segmentTo(VIP[4]), 1432);
    assert.equal(await segmentTo(VIP[6]), 1412);
    assert.equal(await segmentTo(OWN[4]), 1460);
    assert.deepEqual(agent.clamp?.read(), { lowered: 2, fit: 0, failed: 0 });
    assert.equal(await segmentTo(IN_PREFIX), 1432);
    agent.clamp?.setLimit(9000);
    assert.equal(await segmentTo(VIP[4]), 1460);
    assert.deepEqual(agent.clamp?.read(), { lowered: 3, fit: 1, failed: 0 });
  });

  test('it goes on without the process, the next one takes it over, and it leaves nothing behind', async () => {
    agent.clamp?.setLimit(1472);
    await agent.close({ keep: true });
    assert.equal(await segmentTo(VIP[4]), 1432);
    agent = openAgent({ name: NAME, netns: network.far, interfaces: ['far0'], addresses: [address(OWN[4])] });
    assert.equal(await segmentTo(VIP[4]), 1432);
    const filters = () => run(network.far, 'tc', 'filter', 'show', 'dev', 'far0', 'egress');
    assert.equal(filters().match(/ clamp /g)?.length, 1);
    await agent.close({ keep: true });
    await takeDownAgent(NAME, network.far);
    assert.equal(run(network.far, 'tc', 'qdisc', 'show', 'dev', 'far0').includes('clsact'), false);
  });

  test('it leaves an interface whose name has a dot, too', async () => {
    run(network.far, 'ip', 'link', 'add', 'far0.7', 'type', 'veth', 'peer', 'name', 'far7');
    agent = openAgent({ name: NAME, netns: network.far, interfaces: ['far0', 'far0.7'], addresses: [address(OWN[4])] });
    await agent.close({ keep: true });
    const qdiscs = () => run(network.far, 'tc', 'qdisc', 'show', 'dev', 'far0.7');
    assert.match(qdiscs(), /clsact/);
    await takeDownAgent(NAME, network.far);
    assert.doesNotMatch(qdiscs(), /clsact/);
  });

  test('what somebody else has attached stays', async () => {
    run(network.far, 'tc', 'qdisc', 'add', 'dev', 'far0', 'clsact');
    const match = ['prio', '1', 'protocol', 'ip', 'u32', 'match', 'u32', '0', '0', 'action', 'ok'];
    run(network.far, 'tc', 'filter', 'add', 'dev', 'far0', 'ingress', ...match.slice(0, -2), 'classid', '1:1');
    agent = openAgent({ name: NAME, netns: network.far, interfaces: ['far0'], addresses: [address(OWN[4])] });
    await agent.close({ keep: false });
    assert.notEqual(run(network.far, 'tc', 'filter', 'show', 'dev', 'far0', 'ingress').trim(), '');
  });
});

test('segments are what is left of a packet, and never less than every path carries', () => {
  assert.deepEqual(mssFor(1472), { ipv4: 1432, ipv6: 1412 });
  assert.deepEqual(mssFor(576), { ipv4: 536, ipv6: 1220 });
});
