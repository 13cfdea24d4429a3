/**
 * From observations to a steering map: one pure pipeline for production, `plan` and the simulator. Give it each interval's observations,
 * then ask for a decision as often as maps may change.
 */
import { ResolverBook } from './book/resolver-book.ts';
import { ControlState } from './control-state.ts';
import { GroupBuilder, type SteeredGroups } from './demand/groups.ts';
import { LinkBackground } from './demand/link-background.ts';
import { PrefixDemand } from './demand/prefix-demand.ts';
import { explainGroup } from './explain-group.ts';
import { Exploration, withTrials } from './exploration.ts';
import type { Forecast } from './forecast/forecast.ts';
import { forecastMeasured, type MeasuredChange, type MeasuredState } from './forecast/measured.ts';
import type { MeasuredMap, Observations, PrefixFacts } from './measured.ts';
import { NO_SITE } from './measured.ts';
import type { Decision, GroupExplanation, SteeringHealth, SteeringModel } from './measured-model.ts';
import { ObservedAnswers } from './observed-answers.ts';
import { packColumns, unpackColumns } from './packed-columns.ts';
import type { RttPairs } from './rtt/pairs.ts';
import { RttMap } from './rtt/rtt-map.ts';
import { expandMap, isSameMap } from './steering-map.ts';
import { solveTarget, type Target } from './target.ts';

/** Demand is wanted for when answers given now arrive. */
const AHEAD_MS = 180_000;
const NO_MAP: MeasuredMap = {
  version: 0,
  groups: new Uint32Array(0),
  classes: 0,
  site: new Uint16Array(0),
  splits: new Map(),
};

const SNAPSHOT_VERSION = 2;

type KeptColumns = ReturnType<RttPairs['columns']> & {
  readonly demand: Float32Array;
  readonly answers: Uint16Array;
  readonly book?: Uint8Array;
};

export class MeasuredSteering {
  readonly model: SteeringModel;
  readonly facts: PrefixFacts;
  readonly seed: number;
  readonly rtt: RttMap;
  readonly book: ResolverBook;
  readonly demand: PrefixDemand;
  readonly links: LinkBackground;
  readonly exploration: Exploration;
  readonly #classOf: readonly number[];
  readonly #clock: () => number;
  readonly #builder: GroupBuilder;
  readonly #answers: ObservedAnswers;
  readonly control: ControlState;
  #paths: Int32Array;
  #map = NO_MAP;
  #target: Target | null = null;
  #trials: ReadonlyMap<number, number> = new Map();
  groups: SteeredGroups | null = null;
  rttMs = new Float32Array(0);

