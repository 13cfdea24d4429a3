/** Fragments and packets that do not fit, through two balancers to real sockets, each machine in a namespace of its own. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, Socket as TcpSocket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseIp } from '../../src/model/parse.ts';
import { splitIpv4 } from '../../src/model/split.ts';
import { foldChecksum, onesSum, pseudoHeaderSum } from '../../src/net/checksum.ts';
import { writeUint16 } from '../../src/net/ethernet.ts';
import { setSocketOption } from '../../src/serve/vip/libc.ts';
import { openTcpListener, openTcpSocket, openUdpSocket } from '../../src/serve/vip/netns.ts';
import { PacketSocket } from '../../src/serve/vip/packet-socket.ts';
import { cannotLoad, until } from '../../src/serve/vip/test-network.ts';
import { createDice } from '../diff/dice.ts';
import {
  CLIENT4,
  CLIENT6,
  type FragmentNetwork,
  makeFragmentNetwork,
  TCP_PORT,
  UDP_PORT,
  VIP4,
  VIP6,
} from './fragment-network.ts';
import { address, ipv4, ipv6, UDP } from './frames.ts';

/** Within what a prefix may hand up. */
const PACE_MS = 10;
const IPPROTO_IP = 0;
const IP_MTU_DISCOVER = 10;
const IP_PMTUDISC_DONT = 0;

let network: FragmentNetwork;
let sender: PacketSocket;
const sockets: Socket[] = [];
/** What arrived at either backend: by digest, how often and where. */
const arrived = new Map<string, number[]>();
const dice = createDice(20261121);

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function listen(): void {
  network.backends.forEach((netns, backend) => {
    for (const vip of [VIP4, VIP6]) {
      const socket = createSocket(vip === VIP4 ? 'udp4' : 'udp6');
      const options = { receiveBufferBytes: 8 * 1024 * 1024 };
      socket.bind({ fd: openUdpSocket(netns, address(vip), UDP_PORT, options) });
      socket.on('message', (bytes) => {
        const key = digest(bytes);
        arrived.set(key, [...(arrived.get(key) ?? []), backend]);
      });
      sockets.push(socket);
    }
  });
}

before(async () => {
  if (cannotLoad !== false) return;
  network = await makeFragmentNetwork();
  sender = new PacketSocket(network.client);
  listen();
});

after(() => {
  for (const socket of sockets) socket.close();
  sender?.close();
  network?.remove();
});

function shuffle<T>(list: readonly T[]): T[] {
  const result = [...list];
  for (let i = result.length - 1; i > 0; i--) {
    const j = dice.below(i + 1);
    [result[i], result[j]] = [result[j] as T, result[i] as T];
  }
  return result;
}

/** With its checksum. */
function datagramOf(payload: Uint8Array, port: number, from: string, to: string): Uint8Array {
  const datagram = new Uint8Array(8 + payload.length);
  writeUint16(datagram, 0, port);
  writeUint16(datagram, 2, UDP_PORT);
  writeUint16(datagram, 4, datagram.length);
  datagram.set(payload, 8);
  const sum = pseudoHeaderSum(address(from), address(to), UDP, datagram.length);
  writeUint16(datagram, 6, foldChecksum(onesSum(datagram, 0, datagram.length, sum)) || 0xffff);
  return datagram;
}

/** Fragments of a datagram, without Ethernet headers. `id` tells it from others of the client. */
function piecesOf(payload: Uint8Array, port: number, id: number, isIpv6: boolean): Uint8Array[] {
  if (isIpv6) return piecesIpv6(datagramOf(payload, port, CLIENT6, VIP6), id);
  const whole = ipv4({ from: CLIENT4, to: VIP4, protocol: UDP }, datagramOf(payload, port, CLIENT4, VIP4));
  writeUint16(whole, 4, id);
  const frame = Uint8Array.from(Buffer.concat([new Uint8Array(12), Uint8Array.of(8, 0), whole]));
  const ip = parseIp(frame);
  assert.ok(ip !== null);
  return (splitIpv4(frame, ip, 1400) as Uint8Array[]).map((piece) => piece.subarray(14));
}

