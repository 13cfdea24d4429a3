import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { populateTable } from '../decide/maglev.ts';
import { markResult, type SlotTable } from '../decide/slots.ts';
import { SiteTables } from './site-tables.ts';
import { LISTING_WAIT_MS, LISTINGS_APART_MS, SlotListings } from './slot-listings.ts';
import type { SlotChange, TableMember, TableTarget } from './table-target.ts';

const SLOTS = 101;
const SETTLE_MS = 60_000;
const SUBJECT = 7;

interface Write {
  readonly target: string;
  readonly change: SlotChange;
  readonly slots: readonly number[];
}

/** A balancer that keeps what it is told and in which order. */
class Recorder implements TableTarget {
  readonly name: string;
  readonly writes: Write[];
  readonly copy = { current: new Uint16Array(SLOTS), previous: new Uint16Array(SLOTS), third: new Uint16Array(SLOTS) };
  readonly unsettled = new Uint8Array(SLOTS);
  /** Slots that are not silent. */
  readonly busy = new Set<number>();
  answers = true;

  constructor(name: string, writes: Write[]) {
    this.name = name;
    this.writes = writes;
  }

  #copy(table: SlotTable, i: number): void {
    for (const field of ['current', 'previous', 'third'] as const) this.copy[field][i] = table[field][i] as number;
    this.unsettled[i] = table.unsettled[i] as number;
  }

  async writeSlots(subject: number, table: SlotTable, slots: ArrayLike<number>, change: SlotChange): Promise<void> {
    assert.equal(subject, SUBJECT);
    if (!this.answers) throw new Error('no answer');
    for (const i of Array.from(slots)) this.#copy(table, i);
    this.writes.push({ target: this.name, change, slots: Array.from(slots) });
  }

  async closeSlots(_subject: number, table: SlotTable, slots: readonly number[]): Promise<number[]> {
    for (const i of slots) if (!this.busy.has(i)) this.#copy(table, i);
    return slots.filter((i) => this.busy.has(i));
  }

  picks: number[] = [];

  async writePicks(subject: number, picks: Uint16Array): Promise<void> {
    assert.equal(subject, SUBJECT);
    this.picks = [...picks];
  }

  async vetoSettling(_subject: number, _silenceMs: number, may: Uint8Array): Promise<void> {
    for (const i of this.busy) may[i] = 0;
  }
}

function members(...indices: number[]): TableMember[] {
  return indices.map((index) => ({ name: `b${index}`, index, weight: 1 }));
}

async function site(...names: string[]) {
  let nowMs = 0;
  const writes: Write[] = [];
  const lost: string[] = [];
  const tables = new SiteTables(
    () => nowMs,
    (name) => lost.push(name),
  );
  const targets = names.map((name) => new Recorder(name, writes));
  for (const target of targets) await tables.addTarget(target);
  const options = { subject: SUBJECT, slots: SLOTS, settleAfterMs: SETTLE_MS, adopted: null };
  const set = (list: TableMember[], dead: number[] = [], weightsOnly = false) =>
    tables.setMembers('web', { ...options, weightsOnly }, list, new Set(dead));
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return { tables, targets, writes, lost, set, pass };
}

test('a new table is loaded settled, the same on every balancer', async () => {
  const { targets, set, writes } = await site('x', 'y');
  await set(members(1, 2));
  assert.deepEqual(
    writes.map((write) => write.change),
    ['load', 'load'],
  );
  assert.deepEqual(targets[0]?.copy, targets[1]?.copy);
  assert.ok(targets[0]?.copy.current.every((index) => index === 1 || index === 2));
  assert.ok(!targets[0]?.unsettled.includes(1));
});

test('no balancer switches before every balancer has marked', async () => {
  const { set, writes } = await site('x', 'y');
  await set(members(1, 2));
  writes.length = 0;
  await set(members(1, 2, 3));
  assert.deepEqual(
    writes.map(({ target, change }) => `${target} ${change}`),
    ['x mark', 'y mark', 'x switch', 'y switch'],
  );
});

