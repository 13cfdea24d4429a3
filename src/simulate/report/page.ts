/** The report of a simulation as one HTML file that needs nothing else: no script, no font, no network. */
import { escapeText, formatHour, formatNumber, formatPercent } from './axis.ts';
import { drawBars } from './bars.ts';
import { drawLines, type LinePlot, type MarkedTime } from './line-plot.ts';
import { STYLE } from './page-style.ts';
import type { CheckResult, EstimatorResult, ResourceResult, SimulationResult } from './result.ts';
import { drawStrips } from './strips.ts';
import { drawMap } from './world-map.ts';

/** Links in the picture, the fullest. */
const SHOWN_LINKS = 30;

/** Some 200 kB for a day of 30 sites. */
export function renderPage(result: SimulationResult): string {
  const sections = [
    head(result),
    tiles(result),
    section('How long users wait', RTT_TEXT, drawLines(rttPlot(result)) + classTable(result)),
    section('Load against capacity', loadText(result), loadPlots(result)),
    section('Where users are, and who was moved', MAP_TEXT, mapPlot(result)),
    section('How much the map changed', churnText(result), churnPlot(result)),
    section('What was claimed', CHECK_TEXT, checkTable(result.checks)),
    section('What was estimated, against the truth', ESTIMATOR_TEXT, estimatorTable(result.estimators)),
    eventSection(result),
    section('Words', '', WORDS),
  ];
  return [
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
    `<title>${escapeText(result.name)} - simulation</title><style>${STYLE}</style><main>`,
    ...sections,
    '</main></html>\n',
  ].join('\n');
}

function section(title: string, text: string, body: string): string {
  if (body === '') return '';
  const words = text === '' ? '' : `<p>${text}</p>`;
  return `<section><h2>${escapeText(title)}</h2>${words}${body}</section>`;
}

function head({
  name,
  preset,
  seed,
  prefixes,
  resolvers,
  load,
  hours,
  stepSeconds,
  decideSeconds,
  ran,
}: SimulationResult): string {
  const size = `${formatNumber(prefixes)} client prefixes behind ${formatNumber(resolvers)} resolvers, ${load.sites.length} sites, ${load.links.length} links, ${formatNumber(hours)} hours`;
  const pace = `observed every ${stepSeconds} s, decided every ${decideSeconds} s`;
  const cost = `${formatNumber(ran.decisions)} decisions, ${formatNumber(ran.medianDecisionMs)} ms each (longest ${formatNumber(ran.longestDecisionMs)} ms); the run took ${formatNumber(ran.seconds / 60)} minutes`;
  return `<header><h1>${escapeText(name)}</h1><p class="quiet">${size}. Preset ${escapeText(preset)}, seed ${seed}; ${pace}.<br>${cost}.</p></header>`;
}

function tiles({ rtt, load, churn, moves, checks }: SimulationResult): string {
  const { mean } = rtt;
  const failed = checks.filter(({ holds }) => holds === false).length;
  const unknown = checks.filter(({ holds }) => holds === null).length;
  const entries = [
    tile(`${formatNumber(mean.steered)} ms`, 'users wait a round trip of, on average', ''),
    tile(
      `+${formatPercent(mean.steered / mean.bestOfDns - 1)}`,
      'above the best that DNS can do',
      gradeOf(checks, 'best'),
    ),
    tile(formatPercent(1 - mean.steered / mean.geography), 'less than by geography alone', ''),
    tile(formatPercent(load.outsideDecay, 2), 'overload outside the decay after events', gradeOf(checks, 'overload')),
    tile(formatPercent(churn.quietPerHour, 2), 'of the demand moved in a quiet hour', ''),
    tile(
      formatPercent(moves.prefixDays > 0 ? moves.farUnexplained / moves.prefixDays : 0, 2),
      'of prefix-days with a far move without cause',
      gradeOf(checks, 'far'),
    ),
    tile(
      `${checks.length - failed - unknown} of ${checks.length}`,
      'claims hold in this run',
      failed > 0 ? 'bad' : 'good',
    ),
  ];
  return `<div class="tiles">${entries.join('')}</div>`;
}

