/** A site as a card: its balancers, and its services with their backends. */
import { make, makeSvg } from './elements.js';
import { formatBits, formatCount, formatPercent, formatPlace } from './format.js';
import { sparkline } from './sparkline.js';

export function siteCard(site) {
  return make(
    'article.card.site',
    {},
    make(
      'header.card-top',
      {},
      make('div', {}, make('h3', {}, site.name), make('p.quiet', {}, formatPlace(site.location))),
      make(
        'div.card-state',
        {},
        site.drained ? pill('drained', 'warn') : null,
        site.up ? pill('up', 'good') : pill('down', 'bad'),
      ),
    ),
    make(
      'div.flow',
      {},
      make(
        'div.flow-number',
        {},
        make('strong', {}, formatCount(site.traffic.packetsPerSecond)),
        make('span.quiet', {}, ' packets/s'),
        make('div.quiet', {}, formatBits(site.traffic.bytesPerSecond)),
      ),
      sparkline(`site ${site.name}`, `packets per second of ${site.name}`),
    ),
    make('h4', {}, 'Balancers'),
    make('ul.rows', {}, site.balancers.map(balancerRow)),
    site.services.map(serviceBlock),
  );
}

const BALANCER_TONES = {
  forwarding: 'good',
  starting: 'idle',
  drained: 'warn',
  withdrawn: 'bad',
  failed: 'bad',
  elsewhere: 'idle',
};

function balancerRow(balancer) {
  const modes = balancer.attachments.map(({ interface: name, mode }) => `${name} ${mode}`);
  const lost = balancer.sessions.filter(({ up }) => !up).map(({ router }) => router);
  const details = [
    ...modes,
    balancer.sessions.length === 0 ? null : lost.length > 0 ? `no BGP to ${lost.join(', ')}` : 'BGP up',
    `${balancer.announced.length} VIP${balancer.announced.length === 1 ? '' : 's'} announced`,
  ].filter((text) => text !== null);
  return make(
    'li.row',
    {},
    dot(BALANCER_TONES[balancer.state] ?? 'idle'),
    make(
      'div.row-main',
      {},
      make('div', {}, make('b', {}, balancer.name), make('span.quiet', {}, ` ${balancer.state}`)),
      make('div.quiet.small', {}, details.join(' · ')),
      balancer.reason === null ? null : make('div.reason', {}, balancer.reason),
    ),
    make(
      'div.row-number',
      {},
      make('span', {}, `${formatCount(balancer.traffic.packetsPerSecond)}/s`),
      balancer.traffic.droppedPerSecond > 0
        ? make('div.small.bad-text', {}, `${formatCount(balancer.traffic.droppedPerSecond)}/s dropped`)
        : null,
    ),
  );
}

function serviceBlock(service) {
  const { backends } = service;
  const healthy = backends.filter(({ verdict }) => verdict === 'healthy').length;
  const tone = healthy === backends.length ? 'good' : healthy === 0 ? 'bad' : 'warn';
  return make(
    'section.service',
    {},
    make(
      'div.service-top',
      {},
      make('h4', {}, service.name, service.dnsName === null ? null : make('span.quiet', {}, ` ${service.dnsName}`)),
      make(
        'div.card-state',
        {},
        service.panic ? pill('panic: all are used', 'bad') : null,
        service.reached === 'unhealthy' ? pill('not reached', 'bad') : null,
        pill(`${healthy}/${backends.length} healthy`, tone),
      ),
    ),
    make(
      'p.quiet.small.vips',
      {},
      service.vips.map(({ address, announced }) =>
        make(announced ? 'span.vip' : 'span.vip.off', { title: announced ? 'announced' : 'not announced' }, address),
      ),
      make('span', {}, service.ports.join(' ')),
    ),
    slotBar(service),
    make('ul.rows', {}, backends.map(backendRow)),
  );
}

/** How the lookup table is divided: a part for each backend. */
function slotBar(service) {
  const parts = service.backends.filter(({ slots }) => slots > 0);
  const text = parts.map(({ name, share }) => `${name} ${formatPercent(share)}`).join(', ') || 'nobody';
  const waiting =
    service.waitingSlots > 0 ? `, ${formatPercent(service.waitingSlots / service.slots)} of it waits` : '';
  let start = 0;
  const rects = parts.map(({ share }) => {
    const x = start;
    start += share * 100;
    // A gap of a third of a percent tells neighbours apart.
    return makeSvg('rect.slot-part', {
      x: x.toFixed(3),
      width: Math.max(0.2, share * 100 - 0.33).toFixed(3),
      y: 0,
      height: 1,
    });
  });
  return make(
    'div.slots',
    {},
    makeSvg(
      'svg.slot-bar',
      { viewBox: '0 0 100 1', preserveAspectRatio: 'none', role: 'img', 'aria-label': `new connections go to ${text}` },
      makeSvg('title', {}, text),
      rects,
    ),
    service.unsettledSlots > 0
      ? make(
          'p.small.quiet',
          {},
          `${formatPercent(service.unsettledSlots / service.slots)} of the lookup table is changing${waiting}`,
        )
      : null,
  );
}

function backendRow(backend) {
  const tone = { healthy: 'good', unhealthy: 'bad', unknown: 'idle' }[backend.verdict];
  const state = backend.verdict === 'healthy' ? null : backend.diagnosis;
  return make(
    'li.row',
    {},
    dot(tone),
    make(
      'div.row-main',
      {},
      make(
        'div',
        {},
        make('b', {}, backend.name),
        make('span.quiet', {}, ` ${backend.address}`),
        backend.drained ? pill('drained', 'warn') : null,
      ),
      state === null
        ? null
        : make(
            'div.reason',
            {},
            state,
            backend.reason === null ? null : make('span.quiet', {}, ` (${backend.reason})`),
          ),
    ),
    make(
      'div.row-number',
      {},
      backend.packetsPerSecond === null ? null : make('span', {}, `${formatCount(backend.packetsPerSecond)}/s`),
      make('div.small.quiet', {}, `${formatPercent(backend.share)} of new`),
    ),
  );
}

export function pill(text, tone) {
  return make(`span.pill.${tone}`, {}, text);
}

/** Beside a text that says the same: colour is never the only sign. */
function dot(tone) {
  return make(`span.dot.${tone}`, { 'aria-hidden': 'true' });
}
