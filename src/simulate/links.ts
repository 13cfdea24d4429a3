/** Capacities of sites and links, sized by where users would go by nearness alone: enough in all, too little here and there. */
import { Draws } from './draws.ts';
import { REGIONS } from './geography.ts';
import { LINKS_ON_PATH, type SimulatedLink, type WorldParameters } from './types.ts';

/** Of a capacity: by nearness; the rest is the same for all sites, or all links of a site. */
const BY_NEARNESS = 0.75;
/** Of the smaller region's traffic, what a link between two regions carries. */
const BETWEEN_REGIONS = 0.15;

export interface Nearness {
  /** [region * sites + site]: share of all demand that is nearest to the site, by the region of the users. */
  readonly share: Float64Array;
  readonly siteRegion: Uint8Array;
  readonly siteNames: readonly string[];
}

/** [site]: new connections a second. */
export function siteCapacities(nearness: Nearness, parameters: WorldParameters): Float64Array {
  const sites = nearness.siteNames.length;
  const { connectionsPerSecond, dayPeak } = parameters.demand;
  return Float64Array.from({ length: sites }, (_, site) => {
    let natural = 0;
    for (let region = 0; region < REGIONS.length; region++) natural += nearness.share[region * sites + site] as number;
    const share = BY_NEARNESS * natural + (1 - BY_NEARNESS) / sites;
    return connectionsPerSecond * dayPeak * parameters.headroom * share;
  });
}

/** Every site's links, one of which serves each region; between two regions one that all sites of both share. */
export function drawLinks(
  nearness: Nearness,
  parameters: WorldParameters,
  seed: number,
): { readonly links: SimulatedLink[]; readonly paths: Int32Array } {
  const draws = new Draws(seed, 7);
  const sites = nearness.siteNames.length;
  const regions = REGIONS.length;
  const perSite = parameters.linksPerSite;
  const paths = new Int32Array(regions * sites * LINKS_ON_PATH).fill(-1);
  const links: SimulatedLink[] = [];
  const bits = parameters.services.reduce((sum, service) => sum + service.share * service.bitsPerConnection, 0);
  const peakBps = parameters.demand.connectionsPerSecond * parameters.demand.dayPeak * bits;
  const shareOf = (region: number, site: number): number => nearness.share[region * sites + site] as number;
  for (let site = 0; site < sites; site++) {
    const natural = new Float64Array(perSite);
    // The site's own region comes by the first link, the others by the rest in turn.
    const others = draws.below(regions);
    for (let region = 0; region < regions; region++) {
      const own = region === nearness.siteRegion[site] ? 0 : (others + region) % perSite;
      natural[own] = (natural[own] as number) + shareOf(region, site);
      paths[(region * sites + site) * LINKS_ON_PATH] = links.length + own;
    }
    const all = natural.reduce((sum, share) => sum + share, 0);
    for (let own = 0; own < perSite; own++) {
      const even = (BY_NEARNESS * all + (1 - BY_NEARNESS) / sites) / perSite;
      const share = BY_NEARNESS * (natural[own] as number) + (1 - BY_NEARNESS) * even;
      const capacityBps = peakBps * parameters.linkHeadroom * share * draws.between(0.9, 1.5);
      links.push({ name: `${nearness.siteNames[site]}-${own + 1}`, site, capacityBps });
    }
  }
  addSharedLinks(nearness, peakBps * parameters.linkHeadroom, links, paths);
  return { links, paths };
}

/** Two regions with sites share a link for a part of the smaller one's traffic; what has no site nearer comes on top. */
function addSharedLinks(nearness: Nearness, allBps: number, links: SimulatedLink[], paths: Int32Array): void {
  const regions = REGIONS.length;
  const sites = nearness.siteNames.length;
  const ofRegion = new Float64Array(regions);
  const between = new Map<number, { readonly link: number; crossing: number; readonly smaller: () => number }>();
  for (let region = 0; region < regions; region++) {
    for (let site = 0; site < sites; site++) {
      const other = nearness.siteRegion[site] as number;
      const share = nearness.share[region * sites + site] as number;
      ofRegion[region] = (ofRegion[region] as number) + share;
      if (other === region) continue;
      const [a, b] = [Math.min(region, other), Math.max(region, other)];
      let shared = between.get(a * regions + b);
      if (shared === undefined) {
        const smaller = (): number => Math.min(ofRegion[a] as number, ofRegion[b] as number);
        shared = { link: links.length + between.size, crossing: 0, smaller };
        between.set(a * regions + b, shared);
      }
      shared.crossing += share;
      paths[(region * sites + site) * LINKS_ON_PATH + 1] = shared.link;
    }
  }
  for (const [key, { crossing, smaller }] of between) {
    const name = `${REGIONS[Math.floor(key / regions)]}-${REGIONS[key % regions]}`.replaceAll(' ', '-');
    const share = crossing + Math.max(0.01, BETWEEN_REGIONS * smaller());
    links.push({ name, site: -1, capacityBps: allBps * share });
  }
}