test('a switched slot sends new flows to the new backend and untracked ones to the old', async () => {
  const { targets, set } = await site('x');
  await set(members(1));
  await set(members(2));
  const { copy, unsettled } = targets[0] as Recorder;
  assert.ok(copy.current.every((index) => index === 2));
  assert.ok(copy.previous.every((index) => index === 1));
  assert.ok(unsettled.every((flag) => flag === 1));
});

test('a death is published at once and leaves settled slots settled', async () => {
  const { targets, set, writes } = await site('x');
  await set(members(1, 2));
  writes.length = 0;
  await set(members(1), [2]);
  assert.equal(writes[0]?.change, 'death');
  const { copy, unsettled } = targets[0] as Recorder;
  assert.ok(copy.current.every((index) => index === 1));
  assert.ok(!unsettled.includes(1));
});

test('a balancer that does not acknowledge is given up and reported, and the others go on', async () => {
  const { targets, set, lost, writes } = await site('x', 'y');
  await set(members(1));
  (targets[0] as Recorder).answers = false;
  writes.length = 0;
  await set(members(2));
  assert.deepEqual(lost, ['x']);
  assert.deepEqual(
    writes.map(({ target, change }) => `${target} ${change}`),
    ['y mark', 'y switch'],
  );
});

test('a balancer that joins gets unsettled slots with all their candidates', async () => {
  const { tables, targets, set, writes } = await site('x');
  await set(members(1));
  await set(members(2));
  const joined = new Recorder('y', writes);
  await tables.addTarget(joined);
  assert.deepEqual(joined.copy, targets[0]?.copy);
  assert.deepEqual(joined.unsettled, targets[0]?.unsettled);
});

async function settleFully(tables: SiteTables): Promise<number> {
  let settled = 0;
  for (let round = 0; round < 4; round++) settled += await tables.settle();
  return settled;
}

test('a slot settles only where every balancer is silent', async () => {
  const { tables, targets, set, pass } = await site('x', 'y');
  await set(members(1));
  await set(members(2));
  (targets[1] as Recorder).busy.add(5);
  pass(2 * SETTLE_MS);
  assert.equal(await settleFully(tables), SLOTS - 1);
  assert.equal(tables.table('web')?.unsettled[5], 1);
  (targets[1] as Recorder).busy.clear();
  assert.equal(await settleFully(tables), 1);
});

test('nothing settles before the silence has passed since a balancer left: its ticks are lost', async () => {
  const { tables, set, pass } = await site('x', 'y');
  await set(members(1));
  await set(members(2));
  pass(2 * SETTLE_MS);
  await tables.removeTarget('y');
  assert.equal(await settleFully(tables), 0);
  pass(2 * SETTLE_MS);
  assert.equal(await settleFully(tables), SLOTS);
});

test('nothing settles before the silence has passed since a candidate of unsettled slots has passed a packet on', async () => {
  const { tables, set, pass } = await site('x');
  await set(members(1));
  await set(members(2));
  pass(2 * SETTLE_MS);
  tables.doubtSilence(new Set([3, 1]));
  assert.equal(await settleFully(tables), 0);
  pass(2 * SETTLE_MS);
  assert.equal(await settleFully(tables), SLOTS);
});

test('a packet that was passed on holds up only services whose unsettled slots name its backend', async () => {
  const { tables, set, pass, targets } = await site('x');
  await set(members(1));
  await set(members(2));
  (targets[0] as Recorder).busy.add(5);
  pass(2 * SETTLE_MS);
  tables.doubtSilence(new Set([3]));
  assert.equal(await settleFully(tables), SLOTS - 1, '3 serves others');
  // In slot 5 alone: 2 serves the settled slots too, and 1 no slot that is settled.
  const table = tables.table('web') as SlotTable;
  table.current[5] = 1;
  (targets[0] as Recorder).busy.clear();
  pass(2 * SETTLE_MS);
  tables.doubtSilence(new Set([2]));
  assert.equal(await settleFully(tables), 1, 'the packets for settled slots have no key');
});

