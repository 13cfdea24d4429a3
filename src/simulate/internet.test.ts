import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { NO_PREFIX, NO_SITE, type Observations } from '../decide/steer/measured.ts';
import { Internet } from './internet.ts';
import { PRESET_NAMES, presetParameters } from './presets.ts';
import type { Answer, ResolverParameters, World, WorldParameters } from './types.ts';
import { createWorld } from './world.ts';

const SIZE = { prefixes: 800, resolvers: 120, sites: 4 };
const MINUTE = 60;

/** Resolvers that do nothing but cache, and users who want the same at any hour. */
const PLAIN: Partial<ResolverParameters> = {
  ecsPublicOperators: 0,
  ecsShare: 0,
  prefetchShare: 0,
  clampMinShare: 0,
  clampMaxShare: 0,
  serveStaleShare: 0,
  violatorShare: 0,
  lateShare: 0,
  largestPool: 1,
  lookupSpread: 0,
};

function parametersOf(resolver: Partial<ResolverParameters>, connectionsPerSecond = 1000): WorldParameters {
  const typical = presetParameters('typical', SIZE);
  return {
    ...typical,
    resolver: { ...typical.resolver, ...resolver },
    demand: { ...typical.demand, dayPeak: 1, noise: 0, connectionsPerSecond },
  };
}

function totalOf(values: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < values.length; index++) sum += values[index] as number;
  return sum;
}

const toFirst: Answer = () => 0;

