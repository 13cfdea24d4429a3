import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { formatHostOrPrefix } from '../../net/address.ts';
import { type Agent, type AgentOptions, openAgent, takeDownAgent } from './agent.ts';
import { queryXdp } from './bpf.ts';
import { openForwarder } from './forwarder.ts';
import { AGENT_OUTCOME, VIP_ECHO } from './layout.gen.ts';
import { inNamespace, openUdpSocket } from './netns.ts';
import { removeInstance } from './pins.ts';
import { address, cannotLoad, makeNetwork, pinsOf, sendRaw, type TestNetwork, until } from './test-network.ts';

const NAME = `loader-agent-${process.pid}`;
const VIPS = [address('192.0.2.10'), address('2001:db8::10')];
const PREFIXES = [
  { address: address('198.51.100.0'), length: 24 },
  { address: address('2001:db8:5::'), length: 64 },
];

describe('agent', { skip: cannotLoad }, () => {
  let network: TestNetwork;
  before(() => {
    network = makeNetwork('loader-ag');
  });
  after(() => {
    network.remove();
  });
  afterEach(() => {
    removeInstance(NAME);
    const { nativeProgramId } = inNamespace(network.far, () => queryXdp(network.farIfindex));
    assert.equal(nativeProgramId, 0, 'a program was left on the interface');
    assert.deepEqual(loopback(), ['127.0.0.1/8', '::1/128']);
  });

  const options = (): AgentOptions => ({
    name: NAME,
    netns: network.far,
    interfaces: ['far0'],
    addresses: [address('10.77.0.2'), address('fd77::2')],
  });
  const ip = (...args: string[]) => execFileSync('ip', ['-n', network.far, ...args], { encoding: 'utf8' });
  const loopback = (): string[] =>
    JSON.parse(ip('-j', 'addr', 'show', 'dev', 'lo'))[0]
      .addr_info.map((info: { local: string; prefixlen: number }) => `${info.local}/${info.prefixlen}`)
      .sort();
  const setting = (name: string) =>
    inNamespace(network.far, () => readFileSync(`/proc/sys/net/ipv4/conf/far0/${name}`, 'utf8').trim());

  test('VIPs come onto the loopback and go with the agent, settings of the interface too', async () => {
    inNamespace(network.far, () => execFileSync('sysctl', ['-qw', 'net.ipv4.conf.far0.rp_filter=1']));
    const before = ['arp_ignore', 'arp_announce', 'rp_filter'].map(setting);
    const agent = openAgent(options());
    await agent.setVips(VIPS);
    assert.deepEqual(agent.listVips().length, 2);
    assert.deepEqual(loopback(), ['127.0.0.1/8', '192.0.2.10/32', '2001:db8::10/128', '::1/128']);
    assert.deepEqual(['arp_ignore', 'arp_announce', 'rp_filter'].map(setting), ['1', '2', '2']);
    await agent.setVips([VIPS[0]]);
    assert.deepEqual(loopback(), ['127.0.0.1/8', '192.0.2.10/32', '::1/128']);
    await agent.close({ keep: false });
    assert.deepEqual(['arp_ignore', 'arp_announce', 'rp_filter'].map(setting), before);
    assert.deepEqual(pinsOf(NAME), []);
  });

  test('a machine whose address has a peer still answers ARP for it, and the settings of the interface stay', async () => {
    ip('addr', 'add', '10.78.0.2', 'peer', '10.78.0.1/32', 'dev', 'far0');
    const agent = openAgent(options());
    try {
      await agent.setVips(VIPS);
      assert.deepEqual(['arp_ignore', 'arp_announce'].map(setting), ['0', '2']);
      const near = (...args: string[]) => inNamespace(network.near, () => execFileSync(args[0], args.slice(1)));
      near('ip', 'addr', 'add', '10.78.0.1', 'peer', '10.78.0.2/32', 'dev', 'near0');
      near('ping', '-c', '1', '-W', '2', '10.78.0.2');
    } finally {
      await agent.close({ keep: false });
      ip('addr', 'del', '10.78.0.2', 'peer', '10.78.0.1/32', 'dev', 'far0');
    }
  });

  test('an address that was on the loopback before stays there, also across a restart', async () => {
    ip('addr', 'add', '192.0.2.10/32', 'dev', 'lo');
    const first = openAgent(options());
    await first.setVips(VIPS);
    await first.close({ keep: true });
    assert.equal(loopback().length, 4);
    const second = openAgent(options());
    assert.equal(second.adopted, true);
    await second.setVips(VIPS);
    await second.close({ keep: false });
    assert.deepEqual(loopback(), ['127.0.0.1/8', '192.0.2.10/32', '::1/128']);
    ip('addr', 'del', '192.0.2.10/32', 'dev', 'lo');
  });

  /** Routes that make the addresses of a prefix the machine's own, beside those of addresses. */
  const ownPrefixes = (): string[] =>
    ['-4', '-6'].flatMap((family) =>
      ip(family, 'route', 'show', 'table', 'local', 'type', 'local')
        .split('\n')
        .flatMap((line) => /^(?:local )?(\S+\/\d+) /.exec(line)?.[1] ?? [])
        .filter((prefix) => !prefix.startsWith('127.')),
    );

  test("every address of a VIP that is a prefix is the machine's, until the prefix goes", async () => {
    const agent = openAgent(options());
    await agent.setVips([...VIPS, ...PREFIXES]);
    assert.deepEqual(agent.listVips().map(formatHostOrPrefix).sort(), [
      '192.0.2.10',
      '198.51.100.0/24',
      '2001:db8:5::/64',
      '2001:db8::10',
    ]);
    assert.deepEqual(ownPrefixes(), ['198.51.100.0/24', '2001:db8:5::/64']);
    agent.setMembers([address('10.77.0.1')]);
    const server = createSocket('udp4');
    server.bind({ fd: openUdpSocket(network.far, address('0.0.0.0'), 5000) });
    for (const to of ['198.51.100.1', '198.51.100.200']) {
      const heard = once(server, 'message');
      sendEncapsulated(network, to);
      await heard;
    }
    sendEncapsulated(network, '198.51.101.1');
    await until(() => agent.counters.read()[AGENT_OUTCOME.NOT_OUR_VIP] === 1, 'beside the prefix it is dropped');
    await agent.setVips([...VIPS, PREFIXES[1]]);
    assert.deepEqual(ownPrefixes(), ['2001:db8:5::/64']);
    sendEncapsulated(network, '198.51.100.1');
    await until(() => agent.counters.read()[AGENT_OUTCOME.NOT_OUR_VIP] === 2, 'a prefix that has gone is none');
    server.close();
    await agent.close({ keep: false });
    assert.deepEqual(ownPrefixes(), []);
  });

  test("a prefix that was the machine's before stays so, also across a restart", async () => {
    ip('route', 'add', 'local', '198.51.100.0/24', 'dev', 'lo', 'table', 'local');
    const first = openAgent(options());
    await first.setVips(PREFIXES);
    await first.close({ keep: true });
    const second = openAgent(options());
    await second.setVips(PREFIXES);
    await second.close({ keep: false });
    assert.deepEqual(ownPrefixes(), ['198.51.100.0/24']);
    ip('route', 'del', 'local', '198.51.100.0/24', 'dev', 'lo', 'table', 'local');
  });

  test('an agent is taken away by name alone, VIPs included', async () => {
    const agent = openAgent(options());
    await agent.setVips([...VIPS, ...PREFIXES]);
    await agent.close({ keep: true });
    assert.equal(await takeDownAgent(NAME, network.far), true);
    assert.deepEqual(ownPrefixes(), []);
    assert.deepEqual(pinsOf(NAME), []);
    assert.equal(await takeDownAgent(NAME, network.far), false);
  });

  /** A balancer at the near end whose only backend is the agent at the far end; sends datagrams through it by test-run. */
  test('what a balancer encapsulates is delivered, and from others than members it is dropped', async () => {
    const agent = openAgent(options());
    await agent.setVips(VIPS);
    agent.setMembers([address('10.77.0.1')]);
    const server = createSocket('udp4');
    server.bind({ fd: openUdpSocket(network.far, VIPS[0], 5000) });
    // GRE over IPv4, no key, around IPv4, UDP from 10.77.0.9 to the VIP: sent by a raw socket of the near end.
    const heard = once(server, 'message');
    sendEncapsulated(network);
    const [data, from] = await heard;
    assert.equal(String(data), 'hi');
    assert.equal(from.address, '10.77.0.9');
    await until(() => delivered(agent) === 1, 'the packet is counted');
    agent.setMembers([address('10.77.0.8')]);
    sendEncapsulated(network);
    await until(() => agent.counters.read()[AGENT_OUTCOME.NOT_MEMBER] === 1, 'the second packet is dropped');
    assert.equal(delivered(agent), 1);
    const inPrefix = once(server, 'message');
    agent.setMembers([address('10.77.0.8')], [{ address: address('10.77.0.0'), length: 29 }]);
    sendEncapsulated(network);
    await inPrefix;
    agent.setMembers([address('10.77.0.8')], [{ address: address('10.77.0.8'), length: 29 }]);
    sendEncapsulated(network);
    await until(() => agent.counters.read()[AGENT_OUTCOME.NOT_MEMBER] === 2, 'from beside the prefix it is dropped');
    server.close();
    await agent.close({ keep: false });
  });

  const delivered = (agent: Agent) => agent.counters.read()[AGENT_OUTCOME.DELIVERED];

  test('a balancer and an agent of one name share root, and each leaves the other in place', async () => {
    const forwarder = openForwarder({
      name: NAME,
      netns: network.far,
      interfaces: ['far0'],
      probeInterface: null,
      addresses: [address('10.77.0.2')],
      buckets: 1024,
      hashKey: new Uint8Array(16),
    });
    forwarder.setVip(address('192.0.2.99'), 1, VIP_ECHO);
    const agent = openAgent(options());
    assert.equal(agent.attachments[0].adopted, true);
    agent.setMembers([address('10.77.0.1')]);
    forwarder.close({ keep: false });
    const pins = pinsOf(NAME);
    assert.ok(pins.includes('backend') && pins.includes('link-far0') && pins.includes('agent_vips'));
    assert.ok(!pins.includes('balancer') && !pins.includes('vips'));
    sendEncapsulated(network);
    await until(() => agent.counters.read()[AGENT_OUTCOME.NOT_OUR_VIP] === 1, 'the agent still sees packets');
    await agent.close({ keep: false });
    assert.deepEqual(pinsOf(NAME), []);
  });

  test('candidate indices out of range are refused', async () => {
    const agent = openAgent(options());
    assert.throws(() => agent.setCandidate(0, null), RangeError);
    assert.throws(() => agent.setCandidate(4096, null), RangeError);
    agent.setCandidate(4095, null);
    await agent.close({ keep: false });
  });
});

/** Sends "hi" from 10.77.0.9 to a VIP, port 5000, in GRE from 10.77.0.1 to 10.77.0.2, through a raw socket of the near end. */
function sendEncapsulated(network: TestNetwork, to = '192.0.2.10'): void {
  const inner = Buffer.from('4500001e000040004011000000000000', 'hex');
  const packet = Buffer.alloc(4 + 30);
  packet.set([0, 0, 0x08, 0x00], 0);
  packet.set(inner.subarray(0, 12), 4);
  packet.set([10, 77, 0, 9, ...address(to).bytes], 16);
  packet.set([0x13, 0x88, 0x13, 0x88, 0, 10, 0, 0, 0x68, 0x69], 24);
  let sum = 0;
  for (let i = 4; i < 24; i += 2) sum += packet.readUInt16BE(i);
  sum = (sum & 0xffff) + (sum >>> 16);
  packet.writeUInt16BE(~sum & 0xffff, 14);
  sendRaw(network.near, 47, packet, [10, 77, 0, 2]);
}
