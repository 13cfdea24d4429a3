/** `portico simulate FILE`: steering in a synthetic internet, scored by its truth. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { ConfigProblem } from '../config/problem.ts';
import { readInteger } from '../config/units.ts';
import { formatNumber, formatPercent } from '../simulate/report/axis.ts';
import { renderPage } from '../simulate/report/page.ts';
import type { CheckResult, SimulationResult } from '../simulate/report/result.ts';
import { type Progress, runSimulation, worldOf } from '../simulate/run.ts';
import { parseScenario, type Scenario } from '../simulate/scenario.ts';
import { missingIn } from '../simulate/schedule.ts';
import { takePositionals } from './arguments.ts';
import { type Command, type CommandArguments, CommandError, printJson, stringOption, UsageError } from './command.ts';

/** Between two lines of progress. */
const PROGRESS_MS = 10_000;

export const command: Command = {
  name: 'simulate',
  summary: 'steering in a synthetic internet, scored by its truth',
  usage: 'FILE [--out report.html] [--seed N] [--assert] [--quiet] [--json]',
  example: './portico simulate examples/simulations/small.yaml --out report.html',
  options: {
    out: { type: 'string', placeholder: 'FILE', help: 'write a report with plots' },
    seed: { type: 'string', placeholder: 'N', help: "instead of the file's" },
    assert: { type: 'boolean', help: 'exit status 1 if a claim does not hold' },
    quiet: { type: 'boolean', help: 'no progress on standard error' },
  },
  async run(args) {
    const [file] = takePositionals(args, ['FILE']) as [string];
    const scenario = withSeed(loadScenario(file), args);
    const world = worldOf(scenario);
    const missing = missingIn(world, scenario);
    if (missing.length > 0) throw new CommandError(`${file}: ${missing.join('; ')}.`);
    const result = finish(
      runSimulation(world, scenario, () => performance.now()),
      scenario,
      args.values.quiet === true,
    );
    const out = stringOption(args, 'out', '');
    if (out !== '') writeReport(out, result);
    if (args.json) printJson(result);
    else process.stdout.write(renderResult(result, out));
    return args.values.assert === true && result.checks.some(({ holds }) => holds === false) ? 1 : 0;
  },
};

function loadScenario(file: string): Scenario {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new CommandError(`${file} cannot be read: ${(error as Error).message}.`);
  }
  const result = parseScenario(text);
  if (result.ok) return result.scenario;
  throw new CommandError(`${file} is no scenario:\n${result.problems.map(describeProblem).join('\n')}`);
}

function describeProblem({ line, column, path, message, remedy, value }: ConfigProblem): string {
  const where = path === '' ? '' : ` ${path}:`;
  return `  ${line}:${column}:${where} ${message}${value === '' ? '' : ` (${value})`}; ${remedy}.`;
}

function withSeed(scenario: Scenario, args: CommandArguments): Scenario {
  const given = stringOption(args, 'seed', '');
  if (given === '') return scenario;
  const reading = readInteger(Number(given), 0, 2 ** 32 - 1);
  if (!reading.ok) throw new UsageError(`--seed ${given}: ${reading.message}; ${reading.remedy}.`);
  return { ...scenario, seed: reading.value };
}

/** Runs to the end, and tells how far it is. */
function finish(run: Generator<Progress, SimulationResult>, { hours }: Scenario, isQuiet: boolean): SimulationResult {
  const beganMs = performance.now();
  let toldMs = beganMs;
  for (;;) {
    const next = run.next();
    if (next.done === true) return next.value;
    const nowMs = performance.now();
    if (isQuiet || nowMs - toldMs < PROGRESS_MS) continue;
    toldMs = nowMs;
    const { hour, steeredMs, bestMs } = next.value;
    const leftMinutes = ((nowMs - beganMs) / 60_000 / hour) * (hours - hour);
    process.stderr.write(
      `hour ${hour.toFixed(2)} of ${hours}: ${formatNumber(steeredMs)} ms, best of DNS ${formatNumber(bestMs)} ms; ${formatNumber(leftMinutes)} minutes left\n`,
    );
  }
}

function writeReport(out: string, result: SimulationResult): void {
  try {
    writeFileSync(out, renderPage(result));
  } catch (error) {
    throw new CommandError(`${out} cannot be written: ${(error as Error).message}.`);
  }
}

function renderResult(result: SimulationResult, out: string): string {
  const { rtt, churn, load, ran, prefixes, resolvers, hours, name } = result;
  const { mean } = rtt;
  const lines = [
    `${name}: ${prefixes} client prefixes, ${resolvers} resolvers, ${load.sites.length} sites, ${hours} hours in ${formatNumber(ran.seconds)} s`,
    'mean round trip after the first hour:',
    ...(
      [
        ['steered', mean.steered],
        ['best of DNS', mean.bestOfDns],
        ['per user', mean.perUser],
        ['nearest to resolver', mean.nearestToResolver],
        ['geography', mean.geography],
      ] as const
    ).map(([way, ms]) => `  ${way.padEnd(20)} ${ms.toFixed(1).padStart(6)} ms`),
    `moved in an hour: ${formatPercent(churn.quietPerHour, 2)} of the demand in quiet ones, ${formatPercent(churn.meanPerHour, 2)} on average`,
    ...result.checks.map(describeCheck),
    ...(out === '' ? [] : [`report: ${out}`]),
  ];
  return `${lines.join('\n')}\n`;
}

function describeCheck({ claim, value, limit, relation, isShare, holds, detail }: CheckResult): string {
  const write = (number: number) => (isShare ? formatPercent(number, 2) : formatNumber(number));
  const verdict = holds === null ? '--  ' : holds ? 'ok  ' : 'FAIL';
  return `${verdict} ${claim}: ${write(value)} (${relation} ${write(limit)})${detail === '' ? '' : `, ${detail}`}`;
}
