/** `portico drain` and `portico undrain`: new work stops, work in progress ends on its own. */
import { API_OPTION, callApi } from './api-client.ts';
import { takePositionals } from './arguments.ts';
import { type Command, type CommandArguments, printJson, stringOption, UsageError } from './command.ts';

const KINDS = ['backend', 'balancer', 'site', 'nameserver'];

async function setDrain(args: CommandArguments, path: '/drain' | '/undrain', done: string): Promise<number> {
  const [kind, name] = takePositionals(args, ['KIND', 'NAME']) as [string, string];
  if (!KINDS.includes(kind)) throw new UsageError(`"${kind}" cannot be drained; KIND is ${KINDS.join(', ')}.`);
  const deadline = stringOption(args, 'deadline', '');
  const order = { kind, name, ...(deadline === '' ? {} : { deadline }) };
  const answer = await callApi<object>(args, path, order);
  if (args.json) printJson(answer);
  else process.stdout.write(`${kind} ${name} ${done}\n`);
  return 0;
}

export const command: Command = {
  name: 'drain',
  summary: 'stop new work for a backend, balancer, site or name server',
  usage: 'backend|balancer|site|nameserver NAME [--deadline 10m] [--json]',
  example: './portico drain backend eu-1 --deadline 10m',
  options: {
    ...API_OPTION,
    deadline: {
      type: 'string',
      placeholder: 'TIME',
      help: 'of a backend: after that its last connections are given up (default: never)',
    },
  },
  run: (args) => setDrain(args, '/drain', 'gets no new work; what is in progress ends on its own.'),
};

export const undrain: Command = {
  ...command,
  name: 'undrain',
  usage: 'backend|balancer|site|nameserver NAME [--json]',
  options: API_OPTION,
  summary: 'take a drain back',
  example: './portico undrain backend eu-1',
  run: (args) => setDrain(args, '/undrain', 'gets new work again.'),
};
