/** What the thread of measured steering does, without the thread: rows in, decisions and reasons out, all that was learned as bytes. */
import type { ClientPlaces, Config } from '../config/model.ts';
import type { MeasuredAnswers } from '../config/steering-model.ts';
import { clientsOf } from '../decide/steer/clients.ts';
import type { Forecast } from '../decide/steer/forecast/forecast.ts';
import { type BeaconRows, type MeasuredMap, NO_PREFIX, NO_SITE, type QueryRows } from '../decide/steer/measured.ts';
import { measuredAnswers } from '../decide/steer/measured-answers.ts';
import { MeasuredSteering } from '../decide/steer/measured-loop.ts';
import type { Decision, GroupExplanation, SteeringHealth } from '../decide/steer/measured-model.ts';
import { type MeasuredSetup, measuredSetup, NO_NUMBERS, type SteeringNumbers } from '../decide/steer/measured-setup.ts';
import { compileSteering } from '../decide/steer/policy.ts';
import { KEY_IPV6, KEY_REST, PrefixNumbers } from '../decide/steer/prefix-numbers.ts';
import { keepNumbers, restoreNumbers } from '../decide/steer/prefix-numbers-kept.ts';
import { formatPrefix } from '../net/address.ts';
import type { KeyedBeacons } from '../observe/beacon-rows.ts';
import type { KeyedQueries } from '../observe/query-rows.ts';
import { numberRows } from '../observe/steering-rows.ts';
import { type ResolverQuestion, type ToldResolvers, tellResolvers } from './measured-resolvers.ts';
import { joinSnapshot, splitSnapshot } from './measured-snapshot.ts';
import type {
  ExplainedGroup,
  MeasuredDecided,
  MeasuredHealth,
  MeasuredMove,
  MeasuredQuestion,
  MeasuredRows,
  MeasuredStart,
  PlanQuestion,
} from './measured-words.ts';

/** Client prefixes that have numbers, at most. */
const PREFIX_BOUND = 1 << 20;
/** When so much of the bound is taken, an eighth of the numbers is freed. */
const FULL_SHARE = 0.95;
const MOST_MOVES = 20;
const NO_BEACONS: BeaconRows = { length: 0, resolver: new Uint32Array(0), prefix: new Uint32Array(0) };

export class MeasuredBrain {
  readonly #wallMs: () => number;
  readonly #numbers: PrefixNumbers;
  #config: Config;
  #setup: MeasuredSetup;
  #steering: MeasuredSteering;
  /** Of the last map: which it was, and what comes next to each item's site. */
  #map: MeasuredMap | null = null;
  #seconds: { readonly sites: Uint16Array; readonly seconds: Uint16Array } | null = null;
  #served: MeasuredAnswers | null = null;
  #linkNames: readonly string[] = [];
  /** From the lists of who sends rows to ours. */
  #siteOf: readonly number[] = [];
  #serviceOf: readonly number[] = [];
  readonly #seed: number;
  /** Of the newest map, in this thread or one before it. */
  #version: number;
  /** Null: there was nothing to restore. False: there was, but it cannot be used. */
  readonly restored: boolean | null;

  constructor(config: Config, { snapshot, seed, version }: MeasuredStart, wallMs: () => number) {
    this.#version = version;
    this.#wallMs = wallMs;
    this.#seed = seed;
    this.#config = config;
    const kept = snapshot === null ? null : splitSnapshot(snapshot);
    const numbers = kept === null ? null : restoreNumbers(kept.prefixes, PREFIX_BOUND, seed);
    this.#numbers = numbers ?? new PrefixNumbers(PREFIX_BOUND, seed);
    this.#setup = measuredSetup(config, this.#numbers, numbers === null || kept === null ? NO_NUMBERS : kept.numbers);
    this.#steering = new MeasuredSteering(this.#setup.model, this.#setup.facts, seed, () => performance.now());
    const isRestored = numbers !== null && kept !== null && this.#steering.restore(kept.steering);
    this.restored = snapshot === null ? null : isRestored;
    this.#follow();
  }

  /** Goes over to another configuration; what was learned stays. */
  setConfig(config: Config): void {
    const learned = this.#steering.snapshot();
    this.#config = config;
    this.#setup = measuredSetup(config, this.#numbers, this.#setup.numbers);
    this.#steering = new MeasuredSteering(this.#setup.model, this.#setup.facts, this.#seed, () => performance.now());
    this.#steering.restore(learned);
    this.#map = null;
    this.#seconds = null;
    this.#follow();
  }

  setState(steeringState: Config['steeringState']): void {
    this.#config = { ...this.#config, steeringState };
  }