test('where other processes run balancers, silence here settles only what a change waits for', async () => {
  const { tables, pass } = await site('x');
  const options = { subject: SUBJECT, slots: SLOTS, settleAfterMs: SETTLE_MS, adopted: null, othersUnheard: true };
  const set = (index: number) => tables.setMembers('web', options, members(index), new Set());
  for (const index of [1, 2, 3]) await set(index);
  pass(2 * SETTLE_MS);
  assert.equal(await settleFully(tables), 0);
  assert.equal(tables.summary('web')?.unsettled, SLOTS);
  await set(4);
  assert.equal(tables.summary('web')?.waiting, SLOTS);
  await tables.settle();
  assert.equal(tables.summary('web')?.waiting, 0);
  const { current, previous, third } = tables.table('web') as SlotTable;
  assert.deepEqual([current[0], previous[0], third[0]], [4, 1, 3], 'one candidate has gone, and no more');
});

test('a balancer that declines the closing step gets it again, and nothing else happens to the slot until then', async () => {
  const { tables, targets, set, pass } = await site('x');
  const [target] = targets as [Recorder];
  await set(members(1));
  await set(members(2));
  pass(2 * SETTLE_MS);
  // Silent at the look, not at the write: what a packet in between does.
  target.vetoSettling = async () => {};
  target.busy.add(9);
  await tables.settle();
  assert.equal(target.copy.previous[9], 1, 'declined: as it was');
  await set(members(3));
  assert.notEqual(target.copy.current[9], 3, 'no switch while it is closing');
  target.busy.clear();
  await tables.settle();
  assert.equal(target.copy.previous[9], 2, 'closed now');
});

test('a change that needs a fourth candidate waits and is counted', async () => {
  const { tables, targets, set } = await site('x');
  await set(members(1));
  await set(members(2));
  await set(members(3));
  await set(members(4));
  assert.equal(tables.summary('web')?.waiting, SLOTS);
  const { copy } = targets[0] as Recorder;
  assert.deepEqual([copy.current[0], copy.previous[0], copy.third[0]], [3, 1, 2]);
});

test('a change of weights alone moves settled slots, at most a tenth of all; the rest is held until slots have settled', async () => {
  const { tables, set, pass, targets } = await site('x');
  const weighted = (...weights: number[]) => weights.map((weight, i) => ({ name: `b${i + 1}`, index: i + 1, weight }));
  await set(weighted(1, 1));
  await set(weighted(1, 9), [], true);
  const limit = Math.floor(SLOTS / 10);
  assert.equal(tables.summary('web')?.unsettled, limit);
  const held = tables.summary('web')?.held ?? 0;
  assert.ok(held > 0);
  await set(weighted(9, 1), [], true);
  const { copy, unsettled } = targets[0] as Recorder;
  for (let i = 0; i < SLOTS; i++) if (unsettled[i] === 1) assert.equal(copy.current[i], 2, 'unsettled ones stay');
  await set(weighted(1, 9), [], true);
  pass(2 * SETTLE_MS);
  // Two steps settle what has moved; no silence is asked of what moves then.
  await tables.settle();
  await tables.settle();
  const after = tables.summary('web');
  assert.ok((after?.unsettled ?? 0) > limit / 2 && (after?.unsettled ?? 0) <= limit, 'the next tenth');
  assert.equal(after?.held, held - (after?.unsettled ?? 0));
});

