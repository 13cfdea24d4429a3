/**
 * The backend's kernel program and real sockets: what it takes in, and what it hands on to the next candidate. The program runs
 * by test-run inside a namespace whose sockets it looks up.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type Agent, openAgent } from '../../src/serve/vip/agent.ts';
import { runProgram } from '../../src/serve/vip/bpf.ts';
import { AGENT_OUTCOME, AGENT_OUTCOME_NAMES } from '../../src/serve/vip/layout.gen.ts';
import { inNamespace, openTcpListener, openTcpSocket } from '../../src/serve/vip/netns.ts';
import { cannotLoad, until } from '../../src/serve/vip/test-network.ts';
import {
  address,
  ethernet,
  GRE,
  gre,
  gue,
  IPV4,
  IPV6,
  type IpFields,
  ipv4,
  ipv6,
  TCP,
  tcp,
  toHex,
  UDP,
  udp,
} from './frames.ts';
import { startLineSniffer } from './sniffer.ts';

const NAMESPACE = `vip-second-${process.pid}`;
const VIP4 = '192.0.2.10';
const VIP6 = '2001:db8::10';
const CLIENT4 = '198.51.100.7';
const CLIENT6 = '2001:db8:7::7';
const BALANCER4 = '10.0.0.1';
const OWN4 = '10.0.1.1';
const OWN6 = 'fd00::1';
const LISTENER = 80;
const COOKIES = 81;
const NOBODY = 82;
const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;
const ACK = 0x10;
/** Candidates: 5 has an IPv4 address, 6 an IPv6 one, 7 is unknown. */
const [VIA4, VIA6, UNKNOWN] = [5, 6, 7];

let agent: Agent;
/** Closed in the end, also when a test fails: an open one would keep the process alive. */
const sockets: Socket[] = [];

