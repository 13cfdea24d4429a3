/**
 * For whom answers are chosen. Users behind a resolver are a group of their own, asked for by its prefix. Client subnets that resolvers tell
 * are grouped by where they are (AS in a metropolitan area): their ways to sites are the same, so their answers are; those that are large,
 * or were measured to be different, stay alone.
 */
import type { AnswerDecay } from '../measured.ts';
import type { GroupPlaces, RttMap } from '../rtt/rtt-map.ts';
import type { Forecast } from './prefix-demand.ts';

/** What groups are made from: a resolver book. */
export interface ResolverUsers {
  /** Prefixes of known resolvers. */
  list(): Uint32Array;
  /** Where its users are: new connections a second by client prefix, in any order. */
  placeColumns(resolver: number): { readonly prefix: Uint32Array; readonly demand: Float32Array };
  /** Of its queries, the part with a client subnet. */
  ecsShareOf(resolver: number): number;
  decayOf(resolver: number): AnswerDecay;
}

/** Groups of subnets have numbers from here on: this and the number of their node. */
export const SUBNETS_OF_NODE = 0x8000_0000;
/** Of all demand: a subnet with more stays alone. */
const LARGE_SHARE = 0.0005;
/** Milliseconds from its node, at a site where it was measured: a subnet with more stays alone. */
const DIFFERENT_MS = 8;
/** Below it a resolver's users all are told by subnets, or none. */
const SOME_SHARE = 0.02;

export interface SteeredGroups extends GroupPlaces {
  /** Rising: prefix of a resolver or subnet, or SUBNETS_OF_NODE + node. */
  readonly ids: Uint32Array;
  /** [group * classes + class]: new connections a second. */
  readonly demand: Float64Array;
  /** [group]. */
  readonly region: Int32Array;
  /** Asking prefixes, rising; the group of each, and its share of the group's demand. */
  readonly askers: Uint32Array;
  readonly groupOf: Uint32Array;
  readonly partOf: Float32Array;
  /** Users whose resolver has no group: new connections a second. */
  readonly leftDemand: number;
}

interface Draft {
  readonly id: number;
  readonly prefixes: number[];
  readonly demands: number[];
  readonly byClass: Float64Array;
  total: number;
}

export class GroupBuilder {
  readonly #classes: number;
  readonly #regions: number;
  readonly #regionOf: (prefix: number) => number;
  readonly #most: number;
  /** Subnets that are alone: they stay so. */
  readonly #alone = new Set<number>();

  /** `most`: asking prefixes. */
  constructor(classes: number, regions: number, regionOf: (prefix: number) => number, most: number) {
    this.#classes = classes;
    this.#regions = regions;
    this.#regionOf = regionOf;
    this.#most = most;
  }

  /** Cost: about 0.2 us for each place of a resolver's users, and a microsecond a group. */
  build(users: ResolverUsers, forecast: Forecast, rtt: RttMap): SteeredGroups {
    const resolvers = users.list();
    const total = totals(users, resolvers);
    const drafts = new Map<number, Draft>();
    const told = new Float32Array(total.length);
    for (const resolver of resolvers) this.#addResolver(resolver, users, total, told, drafts, forecast);
    const subnets = this.#addSubnets(told, drafts, forecast, rtt);
    return this.#finish(drafts, subnets);
  }

