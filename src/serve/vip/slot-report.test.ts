import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server, Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { hashAddresses, hashSource, slotOf, slotOfHash } from '../../model/flow-hash.ts';
import { sipHashKey } from '../../model/siphash.ts';
import { formatAddress, hostPrefix, type Prefix, parsePrefix, toMapped } from '../../net/address.ts';
import { openTcpListener, openTcpSocket } from './netns.ts';
import { type ReportedService, SlotCounter, SlotReader, type SlotReport } from './slot-report.ts';
import { address, cannotLoad, makeNetwork, type TestNetwork } from './test-network.ts';

const KEY = Uint8Array.from({ length: 16 }, (_, i) => i);
const SLOTS = 65_537;
const PORT = 8080;

/** Clients on the same machine, which the list of sockets shows too, from their end. */
const NEAR = { 4: address('127.0.0.5'), 6: address('::1') };
const VIPS = { 4: address('10.77.0.2'), 6: address('fd77::2') };

/** The slot of a packet from a client to the VIP. */
function slotFrom(family: 4 | 6, sourcePort: number): number {
  const bytes = new Uint8Array([...NEAR[family].bytes, ...VIPS[family].bytes]);
  const ports = { sourcePort, destinationPort: PORT, protocol: 6 };
  return slotOf(hashAddresses(sipHashKey(KEY), bytes, 0, family === 4 ? 4 : 16, ports), SLOTS);
}

function slotsOf(report: SlotReport): number[] {
  const slots = [];
  for (let slot = 0; slot < SLOTS; slot++) if ((report.slots[slot >> 3] >> (slot & 7)) & 1) slots.push(slot);
  return slots;
}

describe('slot reports', { skip: cannotLoad }, () => {
  let network: TestNetwork;
  const servers: Server[] = [];
  const clients: Socket[] = [];
  let nowMs = 1_000;

  before(async () => {
    network = makeNetwork('slot-report');
    for (const vip of [VIPS[4], VIPS[6]]) {
      const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}).resume());
      server.listen({ fd: openTcpListener(network.far, vip, PORT) });
      servers.push(server);
      await once(server, 'listening');
    }
  });
  after(() => {
    for (const client of clients) client.destroy();
    for (const server of servers) server.close();
    network?.remove();
  });

  async function connect(family: 4 | 6): Promise<Socket> {
    const socket = new Socket({ fd: openTcpSocket(network.far, NEAR[family], { bind: true }), allowHalfOpen: true });
    clients.push(socket);
    socket.on('error', () => {}).resume();
    socket.connect({ host: formatAddress(VIPS[family]), port: PORT });
    await once(socket, 'connect');
    return socket;
  }

  const service = (changes: Partial<ReportedService> = {}): ReportedService => ({
    service: 'web',
    slots: SLOTS,
    vips: [hostPrefix(VIPS[4]), hostPrefix(VIPS[6])],
    ports: [{ protocol: 'tcp', port: PORT }],
    hashesSource: false,
    ...changes,
  });

  test('every connection to a VIP marks the slot that its packets hash to', async () => {
    const reader = new SlotReader(network.far, () => nowMs);
    const sockets = [await connect(4), await connect(4), await connect(6), await connect(6)];
    const ports = sockets.map((socket) => socket.localPort as number);
    const wanted = ports.map((port, i) => slotFrom(i < 2 ? 4 : 6, port)).sort((a, b) => a - b);
    const other = service({ service: 'other', ports: [{ protocol: 'tcp', port: PORT + 1 }] });
    const { reports } = await reader.read([service(), other], KEY);
    assert.deepEqual(slotsOf(reports[0]), wanted);
    assert.equal(reports[0].count, 4);
    assert.equal(reports[0].isComplete, true);
    assert.deepEqual(
      reports[0].topClients.map(({ address, connections }) => `${formatAddress(address)} ${connections}`).sort(),
      ['127.0.0.5 2', '::1 2'],
    );
    assert.equal(reports[1].count, 0);
    assert.deepEqual(slotsOf(reports[1]), []);
    nowMs += 500;
    const later = await reader.read([service({ ports: [{ protocol: 'tcp', port: 0 }] })], KEY);
    assert.deepEqual([later.takenAtMs, later.reports[0].oldestMs, later.reports[0].count], [nowMs, 500, 4]);
  });

  test('a connection counts until both ends have closed it', async () => {
    const reader = new SlotReader(network.far, () => nowMs);
    const before = (await reader.read([service()], KEY)).reports[0].count;
    const accepted = once(servers[0], 'connection');
    const client = await connect(4);
    const [served] = (await accepted) as [Socket];
    served.end();
    await once(client, 'end');
    const count = async () => (await reader.read([service()], KEY)).reports[0].count;
    assert.equal(await count(), before + 1, 'half closed');
    client.end();
    await once(client, 'close');
    const endMs = performance.now() + 5000;
    while ((await count()) !== before) assert.ok(performance.now() < endMs, 'it still counts in TIME_WAIT');
  });

  test('where sources are hashed, a client has one slot', async () => {
    const reader = new SlotReader(network.far, () => nowMs);
    const { reports } = await reader.read([service({ hashesSource: true })], KEY);
    const slots = ([4, 6] as const).map((family) =>
      slotOfHash(hashSource(sipHashKey(KEY), NEAR[family].bytes, 0, family === 4 ? 4 : 16), SLOTS),
    );
    assert.deepEqual(
      slotsOf(reports[0]),
      slots.sort((a, b) => a - b),
    );
    assert.ok(reports[0].count >= 4);
  });

  test('flows of UDP have no sockets of their own, so their report is not complete', async () => {
    const reader = new SlotReader(network.far, () => nowMs);
    const read = async (changes: Partial<ReportedService>) =>
      (await reader.read([service(changes)], KEY)).reports[0].isComplete;
    assert.equal(await read({ ports: [{ protocol: 'udp', port: PORT }] }), false);
    assert.equal(await read({}), true);
  });
});

