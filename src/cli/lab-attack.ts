/** `portico lab attack`: everything bad at once, while connections carry data. */
import { ATTACK_RATES, runAttack } from '../lab/attack/attack-run.ts';
import type { LabPlace } from '../lab/place.ts';
import { type CommandArguments, printJson } from './command.ts';
import { numberOption, withBreakageLab } from './lab-breakage.ts';

/** One of 500 connections asks ten times a second: near to what a machine with 2 processors carries (see --flat-out). */
const PERIOD_MS = 100;
const LIMIT_MS = 5_000;
const OPEN_PER_SECOND = 500;

export async function runAttackScenario(args: CommandArguments, place: LabPlace): Promise<number> {
  const traffic = {
    variants: ['gre'],
    periodMs: PERIOD_MS,
    limitMs: LIMIT_MS,
    openPerSecond: OPEN_PER_SECOND,
    closedLoop: args.values['flat-out'] === true,
  };
  const report = await withBreakageLab(args, place, traffic, (world, held, say) =>
    runAttack(world, held, {
      connections: numberOption(args, 'connections', 500),
      flows: numberOption(args, 'flows', 50),
      seconds: numberOption(args, 'seconds', 60),
      rates: ATTACK_RATES,
      say,
    }),
  );
  if (args.json) printJson(report);
  else {
    const percent = (share: number) => `${Math.round(share * 100)} %`;
    const share = `goodput ${percent(report.goodputShare)} of the control run's, under ${percent(report.attackShare)} of its attack`;
    process.stdout.write(`\n${share}\n${report.ok ? 'Everything held.' : 'NOT everything held: see above.'}\n`);
  }
  return report.ok ? 0 : 1;
}
