/** `portico settle`: settles now what would settle by itself within the next rounds. */
import { API_OPTION, callApi } from './api-client.ts';
import { takePositionals } from './arguments.ts';
import { type Command, type CommandArguments, printJson, stringOption } from './command.ts';

interface Answer {
  readonly service: string;
  readonly sites: readonly {
    readonly site: string;
    readonly unsettled: number;
    readonly silent: number;
    readonly settled: number;
    readonly notAsked: readonly string[];
  }[];
}

export const command: Command = {
  name: 'settle',
  summary: "settle a service's slots that may be settled now",
  usage: 'SERVICE [--balancer NAME] [--json]',
  example: './portico settle www',
  options: {
    ...API_OPTION,
    balancer: {
      type: 'string',
      placeholder: 'NAME',
      help: 'ask this one alone: tells what it has seen, settles nothing',
    },
  },
  async run(args: CommandArguments): Promise<number> {
    const [service] = takePositionals(args, ['SERVICE']) as [string];
    const balancer = stringOption(args, 'balancer', '');
    const answer = await callApi<Answer>(args, '/settle', { service, ...(balancer === '' ? {} : { balancer }) });
    if (args.json) printJson(answer);
    else process.stdout.write(answer.sites.map((site) => `${lineOf(site)}\n`).join(''));
    return 0;
  },
};

function lineOf({ site, unsettled, silent, settled, notAsked }: Answer['sites'][number]): string {
  const seen = `site ${site}: ${unsettled} slots unsettled, ${silent} silent for long enough, ${settled} settled`;
  return notAsked.length === 0 ? seen : `${seen}; nothing settles without ${notAsked.join(', ')}`;
}
