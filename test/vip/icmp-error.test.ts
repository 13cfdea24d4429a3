/**
 * ICMP errors as the backend's kernel meets them: made by hand as a router would, taken through the balancer's program by test-run,
 * sent encapsulated over a veth to a machine with the agent. What that machine's kernel does with them is the test.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type Agent, openAgent } from '../../src/serve/vip/agent.ts';
import { runProgram } from '../../src/serve/vip/bpf.ts';
import { type Forwarder, openForwarder } from '../../src/serve/vip/forwarder.ts';
import { openTcpListener, openTcpSocket } from '../../src/serve/vip/netns.ts';
import { cannotLoad, makeNetwork, sendRaw, type TestNetwork, until } from '../../src/serve/vip/test-network.ts';
import { ACK } from './bed.ts';
import { address, ethernet, GRE, ICMP, ICMPV6, icmp, icmpv6, ipv4, ipv6, TCP, tcp } from './frames.ts';
import { startLineSniffer } from './sniffer.ts';

const VIP4 = '192.0.2.10';
const VIP6 = '2001:db8::10';
/** The client and the balancer are the near end, the backend is the far end. */
const CLIENT4 = '10.77.0.1';
const CLIENT6 = 'fd77::1';
const BACKEND = [10, 77, 0, 2];
const HOP4 = '203.0.113.1';
const HOP6 = '2001:db8:ff::1';
const TCP_PORT = 80;
const SLOTS = 7;
const MTU = 1300;

let network: TestNetwork;
let forwarder: Forwarder;
let agent: Agent;

async function open(): Promise<void> {
  network = makeNetwork('vip-icmp');
  execFileSync('ip', ['-n', network.near, 'route', 'add', '2001:db8::10/128', 'via', 'fd77::2']);
  agent = openAgent({
    name: null,
    netns: network.far,
    interfaces: ['far0'],
    addresses: [address('10.77.0.2'), address('fd77::2')],
  });
  await agent.setVips([address(VIP4), address(VIP6)]);
  agent.setMembers([address(CLIENT4)]);
  forwarder = openForwarder({
    name: null,
    netns: null,
    interfaces: [],
    probeInterface: null,
    addresses: [address(CLIENT4)],
    buckets: 2,
    hashKey: new Uint8Array(16),
  });
  const nextHop = { mac: network.farMac, ownMac: network.nearMac, ifindex: 1, interfaceName: 'lo', mtuBytes: 1500 };
  forwarder.setBackend(1, { address: address('10.77.0.2'), nextHop, alive: true, agent: true, forwarding: null });
  for (const [vip, subject] of [
    [VIP4, 1],
    [VIP6, 2],
  ] as const) {
    forwarder.setVip(address(vip), subject, 0);
    const service = 10 * subject;
    const table = forwarder.createTable(service, SLOTS);
    for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 1, 0, 0, false);
    const limits = { lifetimeTicks: 100, newPerSecond: 1000, shareEntries: 1000 };
    forwarder.setService(
      { vip: subject, port: TCP_PORT, protocol: 'tcp' },
      { subject: service, slots: SLOTS, forwarding: 'gre', ...limits },
    );
  }
}

/** Through the balancer, and from there on the wire. */
function sendThroughBalancer(packet: Uint8Array): void {
  const { verdict, frame } = runProgram(forwarder.programFd, ethernet(1, 9, packet));
  assert.equal(verdict, 'tx');
  sendRaw(network.near, GRE, frame.subarray(14 + 20), BACKEND);
}

/** A connection to the VIP and the sequence number that the backend's first byte would have. */
async function openConnection(vip: string, client: string): Promise<{ port: number; next: number; close: () => void }> {
  const server = createServer();
  server.listen({ fd: openTcpListener(network.far, address(vip), TCP_PORT) });
  await once(server, 'listening');
  const filter = `tcp port ${TCP_PORT} or (ip6 and port ${TCP_PORT})`;
  const sniffer = await startLineSniffer(network.near, 'near0', filter);
  try {
    const accepted = once(server, 'connection');
    const fd = openTcpSocket(network.near, address(client), { bind: true });
    const socket = connect({ fd, host: vip, port: TCP_PORT } as never);
    await once(socket, 'connect');
    const [serverSide] = (await accepted) as [Socket];
    for (const end of [socket, serverSide]) end.on('error', () => {});
    const synAck = /Flags \[S\.\], seq (\d+)/;
    await until(() => synAck.test(sniffer.text()), 'tcpdump shows the handshake');
    const close = () => {
      socket.destroy();
      serverSide.destroy();
      server.close();
    };
    return { port: socket.localPort ?? 0, next: Number(synAck.exec(sniffer.text())?.[1]) + 1, close };
  } finally {
    await sniffer.stop();
  }
}

/** What the backend believes of the path of its connections. */
function pathMtu(client: string): number {
  const text = execFileSync('ss', ['-N', network.far, '-tinH', 'dst', client.includes(':') ? `[${client}]` : client], {
    encoding: 'utf8',
  });
  return Number(/ pmtu:(\d+)/.exec(text)?.[1]);
}

describe('ICMP errors at the backend', { skip: cannotLoad }, () => {
  before(open);
  after(async () => {
    forwarder?.close({ keep: false });
    await agent?.close({ keep: false });
    network?.remove();
  });

  test('a "fragmentation needed" that quotes 8 bytes lowers the path MTU of its connection', async () => {
    const { port, next, close } = await openConnection(VIP4, CLIENT4);
    assert.equal(pathMtu(CLIENT4), 1500);
    const sent = ipv4(
      { from: VIP4, to: CLIENT4, protocol: TCP, fragment: 0x4000 },
      tcp({ from: TCP_PORT, to: port, flags: ACK, sequence: next }),
    );
    const message = icmp(3, 0, MTU, [...sent.subarray(0, 28)], 4);
    sendThroughBalancer(ipv4({ from: HOP4, to: VIP4, protocol: ICMP }, message));
    await until(() => pathMtu(CLIENT4) === MTU, 'the path MTU is lowered');
    close();
  });

  test('an ICMPv6 "packet too big" that quotes 8 bytes does so too', async () => {
    const { port, next, close } = await openConnection(VIP6, CLIENT6);
    assert.equal(pathMtu(CLIENT6), 1500);
    const sent = ipv6(
      { from: VIP6, to: CLIENT6, protocol: TCP },
      tcp({ from: TCP_PORT, to: port, flags: ACK, sequence: next }),
    );
    const fields = { from: HOP6, to: VIP6, protocol: ICMPV6 };
    sendThroughBalancer(ipv6(fields, icmpv6(fields, 2, 0, [...sent.subarray(0, 48)], MTU)));
    await until(() => pathMtu(CLIENT6) === MTU, 'the path MTU is lowered');
    close();
  });
});
