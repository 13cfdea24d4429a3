import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fillSlots, isPrime, populateTable, type TableMember } from './maglev.ts';
import { permutationOf, populateFromPermutations, turnsByCount } from './maglev-reference.ts';

const PRIMES = [3, 5, 7, 101, 211, 503, 1_009, 2_003, 4_099] as const;

/** Sets of members with distinct names and indices. */
function memberSets(weight: fc.Arbitrary<number>, maxLength = 40): fc.Arbitrary<TableMember[]> {
  return fc
    .uniqueArray(
      fc.record({
        name: fc.string({ minLength: 1, maxLength: 12 }),
        index: fc.integer({ min: 1, max: 0xffff }),
        weight,
      }),
      {
        minLength: 1,
        maxLength,
        comparator: (a, b) => a.name === b.name || a.index === b.index,
      },
    )
    .map((members) => [...members]);
}

const anyWeight = fc.oneof(
  fc.constantFrom(1, 1, 2, 10, 100),
  fc.double({ min: 0.001, max: 1_000, noNaN: true }),
  fc.constantFrom(0, 1e-9, 1e9),
);

function countSlots(table: Uint16Array): Map<number, number> {
  const counts = new Map<number, number>();
  for (const index of table) counts.set(index, (counts.get(index) ?? 0) + 1);
  return counts;
}

function equalMembers(count: number): TableMember[] {
  return Array.from({ length: count }, (_, i) => ({ name: `backend-${i}`, index: i + 1, weight: 1 }));
}

/** The paper's table 1: offset and skip of B0, B1, B2 with seven slots. */
const PAPER = { offsets: [3, 0, 3], skips: [4, 2, 1] };

test("the paper's example with seven slots comes out, before and after B1 is removed", () => {
  const permutations = PAPER.offsets.map((offset, i) => permutationOf(7, offset, PAPER.skips[i]!));
  assert.deepEqual(permutations, [
    [3, 0, 4, 1, 5, 2, 6],
    [0, 2, 4, 6, 1, 3, 5],
    [3, 4, 5, 6, 0, 1, 2],
  ]);
  assert.deepEqual(populateFromPermutations(permutations), [1, 0, 1, 0, 2, 2, 0]);
  assert.deepEqual(populateFromPermutations([permutations[0]!, permutations[2]!]), [0, 0, 0, 0, 1, 1, 1]);
});

test("the fast filling gives the paper's example too", () => {
  const table = new Uint16Array(7);
  fillSlots(table, {
    offsets: Int32Array.from(PAPER.offsets),
    skips: Int32Array.from(PAPER.skips),
    counts: Uint32Array.of(3, 2, 2),
    indices: Uint16Array.of(10, 11, 12),
  });
  assert.deepEqual([...table], [11, 10, 11, 10, 12, 12, 10]);
});

test("the fast filling equals the paper's algorithm for any permutations and any division of the turns", () => {
  const cases = fc.constantFrom(...PRIMES).chain((slots) =>
    fc.record({
      slots: fc.constant(slots),
      members: fc.array(
        fc.record({ offset: fc.nat(slots - 1), skip: fc.integer({ min: 1, max: slots - 1 }), share: fc.nat(100) }),
        { minLength: 1, maxLength: 20 },
      ),
    }),
  );
  fc.assert(
    fc.property(cases, ({ slots, members }) => {
      const sum = members.reduce((total, { share }) => total + share, 0);
      const counts = members.map(({ share }) => (sum === 0 ? 0 : Math.floor((slots * share) / sum)));
      counts[0] = counts[0]! + slots - counts.reduce((total, count) => total + count, 0);
      const table = new Uint16Array(slots);
      fillSlots(table, {
        offsets: Int32Array.from(members, ({ offset }) => offset),
        skips: Int32Array.from(members, ({ skip }) => skip),
        counts: Uint32Array.from(counts),
        indices: Uint16Array.from(members, (_, i) => i + 1),
      });
      const permutations = members.map(({ offset, skip }) => permutationOf(slots, offset, skip));
      const expected = populateFromPermutations(permutations, turnsByCount(counts));
      assert.deepEqual(
        [...table],
        expected.map((member) => member + 1),
      );
    }),
  );
});

test("a table of full size equals the paper's algorithm", () => {
  const slots = 65_537;
  const members = Array.from({ length: 12 }, (_, i) => ({
    offset: (i * 7_919_317) % slots,
    skip: slots - 1 - i * 5_003,
  }));
  const counts = members.map((_, i) => Math.floor(slots / 12) + Number(i < slots % 12));
  const table = new Uint16Array(slots);
  fillSlots(table, {
    offsets: Int32Array.from(members, ({ offset }) => offset),
    skips: Int32Array.from(members, ({ skip }) => skip),
    counts: Uint32Array.from(counts),
    indices: Uint16Array.from(members, (_, i) => i + 1),
  });
  const expected = populateFromPermutations(members.map(({ offset, skip }) => permutationOf(slots, offset, skip)));
  assert.deepEqual(
    table,
    Uint16Array.from(expected, (member) => member + 1),
  );
});

test('every slot names a member of weight above 0', () => {
  fc.assert(
    fc.property(fc.constantFrom(...PRIMES), memberSets(anyWeight), (slots, members) => {
      const indices = new Set(members.filter(({ weight }) => weight > 0).map(({ index }) => index));
      const table = populateTable(slots, members);
      if (indices.size === 0) assert.ok(table.every((index) => index === 0));
      else assert.ok(table.every((index) => indices.has(index)));
    }),
  );
});

