/**
 * How many flows a service tracked in this second (2^30 ns) and in the last lifetime (four periods of a quarter each), as
 * bpf/pressure.h counts them. A window is a 64-bit word, here two halves: its count (low) and its name (high).
 */
import { type Clock, clockFine, clockSecond } from './layout.ts';

/** `struct pressure` as 32-bit words: second, four periods, each low half first; the end of the adoption time, turn, picks, what prolongs the adoption time, two of nothing. */
export type PressureWords = Uint32Array;

export const PRESSURE_WORDS = 16;
/** Where the end of the adoption time stands: the low 32 bits of `clock >> 26`. */
export const ADOPT_UNTIL_WORD = 10;
/** Raised for every pick of the scheduler; and the length of its pick table. */
export const TURN_WORD = 11;
export const PICKS_WORD = 12;
/** UDP: so long a flow that could not be tracked prolongs the adoption time. */
export const ADOPT_FOR_WORD = 13;
const PERIODS = 4;

export interface PressureLimits {
  readonly lifetimeTicks: number;
  readonly newPerSecond: number;
  readonly shareEntries: number;
}

function periodOf(limits: PressureLimits, clock: Clock): number {
  return Math.floor(clock.high / Math.max(1, limits.lifetimeTicks >>> 2));
}

/** May one flow more be tracked? */
export function hasRoom(words: PressureWords, limits: PressureLimits, clock: Clock): boolean {
  const inSecond = words[1] === clockSecond(clock) ? words[0] : 0;
  if (inSecond >= limits.newPerSecond) return false;
  const period = periodOf(limits, clock);
  let tracked = 0;
  for (let i = 0; i < PERIODS; i++) if ((period - words[2 * i + 3]) >>> 0 < PERIODS) tracked += words[2 * i + 2];
  return tracked < limits.shareEntries;
}

/** UDP: unknown flows count as old. */
export function isAdopting(words: PressureWords, clock: Clock): boolean {
  return ((clockFine(clock) - words[ADOPT_UNTIL_WORD]) | 0) < 0;
}

/** A flow of UDP that is not entered looks new when it can be: it goes on where it went meanwhile. */
export function prolongAdoption(words: PressureWords, clock: Clock): void {
  const until = (clockFine(clock) + words[ADOPT_FOR_WORD]) >>> 0;
  if (words[ADOPT_FOR_WORD] !== 0 && ((until - words[ADOPT_UNTIL_WORD]) | 0) > 0) words[ADOPT_UNTIL_WORD] = until;
}

/** One flow more is tracked. */
export function countTracked(words: PressureWords, limits: PressureLimits, clock: Clock): void {
  countIn(words, 0, clockSecond(clock));
  const period = periodOf(limits, clock);
  countIn(words, 2 + 2 * (period % PERIODS), period);
}

function countIn(words: PressureWords, at: number, name: number): void {
  words[at] = words[at + 1] === name ? words[at] + 1 : 1;
  words[at + 1] = name;
}