test('an ordinary change is not held, also when weights wait; nor are slots of somebody who leaves', async () => {
  const { tables, set } = await site('x');
  const b = (index: number, weight: number) => ({ name: `b${index}`, index, weight });
  await set([b(1, 1), b(2, 1)]);
  await set([b(1, 1), b(2, 9)], [], true);
  assert.ok((tables.summary('web')?.held ?? 0) > 0);
  await set([b(1, 1), b(2, 9)]);
  assert.equal(tables.summary('web')?.held, 0);
  assert.ok((tables.summary('web')?.unsettled ?? 0) > SLOTS / 10);
  await set([b(2, 9)], [], true);
  assert.equal(tables.summary('web')?.slotsByIndex.get(1), undefined, 'a drain goes on beside it');
});

/** A site in which b1 is drained, with agents that list their connections: `live` are the slots of b1 that have one. */
async function reportedDrain() {
  const { tables, pass } = await site('x', 'y');
  const options = { subject: SUBJECT, slots: SLOTS, settleAfterMs: SETTLE_MS, adopted: null, settlesByReports: true };
  await tables.setMembers('web', options, members(1), new Set());
  await tables.setMembers('web', options, members(2), new Set());
  const reports = new SlotListings();
  const live = new Set<number>();
  let now = 0;
  const wait = (ms: number) => {
    pass(ms);
    now += ms;
  };
  const list = () => {
    const slots = new Uint8Array(Math.ceil(SLOTS / 8));
    for (const slot of live) slots[slot >>> 3] = (slots[slot >>> 3] as number) | (1 << (slot & 7));
    reports.take('web', 1, now, {
      service: 'web',
      slots,
      count: live.size,
      oldestMs: null,
      topClients: [],
      isComplete: true,
    });
  };
  const settle = () => tables.settle((...asked) => reports.isEmpty(...asked));
  const unsettled = () => tables.summary('web')?.unsettled;
  return { tables, live, wait, list, settle, unsettled };
}

test('listings without a connection settle slots long before the silence is over, and only those', async () => {
  const { live, wait, list, settle, unsettled } = await reportedDrain();
  live.add(7);
  for (let step = 0; step < 2; step++) {
    wait(LISTING_WAIT_MS);
    list();
    assert.equal(await settle(), 0, 'one listing is not enough');
    wait(LISTINGS_APART_MS);
    list();
    await settle();
  }
  assert.equal(unsettled(), 1);
  live.clear();
  for (let step = 0; step < 12; step++) {
    wait(LISTING_WAIT_MS / 2);
    list();
    await settle();
  }
  assert.equal(unsettled(), 0);
});

test('listings of before the last change, or of before a balancer left, settle nothing', async () => {
  const { tables, wait, list, settle, unsettled } = await reportedDrain();
  wait(1_000);
  list();
  wait(LISTING_WAIT_MS - 2_000);
  list();
  wait(1_500);
  await settle();
  assert.equal(unsettled(), SLOTS, 'they began before everything on its way had arrived');
  wait(1_000);
  list();
  await tables.removeTarget('y');
  wait(LISTINGS_APART_MS);
  list();
  await settle();
  assert.equal(unsettled(), SLOTS);
});

test('a balancer that is asked alone settles nothing, and says what it has seen', async () => {
  const { tables, targets, set, pass } = await site('x', 'y');
  await set(members(1));
  await set(members(2));
  (targets[1] as Recorder).busy.add(5);
  assert.deepEqual(await tables.settleNow('web', null), { unsettled: SLOTS, silent: 0, settled: 0, notAsked: [] });
  pass(2 * SETTLE_MS);
  assert.deepEqual(await tables.settleNow('web', 'x'), {
    unsettled: SLOTS,
    silent: SLOTS,
    settled: 0,
    notAsked: ['y'],
  });
  assert.equal(tables.summary('web')?.unsettled, SLOTS);
  const all = await tables.settleNow('web', null);
  assert.deepEqual(all, { unsettled: SLOTS, silent: SLOTS - 1, settled: SLOTS - 1, notAsked: [] });
  assert.equal(await tables.settleNow('nobody', null), null);
});

