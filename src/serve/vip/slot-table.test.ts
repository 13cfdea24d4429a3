import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Forwarder, openForwarder } from './forwarder.ts';
import { FINE_SHIFT, SLOT_TICK_SHIFT, TICK_SHIFT } from './layout.gen.ts';
import type { SlotTable } from './slot-table.ts';
import { cannotLoad } from './test-network.ts';

const TICK_NS = 2n ** BigInt(TICK_SHIFT);

describe('slot table', { skip: cannotLoad }, () => {
  let forwarder: Forwarder;
  let nextSubject = 1;

  before(() => {
    forwarder = openForwarder({
      name: null,
      netns: null,
      interfaces: [],
      probeInterface: null,
      addresses: [],
      buckets: 2,
      hashKey: new Uint8Array(16),
      testClock: true,
    });
    forwarder.setTestClock(1000n * TICK_NS);
  });
  after(() => {
    forwarder.close({ keep: false });
  });

  const make = (slots = 7) => forwarder.createTable(nextSubject++, slots, 30_000);
  const slot = (table: SlotTable, i: number) => {
    const { current, previous, third, tick } = table.read(i);
    return [current, previous, third, tick];
  };

  test('a new table is settled and names nobody', () => {
    const table = make();
    assert.equal(table.adopted, false);
    assert.equal(table.countUnsettled(), 0);
    assert.ok(table.words.every((word) => word === 0n));
  });

  test('marking raises the generation and sets tick and adoption deadline; settling sets tick 0 and keeps it', () => {
    const table = make();
    table.write(2, 5, 0, 0, false);
    assert.deepEqual(slot(table, 2), [5, 0, 0, 0]);
    assert.equal(table.read(2).generation, 0);
    table.write(2, 5, 5, 6, true);
    assert.deepEqual(slot(table, 2), [5, 5, 6, 1000]);
    assert.equal(table.read(2).generation, 1);
    const deadline = Number((1000n * TICK_NS + 30_000_000_000n) >> BigInt(FINE_SHIFT));
    assert.equal(forwarder.adoptUntil(table.subject), deadline);
    table.write(2, 6, 0, 0, false);
    assert.deepEqual(slot(table, 2), [6, 0, 0, 0]);
    assert.equal(table.read(2).generation, 1, 'the generation is raised by the next mark, not by settling');
    table.write(2, 6, 6, 7, true);
    assert.equal(table.read(2).generation, 2);
    assert.equal(table.read(1).generation, 0, 'another slot was touched');
  });

  test("the kernel's tick stays while candidates change but current does not, and is now when current changes", () => {
    const table = make();
    table.write(0, 5, 5, 6, true);
    forwarder.setTestClock(1003n * TICK_NS);
    // As a packet would: only the tick.
    table.words[0] = (table.words[0] & 0xfffffffffffffn) | (1002n << BigInt(SLOT_TICK_SHIFT));
    table.write(0, 5, 5, 7, true);
    assert.deepEqual(slot(table, 0), [5, 5, 7, 1002]);
    table.write(0, 7, 5, 0, true);
    assert.deepEqual(slot(table, 0), [7, 5, 0, 1003]);
    assert.equal(table.read(0).generation, 1);
    forwarder.setTestClock(1000n * TICK_NS);
  });

  test('a tick is never 0 while unsettled, also when the clock says so', () => {
    const table = make();
    forwarder.setTestClock(8192n * TICK_NS);
    table.write(1, 1, 1, 2, true);
    assert.deepEqual(slot(table, 1), [1, 1, 2, 1]);
    forwarder.setTestClock(1000n * TICK_NS);
  });

  test('a generation comes round after 65,536, and touches nothing beside it', () => {
    const table = make();
    table.words[3] = (0xffffn << 36n) | 5n;
    table.write(3, 5, 5, 0xfff, true);
    assert.deepEqual(table.read(3), { current: 5, previous: 5, third: 0xfff, generation: 0, tick: 1000 });
  });

  test('silence that is longer than ticks can tell looks shorter, never longer', () => {
    const table = make(1);
    table.write(0, 1, 1, 2, true);
    forwarder.setTestClock((1000n + 4096n + 10n) * TICK_NS);
    const may = Uint8Array.of(1);
    table.vetoSettling((20 * Number(TICK_NS)) / 1e6, may);
    assert.equal(may[0], 0);
    assert.equal(table.closeIfSilent(0, 1, 1, 2, (20 * Number(TICK_NS)) / 1e6), false);
    // A packet of a processor whose clock is a moment ahead.
    forwarder.setTestClock(999n * TICK_NS);
    table.vetoSettling(0, may.fill(1));
    assert.equal(may[0], 0);
    forwarder.setTestClock(1000n * TICK_NS);
  });

  test('slots are written from and read into arrays', () => {
    const table = make(3);
    const arrays = {
      current: new Uint16Array([1, 2, 0xfff]),
      previous: new Uint16Array([0, 3, 0]),
      third: new Uint16Array([0, 4, 0]),
      unsettled: new Uint8Array([0, 1, 0]),
    };
    table.writeFrom(arrays, [1, 2]);
    assert.deepEqual(slot(table, 0), [0, 0, 0, 0]);
    table.writeFrom(arrays);
    const read = {
      current: new Uint16Array(3),
      previous: new Uint16Array(3),
      third: new Uint16Array(3),
      unsettled: new Uint8Array(3),
    };
    table.readInto(read);
    assert.deepEqual(read, arrays);
    assert.equal(table.countUnsettled(), 1);
  });

  test('a slot that a packet met lately must not settle, a silent one may', () => {
    const table = make(3);
    table.write(0, 1, 1, 2, true);
    forwarder.setTestClock(1100n * TICK_NS);
    table.write(1, 1, 1, 2, true);
    const may = new Uint8Array(3).fill(1);
    table.vetoSettling((100 * Number(TICK_NS)) / 1e6 - 4294 * 2, may);
    assert.deepEqual([...may], [1, 0, 1]);
    const none = new Uint8Array(3).fill(1);
    table.vetoSettling((101 * Number(TICK_NS)) / 1e6, none);
    assert.deepEqual([...none], [0, 0, 1]);
    forwarder.setTestClock(1000n * TICK_NS);
  });

  test('a table is found again with its slots, and refused in another size', () => {
    const table = make(11);
    table.write(10, 9, 0, 0, false);
    assert.equal(forwarder.createTable(table.subject, 11), table);
    assert.ok(forwarder.listTables().some(({ subject, slots }) => subject === table.subject && slots === 11));
    assert.throws(() => forwarder.createTable(table.subject, 13), /has 11 slots, not 13/);
    assert.equal(forwarder.removeTable(table.subject), true);
    assert.equal(forwarder.removeTable(table.subject), false);
    assert.ok(!forwarder.listTables().some(({ subject }) => subject === table.subject));
  });

  test('a slot beyond the table is refused', () => {
    const table = make(3);
    assert.throws(() => table.write(3, 1, 0, 0, false), RangeError);
    assert.throws(() => table.write(-1, 1, 0, 0, false), RangeError);
  });

  test('views of a closed table read nothing instead of freed memory', () => {
    const table = make(3);
    const { words } = table;
    table.close();
    assert.equal(words.length, 0);
    const again = forwarder.createTable(table.subject, 3);
    assert.equal(again.adopted, true);
    assert.equal(again.words.length, 3);
  });
});
