/** The breakage table: rows of acts, each met by thousands of held connections of every variant at the same time. */
import { setTimeout as sleep } from 'node:timers/promises';
import { startAttack } from '../attack/attack.ts';
import type { AttackKind } from '../attack/attack-frames.ts';
import type { HeldAmount, HeldSnapshot } from './held-report.ts';
import { backendNumber, type HeldTraffic } from './held-traffic.ts';
import { isPromised } from './rows.ts';
import { type Row, type Stage, without } from './stage.ts';
import type { World } from './world.ts';

/** Packets a second to the VIPs: null where the row has no flood. */
export interface FloodRates {
  readonly legitimatePerSecond: number | null;
  readonly floodPerSecond: number | null;
}

export interface BreakageStep extends FloodRates {
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
  /** Of the variant that is named first. */
  readonly connections: number;
  /** Of each other variant. */
  readonly beside: number;
  /** Of the variant that is named first; others have as many for their connections. */
  readonly flows: number;
  readonly seconds: number;
  readonly limitMs: number;
  readonly periodMs: number;
  readonly steps: readonly BreakageStep[];
}

export interface BreakageOptions {
  readonly connections: number;
  readonly beside: number;
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
/** Every so-manieth flow changes its address. */
const MIGRATED = 3;
const MEASURE_MS = 5_000;

type Amounts = Record<'before' | 'rest', Readonly<Record<string, HeldAmount>>>;

/** What is opened before the acts, and between them. */
function amountsOf(world: World, variants: readonly string[], options: BreakageOptions): Amounts {
  const of = (amount: (all: number, flows: number) => HeldAmount) =>
    Object.fromEntries(
      variants.map((variant) => {
        const { connections, beside, flows } = options;
        if (variant === world.variants[0]) return [variant, amount(connections, flows)];
        return [variant, amount(beside, Math.ceil((flows * beside) / connections))];
      }),
    );
  const rest = (all: number): number => Math.floor(all * REST_SHARE);
  return {
    before: of((all, flows) => ({ connections: all - rest(all), flows })),
    rest: of((all) => ({ connections: rest(all), flows: 0 })),
  };
}

/** A row's acts, and what they may use: see `Stage`. */
class RunningStage implements Stage {
  readonly world: World;
  readonly rates: { -readonly [K in keyof FloodRates]: FloodRates[K] } = {
    legitimatePerSecond: null,
    floodPerSecond: null,
  };
  /** What it took until the first connections could be opened. */
  startMs = 0;
  /** When the last connections were open. */
  openedMs = performance.now();
  readonly amounts: Amounts;
  readonly #traffic: HeldTraffic;
  readonly #variants: readonly string[];
  readonly #options: BreakageOptions;

  constructor(world: World, traffic: HeldTraffic, variants: readonly string[], options: BreakageOptions) {
    this.world = world;
    this.#traffic = traffic;
    this.#variants = variants;
    this.#options = options;
    this.amounts = amountsOf(world, variants, options);
  }

