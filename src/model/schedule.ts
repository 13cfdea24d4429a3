/** Who gets a new flow where every flow is tracked: bpf/schedule.h. */
import {
  BACKEND_ALIVE,
  INDEX_MASK,
  SCHEDULER_LEAST_CONNECTIONS,
  SCHEDULER_RANDOM,
  SCHEDULER_ROUND_ROBIN,
} from './layout.ts';
import { PICKS_WORD, type PressureWords, TURN_WORD } from './pressure.ts';
import { SIPHASH_1_3_128, sipHash } from './siphash.ts';

/** So many turns are tried. */
const PICK_ATTEMPTS = 3;

export interface ScheduleRequest {
  /** SCHEDULER_*. */
  readonly scheduler: number;
  readonly subject: number;
  readonly key: Uint32Array;
  /** Size of the lookup table, and its words. */
  readonly slots: number;
  readonly words: Uint32Array;
  /** Round robin: indices in the order of their turns. */
  readonly picks: ArrayLike<number>;
  pressure: PressureWords;
  readonly backendFlags: ArrayLike<number>;
  /** Active connections and weights, by backend index. */
  readonly active: ArrayLike<number>;
  readonly weightOf: (index: number) => number;
}

const message = new Uint8Array(8);
const view = new DataView(message.buffer);
const output = new Uint32Array(4);

/** 0: nobody. `first` and `second`: the currents of the flow's slots. */
export function schedule(request: ScheduleRequest, first: number, second: number): number {
  const { scheduler, backendFlags } = request;
  const isAlive = (index: number): boolean => index !== 0 && (backendFlags[index] & BACKEND_ALIVE) !== 0;
  let picked = 0;
  if (scheduler === SCHEDULER_ROUND_ROBIN) picked = pickInTurn(request, isAlive);
  else if (scheduler === SCHEDULER_RANDOM) picked = pickAtRandom(request);
  else if (scheduler === SCHEDULER_LEAST_CONNECTIONS) picked = pickLessBusy(request, isAlive, first, second);
  if (!isAlive(picked)) picked = first;
  return isAlive(picked) ? picked : 0;
}

function takeTurn(pressure: PressureWords): number {
  return pressure[TURN_WORD]++;
}

function pickInTurn({ picks, pressure }: ScheduleRequest, isAlive: (index: number) => boolean): number {
  const count = pressure[PICKS_WORD];
  if (picks.length === 0 || count === 0) return 0;
  for (let attempt = 0; attempt < PICK_ATTEMPTS; attempt++) {
    const picked = picks[takeTurn(pressure) % count] ?? 0;
    if (isAlive(picked)) return picked;
  }
  return 0;
}

/** By the hash of the turn with the site's key, so that this model can follow what nobody else can tell. */
function pickAtRandom({ key, subject, slots, words, pressure }: ScheduleRequest): number {
  view.setUint32(0, takeTurn(pressure), true);
  view.setUint32(4, subject, true);
  sipHash(key, message, output, SIPHASH_1_3_128, 8);
  return words[2 * Math.floor((output[1] * slots) / 0x100000000)] & INDEX_MASK;
}

function pickLessBusy(
  { active, weightOf }: ScheduleRequest,
  isAlive: (index: number) => boolean,
  first: number,
  second: number,
): number {
  if (!isAlive(second) || first === second) return first;
  if (!isAlive(first)) return second;
  const load = (index: number): number => Math.max(0, active[index]);
  return load(first) * weightOf(second) <= load(second) * weightOf(first) ? first : second;
}
