/**
 * Counts by client prefix (/24, /48) in bounded memory, as bpf/prefixes.h keeps them: sets of four cells, where a newcomer takes
 * over the lightest, with its weight as its error.
 */
import { type Clock, clockSecond } from './layout.ts';
import type { IpHeader } from './parse.ts';
import { SIPHASH_1_3_128, sipHash } from './siphash.ts';

const WAYS = 4;
/** `struct prefix_set` as 32-bit words: keys and windows (low half first), weights, errors, since, refused. */
export const PREFIX_SET_WORDS = 32;
const WINDOW = 8;
const WEIGHT = 16;
const ERROR = 20;
const SINCE = 24;
const REFUSED = 28;
/** `struct tally` as 32-bit words: sampler, answered (low half first), until_sample, nothing, told_size. */
export const TALLY_WORDS = 16;
const ANSWERED = 2;
const TOLD_SIZE = 6;
const SAMPLE_OF_FLOWS = 64;

export interface PrefixState {
  /** SipHash key: four little-endian words. */
  readonly key: Uint32Array;
  /** A power of two of sets. */
  readonly prefixes: Uint32Array;
  /** Of this CPU. */
  readonly tally: Uint32Array;
  /** ICMP errors a second (2^30 ns): to a client prefix (0: no limit), and in all. */
  icmpPerPrefix: number;
  icmpPerSecond: number;
}

const key = new Uint8Array(8);
const output = new Uint32Array(4);

/** `struct prefix_use`'s key as it lies in memory. */
function writeKey(frame: Uint8Array, ip: IpHeader, subject: number): void {
  const prefixBytes = ip.version === 4 ? 3 : 6;
  key.fill(0);
  for (let i = 0; i < prefixBytes; i++) key[prefixBytes - 1 - i] = frame[ip.sourceOffset + i];
  const high = subject * 2 + (ip.version === 6 ? 1 : 0);
  key[6] = high;
  key[7] = (high >>> 8) | 0x80;
}

function weightIn(words: Uint32Array, set: number, way: number, second: number): number {
  const passed = (second - words[set + WINDOW + 2 * way + 1]) | 0;
  const weight = (words[set + WEIGHT + way] + words[set + WINDOW + 2 * way]) >>> 0;
  if (passed <= 0) return weight;
  return passed > 31 ? 0 : weight >>> passed;
}

function rollCell(words: Uint32Array, set: number, way: number, second: number): void {
  const window = set + WINDOW + 2 * way;
  const passed = (second - words[window + 1]) | 0;
  if (passed <= 0) return;
  words[set + WEIGHT + way] = weightIn(words, set, way, second);
  words[set + ERROR + way] = passed > 31 ? 0 : words[set + ERROR + way] >>> passed;
  words[window] = 0;
  words[window + 1] = second;
}

/** Counts `amount` uses of the key that was written. True: over `limit` (0: none) in this second. */
function usePrefix(state: PrefixState, clock: Clock, amount: number, limit: number): boolean {
  const words = state.prefixes;
  const second = clockSecond(clock);
  sipHash(state.key, key, output, SIPHASH_1_3_128);
  const set = (output[1] & (words.length / PREFIX_SET_WORDS - 1)) * PREFIX_SET_WORDS;
  const view = new DataView(key.buffer);
  const [low, high] = [view.getUint32(0, true), view.getUint32(4, true)];
  let lightest = 0;
  let least = 0xffffffff;
  for (let way = 0; way < WAYS; way++) {
    if (words[set + 2 * way] === low && words[set + 2 * way + 1] === high) {
      rollCell(words, set, way, second);
      words[set + WINDOW + 2 * way] += amount;
      if (limit === 0 || words[set + WINDOW + 2 * way] <= limit) return false;
      words[set + REFUSED + way]++;
      return true;
    }
    const weight = weightIn(words, set, way, second);
    if (weight < least) {
      least = weight;
      lightest = way;
    }
  }
  words[set + 2 * lightest] = low;
  words[set + 2 * lightest + 1] = high;
  words[set + WEIGHT + lightest] = least;
  words[set + ERROR + lightest] = least;
  words[set + SINCE + lightest] = second;
  words[set + REFUSED + lightest] = 0;
  words[set + WINDOW + 2 * lightest] = amount;
  words[set + WINDOW + 2 * lightest + 1] = second;
  return false;
}

function sampleNewFlow(state: PrefixState, clock: Clock): void {
  const { tally } = state;
  usePrefix(state, clock, SAMPLE_OF_FLOWS, 0);
  const sampler = new BigUint64Array(tally.buffer, tally.byteOffset, 1);
  const hash = (BigInt(output[1]) << 32n) | BigInt(output[0]);
  sampler[0] = sampler[0] * 6364136223846793005n + hash;
  tally[4] = 1 + Number(((sampler[0] >> 32n) * BigInt(2 * SAMPLE_OF_FLOWS - 1)) >> 32n);
}

/** Is this new flow one more than its service (`subject`) takes from its prefix? `limit` 0: any number, and few are counted. */
export function isLimited(
  state: PrefixState,
  frame: Uint8Array,
  ip: IpHeader,
  service: { readonly subject: number; readonly prefixNewPerSecond: number },
  clock: Clock,
): boolean {
  if (service.prefixNewPerSecond !== 0) {
    writeKey(frame, ip, service.subject);
    return usePrefix(state, clock, 1, service.prefixNewPerSecond);
  }
  state.tally[4]--;
  if ((state.tally[4] | 0) <= 0) {
    writeKey(frame, ip, service.subject);
    sampleNewFlow(state, clock);
  }
  return false;
}

/** May an ICMP error be sent to the frame's sender? What tells a size has limits of its own. */
export function mayAnswer(
  state: PrefixState,
  frame: Uint8Array,
  ip: IpHeader,
  tellsSize: boolean,
  clock: Clock,
): boolean {
  const { tally } = state;
  const second = clockSecond(clock);
  const at = tellsSize ? TOLD_SIZE : ANSWERED;
  if (tally[at + 1] !== second) {
    tally[at] = 0;
    tally[at + 1] = second;
  }
  if (tally[at] >= state.icmpPerSecond) return false;
  writeKey(frame, ip, 0);
  if (tellsSize) key[7] |= 0x10;
  if (usePrefix(state, clock, 1, state.icmpPerPrefix)) return false;
  tally[at]++;
  return true;
}
