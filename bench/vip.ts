/**
 * `portico bench vip`: what a packet costs in the kernel program, by test-run, beside a program that tracks every flow
 * in the kernel's LRU hash (classic.bpf.c). What is compared takes turns, in many short samples. Every sample asserts the
 * last verdict and length, and that the counters grew by exactly the packets sent, in the outcome that the lane is about.
 */

import { availableParallelism } from 'node:os';
import { runProgram, updateElement } from '../src/serve/vip/bpf.ts';
import { BUCKET_ENTRIES, OUTCOME } from '../src/serve/vip/layout.gen.ts';
import { pinToCpu } from '../src/serve/vip/libc.ts';
import { OtherLoad } from './other-load.ts';
import type { BenchOptions, BenchResult } from './report.ts';
import { threadTimeNs } from './thread-clock.ts';
import { measureVeth } from './veth.ts';
import { assertSample, countOf, type Sample } from './vip-asserts.ts';
import { type Outcomes, VipBed } from './vip-bed.ts';
import { checkTargets } from './vip-checks.ts';
import {
  type BaselineName,
  baselineOf,
  isFlood,
  isStray,
  type Lane,
  lane,
  listScenes,
  loopOf,
  nameOf,
  type Scene,
} from './vip-lanes.ts';
import { Rounds } from './vip-rounds.ts';
import { makeLaneFrame, setTurn } from './vip-turn.ts';

const BASELINE =
  'the same loop (the last encapsulation taken off, the next flow written, one tail call) around a program that only makes ' +
  'the same room at the head of the frame (not for a VIP, l2 and nat: around one that does nothing; too-big: one that also cuts the frame off), ' +
  'sampled in each round. Times are without it, "gross" is with it.';

/** Coprime to every number of flows, about its golden section: all flows in turn, none near the one before. */
const STRIDES: Readonly<Record<number, number>> = { 1: 0, 1000: 619, 100000: 61_803, 1000000: 618_033 };
const VETH = 'over veth';
/** Rounds of floods until the table is emptied: for as long as this bench they would fill it, and then be refused. */
const FLOOD_ROUNDS = 10;

type ProgramName = 'balancer' | 'classic' | BaselineName;

interface Scale {
  /** In which the machine does nothing else, if `mostRounds` have so many. */
  readonly rounds: number;
  readonly mostRounds: number;
  readonly turns: number;
  readonly flows: readonly number[];
  readonly buckets: number;
  readonly lruEntries: number;
}

const ENTRIES = 4_194_304;

const FULL: Scale = {
  rounds: 31,
  mostRounds: 45,
  turns: 100_000,
  flows: [1, 100_000, 1_000_000],
  // Both have as many entries as `connections` has by default; the classic program's are divided among the CPUs.
  buckets: ENTRIES / BUCKET_ENTRIES,
  lruEntries: Math.floor(ENTRIES / availableParallelism()),
};

const QUICK: Scale = {
  rounds: 7,
  mostRounds: 9,
  turns: 50_000,
  flows: [1, 100_000],
  buckets: 2 ** 18,
  lruEntries: 500_000,
};

/** Takes some 4 minutes, `quick` some 20 s; needs root. Throws AssertionError when a program did not do what was measured. */
export async function runBench(options: BenchOptions): Promise<BenchResult> {
  const scale = options.quick ? QUICK : FULL;
  // Before the thread is pinned: afterwards there seems to be one only.
  const cpus = availableParallelism();
  const cpu = cpus - 1;
  pinToCpu(cpu);
  const bedOptions = { cpu, cpus, buckets: scale.buckets, lruEntries: scale.lruEntries };
  const rounds = new Rounds();
  const bed = new VipBed(bedOptions);
  const floodBed = new VipBed(bedOptions);
  try {
    const run = new Run(bed, floodBed, scale, rounds);
    options.progress?.("the classic program's full table");
    run.fillForFloods();
    for (const scene of listScenes(scale.flows, options.only)) {
      options.progress?.(`IPv${scene.family} ${scene.protocol}`);
      run.measure(scene);
    }
  } finally {
    floodBed.close();
    bed.close();
  }
  const { only = VETH } = options;
  if (VETH.includes(only)) options.progress?.('over veth, every mode');
  const veth = VETH.includes(only) ? measureVeth(cpu, scale.rounds, scale.turns / 2) : { cases: [], checks: [] };
  const checks = [...checkTargets(rounds, scale.flows[scale.flows.length - 1]), ...veth.checks];
  return { bench: 'vip', baseline: BASELINE, load: rounds.load, cases: [...rounds.cases(), ...veth.cases], checks };
}

class Run {
  readonly #bed: VipBed;
  /** For floods that enter flows: they must not push out what is established. */
  readonly #floodBed: VipBed;
  readonly #scale: Scale;
  readonly #rounds: Rounds;
  /** By lane: its next flow. Samples go on where the last one ended, so that all flows come. */
  #next = new Map<string, number>();
  /** By lane: how many of its flows the connection table knows. */
  #tracked = new Map<string, number>();

  constructor(bed: VipBed, floodBed: VipBed, scale: Scale, rounds: Rounds) {
    this.#bed = bed;
    this.#floodBed = floodBed;
    this.#scale = scale;
    this.#rounds = rounds;
  }

