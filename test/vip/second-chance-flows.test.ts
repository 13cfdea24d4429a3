/** The second chance of what has no TCP header: UDP, QUIC by connection ID, ICMP errors. Real sockets, the program by test-run. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { hostPrefix } from '../../src/net/address.ts';
import { type Agent, openAgent } from '../../src/serve/vip/agent.ts';
import { runProgram } from '../../src/serve/vip/bpf.ts';
import { AGENT_OUTCOME_NAMES } from '../../src/serve/vip/layout.gen.ts';
import { inNamespace, openTcpListener, openTcpSocket, openUdpSocket } from '../../src/serve/vip/netns.ts';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';
import { address, ethernet, GRE, gre, gue, ipv4, ipv6, TCP, tcp, UDP, udp } from './frames.ts';

const NAMESPACE = `vip-flows-${process.pid}`;
const VIP = { 4: '192.0.2.10', 6: '2001:db8::10' } as const;
const CLIENT = { 4: '198.51.100.7', 6: '2001:db8:7::7' } as const;
const [ICMP, ICMPV6] = [1, 58];
const [LISTENER, DATAGRAMS, QUIC, NOBODY] = [80, 53, 443, 82];
const ACK = 0x10;
const NEXT = 5;
const FAMILIES = [4, 6] as const;

let agent: Agent;
const servers: (Server | Socket | UdpSocket)[] = [];

function packet(family: 4 | 6, protocol: number, payload: readonly number[] | Uint8Array): Uint8Array {
  const fields = { from: CLIENT[family], to: VIP[family], protocol };
  return family === 4 ? ipv4(fields, Uint8Array.from(payload)) : ipv6(fields, Uint8Array.from(payload));
}

/** "Too big" from a router, about a packet of the VIP: its IP header and eight bytes. */
function tooBig(family: 4 | 6, protocol: number, from: number, clientPort: number): Uint8Array {
  const transport = protocol === TCP ? tcp({ from, to: clientPort, flags: ACK }) : udp(from, clientPort, [1]);
  const fields = { from: VIP[family], to: CLIENT[family], protocol };
  const quoted = family === 4 ? ipv4(fields, transport) : ipv6(fields, transport);
  const quote = quoted.subarray(0, quoted.length - transport.length + 8);
  return packet(family, family === 4 ? ICMP : ICMPV6, [
    ...(family === 4 ? [3, 4] : [2, 0]),
    0,
    0,
    0,
    0,
    5,
    0,
    ...quote,
  ]);
}

function outcomeOf(inner: Uint8Array, mode: 'gre' | 'gue' = 'gre'): string {
  const key = [NEXT, 0] as const;
  const outer = { from: '10.0.0.1', to: '10.0.1.1', protocol: mode === 'gre' ? GRE : UDP };
  const frame = ethernet(1, 9, ipv4(outer, mode === 'gre' ? gre(inner, key) : gue(50_000, inner, key)));
  const before = agent.counters.read().slice();
  inNamespace(NAMESPACE, () => runProgram(agent.programFd, frame));
  const grown = agent.counters.read().map((count, outcome) => count - before[outcome]);
  return AGENT_OUTCOME_NAMES[grown.indexOf(1)];
}

/** A short header, or a long one of a type of version 1, with the ID of a server. */
function quic(serverId: readonly number[], long?: number, configId = 1): number[] {
  const id = [configId << 5, ...serverId, 1, 2, 3, 4, 5];
  const rest = new Array<number>(20).fill(7);
  return long === undefined ? [0x40, ...id, ...rest] : [0xc0 | (long << 4), 0, 0, 0, 1, id.length, ...id, ...rest];
}