test('with equal weights, shares differ by at most one slot', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...PRIMES),
      memberSets(fc.constant(1)),
      fc.constantFrom(1, 0.1, 7),
      (slots, members, weight) => {
        const counts = countSlots(
          populateTable(
            slots,
            members.map((member) => ({ ...member, weight })),
          ),
        );
        const shares = members.map(({ index }) => counts.get(index) ?? 0);
        assert.ok(Math.max(...shares) - Math.min(...shares) <= 1);
      },
    ),
  );
});

test("whatever the weights, every share is less than one slot from the weight's due", () => {
  fc.assert(
    fc.property(fc.constantFrom(...PRIMES), memberSets(anyWeight), (slots, members) => {
      const sum = members.reduce((total, { weight }) => total + weight, 0);
      fc.pre(sum > 0);
      const counts = countSlots(populateTable(slots, members));
      for (const { index, weight } of members) {
        const due = (slots * weight) / sum;
        const share = counts.get(index) ?? 0;
        assert.ok(Math.abs(share - due) < 1 + 1e-6, `${share} slots, due ${due}`);
      }
    }),
  );
});

test('the same set in any order gives the same table', () => {
  const shuffled = memberSets(anyWeight).chain((members) =>
    fc.tuple(fc.constant(members), fc.shuffledSubarray(members, { minLength: members.length })),
  );
  fc.assert(
    fc.property(fc.constantFrom(...PRIMES), shuffled, (slots, [members, others]) => {
      assert.deepEqual(populateTable(slots, others), populateTable(slots, members));
    }),
  );
});

test('a table is the same on every machine: its digest is fixed', () => {
  const members = equalMembers(100).map((member) => ({ ...member, weight: 1 + (member.index % 3) }));
  let digest = 0;
  for (const index of populateTable(10_007, members)) digest = (Math.imul(digest, 31) + index) >>> 0;
  assert.equal(digest, 0x180d722f);
});

test('which index a member has does not change where its slots are', () => {
  const members = equalMembers(20);
  const table = populateTable(2_003, members);
  const renumbered = populateTable(
    2_003,
    members.map((member) => ({ ...member, index: 1_000 + member.index })),
  );
  assert.deepEqual(
    renumbered,
    table.map((index) => index + 1_000),
  );
});

test('a member of weight 0 is as absent; a table of one names one; of nobody, nobody', () => {
  const members = equalMembers(5);
  const [first, ...others] = members as [TableMember, ...TableMember[]];
  assert.deepEqual(populateTable(503, [{ ...first, weight: 0 }, ...others]), populateTable(503, others));
  assert.ok(populateTable(503, [first]).every((index) => index === first.index));
  assert.ok(populateTable(503, []).every((index) => index === 0));
  assert.ok(populateTable(503, [{ ...first, weight: 0 }], new Uint16Array(503).fill(9)).every((index) => index === 0));
});

test('a table that is passed in is filled, whatever it held, and returned', () => {
  const table = new Uint16Array(503).fill(77);
  assert.equal(populateTable(503, equalMembers(5), table), table);
  assert.deepEqual(table, populateTable(503, equalMembers(5)));
});

test('a member that leaves changes few slots but its own, and one that comes back restores the table', () => {
  const members = equalMembers(100);
  const before = populateTable(10_007, members);
  for (const gone of [0, 17, 99]) {
    const after = populateTable(
      10_007,
      members.filter((_, i) => i !== gone),
    );
    const needless = after.reduce(
      (sum, index, slot) => sum + Number(before[slot] !== gone + 1 && before[slot] !== index),
      0,
    );
    assert.ok(needless < 10_007 * 0.02, `${needless} slots changed without need`);
  }
  assert.deepEqual(populateTable(10_007, members), before);
});

test('a changed weight changes little more than the slots that have to move', () => {
  const members = equalMembers(100);
  const before = populateTable(10_007, members);
  const after = populateTable(
    10_007,
    members.map((member) => (member.index === 40 ? { ...member, weight: 0.5 } : member)),
  );
  const moved = after.reduce((sum, index, slot) => sum + Number(before[slot] !== index), 0);
  assert.ok(moved < 50 + 10_007 * 0.02, `${moved} slots moved, 50 have to`);
});

test('what would give a wrong table is refused', () => {
  const member = { name: 'a', index: 1, weight: 1 };
  assert.throws(() => populateTable(100, [member]), /must be a prime/);
  assert.throws(() => populateTable(2, [member]), /must be a prime/);
  assert.throws(() => populateTable(101, [member], new Uint16Array(100)), /a table of 100/);
  for (const weight of [-1, Number.NaN, Number.POSITIVE_INFINITY, 2e9]) {
    assert.throws(() => populateTable(101, [{ ...member, weight }]), /weight/);
  }
  for (const index of [0, -1, 1.5, 65_536]) assert.throws(() => populateTable(101, [{ ...member, index }]), /index/);
  assert.throws(() => populateTable(101, [member, { ...member, index: 2 }]), /twice/);
});

test('primes are told from other numbers', () => {
  assert.deepEqual([2, 3, 5, 65_537, 655_373].map(isPrime), [true, true, true, true, true]);
  assert.deepEqual([-7, 0, 1, 4, 9, 65_535, 655_371, 2.5, Number.NaN].map(isPrime), Array(9).fill(false));
});