  #follow(): void {
    const { numbers, model } = this.#setup;
    this.#siteOf = [...this.#config.sites.keys()].map((name) => numbers.sites.indexOf(name));
    this.#serviceOf = [...this.#config.services.keys()].map((name) => numbers.services.indexOf(name));
    this.#linkNames = model.links.map(({ name }) => name);
  }

  /** Cost: by row. */
  take({ nowMs, intervalMs, rows, queries, beacons, linkLoad }: MeasuredRows): void {
    const { rtt, traffic } = numberRows(rows, this.#numbers);
    this.#steering.observe({
      nowMs,
      intervalMs,
      rtt: { ...rtt, length: this.#keepKnown(rtt.length, [rtt.prefix], [rtt.ms], rtt.site, null) },
      traffic: {
        ...traffic,
        length: this.#keepKnown(
          traffic.length,
          [traffic.prefix],
          [traffic.connections, traffic.bytes],
          traffic.site,
          traffic.service,
        ),
      },
      queries: queries === null ? NO_QUERIES : this.#numberQueries(queries),
      beacons: beacons === null ? NO_BEACONS : this.#numberBeacons(beacons),
      linkLoad: Float64Array.from(this.#linkNames, (name) => linkLoad.get(name) ?? Number.NaN),
    });
  }

  /** Puts our numbers of sites and services; rows of others are left out. Gives how many are left, moved up. */
  #keepKnown(
    length: number,
    whole: readonly Uint32Array[],
    real: readonly (Float32Array | Float64Array)[],
    site: Uint16Array,
    service: Uint16Array | null,
  ): number {
    let kept = 0;
    for (let row = 0; row < length; row++) {
      const itsSite = this.#siteOf[site[row]] ?? -1;
      const itsService = service === null ? 0 : (this.#serviceOf[service[row]] ?? -1);
      if (itsSite < 0 || itsService < 0) continue;
      site[kept] = itsSite;
      if (service !== null) service[kept] = itsService;
      for (const column of whole) column[kept] = column[row];
      for (const column of real) column[kept] = column[row];
      kept++;
    }
    return kept;
  }

  #numberBeacons({ length, high, low, resolverHigh, resolverLow }: KeyedBeacons): BeaconRows {
    const numberOf = (its: number, lower: number): number =>
      this.#numbers.numberOfKey((its & KEY_IPV6) !== 0, its & 0xffff, lower);
    const [resolver, prefix] = [new Uint32Array(length), new Uint32Array(length)];
    let kept = 0;
    for (let row = 0; row < length; row++) {
      const [asker, user] = [numberOf(resolverHigh[row], resolverLow[row]), numberOf(high[row], low[row])];
      if (asker === NO_PREFIX || user === NO_PREFIX) continue;
      resolver[kept] = asker;
      prefix[kept] = user;
      kept++;
    }
    return { length: kept, resolver, prefix };
  }

  #numberQueries(keyed: KeyedQueries): QueryRows {
    const { service, site, queries } = keyed;
    const numberOf = (high: number, low: number): number =>
      high === KEY_REST ? NO_PREFIX : this.#numbers.numberOfKey((high & KEY_IPV6) !== 0, high & 0xffff, low);
    const resolver = new Uint32Array(keyed.length);
    const subnet = new Uint32Array(keyed.length);
    let length = 0;
    for (let row = 0; row < keyed.length; row++) {
      const its = this.#serviceOf[service[row]];
      const asker = numberOf(keyed.high[row], keyed.low[row]);
      if (its === undefined || its < 0 || asker === NO_PREFIX) continue;
      resolver[length] = asker;
      subnet[length] = numberOf(keyed.subnetHigh[row], keyed.subnetLow[row]);
      const counted = subnet[length] === NO_PREFIX ? asker : subnet[length];
      this.#numbers.importance[counted] += queries[row];
      service[length] = its;
      site[length] = this.#siteOf[site[row]] ?? NO_SITE;
      queries[length] = queries[row];
      length++;
    }
    return { length, resolver, subnet, service, site, queries };
  }

  /** Cost: that of the solver, and some 0.5 s for 100,000 groups of three classes until maps are ready. */
  decide(nowMs: number, health: MeasuredHealth): MeasuredDecided {
    const startMs = performance.now();
    const decision = this.#steering.decide(nowMs, this.#healthOf(health));
    const moves = this.#movesTo(decision.map);
    const isSame = this.#map !== null && isSameMap(this.#map, decision.map);
    const answers = isSame && this.#served !== null ? null : this.#answers(decision.map);
    this.#map = copyOf(decision.map);
    const maps = answers === null ? [] : this.#makeMaps(answers);
    if (answers !== null) this.#served = answers;
    this.#forget();
    return { answers, maps, summary: this.#summaryOf(decision, moves, performance.now() - startMs) };
  }

  #healthOf(health: MeasuredHealth): SteeringHealth {
    const { model } = this.#setup;
    const links = new Float64Array(model.links.length).fill(1);
    return { sites: Float64Array.from(model.sites, ({ name }) => health.sites.get(name) ?? 0), links };
  }

  /** Null: nothing was decided yet, or there is no such site or link. Cost: that of the solver. */
  plan({ change, minutes, nowMs, health }: PlanQuestion): Forecast | null {
    const intervalSeconds = Math.max(1, this.#config.steering.measured.intervalMs / 1000);
    const time = { nowMs, wallMs: this.#wallMs(), intervalSeconds };
    return this.#steering.forecast(change, minutes, this.#healthOf(health), time);
  }

  #answers(map: MeasuredMap): MeasuredAnswers {
    const { numbers, classes } = this.#setup;
    const demand = Float64Array.from(map.groups, (group) => this.#numbers.importance[group]);
    const second = this.#secondSites(map);
    this.#version++;
    return measuredAnswers({
      map: { ...map, version: this.#version },
      numbers: this.#numbers,
      sites: numbers.sites,
      classes,
      second,
      demand,
    });
  }

  /** What comes next by cost; asked again only where the site is another, for it makes objects. */
  #secondSites(map: MeasuredMap): Uint16Array {
    const seconds = new Uint16Array(map.site.length).fill(NO_SITE);
    const before = this.#map;
    for (let at = 0, old = 0; at < map.groups.length; at++) {
      while (before !== null && old < before.groups.length && before.groups[old] < map.groups[at]) old++;
      const isKnown = before !== null && this.#seconds !== null && before.groups[old] === map.groups[at];
      for (let c = 0; c < map.classes; c++) {
        const item = at * map.classes + c;
        const site = map.site[item];
        if (site === NO_SITE || map.splits.has(item)) continue;
        const oldItem = old * map.classes + c;
        if (isKnown && before.classes === map.classes && this.#seconds?.sites[oldItem] === site)
          seconds[item] = this.#seconds.seconds[oldItem];
        else seconds[item] = nextOf(this.#steering.explain(map.groups[at], c), site);
      }
    }
    this.#seconds = { sites: map.site.slice(), seconds };
    return seconds;
  }

  #makeMaps(measured: MeasuredAnswers): ClientPlaces['maps'] {
    const { steeringState } = this.#config;
    const clients = { ...clientsOf(this.#config), maps: [] };
    compileSteering({ ...this.#config, clients, steeringState: { ...steeringState, measured } });
    return clients.maps;
  }

  /** Numbers of the least important prefixes, before there is none left; none that the map has. */
  #forget(): void {
    if (this.#numbers.size < FULL_SHARE * PREFIX_BOUND) return;
    const inMap = new Set(this.#map?.groups);
    const numbers = this.#numbers.least(PREFIX_BOUND >> 3).filter((number) => !inMap.has(number));
    const steering = this.#steering as { forget?(numbers: Uint32Array): void };
    if (steering.forget === undefined) return;
    steering.forget(numbers);
    this.#numbers.forget(numbers);
  }

  #movesTo(map: MeasuredMap): MeasuredMove[] {
    const before = this.#map;
    if (before === null || before.classes !== map.classes) return [];
    const moves: (MeasuredMove & { readonly group: number })[] = [];
    const { sites, numbers } = { sites: this.#setup.numbers.sites, numbers: this.#numbers };
    for (let at = 0, old = 0; at < map.groups.length; at++) {
      while (old < before.groups.length && before.groups[old] < map.groups[at]) old++;
      if (before.groups[old] !== map.groups[at]) continue;
      for (let c = 0; c < map.classes; c++) {
        const [from, to] = [before.site[old * map.classes + c], map.site[at * map.classes + c]];
        if (from === to || from === NO_SITE || to === NO_SITE || !numbers.has(map.groups[at])) continue;
        const group = map.groups[at];
        const demand = numbers.importance[group];
        if (moves.length >= 4 * MOST_MOVES && demand < (moves.at(-1)?.demand ?? 0)) continue;
        moves.push({
          group,
          prefix: '',
          kind: this.#setup.model.classes[c].kind,
          from: sites[from],
          to: sites[to],
          demand,
        });
        if (moves.length > 8 * MOST_MOVES) moves.sort((a, b) => b.demand - a.demand).splice(4 * MOST_MOVES);
      }
    }
    moves.sort((a, b) => b.demand - a.demand);
    return moves.slice(0, MOST_MOVES).map(({ group, ...move }) => {
      return { ...move, prefix: formatPrefix(numbers.prefixOf(group)) };
    });
  }

  #summaryOf(decision: Decision, moves: readonly MeasuredMove[], tookMs: number): MeasuredDecided['summary'] {
    const { model, numbers, classes } = this.#setup;
    const { map } = decision;
    return {
      version: this.#version,
      atMs: this.#wallMs(),
      groups: map.groups.length,
      prefixes: this.#numbers.size,
      refusedPrefixes: this.#numbers.refused,
      isComplete: decision.isComplete,
      stages: decision.stages,
      meanRttMs: decision.meanRttMs,
      movedShare: decision.movedShare,
      exploredShare: decision.exploredShare,
      reasons: decision.reasons.slice(0, MOST_MOVES),
      sites: model.sites.map(({ name, capacity }, at) => ({
        site: name,
        load: decision.siteLoad[at],
        capacity: limitOf(capacity),
      })),
      links: model.links.map(({ name, capacity }, at) => ({
        link: name,
        load: decision.linkLoad[at],
        capacity: limitOf(capacity),
      })),
      tookMs,
      classes: model.classes.map(({ kind }, c) => ({
        kind,
        services: [...classes].flatMap(([name, its]) => (its === c ? [name] : [])),
        ...countsOf(map, c, numbers.sites),
      })),
      moves,
    };
  }

  /** Null: nothing is known of who asks, or the service is not steered. */
  explain({ service, address }: MeasuredQuestion): ExplainedGroup | null {
    const c = this.#setup.classes.get(service);
    const group = this.#numbers.find(address.family, address.bytes, 0);
    if (c === undefined || group === NO_PREFIX) return null;
    const explained = this.#steering.explain(group, c);
    if (explained === null) return null;
    const prefixText = (prefix: number) =>
      this.#numbers.has(prefix) ? formatPrefix(this.#numbers.prefixOf(prefix)) : 'forgotten';
    return {
      group: prefixText(group),
      kind: this.#setup.model.classes[c].kind,
      demand: explained.demand,
      version: this.#version,
      mode: this.#config.steering.measured.mode,
      places: explained.places.map(({ prefix, share }) => ({ prefix: prefixText(prefix), share })),
      candidates: explained.candidates.map(({ site, highMs, ...rest }) => {
        return { ...rest, site: this.#setup.numbers.sites[site], highMs: Number.isFinite(highMs) ? highMs : null };
      }),
    };
  }

  resolvers(question: ResolverQuestion): ToldResolvers {
    const explain = (group: number, c: number) => this.#steering.explain(group, c);
    const sources = { book: this.#steering.book, numbers: this.#numbers, model: this.#setup.model, explain };
    return tellResolvers(sources, question);
  }

  snapshot(): Uint8Array {
    const numbers: SteeringNumbers = this.#setup.numbers;
    return joinSnapshot({ numbers, prefixes: keepNumbers(this.#numbers), steering: this.#steering.snapshot() });
  }
}

const limitOf = (capacity: number): number | null => (Number.isFinite(capacity) ? capacity : null);

const NO_QUERIES: QueryRows = {
  length: 0,
  resolver: new Uint32Array(0),
  subnet: new Uint32Array(0),
  service: new Uint16Array(0),
  site: new Uint16Array(0),
  queries: new Float64Array(0),
};

function nextOf(explained: GroupExplanation | null, site: number): number {
  return explained?.candidates.find((candidate) => candidate.site !== site)?.site ?? NO_SITE;
}

/** Whoever made the map may use its columns again. */
function copyOf({ version, groups, classes, site, splits }: MeasuredMap): MeasuredMap {
  return { version, groups: groups.slice(), classes, site: site.slice(), splits: new Map(splits) };
}

function isSameMap(a: MeasuredMap, b: MeasuredMap): boolean {
  if (a.classes !== b.classes || a.groups.length !== b.groups.length || a.splits.size !== b.splits.size) return false;
  for (let at = 0; at < a.groups.length; at++) if (a.groups[at] !== b.groups[at]) return false;
  for (let item = 0; item < a.site.length; item++) if (a.site[item] !== b.site[item]) return false;
  for (const [item, shares] of b.splits)
    if (JSON.stringify(a.splits.get(item)) !== JSON.stringify(shares)) return false;
  return true;
}

function countsOf(map: MeasuredMap, c: number, sites: readonly string[]) {
  const groups: Record<string, number> = {};
  let split = 0;
  for (let at = 0; at < map.groups.length; at++) {
    const item = at * map.classes + c;
    if (map.splits.has(item)) split++;
    const site = sites[map.site[item]];
    if (site !== undefined) groups[site] = (groups[site] ?? 0) + 1;
  }
  return { groups, split };
}
