/** `portico dns top`: who asks the name servers most, and for what. */
import type { DnsTopStatus, TopCount } from '../api/source.ts';
import { API_OPTION, callApi } from './api-client.ts';
import { takePositionals } from './arguments.ts';
import { type Command, type CommandArguments, CommandError, printJson, stringOption, UsageError } from './command.ts';

const DEFAULT_COUNT = '10';

export const command: Command = {
  name: 'dns',
  summary: 'who asks the name servers most, and for what',
  usage: 'top [--server NAME] [--count NUMBER] [--json]',
  example: './portico dns top --count 20',
  options: {
    ...API_OPTION,
    server: { type: 'string', placeholder: 'NAME', help: 'of this name server only' },
    count: { type: 'string', placeholder: 'NUMBER', help: `lines of each list (default ${DEFAULT_COUNT})` },
  },
  async run(args: CommandArguments): Promise<number> {
    const [what] = takePositionals(args, ['top']) as [string];
    if (what !== 'top') throw new UsageError(`There is no "${what}"; there is: top.`);
    const [count, server] = [stringOption(args, 'count', DEFAULT_COUNT), stringOption(args, 'server', '')];
    if (!/^[1-9][0-9]{0,3}$/.test(count)) throw new UsageError('--count is a number from 1 to 1000.');
    const { servers } = await callApi<{ servers: DnsTopStatus[] }>(args, `/dns/top?count=${count}`);
    const asked = servers.filter((one) => server === '' || one.server === server);
    if (asked.length === 0)
      throw new CommandError(
        server === ''
          ? 'No name server runs in this process; ask the one that runs it (--api URL).'
          : `There is no name server "${server}" in this process; there are: ${servers.map((one) => one.server).join(', ')}.`,
      );
    if (args.json) printJson({ servers: asked });
    else process.stdout.write(`${asked.flatMap(topLines).join('\n')}\n`);
    return 0;
  },
};

function topLines(top: DnsTopStatus): string[] {
  const sampled = top.sampledEvery === 1 ? 'all' : `one in ${top.sampledEvery}`;
  return [
    `name server ${top.server}: ${rate(top.queriesPerSecond)} queries/s in the last ${top.seconds} s, of which ${sampled} were looked at`,
    ...listLines('clients', top.clients),
    ...listLines('names', top.names),
    ...listLines('names that do not exist', top.nxdomainNames),
    ...listLines('names above those', top.nxdomainParents),
  ];
}

function listLines(title: string, list: readonly TopCount[]): string[] {
  if (list.length === 0) return [`  ${title}: none`];
  const width = Math.max(...list.map(({ key }) => key.length));
  return [
    `  ${title}:`,
    ...list.map(({ key, perSecond, errorPerSecond }) => {
      const error = errorPerSecond > perSecond / 10 ? ` (at most ${rate(errorPerSecond)} less)` : '';
      return `    ${key.padEnd(width)}  ${rate(perSecond).padStart(8)}/s${error}`;
    }),
  ];
}

function rate(perSecond: number): string {
  return perSecond >= 10 ? Math.round(perSecond).toString() : perSecond.toPrecision(2);
}
