/**
 * The partition of the users that DNS makes: all who ask by way of one resolver, or who are in one client subnet, get one answer. From the
 * truth: which pairs (a user prefix at a resolver) belong to which group.
 */
import type { World } from './types.ts';

export interface Partition {
  readonly groups: number;
  /** [group]: asking prefix: the subnet where resolvers tell it, else the resolver's. */
  readonly asker: Uint32Array;
  /** [pair]. */
  readonly groupOfPair: Uint32Array;
  /** [group]: region of most of its demand. */
  readonly region: Int32Array;
}

/** Cost: a pass over the pairs. */
export function partitionByAsker(world: World): Partition {
  const { users, pairResolver, resolver } = world;
  return partitionBy(world, (prefix, pair) => {
    return resolver.ecs[pairResolver[pair]] === 1 ? prefix : users + pairResolver[pair];
  });
}

/** As if no resolver told client subnets. */
export function partitionByResolver(world: World): Partition {
  return partitionBy(world, (_prefix, pair) => world.users + world.pairResolver[pair]);
}

function partitionBy(world: World, askerOf: (prefix: number, pair: number) => number): Partition {
  const { users, resolvers, pairPrefix } = world;
  const groupOf = new Int32Array(users + resolvers).fill(-1);
  const askers: number[] = [];
  const groupOfPair = Uint32Array.from(pairPrefix, (prefix, pair) => {
    const asker = askerOf(prefix, pair);
    if (groupOf[asker] < 0) groupOf[asker] = askers.push(asker) - 1;
    return groupOf[asker];
  });
  return {
    groups: askers.length,
    asker: Uint32Array.from(askers),
    groupOfPair,
    region: mainRegions(world, askers.length, groupOfPair),
  };
}

/** Each user prefix on its own, whoever it asks: what no DNS can do. */
export function partitionByPrefix(world: World): Partition {
  return partitionBy(world, (prefix) => prefix);
}

function mainRegions(world: World, groups: number, groupOfPair: Uint32Array): Int32Array {
  const regions = world.regions.length;
  const weight = new Float32Array(groups * regions);
  for (let pair = 0; pair < groupOfPair.length; pair++) {
    const prefix = world.pairPrefix[pair];
    const region = world.places.region[world.placeOf[prefix]];
    weight[groupOfPair[pair] * regions + region] += world.weight[prefix] * world.pairShare[pair];
  }
  const main = new Int32Array(groups);
  for (let group = 0; group < groups; group++) {
    for (let region = 1; region < regions; region++)
      if (weight[group * regions + region] > weight[group * regions + main[group]]) main[group] = region;
  }
  return main;
}
