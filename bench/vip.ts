/**
 * `portico bench vip`: what a packet costs in the kernel program, by test-run, beside a program that tracks every flow
 * in the kernel's LRU hash (classic.bpf.c). The programs of a comparison take turns, sample by sample, so that what else
 * the machine does meets all of them. Every sample asserts the last verdict and length, and that the counters grew by
 * exactly the packets sent, in the outcome that the case is about.
 */

import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import type { ForwardingMode } from '../src/config/model.ts';
import { runProgram, updateElement, type XdpVerdict } from '../src/serve/vip/bpf.ts';
import { OUTCOME } from '../src/serve/vip/layout.gen.ts';
import { pinToCpu } from '../src/serve/vip/libc.ts';
import { type BenchCase, type BenchOptions, type BenchResult, spreadOf } from './report.ts';
import { threadTimeNs } from './thread-clock.ts';
import { measureVeth } from './veth.ts';
import { BACKENDS, type Family, type Outcomes, type Protocol, portOf, type TableKind, VipBed } from './vip-bed.ts';
import { checkTargets } from './vip-checks.ts';
import { FRAME_BYTES, makeError, makeFrame, QUOTE_OFFSET } from './vip-frames.ts';

const BASELINE =
  'the same loop (the last encapsulation taken off, the next flow written, one tail call) around a program that only makes ' +
  'the same room at the head of the frame (not-vip, l2 and nat: around one that does nothing; too-big: one that also cuts the frame off). Times are without it, "gross" is with it.';

/** By the kind of packet; else `only_grow`. */
const BASELINES: Readonly<Partial<Record<Kind, ProgramName>>> = { 'not-vip': 'only_pass', 'too-big': 'only_answer' };

/** Coprime to every number of flows, about its golden section: all flows in turn, none near the one before. */
const STRIDES: Readonly<Record<number, number>> = { 1: 0, 1000: 619, 100000: 61_803, 1000000: 618_033 };
/** Outer headers over IPv4. */
const OUTER_BYTES: Readonly<Record<ForwardingMode, number>> = { gre: 24, ipip: 20, gue: 32, l2: 0, nat: 0 };
const KEYED_GRE_BYTES = 28;
/** Packets of a sample: each takes ten times as long as by test-run. */
const MOST_OVER_VETH = 500_000;
const ETHERNET_MTU_BYTES = 1514;
/** IP and ICMP header of an answer, and the frame of one about a full packet. */
const ANSWER_HEAD_BYTES = { 4: 28, 6: 48 } as const;
const ANSWER_BYTES = { 4: 14 + 28 + 52, 6: 14 + 1280 } as const;

/** `error`: ICMP errors about established flows; `too-big`: packets of them that do not fit, which are answered. */
type Kind = 'established' | 'new' | 'not-vip' | 'error' | 'too-big';
type Tracking = 'just-enough' | 'classic';
type ProgramName = 'balancer' | 'classic' | 'only_grow' | 'only_pass' | 'only_answer';

interface Variant {
  readonly tracking: Tracking;
  readonly table: TableKind;
  readonly mode: ForwardingMode;
}

/** Cases that are compared with each other: sampled in turn, with one baseline. */
interface Group {
  readonly family: Family;
  readonly protocol: Protocol;
  readonly kind: Kind;
  readonly flows: number;
  readonly variants: readonly Variant[];
}

interface Scale {
  readonly samples: number;
  readonly turns: number;
  readonly flows: readonly number[];
  readonly buckets: number;
  readonly lruEntries: number;
}

const FULL: Scale = {
  samples: 7,
  turns: 1_000_000,
  flows: [1, 100_000, 1_000_000],
  buckets: 2 ** 21,
  // 8 million entries for the machine, divided among its CPUs.
  lruEntries: Math.floor(8_000_000 / availableParallelism()),
};

const QUICK: Scale = { samples: 5, turns: 200_000, flows: [1, 100_000], buckets: 2 ** 18, lruEntries: 500_000 };

const OURS: readonly Variant[] = [
  { tracking: 'just-enough', table: 'stable', mode: 'gre' },
  { tracking: 'just-enough', table: 'unsettled10', mode: 'gre' },
  { tracking: 'just-enough', table: 'unsettled100', mode: 'gre' },
];
const CLASSIC: Variant = { tracking: 'classic', table: 'stable', mode: 'gre' };
const OTHER_MODES: readonly Variant[] = [
  { tracking: 'just-enough', table: 'stable', mode: 'ipip' },
  { tracking: 'just-enough', table: 'stable', mode: 'gue' },
  { tracking: 'just-enough', table: 'stable', mode: 'l2' },
];
/** The backends have IPv4 addresses, and the family stays. */
const NAT: Variant = { tracking: 'just-enough', table: 'stable', mode: 'nat' };

