/** One frame, or a run of many, through the model and the kernel program: everything that either leaves behind is compared. */
import { isDeepStrictEqual } from 'node:util';
import { COUNTER_FIELDS, type KernelEngine } from '../../src/cli/replay-kernel.ts';
import type { Engine, EngineCounters } from '../../src/model/engine.ts';
import { type Clock, EVENTS, OUTCOMES } from '../../src/model/layout.ts';
import type { PacketResult } from '../../src/model/packet.ts';
import { processFrame } from '../../src/model/packet-path.ts';
import type { RunResult } from '../../src/serve/vip/bpf.ts';

const LOOPBACK = 1;
/** All runs are on this one: tallies are by CPU. */
export const TEST_CPU = 0;
const sums = new Float64Array(COUNTER_FIELDS);

export interface Difference {
  readonly what: string;
  readonly model: PacketResult;
  readonly kernel: RunResult;
}

/** Runs the frame through both. Null: all is equal. Otherwise what differs first. */
export function compareFrame(
  engine: Engine,
  kernel: KernelEngine,
  frame: Uint8Array,
  clock: Clock,
): { difference: Difference | null; model: PacketResult } {
  kernel.setClock(clock);
  engine.handedUp.length = 0;
  const model = processFrame(engine, frame, LOOPBACK, clock);
  const run = kernel.run(frame);
  const what = firstDifference(engine, kernel, model, run);
  return { difference: what === null ? null : { what, model, kernel: run }, model };
}

function firstDifference(engine: Engine, kernel: KernelEngine, model: PacketResult, run: RunResult): string | null {
  if (run.verdict !== model.verdict) return `verdict: model ${model.verdict}, kernel ${run.verdict}`;
  const counted = compareCounters(engine, kernel, model.subject);
  if (counted !== null) return counted;
  if (Buffer.compare(run.frame, model.frame) !== 0) return 'resulting frame';
  return compareState(engine, kernel);
}

/** Counters of one subject. */
export function compareCounters(engine: Engine, kernel: KernelEngine, subject: number): string | null {
  kernel.readCounters(subject, sums);
  const counters = engine.counters.get(subject);
  for (let i = 0; i < COUNTER_FIELDS; i++) {
    const expected = counters === undefined ? 0 : counterField(counters, i);
    if (sums[i] !== expected)
      return `counter ${fieldName(i)} of subject ${subject}: model ${expected}, kernel ${sums[i]}`;
  }
  return null;
}

function counterField(counters: EngineCounters, field: number): number {
  if (field < OUTCOMES.length) return counters.outcome[OUTCOMES[field]];
  if (field < OUTCOMES.length + EVENTS.length) return counters.event[EVENTS[field - OUTCOMES.length]];
  return field === COUNTER_FIELDS - 1 ? counters.newConnections : counters.bytes;
}

function fieldName(field: number): string {
  return (
    OUTCOMES[field] ?? EVENTS[field - OUTCOMES.length] ?? (field === COUNTER_FIELDS - 1 ? 'new connections' : 'bytes')
  );
}

function compareState(engine: Engine, kernel: KernelEngine): string | null {
  let what = compareWords('connection table', engine.connections.words, kernel.connections);
  what ??= compareHandedUp(engine, kernel);
  what ??= compareActive(engine.connections.active, kernel.active);
  what ??= compareWords('client prefixes', engine.prefixes, kernel.prefixes);
  what ??= compareWords('tally', engine.tally, kernel.tallyWords(TEST_CPU));
  for (const [subject, slots] of engine.slots)
    what ??= compareWords(`slots of subject ${subject}`, slots.words, kernel.slotWords(subject));
  for (const [subject, pressure] of engine.pressures)
    what ??= compareWords(`pressure of subject ${subject}`, pressure, kernel.pressureWords(subject));
  return what;
}

/** What the packet handed up, and all buckets and windows that ever were touched. */
function compareHandedUp(engine: Engine, kernel: KernelEngine): string | null {
  const taken = kernel.takeHandedUp();
  if (!isDeepStrictEqual(taken, engine.handedUp))
    return `handed up: model ${JSON.stringify(engine.handedUp)}, kernel ${JSON.stringify(taken)}`;
  for (const [bucket, entries] of engine.fragments) {
    const what = compareWords(`fragments of bucket ${bucket}`, entries, kernel.fragmentWords(bucket));
    if (what !== null) return what;
  }
  for (const [region, window] of engine.handUpWindows)
    if (!isDeepStrictEqual(kernel.handUpWindow(region), window)) return `hand-up window of region ${region}`;
  return null;
}

function compareActive(model: Int32Array, kernel: BigInt64Array): string | null {
  for (let i = 0; i < model.length; i++)
    if (model[i] !== Number(kernel[i])) return `active connections of ${i}: model ${model[i]}, kernel ${kernel[i]}`;
  return null;
}

/** The first word that differs, in hexadecimal. */
function compareWords(what: string, model: Uint32Array, kernel: Uint32Array): string | null {
  for (let i = 0; i < model.length; i++) {
    if (model[i] === kernel[i]) continue;
    return `${what}, 32-bit word ${i}: model ${model[i].toString(16)}, kernel ${kernel[i].toString(16)}`;
  }
  return null;
}

/**
 * Makes a frame that shows a difference as short and plain as possible. `differs` runs a candidate from the state in which
 * the difference was met.
 */
export function shortenFrame(frame: Uint8Array, differs: (candidate: Uint8Array) => boolean): Uint8Array {
  let best = frame;
  for (let cut = best.length >> 1; cut > 0; ) {
    const shorter = best.slice(0, best.length - cut);
    if (shorter.length >= 14 && differs(shorter)) best = shorter;
    else cut >>= 1;
  }
  for (let i = 0; i < best.length; i++) {
    if (best[i] === 0) continue;
    const plainer = best.slice();
    plainer[i] = 0;
    if (differs(plainer)) best = plainer;
  }
  return best;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

export function describeDifference(frame: Uint8Array, clock: Clock, { what, model, kernel }: Difference): string {
  return [
    `model and kernel differ: ${what}`,
    `clock ${clock.high} ${clock.low}, frame of ${frame.length} bytes: ${hex(frame)}`,
    `model: ${model.verdict} ${model.outcome}, subject ${model.subject}, backend ${model.backend}, events ${model.events}: ${hex(model.frame)}`,
    `kernel: ${kernel.verdict}: ${hex(kernel.frame)}`,
  ].join('\n');
}
