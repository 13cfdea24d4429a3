/** What stands above and below the sites: sums, problems, DNS, changes. */
import { make } from './elements.js';
import { formatBits, formatCount, formatPercent, formatTime } from './format.js';
import { pill } from './site-view.js';
import { remember, sparkline } from './sparkline.js';

/** The numbers of a state that have curves. */
export function rememberRates(status) {
  for (const site of status.sites) remember(`site ${site.name}`, site.traffic.packetsPerSecond);
  remember(
    'packets',
    sum(status.sites, (site) => site.traffic.packetsPerSecond),
  );
  remember(
    'queries',
    sum(status.nameServers, (server) => server.queriesPerSecond),
  );
}

function sum(list, numberOf) {
  return list.reduce((total, one) => total + numberOf(one), 0);
}

export function sumTiles(status) {
  const { sites, nameServers } = status;
  const backends = new Map();
  for (const site of sites) {
    for (const service of site.services) {
      for (const { name, verdict } of service.backends) {
        backends.set(`${site.name}/${name}`, (backends.get(`${site.name}/${name}`) ?? true) && verdict !== 'unhealthy');
      }
    }
  }
  const serving = [...backends.values()].filter(Boolean).length;
  const balancers = sites.flatMap((site) => site.balancers);
  const forwarding = balancers.filter(({ state }) => state === 'forwarding').length;
  const up = sites.filter((site) => site.up).length;
  return [
    rateTile(
      'packets',
      'Packets',
      '/s',
      sum(sites, (site) => site.traffic.packetsPerSecond),
      formatBits(sum(sites, (site) => site.traffic.bytesPerSecond)),
    ),
    rateTile(
      'queries',
      'DNS queries',
      '/s',
      sum(nameServers, (server) => server.queriesPerSecond),
      `${nameServers.length} name servers`,
    ),
    countTile('Sites up', up, sites.length),
    countTile('Balancers forwarding', forwarding, balancers.length),
    countTile('Backends serving', serving, backends.size),
  ];
}

function rateTile(name, title, unit, value, below) {
  return make(
    'div.card.sum.rate',
    {},
    make('p.quiet', {}, title),
    make('p.big', {}, formatCount(value), make('small', {}, unit)),
    make('p.quiet.small', {}, below),
    sparkline(name, title),
  );
}

function countTile(title, count, of) {
  const tone = count === of ? 'good' : count === 0 ? 'bad' : 'warn';
  return make(
    'div.card.sum',
    {},
    make('p.quiet', {}, title),
    make(`p.big.${tone}-text`, {}, `${count}`, make('small', {}, ` of ${of}`)),
  );
}

export function problemList(problems) {
  return problems.map((text) => make('p.problem', {}, text));
}

export function dnsView(status) {
  const services = new Map();
  for (const site of status.sites) {
    for (const service of site.services) {
      if (service.dnsName === null) continue;
      const answers = services.get(service.name) ?? { dnsName: service.dnsName, sites: [] };
      answers.sites.push({ name: site.name, perSecond: service.answersPerSecond });
      services.set(service.name, answers);
    }
  }
  return [
    make('ul.rows', {}, status.nameServers.map(nameServerRow)),
    [...services.values()].map(answersBlock),
    topBlock('Most queries from', status.nameServers, 'clients'),
    topBlock('Most names that do not exist below', status.nameServers, 'nxdomainParents'),
  ];
}

/** Of all name servers together. */
function topBlock(title, nameServers, list) {
  const rates = new Map();
  for (const { top } of nameServers) {
    for (const { key, perSecond } of top?.[list] ?? []) rates.set(key, (rates.get(key) ?? 0) + perSecond);
  }
  if (rates.size === 0) return null;
  const rows = [...rates].sort(([, a], [, b]) => b - a).slice(0, 5);
  return make(
    'section.service',
    {},
    make('div.service-top', {}, make('h4', {}, title)),
    make(
      'ul.rows',
      {},
      rows.map(([key, perSecond]) =>
        make(
          'li.row',
          {},
          make('div.row-main', {}, make('div', {}, key)),
          make('div.row-number', {}, `${formatCount(perSecond)}/s`),
        ),
      ),
    ),
  );
}

function nameServerRow(server) {
  const tone = { answering: 'good', failed: 'bad' }[server.state] ?? 'idle';
  return make(
    'li.row',
    {},
    make(`span.dot.${tone}`, { 'aria-hidden': 'true' }),
    make(
      'div.row-main',
      {},
      make('div', {}, make('b', {}, server.name), make('span.quiet', {}, ` ${server.state}`)),
      make('div.quiet.small', {}, server.listen.join(', ')),
      server.reason === null ? null : make('div.reason', {}, server.reason),
    ),
    make('div.row-number', {}, `${formatCount(server.queriesPerSecond)}/s`),
  );
}

/** Where clients are sent. */
function answersBlock({ dnsName, sites }) {
  const total = sum(sites, ({ perSecond }) => perSecond);
  return make(
    'section.service',
    {},
    make(
      'div.service-top',
      {},
      make('h4', {}, dnsName),
      make('span.quiet.small', {}, `${formatCount(total)} answers/s`),
    ),
    make(
      'ul.rows',
      {},
      sites.map(({ name, perSecond }) => {
        const share = total === 0 ? 0 : perSecond / total;
        return make(
          'li.row.answers',
          {},
          make('b', {}, name),
          make('progress', { value: share.toFixed(4), max: 1, 'aria-label': `share of answers with ${name}` }),
          make('span.row-number', {}, formatPercent(share)),
        );
      }),
    ),
  );
}

/** What a change is about, as far as its sentence does not say it. */
function aboutText(message, fields) {
  return Object.entries(fields ?? {})
    .filter(([, value]) => value !== null && value !== '' && !message.includes(String(value)))
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

export function changeList(changes) {
  if (changes.length === 0) return [make('li.quiet', {}, 'Nothing yet.')];
  return changes.map(({ atMs, level, message, fields }) =>
    make(
      'li.change',
      {},
      make('time.quiet', { datetime: new Date(atMs).toISOString() }, formatTime(atMs)),
      make('span', {}, message, ' ', make('span.quiet', {}, aboutText(message, fields))),
      level === 'info' ? null : pill(level === 'warn' ? 'warning' : 'error', level === 'warn' ? 'warn' : 'bad'),
    ),
  );
}