/** Takes some 4 minutes, `quick` some 20 s; needs root. Throws AssertionError when a program did not do what was measured. */
export async function runBench(options: BenchOptions): Promise<BenchResult> {
  const scale = options.quick ? QUICK : FULL;
  // Before the thread is pinned: afterwards there seems to be one only.
  const cpus = availableParallelism();
  const cpu = cpus - 1;
  pinToCpu(cpu);
  const bed = new VipBed({ cpu, cpus, buckets: scale.buckets, lruEntries: scale.lruEntries });
  try {
    const run = new Run(bed, scale);
    const cases: BenchCase[] = [];
    for (const group of listGroups(scale)) {
      options.progress?.(`IPv${group.family} ${group.protocol} ${group.kind}, ${group.flows} flows`);
      cases.push(...run.measureGroup(group));
    }
    options.progress?.('over veth, every mode');
    const veth = measureVeth(scale.samples, Math.min(scale.turns, MOST_OVER_VETH));
    const checks = [...checkTargets(cases), ...veth.checks];
    return { bench: 'vip', baseline: BASELINE, cases: [...cases, ...veth.cases], checks };
  } finally {
    bed.close();
  }
}

function listGroups(scale: Scale): Group[] {
  const groups: Group[] = [];
  for (const family of [4, 6] as const) {
    for (const protocol of ['tcp', 'udp'] as const) {
      const most = scale.flows[scale.flows.length - 1];
      const variants = [...OURS, CLASSIC];
      // UDP differs from TCP in little: the number of flows between is left out.
      const counts = protocol === 'udp' ? [1, most] : scale.flows;
      for (const flows of counts) {
        const bare = family === 4 ? [...OTHER_MODES, NAT] : OTHER_MODES;
        const others = flows === most ? bare : [];
        groups.push({ family, protocol, kind: 'established', flows, variants: [...variants, ...others] });
      }
      groups.push({ family, protocol, kind: 'new', flows: most, variants });
    }
    const most = scale.flows[scale.flows.length - 1];
    const quic = { family, protocol: 'quic', flows: most } as const;
    groups.push({ ...quic, kind: 'established', variants: OURS.slice(0, 1) });
    groups.push({ ...quic, kind: 'new', variants: OURS.slice(0, 1) });
    for (const kind of ['error', 'too-big'] as const)
      groups.push({ family, protocol: 'tcp', kind, flows: most, variants: OURS.slice(0, 1) });
    groups.push({ family, protocol: 'tcp', kind: 'not-vip', flows: 1, variants: OURS.slice(0, 1) });
  }
  return groups;
}

interface Sample {
  readonly grossNs: number;
  readonly verdict: XdpVerdict;
  readonly lengthBytes: number;
}

class Run {
  readonly bed: VipBed;
  readonly scale: Scale;
  /** The next flow that no sample has seen: a flood goes on where the last one ended. */
  #freshFlow = 0;

  constructor(bed: VipBed, scale: Scale) {
    this.bed = bed;
    this.scale = scale;
  }

