/** QUIC through a balancer's kernel program: a connection that names its backend stays with it, wherever its client goes. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { runProgram } from '../../src/serve/vip/bpf.ts';
import { type Forwarder, openForwarder } from '../../src/serve/vip/forwarder.ts';
import { OUTCOME_NAMES } from '../../src/serve/vip/layout.gen.ts';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';
import { address, ethernet, ipv4, ipv6, UDP, udp } from './frames.ts';

const VIP = { 4: '192.0.2.10', 6: '2001:db8::10' } as const;
const SUBJECT = 10;
const PORT = 443;
/** The slots' backend, two that only connection IDs lead to, and one that is dead. */
const [HOME, SECOND, THIRD, DEAD] = [1, 2, 3, 4];
const IDS = { configId: 2, serverIdBytes: 3 };
const [INITIAL, EARLY, HANDSHAKE] = [0, 1, 2];
const SETTLED = 'settled';

let forwarder: Forwarder;

function connectionId(server: number, configId = IDS.configId): number[] {
  return [(configId << 5) | 11, 0xaa, 0, server, 9, 8, 7, 6, 5];
}

const rest = new Array<number>(20).fill(7);
const short = (id: readonly number[]) => [0x43, ...id, ...rest];

function long(type: number, id: readonly number[], version = [0, 0, 0, 1]): number[] {
  return [0xc0 | (type << 4), ...version, id.length, ...id, 0, ...rest];
}

/** Where a datagram of a client goes: outcome, and the last byte of the backend's address. */
function send(data: readonly number[], client = '198.51.100.7', port = 5000): [string, number | null] {
  const family = client.includes(':') ? 6 : 4;
  const fields = { from: client, to: VIP[family], protocol: UDP };
  const datagram = udp(port, PORT, data);
  const frame = ethernet(1, 9, family === 4 ? ipv4(fields, datagram) : ipv6(fields, datagram));
  const before = forwarder.counters.read(SUBJECT).outcome.slice();
  const result = runProgram(forwarder.programFd, frame);
  const outcome = forwarder.counters.read(SUBJECT).outcome.findIndex((count, i) => count > before[i]);
  return [OUTCOME_NAMES[outcome], result.verdict === 'tx' ? result.frame[14 + 19] : null];
}

describe('QUIC', { skip: cannotLoad }, () => {
  before(() => {
    forwarder = openForwarder({
      name: null,
      netns: null,
      interfaces: [],
      probeInterface: null,
      addresses: [address('10.0.0.1')],
      buckets: 2,
      hashKey: new Uint8Array(16).fill(7),
      testClock: true,
    });
    forwarder.setTestClock(5000n << 32n);
    const mac = Uint8Array.of(2, 0, 0, 0, 0, 5);
    const nextHop = { mac, ownMac: mac, ifindex: 1, interfaceName: 'lo', mtuBytes: 1500 };
    for (const index of [HOME, SECOND, THIRD, DEAD]) {
      const to = address(`10.0.1.${index}`);
      forwarder.setBackend(index, { address: to, nextHop, alive: index !== DEAD, agent: true, forwarding: null });
    }
    const table = forwarder.createTable(SUBJECT, 7);
    for (let slot = 0; slot < 7; slot++) table.write(slot, HOME, 0, 0, false);
    forwarder.setVip(address(VIP[4]), 1, 0);
    forwarder.setVip(address(VIP[6]), 2, 0);
    const limits = { lifetimeTicks: 100, newPerSecond: 1000, shareEntries: 1000 };
    for (const vip of [1, 2])
      forwarder.setService(
        { vip, port: PORT, protocol: 'udp' },
        { subject: SUBJECT, slots: 7, forwarding: 'gre', ...limits, quic: IDS },
      );
    const ids = [HOME, SECOND, THIRD, DEAD].map((index): [bigint, number] => [BigInt(0xaa0000 + index), index]);
    assert.equal(forwarder.serverIds.setService(SUBJECT, new Map(ids)), 0);
  });
  after(() => forwarder?.close({ keep: false }));

  test('a connection stays with the backend that its ID names, from any address and port', () => {
    for (const client of ['198.51.100.7', '203.0.113.99', '2001:db8:7::7'])
      for (const port of [5000, 6000, 7000])
        assert.deepEqual(send(short(connectionId(SECOND)), client, port), ['by-id', SECOND]);
    assert.deepEqual(send(long(HANDSHAKE, connectionId(THIRD))), ['by-id', THIRD]);
  });

  test('what a client may have made up goes by the flow', () => {
    assert.deepEqual(send(long(INITIAL, connectionId(SECOND))), [SETTLED, HOME]);
    assert.deepEqual(send(long(EARLY, connectionId(SECOND))), [SETTLED, HOME]);
    const version2 = [0x6b, 0x33, 0x43, 0xcf];
    assert.deepEqual(send(long(1, connectionId(SECOND), version2)), [SETTLED, HOME], 'an Initial of version 2');
    assert.deepEqual(send(long(3, connectionId(SECOND), version2)), ['by-id', SECOND], 'a Handshake of version 2');
  });

  test('so does an ID of nobody, of a dead backend, of another configuration, and what is no QUIC', () => {
    assert.deepEqual(send(short(connectionId(77))), [SETTLED, HOME]);
    assert.deepEqual(send(short(connectionId(DEAD))), [SETTLED, HOME]);
    assert.deepEqual(send(short(connectionId(SECOND, 3))), [SETTLED, HOME]);
    assert.deepEqual(send([1, 2, 3]), [SETTLED, HOME]);
  });

  test('in an unsettled slot Initials are tracked like SYNs; old flows without an ID are not, and go to previous', () => {
    const table = forwarder.createTable(SUBJECT, 7);
    for (let slot = 0; slot < 7; slot++) table.write(slot, SECOND, HOME, 0, true);
    assert.deepEqual(send(short(connectionId(77)), '198.51.100.1'), ['untracked', HOME]);
    assert.deepEqual(send(long(INITIAL, connectionId(77)), '198.51.100.2'), ['new', SECOND]);
    assert.deepEqual(send(short(connectionId(77)), '198.51.100.2'), ['tracked', SECOND]);
    assert.deepEqual(send(short(connectionId(THIRD)), '198.51.100.2'), ['by-id', THIRD]);
    // The client's second Initial, to the backend that answered the first before the change.
    assert.deepEqual(send(long(INITIAL, connectionId(HOME)), '198.51.100.3'), ['by-id', HOME]);
    assert.deepEqual(send(long(INITIAL, connectionId(THIRD)), '198.51.100.4'), ['new', SECOND]);
  });
});
