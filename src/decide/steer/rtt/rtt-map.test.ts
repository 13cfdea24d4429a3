import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createRandom } from '../../../model/random.ts';
import type { PrefixFacts } from '../measured.ts';
import { RttMap } from './rtt-map.ts';

interface Small {
  readonly facts: PrefixFacts;
  readonly prefixes: number;
  readonly sites: number;
  trueMs(prefix: number, site: number): number;
  /** One connection. */
  drawMs(prefix: number, site: number): number;
  /** 0 to below 1. */
  random(): number;
  placeOf(prefix: number): number;
}

interface Shape {
  readonly prefixes: number;
  readonly places: number;
  readonly sites: number;
  /** [site]: the place it is in. */
}

/** Places on a plane of 12,000 x 5,000 km, 8 ASes in each of 30 countries, ways of their own for each AS and each place. */
function createSmall(seed: number, { prefixes, places, sites }: Shape): Small {
  const draw = createRandom(seed);
  const random = () => draw() / 2 ** 32;
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const countries = Array.from({ length: 30 }, () => ({ x: random() * 12_000, y: random() * 5000 }));
  const placeList = Array.from({ length: places }, () => {
    const country = Math.floor(random() * 30);
    return {
      country,
      asn: 1 + country * 8 + Math.floor(8 * random() ** 2),
      x: countries[country].x + 300 * normal(),
      y: countries[country].y + 300 * normal(),
    };
  });
  const siteList = Array.from({ length: sites }, () => placeList[Math.floor(random() * places)]);
  const km = (place: number, s: number) =>
    Math.hypot(placeList[place].x - siteList[s].x, placeList[place].y - siteList[s].y);
  const stretch = Float64Array.from({ length: 241 * sites }, () => 1.5 * Math.exp(0.25 * normal()));
  const detour = Float64Array.from({ length: places * sites }, () => (random() < 0.06 ? 20 + 60 * random() : 0));
  const access = Float64Array.from({ length: prefixes }, () => 8 * Math.exp(0.5 * normal()));
  const placeOf = (prefix: number) => Math.floor((prefix * places) / prefixes);
  const trueMs = (prefix: number, s: number) => {
    const place = placeOf(prefix);
    const way = stretch[placeList[place].asn * sites + s] * 0.01 * km(place, s) + detour[place * sites + s];
    return access[prefix] + 1 + way;
  };
  return {
    prefixes,
    sites,
    random,
    placeOf,
    trueMs,
    drawMs: (prefix, s) => trueMs(prefix, s) - 4 * Math.log(1 - random()),
    facts: {
      asn: (prefix) => placeList[placeOf(prefix)].asn,
      country: (prefix) => placeList[placeOf(prefix)].country,
      distanceKm: (prefix, s) => km(placeOf(prefix), s),
    },
  };
}

const NO_ROWS = { prefix: new Uint32Array(1), site: new Uint16Array(1), ms: new Float32Array(1), length: 1 };

function feed(map: RttMap, world: Small, prefix: number, site: number, times: number, nowMs: number): void {
  for (let n = 0; n < times; n++) {
    NO_ROWS.prefix[0] = prefix;
    NO_ROWS.site[0] = site;
    NO_ROWS.ms[0] = world.drawMs(prefix, site);
    map.observe(NO_ROWS, nowMs);
  }
}

/** Prefixes are measured at the site that is nearest, and one in five at another one. */
function measure(map: RttMap, world: Small, rounds: number): Set<number> {
  const measured = new Set<number>();
  for (let round = 0; round < rounds; round++) {
    for (let prefix = 0; prefix < world.prefixes; prefix++) {
      if (prefix % 3 === 0) continue;
      let site = 0;
      for (let s = 1; s < world.sites; s++) {
        if (world.facts.distanceKm(prefix, s) < world.facts.distanceKm(prefix, site)) site = s;
      }
      if (prefix % 5 === 0 && round % 2 === 0) site = (prefix * 7) % world.sites;
      measured.add(prefix * world.sites + site);
      feed(map, world, prefix, site, Math.ceil(3 * world.random()), round * 60_000);
    }
    map.fit(round * 60_000);
  }
  return measured;
}

function score(map: RttMap, world: Small, isCounted: (prefix: number, site: number) => boolean) {
  let inside = 0;
  let count = 0;
  let error = 0;
  let width = 0;
  for (let prefix = 0; prefix < world.prefixes; prefix++) {
    for (let s = 0; s < world.sites; s++) {
      if (!isCounted(prefix, s)) continue;
      const estimate = map.estimate(prefix, s);
      const truth = world.trueMs(prefix, s);
      if (truth >= estimate.low && truth <= estimate.high) inside++;
      error += Math.abs(estimate.value - truth);
      width += estimate.high - estimate.low;
      count++;
    }
  }
  return { coverage: inside / count, error: error / count, width: width / count, count };
}

/** Sites that are nearer. */
function rank(world: Small, prefix: number, site: number): number {
  const { distanceKm } = world.facts;
  let nearer = 0;
  for (let s = 0; s < world.sites; s++) if (distanceKm(prefix, s) < distanceKm(prefix, site)) nearer++;
  return nearer;
}

describe('round-trip times by prefix and site', () => {
  for (const seed of [1, 2, 3]) {
    it(`holds the truth in nine of ten intervals, measured or borrowed (seed ${seed})`, () => {
      const world = createSmall(seed, { prefixes: 4000, places: 600, sites: 12 });
      const map = new RttMap(world.facts, world.sites, { pairs: 100_000 }, seed);
      const measured = measure(map, world, 12);
      const own = score(map, world, (p, s) => measured.has(p * world.sites + s));
      assert.ok(own.coverage > 0.85 && own.coverage < 0.95, `measured: ${own.coverage}`);
      assert.ok(own.error < 1, `measured: off by ${own.error} ms`);
      const isNear = (p: number, s: number) => !measured.has(p * world.sites + s) && rank(world, p, s) < 5;
      const borrowed = score(map, world, isNear);
      assert.ok(borrowed.coverage > 0.78 && borrowed.coverage < 0.97, `borrowed: ${borrowed.coverage}`);
      const blank = score(new RttMap(world.facts, world.sites, { pairs: 100_000 }, seed), world, isNear);
      assert.ok(borrowed.error < blank.error, `borrowed ${borrowed.error} ms, by distance ${blank.error} ms`);
    });
  }
});
