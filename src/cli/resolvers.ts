/** `portico resolvers`: whom DNS answers, and what is known of the users behind. */
import type { ToldDemand, ToldResolver, ToldResolvers } from '../fleet/measured-resolvers.ts';
import { API_OPTION, callApi } from './api-client.ts';
import { takePositionals } from './arguments.ts';
import { type Command, printJson, stringOption } from './command.ts';

export const command: Command = {
  name: 'resolvers',
  summary: 'resolvers that ask the name servers, and the demand behind them',
  usage: '[--of PREFIX] [--top N] [--csv] [--json]',
  example: './portico resolvers --of 203.0.113.53',
  options: {
    ...API_OPTION,
    of: {
      type: 'string',
      placeholder: 'PREFIX',
      help: 'of the resolver in this prefix alone, with the places of its users',
    },
    top: { type: 'string', placeholder: 'N', help: 'the most important, 1 to 10000 (default 20)' },
    csv: { type: 'boolean', help: 'comma-separated values, with all digits' },
  },
  async run(args) {
    takePositionals(args, []);
    const [of, top] = [stringOption(args, 'of', ''), stringOption(args, 'top', '')];
    const body = { ...(of === '' ? {} : { of }), ...(top === '' ? {} : { limit: top }) };
    const told = await callApi<ToldResolvers>(args, '/steer/resolvers', body);
    if (args.json) printJson(told);
    else
      process.stdout.write(`${(args.values.csv === true ? csvLines(told) : textLines(told, of !== '')).join('\n')}\n`);
    return 0;
  },
};

export function csvLines({ resolvers }: ToldResolvers): string[] {
  const head =
    'prefix,queries_per_second,demand,demand_low,demand_high,method,share,gain_ms,impact,ecs_share,late_share,late_seconds';
  return [
    head,
    ...resolvers.map(({ prefix, queriesPerSecond, demand, share, gainMs, impact, ecsShare, decay }) =>
      [
        prefix,
        queriesPerSecond,
        ...(demand === null ? ['', '', '', ''] : [demand.value, demand.low, demand.high ?? '', demand.method]),
        ...[share, gainMs ?? '', impact ?? '', ecsShare, decay.lateShare, decay.lateSeconds],
      ].join(','),
    ),
  ];
}

export function textLines({ resolvers, known, forgotten }: ToldResolvers, withPlaces: boolean): string[] {
  if (resolvers.length === 0) return ['no resolver is known; does dns.steering.measured say "observe" or "on"?'];
  const rows = [
    ['resolver', 'queries/s', 'connections/s', '90 % between', 'by', 'share', 'gain', 'ECS', 'keeps answers'],
    ...resolvers.map((resolver) => [
      resolver.prefix,
      rounded(resolver.queriesPerSecond),
      resolver.demand === null
        ? '?'
        : `${resolver.demand.isAtLeast ? 'at least ' : ''}${rounded(resolver.demand.value)}`,
      rangeOf(resolver.demand),
      resolver.demand?.method ?? '',
      percent(resolver.share),
      resolver.gainMs === null ? '' : `${rounded(resolver.gainMs)} ms`,
      percent(resolver.ecsShare),
      lateText(resolver),
    ]),
  ];
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const table = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd(),
  );
  const places = withPlaces ? resolvers.flatMap(placeLines) : [];
  const gone = forgotten.resolvers > 0 ? `, ${forgotten.resolvers} forgotten` : '';
  return [...table, ...places, withPlaces ? '' : `${known} resolvers known${gone}`].filter((line) => line !== '');
}

function placeLines({ places, unnamedShare }: ToldResolver): string[] {
  return [
    'its users:',
    ...places.map(({ prefix, share }) => `  ${percent(share).padStart(6)}  ${prefix}`),
    ...(unnamedShare > 0.0005 ? [`  ${percent(unnamedShare).padStart(6)}  elsewhere, or too few to be named`] : []),
  ];
}

function rangeOf(demand: ToldDemand | null): string {
  if (demand === null || demand.isAtLeast || demand.high === null) return '';
  return `${rounded(demand.low)} and ${rounded(demand.high)}`;
}

function lateText({ decay }: ToldResolver): string {
  return decay.lateShare < 0.01 ? 'no' : `${percent(decay.lateShare)}, ${Math.round(decay.lateSeconds)} s`;
}

function rounded(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(2)));
}

function percent(share: number): string {
  return `${Number((share * 100).toPrecision(2))} %`;
}
