/** What every benchmark gives: cases and checks; as one JSON object for programs and as a table for people. */
import { execFileSync } from 'node:child_process';
import { cpus, release } from 'node:os';

export interface BenchOptions {
  /** Fewer cases and turns, for CI: checks that all works, not how fast. */
  readonly quick: boolean;
  /** `vip`: only cases of whose name this is a part, and what is measured in turns with them. */
  readonly only?: string;
  /** Told what runs now, for people who wait. */
  readonly progress?: (text: string) => void;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** Half of the values lie between. */
  readonly quartiles: readonly [number, number];
}

export interface BenchCase extends Spread {
  /** A name for people. */
  readonly case: string;
  readonly params: Readonly<Record<string, string | number>>;
  readonly unit: string;
  readonly samples: number;
  /** The same times with the do-nothing loop (`baseline`) in them. */
  readonly gross?: Spread;
}

/** A target that the benchmark must hold, and whether it did. `bench X --assert` fails if one did not. */
export interface BenchCheck {
  readonly check: string;
  readonly value: number;
  readonly limit: number;
  /** How `value` must stand to `limit`. */
  readonly must: 'at least' | 'at most';
  readonly holds: boolean;
  /** Where `value` is the median of comparisons made in turns: how many there were, and between what half of them lay. */
  readonly rounds?: number;
  readonly quartiles?: readonly [number, number];
}

/** What a module in `bench/` gives: `runBench(options: BenchOptions): Promise<BenchResult>`. */
export interface BenchResult {
  readonly bench: string;
  /** What has been subtracted from the times, in words; absent: nothing. */
  readonly baseline?: string;
  /** What else the machine did meanwhile, in words, and what was made of it; absent: it was not watched. */
  readonly load?: string;
  readonly cases: readonly BenchCase[];
  readonly checks: readonly BenchCheck[];
}

export interface BenchReport extends BenchResult {
  readonly commit: string;
  readonly machine: { readonly kernel: string; readonly cpu: string; readonly cores: number };
}

/** Median (of an even number: the mean of the middle two), least, greatest and quartiles. `values` must not be empty. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  const last = sorted.length - 1;
  const quartiles = [round(sorted[Math.round(last / 4)]), round(sorted[Math.round((last * 3) / 4)])] as const;
  return { median: round(median), min: round(sorted[0]), max: round(sorted[last]), quartiles };
}

/** To 4 digits behind the point: more would be noise. */
function round(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}

export function checkThat(check: string, value: number, must: 'at least' | 'at most', limit: number): BenchCheck {
  const holds = must === 'at least' ? value >= limit : value <= limit;
  return { check, value: round(value), limit, must, holds };
}

/** Adds what was measured on and what of. */
export function makeReport(result: BenchResult): BenchReport {
  const [first] = cpus();
  return {
    ...result,
    commit: currentCommit(),
    machine: { kernel: release(), cpu: first?.model ?? 'unknown', cores: cpus().length },
  };
}

/** The commit of the working tree, `-dirty` where files differ from it; `unknown` outside of a git checkout. */
function currentCommit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty', '--abbrev=12', '--exclude=*'], {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return 'unknown';
  }
}

/** The table for people, with a final newline. */
export function formatReport(report: BenchReport): string {
  const rows = report.cases.map((one) => [
    one.case,
    formatNumber(one.median),
    formatNumber(one.min),
    formatNumber(one.max),
    one.gross === undefined ? '' : formatNumber(one.gross.median),
    one.unit,
    String(one.samples),
  ]);
  const hasGross = report.cases.some((one) => one.gross !== undefined);
  const header = ['case', 'median', 'min', 'max', hasGross ? 'gross' : '', 'unit', 'samples'];
  const { kernel, cpu, cores } = report.machine;
  const lines = [
    `bench ${report.bench}: commit ${report.commit}, kernel ${kernel}, ${cpu}, ${cores} cores`,
    ...(report.baseline === undefined ? [] : [`baseline: ${report.baseline}`]),
    ...(report.load === undefined ? [] : [`load: ${report.load}`]),
    '',
    ...alignRows([header, ...rows]),
    ...(report.checks.length > 0 ? [''] : []),
    ...report.checks.map(
      (one) =>
        `${one.holds ? 'holds ' : 'FAILS '} ${one.check}: ${formatNumber(one.value)} (${one.must} ${formatNumber(one.limit)}${formatRounds(one)})`,
    ),
  ];
  return `${lines.join('\n')}\n`;
}

function formatRounds({ quartiles, rounds }: BenchCheck): string {
  if (quartiles === undefined) return '';
  return `; half of ${rounds} rounds: ${quartiles.map(formatNumber).join(' to ')}`;
}

function formatNumber(value: number): string {
  if (value === 0 || Math.abs(value) >= 100) return value.toFixed(value === Math.floor(value) ? 0 : 1);
  return value.toPrecision(3);
}

/** The first column to the left, the others to the right, as wide as the widest. */
function alignRows(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join('  ')
      .trimEnd(),
  );
}
