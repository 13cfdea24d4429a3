/**
 * The second chance where a machine knows a TCP connection's addresses, but not the connection: a SYN that was repeated or
 * forged has left a request, or an older connection of the same ports has just ended. Real sockets, the program by test-run.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { foldChecksum, onesSum } from '../../src/net/checksum.ts';
import { writeUint16 } from '../../src/net/ethernet.ts';
import { type Agent, openAgent } from '../../src/serve/vip/agent.ts';
import { runProgram } from '../../src/serve/vip/bpf.ts';
import { AGENT_OUTCOME_NAMES } from '../../src/serve/vip/layout.gen.ts';
import { inNamespace, openTcpListener, openTcpSocket } from '../../src/serve/vip/netns.ts';
import { PacketSocket } from '../../src/serve/vip/packet-socket.ts';
import { cannotLoad, until } from '../../src/serve/vip/test-network.ts';
import { address, ethernet, GRE, gre, ipv4, ipv6, TCP, tcp, udp } from './frames.ts';
import { startLineSniffer } from './sniffer.ts';

const NAMESPACE = `vip-shake-${process.pid}`;
const VIP = { 4: '192.0.2.10', 6: '2001:db8::10' } as const;
const CLIENT = { 4: '198.51.100.7', 6: '2001:db8:7::7' } as const;
/** Answers to it get lost. */
const SILENT = { 4: '198.51.100.99', 6: '2001:db8:7::99' } as const;
const LISTENER = 80;
const [FIN, SYN, RST, ACK] = [0x01, 0x02, 0x04, 0x10];
const FAMILIES = [4, 6] as const;
const LOOPBACK = 1;
const NEXT = 5;

let agent: Agent;
const open: (Server | Socket)[] = [];

interface Segment {
  readonly from: number;
  readonly flags: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
}

function packet(family: 4 | 6, client: string, segment: Segment): Uint8Array {
  const fields = { from: client, to: VIP[family], protocol: TCP };
  const payload = tcp({ to: LISTENER, ...segment });
  return family === 4 ? ipv4(fields, payload) : ipv6(fields, payload);
}

function outcomeOf(inner: Uint8Array): string {
  const frame = ethernet(1, 9, ipv4({ from: '10.0.0.1', to: '10.0.1.1', protocol: GRE }, gre(inner, [NEXT, 0])));
  const before = agent.counters.read().slice();
  inNamespace(NAMESPACE, () => runProgram(agent.programFd, frame));
  const grown = agent.counters.read().map((count, outcome) => count - before[outcome]);
  return AGENT_OUTCOME_NAMES[grown.indexOf(1)];
}

/** An error about what the VIP sent to the client: eight bytes of TCP are quoted. */
function unreachable(family: 4 | 6, client: string, port: number): Uint8Array {
  const segment = udp(LISTENER, port, []);
  const [quoted, error] = [
    { from: VIP[family], to: client, protocol: TCP },
    { from: client, to: VIP[family], protocol: family === 4 ? 1 : 58 },
  ];
  if (family === 4) return ipv4(error, Uint8Array.from([3, 1, 0, 0, 0, 0, 0, 0, ...ipv4(quoted, segment)]));
  return ipv6(error, Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0, ...ipv6(quoted, segment)]));
}

/** Has the listener answer a SYN from the silent client; gives the number that its answer begins with. */
async function leaveRequest(family: 4 | 6, port: number): Promise<number> {
  const sniffer = await startLineSniffer(NAMESPACE, 'silence', `tcp and dst host ${SILENT[family]}`);
  const socket = new PacketSocket(NAMESPACE);
  try {
    const frame = ethernet(0, 0, packet(family, SILENT[family], { from: port, flags: SYN, sequence: 1000 }));
    frame.fill(0, 0, 12);
    const segment = frame.length - 20;
    const addresses = onesSum(frame, segment - (family === 4 ? 8 : 32), frame.length);
    writeUint16(frame, segment + 16, foldChecksum(addresses + TCP + 20));
    socket.send(LOOPBACK, frame);
    const synAck = /Flags \[S\.\], seq (\d+), ack 1001/;
    await until(() => synAck.test(sniffer.text()), 'the listener answers');
    return Number(synAck.exec(sniffer.text())?.[1]);
  } finally {
    socket.close();
    await sniffer.stop();
  }
}