  #addResolver(
    resolver: number,
    users: ResolverUsers,
    total: Float32Array,
    told: Float32Array,
    drafts: Map<number, Draft>,
    forecast: Forecast,
  ): void {
    const { prefix, demand } = users.placeColumns(resolver);
    const share = users.ecsShareOf(resolver);
    const ecs = share < SOME_SHARE ? 0 : share > 1 - SOME_SHARE ? 1 : share;
    if (ecs > 0) for (let n = 0; n < prefix.length; n++) told[prefix[n]] += (ecs * demand[n]) / total[prefix[n]];
    if (ecs === 1) return;
    const draft = this.#draft(drafts, resolver);
    for (let n = 0; n < prefix.length; n++) {
      if (demand[n] > 0) this.#addPlace(draft, prefix[n], ((1 - ecs) * demand[n]) / total[prefix[n]], forecast);
    }
    // Nothing is known of its users: they are taken to be where it is.
    if (draft.prefixes.length > 0) return;
    draft.prefixes.push(resolver);
    draft.demands.push(1e-6);
  }

  #draft(drafts: Map<number, Draft>, id: number): Draft {
    let draft = drafts.get(id);
    if (draft === undefined) {
      draft = { id, prefixes: [], demands: [], byClass: new Float64Array(this.#classes), total: 0 };
      drafts.set(id, draft);
    }
    return draft;
  }

  #addPlace(draft: Draft, prefix: number, part: number, forecast: Forecast): void {
    let sum = 0;
    for (let c = 0; c < this.#classes; c++) {
      const demand = part * forecast.of(prefix, c);
      draft.byClass[c] += demand;
      sum += demand;
    }
    if (!(sum > 0)) return;
    draft.prefixes.push(prefix);
    draft.demands.push(sum);
    draft.total += sum;
  }

  /** Gives subnet, group, demand. */
  #addSubnets(
    told: Float32Array,
    drafts: Map<number, Draft>,
    forecast: Forecast,
    rtt: RttMap,
  ): [number, number, number][] {
    const subnets: [number, number, number][] = [];
    let all = 0;
    for (let prefix = 0; prefix < told.length; prefix++) {
      for (let c = 0; c < this.#classes; c++) all += forecast.of(prefix, c);
    }
    for (let prefix = 0; prefix < told.length; prefix++) {
      // A resolver that asks from a subnet which others tell gets one answer for both.
      if (!(told[prefix] > 0) || drafts.has(prefix)) continue;
      let demand = 0;
      for (let c = 0; c < this.#classes; c++) demand += told[prefix] * forecast.of(prefix, c);
      if (demand > LARGE_SHARE * all || this.#isDifferent(prefix, rtt)) this.#alone.add(prefix);
      const id = this.#alone.has(prefix) ? prefix : SUBNETS_OF_NODE + rtt.nodes.nodeOf(prefix);
      const draft = this.#draft(drafts, id);
      const before = draft.total;
      this.#addPlace(draft, prefix, told[prefix], forecast);
      subnets.push([prefix, id, draft.total - before]);
    }
    return subnets;
  }

  #isDifferent(prefix: number, { pairs }: RttMap): boolean {
    if (prefix >= pairs.first.length) return false;
    for (let pair = pairs.first[prefix]; pair >= 0; pair = pairs.next[pair]) {
      if (Math.abs(pairs.correction[pair]) > DIFFERENT_MS) return true;
    }
    return false;
  }

  #finish(drafts: Map<number, Draft>, subnets: readonly [number, number, number][]): SteeredGroups {
    const isNode = (id: number) => id >= SUBNETS_OF_NODE;
    const isSubnet = new Set(subnets.map(([prefix]) => prefix));
    let askers: [number, number, number][] = subnets.slice();
    for (const { id, total } of drafts.values()) if (!isNode(id) && !isSubnet.has(id)) askers.push([id, id, total]);
    const count = askers.length;
    askers = largest(askers, this.#most);
    const isKept = new Set(askers.map(([, id]) => id));
    const kept = [...drafts.values()].filter(({ id }) => isKept.has(id)).sort((a, b) => a.id - b.id);
    const columns = this.#columns(kept);
    const place = new Map(kept.map(({ id }, index) => [id, index]));
    askers.sort((a, b) => a[0] - b[0]);
    const groupOf = Uint32Array.from(askers, ([, id]) => place.get(id) as number);
    const totals = kept.map(({ total }) => total);
    const partOf = Float32Array.from(askers, ([, , demand], n) =>
      totals[groupOf[n]] > 0 ? demand / totals[groupOf[n]] : 1,
    );
    const left = count > askers.length ? sumOf(drafts.values()) - sumOf(kept) : 0;
    return { ...columns, askers: Uint32Array.from(askers, ([asker]) => asker), groupOf, partOf, leftDemand: left };
  }

  #columns(kept: readonly Draft[]) {
    const classes = this.#classes;
    const places = kept.reduce((sum, { prefixes }) => sum + prefixes.length, 0);
    const begin = new Uint32Array(kept.length + 1);
    const prefix = new Uint32Array(places);
    const share = new Float32Array(places);
    const demand = new Float64Array(kept.length * classes);
    const region = new Int32Array(kept.length);
    const byRegion = new Float64Array(this.#regions);
    for (const [g, draft] of kept.entries()) {
      const sum = draft.demands.reduce((before, value) => before + value, 0);
      byRegion.fill(0);
      let at = begin[g];
      for (const [n, its] of draft.prefixes.entries()) {
        prefix[at] = its;
        share[at++] = draft.demands[n] / sum;
        byRegion[this.#regionOf(its)] += draft.demands[n];
      }
      begin[g + 1] = at;
      demand.set(draft.byClass, g * classes);
      region[g] = byRegion.indexOf(byRegion.reduce((most, value) => Math.max(most, value), 0));
    }
    return { ids: Uint32Array.from(kept, ({ id }) => id), begin, prefix, share, demand, region };
  }
}

function sumOf(drafts: Iterable<Draft>): number {
  let sum = 0;
  for (const { total } of drafts) sum += total;
  return sum;
}

/** [prefix]: demand by way of all resolvers. */
function totals(users: ResolverUsers, resolvers: Uint32Array): Float32Array {
  let most = 0;
  for (const resolver of resolvers)
    for (const prefix of users.placeColumns(resolver).prefix) most = Math.max(most, prefix + 1);
  const total = new Float32Array(most);
  for (const resolver of resolvers) {
    const { prefix, demand } = users.placeColumns(resolver);
    for (let n = 0; n < prefix.length; n++) total[prefix[n]] += demand[n];
  }
  return total;
}

/** Those with most demand, in any order. */
function largest(askers: [number, number, number][], most: number): [number, number, number][] {
  return askers.length <= most ? askers : askers.sort((a, b) => b[2] - a[2]).slice(0, most);
}