  say = (text: string): void => this.#options.say(text);
  wait = (ms: number): Promise<void> => sleep(ms);
  pass = (share: number): Promise<void> => sleep(share * this.#options.seconds * 1000);
  migrate = (): void => this.#traffic.order({ do: 'migrate', every: MIGRATED });
  drop = (connections: number): void => this.#traffic.order({ do: 'drop', connections });

  openRest = async (): Promise<void> => {
    await this.#traffic.open(this.amounts.rest, OPEN_LIMIT_MS);
    this.openedMs = performance.now();
  };

  packetRate = async (): Promise<number> => {
    const beganMs = performance.now();
    const before = this.world.countPackets(this.#variants);
    await sleep(MEASURE_MS);
    const packets = this.world.countPackets(this.#variants) - before;
    const rate = Math.round((packets * 1000) / (performance.now() - beganMs));
    this.rates.legitimatePerSecond = rate;
    return rate;
  };

  flood = async (kind: AttackKind, perSecond: number): Promise<() => Promise<void>> => {
    const targets = this.world.targets(this.#variants);
    const attack = await startAttack(this.world.lab, { targets, perSecond: { [kind]: perSecond }, seed: 1 });
    return async () => {
      const { sent, refused, seconds } = await attack.stop();
      const total = Object.values(sent).reduce((sum, count) => sum + count, 0) - refused;
      this.rates.floodPerSecond = Math.round(total / seconds);
    };
  };
}

function seconds(ms: number): number {
  return Math.round(ms / 1000);
}

async function hold(
  stage: RunningStage,
  traffic: HeldTraffic,
  row: Row,
  options: BreakageOptions,
): Promise<HeldSnapshot> {
  const { limitMs, periodMs } = options;
  const { world } = stage;
  const beganMs = performance.now();
  await world.startPortico(row.begin?.(world) ?? without(world));
  await row.prepare?.(world);
  stage.startMs = performance.now() - beganMs;
  await traffic.open(stage.amounts.before, OPEN_LIMIT_MS);
  await sleep(CALM_MS);
  stage.openedMs = performance.now();
  for (const act of row.acts) await act(stage);
  // Whatever the last act broke is found within a period and the limit.
  const endMs = Math.max(stage.openedMs + options.seconds * 1000, performance.now() + periodMs + limitMs + 500);
  await sleep(Math.max(0, endMs - performance.now()));
  return traffic.snapshot();
}

function stepOf(world: World, row: Row, variant: string, last: HeldSnapshot): Omit<BreakageStep, keyof FloodRates> {
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
      ...(counts.refused > 0 ? [`${counts.refused} could not be opened: ${counts.refusals.join('; ')}`] : []),
    ],
  };
}

async function runGroup(
  world: World,
  traffic: HeldTraffic,
  row: Row,
  variants: readonly string[],
  options: BreakageOptions,
): Promise<BreakageStep[]> {
  const stage = new RunningStage(world, traffic, variants, options);
  const cpu = process.cpuUsage();
  const beganMs = performance.now();
  try {
    const last = await hold(stage, traffic, row, options);
    const steps = variants.map((variant) => ({ ...stepOf(world, row, variant, last), ...stage.rates }));
    for (const step of steps) options.say(`  ${renderStep(step)}`);
    const { user, system } = process.cpuUsage(cpu);
    const own = Math.round((user + system) / 10 / (performance.now() - beganMs));
    options.say(
      `  (${seconds(performance.now() - beganMs)} s, ${seconds(stage.startMs)} s of it to start; the client was late by ${Math.round(last.lateMs)} ms at most; Portico and the lab took ${own} % of a processor)`,
    );
    return steps;
  } finally {
    traffic.order({ do: 'close' });
    await world.stopPortico();
  }
}

export async function runRow(
  world: World,
  traffic: HeldTraffic,
  row: Row,
  options: BreakageOptions,
): Promise<BreakageStep[]> {
  options.say(`${row.name}: ${row.summary} ...`);
  const [first, ...others] = world.variants;
  const groups = row.apart ? [[first], others].filter((group) => group.length > 0) : [world.variants];
  const steps: BreakageStep[] = [];
  for (const variants of groups) steps.push(...(await runGroup(world, traffic, row, variants, options)));
  return steps;
}

function renderStep(step: BreakageStep): string {
  const { variant, openBefore, broken, brokenOnDead, quic, quicBroken, slowestMs, expected, ok, why } = step;
  const verdict = expected === null ? 'as measured' : ok ? 'held' : 'DID NOT HOLD';
  const dead = brokenOnDead > 0 ? `, ${brokenOnDead} on the dead machine` : '';
  const { legitimatePerSecond: legitimate, floodPerSecond: flood } = step;
  const floods = flood === null ? '' : `; flood ${flood}/s${legitimate === null ? '' : ` on ${legitimate}/s`}`;
  const line = `${variant.padEnd(18)} ${broken} of ${openBefore} broken${dead}; QUIC-like ${quicBroken} of ${quic}; slowest answer ${slowestMs} ms${floods}: ${verdict}`;
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
    `${report.connections} connections and ${report.flows} flows of ${variants[0]}, ${report.beside} connections of each other, held for ${report.seconds} s a row; a message every ${report.periodMs} ms,`,
    `broken: reset, wrong content, another backend, or no answer within ${report.limitMs} ms.`,
    '(+n): were on a machine that died. *: not promised, as measured. NO: did not hold.',
  ].join('\n');
}
