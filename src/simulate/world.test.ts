import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { distanceKm } from '../decide/steer/distance.ts';
import { Draws } from './draws.ts';
import { REGIONS, readGeography, regionOf } from './geography.ts';
import { PRESET_NAMES, PRESETS, presetParameters } from './presets.ts';
import type { City, World } from './types.ts';
import { createWorld } from './world.ts';
import { WORLD_DATA } from './world-data.gen.ts';

const SIZE = { prefixes: 5000, resolvers: 500, sites: 10 };

function digest(world: World): string {
  const hash = createHash('sha256');
  const { resolver, places, ways } = world;
  for (const columns of [world, resolver, places, ways]) {
    for (const column of Object.values(columns)) {
      if (ArrayBuffer.isView(column)) hash.update(new Uint8Array(column.buffer, column.byteOffset, column.byteLength));
    }
  }
  return hash.update(JSON.stringify([world.sites, world.links, resolver.kind])).digest('hex');
}

/** Share of demand whose resolver stands farther away than each of `limitsKm`. */
function farther(world: World, limitsKm: readonly number[]): number[] {
  const cityOf = (prefix: number): City =>
    world.cities[world.places.city[world.placeOf[prefix] as number] as number] as City;
  const shares = limitsKm.map(() => 0);
  for (const [pair, resolver] of world.pairResolver.entries()) {
    const prefix = world.pairPrefix[pair] as number;
    const km = distanceKm(cityOf(prefix).location, cityOf(world.users + resolver).location);
    const demand = (world.weight[prefix] as number) * (world.pairShare[pair] as number);
    for (const [index, limit] of limitsKm.entries()) if (km > limit) (shares[index] as number) += demand;
  }
  return shares;
}

describe('a made-up world', () => {
  const worlds = PRESET_NAMES.map((name) => createWorld(presetParameters(name, SIZE), 3));

  it('is of the presets that were fixed', () => {
    const text = createHash('sha256').update(JSON.stringify(PRESETS)).digest('hex');
    assert.equal(text, '9cb27255c1db9862c96bc424ba9f66dc0afc80cc0d89527ed86b406e6285f0cd');
  });

  it('is the same for the same seed, to the byte, and another for another', () => {
    const again = (seed: number): string => digest(createWorld(presetParameters('typical', SIZE), seed));
    assert.equal(again(3), digest(worlds[1] as World));
    assert.notEqual(again(4), digest(worlds[1] as World));
  });

  it('gives every prefix resolvers whose shares add up, and all weights add up', () => {
    for (const world of worlds) {
      assert.ok(Math.abs(world.weight.reduce((sum, weight) => sum + weight, 0) - 1) < 1e-9);
      for (let prefix = 0; prefix < world.users; prefix++) {
        const [first, end] = [world.pairsOf[prefix] as number, world.pairsOf[prefix + 1] as number];
        const shares = world.pairShare.subarray(first, end);
        assert.ok(end - first >= 1 && end - first <= 4);
        assert.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) < 1e-5);
        assert.ok(world.pairPrefix.subarray(first, end).every((value) => value === prefix));
      }
      assert.ok(world.pairResolver.every((resolver) => resolver < world.resolvers));
      assert.ok(world.resolvers <= SIZE.resolvers && world.resolvers > 0.9 * SIZE.resolvers);
    }
  });

  it('puts more users far from their resolvers from one preset to the next', () => {
    const shares = worlds.map((world) => farther(world, [500, 1500]));
    const [friendly, typical, hostile] = shares as [number[], number[], number[]];
    for (const index of [0, 1]) {
      assert.ok((friendly[index] as number) < (typical[index] as number), JSON.stringify(shares));
      assert.ok((typical[index] as number) < (hostile[index] as number), JSON.stringify(shares));
    }
    assert.ok((friendly[1] as number) > 0.02 && (hostile[1] as number) > 0.15, JSON.stringify(shares));
  });

  it('has resolvers of very different size', () => {
    const world = worlds[1] as World;
    const demand = new Float64Array(world.resolvers);
    for (const [pair, resolver] of world.pairResolver.entries()) {
      const weight = world.weight[world.pairPrefix[pair] as number] as number;
      demand[resolver] = (demand[resolver] as number) + weight * (world.pairShare[pair] as number);
    }
    demand.sort().reverse();
    assert.ok(demand.subarray(0, 50).reduce((sum, value) => sum + value, 0) > 0.4);
    assert.ok((demand[400] as number) < (demand[0] as number) / 50);
  });

  it('has no way faster than light in fibre, and prefixes where facts say, but for the misplaced', () => {
    const world = worlds[2] as World;
    const { misplacedShare } = world.parameters.network;
    let believed = 0;
    for (let prefix = 0; prefix < world.users; prefix++) {
      const place = world.placeOf[prefix] as number;
      const city = world.cities[world.places.city[place] as number] as City;
      let right = 0;
      for (const [site, { location }] of world.sites.entries()) {
        const km = distanceKm(city.location, location);
        assert.ok((world.ways.baseMs[place * world.sites.length + site] as number) > km / 100);
        if (Math.abs(world.facts.distanceKm(prefix, site) - km) < 0.01) right++;
      }
      if (right === world.sites.length) believed++;
    }
    const share = 1 - believed / world.users;
    assert.ok(share < misplacedShare * 1.15, `${share} are misplaced`);
    assert.ok(share > misplacedShare * 0.7, `${share} are misplaced`);
  });

  it('goes from ten prefixes and one site to many, and names all parameters that it cannot take', () => {
    const small = createWorld(presetParameters('typical', { prefixes: 10, resolvers: 1, sites: 1 }), 1);
    assert.equal(small.users, 10);
    assert.equal(small.sites.length, 1);
    assert.equal(
      createWorld(presetParameters('typical', { prefixes: 300, resolvers: 40, sites: 100 }), 1).sites.length,
      100,
    );
    const wrong = presetParameters('typical', { prefixes: 5, resolvers: 0, sites: 101 });
    assert.throws(() => createWorld(wrong, 1), /prefixes: 5.*resolvers: 0.*sites: 101/s);
  });
});

