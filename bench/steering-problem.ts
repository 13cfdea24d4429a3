/** Problems for `bench steering`: groups around metros, heavy tails of demand, sites with a little more room than is wanted, links shared by regions. */
import {
  type ClassSpec,
  DEFAULT_OPTIONS,
  PATH_LINKS,
  type SteeringProblem,
} from '../src/decide/steer/solve/problem.ts';

const REGIONS = 200;
const SHARED_LINKS = 20;
const CLASSES: readonly ClassSpec[] = [
  { kind: 'latency', siteLoad: 1, linkLoad: 0.2 },
  { kind: 'throughput', siteLoad: 0.5, linkLoad: 2 },
  { kind: 'batch', siteLoad: 2, linkLoad: 0.5 },
];

export interface Size {
  readonly groups: number;
  readonly sites: number;
  readonly classes: number;
}

/** `random`: from 0 to below 1. */
export function createProblem({ groups, sites, classes: count }: Size, random: () => number): SteeringProblem {
  const classes = CLASSES.slice(0, count);
  const place = () => ({ x: random() * 360, y: random() * 140 - 70 });
  const metros = Array.from({ length: REGIONS }, place);
  const at = Array.from({ length: sites }, place);
  const region = Int32Array.from({ length: groups }, () => Math.floor(random() * REGIONS));
  const rttMs = new Float32Array(groups * sites);
  for (let group = 0; group < groups; group++) {
    const x = metros[region[group]].x + random() * 10;
    const y = metros[region[group]].y + random() * 10;
    const lastMile = random() * 20;
    for (let site = 0; site < sites; site++) {
      const dx = Math.abs(x - at[site].x);
      const distance = Math.hypot(Math.min(dx, 360 - dx), y - at[site].y);
      rttMs[group * sites + site] = 5 + lastMile + distance * 1.5 * (1 + 0.3 * random());
    }
  }
  const demand = Float64Array.from({ length: groups * count }, () => (1 - random()) ** -0.7);
  let siteNeed = 0;
  let linkNeed = 0;
  for (const [item, value] of demand.entries()) {
    siteNeed += value * classes[item % count].siteLoad;
    linkNeed += value * classes[item % count].linkLoad;
  }
  const paths = new Int32Array(REGIONS * sites * PATH_LINKS).fill(-1);
  for (let path = 0; path < REGIONS * sites; path++) {
    paths[path * PATH_LINKS] = (path % sites) * 2 + (Math.floor(path / sites) & 1);
    if (random() < 0.3) paths[path * PATH_LINKS + 1] = sites * 2 + Math.floor(random() * SHARED_LINKS);
  }
  const ownLink = () => (linkNeed / sites / 2) * (1.2 + random() * 2);
  const sharedLink = () => ((linkNeed * 0.3) / SHARED_LINKS) * (1 + random() * 2);
  return {
    groups,
    sites,
    classes,
    demand,
    rttMs,
    siteCapacity: Float64Array.from({ length: sites }, () => (siteNeed / sites) * (1.15 + random())),
    linkCapacity: Float64Array.from({ length: sites * 2 + SHARED_LINKS }, (_, link) =>
      link < sites * 2 ? ownLink() : sharedLink(),
    ),
    region,
    regions: REGIONS,
    paths,
    batchCost: Float64Array.from({ length: sites }, () => 1 + random() * 5),
    previous: new Int32Array(groups * count).fill(-1),
    options: { ...DEFAULT_OPTIONS, limitMs: Infinity, nowMs: () => performance.now() },
  };
}

/** Demand of one item in fifty, and round-trip times of as many groups, are others. */
export function changeProblem(problem: SteeringProblem, previous: Uint16Array, random: () => number): SteeringProblem {
  const demand = problem.demand.map((value) => (random() < 0.02 ? value * (0.5 + random()) : value));
  const rttMs = problem.rttMs.slice();
  for (let group = 0; group < problem.groups; group++) {
    if (random() >= 0.02) continue;
    const factor = 0.8 + random() * 0.4;
    for (let pair = group * problem.sites, end = pair + problem.sites; pair < end; pair++) rttMs[pair] *= factor;
  }
  return { ...problem, demand, rttMs, previous: Int32Array.from(previous) };
}
