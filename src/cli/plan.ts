/** `portico plan`: what a change would do, minute by minute, and how those came out that were carried out. */
import type { Forecast } from '../decide/steer/forecast/forecast.ts';
import type { FollowedPlan } from '../fleet/forecast-watch.ts';
import { API_OPTION, callApi } from './api-client.ts';
import { takePositionals } from './arguments.ts';
import { type Command, type CommandArguments, printJson, stringOption, UsageError } from './command.ts';
import { followedLines, forecastLines } from './plan-text.ts';

/** What stands behind the kind, for the help and for errors. */
const KINDS: Readonly<Record<string, string>> = {
  drain: 'SITE',
  capacity: 'SITE=80%',
  link: 'SITE/LINK=50%|down',
  site: 'NAME=LATITUDE,LONGITUDE',
  ttl: 'SERVICE=30s',
};

export const command: Command = {
  name: 'plan',
  summary: 'what a drain or another change would do, and how it came out',
  usage: `${Object.entries(KINDS)
    .map(([kind, what]) => `${kind} ${what}`)
    .join(' | ')} | follow [--minutes N] [--json]`,
  example: './portico plan drain us',
  options: {
    ...API_OPTION,
    minutes: { type: 'string', placeholder: 'N', help: 'how far to look (default: until it has come about)' },
    capacity: { type: 'string', placeholder: 'RATE', help: 'site: what it takes, 20000/s (default: as the largest)' },
  },
  async run(args) {
    const [kind, what] = takePositionals(args, ['CHANGE', 'WHAT?']) as [string, string | undefined];
    if (kind === 'follow') return follow(args, what);
    const { target, value } = readTarget(kind, what);
    const order = Object.fromEntries(
      Object.entries({ change: kind, target, value, ...optionsOf(args) }).filter(([, text]) => text !== ''),
    );
    const forecast = await callApi<Forecast>(args, '/plan', order);
    if (args.json) printJson(forecast);
    else process.stdout.write(`${forecastLines(forecast).join('\n')}\n`);
    return 0;
  },
};

function optionsOf(args: CommandArguments): { readonly minutes: string; readonly capacity: string } {
  return { minutes: stringOption(args, 'minutes', ''), capacity: stringOption(args, 'capacity', '') };
}

function readTarget(kind: string, what: string | undefined): { readonly target: string; readonly value: string } {
  const form = Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  if (form === undefined)
    throw new UsageError(`"${kind}" cannot be planned; CHANGE is ${Object.keys(KINDS).join(', ')}, or follow.`);
  const example = `portico plan ${kind} ${form}`;
  if (what === undefined) throw new UsageError(`What is missing: ${example}.`);
  const [target, value = '', extra] = what.split('=');
  const isComplete = kind === 'drain' ? value === '' : value !== '';
  if (target === '' || !isComplete || extra !== undefined)
    throw new UsageError(`"${what}" is not understood; write ${example}.`);
  return { target, value };
}

async function follow(args: CommandArguments, what: string | undefined): Promise<number> {
  if (what !== undefined) throw new UsageError(`"${what}" is one argument too many.`);
  const answer = await callApi<{ plans: FollowedPlan[] }>(args, '/plan/followed');
  if (args.json) printJson(answer);
  else process.stdout.write(`${followedLines(answer.plans).join('\n')}\n`);
  return 0;
}