describe('regions', () => {
  it('are where people would look for them', () => {
    const { cities } = readGeography(WORLD_DATA);
    const expected: Record<string, (typeof REGIONS)[number]> = {
      'New York City': 'north america',
      Bogotá: 'south america',
      Berlin: 'europe',
      Madrid: 'europe',
      Lagos: 'africa',
      Cairo: 'africa',
      Tehran: 'middle east',
      Mumbai: 'south asia',
      Singapore: 'southeast asia',
      Tokyo: 'east asia',
      Sydney: 'oceania',
    };
    for (const [name, region] of Object.entries(expected)) {
      const city = cities.find((candidate) => candidate.name === name);
      assert.ok(city !== undefined, name);
      assert.equal(REGIONS[regionOf(city)], region, name);
    }
  });
});

describe('draws', () => {
  it('have the means and spreads that they should', () => {
    const draws = new Draws(1, 2);
    const mean = (draw: () => number): number => {
      let sum = 0;
      for (let turn = 0; turn < 100_000; turn++) sum += draw();
      return sum / 100_000;
    };
    assert.ok(Math.abs(mean(() => draws.uniform()) - 0.5) < 0.005);
    assert.ok(Math.abs(mean(() => draws.exponential()) - 1) < 0.015);
    assert.ok(Math.abs(mean(() => draws.normal())) < 0.015);
    assert.ok(Math.abs(mean(() => draws.normal() ** 2) - 1) < 0.02);
    for (const lambda of [0.01, 0.7, 5, 11, 13, 400]) {
      assert.ok(Math.abs(mean(() => draws.poisson(lambda)) - lambda) < 5 * Math.sqrt(lambda / 100_000), `${lambda}`);
      const spread = mean(() => (draws.poisson(lambda) - lambda) ** 2);
      assert.ok(Math.abs(spread / lambda - 1) < 0.05 + 5 / Math.sqrt(100_000 * lambda), `${lambda}: ${spread}`);
    }
  });
});
