/** What another map would move: for operators before it is applied, and for the bound on demand that moves at once. */
import type { Config } from '../../config/model.ts';
import { formatPrefix } from '../../net/address.ts';
import { flattenPrefixes, PrefixColumns, wordsOf } from '../../net/address-segments.ts';
import { lookupPrefix, NO_VALUE, type PrefixMap, prefixScope, prefixValue } from '../../net/prefix-map.ts';
import { clientsOf } from './clients.ts';
import { demandEntries } from './layers.ts';
import { CALM_VIEW } from './nearest.ts';
import { choices } from './plan.ts';
import type { ServiceSteering } from './policy.ts';

export interface ServiceDiff {
  readonly service: string;
  /** Share of the known demand that would go elsewhere; null: of nobody is the demand known. */
  readonly movedDemand: number | null;
  /** Shares of the addresses of each family. */
  readonly movedIpv4: number;
  readonly movedIpv6: number;
  /** Prefixes for which answers hold (RFC 7871): so many there are, and so many will be that are not there now. */
  readonly scopes: number;
  readonly newScopes: number;
  /** Networks with demand of which some moves, the largest first; at most 10. */
  readonly largest: readonly MovedUnit[];
  readonly movedUnits: number;
}

export interface MovedUnit {
  readonly prefix: string;
  /** Of the known demand. */
  readonly movedShare: number;
  /** Sites with their shares, of the first of its addresses that move. */
  readonly before: string;
  readonly after: string;
}

const LARGEST = 10;

type Steering = ReadonlyMap<string, ServiceSteering>;

/** Of services whose clients would go elsewhere or whose scopes would be other ones. Cost: a step for each scope of both maps. */
export function diffMaps(before: Steering, after: Steering, config: Config): ServiceDiff[] {
  const demand = new DemandRow(config);
  return [...after.values()].flatMap((next) => {
    const last = before.get(next.service);
    // A service that is new has nobody to move, and one that is gone is asked no more.
    if (last === undefined || isSame(last, next)) return [];
    const diff = diffService(last, next, demand);
    return diff.movedIpv4 + diff.movedIpv6 + diff.newScopes > 0 ? [diff] : [];
  });
}

function isSame(last: ServiceSteering, next: ServiceSteering): boolean {
  return last.map === next.map && JSON.stringify([last.sites, last.plans]) === JSON.stringify([next.sites, next.plans]);
}

function diffService(last: ServiceSteering, next: ServiceSteering, demand: DemandRow): ServiceDiff {
  const [told, willTell] = [new Shares(last), new Shares(next)];
  const units = new Map<number, { moved: number; before: string; after: string }>();
  const moved = { 4: 0, 6: 0 };
  let [scopes, newScopes, movedDemand] = [0, 0, 0];
  const distances = new Distances(told, willTell, next.plans.length);
  for (const family of [4, 6] as const) {
    const row = demand.walk(family);
    const counts = compareMaps(family, last.map, next.map, distances, ({ start, bits, before, after, share }) => {
      moved[family] += share * 2 ** -bits;
      for (const { unit, weight } of row(numberOf(start), bits)) {
        const known = units.get(unit) ?? { moved: 0, before: told.text(before), after: willTell.text(after) };
        units.set(unit, { ...known, moved: known.moved + share * weight });
        movedDemand += share * weight;
      }
    });
    scopes += counts.scopes;
    newScopes += counts.newScopes;
  }
  const largest = [...units].sort(([, a], [, b]) => b.moved - a.moved).slice(0, LARGEST);
  return {
    service: next.service,
    movedDemand: demand.total === 0 ? null : movedDemand / demand.total,
    movedIpv4: moved[4],
    movedIpv6: moved[6],
    scopes,
    newScopes,
    largest: largest.map(([unit, { moved: amount, before, after }]) => {
      return { prefix: demand.prefixes[unit], movedShare: amount / demand.total, before, after };
    }),
    movedUnits: units.size,
  };
}

/** What the plans of a service tell while all sites are up: shares of sites by name. */
class Shares {
  readonly #steering: ServiceSteering;
  readonly #kept: (ReadonlyMap<string, number> | undefined)[] = [];

  constructor(steering: ServiceSteering) {
    this.#steering = steering;
  }

  of(plan: number): ReadonlyMap<string, number> {
    this.#kept[plan] ??= this.#compute(plan);
    return this.#kept[plan];
  }

  #compute(plan: number): ReadonlyMap<string, number> {
    const shares = new Map<string, number>();
    const { cycle } = choices(this.#steering, this.#steering.plans[plan], CALM_VIEW);
    for (const { sites } of cycle) {
      for (const site of sites) {
        const name = this.#steering.sites[site];
        shares.set(name, (shares.get(name) ?? 0) + 1 / (sites.length * cycle.length));
      }
    }
    return shares;
  }

  text(plan: number): string {
    const shares = [...this.of(plan)];
    if (shares.length === 1) return shares[0][0];
    return shares.map(([site, share]) => `${site} ${Math.round(share * 100)} %`).join(', ');
  }
}

