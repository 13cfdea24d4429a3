/** `portico drain` and `portico undrain`: new work stops, work in progress ends on its own. */
import { API_OPTION, callApi } from './api-client.ts';
import { takePositionals } from './arguments.ts';
import { type Command, type CommandArguments, printJson, UsageError } from './command.ts';

const KINDS = ['backend', 'balancer', 'site'];

async function setDrain(args: CommandArguments, path: '/drain' | '/undrain', done: string): Promise<number> {
  const [kind, name] = takePositionals(args, ['KIND', 'NAME']) as [string, string];
  if (!KINDS.includes(kind)) throw new UsageError(`"${kind}" cannot be drained; KIND is ${KINDS.join(', ')}.`);
  const answer = await callApi<object>(args, path, { kind, name });
  if (args.json) printJson(answer);
  else process.stdout.write(`${kind} ${name} ${done}\n`);
  return 0;
}

export const command: Command = {
  name: 'drain',
  summary: 'stop new work for a backend, balancer or site',
  usage: 'backend|balancer|site NAME [--json]',
  example: './portico drain backend eu-1',
  options: API_OPTION,
  run: (args) => setDrain(args, '/drain', 'gets no new work; what is in progress ends on its own.'),
};

export const undrain: Command = {
  ...command,
  name: 'undrain',
  summary: 'take a drain back',
  example: './portico undrain backend eu-1',
  run: (args) => setDrain(args, '/undrain', 'gets new work again.'),
};