function tile(value: string, text: string, grade: string): string {
  return `<div class="tile ${grade}"><b>${escapeText(value)}</b><span>${escapeText(text)}</span></div>`;
}

/** Of the first claim with a word in it. */
function gradeOf(checks: readonly CheckResult[], word: string): string {
  const check = checks.find(({ claim }) => claim.includes(word));
  return check === undefined || check.holds === null ? '' : check.holds ? 'good' : 'bad';
}

const RTT_TEXT =
  'Mean round trip of services whose users wait for it (class <i>latency</i>). The thick line is what users got. It cannot come below <i>best of DNS</i>: the least that is ' +
  'possible with one answer for each resolver or client subnet, true round trips, true demand, and capacities kept. <i>Per user</i> ' +
  'would need an answer of its own for each prefix. The thin lines are simpler ways in the same world; they ignore capacity.';

function markedTimes({ events }: SimulationResult): MarkedTime[] {
  return events.map(({ hour, untilHour, text }) => ({ hour, untilHour, text }));
}

function rttPlot(result: SimulationResult): LinePlot {
  const { rtt } = result;
  return {
    label: 'Mean round trip over the hours',
    unit: 'ms',
    hours: rtt.hours,
    curves: [
      { name: 'geography', values: rtt.geography, look: 'geography' },
      { name: 'nearest to resolver', values: rtt.nearestToResolver, look: 'nearest' },
      { name: 'per user', values: rtt.perUser, look: 'ideal' },
      { name: 'best of DNS', values: rtt.bestOfDns, look: 'best' },
      { name: 'steered', values: rtt.steered, look: 'steered' },
    ],
    marked: markedTimes(result),
    fromZero: false,
    height: 330,
  };
}

function classTable({ rtt }: SimulationResult): string {
  const rows = [{ name: 'all that wait', ...rtt.mean }, ...rtt.byService].map((row) => [
    row.name,
    ms(row.steered),
    ms(row.bestOfDns),
    Number.isFinite(row.bestOfDns) ? `+${formatPercent(row.steered / row.bestOfDns - 1)}` : '',
    ms(row.perUser),
    ms(row.nearestToResolver),
    ms(row.geography),
  ]);
  const over = `Highest overload of the ways that ignore capacity: geography ${formatPercent(rtt.overloadOfGeography)} of the demand, nearest to resolver ${formatPercent(rtt.overloadOfNearest)}.`;
  const heads = ['service', 'steered', 'best of DNS', 'above it', 'per user', 'nearest to resolver', 'geography'];
  return `${table(heads, rows)}<p class="quiet">Means after the first hour. Services of other classes aim at links with room, or at cheap sites; their round trips come second. ${over}</p>`;
}

function ms(value: number): string {
  return Number.isFinite(value) ? `${formatNumber(value)} ms` : '-';
}

function loadText({ load }: SimulationResult): string {
  const p95 = formatNumber(load.decayP95Seconds);
  return (
    'A strip for each site, then for the fullest links: the darker the fuller, <b class="over-word">red</b> above capacity, grey while it is down. ' +
    `Answers live on in caches: after an event the last 5 % of the users follow only after ${p95} s; overload in that time no DNS can avoid. ` +
    `Demand beyond what all capacities can carry: ${formatPercent(load.unavoidable, 2)}.`
  );
}

function loadPlots(result: SimulationResult): string {
  const { load } = result;
  const strips = (resources: readonly ResourceResult[]) =>
    resources.map(({ name, capacity, utilisation }) => ({
      name,
      capacity,
      utilisation: utilisation.map((value) => value ?? Number.NaN),
    }));
  const peak = ({ utilisation }: ResourceResult) =>
    utilisation.reduce<number>((top, value) => Math.max(top, value ?? 0), 0);
  const links = [...load.links].sort((a, b) => peak(b) - peak(a)).slice(0, SHOWN_LINKS);
  const overload: LinePlot = {
    label: 'Overload over the hours',
    unit: '%',
    hours: load.hours,
    curves: [{ name: 'above capacity', values: load.overload.map((share) => share * 100), look: 'limit' }],
    marked: markedTimes(result),
    fromZero: true,
    height: 120,
  };
  return [
    drawStrips({ label: 'Load of sites', unit: '/s', hours: load.hours, strips: strips(load.sites) }),
    drawStrips({ label: 'Load of links', unit: 'bit/s', hours: load.hours, strips: strips(links) }),
    drawLines(overload),
  ].join('');
}

