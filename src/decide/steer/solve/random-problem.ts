/** Small random steering problems with every kind of constraint, for tests. */
import { type ClassKind, DEFAULT_OPTIONS, PATH_LINKS, type SteeringProblem } from './problem.ts';

const KINDS: readonly ClassKind[] = ['latency', 'throughput', 'batch'];

/** Exact mode without a limit of time. `random`: from 0 to below 1; `size`: number of groups, default few. */
export function randomProblem(random: () => number, size?: number): SteeringProblem {
  const below = (count: number) => Math.floor(random() * count);
  const chance = (share: number) => random() < share;
  const groups = size ?? 2 + below(14);
  const sites = 2 + below(4);
  const links = below(5);
  const regions = 1 + below(3);
  const classes = KINDS.slice(0, 1 + below(3)).map((kind) => ({
    kind,
    siteLoad: 0.5 + random(),
    linkLoad: chance(0.2) ? 0 : random() * 2,
    ...(chance(0.3) ? { allowed: Uint8Array.from({ length: sites }, () => (chance(0.7) ? 1 : 0)) } : {}),
    ...(chance(0.3) ? { stickiness: random() } : {}),
  }));
  const items = groups * classes.length;
  const demand = Float64Array.from({ length: items }, () => (chance(0.1) ? 0 : random() * 10));
  const total = demand.reduce((a, b) => a + b, 0);
  const rttMs = Float32Array.from({ length: groups * sites }, () =>
    chance(0.1) ? Infinity : Math.round(random() * 300),
  );
  const tight = 0.5 + random() * 2;
  const capacity = () => (total / sites) * tight * (0.3 + random());
  return {
    groups,
    sites,
    classes,
    demand,
    rttMs,
    siteCapacity: Float64Array.from({ length: sites }, () => (chance(0.1) ? 0 : capacity())),
    isDead: Uint8Array.from({ length: sites }, () => (chance(0.1) ? 1 : 0)),
    linkCapacity: Float64Array.from({ length: links }, capacity),
    linkBackground: Float64Array.from({ length: links }, () => (chance(0.5) ? 0 : capacity() * random())),
    region: Int32Array.from({ length: groups }, () => below(regions)),
    regions,
    paths: Int32Array.from({ length: regions * sites * PATH_LINKS }, () =>
      links === 0 || chance(0.3) ? -1 : below(links),
    ),
    batchCost: Float64Array.from({ length: sites }, () => Math.round(random() * 10)),
    previous: Int32Array.from({ length: items }, () => (chance(0.3) ? -1 : below(sites))),
    options: {
      ...DEFAULT_OPTIONS,
      slack: chance(0.3) ? 0 : 0.01,
      reserve: chance(0.3) ? 0 : 0.1,
      maxMoved: chance(0.3) ? 0.05 + random() * 0.4 : 1,
      gap: 0,
      limitMs: Infinity,
      nowMs: () => 0,
    },
  };
}
