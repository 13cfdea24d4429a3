/** The breakage table: rows of acts, each met by thousands of held connections of every variant at the same time. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { HeldSnapshot } from './held-report.ts';
import { backendNumber, type HeldTraffic } from './held-traffic.ts';
import { isPromised, type Row, type Stage } from './rows.ts';
import type { World } from './world.ts';

export interface BreakageStep {
  readonly step: string;
  readonly variant: string;
  /** Open when the first act began, and those that were opened between acts. */
  readonly openBefore: number;
  /** Of those, not on a machine that died. */
  readonly broken: number;
  readonly brokenOnDead: number;
  /** QUIC-like flows: all, and those broken that were not on a machine that died. */
  readonly quic: number;
  readonly quicBroken: number;
  readonly slowestMs: number;
  /** Null: the design promises nothing for this row and variant; what was measured stands here. */
  readonly expected: string | null;
  readonly ok: boolean;
  /** How the first few broke. */
  readonly why: readonly string[];
}

export interface BreakageReport {
  readonly scenario: 'breakage';
  readonly ok: boolean;
  readonly connections: number;
  readonly flows: number;
  readonly seconds: number;
  readonly limitMs: number;
  readonly periodMs: number;
  readonly steps: readonly BreakageStep[];
}

export interface BreakageOptions {
  readonly connections: number;
  readonly flows: number;
  readonly seconds: number;
  readonly limitMs: number;
  readonly periodMs: number;
  say(text: string): void;
}

/** Connections that are opened between acts instead of before. */
const REST_SHARE = 0.2;
const CALM_MS = 2_000;
const OPEN_LIMIT_MS = 120_000;
const MAX_WHY = 3;

async function hold(world: World, traffic: HeldTraffic, row: Row, options: BreakageOptions): Promise<HeldSnapshot> {
  const { connections, flows, seconds, limitMs, periodMs, say } = options;
  const rest = Math.floor(connections * REST_SHARE);
  const config = row.begin?.(world) ?? world.config(['n7']);
  await world.startPortico(config);
  await row.prepare?.(world);
  await traffic.open(connections - rest, flows, OPEN_LIMIT_MS);
  await sleep(CALM_MS);
  const beganMs = performance.now();
  let openedMs = beganMs;
  const stage: Stage = {
    world,
    say,
    openRest: async () => {
      await traffic.open(rest, 0, OPEN_LIMIT_MS);
      openedMs = performance.now();
    },
    migrate: () => traffic.order({ do: 'migrate', every: 3 }),
    pass: (share) => sleep(share * seconds * 1000),
  };
  await row.act(stage);
  // Whatever the last act broke is found within a period and the limit.
  const endMs = Math.max(openedMs + seconds * 1000, performance.now() + periodMs + limitMs + 500);
  await sleep(Math.max(0, endMs - performance.now()));
  return traffic.snapshot();
}

function stepOf(world: World, row: Row, variant: string, last: HeldSnapshot): BreakageStep {
  const counts = last.variants[variant];
  if (counts === undefined) throw new Error(`lab: nothing was held for ${variant}`);
  const dead = new Set([...world.dead].map(backendNumber));
  const wrongly = counts.broken.filter(({ backend }) => !dead.has(backend));
  const broken = wrongly.filter(({ kind }) => kind === 'tcp');
  const flows = wrongly.filter(({ kind }) => kind === 'quic');
  const all = counts.broken.filter(({ kind }) => kind === 'tcp').length;
  const promised = isPromised(variant, row);
  return {
    step: row.name,
    variant,
    openBefore: counts.open + all,
    broken: broken.length,
    brokenOnDead: all - broken.length,
    quic: counts.flowsOpen + counts.broken.length - all,
    quicBroken: flows.length,
    slowestMs: Math.round(counts.slowestMs),
    expected: promised ? 'no connection breaks but on a machine that died' : null,
    ok: !promised || (wrongly.length === 0 && counts.refused === 0),
    why: [
      ...wrongly
        .slice(0, MAX_WHY)
        .map(
          ({ kind, from, backend, why, migrated }) =>
            `${kind} ${from}${migrated ? ' (moved)' : ''} on n${backend}: ${why}`,
        ),
      ...(counts.refused > 0 ? [`${counts.refused} could not be opened`] : []),
    ],
  };
}

export async function runRow(
  world: World,
  traffic: HeldTraffic,
  row: Row,
  options: BreakageOptions,
): Promise<BreakageStep[]> {
  options.say(`${row.name}: ${row.summary} ...`);
  try {
    const last = await hold(world, traffic, row, options);
    const steps = world.variants.map((variant) => stepOf(world, row, variant, last));
    for (const step of steps) options.say(`  ${renderStep(step)}`);
    options.say(`  (the client was late by ${Math.round(last.lateMs)} ms at most)`);
    return steps;
  } finally {
    traffic.order({ do: 'close' });
    await world.stopPortico();
  }
}

function renderStep(step: BreakageStep): string {
  const { variant, openBefore, broken, brokenOnDead, quic, quicBroken, slowestMs, expected, ok, why } = step;
  const verdict = expected === null ? 'as measured' : ok ? 'held' : 'DID NOT HOLD';
  const dead = brokenOnDead > 0 ? `, ${brokenOnDead} on the dead machine` : '';
  const line = `${variant.padEnd(18)} ${broken} of ${openBefore} broken${dead}; QUIC-like ${quicBroken} of ${quic}; slowest answer ${slowestMs} ms: ${verdict}`;
  return [line, ...(broken + quicBroken > 0 || !ok ? why : [])].join('\n      ');
}

/** The table for people: a line a row, a column a variant: broken connections / broken flows. */
export function renderBreakage(report: BreakageReport): string {
  const { steps } = report;
  const variants = [...new Set(steps.map(({ variant }) => variant))];
  const rows = [...new Set(steps.map(({ step }) => step))];
  const cell = (row: string, variant: string): string => {
    const step = steps.find((one) => one.step === row && one.variant === variant);
    if (step === undefined) return '';
    const dead = step.brokenOnDead > 0 ? ` (+${step.brokenOnDead})` : '';
    const mark = step.expected === null ? '*' : step.ok ? '' : ' NO';
    return `${step.broken}/${step.quicBroken}${dead}${mark}`;
  };
  const table = [
    ['broken TCP/QUIC', ...variants],
    ...rows.map((row) => [row, ...variants.map((one) => cell(row, one))]),
  ];
  const widths = (table[0] as string[]).map((_, column) =>
    Math.max(...table.map((line) => (line[column] ?? '').length)),
  );
  const lines = table.map((line) =>
    line
      .map((text, column) => text.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return [
    ...lines,
    '',
    `${report.connections} connections and ${report.flows} flows of each variant, held for ${report.seconds} s a row; a message every ${report.periodMs} ms,`,
    `broken: reset, wrong content, another backend, or no answer within ${report.limitMs} ms.`,
    '(+n): were on a machine that died. *: not promised, as measured. NO: did not hold.',
  ].join('\n');
}