function piecesIpv6(datagram: Uint8Array, id: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < datagram.length; at += 1320) {
    const more = at + 1320 < datagram.length ? 1 : 0;
    const header = Uint8Array.of(UDP, 0, at >> 8, (at & 0xf8) | more, 0, 0, id >> 8, id);
    const data = Buffer.concat([header, datagram.subarray(at, at + 1320)]);
    pieces.push(ipv6({ from: CLIENT6, to: VIP6, protocol: 44 }, data));
  }
  return pieces;
}

function sendOver(link: number, packet: Uint8Array): void {
  const { mac, ownMac, ifindex } = network.links[link] as FragmentNetwork['links'][number];
  const type = packet[0] >> 4 === 6 ? [0x86, 0xdd] : [0x08, 0x00];
  sender.send(ifindex, Uint8Array.from(Buffer.concat([mac, ownMac, Uint8Array.from(type), packet])));
}

const countAll = (name: string): number =>
  network.balancers.reduce((sum, { counts }) => sum + (counts()[name] ?? 0), 0);

describe('fragments', { skip: cannotLoad, timeout: 120_000 }, () => {
  for (const isIpv6 of [false, true]) {
    test(`datagrams whose pieces come in any order, each over either balancer, arrive whole, once: IPv${isIpv6 ? 6 : 4}`, async () => {
      const wanted: string[] = [];
      for (let number = 0; number < 120; number++) {
        const payload = randomBytes(1500 + dice.below(isIpv6 ? 20_000 : 40_000));
        wanted.push(digest(payload));
        const pieces = piecesOf(payload, 20_000 + number, 1 + number, isIpv6);
        for (const piece of shuffle(pieces)) sendOver(dice.below(2), piece);
        await until(
          () => arrived.has(wanted[number] as string),
          `datagram ${number} of ${pieces.length} pieces arrives`,
        );
      }
      for (const key of wanted) assert.equal(arrived.get(key)?.length, 1);
      const where = new Set(wanted.flatMap((key) => arrived.get(key) ?? []));
      assert.equal(where.size, 2, 'both backends got some');
    });
  }

  test('pieces were relayed, held and sent on, and none was lost on the way', () => {
    for (const name of ['fragment-relayed', 'fragment-first', 'fragment-later', 'fragment-held'])
      assert.ok(countAll(name) > 100, `${name} ${countAll(name)}`);
    assert.equal(countAll('failed') + countAll('fragment') + countAll('fragment-refused') + countAll('malformed'), 0);
    const [released, expired] = network.balancers.reduce(
      ([done, late], { slowPath }) => [done + slowPath.status().released, late + slowPath.status().expired],
      [0, 0],
    );
    assert.equal(released, countAll('fragment-held'));
    assert.equal(expired, 0);
  });

  test('datagrams of 60,000 bytes of a real client, in pieces that do not fit on the way to the backend, arrive whole', async () => {
    const client = createSocket('udp4');
    client.bind({ fd: openUdpSocket(network.client, address(CLIENT4), 0) });
    sockets.push(client);
    const before = countAll('oversized');
    for (let number = 0; number < 20; number++) {
      const payload = randomBytes(60_000);
      client.send(payload, UDP_PORT, VIP4);
      await until(() => arrived.has(digest(payload)), `datagram ${number} arrives`);
      assert.equal(arrived.get(digest(payload))?.length, 1);
      await sleep(PACE_MS);
    }
    assert.ok(countAll('oversized') - before >= 20 * 40, `${countAll('oversized')} packets did not fit`);
  });

  test('a TCP connection without path MTU discovery carries data in segments that must be fragmented', async () => {
    const { connection, close } = await openConnection();
    const before = network.balancers.reduce((sum, { slowPath }) => sum + slowPath.status().split, 0);
    await carry(connection, 400);
    const after = network.balancers.reduce((sum, { slowPath }) => sum + slowPath.status().split, 0);
    assert.ok(after > before, 'segments were fragmented');
    close();
  });

  test('a flood of fragments for 5 s breaks no connection that carries data, and keeps no datagram of others away', async (context) => {
    const { connection, close } = await openConnection();
    const alone = await carry(connection, 200);
    const stop = flood();
    const wanted: string[] = [];
    const times: number[] = [];
    const endMs = performance.now() + 5_000;
    for (let number = 0; performance.now() < endMs; number++) {
      const payload = randomBytes(4_000);
      wanted.push(digest(payload));
      const pieces = piecesOf(payload, 30_000, 2_000 + number, false);
      for (const piece of shuffle(pieces)) sendOver(dice.below(2), piece);
      times.push(await carry(connection, 20));
    }
    const flooded = stop();
    close();
    await until(
      () => wanted.filter((key) => arrived.has(key)).length >= wanted.length * 0.97,
      'their datagrams arrive',
    );
    times.sort((a, b) => a - b);
    context.diagnostic(
      `flood: ${flooded} fragments; all ${wanted.length} datagrams of others arrived; 20 rounds took ${times[times.length >> 1]?.toFixed(1)} ms, at most ${times.at(-1)?.toFixed(1)} ms; alone 200 took ${alone.toFixed(1)} ms`,
    );
    const refused = network.balancers.reduce((sum, { slowPath }) => {
      const { refusedPrefix, refusedAll, expired } = slowPath.status();
      return sum + refusedPrefix + refusedAll + expired;
    }, countAll('fragment'));
    assert.ok(refused > flooded / 4, `${refused} of ${flooded} fragments were over the bounds`);
  });
});

