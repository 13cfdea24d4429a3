/**
 * Runs test files of groups with node:test and closes with one sum: `node scripts/run-tests.ts unit system [--long]`.
 * Unit tests stand beside the source and in test/tidy and run side by side; system tests build namespaces and load kernel programs,
 * so they run one file at a time; `dns` are those of test/dns alone. Files named `*.long.test.ts` need `--long`. Exit status 1 when anything failed, 2 for wrong usage.
 */
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec, type TestEvent } from 'node:test/reporters';

interface Group {
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  readonly concurrency: number;
  /** A file that takes longer hangs. */
  readonly timeoutMs: number;
}

const GROUPS: Readonly<Record<string, Group>> = {
  unit: {
    include: ['src/**/*.test.ts', 'test/tidy/*.test.ts'],
    exclude: [],
    concurrency: Math.max(2, availableParallelism()),
    timeoutMs: 5 * 60_000,
  },
  system: { include: ['test/**/*.test.ts'], exclude: ['test/tidy/**'], concurrency: 1, timeoutMs: 20 * 60_000 },
  dns: { include: ['test/dns/*.test.ts'], exclude: [], concurrency: 1, timeoutMs: 20 * 60_000 },
};

/** One of the sums that node:test gives at the end of a run; they are printed once for all groups. */
function isClosing(event: TestEvent): boolean {
  return event.type === 'test:diagnostic' && event.data.file === undefined && SUMS.test(event.data.message);
}

const SUMS = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/;

/**
 * Time for a file that was told to end. One that computes without end does not hear it, and would hold up the run for ever.
 */
const GRACE_MS = 10_000;

/** Kills our own child that runs the file. */
function killRunOf(file: string): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const parent = /^\d+ \(.*\) \S (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      if (Number(parent) === process.pid && words.some((word) => join(root, word) === file || word === file)) {
        process.kill(Number(pid), 'SIGKILL');
      }
    } catch {
      // It ended in between.
    }
  }
}

/** Watches over the files of a run; give it every event. */
function createWatchdog(timeoutMs: number): (event: TestEvent) => void {
  const timers = new Map<string, NodeJS.Timeout>();
  return (event) => {
    if (event.type !== 'test:dequeue' && event.type !== 'test:complete') return;
    const { name, nesting } = event.data;
    if (nesting !== 0 || !name.endsWith('.test.ts')) return;
    clearTimeout(timers.get(name));
    if (event.type === 'test:dequeue') timers.set(name, setTimeout(killRunOf, timeoutMs + GRACE_MS, name));
  };
}

const root = join(import.meta.dirname, '..');

// Each file is a process of its own, and some start threads: what was compiled once need not be again.
process.env.NODE_COMPILE_CACHE ??= join(root, 'build', 'compile-cache');

function filesOf(group: Group, long: boolean): string[] {
  const files = globSync([...group.include], { cwd: root, exclude: [...group.exclude] });
  return files.filter((file) => long || !file.endsWith('.long.test.ts')).sort();
}

async function main(args: readonly string[]): Promise<number> {
  const names = args.filter((argument) => argument !== '--long');
  if (names.length === 0 || names.some((name) => !Object.hasOwn(GROUPS, name))) {
    process.stderr.write(`usage: run-tests.ts ${Object.keys(GROUPS).join('|')} ... [--long]\n`);
    return 2;
  }
  const beginMs = performance.now();
  const sum = { tests: 0, suites: 0, passed: 0, failed: 0, cancelled: 0, skipped: 0, todo: 0 };
  const reporter = new spec();
  reporter.pipe(process.stdout, { end: false });
  for (const name of names) {
    const group = GROUPS[name]!;
    const files = filesOf(group, args.includes('--long'));
    if (files.length === 0) continue;
    const watch = createWatchdog(group.timeoutMs);
    for await (const event of run({ files, cwd: root, concurrency: group.concurrency, timeout: group.timeoutMs })) {
      if (event.type === 'test:summary' && event.data.file === undefined) {
        for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += event.data.counts[key];
      }
      watch(event);
      if (!isClosing(event)) reporter.write(event);
    }
  }
  const ended = new Promise((resolve) => reporter.once('end', resolve));
  reporter.end();
  await ended;
  const lines = {
    tests: sum.tests,
    suites: sum.suites,
    pass: sum.passed,
    fail: sum.failed,
    cancelled: sum.cancelled,
    skipped: sum.skipped,
    todo: sum.todo,
    duration_ms: Math.round(performance.now() - beginMs),
  };
  for (const [name, value] of Object.entries(lines)) process.stdout.write(`# ${name} ${value}\n`);
  return sum.tests > 0 && sum.failed === 0 && sum.cancelled === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
