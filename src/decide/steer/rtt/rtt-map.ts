/**
 * Round-trip times from every client prefix to every site, those that nobody measured among them, each with an interval.
 *
 *     time = line by distance + what the prefix has with every site (its access) + what it has with this site (the way)
 *
 * The longer the way the more it can differ from the line, so ways are in units that grow with distance (`unitOf`).
 *
 * Both parts are beliefs on the tree of prefixes (nodes.ts, belief-tree.ts): world, country, AS, metropolitan area, prefix. How far a
 * prefix may be from its area, an area from its AS and so on is measured, the second part for each site.
 */
import type { PrefixFacts, RttEstimate, RttRows, RttSource } from '../measured.ts';
import { BeliefTree } from './belief-tree.ts';
import { FIBRE_MS_A_KM, FIRST_ACCESS_MS, FIRST_STRETCH, fibreRttMs } from './fibre.ts';
import { PrefixNodes } from './nodes.ts';
import { RttPairs } from './pairs.ts';

/** Standard deviations by level, before anything is measured: of access in ms, and of ways in units. Level 0: the world. */
const FIRST_ACCESS = [0.1, 3, 5, 2, 8];
const FIRST_WAY = [8, 12, 12, 8, 4];
const LEAST_MS = 0.3;
const UNIT_KM = 3000;
const NEAR_KM = 1500;
/** Shares of node columns: they bound memory, at 36 bytes an entry. */
const NODE_ENTRIES = 1 << 22;
/** The line's first values count as so many pairs' squared milliseconds. */
const LINE_PRIOR = 200;
const LINE_VARIANCE = 400;
const SOURCES: readonly RttSource[] = ['distance', 'country', 'as', 'as', 'measured'];
const Z90 = 1.645;
/** Sites that were measured were chosen, and are better known than others: errors found there are too small for the rest. */
const CHOSEN = 1.35;
const PREFIX_LEVEL = 4;
/** Of the variance of a prefix's access, what goes into that of its ways: the rest is the same error the other way round. */
const ACCESS_PART = 0.5;

/** Milliseconds: of a way of that length; 1 at 1,500 km. NaN: unknown, far. */
function unitOf(km: number): number {
  return (NEAR_KM + (Number.isNaN(km) ? 8000 : km)) / UNIT_KM;
}

export interface RttMapBounds {
  /** Pairs of prefix and site with times of their own. */
  readonly pairs: number;
}

/** Places of a group's users: those of group g from `begin[g]` on, before `begin[g + 1]`. Shares of a group add up to 1. */
export interface GroupPlaces {
  readonly begin: Uint32Array;
  readonly prefix: Uint32Array;
  readonly share: Float32Array;
}

export class RttMap {
  readonly pairs: RttPairs;
  readonly nodes: PrefixNodes;
  readonly sites: number;
  /** Connections that were read. */
  samples = 0;
  readonly #facts: PrefixFacts;
  readonly #access = new BeliefTree(1, FIRST_ACCESS, LEAST_MS);
  readonly #way: BeliefTree;
  /** [node * sites + site]: line and way; NaN: the node is no place. */
  #node = new Float32Array(0);
  /** [prefix]: access, and its variance; variance 0: not measured, its node's is. */
  #own = new Float32Array(0);
  #ownVariance = new Float32Array(0);
  #firstMs = FIRST_ACCESS_MS;
  #msPerKm = FIRST_STRETCH * FIBRE_MS_A_KM;
  #nowSeconds = 0;
  /** Nodes that beliefs know. */
  #fitted = 0;

  /** `sites` at least 1. `seed`: which pairs are given up when there is no room. */
  constructor(facts: PrefixFacts, sites: number, bounds: RttMapBounds, seed: number) {
    this.#facts = facts;
    this.sites = sites;
    this.pairs = new RttPairs(bounds.pairs, seed);
    this.nodes = new PrefixNodes(facts, sites, Math.floor(NODE_ENTRIES / sites));
    this.#way = new BeliefTree(sites, FIRST_WAY, LEAST_MS);
    this.fit(0);
  }

