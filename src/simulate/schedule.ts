/** A scenario's events as the internet and the steering see them, in words, and the times that they explain. */
import type { SiteDrain } from '../decide/steer/control/limits.ts';
import type { SteeringHealth } from '../decide/steer/measured-model.ts';
import type { Scenario, ScenarioEvent } from './scenario.ts';
import type { World, WorldEvent } from './types.ts';

/** As long as a run can be. */
const FOR_EVER_SECONDS = 8 * 86_400;
/** After the end of an event, moves still come from it: what was lost is refilled slowly. */
export const AFTERMATH_MS = 3_600_000;

/** What happens to the internet. Drains happen to steering only. */
export function worldEvents(events: readonly ScenarioEvent[]): WorldEvent[] {
  return events.flatMap((event) => {
    const end = Number.isFinite(event.untilMs) ? [event.untilMs] : [];
    return [worldEvent(event), ...end.map((atMs) => endOf(event, atMs))].filter((each) => each !== null);
  });
}

function worldEvent(event: ScenarioEvent): WorldEvent | null {
  const { atMs, untilMs } = event;
  switch (event.kind) {
    case 'drain':
      return null;
    case 'site-down':
      return { atMs, kind: 'site-down', site: event.site };
    case 'site-capacity':
      return { atMs, kind: 'site-capacity', site: event.site, factor: event.share };
    case 'link-down':
      return { atMs, kind: 'link-down', link: event.link };
    case 'link-capacity':
      return { atMs, kind: 'link-capacity', link: event.link, factor: event.share };
    case 'flash-crowd': {
      const seconds = Number.isFinite(untilMs) ? (untilMs - atMs) / 1000 : FOR_EVER_SECONDS;
      return {
        atMs,
        kind: 'flash-crowd',
        service: event.service,
        region: event.region,
        factor: 1 + event.more,
        seconds,
      };
    }
    case 'ttl':
      return { atMs, kind: 'ttl', service: event.service, ttlSeconds: event.ttlSeconds };
    case 'path-shift':
      return { atMs, kind: 'path-shift', asn: 0, site: event.site, ms: event.addMs };
  }
}

function endOf(event: ScenarioEvent, atMs: number): WorldEvent | null {
  switch (event.kind) {
    case 'site-down':
      return { atMs, kind: 'site-up', site: event.site };
    case 'site-capacity':
      return { atMs, kind: 'site-capacity', site: event.site, factor: 1 };
    case 'link-down':
      return { atMs, kind: 'link-up', link: event.link };
    case 'link-capacity':
      return { atMs, kind: 'link-capacity', link: event.link, factor: 1 };
    case 'path-shift':
      return { atMs, kind: 'path-shift', asn: 0, site: event.site, ms: -event.addMs };
    default:
      // A drain is steering's, a flash crowd has its length, a TTL stays.
      return null;
  }
}

/** Begins and ends, rising. */
export function turns(events: readonly ScenarioEvent[]): number[] {
  const times = events.flatMap(({ atMs, untilMs }) => [atMs, untilMs]).filter(Number.isFinite);
  return [...new Set(times)].sort((a, b) => a - b);
}

/** Whether a move at a time may come from an event. */
export function isExplained(events: readonly ScenarioEvent[], nowMs: number): boolean {
  return events.some(({ atMs, untilMs }) => {
    const end = Number.isFinite(untilMs) ? untilMs : atMs;
    return nowMs >= atMs && nowMs <= end + AFTERMATH_MS;
  });
}

/** `paths`: ways as they are now. What steering is told by probes, backends and operators: at once, since the steps of a run are longer than that takes. */
export function healthAt(
  world: World,
  events: readonly ScenarioEvent[],
  nowMs: number,
  paths: Int32Array,
): SteeringHealth {
  const drains = new Map<number, SiteDrain>();
  const sites = new Float64Array(world.sites.length).fill(1);
  const links = new Float64Array(world.links.length).fill(1);
  for (const event of events) {
    if (nowMs < event.atMs || nowMs >= event.untilMs) continue;
    if (event.kind === 'site-down') sites[event.site] = 0;
    else if (event.kind === 'drain') drains.set(event.site, { sinceMs: event.atMs, overMs: 0 });
    else if (event.kind === 'site-capacity') sites[event.site] = Math.min(sites[event.site], event.share);
    else if (event.kind === 'link-down') links[event.link] = 0;
    else if (event.kind === 'link-capacity') links[event.link] = Math.min(links[event.link], event.share);
  }
  return { sites, links, drains, paths };
}

/** What in a scenario is not in its world: a link, a service or a region with too high a number. In words; empty: all is well. */
export function missingIn(world: World, { events }: Scenario): string[] {
  const services = world.parameters.services.length;
  return events.flatMap((event, index) => {
    const missing = (what: string, number: number, count: number) =>
      number < count ? [] : [`events[${index}]: there is no ${what} ${number}; write a number from 0 to ${count - 1}`];
    if (event.kind === 'link-down' || event.kind === 'link-capacity')
      return missing('link', event.link, world.links.length);
    if (event.kind === 'ttl') return missing('service', event.service, services);
    if (event.kind !== 'flash-crowd') return [];
    return [...missing('service', event.service, services), ...missing('region', event.region, world.regions.length)];
  });
}

export function describeEvent(world: World, event: ScenarioEvent): string {
  const percent = (share: number) => `${Math.round(share * 100)} %`;
  const service = (number: number) => (number < 0 ? 'all services' : world.parameters.services[number].name);
  switch (event.kind) {
    case 'site-down':
      return `${world.sites[event.site].name} is lost`;
    case 'drain':
      return `${world.sites[event.site].name} is drained`;
    case 'site-capacity':
      return `${world.sites[event.site].name} at ${percent(event.share)}`;
    case 'link-down':
      return `link ${world.links[event.link].name} is lost`;
    case 'link-capacity':
      return `link ${world.links[event.link].name} at ${percent(event.share)}`;
    case 'flash-crowd': {
      const where = event.region < 0 ? 'everywhere' : `in ${world.regions[event.region]}`;
      return `+${percent(event.more)} ${where}${event.service < 0 ? '' : ` of ${service(event.service)}`}`;
    }
    case 'ttl':
      return `TTL ${event.ttlSeconds} s of ${service(event.service)}`;
    case 'path-shift':
      return `${event.addMs > 0 ? '+' : ''}${event.addMs} ms to ${event.site < 0 ? 'all sites' : world.sites[event.site].name}`;
  }
}
