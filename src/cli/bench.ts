/** `portico bench SUBJECT`: runs one of the scripts in `bench/`. */
import { type Command, CommandError, printJson, UsageError } from './command.ts';

/** Subject -> its module, loaded when asked for: `runBench(options: BenchOptions): Promise<BenchResult>`. */
const SUBJECTS = {
  vip: () => import('../../bench/vip.ts'),
  tables: () => import('../../bench/tables.ts'),
  prefixes: () => import('../../bench/prefixes.ts'),
  scale: () => import('../../bench/scale.ts'),
  dns: () => import('../../bench/dns.ts'),
  steering: () => import('../../bench/steering.ts'),
} as const;

type Subject = keyof typeof SUBJECTS;

export const command: Command = {
  name: 'bench',
  summary: 'benchmarks',
  usage: `${Object.keys(SUBJECTS).join('|')} [--quick] [--assert] [--only TEXT]`,
  example: './portico bench vip',
  options: {
    quick: { type: 'boolean', help: 'fewer cases and samples, for a first look and CI' },
    only: {
      type: 'string',
      help: 'vip: only cases with this in their name, and what they are compared with ("too big", "udp", "over veth")',
    },
    assert: { type: 'boolean', help: 'exit with 1 unless every target holds' },
  },
  async run(args) {
    const [subject, ...more] = args.positionals;
    if (subject === undefined || more.length > 0 || !Object.hasOwn(SUBJECTS, subject)) {
      throw new UsageError(`bench takes one of: ${Object.keys(SUBJECTS).join(', ')}.`);
    }
    const { only } = args.values;
    if (only !== undefined && subject !== 'vip') throw new UsageError(`bench ${subject} has no --only.`);
    const { makeReport, formatReport } = await import('../../bench/report.ts');
    const { runBench } = await SUBJECTS[subject as Subject]();
    const progress = (text: string) => process.stderr.write(`${text}\n`);
    const isWatched = !args.json && process.stderr.isTTY;
    const report = makeReport(
      await runBench({
        quick: args.values.quick === true,
        ...(typeof only === 'string' ? { only } : {}),
        ...(isWatched ? { progress } : {}),
      }),
    );
    if (args.json) printJson(report);
    else process.stdout.write(formatReport(report));
    const missed = report.checks.filter((one) => !one.holds).length;
    if (args.values.assert === true && missed > 0) {
      throw new CommandError(`${missed} of ${report.checks.length} targets of bench ${subject} do not hold.`);
    }
    return 0;
  },
};