  /** Cost: about 0.1 us a row. */
  observe(rows: RttRows, nowMs: number): void {
    this.#nowSeconds = Math.floor(nowMs / 1000);
    for (let row = 0; row < rows.length; row++) {
      if (rows.site[row] < this.sites) this.pairs.add(rows.prefix[row], rows.site[row], rows.ms[row], this.#nowSeconds);
    }
    this.samples += rows.length;
  }

  /** Brings beliefs up to date with what was read. Cost: some 0.2 us a pair and 50 ns for each node and site. */
  fit(nowMs: number): void {
    this.#nowSeconds = Math.floor(nowMs / 1000);
    this.#makeRoom();
    this.#fitLine();
    this.#fitAccess();
    this.#fitWays();
    this.#fitPairs();
  }

  /** With a 90 % interval. */
  estimate(prefix: number, site: number): RttEstimate {
    const node = this.#fittedNode(prefix);
    const isOwn = prefix < this.#own.length && this.#ownVariance[prefix] > 0;
    const access = isOwn ? this.#own[prefix] : this.#access.mean[node];
    const value = this.#nodeMs(node, prefix, site) + access;
    const pair = this.pairs.find(prefix, site);
    if (pair >= 0 && this.pairs.posterior[pair] > 0) {
      return interval(value + this.pairs.correction[pair], Z90 * Math.sqrt(this.pairs.posterior[pair]), 'measured');
    }
    const accessVariance = isOwn
      ? this.#ownVariance[prefix]
      : this.#access.variance[node] + this.#access.tau2[PREFIX_LEVEL];
    const km = this.nodes.km[node * this.sites + site];
    const unit = unitOf(Number.isNaN(km) ? this.#facts.distanceKm(prefix, site) : km);
    const way = this.nodeVariance(node, site) + this.levelVariance(PREFIX_LEVEL, site);
    const level = this.#levelOf(node, site);
    const reach = CHOSEN * this.#way.reach[Math.min(PREFIX_LEVEL, level + 1)];
    return interval(value, reach * Math.sqrt(unit * unit * way + accessVariance), SOURCES[level]);
  }

  /**
   * [group * sites + site]: mean over the group's users, in milliseconds. Cost: some 60 ns a place and 30 sites.
   */
  estimateMany(places: GroupPlaces, rttMs: Float32Array): void {
    const { sites, pairs } = this;
    const row = new Float64Array(sites);
    for (let g = 0; g + 1 < places.begin.length; g++) {
      row.fill(0);
      let access = 0;
      for (let n = places.begin[g]; n < places.begin[g + 1]; n++) {
        const prefix = places.prefix[n];
        const share = places.share[n];
        const node = this.#fittedNode(prefix);
        const isOwn = prefix < this.#own.length && this.#ownVariance[prefix] > 0;
        access += share * (isOwn ? this.#own[prefix] : this.#access.mean[node]);
        if (!Number.isNaN(this.#node[node * sites])) {
          const from = node * sites;
          for (let s = 0; s < sites; s++) row[s] += share * this.#node[from + s];
        } else {
          for (let s = 0; s < sites; s++) row[s] += share * this.#nodeMs(node, prefix, s);
        }
        if (!isOwn) continue;
        for (let pair = pairs.first[prefix]; pair >= 0; pair = pairs.next[pair]) {
          row[pairs.site[pair]] += share * pairs.correction[pair];
        }
      }
      for (let s = 0; s < sites; s++) rttMs[g * sites + s] = Math.max(0.1, row[s] + access);
    }
  }

  /** Line and way, without access. */
  nodeMs(node: number, site: number): number {
    return this.#node[node * this.sites + site];
  }

  /** Whether beliefs know a node already. */
  isFitted(node: number): boolean {
    return node < this.#fitted;
  }

  /** Milliseconds: what a node's prefixes have with every site more than others do, as far as is known. */
  accessOf(node: number): number {
    return this.#access.mean[node];
  }

  /** Milliseconds: what ways between a node and a site are counted in. */
  unitOf(node: number, site: number): number {
    return unitOf(this.nodes.km[node * this.sites + site]);
  }

  /** Squared units: of the way between a node and a site. */
  nodeVariance(node: number, site: number): number {
    return this.#way.variance[node * this.sites + site];
  }

  /** Squared units: how far the level's members are from their parent (4: prefixes from their area) at that site. */
  levelVariance(level: number, site: number): number {
    return this.#way.tau2[level * this.sites + site];
  }

  /** Precision of what was measured in a node at a site; 0: nothing. */
  nodePrecision(node: number, site: number): number {
    return this.#way.precision[node * this.sites + site];
  }

  /** The smallest level around a node in which somebody measured the site. */
  #levelOf(from: number, site: number): number {
    let node = from;
    while (node > 0 && !(this.#way.precision[node * this.sites + site] > 0)) node = this.nodes.parent[node];
    return node === 0 ? 0 : this.nodes.level[node];
  }

  #lineMs(km: number): number {
    return Number.isNaN(km) ? fibreRttMs(km) : this.#firstMs + this.#msPerKm * km;
  }

  /** The smallest node of a prefix that beliefs know already. */
  #fittedNode(prefix: number): number {
    let node = this.nodes.nodeOf(prefix);
    while (node >= this.#fitted) node = this.nodes.parent[node];
    return node;
  }

  #nodeMs(node: number, prefix: number, site: number): number {
    const known = this.#node[node * this.sites + site];
    if (!Number.isNaN(known)) return known;
    const km = this.#facts.distanceKm(prefix, site);
    return this.#lineMs(km) + unitOf(km) * this.#way.mean[node * this.sites + site];
  }

  #kmOf(pair: number, node: number): number {
    const km = this.nodes.km[node * this.sites + this.pairs.site[pair]];
    return Number.isNaN(km) ? this.#facts.distanceKm(this.pairs.prefix[pair], this.pairs.site[pair]) : km;
  }

  #makeRoom(): void {
    const { pairs, nodes } = this;
    for (let prefix = 0; prefix < pairs.first.length; prefix++) if (pairs.first[prefix] >= 0) nodes.nodeOf(prefix);
    if (this.#own.length < pairs.first.length) {
      const own = new Float32Array(pairs.first.length);
      own.set(this.#own);
      this.#own = own;
      const variance = new Float32Array(pairs.first.length);
      variance.set(this.#ownVariance);
      this.#ownVariance = variance;
    }
    this.#way.begin(nodes.count);
    this.#access.begin(nodes.count);
  }

  /** Least squares of time without access and way over distance, held to the first guess where little is measured. */
  #fitLine(): void {
    const { pairs, nodes, sites } = this;
    let n = LINE_PRIOR;
    let x = 0;
    let y = LINE_PRIOR * FIRST_ACCESS_MS;
    let xx = LINE_PRIOR * 4e6;
    let xy = xx * FIRST_STRETCH * FIBRE_MS_A_KM;
    for (let pair = 0; pair < pairs.length; pair++) {
      const prefix = pairs.prefix[pair];
      const at = nodes.of[prefix] * sites + pairs.site[pair];
      const km = nodes.km[at];
      if (Number.isNaN(km)) continue;
      const weight = LINE_VARIANCE / (LINE_VARIANCE + pairs.varianceOf(pair, this.#nowSeconds));
      const ms = pairs.valueOf(pair) - this.#own[prefix] - unitOf(km) * this.#way.mean[at];
      n += weight;
      x += weight * km;
      y += weight * ms;
      xx += weight * km * km;
      xy += weight * km * ms;
    }
    // Around 1 in FIRST_STRETCH is light in glass: nothing is faster.
    const slope = (n * xy - x * y) / (n * xx - x * x);
    this.#msPerKm = Math.max(FIBRE_MS_A_KM, slope);
    this.#firstMs = Math.max(0, (y - this.#msPerKm * x) / n);
  }

  /** What prefixes have with every site. */
  #fitAccess(): void {
    const { pairs, nodes, sites } = this;
    const access = this.#access;
    const prefixTau = access.tau2[PREFIX_LEVEL];
    let common = 0;
    for (let s = 0; s < sites; s++) common += this.#way.tau2[3 * sites + s] / (1.5 * sites);
    this.#eachMeasured((prefix, node, value, variance) => {
      access.tell(node, value, variance + prefixTau);
      this.#own[prefix] = value;
      this.#ownVariance[prefix] = variance;
    });
    access.up(nodes.count, nodes.parent, nodes.level, common);
    access.down(nodes.count, nodes.parent, nodes.level, common);
    for (let prefix = 0; prefix < pairs.first.length; prefix++) {
      if (pairs.first[prefix] < 0) {
        this.#ownVariance[prefix] = 0;
        continue;
      }
      const variance = this.#ownVariance[prefix];
      access.except(nodes.of[prefix], this.#own[prefix], variance + prefixTau, variance);
      const prior = 1 / (access.restVariance + prefixTau);
      const precision = prior + 1 / variance;
      this.#own[prefix] = (prior * access.restMean + this.#own[prefix] / variance) / precision;
      this.#ownVariance[prefix] = 1 / precision;
    }
    access.learn(PREFIX_LEVEL);
  }

  /** Of each prefix with pairs: what its times are above line and way, at all of its sites together. */
  #eachMeasured(read: (prefix: number, node: number, value: number, variance: number) => void): void {
    const { pairs, nodes, sites } = this;
    for (let prefix = 0; prefix < pairs.first.length; prefix++) {
      if (pairs.first[prefix] < 0) continue;
      const node = nodes.of[prefix];
      let precision = 0;
      let sum = 0;
      for (let pair = pairs.first[prefix]; pair >= 0; pair = pairs.next[pair]) {
        const site = pairs.site[pair];
        const km = this.#kmOf(pair, node);
        const unit = unitOf(km);
        const tau = unit * unit * this.#way.tau2[PREFIX_LEVEL * sites + site];
        const weight = 1 / (pairs.varianceOf(pair, this.#nowSeconds) + tau);
        const way = unit * this.#way.mean[node * sites + site];
        precision += weight;
        sum += weight * (pairs.valueOf(pair) - this.#lineMs(km) - way);
      }
      read(prefix, node, sum / precision, 1 / precision);
    }
  }

  #fitWays(): void {
    const { pairs, nodes, sites } = this;
    const way = this.#way;
    this.#eachWay((pair, at, value, noise) => {
      way.tell(at, value, noise + way.tau2[PREFIX_LEVEL * sites + pairs.site[pair]]);
    });
    way.up(nodes.count, nodes.parent, nodes.level, 0);
    way.down(nodes.count, nodes.parent, nodes.level, 0);
    const size = nodes.count * sites;
    if (this.#node.length < size) this.#node = new Float32Array(Math.ceil(size * 1.25)).fill(Number.NaN);
    for (let at = 0; at < size; at++) {
      const km = nodes.km[at];
      this.#node[at] = Number.isNaN(km) ? Number.NaN : this.#lineMs(km) + unitOf(km) * way.mean[at];
    }
    this.#fitted = nodes.count;
  }

  /** Of each pair: place in the tree, what its time is above line and access, and the variance of that, in units. */
  #eachWay(read: (pair: number, at: number, value: number, noise: number, unit: number) => void): void {
    const { pairs, nodes, sites } = this;
    for (let prefix = 0; prefix < pairs.first.length; prefix++) {
      const node = nodes.of[prefix];
      for (let pair = pairs.first[prefix]; pair >= 0; pair = pairs.next[pair]) {
        const km = this.#kmOf(pair, node);
        const unit = unitOf(km);
        const value = (pairs.valueOf(pair) - this.#lineMs(km) - this.#own[prefix]) / unit;
        const noise = pairs.varianceOf(pair, this.#nowSeconds) + ACCESS_PART * this.#ownVariance[prefix];
        read(pair, node * sites + pairs.site[pair], value, noise / (unit * unit), unit);
      }
    }
  }

  /** What a prefix's own times add to its node's. */
  #fitPairs(): void {
    const { pairs, sites } = this;
    const way = this.#way;
    this.#eachWay((pair, at, value, noise, unit) => {
      const tau = way.tau2[PREFIX_LEVEL * sites + pairs.site[pair]];
      way.except(at, value, noise + tau, pairs.varianceOf(pair, this.#nowSeconds) / (unit * unit));
      const prior = way.restVariance + tau;
      const own = pairs.varianceOf(pair, this.#nowSeconds);
      const gain = prior / (prior + own / (unit * unit));
      pairs.correction[pair] = unit * (way.restMean + gain * (value - way.restMean) - way.mean[at]);
      // The sum of access and way is measured as one: it is no less sure than the measurement.
      const borrowed = unit * unit * prior + this.#ownVariance[pairs.prefix[pair]];
      pairs.posterior[pair] = Math.max(1e-3, 1 / (1 / own + 1 / borrowed));
    });
    way.learn(0);
  }
}

function interval(value: number, width: number, source: RttSource): RttEstimate {
  const ms = Math.max(0.1, value);
  return { value: ms, low: Math.max(0, ms - width), high: ms + width, source };
}
