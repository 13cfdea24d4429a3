/** `portico lab`: the small internet, and what can be watched in it. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FleetSource } from '../api/fleet-source.ts';
import { Journal } from '../api/journal.ts';
import { type Api, type ApiOptions, startApi } from '../api/server.ts';
import type { Config } from '../config/model.ts';
import type { Runtime } from '../fleet/runtime.ts';
import type { Lab } from '../lab/build.ts';
import { startLab } from '../lab/build.ts';
import { DEFAULT_PLACE, type LabPlace, labPlace } from '../lab/place.ts';
import { startPorticoInLab } from '../lab/portico.ts';
import { renderSteps, runStep, type StepReport, type TourReport } from '../lab/tour.ts';
import { castTour, type TourCast, tourSteps, withoutBackend } from '../lab/tour-steps.ts';
import { startTraffic, type Traffic } from '../lab/traffic.ts';
import { type Command, type CommandArguments, CommandError, printJson, stringOption, UsageError } from './command.ts';
import { loadConfig } from './configuration.ts';
import { runAttackScenario } from './lab-attack.ts';
import { BREAKAGE_OPTIONS, runBreakage } from './lab-breakage.ts';
import { runSteeringScenario } from './lab-steering.ts';
import { openLog, openPlainLog } from './log.ts';

const EXAMPLE = join(import.meta.dirname, '../../examples/two-sites.yaml');
const SCENARIOS = {
  tour: 'backends, a balancer and a site come, go and die under real traffic',
  breakage: 'what breaks connections: rows of changes, deaths and floods against thousands of held ones',
  attack:
    'fragments, malformed headers, spoofed encapsulation, ICMP and SYN floods at once, while connections carry data',
  classes: 'steering by what is measured: the same users get another site for search, for upload and for batch',
  'closed-loop':
    'steering by what is measured: a region is sent to the site that is far on the map, but near by packets',
} as const;
const PER_REGION = 110;
const OPEN_LIMIT_MS = 20_000;

export const command: Command = {
  name: 'lab',
  summary: 'a small internet on this machine, to try Portico in',
  usage: '[SCENARIO] [--once] [--config FILE] [--place NAME] [--rows LIST] [--variants LIST] | list',
  example: './portico lab tour --once',
  options: {
    once: { type: 'boolean', help: 'run the scenario, print its table and end; status 0 only if everything held' },
    config: { type: 'string', placeholder: 'FILE', help: 'configuration (default examples/two-sites.yaml)' },
    place: {
      type: 'string',
      placeholder: 'NAME',
      help: `what its namespaces, files and pins begin with; labs at other places may run at the same time (default PORTICO_LAB_PLACE, else ${DEFAULT_PLACE})`,
    },
    ...BREAKAGE_OPTIONS,
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
    const place = placeOf(args);
    if (scenario === 'breakage') return runBreakage(args, place);
    if (scenario === 'classes' || scenario === 'closed-loop')
      return runSteeringScenario(args, place, scenario, (source) =>
        startApiSomewhere({ host: '127.0.0.1', port: 7077, source, log: openLog('error') }),
      );
    return scenario === 'attack' ? runAttackScenario(args, place) : runTour(args, place);
  },
};

function listScenarios(json: boolean): number {
  if (json) printJson(SCENARIOS);
  else for (const [name, summary] of Object.entries(SCENARIOS)) process.stdout.write(`${name.padEnd(12)}${summary}\n`);
  return 0;
}

function placeOf(args: CommandArguments): LabPlace {
  const name = stringOption(args, 'place', process.env.PORTICO_LAB_PLACE ?? DEFAULT_PLACE);
  const place = labPlace(name);
  if (place === null) throw new UsageError(`"${name}" is no place: 1 to 20 lower-case letters and digits.`);
  return place;
}

async function runTour(args: CommandArguments, place: LabPlace): Promise<number> {
  const once = args.values.once === true;
  const say = (text: string): void => void (args.json || process.stdout.write(`${text}\n`));
  const config = loadConfig(stringOption(args, 'config', EXAMPLE));
  const cast = castTour(config);
  const isVerbose = args.values.verbose === true;
  const log = isVerbose || args.json ? openLog(isVerbose ? 'info' : 'error') : openPlainLog();
  const journal = new Journal(log);
  say('Building the lab: two sites, their routers, balancers and backends, clients, a resolver, name servers.');
  const lab = await startLab({ config, place });
  const open: (() => Promise<void>)[] = [() => lab.stop()];
  try {
    say('Starting Portico on its machines.');
    const runtime = await startPorticoInLab(lab, withoutBackend(config, cast.added), journal);
    open.push(() => runtime.stop(false));
    const source = new FleetSource({ runtime, journal, load: null });
    const api = await startApiSomewhere({ ...config.api, source, log });
    open.push(() => api.close());
    say(`The page that shows where everything goes: ${api.url}/`);
    await runtime.untilServing(OPEN_LIMIT_MS);
    const traffic = startTraffic(lab, { perRegion: PER_REGION });
    open.push(() => traffic.stop());
    const context = { lab, config, cast, runtime, source, traffic, say };
    const report = await tour(context);
    if (args.json) printJson(report);
    else say(`\n${renderSteps(report.steps)}\n\n${report.ok ? 'Everything held.' : 'NOT everything held: see above.'}`);
    if (!once) await goOn(context, api.url);
    return report.ok ? 0 : 1;
  } finally {
    say('Taking the lab down.');
    // The lab itself comes last, and goes whatever else does not.
    for (const close of open.reverse())
      await close().catch((error) => {
        process.stderr.write(`portico lab: ${(error as Error).message}\n`);
        process.exitCode = 1;
      });
  }
}

/** At the configured port, or where that is taken, at a free one: the lab is for looking, and says where. */
async function startApiSomewhere(options: ApiOptions): Promise<Api> {
  try {
    return await startApi(options);
  } catch (error) {
    if (((error as Error).cause as NodeJS.ErrnoException | undefined)?.code !== 'EADDRINUSE') throw error;
    return startApi({ ...options, port: 0 });
  }
}

