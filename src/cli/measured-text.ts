/** Lines about measured steering: for `portico explain dns`, `portico steer map` and `portico status`. */
import { percent } from '../decide/steer/explain-policy.ts';
import { briefOf, type MeasuredBrief, type MeasuredStatus } from '../fleet/measured-steering.ts';
import type { ExplainedGroup, ExplainedSite, MeasuredSummary } from '../fleet/measured-words.ts';

const KIND = {
  latency: 'the nearest by round-trip time',
  throughput: 'the links with most room',
  batch: 'the cheapest',
} as const;

/** Of who asks: demand, users, and each candidate with its estimate, cost and what stands against it. */
export function groupLines({ group, kind, demand, version, mode, places, candidates }: ExplainedGroup): string[] {
  const aim = Object.hasOwn(KIND, kind) ? ` (${KIND[kind as keyof typeof KIND]})` : '';
  const decision = mode === 'observe' ? 'observed only: DNS does not answer by it' : `map ${version}`;
  return [
    `measured of ${group}, class ${kind}${aim}, ${decision}:`,
    `  demand ${number(demand)} new connections/s${placesText(places, group)}`,
    ...candidates.map(candidateLine),
  ];
}

function placesText(places: ExplainedGroup['places'], group: string): string {
  if (places.length === 0) return ', from users of whom nothing is known';
  if (places.length === 1 && places[0].prefix === group) return '';
  const shown = places.slice(0, 5).map(({ prefix, share }) => `${prefix} ${percent(share)}`);
  return `, from users at ${shown.join(', ')}${places.length > 5 ? ' and others' : ''}`;
}

function candidateLine({ site, rttMs, lowMs, highMs, source, share, cost, notes }: ExplainedSite): string {
  const interval = `${number(lowMs)} to ${highMs === null ? 'any' : number(highMs)}`;
  const got = share === 0 ? '' : `${share >= 0.9995 ? 'gets it' : `gets ${percent(share)}`}; `;
  return `  ${site}: ${got}${number(rttMs)} ms (${interval}, by ${source}), cost ${number(cost)}: ${notes.join(', ')}`;
}

export function mapLines(status: MeasuredStatus | null): string[] {
  if (status === null)
    return [
      'nothing is measured here: write dns.steering.measured: observe, or ask the process that runs name servers',
    ];
  const lines = [briefLine(briefOf(status))];
  const { last } = status;
  if (last === null) return [...lines, 'there was no decision yet'];
  const gaps = last.stages.map(({ stage, gap }) => `${stage} within ${percent(gap)}`);
  lines.push(
    `decided in ${Math.round(last.tookMs)} ms${last.isComplete ? '' : ', cut short by its time'}${gaps.length === 0 ? '' : `: ${gaps.join(', ')}`}`,
    `moved ${percent(last.movedShare)} of the demand, ${percent(last.exploredShare)} explores`,
    ...last.reasons.map((reason) => `because: ${reason}`),
    ...last.sites.map(({ site, load, capacity }) => `site ${site}: ${loadText(load, capacity, '/s')}`),
    ...last.links.map(
      ({ link, load, capacity }) =>
        `link ${link}: ${loadText(load / 1e6, capacity === null ? null : capacity / 1e6, ' Mbit/s')}`,
    ),
    ...last.classes.filter(({ services }) => services.length > 0).map(classLine),
    ...last.moves.map(({ prefix, kind, from, to }) => `moved ${prefix} ${kind}: ${from} to ${to}`),
  );
  return lines;
}

function classLine({ kind, services, groups, split }: MeasuredSummary['classes'][number]): string {
  const counts = Object.entries(groups).map(([site, count]) => `${site} ${count}`);
  return `class ${kind} (${services.join(', ')}): ${counts.join(', ') || 'nobody'}${split === 0 ? '' : `, ${split} split`}`;
}

function loadText(load: number, capacity: number | null, unit: string): string {
  if (capacity === null) return `${number(load)}${unit}, no limit known`;
  return `${number(load)} of ${number(capacity)}${unit}${capacity > 0 ? ` (${percent(load / capacity)})` : ''}`;
}

export function briefLine(brief: MeasuredBrief): string {
  const { mode, version, servedVersion, groups, ageMs, meanRttMs, held, failure } = brief;
  if (version === null) return `measured steering: ${mode}, no decision yet${failure === null ? '' : ` (${failure})`}`;
  const served =
    mode === 'observe'
      ? 'not served'
      : servedVersion === version
        ? 'served'
        : `map ${servedVersion ?? 'none'} is served`;
  const rtt = meanRttMs === null ? '' : `, mean round trip ${number(meanRttMs)} ms`;
  const age = ageMs === null ? '' : `, decided ${Math.round(ageMs / 1000)} s ago`;
  const wrong = [held, failure].filter((one) => one !== null).map((one) => `; ${one}`);
  return `measured steering: ${mode}, map ${version} of ${groups} resolvers and subnets, ${served}${age}${rtt}${wrong.join('')}`;
}

function number(value: number | null): string {
  if (value === null) return '?';
  return Math.abs(value) >= 100 || Number.isInteger(value)
    ? String(Math.round(value))
    : value.toFixed(Math.abs(value) < 1 ? 2 : 1);
}