  measureGroup(group: Group): BenchCase[] {
    const { turns, samples } = this.scale;
    this.bed.writeSlots(false);
    this.bed.clearConnections();
    this.bed.renewClassicTable();
    const tracked = this.#warm(group);
    const grossNs = group.variants.map((): number[] => []);
    const baselineNs: number[] = [];
    const bareBaselineNs: number[] = [];
    const hasBare = group.variants.some(isBare);
    for (let sample = 0; sample < samples; sample++) {
      baselineNs.push(this.#runBaseline(group, BASELINES[group.kind] ?? 'only_grow'));
      if (hasBare) bareBaselineNs.push(this.#runBaseline(group, 'only_pass'));
      for (const [i, variant] of group.variants.entries()) {
        const isFresh = group.kind === 'new';
        // A flood for as long as this bench would fill the table, and then be refused.
        if (isFresh) this.bed.clearConnections();
        // The programs before took the caches. Not all flows, or the cache of a few would look like that of many.
        this.#send(group, variant, turns / 5, isFresh);
        const before = this.#read(group, variant);
        const result = this.#send(group, variant, turns, isFresh);
        const after = this.#read(group, variant);
        assertSample(group, variant, result, before, after, turns, tracked[i]);
        grossNs[i].push(result.grossNs);
      }
    }
    const baseline = spreadOf(baselineNs).median;
    const bareBaseline = hasBare ? spreadOf(bareBaselineNs).median : 0;
    return group.variants.map((variant, i) =>
      describeCase(group, variant, grossNs[i], isBare(variant) ? bareBaseline : baseline),
    );
  }

  /**
   * Established: each flow once as a new one, in order (the measured order is another, so that entries do not lie as
   * they are asked for), then slots move on. New: the classic table is filled up, because in a flood it always is.
   * Gives for each variant how many of its flows the connection table knows.
   */
  #warm(group: Group): number[] {
    if (group.kind !== 'established' && group.kind !== 'new') return [0];
    this.#freshFlow = 0;
    const tracked = group.variants.map((variant) => {
      if (group.kind === 'new' && variant.tracking !== 'classic') return 0;
      const before = this.#read(group, variant);
      const flows = group.kind === 'new' ? this.scale.lruEntries : group.flows;
      this.#send(group, variant, flows, true);
      if (group.kind === 'established') this.#freshFlow = 0;
      return countOf(before, this.#read(group, variant), OUTCOME.NEW);
    });
    if (group.kind === 'established') this.bed.writeSlots(true);
    return tracked;
  }

  #read(group: Group, variant: Variant): Outcomes {
    if (group.kind === 'not-vip') return this.bed.readOthers();
    return this.bed.readOutcomes(group.family, group.protocol, variant.table, variant.mode);
  }

  /** `isFresh`: packets of new flows, each of one that was not there before; else the group's flows in turn. */
  #send(group: Group, variant: Variant, turns: number, isFresh: boolean): Sample {
    const program = variant.tracking === 'classic' ? 'classic' : 'balancer';
    if (isFresh) {
      this.#setTurn(group, variant, 0, 1, this.#freshFlow);
      this.#freshFlow += turns;
    } else {
      this.#setTurn(group, variant, group.flows, STRIDES[group.flows], 0);
    }
    return this.#runTurns(program, group, variant, turns, isFresh);
  }

  #runBaseline(group: Group, program: ProgramName): number {
    this.#setTurn(group, OURS[0], group.flows, STRIDES[group.flows], 0);
    return this.#runTurns(program, group, OURS[0], this.scale.turns, false).grossNs;
  }

  /** Fields of `struct turn`, bench/vip.bpf.c. `flows` 0: without end. */
  #setTurn(group: Group, variant: Variant, flows: number, stride: number, flow: number): void {
    const state = this.bed.turnState;
    const frame = this.#frame(group, variant, false);
    new Uint8Array(state.buffer).set(frame.subarray(0, 14));
    state.setUint16(14, group.family === 6 ? 1 : 0, true);
    state.setUint32(16, frame.length, true);
    state.setUint32(20, flow, true);
    state.setUint32(24, stride, true);
    state.setUint32(28, flows, true);
    state.setUint16(32, portOf(group.protocol, variant.table, variant.mode));
    state.setUint16(34, group.protocol === 'quic' && group.kind === 'established' ? BACKENDS : 0, true);
    const hops = 14 + (group.family === 4 ? 8 : 4);
    new Uint8Array(state.buffer).set(frame.subarray(hops, hops + 4), 36);
    state.setUint16(40, group.kind === 'error' ? QUOTE_OFFSET[group.family] : 0, true);
    state.setUint16(42, group.kind === 'too-big' ? ANSWER_HEAD_BYTES[group.family] : 0, true);
    if (group.family === 4) new Uint8Array(state.buffer).set(frame.subarray(30, 34), 44);
  }

  #frame(group: Group, { table, mode }: Variant, isSyn: boolean): Uint8Array {
    const { family, protocol, kind } = group;
    const destinationPort = portOf(protocol, table, mode);
    if (kind === 'error') return makeError(family, protocol, destinationPort);
    const bytes = kind === 'too-big' ? ETHERNET_MTU_BYTES : FRAME_BYTES[family];
    return makeFrame({ family, protocol, isSyn, isStray: kind === 'not-vip', destinationPort, bytes });
  }

  #runTurns(name: ProgramName, group: Group, variant: Variant, turns: number, isSyn: boolean): Sample {
    const { balancer, classic, turn } = this.bed;
    const object = { balancer, classic, only_grow: turn, only_pass: turn, only_answer: turn }[name];
    const fd = new Uint8Array(new Uint32Array([object.programFd(name)]).buffer);
    updateElement(turn.mapFd('program_under_test'), new Uint8Array(4), fd);
    const frame = this.#frame(group, variant, isSyn);
    const program = turn.programFd('turn');
    const begin = threadTimeNs();
    const result = runProgram(program, frame, { repeat: turns });
    const end = threadTimeNs();
    return { grossNs: (end - begin) / turns, verdict: result.verdict, lengthBytes: result.frame.length };
  }
}

