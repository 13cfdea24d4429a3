/**
 * Which users share answers: a unit is all users of a resolver, or, where that sends client subnets, those of one prefix at it. Units
 * have numbers: those of resolvers first, by their number; then one for each pair at a resolver with client subnets.
 */
import { NO_PREFIX } from '../decide/steer/measured.ts';
import type { World } from './types.ts';

export interface Units {
  readonly count: number;
  /** [pair]. */
  readonly ofPair: Uint32Array;
  /** [unit]. */
  readonly resolver: Uint32Array;
  /** [unit]: the client subnet that is sent; else NO_PREFIX. */
  readonly subnet: Uint32Array;
  /** [unit]: caches that its users are spread over. With client subnets one. */
  readonly pool: Uint16Array;
  /** [unit]: number of its first cache. */
  readonly firstCache: Uint32Array;
  readonly caches: number;
}

export function findUnits(world: World): Units {
  const { pairResolver, pairPrefix, resolver, resolvers } = world;
  const ofPair = new Uint32Array(pairResolver.length);
  let count = resolvers;
  for (const [pair, asked] of pairResolver.entries()) ofPair[pair] = resolver.ecs[asked] === 1 ? count++ : asked;
  const units = {
    count,
    ofPair,
    resolver: new Uint32Array(count),
    subnet: new Uint32Array(count).fill(NO_PREFIX),
    pool: new Uint16Array(count),
    firstCache: new Uint32Array(count),
    caches: 0,
  };
  for (const [pair, unit] of ofPair.entries()) {
    const asked = pairResolver[pair] as number;
    const ecs = resolver.ecs[asked] === 1;
    units.resolver[unit] = asked;
    if (ecs) units.subnet[unit] = pairPrefix[pair] as number;
    units.pool[unit] = ecs ? 1 : (resolver.pool[asked] as number);
  }
  for (let unit = 0; unit < count; unit++) {
    units.firstCache[unit] = units.caches;
    units.caches += units.pool[unit] as number;
  }
  return units;
}
