/** Random choices of the differential tests, all from one seed. */
import { createRandom } from '../../src/model/random.ts';

export interface Dice {
  /** 32 random bits. */
  bits(): number;
  /** 0 .. `count` - 1. */
  below(count: number): number;
  /** True with this probability, in percent. */
  chance(percent: number): boolean;
  pick<T>(list: readonly T[]): T;
  bytes(count: number): Uint8Array;
}

export function createDice(seed: number): Dice {
  const random = createRandom(seed);
  const below = (count: number): number => random() % count;
  return {
    bits: random,
    below,
    chance: (percent) => random() % 1000 < percent * 10,
    pick: (list) => list[below(list.length)],
    bytes(count) {
      const bytes = new Uint8Array(count);
      for (let i = 0; i < count; i++) bytes[i] = random() >>> 7;
      return bytes;
    },
  };
}