const MAP_TEXT =
  'Each dot is a city, as large as its demand and coloured by what its users wait at the end of the run; diamonds are sites. ' +
  'Arcs are the largest streams of demand that were moved from one site to another, all day.';

function mapPlot({ map, moves }: SimulationResult): string {
  return drawMap(map, map.sites, moves.streams);
}

function churnText({ churn }: SimulationResult): string {
  return `Share of the demand that got another site, hour by hour: ${formatPercent(churn.meanPerHour, 2)} on average, ${formatPercent(churn.quietPerHour, 2)} in hours without an event after the first.`;
}

function churnPlot(result: SimulationResult): string {
  const percents = result.churn.perHour.map((share) => share * 100);
  return drawBars('Demand moved in each hour', percents, markedTimes(result));
}

const CHECK_TEXT = 'The targets that every change of the estimators, the solver and the control is held to.';

function checkTable(checks: readonly CheckResult[]): string {
  const rows = checks.map(({ claim, value, limit, relation, isShare, holds, detail }) => {
    const write = (number: number) => (isShare ? formatPercent(number, 2) : formatNumber(number));
    const verdict = holds === null ? 'not told' : holds ? 'holds' : 'fails';
    return [claim, `${relation} ${write(limit)}`, write(value), verdict, detail];
  });
  return table(['claim', 'target', 'measured', '', ''], rows, (row) =>
    row[3] === 'fails' ? 'bad' : row[3] === 'holds' ? 'good' : '',
  );
}

const ESTIMATOR_TEXT =
  'The simulator knows the truth, so each estimate is held against it. <i>Answered</i>: for how many of those asked about there was an estimate at all.';

function estimatorTable(estimators: readonly EstimatorResult[]): string {
  if (estimators.length === 0) return '';
  const rows = estimators.map(({ name, hour, asked, answered, measure, value }) => [
    name,
    `after ${formatHour(hour)}`,
    `${answered} of ${asked}`,
    measure,
    formatPercent(value),
  ]);
  return table(['estimate', 'when', 'answered', 'measure', 'value'], rows);
}

function eventSection({ events }: SimulationResult): string {
  if (events.length === 0) return '';
  const rows = events.map(({ hour, untilHour, text, convergedMinutes }) => [
    formatHour(hour),
    untilHour > hour ? formatHour(untilHour) : 'to the end',
    text,
    convergedMinutes === null ? 'not before the next event' : `${formatNumber(convergedMinutes)} minutes`,
  ]);
  const text = '<i>Converged</i>: until the mean round trip was within 5 % of the best of DNS again, and stayed there.';
  return section('What happened', text, table(['from', 'to', 'event', 'converged after'], rows));
}

function table(
  heads: readonly string[],
  rows: readonly string[][],
  lookOf: (row: string[]) => string = () => '',
): string {
  const cells = (tag: string, row: readonly string[]) =>
    row.map((cell) => `<${tag}>${escapeText(cell)}</${tag}>`).join('');
  const body = rows.map((row) => `<tr class="${lookOf(row)}">${cells('td', row)}</tr>`).join('');
  return `<div class="wide"><table><thead><tr>${cells('th', heads)}</tr></thead><tbody>${body}</tbody></table></div>`;
}

const WORDS = [
  '<dl>',
  '<dt>group</dt><dd>the users for whom DNS has one answer: those behind a resolver, or a client subnet where the resolver tells it</dd>',
  '<dt>best of DNS</dt><dd>one answer for each group, or shares of it; true round trips and demand; all capacities kept</dd>',
  '<dt>per user</dt><dd>an answer for each client prefix: what no DNS can give, an ideal</dd>',
  '<dt>geography</dt><dd>the site nearest by distance to whoever asks; what is known without measurements</dd>',
  '<dt>nearest to resolver</dt><dd>the site with the least true round trip from the resolver itself</dd>',
  '<dt>prefix-day</dt><dd>one client prefix through one day</dd>',
  '</dl>',
].join('');
