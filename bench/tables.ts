/**
 * `portico bench tables`: how long lookup tables take to build, and the two experiments of the Maglev paper (NSDI 2016,
 * section 5.3): how even the shares are, and how much changes when backends fail.
 */
import { populateTable, type TableMember } from '../src/decide/maglev.ts';
import { type BenchCase, type BenchCheck, type BenchOptions, type BenchResult, checkThat, spreadOf } from './report.ts';
import { threadTimeNs } from './thread-clock.ts';

const BACKENDS = 1_000;

/**
 * Table size; limit of the median build time on the development machine; limit of needless changes, a little above what was
 * measured; runs.
 */
const SIZES = [
  { slots: 65_537, buildLimitMs: 2.5, disruptionLimitPercent: 4, builds: 201, runs: 200, failureRuns: 50 },
  { slots: 655_373, buildLimitMs: 30, disruptionLimitPercent: 1.2, builds: 51, runs: 20, failureRuns: 10 },
] as const;

/** Shares of the backends that fail at once, in percent: the paper's figure 12. */
const FAILED_PERCENT = [0.1, 0.5, 1, 2, 4, 6, 8, 10] as const;

type Weights = 'equal' | 'mixed';

/**
 * Measures everything, in about 9 s; `quick`: a tenth of the runs. The backends' names are drawn anew for each run, from a fixed
 * seed.
 */
export async function runBench(options: BenchOptions): Promise<BenchResult> {
  const random = seededRandom(1);
  const runsOf = (full: number): number => (options.quick ? Math.ceil(full / 10) : full);
  const cases: BenchCase[] = [];
  const checks: BenchCheck[] = [];
  for (const size of SIZES) {
    const { slots } = size;
    options.progress?.(`tables of ${slots} slots`);
    const ofSize = [
      measureBuild(slots, runsOf(size.builds), 'equal', random),
      measureBuild(slots, runsOf(size.builds), 'mixed', random),
      ...measureEvenness(slots, runsOf(size.runs), random),
      measureDues(slots, runsOf(size.runs), random),
      ...FAILED_PERCENT.map((percent) => measureDisruption(slots, runsOf(size.failureRuns), percent, random)),
    ];
    cases.push(...ofSize);
    checks.push(...ofSize.flatMap((one) => checksOf(one, size)));
  }
  return { bench: 'tables', cases, checks };
}

function checksOf(one: BenchCase, size: (typeof SIZES)[number]): BenchCheck[] {
  const { measure, statistic, failedPercent } = one.params;
  if (measure === 'build') return [checkThat(`${one.case}: median, ms`, one.median, 'at most', size.buildLimitMs)];
  if (statistic === 'spread' || statistic === 'from-due') {
    return [checkThat(`${one.case}: greatest, slots`, one.max, 'at most', 1)];
  }
  if (measure === 'disruption' && failedPercent === 10) {
    return [checkThat(`${one.case}: greatest, % of all slots`, one.max, 'at most', size.disruptionLimitPercent)];
  }
  return [];
}

function benchCase(name: string, params: BenchCase['params'], unit: string, samples: readonly number[]): BenchCase {
  return { case: name, params, unit, ...spreadOf(samples), samples: samples.length };
}

/** CPU time of the thread: on a machine with nothing else to do it is the time that passes. */
function measureBuild(slots: number, builds: number, weights: Weights, random: () => number): BenchCase {
  const members = drawMembers(weights, random);
  const table = new Uint16Array(slots);
  const times: number[] = [];
  for (let i = 0; i < builds + 10; i++) {
    const beginNs = threadTimeNs();
    populateTable(slots, members, table);
    // The first ones run before the compiler is done.
    if (i >= 10) times.push((threadTimeNs() - beginNs) / 1e6);
  }
  return benchCase(
    `build ${slots} slots, ${weights} weights, CPU time`,
    params(slots, 'build', { weights }),
    'ms',
    times,
  );
}