  /**
   * `seed`: of exploration; the same observations with the same seed give the same maps. `clock`: milliseconds, for the limit of a solve
   * alone; without it there is none.
   */
  constructor(model: SteeringModel, facts: PrefixFacts, seed: number, clock: () => number = () => 0) {
    this.model = model;
    this.facts = facts;
    this.seed = seed;
    this.#clock = clock;
    const { limits, regions, regionOf, ttlSeconds } = model;
    const [sites, classes] = [model.sites.length, model.classes.length];
    this.#classOf = model.services.map((service) => service.class);
    this.rtt = new RttMap(facts, sites, { pairs: limits.rttPairs }, seed);
    const bounds = { resolvers: limits.resolvers, users: limits.users };
    this.book = new ResolverBook({ classOf: this.#classOf, classes, sites, ttlSeconds }, facts, bounds);
    this.demand = new PrefixDemand(facts, classes, limits.prefixes);
    this.exploration = new Exploration(model, seed);
    this.links = new LinkBackground(model);
    this.#builder = new GroupBuilder(classes, regions, regionOf, limits.groups);
    this.#answers = new ObservedAnswers(classes, limits.prefixes);
    this.control = new ControlState(model);
    this.#paths = model.paths;
  }

  /** Cost: by row; some 0.2 s with 200,000 prefixes and 20,000 resolvers. The columns are read at once and not kept. */
  observe(observations: Observations): void {
    const { rtt, traffic, linkLoad, nowMs, intervalMs } = observations;
    this.rtt.observe(rtt, nowMs);
    this.demand.observe(traffic, this.#classOf, intervalMs);
    this.links.observe(traffic, linkLoad, intervalMs, this.#paths);
    this.#answers.observe(observations.queries, this.#classOf);
    this.book.record(observations);
    this.control.measured(traffic, intervalMs);
  }

  decide(nowMs: number, health: SteeringHealth): Decision {
    const { model } = this;
    this.#paths = health.paths ?? model.paths;
    this.rtt.fit(nowMs);
    const forecast = this.demand.forecast(AHEAD_MS);
    const groups = this.#builder.build(this.book, forecast, this.rtt);
    this.groups = groups;
    this.rttMs = new Float32Array(groups.ids.length * model.sites.length);
    this.rtt.estimateMany(groups, this.rttMs);
    const control = this.control;
    control.begin(groups, this.book, this.links, this.#answers, health, this.#paths, nowMs);
    const target = this.#solve(groups, control, this.#target);
    this.#target = target;
    const step = control.step(target, this.rttMs, nowMs);
    const base = expandMap(groups, step.map, this.#map.version + 1);
    const { prefixes } = this.demand;
    const hasRoom = control.sitesWithRoom();
    const trials = this.exploration.choose({ groups, forecast, rtt: this.rtt, map: base, hasRoom, prefixes, nowMs });
    this.#trials = trials.sites;
    const map = withTrials(base, trials.sites, this.exploration.class);
    this.#tellBook(map, nowMs);
    if (!isSameMap(map, this.#map)) this.#map = map;
    return {
      map: this.#map,
      stages: target.stages,
      isComplete: target.isComplete,
      ...control.settledLoads(),
      meanRttMs: this.#meanRttMs(groups, step.map),
      movedShare: Object.values(step.movedShare).reduce((sum, share) => sum + share, 0),
      exploredShare: trials.share,
      reasons: [...target.overloads, ...control.reasons(step)],
    };
  }

  /**
   * What a change would do: decisions as always on a copy, one each `intervalSeconds`. Changes nothing. Null: there was no decision yet, or no
   * such site or link. Cost: one solve and a step of control for each interval.
   */
  forecast(
    change: MeasuredChange,
    minutes: number,
    health: SteeringHealth,
    time: Pick<MeasuredState, 'nowMs' | 'wallMs' | 'intervalSeconds'>,
  ): Forecast | null {
    const { groups, model, book, links } = this;
    if (groups === null) return null;
    let last = this.#target;
    const state: MeasuredState = {
      model,
      control: this.control.fork(),
      rttMs: this.rttMs,
      begin: (control, then, nowMs) => control.begin(groups, book, links, this.#answers, then, this.#paths, nowMs),
      target: (control) => {
        last = this.#solve(groups, control, last);
        return last;
      },
      health,
      ...time,
    };
    return forecastMeasured(state, change, minutes);
  }

  /** Why a group has what it has; null: the group is not in the map, or there is none yet. */
  explain(group: number, c: number): GroupExplanation | null {
    const { groups, model, rtt, rttMs, control } = this;
    const target = this.#target;
    if (groups === null || target === null || !(c < model.classes.length)) return null;
    const asker = placeOf(groups.askers, group);
    const at = placeOf(this.#map.groups, group);
    if (asker < 0 || at < 0) return null;
    const item = at * this.#map.classes + c;
    const site = this.#map.site[item];
    const answered = this.#map.splits.get(item) ?? (site === NO_SITE ? [] : [{ site, share: 1 }]);
    const explores = c === this.exploration.class ? (this.#trials.get(asker) ?? NO_SITE) : NO_SITE;
    const input = { model, groups, rtt, rttMs, control, target, answered, explores, paths: this.#paths };
    return explainGroup(input, asker, c);
  }

  /** All that was learned. Prefixes are in it by their numbers: whoever keeps it keeps their order too. */
  snapshot(): Uint8Array {
    const { classes } = this.demand;
    return packColumns(
      {
        ...this.rtt.pairs.columns(),
        demand: this.demand.rate,
        answers: this.#answers.site,
        book: this.book.snapshot(),
      },
      { version: SNAPSHOT_VERSION, classes },
    );
  }

  /** False: this is no snapshot of this version; nothing has changed then. */
  restore(bytes: Uint8Array): boolean {
    const kept = unpackColumns(bytes);
    const facts = kept?.facts as { version?: number; classes?: number } | undefined;
    if (kept == null || facts?.version !== SNAPSHOT_VERSION || !((facts.classes ?? 0) > 0)) return false;
    const columns = Object.fromEntries(kept.columns) as unknown as KeptColumns;
    this.rtt.pairs.load(columns, this.model.sites.length);
    this.demand.load(columns.demand, facts.classes as number);
    this.#answers.load(columns.answers, facts.classes as number);
    // One of other services begins anew.
    if (columns.book !== undefined) this.book.restore(columns.book);
    return true;
  }

  #solve(groups: SteeredGroups, control: ControlState, last: Target | null): Target {
    const { model } = this;
    return solveTarget({
      model,
      groups,
      rttMs: this.rttMs,
      up: control.health.up,
      siteCapacity: control.siteCapacity,
      linkCapacity: control.linkCapacity,
      linkBackground: control.linkBackground,
      paths: this.#paths,
      bitsPerConnection: this.links.bitsPerConnection,
      previous: control.load.site,
      warm: last?.prices ?? [],
      clock: this.#clock,
    });
  }

  /** Moves are experiments: the book learns from them who is behind a resolver. */
  #tellBook(map: MeasuredMap, nowMs: number): void {
    const before = this.#map;
    if (before.classes !== map.classes) return;
    const { classes } = map;
    for (let old = 0, at = 0; at < map.groups.length && old < before.groups.length; ) {
      if (before.groups[old] < map.groups[at]) old++;
      else if (before.groups[old] > map.groups[at]) at++;
      else {
        for (let c = 0; c < classes; c++) {
          const [from, to] = [before.site[old * classes + c], map.site[at * classes + c]];
          if (from === to || from === NO_SITE) continue;
          for (let service = 0; service < this.#classOf.length; service++) {
            if (this.#classOf[service] === c) this.book.moved(map.groups[at], service, from, to, nowMs);
          }
        }
        old++;
        at++;
      }
    }
  }

  #meanRttMs({ ids, demand }: SteeredGroups, { site, splits, classes }: MeasuredMap): number {
    const sites = this.model.sites.length;
    let sum = 0;
    let total = 0;
    for (let g = 0; g < ids.length; g++) {
      for (let c = 0; c < classes; c++) {
        const item = g * classes + c;
        if (site[item] === NO_SITE) continue;
        const shares = splits.get(item) ?? [{ site: site[item], share: 1 }];
        for (const { site: at, share } of shares) sum += demand[item] * share * this.rttMs[g * sites + at];
        total += demand[item];
      }
    }
    return total > 0 ? sum / total : 0;
  }
}

/** By halves; -1: not in it. */
function placeOf(rising: Uint32Array, value: number): number {
  let [low, high] = [0, rising.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (rising[middle] === value) return middle;
    if (rising[middle] < value) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