describe('caches of resolvers', () => {
  it('ask at l / (1 + l T) for each of their members', () => {
    for (const largestPool of [1, 12]) {
      // Public ones refresh ahead whatever the parameters say.
      const world = createWorld(parametersOf({ ...PLAIN, publicShare: 0, largestPool }, 40), 1);
      const internet = new Internet(world, 2);
      const asked = new Float64Array(world.resolvers);
      const minutes = 100;
      for (let minute = 0; minute < minutes; minute++) {
        const { queries } = internet.step(toFirst, MINUTE).observations;
        for (let row = 0; row < queries.length; row++) {
          if (queries.service[row] !== 0) continue;
          const resolver = (queries.resolver[row] as number) - world.users;
          asked[resolver] = (asked[resolver] as number) + (queries.queries[row] as number);
        }
      }
      const loads = { below: 0, above: 0 };
      for (let resolver = 0; resolver < world.resolvers; resolver++) {
        if (world.resolver.kind[resolver] === 'public') continue;
        const pool = world.resolver.pool[resolver] as number;
        const lookups =
          (world.resolver.lookupsByConnection[resolver] as number) * internet.demandOfResolver(resolver, 0);
        const rate = lookups / pool;
        const expected = (minutes * MINUTE * pool * rate) / (1 + rate * 60);
        const slack = 5 * Math.sqrt(expected) + 1;
        const found = asked[resolver] as number;
        assert.ok(Math.abs(found - expected) < slack, `resolver ${resolver}: ${found} instead of ${expected}`);
        if (expected > 0) loads[rate * 60 > 1 ? 'above' : 'below']++;
      }
      assert.ok(loads.below > 10 && loads.above > 10, JSON.stringify(loads));
    }
  });

  it('send client subnets where they do, and ask for each', () => {
    const world = createWorld(parametersOf({ ...PLAIN, ecsShare: 0.3 }), 1);
    const internet = new Internet(world, 2);
    const seen = new Set<string>();
    for (let minute = 0; minute < 5; minute++) {
      const { queries } = internet.step((_, subnet) => (subnet === NO_PREFIX ? 1 : 2), MINUTE).observations;
      for (let row = 0; row < queries.length; row++) {
        const ecs = world.resolver.ecs[(queries.resolver[row] as number) - world.users] === 1;
        assert.equal(queries.subnet[row] === NO_PREFIX, !ecs);
        assert.equal(queries.site[row], ecs ? 2 : 1);
        if (ecs) seen.add(`${queries.resolver[row]} ${queries.subnet[row]}`);
      }
    }
    const pairs = [...world.pairResolver].filter((resolver) => world.resolver.ecs[resolver] === 1).length;
    assert.ok(seen.size > 0.5 * pairs && seen.size <= pairs, `${seen.size} of ${pairs} pairs`);
  });

  it('leave the share of users at the old site that the truth says, step by step', () => {
    const variants: Partial<ResolverParameters>[] = [
      {},
      { ...PLAIN, clampMinShare: 1, clampMinSeconds: 600 },
      { ...PLAIN, violatorShare: 1, violatorLate: [0.3, 0.5], violatorSeconds: [600, 900] },
      { ...PLAIN, serveStaleShare: 1 },
    ];
    for (const [variant, resolver] of variants.entries()) {
      const world = createWorld(parametersOf({ ...resolver, largestPool: 60 }, 2000), 3);
      // Averaged over runs: at what point of its turn a large resolver's cache is matters.
      const old = new Float64Array(12);
      const all = new Float64Array(12);
      const expected = new Float64Array(12);
      for (let seed = 0; seed < 8; seed++) {
        const internet = new Internet(world, seed);
        internet.step(toFirst, MINUTE);
        for (const step of old.keys()) {
          const { arrived } = internet.step(() => 1, 20).truth;
          // Services 0 and 1 have the same TTL.
          const stayed = (arrived[0] as number) + (arrived[SIZE.sites] as number);
          old[step] = (old[step] as number) + stayed;
          all[step] = (all[step] as number) + stayed + (arrived[1] as number) + (arrived[SIZE.sites + 1] as number);
          if (seed === 0) expected[step] = expectedAtOld(internet, 20 * step + 10);
        }
      }
      for (const [step, share] of expected.entries()) {
        const found = (old[step] as number) / (all[step] as number);
        assert.ok(Math.abs(found - share) < 0.03, `variant ${variant}, ${20 * step} s: ${found} instead of ${share}`);
      }
    }
  });

  it('of violators go on after the TTL, of others hardly', () => {
    const world = createWorld(presetParameters('typical', SIZE), 5);
    const internet = new Internet(world, 6);
    let violators = 0;
    for (let resolver = 0; resolver < world.resolvers; resolver++) {
      // Where little is asked, the first who are served stale are many.
      const stale = world.resolver.serveStale[resolver] === 1 || world.resolver.prefetch[resolver] === 1;
      if (internet.demandOfResolver(resolver, 0) === 0 || stale) continue;
      const { lateShare, lateSeconds } = internet.decayOf(resolver, 0);
      if (world.resolver.violator[resolver] === 1) {
        violators++;
        assert.ok(lateShare > 0.15, `${resolver}: ${lateShare}`);
      } else {
        assert.ok(lateShare <= world.parameters.resolver.lateShare, `${resolver}: ${lateShare}`);
        assert.ok(lateSeconds <= 2 * world.parameters.resolver.lateSeconds);
      }
    }
    assert.ok(violators > 0);
  });

  it('keep old answers while there is none, where they serve stale', () => {
    for (const [serveStaleShare, lost] of [
      [1, false],
      [0, true],
    ] as const) {
      const world = createWorld(parametersOf({ ...PLAIN, publicShare: 0, serveStaleShare }), 1);
      const internet = new Internet(world, 2);
      internet.step(toFirst, MINUTE);
      internet.step(() => NO_SITE, 600);
      const { truth } = internet.step(() => NO_SITE, MINUTE);
      if (lost) assert.ok(truth.lost > 0.95 * truth.wanted, `${truth.lost} of ${truth.wanted}`);
      else assert.equal(truth.lost, 0);
    }
  });
});

/** Share of the demand for services 0 and 1 that is still at the old site, by the truth about each resolver. */
function expectedAtOld(internet: Internet, seconds: number): number {
  let old = 0;
  let all = 0;
  for (let resolver = 0; resolver < internet.world.resolvers; resolver++) {
    for (const service of [0, 1]) {
      const demand = internet.demandOfResolver(resolver, service);
      if (demand === 0) continue;
      all += demand;
      old += demand * internet.remaining(resolver, service, seconds);
    }
  }
  return old / all;
}

function digestOf(observations: Observations): string {
  const hash = createHash('sha256');
  for (const table of Object.values(observations)) {
    if (typeof table === 'number') continue;
    const { length } = table as { length: number };
    for (const column of ArrayBuffer.isView(table) ? [table] : Object.values(table)) {
      if (!ArrayBuffer.isView(column)) continue;
      const bytes = (column as Float64Array).BYTES_PER_ELEMENT * length;
      hash.update(new Uint8Array(column.buffer, column.byteOffset, bytes));
    }
  }
  return hash.digest('hex');
}

