import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createRandom } from '../../model/random.ts';
import { SMALL, SmallInternet } from './book/small-internet.ts';
import { type MeasuredMap, NO_PREFIX, NO_SITE, type Observations } from './measured.ts';
import { MeasuredSteering } from './measured-loop.ts';
import { DEFAULT_LIMITS, type SteeringModel } from './measured-model.ts';

/** 12 ASes, 4 sites, 96 resolvers. Ways are as distance says, but for one AS its nearest site is slow. */
const SITES = SMALL.sites;
const SLOW_AS = 5;
/** Its users wait long at the nearest site, as if their access were slow; at the second they would not: nothing but a trial can tell. */
const FAST_AS = 9;
const PARAMETERS = { ...SMALL, ases: 12, resolversPerAs: 8, publicResolvers: 0 };

function modelOf(capacity: number, explorationShare = 0.01): SteeringModel {
  const sites = [0, 1, 2, 3];
  return {
    sites: sites.map((s) => ({ name: `site-${s}`, capacity, batchCost: 1 })),
    links: [],
    classes: [{ name: 'search', kind: 'latency', sites, bitsPerConnection: 8e5 }],
    services: [{ name: 'search', class: 0 }],
    regions: 1,
    regionOf: () => 0,
    paths: new Int32Array(SITES * 2).fill(-1),
    ttlSeconds: SMALL.ttlSeconds,
    limits: { ...DEFAULT_LIMITS, explorationShare },
  };
}

class Closed {
  readonly net: SmallInternet;
  readonly steering: MeasuredSteering;
  readonly #random: () => number;
  #map: MeasuredMap | null = null;

  constructor(seed: number, explorationShare = 0.01, publicResolvers = 0) {
    this.net = new SmallInternet({ ...PARAMETERS, publicResolvers }, seed);
    this.steering = new MeasuredSteering(modelOf(Infinity, explorationShare), this.net.facts, seed);
    const draw = createRandom(seed + 100);
    this.#random = () => draw() / 2 ** 32;
    for (let r = 0; r < this.net.resolvers; r++) this.net.move(r, this.nearest(this.net.prefixOf(r)));
  }

  nearest(prefix: number): number {
    const { distanceKm } = this.net.facts;
    return [0, 1, 2, 3].reduce((best, s) => (distanceKm(prefix, s) < distanceKm(prefix, best) ? s : best));
  }

  trueMs(prefix: number, site: number): number {
    const slow = this.net.facts.asn(prefix) === SLOW_AS && site === this.nearest(prefix) ? 90 : 0;
    if (this.net.facts.asn(prefix) === FAST_AS && this.net.facts.distanceKm(prefix, site) === 1100) return 8;
    if (this.net.facts.asn(prefix) === FAST_AS && site === this.nearest(prefix)) return 45;
    // Ways are up to half as long again, or shorter, than distance says.
    const way = 0.6 + ((this.net.facts.asn(prefix) * 7 + site * 5) % 11) / 10;
    return 10 + way * 0.015 * this.net.facts.distanceKm(prefix, site) + slow;
  }

  /** Of the demand of an AS at its own resolvers, the share that is answered with a site nearer than so many ms. */
  shareBelow(asn: number, ms: number): number {
    const { net } = this;
    let [below, all] = [0, 0];
    for (let r = 0; r < net.resolvers; r++) {
      const prefix = net.prefixOf(r);
      if (net.facts.asn(prefix) !== asn) continue;
      all += net.demandOf(r);
      if (this.trueMs(prefix, net.answer[r]) < ms) below += net.demandOf(r);
    }
    return below / all;
  }