  /** In a flood the classic table is always full. */
  fillForFloods(): void {
    this.#floodBed.writeSlots(false);
    this.#floodBed.renewClassicTable();
    const { flows, lruEntries } = this.#scale;
    // A lane that is measured later: it goes on behind these flows.
    this.#send(lane({ kind: 'new', tracking: 'classic', flows: flows[flows.length - 1] }), lruEntries);
  }

  measure(scene: Scene): void {
    this.#enterFlows(scene);
    for (const group of scene.groups) this.#measureGroup(group);
  }

  /**
   * Each flow once as a new one, in order (the measured order is another, so that entries do not lie as they are asked
   * for), then slots move on.
   */
  #enterFlows({ family, protocol }: Scene): void {
    this.#bed.writeSlots(false);
    this.#bed.clearConnections();
    this.#bed.renewClassicTable();
    const ways = [{ table: 'unsettled10' }, { table: 'unsettled100' }, { tracking: 'classic' }] as const;
    for (const way of ways) {
      let tracked = 0;
      let entered = 0;
      for (const flows of this.#scale.flows) {
        const one = lane({ family, protocol, flows, ...way });
        const before = this.#read(one);
        this.#runTurns('program', one, flows - entered, { flow: entered, isEntered: true });
        tracked += countOf(before, this.#read(one), OUTCOME.NEW);
        entered = flows;
        this.#tracked.set(nameOf(one), tracked);
      }
    }
    this.#bed.writeSlots(true);
  }

  #measureGroup(lanes: readonly Lane[]): void {
    const loops = new Map(lanes.map((one) => [loopOf(one), one]));
    const { rounds, mostRounds } = this.#scale;
    let quiet = 0;
    for (let round = 0; round < mostRounds && quiet < rounds; round++) {
      if (round % FLOOD_ROUNDS === 0 && lanes.some(isFlood)) this.#floodBed.clearConnections();
      const load = new OtherLoad();
      const baselineNs = new Map<string, number>();
      const steps = [
        ...Array.from(
          loops,
          ([loop, one]) =>
            () =>
              baselineNs.set(loop, this.#sampleLoop(one)),
        ),
        ...lanes.map((one) => () => grossNs.set(one, this.#sample(one))),
      ];
      const grossNs = new Map<Lane, number>();
      // Forth and back: nothing always comes after the same.
      for (const step of round % 2 === 0 ? steps : steps.reverse()) step();
      const isQuiet = load.wasQuiet();
      if (isQuiet) quiet++;
      const samples = lanes.map((one) => ({
        lane: one,
        grossNs: grossNs.get(one) ?? Number.NaN,
        baselineNs: baselineNs.get(loopOf(one)) ?? Number.NaN,
      }));
      this.#rounds.add(samples, isQuiet);
    }
  }

  #sampleLoop(one: Lane): number {
    return this.#runTurns(baselineOf(one), one, this.#scale.turns, { flow: 0, isEntered: false }).grossNs;
  }

  #sample(one: Lane): number {
    const { turns } = this.#scale;
    const name = nameOf(one);
    this.#bed.usePrefixes(one.kind === 'not-vip-prefix');
    // The programs before took the caches. Not all flows, or the cache of a few would look like that of many.
    this.#send(one, turns / 5);
    const before = this.#read(one);
    const sample = this.#send(one, turns);
    assertSample(one, sample, before, this.#read(one), turns, this.#tracked.get(name) ?? 0);
    return sample.grossNs;
  }

  #bedOf(one: Lane): VipBed {
    return isFlood(one) ? this.#floodBed : this.#bed;
  }

  #read(one: Lane): Outcomes {
    if (isStray(one)) return this.#bed.readOthers();
    return this.#bedOf(one).readOutcomes(one.family, one.protocol, one.table, one.mode);
  }

  /** The next packets of the lane. */
  #send(one: Lane, turns: number): Sample {
    const name = nameOf(one);
    const sample = this.#runTurns('program', one, turns, { flow: this.#next.get(name) ?? 0, isEntered: false });
    this.#next.set(name, this.#bedOf(one).turnState.getUint32(20, true));
    return sample;
  }

  /** `isEntered`: the established flows from `flow` on, each once, by packets that begin them. */
  #runTurns(
    name: 'program' | BaselineName,
    one: Lane,
    turns: number,
    { flow, isEntered }: { readonly flow: number; readonly isEntered: boolean },
  ): Sample {
    const isNew = isEntered || one.kind === 'new';
    const bed = this.#bedOf(one);
    const program: ProgramName = name !== 'program' ? name : one.tracking === 'classic' ? 'classic' : 'balancer';
    const object = program === 'balancer' || program === 'classic' ? bed[program] : bed.turn;
    const fd = new Uint8Array(new Uint32Array([object.programFd(program)]).buffer);
    updateElement(bed.turn.mapFd('program_under_test'), new Uint8Array(4), fd);
    const frame = makeLaneFrame(one, isNew);
    setTurn(
      bed.turnState,
      one,
      frame,
      isNew ? { flow, stride: 1, flows: 0 } : { flow, stride: STRIDES[one.flows], flows: one.flows },
    );
    const begin = threadTimeNs();
    const result = runProgram(bed.turn.programFd('turn'), frame, { repeat: turns });
    const end = threadTimeNs();
    return { grossNs: (end - begin) / turns, verdict: result.verdict, lengthBytes: result.frame.length };
  }
}
