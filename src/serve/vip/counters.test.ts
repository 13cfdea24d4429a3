import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentCounterView, CounterView, countPackets, createTotals } from './counters.ts';
import {
  AGENT_COUNTERS,
  AGENT_OUTCOME,
  AgentCountersView,
  BACKEND_AGENT,
  BACKEND_ALIVE,
  BackendView,
  COUNTERS,
  CountersView,
  EVENT,
  OUTCOME,
} from './layout.gen.ts';
import { BackendTable, outerHeaderSum } from './machine-entry.ts';
import { PressureReader } from './pressure.ts';
import { address } from './test-network.ts';

test('counters of a subject are summed over its CPUs and no others', () => {
  const buffer = new ArrayBuffer(4 * 2 * COUNTERS.sizeBytes);
  const raw = new CountersView(buffer);
  raw.at(1 * 2 + 0).setOutcome(OUTCOME.SETTLED, 5n);
  raw.at(1 * 2 + 1).setOutcome(OUTCOME.SETTLED, 2n ** 40n);
  raw.at(1 * 2 + 1).setOutcome(OUTCOME.NEW, 1n);
  raw.at(1 * 2 + 1).setEvent(EVENT.INSERTED, 3n);
  raw.at(1 * 2 + 1).bytes = 2n ** 52n;
  raw.at(2 * 2).setOutcome(OUTCOME.SETTLED, 100n);
  const view = new CounterView(buffer, 2);
  const totals = view.read(1, createTotals());
  assert.equal(totals.outcome[OUTCOME.SETTLED], 5 + 2 ** 40);
  assert.equal(totals.event[EVENT.INSERTED], 3);
  assert.equal(totals.bytes, 2 ** 52);
  assert.equal(countPackets(totals), 6 + 2 ** 40);
  view.clear(1);
  assert.equal(countPackets(view.read(1)), 0);
  assert.equal(countPackets(view.read(2)), 100);
});

test('counters of an agent are summed over CPUs', () => {
  const buffer = new ArrayBuffer(3 * AGENT_COUNTERS.sizeBytes);
  const raw = new AgentCountersView(buffer);
  raw.at(0).setOutcome(AGENT_OUTCOME.DELIVERED, 1n);
  raw.at(2).setOutcome(AGENT_OUTCOME.DELIVERED, 2n);
  assert.equal(new AgentCounterView(buffer).read()[AGENT_OUTCOME.DELIVERED], 3);
});

test('pressure counts the running second and the last four quarters of a lifetime only', () => {
  const buffer = new ArrayBuffer(2 * 64);
  const words = new BigUint64Array(buffer);
  const now = 1000n << 32n; // tick 1000, second 4000
  words[8] = (4000n << 32n) | 7n;
  // Lifetime 40 ticks: quarters of 10 ticks, now is quarter 100.
  words[9] = (100n << 32n) | 1n;
  words[10] = (97n << 32n) | 20n;
  words[11] = (96n << 32n) | 300n;
  const reader = new PressureReader(buffer);
  assert.deepEqual(reader.read(1, 40, now), { inSecond: 7, inLifetime: 21 });
  assert.deepEqual(reader.read(1, 40, now + (1n << 30n)), { inSecond: 0, inLifetime: 21 });
  reader.clear(1);
  assert.deepEqual(reader.read(1, 40, now), { inSecond: 0, inLifetime: 0 });
});

test('the constant part of an outer header completes to a right IPv4 checksum', () => {
  const [source, destination] = [address('10.1.2.3'), address('172.16.255.254')];
  const length = 1480;
  const sum = outerHeaderSum(source.bytes, destination.bytes) + length;
  const folded = (sum & 0xffff) + (sum >>> 16);
  const checksum = ~((folded & 0xffff) + (folded >>> 16)) & 0xffff;
  const header = Buffer.from([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 47, 0, 0, ...source.bytes, ...destination.bytes]);
  header.writeUInt16BE(length, 2);
  header.writeUInt16BE(checksum, 10);
  let total = 0;
  for (let i = 0; i < 20; i += 2) total += header.readUInt16BE(i);
  assert.equal((total & 0xffff) + (total >>> 16), 0xffff);
});

test('a backend is set, marked dead and cleared in its own place', () => {
  const buffer = new ArrayBuffer(8 * 64);
  const table = new BackendTable(buffer);
  const nextHop = {
    mac: new Uint8Array([1, 2, 3, 4, 5, 6]),
    ownMac: new Uint8Array([7, 8, 9, 10, 11, 12]),
    ifindex: 4,
    interfaceName: 'x',
    mtuBytes: 1500,
  };
  table.set(
    3,
    { address: address('10.0.0.1'), bits: 0 },
    {
      address: address('10.0.0.2'),
      nextHop,
      alive: true,
      agent: true,
      forwarding: 'gue',
    },
  );
  const view = new BackendView(buffer).at(3);
  assert.equal(view.flags, BACKEND_ALIVE | BACKEND_AGENT);
  assert.deepEqual([...view.copyOwnMac(new Uint8Array(6))], [7, 8, 9, 10, 11, 12]);
  table.setAlive(3, false);
  assert.equal(view.flags, BACKEND_AGENT);
  assert.deepEqual(
    table.list().map(({ index, alive, agent, forwarding, ifindex }) => ({ index, alive, agent, forwarding, ifindex })),
    [{ index: 3, alive: false, agent: true, forwarding: 'gue', ifindex: 4 }],
  );
  table.clear(3);
  assert.ok(new Uint8Array(buffer).every((byte) => byte === 0));
  assert.throws(() => table.setAlive(0, true), RangeError);
  assert.throws(() => table.setAlive(8, true), RangeError);
});