  step() {
    const seen = this.net.step();
    this.steering.observe({ ...seen, rtt: this.#roundTrips(seen) });
    const decision = this.steering.decide(seen.nowMs, {
      sites: new Float64Array(SITES).fill(1),
      links: new Float64Array(0),
    });
    const { map } = decision;
    if (map !== this.#map) {
      for (let at = 0; at < map.groups.length; at++) {
        const resolver = map.groups[at] - this.net.users;
        if (resolver >= 0 && map.site[at] !== NO_SITE && this.net.answer[resolver] !== map.site[at]) {
          this.net.move(resolver, map.site[at]);
        }
      }
      this.#map = map;
    }
    return decision;
  }

  #roundTrips({ traffic }: Observations) {
    const prefix: number[] = [];
    const site: number[] = [];
    const ms: number[] = [];
    for (let row = 0; row < traffic.length; row++) {
      if (traffic.prefix[row] === NO_PREFIX || this.#random() > 0.7) continue;
      prefix.push(traffic.prefix[row]);
      site.push(traffic.site[row]);
      ms.push(this.trueMs(traffic.prefix[row], traffic.site[row]) - 3 * Math.log(1 - this.#random()));
    }
    return {
      length: prefix.length,
      prefix: Uint32Array.from(prefix),
      site: Uint16Array.from(site),
      ms: Float32Array.from(ms),
    };
  }
}

describe('the loop from observations to a map', () => {
  it('learns from traffic alone that the nearest site is slow for an AS', () => {
    // Some of its users ask public resolvers, and are sent elsewhere.
    const closed = new Closed(1, 0, 4);
    assert.equal(closed.shareBelow(SLOW_AS, 60), 0, 'by distance');
    for (let minute = 0; minute < 40; minute++) closed.step();
    assert.ok(closed.shareBelow(SLOW_AS, 60) > 0.9, `${closed.shareBelow(SLOW_AS, 60)} left it`);
  });

  it('tries a farther site of an AS, which is really the best, with a share of demand that is bounded', () => {
    const trying = new Closed(3);
    for (let minute = 0; minute < 40; minute++) assert.ok(trying.step().exploredShare <= 0.01);
    assert.ok(trying.shareBelow(FAST_AS, 10) > 0.7, `${trying.shareBelow(FAST_AS, 10)} of the AS`);
    const blind = new Closed(3, 0);
    for (let minute = 0; minute < 40; minute++) assert.equal(blind.step().exploredShare, 0);
    assert.ok(blind.shareBelow(FAST_AS, 10) < 0.1, `${blind.shareBelow(FAST_AS, 10)} without trials`);
  });

  it('tells why, goes on from a snapshot as it was, and does the same again with the same seed', () => {
    const closed = new Closed(2);
    for (let minute = 0; minute < 12; minute++) closed.step();
    const { steering } = closed;
    const { map } = closed.step();
    const told = steering.explain(map.groups[3], 0);
    assert.ok(told !== null);
    assert.equal(told.candidates.length, SITES);
    assert.deepEqual(told.candidates.map(({ site }) => site).sort(), [0, 1, 2, 3]);
    assert.equal(told.candidates.find(({ share }) => share === 1)?.site, map.site[3]);
    assert.ok(
      told.candidates[0].lowMs <= told.candidates[0].rttMs && told.candidates[0].rttMs <= told.candidates[0].highMs,
    );
    assert.equal(steering.explain(closed.net.users + closed.net.resolvers + 5, 0), null);

    const next = new MeasuredSteering(modelOf(Infinity), closed.net.facts, 2);
    assert.equal(next.restore(steering.snapshot().subarray(8)), false, 'damaged');
    assert.equal(next.restore(steering.snapshot()), true);
    for (const { rtt } of [next, steering]) rtt.fit(closed.net.nowMs);
    for (const prefix of [1, 50, 170]) {
      for (let s = 0; s < SITES; s++) {
        const [a, b] = [next.rtt.estimate(prefix, s), steering.rtt.estimate(prefix, s)];
        assert.ok(
          b.source !== 'measured' || Math.abs(a.value - b.value) < 3,
          `${prefix} at ${s}: ${a.value} and ${b.value}`,
        );
        assert.equal(a.source, b.source);
      }
    }

    const again = new Closed(2);
    let last = again.step();
    for (let minute = 0; minute < 12; minute++) last = again.step();
    assert.deepEqual(last.map, map);
  });
});