describe('a step', () => {
  it('gives the same observations for the same seed, to the byte', () => {
    const world = createWorld(presetParameters('hostile', SIZE), 1);
    const run = (seed: number): string[] => {
      const internet = new Internet(world, seed);
      const answer: Answer = (resolver, _, service) => (resolver + service) % SIZE.sites;
      return Array.from({ length: 4 }, () => digestOf(internet.step(answer, MINUTE).observations));
    };
    const first = run(9);
    assert.deepEqual(run(9), first);
    assert.notDeepEqual(run(10), first);
    assert.equal(new Set(first).size, first.length);
  });

  it('loses nothing: what users want arrives, is observed, and is as much as was set', () => {
    for (const name of PRESET_NAMES) {
      const world = createWorld(presetParameters(name, SIZE), 1);
      const internet = new Internet(world, 2);
      let wanted = 0;
      let expected = 0;
      for (let minute = 0; minute < 10; minute++) {
        for (let prefix = 0; prefix < world.users; prefix++) {
          for (let service = 0; service < 3; service++) expected += MINUTE * internet.demandOfPrefix(prefix, service);
        }
        const { truth, observations } = internet.step((resolver) => resolver % SIZE.sites, MINUTE);
        assert.equal(totalOf(truth.arrived) + truth.lost, truth.wanted);
        assert.equal(truth.lost, 0);
        const { connections, length } = observations.traffic;
        assert.equal(totalOf(connections.subarray(0, length)), truth.wanted);
        wanted += truth.wanted;
      }
      assert.ok(Math.abs(wanted / expected - 1) < 0.015, `${name}: ${wanted} instead of ${expected}`);
    }
  });

  it('keeps to its bounds of rows, and tells the rest together', () => {
    const parameters = presetParameters('typical', SIZE);
    const observation = { rttRows: 50, trafficRows: 500, beaconShare: 0 };
    const internet = new Internet(createWorld({ ...parameters, observation }, 1), 2);
    for (let minute = 0; minute < 10; minute++) {
      const { truth, observations } = internet.step(toFirst, MINUTE);
      const { prefix, connections, length } = observations.traffic;
      const own = prefix.subarray(0, length).filter((value) => value !== NO_PREFIX).length;
      assert.ok(own <= 500 && own > (minute < 8 ? 0 : 100), `${own} rows`);
      assert.equal(totalOf(connections.subarray(0, length)), truth.wanted);
      assert.ok(observations.rtt.length <= 50 && observations.rtt.length > 10);
      assert.equal(observations.beacons.length, 0);
    }
  });

  it('tells round trips of connections that happened, never below the true time', () => {
    const world = createWorld(presetParameters('typical', SIZE), 1);
    const internet = new Internet(world, 2);
    let above = 0;
    let rows = 0;
    for (let minute = 0; minute < 10; minute++) {
      const { rtt } = internet.step((resolver) => resolver % 2, MINUTE).observations;
      for (let row = 0; row < rtt.length; row++) {
        assert.ok((rtt.site[row] as number) < 2);
        const extra = (rtt.ms[row] as number) - internet.rttMs(rtt.prefix[row] as number, rtt.site[row] as number);
        // What changed with the hour within the step is small.
        assert.ok(extra > -1e-3 - 3, `${extra}`);
        above += extra;
        rows++;
      }
    }
    assert.ok(rows > 600);
    const { jitterMs } = world.parameters.network;
    assert.ok(Math.abs(above / rows / jitterMs - 1) < 0.15, `${above / rows} ms above`);
  });

  it('joins users with their resolvers by beacons, in the shares of the truth', () => {
    const parameters = presetParameters('typical', SIZE);
    const observation = { ...parameters.observation, beaconShare: 0.05 };
    const world = createWorld({ ...parameters, observation }, 1);
    const internet = new Internet(world, 2);
    const counts = new Float64Array(world.resolvers);
    let all = 0;
    for (let minute = 0; minute < 10; minute++) {
      const { beacons } = internet.step(toFirst, MINUTE).observations;
      for (let row = 0; row < beacons.length; row++) {
        const resolver = (beacons.resolver[row] as number) - world.users;
        assert.ok(
          [...internet.pairsOfResolver(resolver)].some((pair) => world.pairPrefix[pair] === beacons.prefix[row]),
        );
        counts[resolver] = (counts[resolver] as number) + 1;
        all++;
      }
    }
    const demand = Float64Array.from(counts, (_, resolver) => internet.demandOfResolver(resolver, 0));
    const total = totalOf(demand);
    for (const [resolver, count] of counts.entries()) {
      const expected = (all * (demand[resolver] as number)) / total;
      assert.ok(Math.abs(count - expected) < 6 * Math.sqrt(expected) + 3, `${resolver}: ${count}, not ${expected}`);
    }
  });
});