test('an IPv4 connection of an IPv6 socket counts as IPv4', () => {
  const bytes = new DataView(new ArrayBuffer(32));
  new Uint8Array(bytes.buffer).set(toMapped(VIPS[4]), 0);
  new Uint8Array(bytes.buffer).set(toMapped(NEAR[4]), 16);
  const service = {
    service: 'web',
    slots: SLOTS,
    vips: [hostPrefix(VIPS[4])],
    ports: [{ protocol: 'tcp', port: PORT }],
  } as const;
  const counter = new SlotCounter([{ ...service, hashesSource: false }], KEY);
  counter.add({ bytes, localAt: 0, remoteAt: 16, addressBytes: 16, localPort: PORT, remotePort: 5000 }, 6, 0);
  const [report] = counter.reports(true);
  assert.deepEqual(slotsOf(report), [slotFrom(4, 5000)]);
  assert.equal(formatAddress(report.topClients[0].address), '127.0.0.5');
});

test('a connection belongs to the service of the longest VIP around its address that has its port', () => {
  const vip = (text: string) => parsePrefix(text) as Prefix;
  const service = (name: string, vips: readonly Prefix[], port: number) => {
    return { service: name, slots: SLOTS, vips, ports: [{ protocol: 'tcp', port }], hashesSource: false } as const;
  };
  const services = [
    service('wide', [vip('10.77.0.0/16')], 0),
    service('near', [vip('10.77.0.0/24')], PORT),
    service('one', [hostPrefix(VIPS[4])], 443),
  ];
  const counter = new SlotCounter(services, KEY);
  const add = (to: string, localPort: number) => {
    const bytes = new DataView(new ArrayBuffer(32));
    new Uint8Array(bytes.buffer).set(address(to).bytes, 0);
    new Uint8Array(bytes.buffer).set(NEAR[4].bytes, 16);
    counter.add({ bytes, localAt: 0, remoteAt: 16, addressBytes: 4, localPort, remotePort: 5000 }, 6, 0);
  };
  for (const to of ['10.77.0.2', '10.77.0.3', '10.77.1.3', '10.78.0.1']) for (const port of [PORT, 443]) add(to, port);
  assert.deepEqual(
    counter.reports(true).map((report) => [report.service, report.count]),
    [
      ['wide', 3],
      ['near', 2],
      ['one', 1],
    ],
  );
});