/** The shares of each run: largest, least, their distance and the standard deviation. */
function measureEvenness(slots: number, runs: number, random: () => number): BenchCase[] {
  const largest: number[] = [];
  const least: number[] = [];
  const spread: number[] = [];
  const deviation: number[] = [];
  for (let run = 0; run < runs; run++) {
    const shares = shareCounts(populateTable(slots, drawMembers('equal', random)));
    const max = Math.max(...shares);
    const min = Math.min(...shares);
    largest.push((100 * max) / slots);
    least.push((100 * min) / slots);
    spread.push(max - min);
    const mean = slots / BACKENDS;
    deviation.push(Math.sqrt(shares.reduce((sum, share) => sum + (share - mean) ** 2, 0) / BACKENDS));
  }
  const one = (statistic: string, unit: string, samples: number[]): BenchCase =>
    benchCase(
      `evenness ${slots} slots, ${statistic}`,
      params(slots, 'evenness', { weights: 'equal', statistic }),
      unit,
      samples,
    );
  return [
    one('largest-share', '%', largest),
    one('least-share', '%', least),
    one('spread', 'slots', spread),
    one('standard-deviation', 'slots', deviation),
  ];
}

/** With weights from 1 to 10: the largest distance of a share from its weight's due. */
function measureDues(slots: number, runs: number, random: () => number): BenchCase {
  const distances = Array.from({ length: runs }, () => {
    const members = drawMembers('mixed', random);
    const sum = members.reduce((total, { weight }) => total + weight, 0);
    const shares = shareCounts(populateTable(slots, members));
    return Math.max(...members.map(({ weight }, i) => Math.abs((shares[i] as number) - (slots * weight) / sum)));
  });
  const name = `evenness ${slots} slots, mixed weights, from due`;
  return benchCase(name, params(slots, 'evenness', { weights: 'mixed', statistic: 'from-due' }), 'slots', distances);
}

/** Of all slots, in percent, those that change although their backend lives. */
function measureDisruption(slots: number, runs: number, failedPercent: number, random: () => number): BenchCase {
  const failed = Math.round((BACKENDS * failedPercent) / 100);
  const changed = Array.from({ length: runs }, () => {
    const members = drawMembers('equal', random);
    shuffle(members, random);
    const before = populateTable(slots, members);
    const after = populateTable(slots, members.slice(failed));
    const gone = new Set(members.slice(0, failed).map(({ index }) => index));
    let needless = 0;
    for (let slot = 0; slot < slots; slot++) {
      if (after[slot] !== before[slot] && !gone.has(before[slot] as number)) needless++;
    }
    return (100 * needless) / slots;
  });
  const name = `disruption ${slots} slots, ${failedPercent} % fail`;
  return benchCase(name, params(slots, 'disruption', { failedPercent }), '%', changed);
}

function params(slots: number, measure: string, others: BenchCase['params']): BenchCase['params'] {
  return { slots, backends: BACKENDS, measure, ...others };
}

function drawMembers(weights: Weights, random: () => number): TableMember[] {
  const run = Math.floor(random() * 2 ** 32).toString(36);
  return Array.from({ length: BACKENDS }, (_, i) => ({
    name: `${run}-${i}`,
    index: i + 1,
    weight: weights === 'equal' ? 1 : 1 + Math.floor(random() * 10),
  }));
}

/** Slots of the backends with index 1 to BACKENDS. */
function shareCounts(table: Uint16Array): number[] {
  const counts = new Uint32Array(BACKENDS + 1);
  for (const index of table) counts[index] = (counts[index] as number) + 1;
  return [...counts.subarray(1)];
}

function shuffle(list: TableMember[], random: () => number): void {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [list[i], list[j]] = [list[j] as TableMember, list[i] as TableMember];
  }
}

/** Mulberry32 (T. Ettinger, public domain): numbers from 0 to below 1. */
function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
