/**
 * The paper's algorithm as it is written (Maglev, NSDI 2016, section 3.4, pseudocode 1), for whole permutations: slow and
 * plain. `maglev.ts` does the same faster; its tests compare the two.
 */

/** `permutations[i]`: the order in which member `i` prefers the slots. Returns the member of each slot. */
export function populateFromPermutations(
  permutations: readonly (readonly number[])[],
  turns?: Iterable<number>,
): number[] {
  const slots = permutations[0]?.length ?? 0;
  const table = new Array<number>(slots).fill(-1);
  const next = permutations.map(() => 0);
  let filled = 0;
  for (const member of turns ?? endlessRounds(permutations.length)) {
    if (filled === slots) break;
    const permutation = permutations[member] as readonly number[];
    while (table[permutation[next[member] as number] as number] !== -1) next[member] = (next[member] as number) + 1;
    table[permutation[next[member] as number] as number] = member;
    filled++;
  }
  return table;
}

/** permutation[j] = (offset + j x skip) mod slots. */
export function permutationOf(slots: number, offset: number, skip: number): number[] {
  return Array.from({ length: slots }, (_, j) => (offset + j * skip) % slots);
}

/**
 * The order of turns by frequency: with counts c and the largest of them R there are R rounds, and member i has had
 * ceil(r x c[i] / R) turns after round r. Equal counts take turns as in the paper.
 */
export function* turnsByCount(counts: readonly number[]): Generator<number> {
  const rounds = Math.max(...counts);
  for (let round = 0; round < rounds; round++) {
    for (const [member, count] of counts.entries()) {
      const before = Math.ceil((round * count) / rounds);
      if (Math.ceil(((round + 1) * count) / rounds) > before) yield member;
    }
  }
}

function* endlessRounds(members: number): Generator<number> {
  for (;;) for (let member = 0; member < members; member++) yield member;
}