/** Without outer headers: no room is made. */
function isBare({ mode }: Variant): boolean {
  return OUTER_BYTES[mode] === 0;
}

function sizeOf({ kind, family }: Group): number {
  if (kind === 'too-big') return ETHERNET_MTU_BYTES;
  return kind === 'error' ? QUOTE_OFFSET[family] + (family === 4 ? 28 : 48) : FRAME_BYTES[family];
}

function countOf(before: Outcomes, after: Outcomes, outcome: number): number {
  return after.outcome[outcome] - before.outcome[outcome];
}

/** The program did to each packet what the case says, or the figure means nothing. */
function assertSample(
  group: Group,
  variant: Variant,
  sample: Sample,
  before: Outcomes,
  after: Outcomes,
  turns: number,
  tracked: number,
): void {
  const grown = (outcome: number) => countOf(before, after, outcome);
  const size = sizeOf(group);
  const total = after.outcome.reduce((sum, _, outcome) => sum + grown(outcome), 0);
  assert.equal(total, turns, 'each packet has one outcome');
  assert.equal(after.bytes - before.bytes, turns * (size - 14), 'each packet counts its bytes');
  assert.equal(sample.verdict, group.kind === 'not-vip' ? 'pass' : 'tx');
  if (group.kind === 'not-vip') {
    assert.equal(sample.lengthBytes, size);
    assert.equal(grown(OUTCOME.NOT_VIP), turns);
    return;
  }
  if (group.kind === 'error' || group.kind === 'too-big') {
    assert.equal(sample.lengthBytes, group.kind === 'error' ? size + OUTER_BYTES.gre : ANSWER_BYTES[group.family]);
    assert.equal(grown(group.kind === 'error' ? OUTCOME.ICMP_ERROR : OUTCOME.TOO_BIG), turns);
    return;
  }
  // In unsettled slots the backend learns the other candidates, by the key; with a tenth unsettled, of a tenth of packets.
  const isKeyed = group.kind === 'established' && variant.table === 'unsettled100';
  if (group.protocol === 'quic' && group.kind === 'established') {
    assert.equal(sample.lengthBytes - size, OUTER_BYTES[variant.mode]);
    assert.equal(grown(OUTCOME.BY_ID), turns);
    return;
  }
  const mayBeKeyed = group.kind === 'established' && variant.table === 'unsettled10';
  const plain = OUTER_BYTES[variant.mode];
  const lengths = mayBeKeyed ? [plain, KEYED_GRE_BYTES] : [isKeyed ? KEYED_GRE_BYTES : plain];
  assert.ok(lengths.includes(sample.lengthBytes - size), `length ${sample.lengthBytes}, frame ${size}`);
  const inTable = group.kind === 'new' ? OUTCOME.NEW : OUTCOME.TRACKED;
  if (variant.tracking === 'classic' || variant.table === 'unsettled100') {
    assert.equal(grown(inTable), turns);
  } else if (variant.table === 'stable') {
    assert.equal(grown(OUTCOME.SETTLED), turns);
  } else {
    assert.equal(grown(inTable) + grown(OUTCOME.SETTLED), turns);
    if (group.kind === 'established') assert.equal(grown(inTable), tracked * (turns / group.flows));
  }
}

function describeCase(group: Group, variant: Variant, grossNs: readonly number[], baselineNs: number): BenchCase {
  const { family, protocol, kind, flows } = group;
  const { tracking, table, mode } = variant;
  const how = tracking === 'classic' ? 'classic' : mode === 'gre' ? table : `${table} ${mode}`;
  const icmp = { error: 'ICMP error', 'too-big': 'too big' }[kind as string];
  const name =
    icmp !== undefined
      ? `IPv${family} ${icmp}, ${flows} flows`
      : kind === 'not-vip'
        ? `IPv${family} not for a VIP`
        : `IPv${family} ${protocol} ${kind} ${how}, ${flows} flows`;
  return {
    case: name,
    params: {
      ip: family,
      protocol: icmp === undefined ? protocol : 'icmp',
      kind: icmp === undefined ? kind : 'established',
      ...(icmp === undefined ? {} : { message: kind }),
      mode,
      flows,
      table,
      tracking,
      sizeBytes: sizeOf(group),
    },
    unit: 'ns',
    ...spreadOf(grossNs.map((ns) => ns - baselineNs)),
    samples: grossNs.length,
    gross: spreadOf(grossNs),
  };
}