/** A connection that the server has closed first; gives the client's port, and the number that its last packet acknowledged. */
async function leaveTimeWait(family: 4 | 6): Promise<{ port: number; acknowledgement: number }> {
  const sniffer = await startLineSniffer(NAMESPACE, 'lo', `tcp and src host ${CLIENT[family]}`);
  try {
    const fd = openTcpSocket(NAMESPACE, address(CLIENT[family]), { bind: true });
    const client = connect({ fd, host: VIP[family], port: LISTENER } as never);
    client.on('error', () => {}).resume();
    open.push(client);
    await once(client, 'connect');
    const port = client.localPort as number;
    await once(client, 'close');
    const last = /Flags \[F\.\], seq \d+, ack (\d+)/;
    await until(() => last.test(sniffer.text()), 'the client closes');
    const waits = () =>
      execFileSync('ip', ['netns', 'exec', NAMESPACE, 'ss', '-tanH', 'state', 'time-wait']).includes(`:${port}`);
    await until(waits, 'the server side waits');
    return { port, acknowledgement: Number(last.exec(sniffer.text())?.[1]) };
  } finally {
    await sniffer.stop();
  }
}

describe('second chance of handshakes and of what has ended', { skip: cannotLoad }, () => {
  before(async () => {
    execFileSync('ip', ['netns', 'add', NAMESPACE]);
    const ip = (...args: string[]) => execFileSync('ip', ['-n', NAMESPACE, ...args]);
    ip('link', 'set', 'lo', 'up');
    ip('link', 'add', 'silence', 'arp', 'off', 'type', 'veth', 'peer', 'name', 'nobody');
    for (const device of ['silence', 'nobody']) ip('link', 'set', device, 'up');
    for (const device of ['all', 'lo'])
      inNamespace(NAMESPACE, () => execFileSync('sysctl', ['-qw', `net.ipv4.conf.${device}.rp_filter=0`]));
    for (const own of [`${CLIENT[4]}/32`, `${CLIENT[6]}/128`]) ip('addr', 'add', own, 'dev', 'lo');
    for (const family of FAMILIES) ip(`-${family}`, 'route', 'add', SILENT[family], 'dev', 'silence');
    agent = openAgent({ name: null, netns: NAMESPACE, interfaces: [], addresses: [address('10.0.1.1')] });
    await agent.setVips([address(VIP[4]), address(VIP[6])]);
    agent.setMembers([address('10.0.0.1')]);
    const mac = Uint8Array.of(2, 0, 0, 0, 0, 1);
    const nextHop = { mac, ownMac: mac, ifindex: 1, interfaceName: 'lo', mtuBytes: 1500 };
    agent.setCandidate(NEXT, { address: address('10.0.1.5'), nextHop });
    for (const family of FAMILIES) {
      const server = createServer((socket) => socket.on('error', () => {}).end('that is all'));
      server.listen({ fd: openTcpListener(NAMESPACE, address(VIP[family]), LISTENER) });
      await once(server, 'listening');
      open.push(server);
    }
  });
  after(async () => {
    for (const one of open) 'destroy' in one ? one.destroy() : one.close();
    await agent?.close({ keep: false });
    execFileSync('ip', ['netns', 'del', NAMESPACE]);
  });

  test('a SYN, repeated or forged, takes no packet of a connection that lives elsewhere', async () => {
    for (const family of FAMILIES) {
      const start = await leaveRequest(family, 1000);
      const of = (flags: number, acknowledgement: number) =>
        outcomeOf(packet(family, SILENT[family], { from: 1000, flags, sequence: 1001, acknowledgement }));
      assert.equal(of(ACK, (start + 1) >>> 0), 'delivered', 'what ends the handshake here');
      assert.equal(of(ACK | FIN, (start + 1) >>> 0), 'delivered');
      assert.equal(of(ACK, (start + 2) >>> 0), 'forwarded', 'what acknowledges what another machine sent');
      assert.equal(of(ACK, start), 'forwarded');
      assert.equal(of(RST, 0), 'forwarded');
      assert.equal(outcomeOf(unreachable(family, SILENT[family], 1000)), 'forwarded', 'an ICMP error');
    }
  });

  test('a connection that has ended here takes no packet of a new one of the same ports', async () => {
    for (const family of FAMILIES) {
      const { port, acknowledgement } = await leaveTimeWait(family);
      const of = (flags: number, number: number) =>
        outcomeOf(packet(family, CLIENT[family], { from: port, flags, sequence: 7, acknowledgement: number >>> 0 }));
      assert.equal(of(ACK | FIN, acknowledgement), 'delivered', 'a FIN that is repeated');
      assert.equal(of(ACK, acknowledgement - 12), 'delivered', 'what was overtaken on the way');
      assert.equal(of(ACK, acknowledgement + 1), 'forwarded');
      assert.equal(of(ACK, acknowledgement - 100_000), 'forwarded');
      assert.equal(of(RST, 0), 'forwarded');
    }
  });
});