interface TourContext {
  readonly lab: Lab;
  readonly config: Config;
  readonly cast: TourCast;
  readonly runtime: Runtime;
  readonly source: FleetSource;
  readonly traffic: Traffic;
  say(text: string): void;
}

async function tour({ lab, config, cast, runtime, source, traffic, say }: TourContext): Promise<TourReport> {
  const regions = lab.machinesOf('client').length;
  const connections = PER_REGION * regions;
  await traffic.untilOpen(connections, OPEN_LIMIT_MS);
  say(`${connections} keep-alive connections are open from ${regions} regions; new ones begin all the time.\n`);
  const drainBackend = async (name: string): Promise<void> => {
    const result = await source.drain('backend', name);
    if (!result.ok) throw new Error(`${result.error}; ${result.remedy}`);
  };
  const steps: StepReport[] = [];
  for (const step of tourSteps({ lab, runtime, full: config, cast, drainBackend })) {
    say(`${step.step} ... (expected: ${step.expected})`);
    const report = await runStep(traffic, step);
    steps.push(report);
    const { openBefore, broken, newFailed, newOk, steadyAfterMs } = report;
    const steady = steadyAfterMs === null ? 'not steady within the limit' : `steady after ${steadyAfterMs} ms`;
    const counts = `${openBefore} open before, ${broken} broken, ${newFailed} of ${newOk + newFailed} new failed`;
    say(`  ${report.ok ? 'held' : 'DID NOT HOLD'}: ${counts}, ${steady}`);
    await traffic.untilOpen(connections, OPEN_LIMIT_MS);
  }
  return { scenario: 'tour', ok: steps.every((step) => step.ok), connections, steps };
}

/** Brings back what died, and keeps traffic going for whoever looks. Ends with the process, by a signal. */
async function goOn({ lab, config, cast, source, say }: TourContext, url: string): Promise<never> {
  const { host, port } = config.api;
  const where = url.endsWith(`${host}:${port}`) ? '' : ` --api ${url}`;
  await lab.restoreBackend(cast.killed);
  await lab.restoreBalancer(cast.killedBalancer);
  await source.undrain('backend', cast.drained);
  say(`\nWhat died is back, and traffic goes on until Ctrl-C. Look at ${url}/, or try in another terminal:`);
  for (const command of [
    'status',
    'explain dns www.example.test --from 203.0.113.200',
    'explain flow 203.0.113.5:40000 192.0.2.10:80',
    'drain site us',
  ])
    say(`  ./portico ${command}${where}`);
  for (;;) await sleep(3_600_000);
}