/** Of plans: how far what they tell is apart, each pair once. */
class Distances {
  readonly #told: Shares;
  readonly #willTell: Shares;
  readonly #width: number;
  readonly #kept = new Map<number, number>();

  constructor(told: Shares, willTell: Shares, width: number) {
    this.#told = told;
    this.#willTell = willTell;
    this.#width = width;
  }

  of(before: number, after: number): number {
    const key = before * this.#width + after;
    let known = this.#kept.get(key);
    if (known === undefined) {
      known = distance(this.#told.of(before), this.#willTell.of(after));
      this.#kept.set(key, known);
    }
    return known;
  }
}

/** Half of what differs: what one has too much another has too little. */
function distance(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): number {
  if (a === b) return 0;
  let sum = 0;
  for (const name of new Set([...a.keys(), ...b.keys()])) sum += Math.abs((a.get(name) ?? 0) - (b.get(name) ?? 0));
  return sum < 1e-9 ? 0 : sum / 2;
}

/** What two maps say of a prefix that lies in one scope of each. */
interface Compared {
  readonly start: Uint8Array;
  readonly bits: number;
  /** Plans. */
  readonly before: number;
  readonly after: number;
  /** Part of the answers that would be others. */
  readonly share: number;
}

/** Scopes of a family in the new map, and those of them that are none in the old one. */
interface ScopeCounts {
  scopes: number;
  newScopes: number;
}

/** Goes over all addresses of a family; `onPrefix` is told of those whose answers differ, in order. Allocates for these only. */
function compareMaps(
  family: 4 | 6,
  last: PrefixMap,
  next: PrefixMap,
  distances: Distances,
  onPrefix: (compared: Compared) => void,
): ScopeCounts {
  const length = family === 4 ? 32 : 128;
  const start = new Uint8Array(length / 8);
  const counts = { scopes: 0, newScopes: 0 };
  for (;;) {
    const old = lookupPrefix(last, family, start, 0, length);
    const now = lookupPrefix(next, family, start, 0, length);
    const [oldBits, newBits] = [prefixScope(old), prefixScope(now)];
    const bits = Math.max(oldBits, newBits);
    if (bits === newBits || isAligned(start, newBits)) {
      counts.scopes++;
      if (oldBits !== newBits) counts.newScopes++;
    }
    const [before, after] = [prefixValue(old), prefixValue(now)];
    const share = distances.of(before, after);
    if (share > 0) onPrefix({ start, bits, before, after, share });
    if (!advance(start, bits)) return counts;
  }
}

function isAligned(address: Uint8Array, bits: number): boolean {
  const whole = bits >> 3;
  if ((address[whole] & (0xff >> (bits & 7))) !== 0) return false;
  for (let i = whole + 1; i < address.length; i++) if (address[i] !== 0) return false;
  return true;
}

/** To behind a prefix of so many bits; false: it was the last. */
function advance(address: Uint8Array, bits: number): boolean {
  if (bits === 0) return false;
  let carry = 1 << (7 - ((bits - 1) & 7));
  for (let i = (bits - 1) >> 3; i >= 0; i--) {
    const sum = address[i] + carry;
    address[i] = sum;
    if (sum < 256) return true;
    carry = 1;
  }
  return false;
}

function numberOf(address: Uint8Array): bigint {
  let number = 0n;
  for (const byte of address) number = (number << 8n) | BigInt(byte);
  return number;
}

interface WeighedUnit {
  readonly unit: number;
  readonly weight: number;
}

/** The known demand over the addresses. */
class DemandRow {
  total = 0;
  readonly prefixes: string[] = [];
  readonly #columns = { 4: new PrefixColumns(4), 6: new PrefixColumns(6) };

  constructor(config: Config) {
    for (const { prefix, demand } of demandEntries(clientsOf(config).groups)) {
      if (demand === null) continue;
      this.total += demand;
      const unit = this.prefixes.push(formatPrefix(prefix)) - 1;
      this.#columns[prefix.address.family].add(prefix.address.bytes, 0, prefix.length, unit, demand);
    }
  }

  /** A function that gives the units in a prefix, with the demand of theirs that is in there; to be asked in the order of addresses. */
  walk(family: 4 | 6): (start: bigint, bits: number) => Generator<WeighedUnit> {
    const { count, starts, values, densities } = flattenPrefixes(this.#columns[family]);
    const words = wordsOf(family);
    const length = family === 4 ? 32 : 128;
    const space = 2 ** length;
    const startOf = (index: number): bigint => {
      if (index >= count) return 1n << BigInt(length);
      let address = 0n;
      for (let i = 0; i < words; i++) address = (address << 32n) | BigInt(starts[index * words + i]);
      return address;
    };
    let at = 0;
    return function* (start, bits) {
      const end = start + (1n << BigInt(length - bits));
      while (startOf(at + 1) <= start) at++;
      for (let index = at; startOf(index) < end; index++) {
        if (values[index] === NO_VALUE) continue;
        let [from, to] = [startOf(index), startOf(index + 1)];
        if (from < start) from = start;
        if (to > end) to = end;
        yield { unit: values[index], weight: densities[index] * (Number(to - from) / space) };
      }
    };
  }
}
