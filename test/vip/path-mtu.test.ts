/**
 * Path MTU discovery through a VIP: client, balancer and backend in namespaces of their own, every link with 1,500 bytes. A
 * client's full segments do not fit once they are encapsulated; what it is told must be enough for its kernel. Needs root.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Agent, openAgent } from '../../src/serve/vip/agent.ts';
import { createXdpLink } from '../../src/serve/vip/bpf.ts';
import { type Forwarder, openForwarder } from '../../src/serve/vip/forwarder.ts';
import { EVENT, OUTCOME } from '../../src/serve/vip/layout.gen.ts';
import { closeFd } from '../../src/serve/vip/libc.ts';
import { inNamespace, interfaceIndexIn, openTcpListener, openTcpSocket } from '../../src/serve/vip/netns.ts';
import { resolveNextHop } from '../../src/serve/vip/next-hop.ts';
import { BpfObject } from '../../src/serve/vip/object.ts';
import { address, cannotLoad } from '../../src/serve/vip/test-network.ts';

const VIP = { 4: '192.0.2.10', 6: '2001:db8::10' } as const;
const CLIENT = { 4: '10.78.1.1', 6: 'fd78:1::1' } as const;
const BACKEND = '10.78.2.2';
const [C, B, K] = ['c', 'b', 'k'].map((end) => `vip-mtu-${process.pid}-${end}`);
const PORT = 80;
const SLOTS = 7;
const UPLOAD_BYTES = 1 << 20;
/** Less outer IPv4, GRE and the key that may come. */
const FITS = 1500 - 20 - 4 - 4;

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
const inside = (name: string, ...command: string[]) => ip('netns', 'exec', name, ...command);

function joinBy(a: string, aDevice: string, b: string, bDevice: string, net: number): void {
  ip('link', 'add', aDevice, 'netns', a, 'type', 'veth', 'peer', 'name', bDevice, 'netns', b);
  for (const [name, device, end] of [
    [a, aDevice, 1],
    [b, bDevice, 2],
  ] as const) {
    ip('-n', name, 'addr', 'add', `10.78.${net}.${end}/24`, 'dev', device);
    ip('-n', name, 'addr', 'add', `fd78:${net}::${end}/64`, 'dev', device, 'nodad');
    ip('-n', name, 'link', 'set', device, 'up');
    // Checksums that are still to be made do not survive XDP.
    inside(name, 'ethtool', '-K', device, 'tx', 'off');
  }
}

function makeLinks(): void {
  for (const name of [C, B, K]) {
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
  }
  joinBy(C, 'c0', B, 'b0', 1);
  joinBy(B, 'b1', K, 'k1', 2);
  for (const setting of ['ipv4.ip_forward=1', 'ipv6.conf.all.forwarding=1', 'ipv4.conf.all.rp_filter=0'])
    inside(B, 'sysctl', '-qw', `net.${setting}`);
  ip('-n', C, 'route', 'add', '192.0.2.0/24', 'via', '10.78.1.2');
  ip('-n', C, 'route', 'add', '2001:db8::/32', 'via', 'fd78:1::2');
  ip('-n', K, 'route', 'add', 'default', 'via', '10.78.2.1');
  ip('-n', K, 'route', 'add', 'default', 'via', 'fd78:2::1');
}

let forwarder: Forwarder;
let agent: Agent;
let pass: BpfObject;
let passLink = -1;

async function open(): Promise<void> {
  makeLinks();
  pass = new BpfObject(join(import.meta.dirname, '../../build/bpf/pass.bpf.o'));
  pass.load();
  passLink = inNamespace(C, () => createXdpLink(pass.programFd('pass'), interfaceIndexIn(null, 'c0'), 'native'));
  agent = openAgent({
    name: null,
    netns: K,
    interfaces: ['k1'],
    addresses: [address(BACKEND), address('fd78:2::2')],
  });
  await agent.setVips([address(VIP[4]), address(VIP[6])]);
  agent.setMembers([address('10.78.2.1')]);
  forwarder = openForwarder({
    name: null,
    netns: B,
    interfaces: ['b0'],
    probeInterface: null,
    addresses: [address('10.78.2.1')],
    buckets: 2,
    hashKey: randomBytes(16),
  });
  const nextHop = await resolveNextHop(B, address(BACKEND));
  assert.equal(nextHop.mtuBytes, 1500);
  forwarder.setBackend(1, { address: address(BACKEND), nextHop, alive: true, agent: true, forwarding: null });
  for (const family of [4, 6] as const) {
    forwarder.setVip(address(VIP[family]), family, 0);
    const table = forwarder.createTable(10 + family, SLOTS);
    for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 1, 0, 0, false);
    const fields = { subject: 10 + family, slots: SLOTS, forwarding: 'gre' as const, lifetimeTicks: 100 };
    const limits = { newPerSecond: 1000, shareEntries: 1000 };
    forwarder.setService({ vip: family, port: PORT, protocol: 'tcp' }, { ...fields, ...limits });
  }
}

/** Sends `UPLOAD_BYTES`; what the backend says of them when all have come. */
async function upload(family: 4 | 6): Promise<string> {
  const server = createServer((socket) => {
    let received = 0;
    socket.on('data', (data) => {
      received += data.length;
      if (received === UPLOAD_BYTES) socket.end(`got ${received}`);
    });
  });
  server.listen({ fd: openTcpListener(K, address(VIP[family]), PORT) });
  await once(server, 'listening');
  const socket = new Socket({ fd: openTcpSocket(C, address(CLIENT[family]), { bind: true }) });
  try {
    socket.setTimeout(20_000, () => socket.destroy(new Error('nothing comes back')));
    socket.connect({ host: VIP[family], port: PORT });
    await once(socket, 'connect');
    socket.write(randomBytes(UPLOAD_BYTES));
    const [answer] = await once(socket, 'data');
    return String(answer);
  } finally {
    socket.destroy();
    server.close();
  }
}

describe('path MTU discovery through a VIP', { skip: cannotLoad }, () => {
  before(open);
  after(async () => {
    forwarder?.close({ keep: false });
    await agent?.close({ keep: false });
    if (passLink >= 0) closeFd(passLink);
    pass?.close();
    for (const name of [C, B, K]) {
      try {
        ip('netns', 'del', name);
      } catch {
        // It was not made.
      }
    }
  });

  for (const family of [4, 6] as const)
    test(`IPv${family}: an upload over links of 1,500 bytes arrives, because the client learns what fits`, async () => {
      assert.equal(await upload(family), `got ${UPLOAD_BYTES}`);
      assert.match(ip('-n', C, 'route', 'get', VIP[family]), new RegExp(`mtu ${FITS}\\b`));
      const { outcome, event } = forwarder.counters.read(10 + family);
      assert.ok(outcome[OUTCOME.TOO_BIG] > 0, 'full segments did not fit');
      assert.ok(event[EVENT.ANSWERED] > 0, 'and were answered');
      // A window of segments is under way when the first answer comes; then none is too long any more.
      assert.ok(outcome[OUTCOME.TOO_BIG] < 200, `${outcome[OUTCOME.TOO_BIG]} were too long`);
    });
});
