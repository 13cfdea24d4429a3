/** `portico steer`: how policies came out, pins, freeze, and what a changed configuration would move. */

import type { SteeringStatus } from '../api/steering.ts';
import { percent } from '../decide/steer/explain-policy.ts';
import type { ServiceDiff } from '../decide/steer/map-diff.ts';
import { API_OPTION, callApi } from './api-client.ts';
import { takePositionals } from './arguments.ts';
import { type Command, type CommandArguments, printJson, stringOption, UsageError } from './command.ts';
import { mapLines } from './measured-text.ts';
import { renderDiffs } from './steer-diff.ts';

type Action = (args: CommandArguments, site: string | undefined) => Promise<{ answer: object; lines: string[] }>;

const ACTIONS: Readonly<Record<string, Action>> = {
  async show(args) {
    const answer = await callApi<SteeringStatus>(args, '/steer');
    return { answer, lines: statusLines(answer) };
  },
  async map(args) {
    const answer = await callApi<SteeringStatus>(args, '/steer');
    return { answer: { measured: answer.measured }, lines: mapLines(answer.measured) };
  },
  async pin(args, site) {
    if (site === undefined) throw new UsageError('SITE is missing: portico steer pin SITE.');
    const time = stringOption(args, 'for', '');
    const body = { site, ...clientsOf(args), ...(time === '' ? {} : { for: time }) };
    const answer = await callApi<object>(args, '/steer/pin', body);
    return {
      answer,
      lines: [`${describeClients(args)} go to ${site}${time === '' ? '' : ` for ${time}`}, as long as it is up`],
    };
  },
  async unpin(args) {
    const answer = await callApi<object>(args, '/steer/unpin', clientsOf(args));
    return { answer, lines: [`${describeClients(args)} go where the policy says`] };
  },
  async freeze(args) {
    const answer = await callApi<object>(args, '/steer/freeze', {});
    return { answer, lines: ['the map is frozen: nothing that would send clients elsewhere is taken over'] };
  },
  async unfreeze(args) {
    const answer = await callApi<object>(args, '/steer/unfreeze', {});
    return { answer, lines: ['the map is free: what changed in the file is taken over with the next reload'] };
  },
  async diff(args) {
    const answer = await callApi<{ services: ServiceDiff[]; refusal: string | null }>(args, '/steer/diff', {});
    const refused = answer.refusal === null ? [] : [`a reload would be refused: ${answer.refusal}`];
    return { answer, lines: [...renderDiffs(answer.services), ...refused] };
  },
  async reload(args) {
    const answer = await callApi<object>(args, '/reload', args.values.anyway === true ? { anyway: 'yes' } : {});
    return { answer, lines: ['the configuration is read again'] };
  },
};

export const command: Command = {
  name: 'steer',
  summary: 'policies of DNS, the measured map, pins, freeze, and what a changed file would move',
  usage:
    '[show | map | pin SITE | unpin | freeze | unfreeze | diff | reload] [--prefix PREFIX] [--service NAME] [--for 1h] [--anyway] [--json]',
  example: './portico steer pin eu --prefix 203.0.113.0/24 --for 1h',
  options: {
    ...API_OPTION,
    prefix: { type: 'string', placeholder: 'PREFIX', help: 'clients, or the address of a resolver (default: all)' },
    service: { type: 'string', placeholder: 'NAME', help: 'of this service alone (default: all)' },
    for: { type: 'string', placeholder: 'TIME', help: 'pin: then it ends (default: never)' },
    anyway: { type: 'boolean', help: 'reload: however much demand it moves' },
  },
  async run(args) {
    const [name = 'show', site] = takePositionals(args, ['ACTION?', 'SITE?']);
    const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
    if (action === undefined)
      throw new UsageError(`there is no action "${name}"; there are ${Object.keys(ACTIONS).join(', ')}.`);
    if (site !== undefined && name !== 'pin') throw new UsageError(`"${site}" is one argument too many.`);
    const { answer, lines } = await action(args, site);
    if (args.json) printJson(answer);
    else process.stdout.write(`${lines.join('\n')}\n`);
    return 0;
  },
};

function clientsOf(args: CommandArguments): Record<string, string> {
  const fields = ['prefix', 'service'].map((name) => [name, stringOption(args, name, '')] as const);
  return Object.fromEntries(fields.filter(([, value]) => value !== ''));
}

function describeClients(args: CommandArguments): string {
  const { prefix, service } = clientsOf(args);
  return `clients${prefix === undefined ? '' : ` of ${prefix}`}${service === undefined ? '' : ` of the service ${service}`}`;
}

function statusLines({ frozenSinceMs, pins, services }: SteeringStatus): string[] {
  const lines = [
    frozenSinceMs === null ? 'the map is free' : `the map is frozen since ${new Date(frozenSinceMs).toISOString()}`,
  ];
  for (const { prefix, service, site, untilMs } of pins) {
    const until = untilMs === null ? '' : ` until ${new Date(untilMs).toISOString()}`;
    lines.push(`pin: ${prefix ?? 'all clients'}${service === null ? '' : ` of ${service}`} to ${site}${until}`);
  }
  if (pins.length === 0) lines.push('no pins');
  for (const { service, policy, sites, plans, weighted } of services) {
    lines.push(`service ${service}: ${policy} over ${sites.join(', ')}; ${plans} different answers`);
    for (const { place, parts, demand, units, split } of weighted) {
      const shares = parts.map(({ name, share, predicted }) => {
        return demand === 0 ? `${name} ${percent(share)}` : `${name} ${percent(predicted)} of ${percent(share)}`;
      });
      const known =
        demand === 0 ? 'demand not known, answers are spread' : `${units} units, ${split.length} of them split`;
      lines.push(`  weighted${place === '' ? '' : ` at ${place}`}: ${shares.join(', ')} (${known})`);
    }
  }
  return lines;
}