function ip(...args: readonly string[]): void {
  execFileSync('ip', ['-n', NAMESPACE, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
}

function setSysctl(name: string, value: string): void {
  inNamespace(NAMESPACE, () => execFileSync('sysctl', ['-qw', `${name}=${value}`]));
}

async function openBackend(): Promise<void> {
  execFileSync('ip', ['netns', 'add', NAMESPACE]);
  ip('link', 'set', 'lo', 'up');
  for (const own of [`${CLIENT4}/32`, `${CLIENT6}/128`]) ip('addr', 'add', own, 'dev', 'lo');
  agent = openAgent({
    name: null,
    netns: NAMESPACE,
    interfaces: [],
    addresses: [address(OWN4), address(OWN6)],
  });
  await agent.setVips([address(VIP4), address(VIP6)]);
  agent.setMembers([address(BALANCER4), address('fd00::ba')]);
  for (const [index, to] of [
    [VIA4, '10.0.1.5'],
    [VIA6, 'fd00::6'],
  ] as const) {
    const [mac, ownMac] = [Uint8Array.of(2, 0, 0, 0, 0, index), Uint8Array.of(2, 0, 0, 0, 0, 1)];
    const nextHop = { mac, ownMac, ifindex: 1, interfaceName: 'lo', mtuBytes: 1500 };
    agent.setCandidate(index, { address: address(to), nextHop });
  }
}

const outer4 = (more: Partial<IpFields> = {}): IpFields => ({ from: BALANCER4, to: OWN4, protocol: GRE, ...more });
const outer6: IpFields = { from: 'fd00::ba', to: OWN6, protocol: GRE, flowLabel: 0x12345 };

function arrive(inner: Uint8Array, key?: readonly [number, number], tags: readonly number[] = []): Uint8Array {
  return ethernet(1, 9, ipv4(outer4(), gre(inner, key)), tags);
}

/** A TCP packet from the client; family by port is all that tests differ in. */
function fromClient(
  port: number,
  to: number,
  flags: number,
  numbers: { sequence?: number; acknowledgement?: number } = {},
) {
  return ipv4({ from: CLIENT4, to: VIP4, protocol: TCP }, tcp({ from: port, to, flags, ...numbers }));
}

interface Result {
  readonly verdict: string;
  readonly frame: Uint8Array;
  readonly outcome: string;
}

function run(frame: Uint8Array): Result {
  const before = agent.counters.read().slice();
  const { verdict, frame: result } = inNamespace(NAMESPACE, () => runProgram(agent.programFd, frame));
  const grown = agent.counters.read().map((count, outcome) => count - before[outcome]);
  assert.equal(
    grown.reduce((sum, count) => sum + count, 0),
    1,
    'a packet has one outcome',
  );
  return { verdict, frame: result, outcome: AGENT_OUTCOME_NAMES[grown.indexOf(1)] };
}

function assertDelivered(frame: Uint8Array, inner: Uint8Array, tags: readonly number[] = []): void {
  const result = run(frame);
  assert.equal(result.outcome, 'delivered');
  assert.equal(result.verdict, 'pass');
  assert.equal(toHex(result.frame), toHex(ethernet(1, 9, inner, tags)));
}

/** To candidate 5, with what is left of the key. */
function assertForwarded(
  frame: Uint8Array,
  inner: Uint8Array,
  key?: readonly [number, number],
  tags: readonly number[] = [],
): void {
  const result = run(frame);
  assert.equal(result.outcome, 'forwarded');
  assert.equal(result.verdict, 'tx');
  const expected = ipv4(
    { from: OWN4, to: '10.0.1.5', protocol: GRE, timeToLive: 64, fragment: 0x4000 },
    gre(inner, key),
  );
  assert.equal(toHex(result.frame), toHex(ethernet(VIA4, 1, expected, tags)));
}

function assertDropped(frame: Uint8Array, outcome: string): void {
  const result = run(frame);
  assert.equal(result.outcome, outcome);
  assert.equal(result.verdict, 'drop');
  assert.equal(toHex(result.frame), toHex(frame));
}

interface Connection {
  readonly client: Socket;
  readonly server: Socket;
  readonly port: number;
}

async function open(server: Server, from: string, to: string, port: number): Promise<Connection> {
  const accepted = once(server, 'connection');
  const client = connect({ fd: openTcpSocket(NAMESPACE, address(from), { bind: true }), host: to, port } as never);
  await once(client, 'connect');
  const [serverSide] = await accepted;
  for (const socket of [client, serverSide as Socket]) {
    socket.on('error', () => {});
    sockets.push(socket);
  }
  return { client, server: serverSide, port: client.localPort ?? 0 };
}

async function listen(vip: string, port: number): Promise<Server> {
  const server = createServer();
  server.listen({ fd: openTcpListener(NAMESPACE, address(vip), port) });
  await once(server, 'listening');
  return server;
}

describe('second chance', { skip: cannotLoad }, () => {
  const servers: Server[] = [];
  before(async () => {
    await openBackend();
    servers.push(await listen(VIP4, LISTENER), await listen(VIP6, LISTENER), await listen(VIP4, COOKIES));
  });
  after(async () => {
    for (const socket of sockets) socket.destroy();
    for (const server of servers) server.close();
    await agent?.close({ keep: false });
    execFileSync('ip', ['netns', 'del', NAMESPACE]);
  });

  test('without a key everything is handed up, VLAN tags and all', () => {
    const inner = fromClient(1000, NOBODY, ACK);
    assertDelivered(arrive(inner), inner);
    assertDelivered(arrive(inner, undefined, [0x8100, 7]), inner, [0x8100, 7]);
    const inner6 = ipv6({ from: CLIENT6, to: VIP6, protocol: UDP }, udp(1, 2, [3]));
    assertDelivered(ethernet(1, 9, ipv6(outer6, gre(inner6))), inner6);
  });

  test('with a key, a SYN and a packet with no candidate left are handed up', () => {
    const syn = fromClient(1000, NOBODY, SYN);
    assertDelivered(arrive(syn, [VIA4, 0]), syn);
    const last = fromClient(1000, NOBODY, ACK);
    assertDelivered(arrive(last, [0, VIA4]), last);
  });

  test('a connection that nobody here knows goes to the next candidate, with the rest of the key', () => {
    for (const [to, flags] of [
      [NOBODY, ACK],
      [LISTENER, ACK],
      [LISTENER, FIN | ACK],
      [LISTENER, RST],
      [LISTENER, SYN | ACK],
    ]) {
      const inner = fromClient(1000, to, flags);
      assertForwarded(arrive(inner, [VIA4, 0]), inner);
      assertForwarded(arrive(inner, [VIA4, VIA6], [0x88a8, 1, 0x8100, 2]), inner, [VIA6, 0], [0x88a8, 1, 0x8100, 2]);
    }
  });

  test('the family of the outer header may change on the way', () => {
    const inner = fromClient(1000, LISTENER, ACK);
    const result = run(arrive(inner, [VIA6, VIA4], [0x8100, 5]));
    const over6 = ipv6({ from: OWN6, to: 'fd00::6', protocol: GRE, timeToLive: 64 }, gre(inner, [VIA4, 0]));
    assert.equal(toHex(result.frame), toHex(ethernet(VIA6, 1, over6, [0x8100, 5])));
    const frame6 = ethernet(1, 9, ipv6(outer6, gre(inner, [VIA4, 0])), [0x8100, 5]);
    assertForwarded(frame6, inner, undefined, [0x8100, 5]);
  });

  test('an established connection is handed up, over IPv4 and IPv6, and beyond IPv4 options', async () => {
    const connection = await open(servers[0], CLIENT4, VIP4, LISTENER);
    const inner = fromClient(connection.port, LISTENER, ACK);
    assertDelivered(arrive(inner, [VIA4, 0]), inner);
    const segment = tcp({ from: connection.port, to: LISTENER, flags: ACK });
    const withOptions = ipv4({ from: CLIENT4, to: VIP4, protocol: TCP, options: [1, 1, 1, 1] }, segment);
    assertDelivered(arrive(withOptions, [VIA4, 0]), withOptions);
    const other = fromClient(connection.port ^ 1, LISTENER, ACK);
    assertForwarded(arrive(other, [VIA4, 0]), other);

    const connection6 = await open(servers[1], CLIENT6, VIP6, LISTENER);
    const segment6 = tcp({ from: connection6.port, to: LISTENER, flags: ACK });
    const inner6 = ipv6({ from: CLIENT6, to: VIP6, protocol: TCP }, segment6);
    assertDelivered(arrive(inner6, [VIA4, 0]), inner6);
  });

  test('the answer to a SYN cookie is handed up although no socket knows it, and a wrong one is not', async () => {
    setSysctl('net.ipv4.tcp_syncookies', '2'); // always
    const { port, clientStart, cookie } = await shakeHandsAndForget(servers[2]);
    const numbers = { sequence: (clientStart + 1) >>> 0, acknowledgement: (cookie + 1) >>> 0 };
    const inner = fromClient(port, COOKIES, ACK, numbers);
    assertDelivered(arrive(inner, [VIA4, 0]), inner);
    const wrong = fromClient(port, COOKIES, ACK, { ...numbers, acknowledgement: (cookie + 0x01000001) >>> 0 });
    assertForwarded(arrive(wrong, [VIA4, 0]), wrong);
    setSysctl('net.ipv4.tcp_syncookies', '1');
  });

  test('IP in IP and GUE are taken off too, for both families inside and outside', () => {
    const inner = fromClient(1000, NOBODY, ACK);
    const inner6 = ipv6({ from: CLIENT6, to: VIP6, protocol: UDP }, udp(1, 2, [3]));
    for (const [packet, protocol] of [
      [inner, IPV4],
      [inner6, IPV6],
    ] as const) {
      assertDelivered(ethernet(1, 9, ipv4(outer4({ protocol }), packet), [0x8100, 7]), packet, [0x8100, 7]);
      assertDelivered(ethernet(1, 9, ipv6({ ...outer6, protocol }, packet)), packet);
      assertDelivered(ethernet(1, 9, ipv4(outer4({ protocol: UDP }), gue(50000, packet))), packet);
      assertDelivered(ethernet(1, 9, ipv6({ ...outer6, protocol: UDP }, gue(50000, packet, [0, 0]))), packet);
    }
  });

  test('what came by GUE goes on by GUE, from the same port, with the rest of the key', () => {
    const inner = fromClient(1000, LISTENER, ACK);
    const result = run(ethernet(1, 9, ipv4(outer4({ protocol: UDP }), gue(50001, inner, [VIA4, VIA6]))));
    assert.equal(result.outcome, 'forwarded');
    const outer: IpFields = { from: OWN4, to: '10.0.1.5', protocol: UDP, timeToLive: 64, fragment: 0x4000 };
    assert.equal(toHex(result.frame), toHex(ethernet(VIA4, 1, ipv4(outer, gue(50001, inner, [VIA6, 0])))));
    const next = run(ethernet(1, 9, ipv6({ ...outer6, protocol: UDP }, gue(50001, inner, [VIA4, 0]))));
    assert.equal(toHex(next.frame), toHex(ethernet(VIA4, 1, ipv4(outer, gue(50001, inner)))));
  });

  test('GUE of another version, with flags, control messages, more private data or a wrong length is malformed', () => {
    const inner = fromClient(1000, LISTENER, ACK);
    const changed = (at: number, value: number) => {
      const header = gue(50000, inner, [VIA4, 0]);
      header[at] = value;
      return ethernet(1, 9, ipv4(outer4({ protocol: UDP }), header));
    };
    assertDropped(changed(8, 0x41), 'malformed'); // version 1
    assertDropped(changed(8, 0x21), 'malformed'); // control
    assertDropped(changed(8, 2), 'malformed'); // two words
    assertDropped(changed(9, 47), 'malformed'); // GRE inside
    assertDropped(changed(11, 1), 'malformed'); // a flag
    assertDropped(changed(5, 0x10), 'malformed'); // UDP length
    const stranger = outer4({ from: '10.9.9.9', protocol: UDP });
    assertDropped(ethernet(1, 9, ipv4(stranger, gue(50000, inner))), 'not-member');
    assertDropped(ethernet(1, 9, ipv4(outer4({ from: '10.9.9.9', protocol: IPV4 }), inner)), 'not-member');
  });

  test('an unknown candidate is not sent to', () => {
    assertDropped(arrive(fromClient(1000, NOBODY, ACK), [UNKNOWN, VIA4]), 'unknown-candidate');
  });

  test('packets of strangers and for strangers are dropped', () => {
    const inner = fromClient(1000, LISTENER, SYN);
    assertDropped(ethernet(1, 9, ipv4(outer4({ from: '10.9.9.9' }), gre(inner))), 'not-member');
    const foreign = ipv4({ from: CLIENT4, to: '192.0.2.99', protocol: TCP }, tcp({ from: 1, to: 2, flags: SYN }));
    assertDropped(arrive(foreign), 'not-our-vip');
  });

  test('headers that do not fit or say more than a key are malformed', () => {
    const inner = fromClient(1000, LISTENER, ACK);
    const withFlags = (high: number, low: number) => {
      const header = gre(inner, [VIA4, 0]);
      header.set([high, low]);
      return ethernet(1, 9, ipv4(outer4(), header));
    };
    assertDropped(withFlags(0x80, 0), 'malformed'); // a checksum
    assertDropped(withFlags(0x30, 0), 'malformed'); // a sequence number
    assertDropped(withFlags(0x20, 1), 'malformed'); // version 1
    assertDropped(ethernet(1, 9, ipv4(outer4(), [0, 0, 0x65, 0x58, 0, 0, 0, 0])), 'malformed'); // Ethernet in GRE
    assertDropped(ethernet(1, 9, ipv4(outer4(), gre(inner.subarray(0, 30)))), 'malformed');
    assertDropped(ethernet(1, 9, ipv4(outer4(), [0x20, 0, 8, 0])), 'malformed');
  });

  test('what is not encapsulated for this machine is left to its stack', () => {
    const inner = fromClient(1000, LISTENER, ACK);
    for (const packet of [
      inner,
      ipv4(outer4({ to: '10.0.1.99' }), gre(inner)),
      ipv4(outer4({ options: [1, 1, 1, 1] }), gre(inner)),
      ipv4(outer4({ fragment: 0x2000 }), gre(inner)),
      ipv4(outer4({ protocol: UDP }), udp(50000, 6081, [0, 4, 0, 0, ...inner])),
    ]) {
      const frame = ethernet(1, 9, packet);
      const result = run(frame);
      assert.equal(result.outcome, AGENT_OUTCOME_NAMES[AGENT_OUTCOME.NOT_OURS]);
      assert.equal(result.verdict, 'pass');
      assert.equal(toHex(result.frame), toHex(frame));
    }
  });
});

/**
 * A connection that began with a SYN cookie and was reset, so that no socket is left of it: its first numbers, as tcpdump
 * saw them. The kernel takes the cookie for a minute or two.
 */
async function shakeHandsAndForget(server: Server): Promise<{ port: number; clientStart: number; cookie: number }> {
  const sniffer = await startLineSniffer(NAMESPACE, 'lo', `tcp port ${COOKIES}`);
  try {
    const { client, server: accepted, port } = await open(server, CLIENT4, VIP4, COOKIES);
    const syn = /Flags \[S\], seq (\d+)/;
    const synAck = /Flags \[S\.\], seq (\d+)/;
    await until(() => syn.test(sniffer.text()) && synAck.test(sniffer.text()), 'tcpdump shows the handshake');
    client.resetAndDestroy();
    await until(() => accepted.closed, 'the server side is gone');
    const seen = sniffer.text();
    return { port, clientStart: Number(syn.exec(seen)?.[1]), cookie: Number(synAck.exec(seen)?.[1]) };
  } finally {
    await sniffer.stop();
  }
}
