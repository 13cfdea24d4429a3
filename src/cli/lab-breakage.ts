/** `portico lab breakage`: what breaks connections, and what does not. */
import { join } from 'node:path';
import { type BreakageReport, type BreakageStep, renderBreakage, runRow } from '../lab/breakage/breakage.ts';
import { type HeldTraffic, type HeldTrafficOptions, startHeldTraffic } from '../lab/breakage/held-traffic.ts';
import { ROWS } from '../lab/breakage/rows.ts';
import { World } from '../lab/breakage/world.ts';
import { startLab } from '../lab/build.ts';
import type { LabPlace } from '../lab/place.ts';
import { type Command, type CommandArguments, printJson, stringOption, UsageError } from './command.ts';
import { loadConfig } from './configuration.ts';
import { openLog } from './log.ts';

const CONFIGURATION = join(import.meta.dirname, '../../examples/breakage.yaml');
const PERIOD_MS = 2_000;
const LIMIT_MS = 5_000;
const OPEN_PER_SECOND = 1_000;

export const BREAKAGE_OPTIONS: Command['options'] = {
  rows: { type: 'string', placeholder: 'LIST', help: 'breakage: these rows only, as add,drain (default all)' },
  variants: { type: 'string', placeholder: 'LIST', help: 'breakage: these services only, as gre,ipip (default all)' },
  seconds: {
    type: 'string',
    placeholder: 'N',
    help: 'breakage, attack: how long connections are held in each row or run (default 60)',
  },
  connections: {
    type: 'string',
    placeholder: 'N',
    help: 'breakage: connections of the first of the services (default 2000); attack: of all (default 500)',
  },
  beside: { type: 'string', placeholder: 'N', help: 'breakage: connections of each other service (default 400)' },
  'flat-out': {
    type: 'boolean',
    help: 'attack: connections ask again as soon as they have an answer, instead of ten times a second',
  },
  flows: {
    type: 'string',
    placeholder: 'N',
    help: 'breakage: QUIC-like flows of the first of the services, others in proportion (default 200); attack: of all (default 50)',
  },
};

function listOption(args: CommandArguments, name: string, known: readonly string[]): readonly string[] {
  const text = stringOption(args, name, '');
  if (text === '') return known;
  const names = text.split(',');
  for (const one of names)
    if (!known.includes(one)) throw new UsageError(`--${name}: there is no "${one}"; there are: ${known.join(', ')}.`);
  return names;
}

export function numberOption(args: CommandArguments, name: string, fallback: number): number {
  const text = stringOption(args, name, String(fallback));
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 100_000)
    throw new UsageError(`--${name}: "${text}" is no whole number from 1 to 100000.`);
  return value;
}

/** Builds the lab and the traffic, runs `run`, and takes all of it away again. */
export async function withBreakageLab<T>(
  args: CommandArguments,
  place: LabPlace,
  options: HeldTrafficOptions,
  run: (world: World, traffic: HeldTraffic, say: (text: string) => void) => Promise<T>,
): Promise<T> {
  const say = (text: string): void => void (args.json ? process.stderr : process.stdout).write(`${text}\n`);
  const config = loadConfig(stringOption(args, 'config', CONFIGURATION));
  const log = openLog(args.values.verbose === true ? 'info' : 'error');
  const { variants } = options;
  say(`Building the lab: a router, three balancers, backends, ${variants.length} services: ${variants.join(', ')}.`);
  const lab = await startLab({ config, place });
  try {
    const traffic = await startHeldTraffic(lab, config, options);
    try {
      return await run(new World(lab, config, variants, log), traffic, say);
    } finally {
      await traffic.stop();
    }
  } finally {
    say('Taking the lab down.');
    await lab.stop();
  }
}

export async function runBreakage(args: CommandArguments, place: LabPlace): Promise<number> {
  const config = loadConfig(stringOption(args, 'config', CONFIGURATION));
  const variants = listOption(args, 'variants', [...config.services.keys()]);
  const known = ROWS.map(({ name }) => name);
  const names = listOption(args, 'rows', known);
  const connections = numberOption(args, 'connections', 2_000);
  const limits = {
    connections,
    beside: numberOption(args, 'beside', Math.min(400, connections)),
    flows: numberOption(args, 'flows', 200),
    seconds: numberOption(args, 'seconds', 60),
    limitMs: LIMIT_MS,
    periodMs: PERIOD_MS,
  };
  const options = {
    variants,
    periodMs: PERIOD_MS,
    limitMs: LIMIT_MS,
    openPerSecond: OPEN_PER_SECOND,
    closedLoop: false,
  };
  const steps = await withBreakageLab(args, place, options, async (world, traffic, say) => {
    const done: BreakageStep[] = [];
    for (const row of ROWS)
      if (names.includes(row.name)) done.push(...(await runRow(world, traffic, row, { ...limits, say })));
    return done;
  });
  const report: BreakageReport = { scenario: 'breakage', ok: steps.every(({ ok }) => ok), ...limits, steps };
  if (args.json) printJson(report);
  else
    process.stdout.write(
      `\n${renderBreakage(report)}\n\n${report.ok ? 'Everything held.' : 'NOT everything held: see above.'}\n`,
    );
  return report.ok ? 0 : 1;
}