describe('events', () => {
  function internetOf(world: World): Internet {
    return new Internet(world, 2);
  }

  it('take a site down: its users are lost until they are answered otherwise, and come back', () => {
    const world = createWorld(parametersOf(PLAIN), 1);
    const internet = internetOf(world);
    internet.schedule([
      { atMs: 120_000, kind: 'site-down', site: 0 },
      { atMs: 600_000, kind: 'site-up', site: 0 },
    ]);
    for (let minute = 0; minute < 2; minute++) assert.equal(internet.step(toFirst, MINUTE).truth.lost, 0);
    const { lost, wanted } = internet.step(toFirst, MINUTE).truth;
    assert.equal(lost, wanted);
    assert.equal(internet.siteCapacity[0], 0);
    for (let minute = 3; minute < 9; minute++) internet.step(() => 1, MINUTE);
    assert.equal(internet.step(() => 1, MINUTE).truth.lost, 0);
    internet.step(() => 1, MINUTE);
    assert.equal(internet.siteUp[0], 1);
    assert.equal(internet.siteCapacity[0], world.sites[0]?.capacity);
  });

  it('take links down: others of the site take over, and with the last one the site is gone', () => {
    const world = createWorld(parametersOf(PLAIN), 1);
    const internet = internetOf(world);
    const own = [...world.links.keys()].filter((link) => world.links[link]?.site === 0);
    const [first, second] = own as [number, number];
    internet.step(toFirst, MINUTE);
    internet.schedule([{ atMs: 0, kind: 'link-down', link: first }]);
    const { truth, observations } = internet.step(toFirst, MINUTE);
    assert.equal(truth.lost, 0);
    assert.equal(truth.offeredBps[first], 0);
    assert.ok((truth.offeredBps[second] as number) > 0);
    assert.ok((observations.linkLoad[second] as number) <= (internet.linkCapacity[second] as number));
    internet.schedule([{ atMs: 0, kind: 'link-down', link: second }]);
    const gone = internet.step(toFirst, MINUTE).truth;
    assert.equal(gone.lost, gone.wanted);
  });

  it('bring crowds, new TTLs, other capacities and longer ways', () => {
    const world = createWorld(parametersOf(PLAIN), 1);
    const internet = internetOf(world);
    const before = internet.step(toFirst, MINUTE).truth.wanted;
    const rtt = internet.rttMs(0, 1);
    internet.schedule([
      { atMs: 60_000, kind: 'flash-crowd', service: -1, region: -1, factor: 3, seconds: 120 },
      { atMs: 60_000, kind: 'ttl', service: 0, ttlSeconds: 600 },
      { atMs: 60_000, kind: 'site-capacity', site: 2, factor: 0.5 },
      { atMs: 60_000, kind: 'path-shift', asn: 0, site: 1, ms: 40 },
    ]);
    const during = internet.step(toFirst, MINUTE).truth.wanted;
    assert.ok(Math.abs(during / before - 3) < 0.15, `${during / before}`);
    assert.equal(internet.ttlSeconds(0), 600);
    assert.equal(internet.siteCapacity[2], (world.sites[2]?.capacity as number) / 2);
    assert.ok(Math.abs(internet.rttMs(0, 1) - rtt - 40) < 5);
    internet.step(toFirst, MINUTE);
    const after = internet.step(toFirst, MINUTE).truth.wanted;
    assert.ok(Math.abs(after / before - 1) < 0.1, `${after / before}`);
  });
});
