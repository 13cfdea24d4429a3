/** What `portico plan` shows: a table by minute, curves in a line, and sentences. */
import { formatDuration } from '../config/units.ts';
import type { Forecast, Overload, PlanChange } from '../decide/steer/forecast/forecast.ts';
import type { FollowedPlan } from '../fleet/forecast-watch.ts';
import { sparkLine } from './spark-line.ts';

const CURVE_WIDTH = 60;
/** Minutes that are shown one by one. */
const SHOWN_MINUTES = 12;

export function describeChange(change: PlanChange): string {
  switch (change.kind) {
    case 'drain':
      return `drain of site ${change.site}`;
    case 'capacity':
      return `capacity of site ${change.site} at ${percent(change.share)}`;
    case 'link':
      return `link ${change.site}/${change.link} ${change.share === 0 ? 'down' : `at ${percent(change.share)}`}`;
    case 'site':
      return `a site ${change.site} at ${change.latitudeDegrees},${change.longitudeDegrees}`;
    case 'ttl':
      return `TTL of ${change.service} ${formatDuration(change.ttlSeconds * 1000)}`;
  }
}

export function forecastLines(forecast: Forecast): string[] {
  const { change, basis, sites, links, minutes } = forecast;
  const lines = [
    `Forecast: ${describeChange(change)}, ${minutes} min, by ${basis === 'measured' ? 'what is measured' : 'policies'}`,
    '',
    ...shareTable(forecast),
    '',
  ];
  const width = Math.max(
    0,
    ...sites.map(({ site }) => site.length),
    ...links.map(nameOfLink).map((name) => name.length),
  );
  for (const { site, load, capacity } of sites) {
    const top = Math.max(capacity ?? 0, ...load);
    const of = capacity === null ? '' : ` of ${rate(capacity)}`;
    lines.push(
      `  ${site.padEnd(width)} ${sparkLine(load, top, CURVE_WIDTH)} ${rate(load[0])} -> ${rate(last(load))}${of}`,
    );
  }
  for (const link of links) {
    const top = Math.max(link.capacity ?? 0, ...link.load);
    const of = link.capacity === null ? '' : ` of ${bandwidth(link.capacity)}`;
    const text = `${bandwidth(link.load[0])} -> ${bandwidth(last(link.load))}${of}`;
    lines.push(`  ${nameOfLink(link).padEnd(width)} ${sparkLine(link.load, top, CURVE_WIDTH)} ${text}`);
  }
  return [...lines, '', ...sentences(forecast)];
}

/** Shares of sites in percent: now, and in the first minutes. */
function shareTable({ sites, minutes }: Forecast): string[] {
  const shown = Math.min(minutes, SHOWN_MINUTES);
  const total = sites.reduce((sum, { before }) => sum + before, 0);
  const head = ['minute', 'now', ...Array.from({ length: shown }, (_, minute) => String(minute + 1))];
  if (minutes > shown) head.push(`${minutes}`);
  const rows = sites.map(({ site, before, share }) => {
    const cells = [total > 0 ? before / total : 0, ...share.slice(0, shown)];
    if (minutes > shown) cells.push(last(share));
    return [site, ...cells.map(percent)];
  });
  return tableLines([head, ...rows]);
}

function sentences({ landing, movedShare, rttMs, overloads, settles, queriesPerSecond, notes }: Forecast): string[] {
  const lines: string[] = [];
  if (movedShare === 0) lines.push('Nobody goes elsewhere.');
  else {
    const to = landing.map(({ site, share }) => `${site} ${percent(share)}`).join(', ');
    lines.push(`${percent(movedShare)} of new connections go elsewhere: ${to}.`);
    const times = settles.map(
      ({ share, seconds }) => `${percent(share)} ${seconds === null ? 'later' : `after ${seconds} s`}`,
    );
    lines.push(`Of these have moved: ${times.join(', ')}.`);
  }
  if (rttMs !== null) {
    const by = rttMs.source === 'distance' ? ', by distance' : '';
    const more = rttMs.after - rttMs.before;
    lines.push(
      `Mean round trip: ${rttMs.before.toFixed(1)} ms -> ${rttMs.after.toFixed(1)} ms (${more < 0 ? '' : '+'}${more.toFixed(1)})${by}.`,
    );
  }
  if (queriesPerSecond !== null)
    lines.push(`Queries a second: ${queriesPerSecond.before.toFixed(1)} -> ${queriesPerSecond.after.toFixed(1)}.`);
  lines.push(...(overloads.length === 0 ? ['Nothing is overloaded.'] : overloads.map(overloadLine)));
  return [...lines, ...notes.map((note) => `Note: ${note}.`)];
}

function overloadLine({ site, link, fromMinute, untilMinute, peak }: Overload): string {
  const until = untilMinute === null ? 'the end' : `minute ${untilMinute}`;
  const what = link === null ? `site ${site}` : `link ${site}/${link}`;
  return `OVERLOAD: ${what} from minute ${fromMinute + 1} to ${until}, at worst ${percent(peak)} of its capacity.`;
}

/** Actual over forecast. */
export function followedLines(plans: readonly FollowedPlan[]): string[] {
  if (plans.length === 0) return ['No plan was carried out since this process began.'];
  return plans.flatMap((plan, index) => [...(index === 0 ? [] : ['']), ...followedLinesOf(plan)]);
}

function followedLinesOf({ forecast, endedAtMs, actual }: FollowedPlan): string[] {
  const { change, atMs, minutes, sites } = forecast;
  const state = endedAtMs === null ? 'is followed' : `was followed until ${new Date(endedAtMs).toISOString()}`;
  const lines = [
    `${describeChange(change)} at ${new Date(atMs).toISOString()}, ${actual.length} of ${minutes} min, ${state}`,
  ];
  const totals = actual.map((row) => row.reduce((sum, count) => sum + count, 0));
  let worst = 0;
  for (const [index, { site, share }] of sites.entries()) {
    const came = actual.map((row, minute) => (totals[minute] > 0 ? row[index] / totals[minute] : Number.NaN));
    const off = came.map((value, minute) => Math.abs(value - share[minute])).filter((value) => !Number.isNaN(value));
    worst = Math.max(worst, ...off);
    const shown = came.slice(0, SHOWN_MINUTES);
    lines.push(
      ...tableLines([
        [site, ...shown.map((_, minute) => String(minute + 1))],
        ['forecast', ...share.slice(0, shown.length).map(percent)],
        ['actual', ...shown.map((value) => (Number.isNaN(value) ? '-' : percent(value)))],
      ]),
    );
  }
  if (actual.length > 0) lines.push(`At worst ${(worst * 100).toFixed(1)} points apart.`);
  return lines;
}

function tableLines(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows.map((row) =>
    `  ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))).join('  ')}`.trimEnd(),
  );
}

function nameOfLink({ site, link }: Forecast['links'][number]): string {
  return `${site}/${link}`;
}

function last(values: readonly number[]): number {
  return values.at(-1) ?? 0;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)}%`;
}

function rate(perSecond = 0): string {
  return `${perSecond < 100 ? perSecond.toFixed(1) : Math.round(perSecond)}/s`;
}

function bandwidth(bitsPerSecond = 0): string {
  for (const [unit, size] of [
    ['Gbit/s', 1e9],
    ['Mbit/s', 1e6],
    ['kbit/s', 1e3],
  ] as const)
    if (bitsPerSecond >= size) return `${(bitsPerSecond / size).toFixed(1)} ${unit}`;
  return `${bitsPerSecond.toFixed(0)} bit/s`;
}
