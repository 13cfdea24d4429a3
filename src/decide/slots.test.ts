import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  candidates,
  createSlotTable,
  killBackend,
  markSlot,
  planChange,
  type SlotTable,
  settleSlot,
  switchSlot,
} from './slots.ts';

const A = 1;
const B = 2;
const C = 3;
const D = 4;
const everybody = (): boolean => true;

function slot(current: number, previous: number, third: number, unsettled = 1): SlotTable {
  const table = createSlotTable(1);
  table.current[0] = current;
  table.previous[0] = previous;
  table.third[0] = third;
  table.unsettled[0] = unsettled;
  return table;
}

function fields(table: SlotTable): number[] {
  return [table.current[0], table.previous[0], table.third[0], table.unsettled[0]] as number[];
}

test('a change of a settled slot is marked first and keeps untracked flows on the old backend', () => {
  const table = slot(A, 0, 0, 0);
  assert.equal(markSlot(table, 0, B), 'marked');
  assert.deepEqual(fields(table), [A, A, B, 1]);
  switchSlot(table, 0, B);
  assert.deepEqual(fields(table), [B, A, 0, 1]);
});

test('a switch without a mark is an error', () => {
  assert.throws(() => switchSlot(slot(A, 0, 0, 0), 0, B), /not marked/);
  assert.throws(() => switchSlot(slot(A, A, C), 0, B), /not marked/);
});

test('drain and undrain leave the slot unsettled with the other backend as third candidate', () => {
  const table = slot(B, A, 0);
  assert.equal(markSlot(table, 0, A), 'ready');
  switchSlot(table, 0, A);
  assert.deepEqual(fields(table), [A, A, B, 1]);
});

test('an overlapping change uses the third place, and one that needs a fourth waits', () => {
  const table = slot(B, A, 0);
  assert.equal(markSlot(table, 0, C), 'marked');
  assert.deepEqual(fields(table), [B, A, C, 1]);
  switchSlot(table, 0, C);
  assert.deepEqual(fields(table), [C, A, B, 1]);
  assert.equal(markSlot(table, 0, D), 'waits');
  assert.equal(markSlot(table, 0, B), 'ready');
  // Back to A would leave no place for C beside B.
  assert.equal(markSlot(table, 0, A), 'waits');
  assert.deepEqual(fields(table), [C, A, B, 1]);
});

test('a slot that names nobody takes a backend at once', () => {
  const settled = slot(0, 0, 0, 0);
  assert.equal(markSlot(settled, 0, A), 'marked');
  assert.deepEqual(fields(settled), [A, 0, 0, 0]);
  const unsettled = slot(0, 0, 0, 1);
  assert.equal(markSlot(unsettled, 0, A), 'marked');
  assert.deepEqual(fields(unsettled), [A, A, 0, 1]);
});

test('a dead backend leaves its slots at once and its successors are candidates where one lives', () => {
  const desired = Uint16Array.of(D);
  const after = (table: SlotTable, dead: number, lives: (index: number) => boolean = everybody): number[] => {
    assert.deepEqual(killBackend(table, dead, lives, desired), [0]);
    return fields(table);
  };
  assert.deepEqual(after(slot(A, 0, 0, 0), A), [D, 0, 0, 0]);
  assert.deepEqual(after(slot(A, B, C), C), [A, B, 0, 1]);
  assert.deepEqual(after(slot(A, B, C), B), [A, A, C, 1]);
  assert.deepEqual(after(slot(A, B, C), A), [B, B, C, 1]);
  assert.deepEqual(
    after(slot(A, B, C), A, (index) => index !== B),
    [C, C, 0, 1],
  );
  assert.deepEqual(
    after(slot(A, B, C), A, (index) => index === D),
    [D, D, 0, 1],
  );
  assert.deepEqual(after(slot(A, A, C), A), [C, C, 0, 1]);
  assert.deepEqual(killBackend(slot(A, B, C), D, everybody, desired), []);
});

test('settling closes the slot before it settles it', () => {
  const table = slot(C, A, B);
  assert.equal(settleSlot(table, 0), 'narrowed');
  assert.deepEqual(fields(table), [C, A, 0, 1]);
  assert.equal(settleSlot(table, 0), 'narrowed');
  assert.deepEqual(fields(table), [C, C, A, 1]);
  assert.equal(settleSlot(table, 0), 'settled');
  assert.deepEqual(fields(table), [C, 0, 0, 0]);
});

test('a plan names markable, ready and waiting slots and changes nothing', () => {
  const table = createSlotTable(5);
  table.current.set([A, A, B, C, A]);
  table.previous.set([0, 0, A, A, 0]);
  table.third.set([0, 0, 0, B, 0]);
  table.unsettled.set([0, 0, 1, 1, 0]);
  const before = structuredClone(table);
  assert.deepEqual(planChange(table, Uint16Array.of(A, B, A, D, 0)), { mark: [1], ready: [2], waiting: 1, held: 0 });
  assert.deepEqual(planChange(table, Uint16Array.of(B, B, A, D, B), 2), {
    mark: [0, 1],
    ready: [],
    waiting: 1,
    held: 0,
  });
  assert.deepEqual(table, before);
});

test('whatever happens, a live candidate is lost to settling only and previous changes by death or settling only', () => {
  const step = fc.record({ kind: fc.constantFrom('change', 'kill', 'settle'), who: fc.integer({ min: 1, max: 6 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const table = slot(A, 0, 0, 0);
      for (const { kind, who } of steps) {
        const before = candidates(table, 0);
        const previous = table.unsettled[0] === 0 ? table.current[0] : table.previous[0];
        if (kind === 'change') {
          if (markSlot(table, 0, who) !== 'waits') switchSlot(table, 0, who);
          if (table.unsettled[0] !== 0) assert.equal(table.previous[0], previous);
          for (const one of before) assert.ok(candidates(table, 0).includes(one));
        } else if (kind === 'kill') {
          killBackend(table, who, (index) => index !== who, Uint16Array.of(who === D ? A : D));
          const left = before.filter((index) => index !== who);
          for (const one of left) assert.ok(candidates(table, 0).includes(one));
          assert.ok(!candidates(table, 0).includes(who));
        } else if (table.unsettled[0] !== 0) settleSlot(table, 0);
        assert.ok(table.current[0] !== 0);
      }
    }),
    { numRuns: 2000 },
  );
});
