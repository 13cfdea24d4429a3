/** `portico explain`: why a packet or a DNS answer goes where it goes. */
import type { MeasuredDns } from '../api/fleet-source.ts';
import type { ExplainedFlow } from '../fleet/explain-flow.ts';
import type { ExplainedSteering } from '../serve/dns/explain-steering.ts';
import { API_OPTION, callApi } from './api-client.ts';
import { takePositionals } from './arguments.ts';
import { type Command, type CommandArguments, printJson, stringOption, UsageError } from './command.ts';
import { groupLines } from './measured-text.ts';

export const command: Command = {
  name: 'explain',
  summary: 'why a packet or a DNS answer goes where it goes',
  usage: 'flow SRC:PORT DST:PORT [tcp|udp] | dns NAME [--type T] --from ADDRESS [--ecs PREFIX] [--json]',
  example: './portico explain dns www.example.test --from 203.0.113.200',
  options: {
    type: { type: 'string', placeholder: 'TYPE', help: 'dns: record type (default A)' },
    from: { type: 'string', placeholder: 'ADDRESS', help: 'dns: the resolver that asks' },
    ecs: { type: 'string', placeholder: 'PREFIX', help: 'dns: the client subnet in the query' },
    ...API_OPTION,
  },
  async run(args: CommandArguments): Promise<number> {
    const [what] = args.positionals;
    if (what === 'flow') return explainFlow(args);
    if (what === 'dns') return explainDns(args);
    throw new UsageError(
      what === undefined ? 'Explain what: flow or dns?' : `"${what}" cannot be explained; flow and dns can.`,
    );
  },
};

async function explainFlow(args: CommandArguments): Promise<number> {
  const [, source, destination, protocol] = takePositionals(args, ['flow', 'SRC:PORT', 'DST:PORT', 'PROTOCOL?']);
  const flow = await callApi<ExplainedFlow>(args, '/explain/flow', {
    source,
    destination,
    protocol: protocol ?? 'tcp',
  });
  if (args.json) printJson(flow);
  else process.stdout.write(`${flow.why.join('\n')}\n`);
  return 0;
}

async function explainDns(args: CommandArguments): Promise<number> {
  const [, name] = takePositionals(args, ['dns', 'NAME']);
  const from = stringOption(args, 'from', '');
  if (from === '') throw new UsageError('--from ADDRESS is missing: who asks decides the answer.');
  const ecs = stringOption(args, 'ecs', '');
  const body = { name, type: stringOption(args, 'type', 'A'), from, ...(ecs === '' ? {} : { ecs }) };
  const explained = await callApi<MeasuredDns>(args, '/explain/dns', body);
  if (args.json) printJson(explained);
  else process.stdout.write(`${dnsLines(explained).join('\n')}\n`);
  return 0;
}

export function dnsLines(dns: MeasuredDns): string[] {
  const lines = [
    `${dns.name} ${dns.type}: ${dns.status}${dns.zone === null ? ', in none of the zones' : `, zone ${dns.zone}`}`,
  ];
  for (const { name, found } of dns.path) lines.push(`  ${name}: ${found}`);
  if (dns.steering !== null) lines.push(...steeringLines(dns.steering));
  if (dns.measured !== null) lines.push(...groupLines(dns.measured));
  lines.push(
    ...dns.answer.map((record) => `answer: ${record}`),
    ...dns.authority.map((record) => `authority: ${record}`),
  );
  if (dns.scopeLength !== null) lines.push(`resolvers may keep it for the client's /${dns.scopeLength}`);
  return lines;
}

const EXCLUDED = {
  down: 'down',
  full: 'full',
  farther: 'farther',
  dearer: 'others are better by what was measured',
  later: 'comes later in the policy',
  policy: 'not for this client in the policy',
} as const;

function sourceLine({ where, prefix, says }: ExplainedSteering['sources'][number]): string {
  if (prefix === null) return `  ${where}: ${says === '' ? 'nothing' : says}`;
  return `  ${where}: ${prefix}, ${says === '' ? 'but nothing that counts' : says}`;
}

function steeringLines(steering: ExplainedSteering): string[] {
  const { place, pin, draw } = steering;
  const known = [steering.continent, steering.country, steering.asn === null ? null : `AS${steering.asn}`];
  const also = known.filter((each) => each !== null).map((each) => `, ${each}`);
  const lines = [
    `service ${steering.service}, for ${steering.client} (the ${steering.by === 'subnet' ? "query's client subnet" : "resolver's address"})`,
    ...steering.sources.map(sourceLine),
    `so it counts as at ${place.site ?? `${place.latitudeDegrees}, ${place.longitudeDegrees}`}${place.isDefault ? ' (the default)' : ''}${also.join('')}`,
  ];
  if (steering.isMixed) lines.push('the subnet holds several networks: this is the answer for the most');
  if (pin !== null) {
    const until = pin.untilMs === null ? '' : ` until ${new Date(pin.untilMs).toISOString()}`;
    lines.push(`pinned to ${pin.site}${pin.prefix === null ? '' : ` (${pin.prefix})`}${until}, before the policy`);
  }
  for (const { depth, text } of steering.policy) lines.push(`policy ${'  '.repeat(depth)}${text}`);
  for (const { site, distanceKm, excluded } of steering.candidates)
    lines.push(`  ${site}: ${distanceKm} km, ${excluded === null ? 'answered' : EXCLUDED[excluded]}`);
  if (draw.length > 1) {
    const shares = draw.map(({ sites, share }) => `${sites.join(' and ')} ${(share * 100).toFixed(1)} %`);
    lines.push(`answers in turns: ${shares.join(', ')}; one client gets one turn for all types`);
  }
  if (steering.reason === 'static')
    lines.push('no site of the policy looks up, so the answer is one that may be wrong');
  if (steering.reason === 'full')
    lines.push('every site of the policy that is up is full, so they are taken nevertheless');
  return lines;
}
