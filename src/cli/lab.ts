/** `portico lab`: the small internet, and what can be watched in it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { FleetSource } from '../api/fleet-source.ts';
import { Journal } from '../api/journal.ts';
import { startApi } from '../api/server.ts';
import type { Config } from '../config/model.ts';
import type { Lab } from '../lab/build.ts';
import { startLab } from '../lab/build.ts';
import { startPorticoInLab } from '../lab/portico.ts';
import { renderSteps, runStep, type StepReport, type TourReport } from '../lab/tour.ts';
import { castTour, tourSteps, withoutBackend } from '../lab/tour-steps.ts';
import { startTraffic } from '../lab/traffic.ts';
import { type Command, type CommandArguments, CommandError, printJson, stringOption, UsageError } from './command.ts';
import { loadConfig } from './configuration.ts';
import { openLog } from './log.ts';

const EXAMPLE = new URL('../../examples/two-sites.yaml', import.meta.url).pathname;
const SCENARIOS = { tour: 'backends, a balancer and a site come, go and die under real traffic' } as const;
const PER_REGION = 110;
const OPEN_LIMIT_MS = 20_000;

export const command: Command = {
  name: 'lab',
  summary: 'a small internet on this machine, to try Portico in',
  usage: '[SCENARIO] [--once] [--config FILE] | list',
  example: './portico lab tour --once',
  options: {
    once: { type: 'boolean', help: 'run the scenario, print its table and end; status 0 only if everything held' },
    config: { type: 'string', placeholder: 'FILE', help: 'configuration (default examples/two-sites.yaml)' },
    verbose: { type: 'boolean', short: 'v', help: 'log what every role does' },
  },
  async run(args: CommandArguments): Promise<number> {
    const [scenario = 'tour', extra] = args.positionals;
    if (extra !== undefined) throw new UsageError(`"${extra}" is one argument too many.`);
    if (scenario === 'list') return listScenarios(args.json);
    if (!Object.hasOwn(SCENARIOS, scenario))
      throw new UsageError(`There is no scenario "${scenario}"; there are: ${Object.keys(SCENARIOS).join(', ')}.`);
    if (process.getuid?.() !== 0)
      throw new CommandError('the lab needs root: it makes network namespaces and loads kernel programs.');
    return runTour(args);
  },
};

function listScenarios(json: boolean): number {
  if (json) printJson(SCENARIOS);
  else for (const [name, summary] of Object.entries(SCENARIOS)) process.stdout.write(`${name.padEnd(8)}${summary}\n`);
  return 0;
}

async function runTour(args: CommandArguments): Promise<number> {
  const once = args.values.once === true;
  const say = (text: string): void => void (args.json || process.stdout.write(`${text}\n`));
  const config = loadConfig(stringOption(args, 'config', EXAMPLE));
  const cast = castTour(config);
  const log = openLog(args.values.verbose === true ? 'info' : 'error');
  const journal = new Journal(log);
  say('Building the lab: two sites, their routers, balancers and backends, clients, a resolver, name servers.');
  const lab = await startLab({ config });
  try {
    say('Starting Portico on its machines.');
    const runtime = await startPorticoInLab(lab, withoutBackend(config, cast.added), journal);
    const source = new FleetSource({ runtime, journal, load: null });
    const api = await startApi({ host: config.api.host, port: config.api.port, source, log });
    try {
      say(`The page that shows where everything goes: http://${config.api.host}:${config.api.port}/`);
      await runtime.untilServing(OPEN_LIMIT_MS);
      const report = await tour(lab, { config, cast, runtime, source, say });
      if (args.json) printJson(report);
      else
        say(`\n${renderSteps(report.steps)}\n\n${report.ok ? 'Everything held.' : 'NOT everything held: see above.'}`);
      if (!once) await untilInterrupted(say, `http://${config.api.host}:${config.api.port}/`);
      return report.ok ? 0 : 1;
    } finally {
      await api.close();
      await runtime.stop(false);
    }
  } finally {
    say('Taking the lab down.');
    await lab.stop();
  }
}

interface TourContext {
  readonly config: Config;
  readonly cast: ReturnType<typeof castTour>;
  readonly runtime: Awaited<ReturnType<typeof startPorticoInLab>>;
  readonly source: FleetSource;
  say(text: string): void;
}

async function tour(lab: Lab, context: TourContext): Promise<TourReport> {
  const { config, cast, runtime, source, say } = context;
  const traffic = startTraffic(lab, { perRegion: PER_REGION });
  try {
    const regions = lab.machinesOf('client').length;
    await traffic.untilOpen(PER_REGION * regions, OPEN_LIMIT_MS);
    say(
      `${PER_REGION * regions} keep-alive connections are open from ${regions} regions; new ones begin all the time.\n`,
    );
    const drainBackend = async (name: string): Promise<void> => {
      const result = await source.drain('backend', name);
      if (!result.ok) throw new Error(`${result.error}; ${result.remedy}`);
    };
    const steps: StepReport[] = [];
    for (const step of tourSteps({ lab, runtime, full: config, cast, drainBackend })) {
      say(`${step.step} ... (expected: ${step.expected})`);
      const report = await runStep(traffic, step);
      steps.push(report);
      say(
        `  ${report.ok ? 'held' : 'DID NOT HOLD'}: ${report.openBefore} open before, ${report.broken} broken, ${report.newFailed} of ${report.newOk + report.newFailed} new failed, steady after ${report.steadyAfterMs ?? 'more than the limit of'} ms`,
      );
      await traffic.untilOpen(PER_REGION * regions, OPEN_LIMIT_MS);
    }
    return { scenario: 'tour', ok: steps.every((step) => step.ok), connections: PER_REGION * regions, steps };
  } finally {
    await traffic.stop();
  }
}

async function untilInterrupted(say: (text: string) => void, url: string): Promise<void> {
  say(`\nThe lab goes on until Ctrl-C. Look at ${url}, or try in another terminal:`);
  say('  ./portico status\n  ./portico explain dns www.example.test --from 203.0.113.200');
  for (;;) await sleep(3_600_000);
}
