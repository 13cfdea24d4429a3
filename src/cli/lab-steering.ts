/** `portico lab classes` and `portico lab closed-loop`: steering by what is measured, with real packets. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FleetSource } from '../api/fleet-source.ts';
import { Journal } from '../api/journal.ts';
import { startLab } from '../lab/build.ts';
import type { LabPlace } from '../lab/place.ts';
import { startPorticoInLab } from '../lab/portico.ts';
import { renderSteeringSteps, runSteeringStep, type SteeringReport } from '../lab/steering/scenario.ts';
import { REGIONS, type SteeringScenario, steeringSteps, withMode } from '../lab/steering/steps.ts';
import { startTraffic, type Traffic } from '../lab/traffic.ts';
import { parseAddress } from '../net/address.ts';
import { type CommandArguments, printJson, stringOption } from './command.ts';
import { loadConfig } from './configuration.ts';
import { dnsLines } from './explain.ts';
import { openLog, openPlainLog } from './log.ts';
import { mapLines } from './measured-text.ts';

const EXAMPLE = join(import.meta.dirname, '../../examples/classes.yaml');
/** Of each service and region. */
const NEW_PER_SECOND = 8;
const KEPT = 3;
const OPEN_LIMIT_MS = 20_000;

export async function runSteeringScenario(
  args: CommandArguments,
  place: LabPlace,
  scenario: SteeringScenario,
  serve: (source: FleetSource) => Promise<{ readonly url: string; close(): Promise<void> }>,
): Promise<number> {
  const say = (text: string): void => void (args.json || process.stdout.write(`${text}\n`));
  const config = loadConfig(stringOption(args, 'config', EXAMPLE));
  const isVerbose = args.values.verbose === true;
  const log = isVerbose || args.json ? openLog(isVerbose ? 'info' : 'error') : openPlainLog();
  const journal = new Journal(log);
  say('Building the lab: three sites, clients near two of them, a resolver, a name server.');
  const lab = await startLab({ config, place });
  const open: (() => Promise<void>)[] = [() => lab.stop()];
  try {
    const runtime = await startPorticoInLab(lab, withMode(config, 'off'), journal);
    open.push(() => runtime.stop(false));
    const source = new FleetSource({ runtime, journal, load: null });
    const api = await serve(source);
    open.push(() => api.close());
    say(`The page that shows where everything goes: ${api.url}/`);
    await runtime.untilServing(OPEN_LIMIT_MS);
    const traffic = new Map<string, Traffic>();
    for (const { name, dnsName } of config.services.values()) {
      if (dnsName === null) continue;
      const options = { name: dnsName, perRegion: KEPT, newPerSecond: NEW_PER_SECOND, ipv6Share: 0, regions: REGIONS };
      const its = startTraffic(lab, options);
      open.push(() => its.stop());
      traffic.set(name, its);
    }
    for (const its of traffic.values()) await its.untilOpen(KEPT * REGIONS.length, OPEN_LIMIT_MS);
    const explain = async (name: string, client: string) => {
      const from = parseAddress(client);
      if (from === null) throw new Error(`"${client}" is no address`);
      const answer = await source.explainDns({ name, type: 'A', from, ecs: null });
      return answer.ok ? dnsLines(answer.value as Parameters<typeof dnsLines>[0]) : [answer.error];
    };
    const mapText = () => mapLines(runtime.measured.status());
    const report = await runSteps(scenario, { runtime, config, explain, mapText }, traffic, say);
    if (args.json) printJson(report);
    else say(report.ok ? '\nEverything held.' : '\nNOT everything held: see above.');
    if (args.values.once !== true) {
      say(
        `Traffic goes on until Ctrl-C. Try: ./portico steer map${api.url.endsWith(':7077') ? '' : ` --api ${api.url}`}`,
      );
      for (;;) await sleep(3_600_000);
    }
    return report.ok ? 0 : 1;
  } finally {
    say('Taking the lab down.');
    for (const close of open.reverse())
      await close().catch((error) => {
        process.stderr.write(`portico lab: ${(error as Error).message}\n`);
        process.exitCode = 1;
      });
  }
}

async function runSteps(
  scenario: SteeringScenario,
  world: Parameters<typeof steeringSteps>[1],
  traffic: ReadonlyMap<string, Traffic>,
  say: (text: string) => void,
): Promise<SteeringReport> {
  const steps: SteeringReport['steps'][number][] = [];
  for (const step of steeringSteps(scenario, world)) {
    say(`${step.step} ... (expected: ${step.expected})`);
    const report = await runSteeringStep(traffic, step);
    steps.push(report);
    say(renderSteeringSteps([report]));
  }
  return { scenario, ok: steps.every(({ ok }) => ok), steps };
}