describe('second chance of UDP, QUIC and ICMP errors', { skip: cannotLoad }, () => {
  before(async () => {
    execFileSync('ip', ['netns', 'add', NAMESPACE]);
    const ip = (...args: string[]) => execFileSync('ip', ['-n', NAMESPACE, ...args]);
    ip('link', 'set', 'lo', 'up');
    for (const own of [`${CLIENT[4]}/32`, `${CLIENT[6]}/128`]) ip('addr', 'add', own, 'dev', 'lo');
    agent = openAgent({ name: null, netns: NAMESPACE, interfaces: [], addresses: [address('10.0.1.1')] });
    await agent.setVips([address(VIP[4]), address(VIP[6])]);
    agent.setMembers([address('10.0.0.1')]);
    const mac = Uint8Array.of(2, 0, 0, 0, 0, 1);
    const nextHop = { mac, ownMac: mac, ifindex: 1, interfaceName: 'lo', mtuBytes: 1500 };
    agent.setCandidate(NEXT, { address: address('10.0.1.5'), nextHop });
    agent.setQuic(
      FAMILIES.map((family) => ({
        vip: hostPrefix(address(VIP[family])),
        port: QUIC,
        ids: { configId: 1, serverIdBytes: 2 },
        serverId: Uint8Array.of(0, 9),
      })),
    );
    for (const family of FAMILIES) {
      const server = createServer((socket) => servers.push(socket.on('error', () => {})));
      server.listen({ fd: openTcpListener(NAMESPACE, address(VIP[family]), LISTENER) });
      servers.push(server);
      for (const port of [DATAGRAMS, QUIC]) {
        const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
        socket.bind({ fd: openUdpSocket(NAMESPACE, address(VIP[family]), port) });
        servers.push(socket);
      }
    }
  });
  after(async () => {
    for (const one of servers) 'destroy' in one ? one.destroy() : one.close();
    await agent?.close({ keep: false });
    execFileSync('ip', ['netns', 'del', NAMESPACE]);
  });

  test('a datagram is handed up where a server has a socket for it, and goes on where none has', () => {
    for (const family of FAMILIES) {
      for (const mode of ['gre', 'gue'] as const) {
        assert.equal(outcomeOf(packet(family, UDP, udp(1000, DATAGRAMS, [1])), mode), 'delivered');
        assert.equal(outcomeOf(packet(family, UDP, udp(1000, NOBODY, [1])), mode), 'forwarded');
      }
    }
  });

  test('a QUIC packet is handed up where its connection ID names this machine, and goes on where it names another', () => {
    for (const family of FAMILIES) {
      const of = (data: readonly number[]) => outcomeOf(packet(family, UDP, udp(1000, QUIC, data)));
      assert.equal(of(quic([0, 9])), 'delivered');
      assert.equal(of(quic([0, 8])), 'forwarded');
      assert.equal(of(quic([0, 9], 2)), 'delivered', 'Handshake');
      assert.equal(of(quic([0, 8], 2)), 'forwarded', 'Handshake');
    }
  });

  test('an Initial, 0-RTT and an ID that names nobody are handed up to the server that is here', () => {
    const of = (data: readonly number[]) => outcomeOf(packet(4, UDP, udp(1000, QUIC, data)));
    assert.equal(of(quic([0, 8], 0)), 'delivered');
    assert.equal(of(quic([0, 8], 1)), 'delivered');
    assert.equal(of(quic([0, 8], undefined, 2)), 'delivered', 'another configuration');
    assert.equal(of([0x40, 1 << 5, 0, 8]), 'delivered', 'too short');
  });

  test('an ICMP error is handed up where the connection is that it quotes, and goes on where nobody knows it', async () => {
    for (const family of FAMILIES) {
      const fd = openTcpSocket(NAMESPACE, address(CLIENT[family]), { bind: true });
      const client = connect({ fd, host: VIP[family], port: LISTENER } as never);
      servers.push(client.on('error', () => {}));
      await once(client, 'connect');
      const port = client.localPort as number;
      assert.equal(outcomeOf(tooBig(family, TCP, LISTENER, port)), 'delivered');
      assert.equal(outcomeOf(tooBig(family, TCP, LISTENER, port ^ 1)), 'forwarded');
      assert.equal(outcomeOf(tooBig(family, UDP, DATAGRAMS, 1000)), 'delivered');
      assert.equal(outcomeOf(tooBig(family, UDP, NOBODY, 1000)), 'forwarded');
    }
    assert.equal(outcomeOf(packet(4, ICMP, [8, 0, 0, 0, 0, 0, 0, 0])), 'delivered', 'an echo request');
  });
});