/** Rounds of 8 KiB there and back; gives ms. */
async function carry(connection: TcpSocket, rounds: number): Promise<number> {
  const chunk = randomBytes(8192);
  const beginMs = performance.now();
  for (let round = 0; round < rounds; round++) {
    let received = 0;
    const back = new Promise<void>((resolve, reject) => {
      const onData = (bytes: Buffer): void => {
        received += bytes.length;
        if (received < chunk.length) return;
        connection.off('data', onData);
        connection.off('error', reject);
        resolve();
      };
      connection.on('data', onData);
      connection.once('error', reject);
    });
    connection.write(chunk);
    await back;
  }
  return performance.now() - beginMs;
}

/** An echo server on both backends, and a connection to it whose packets may be fragmented. */
async function openConnection(): Promise<{ connection: TcpSocket; close: () => void }> {
  const servers = network.backends.map((netns) => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.pipe(socket);
    });
    server.listen({ fd: openTcpListener(netns, address(VIP4), TCP_PORT) });
    return server;
  });
  const fd = openTcpSocket(network.client, address(CLIENT4), { bind: true });
  setSocketOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT, 'IP_MTU_DISCOVER');
  const connection = new TcpSocket({ fd });
  connection.connect({ host: VIP4, port: TCP_PORT });
  await once(connection, 'connect');
  connection.setNoDelay(true);
  return {
    connection,
    close() {
      connection.destroy();
      for (const server of servers) server.close();
    },
  };
}

/** Fragments from other clients at full speed over both balancers: most without a first, some with. Gives how many. */
function flood(): () => number {
  const socket = new PacketSocket(network.client);
  const packets = Array.from({ length: 4_000 }, (_, i) => {
    const from = `203.0.113.${1 + (i % 200)}`;
    const fragment = i % 5 === 0 ? 0x2000 : 0x2000 | (1 + (i % 100));
    const packet = ipv4({ from, to: VIP4, protocol: UDP, fragment }, datagramOf(new Uint8Array(504), i, from, VIP4));
    writeUint16(packet, 4, i);
    return packet;
  });
  let sent = 0;
  let stopped = false;
  const burst = (): void => {
    if (stopped) return;
    for (let i = 0; i < 100; i++) {
      const { mac, ownMac, ifindex } = network.links[sent & 1] as FragmentNetwork['links'][number];
      const frame = Buffer.concat([mac, ownMac, Uint8Array.of(8, 0), packets[sent % packets.length] as Uint8Array]);
      socket.send(ifindex, frame);
      sent++;
    }
    setImmediate(burst);
  };
  burst();
  return () => {
    stopped = true;
    socket.close();
    return sent;
  };
}