test('where every flow is tracked, slots change at once and stay settled', async () => {
  const { tables, targets, writes } = await site('x', 'y');
  const options = { subject: SUBJECT, slots: SLOTS, settleAfterMs: SETTLE_MS, adopted: null, immediate: true };
  await tables.setMembers('web', options, members(1), new Set());
  writes.length = 0;
  await tables.setMembers('web', options, members(2), new Set());
  assert.deepEqual(
    writes.map(({ target, change }) => `${target} ${change}`),
    ['x switch', 'y switch'],
  );
  const { copy, unsettled } = targets[1] as Recorder;
  assert.ok(copy.current.every((index) => index === 2));
  assert.ok(!unsettled.includes(1));
});

test('a slot that was unsettled when flows were tracked otherwise keeps its phases', async () => {
  const { tables, targets, set } = await site('x');
  await set(members(1));
  await set(members(2));
  const options = { subject: SUBJECT, slots: SLOTS, settleAfterMs: SETTLE_MS, adopted: null, immediate: true };
  await tables.setMembers('web', options, members(3), new Set());
  const { copy } = targets[0] as Recorder;
  assert.deepEqual([copy.current[0], copy.previous[0], copy.third[0]], [3, 1, 2]);
});

test('round robin publishes turns by weight or one each, to those who join too', async () => {
  const { tables, targets, writes } = await site('x');
  const options = { subject: SUBJECT, slots: SLOTS, settleAfterMs: SETTLE_MS, adopted: null, immediate: true };
  const heavy = [{ name: 'b1', index: 1, weight: 2 }, ...members(2)];
  await tables.setMembers('web', { ...options, turns: 'weighted' }, heavy, new Set());
  assert.deepEqual(targets[0]?.picks, [1, 2, 1]);
  await tables.setMembers('web', { ...options, turns: 'equal' }, heavy, new Set());
  assert.deepEqual(targets[0]?.picks, [1, 2]);
  const joined = new Recorder('y', writes);
  await tables.addTarget(joined);
  assert.deepEqual(joined.picks, [1, 2]);
  await tables.setMembers('web', { ...options, turns: 'equal' }, members(2), new Set([1]));
  assert.deepEqual(joined.picks, [2]);
});

test('after any change each slot has what its members want, or waits for it, and names nobody who is dead', async () => {
  const change = fc.record({
    live: fc.subarray([1, 2, 3, 4, 5, 6, 7]),
    kills: fc.boolean(),
    settles: fc.integer({ min: 0, max: 3 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 12 }), async (changes) => {
      const { tables, targets, set, pass } = await site('x');
      await set(members(1, 2, 3));
      for (const { live, kills, settles } of changes) {
        const dead = kills ? [1, 2, 3, 4, 5, 6, 7].filter((index) => !live.includes(index)) : [];
        await set(members(...live), dead);
        const table = tables.table('web') as SlotTable;
        const want = populateTable(SLOTS, members(...live));
        let waiting = 0;
        for (let slot = 0; slot < SLOTS; slot++) {
          if (live.length > 0 && markResult(table, slot, want[slot] as number) === 'waits') waiting++;
          else assert.equal(table.current[slot], want[slot]);
        }
        const summary = tables.summary('web');
        if (live.length > 0) assert.equal(summary?.waiting, waiting);
        const named = new Set([...table.current, ...table.previous, ...table.third]);
        named.delete(0);
        for (const index of dead) assert.ok(!named.has(index));
        const indices = tables.indices('web');
        assert.deepEqual(
          [...(indices?.serving ?? [])].sort(),
          [...(summary?.slotsByIndex.keys() ?? [])].filter(Boolean).sort(),
        );
        assert.deepEqual([...(indices?.named ?? [])].sort(), [...named].sort());
        const { current, previous, third } = table;
        assert.deepEqual(targets[0]?.copy, { current, previous, third });
        pass(SETTLE_MS + 20_000);
        for (let step = 0; step < settles; step++) await tables.settle();
      }
    }),
    { numRuns: 200 },
  );
});
