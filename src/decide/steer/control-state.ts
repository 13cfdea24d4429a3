/** What control keeps from decision to decision: answers that live on in caches, sites that came back, what was moved in the last hour. */
import { MoveBudget, type SiteHealth } from './control/limits.ts';
import { PredictedLoad } from './control/predicted-load.ts';
import { type ControlStep, nextStep } from './control/step.ts';
import type { ResolverUsers, SteeredGroups } from './demand/groups.ts';
import type { LinkBackground } from './demand/link-background.ts';
import { NO_SITE, type TrafficRows } from './measured.ts';
import type { SteeringHealth, SteeringModel } from './measured-model.ts';
import type { ObservedAnswers } from './observed-answers.ts';
import { placedCost, type Target, waitCost } from './target.ts';

/**
 * A class that wants no nearness gains so much by being where it should: little, so that who waits moves first. Its targets have many equals
 * and change often; they would fill every step.
 */
const PLACE_MS = 5;
/** The gain is whole where the other site costs a tenth more; between equals, of which there are many, nobody moves. */
const PLACE_GAIN = 10;
/** And stays so many times longer where it is. */
const PLACED_HOLDS = 15;
/** Of its round trip, beside that: enough to choose among equals. */
const FAR_SHARE = 0.002;
/** Capacity of a link that is down, as a share: a solver needs something. */
const DOWN_SHARE = 1e-6;
/**
 * Of caches that are asked all the time, those that hold an answer when it changes: some refresh before the TTL is over, some keep to shorter ones. Not
 * measured; what the resolvers of the simulation do on average.
 */
const USUAL_HELD = 0.93;

export class ControlState {
  load: PredictedLoad;
  health: SiteHealth;
  readonly siteCapacity: Float64Array;
  readonly linkCapacity: Float64Array;
  readonly linkBackground: Float64Array;
  readonly #model: SteeringModel;
  readonly #budget = new MoveBudget();
  readonly #linkLoad: Float64Array;
  readonly #paths: Int32Array;
  readonly measuredLoad: Float64Array;
  #measuredMs = Number.NaN;
  #upSinceMs: Float64Array;
  #isUp: Uint8Array | null = null;
  #step: ControlStep | null = null;

  constructor(model: SteeringModel) {
    const [sites, links, classes] = [model.sites.length, model.links.length, model.classes.length];
    this.#model = model;
    this.#linkLoad = new Float64Array(classes);
    this.#paths = model.paths.slice();
    this.load = new PredictedLoad({
      sites,
      links,
      classes,
      siteLoad: new Float64Array(classes).fill(1),
      linkLoad: this.#linkLoad,
      paths: this.#paths,
    });
    this.siteCapacity = new Float64Array(sites);
    this.linkCapacity = new Float64Array(links);
    this.linkBackground = new Float64Array(links);
    this.measuredLoad = new Float64Array(sites);
    this.#upSinceMs = new Float64Array(sites).fill(-Infinity);
    this.health = { up: new Uint8Array(classes * sites), upSinceMs: this.#upSinceMs, drains: new Map() };
  }

  /** One that goes on for itself from what is known now; nothing more is measured in it. */
  fork(): ControlState {
    const fork = new ControlState(this.#model);
    fork.load.takeFrom(this.load);
    fork.#budget.takeFrom(this.#budget);
    fork.#upSinceMs = this.#upSinceMs.slice();
    fork.#isUp = this.#isUp?.slice() ?? null;
    return fork;
  }

  /** What arrived at sites in an interval. */
  measured(rows: TrafficRows, intervalMs: number): void {
    this.measuredLoad.fill(0);
    for (let row = 0; row < rows.length; row++) {
      if (rows.site[row] < this.measuredLoad.length)
        this.measuredLoad[rows.site[row]] += (rows.connections[row] * 1000) / intervalMs;
    }
    this.#measuredMs = 0;
  }

  /** Takes over what holds for this decision. */
  begin(
    groups: SteeredGroups,
    users: AnswerTimes,
    links: LinkBackground,
    answers: ObservedAnswers,
    health: SteeringHealth,
    paths: Int32Array,
    nowMs: number,
  ): void {
    this.#takeHealth(health, nowMs);
    this.#paths.set(paths);
    this.#linkLoad.set(links.bitsPerConnection);
    for (let l = 0; l < this.linkCapacity.length; l++) {
      this.linkCapacity[l] = this.#model.links[l].capacity * Math.max(DOWN_SHARE, health.links[l]);
      this.linkBackground[l] = Number.isNaN(links.background[l]) ? 0 : links.background[l];
    }
    this.#takeGroups(groups, users);
    this.#takeAnswers(groups, answers);
    if (Number.isNaN(this.#measuredMs)) return;
    const isUp = this.#isUp as Uint8Array;
    this.load.correct(
      this.measuredLoad.map((load, site) => (isUp[site] === 1 ? load : Number.NaN)),
      nowMs,
    );
  }

  /** Cost as `nextStep`. */
  step(target: Target, rttMs: Float32Array, nowMs: number): ControlStep {
    const { load, health } = this;
    const { sites, classes } = load.model;
    const { region } = load.columns;
    const { control, reserve } = this.#model.limits;
    const map = { version: 0, groups: load.columns.groups, classes, site: target.site, splits: target.splits };
    const kinds = this.#model.classes.map(({ kind }) => kind);
    const step = nextStep({
      target: map,
      load,
      health,
      capacity: {
        site: this.siteCapacity,
        link: this.linkCapacity.map((capacity, l) =>
          Math.max(capacity * DOWN_SHARE, capacity - this.linkBackground[l]),
        ),
      },
      limits: {
        ...control,
        fillShare: Math.max(control.fillShare, 1 - reserve),
        holdTimes: kinds.map((kind) => (kind === 'latency' ? 1 : PLACED_HOLDS)),
      },
      budget: this.#budget,
      cost: (item, site) => {
        const c = item % classes;
        if (health.up[c * sites + site] === 0) return Infinity;
        const group = (item - c) / classes;
        const ms = waitCost(rttMs[group * sites + site]);
        if (kinds[c] === 'latency') return ms + target.scarcityMs[(region[group] * classes + c) * sites + site];
        return FAR_SHARE * ms + (isTarget(target, item, site) ? 0 : this.#misplacedMs(target, rttMs, item, site));
      },
      nowMs,
    });
    load.answered(step.map, nowMs);
    this.#step = step;
    return step;
  }

  /** What an item of a class that wants no nearness loses by not being where it should: nothing at a site that costs the same. */
  #misplacedMs(target: Target, rttMs: Float32Array, item: number, site: number): number {
    const { sites, classes } = this.load.model;
    const c = item % classes;
    const group = (item - c) / classes;
    const { kind } = this.#model.classes[c];
    const best = target.splits.get(item)?.[0].site ?? target.site[item];
    if (kind === 'latency' || best >= sites) return PLACE_MS;
    const scarce = (this.load.columns.region[group] * classes + c) * sites;
    const costAt = (s: number) => {
      return placedCost(
        kind,
        rttMs[group * sites + s],
        this.#model.sites[s].batchCost,
        target.placedScarcity[scarce + s],
      );
    };
    const least = costAt(best);
    return Math.min(PLACE_MS, (PLACE_GAIN * PLACE_MS * Math.max(0, costAt(site) - least)) / Math.max(least, 1e-9));
  }

  /** What became of an item in the last step: index in `ITEM_STATES`; null: there was none. */
  stateOf(item: number): number | null {
    return this.#step?.states[item] ?? null;
  }

  /** When all caches have the answers of the last step. */
  settledLoads(): { siteLoad: Float64Array; linkLoad: Float64Array } {
    const { sites, links } = this.load.model;
    const profile = (this.#step as ControlStep).profile;
    const last = profile.aheadSeconds.length - 1;
    const linkLoad = profile.link.slice(last * links, (last + 1) * links);
    return {
      siteLoad: profile.site.slice(last * sites, (last + 1) * sites),
      linkLoad: linkLoad.map((load, l) => load + this.linkBackground[l]),
    };
  }

  /** [site]: 1: is up, and has room beyond what is to come. */
  sitesWithRoom(): Uint8Array {
    const { siteLoad } = this.settledLoads();
    const most = 1 - this.#model.limits.reserve;
    return Uint8Array.from(siteLoad, (load, s) =>
      this.#isUp?.[s] === 1 && load < most * this.siteCapacity[s] ? 1 : 0,
    );
  }

  reasons({ movedShare, heldShare }: ControlStep): string[] {
    const tell = (entries: [string, number][], what: string) =>
      entries
        .filter(([, share]) => share >= 0.0005)
        .sort((a, b) => b[1] - a[1])
        .map(([name, share]) => `${(100 * share).toFixed(1)} % of demand ${what}: ${name}`);
    return [...tell(Object.entries(movedShare), 'moves'), ...tell(Object.entries(heldShare), 'stays')];
  }

  #takeHealth(health: SteeringHealth, nowMs: number): void {
    const { sites, classes } = this.#model;
    const isUp = Uint8Array.from(health.sites, (share) => (share > 0 ? 1 : 0));
    const up = new Uint8Array(classes.length * sites.length);
    for (const [c, its] of classes.entries()) {
      for (const s of its.sites) {
        const at = c * sites.length + s;
        up[at] = isUp[s] === 1 && (health.classes === undefined || health.classes[at] === 1) ? 1 : 0;
      }
    }
    for (let s = 0; s < sites.length; s++) {
      this.siteCapacity[s] = sites[s].capacity * health.sites[s];
      if (this.#isUp !== null && this.#isUp[s] === 0 && isUp[s] === 1) this.#upSinceMs[s] = nowMs;
    }
    this.#isUp = isUp;
    this.health = { up, upSinceMs: this.#upSinceMs, drains: health.drains ?? new Map() };
  }

  /** Groups that steering had no opinion on are where name servers sent the largest of those who ask. */
  #takeAnswers({ ids, askers, groupOf, partOf }: SteeredGroups, answers: ObservedAnswers): void {
    const { classes, sites } = this.load.model;
    const most = new Float32Array(ids.length * classes);
    const { site } = this.load;
    const isNew = site.map((its) => (its === NO_SITE ? 1 : 0));
    for (let at = 0; at < askers.length; at++) {
      for (let c = 0; c < classes; c++) {
        const item = groupOf[at] * classes + c;
        if (isNew[item] === 0 || partOf[at] <= most[item]) continue;
        const its = answers.siteOf(askers[at], c);
        if (its >= sites) continue;
        most[item] = partOf[at];
        site[item] = its;
        this.load.sinceMs[item] = -Infinity;
      }
    }
  }

  #takeGroups({ ids, region, demand }: SteeredGroups, users: AnswerTimes): void {
    const classes = this.#model.classes.length;
    const ofTtl = this.#model.classes.map((its) => (its.ttlSeconds ?? this.#model.ttlSeconds) / this.#model.ttlSeconds);
    const ttlSeconds = new Float32Array(demand.length);
    const lateShare = new Float32Array(demand.length);
    const lateSeconds = new Float32Array(demand.length);
    for (let g = 0; g < ids.length; g++) {
      const decay = users.decayOf(ids[g]);
      for (let c = 0; c < classes; c++) ttlSeconds[g * classes + c] = decay.ttlSeconds * ofTtl[c];
      lateShare.fill(decay.lateShare, g * classes, (g + 1) * classes);
      lateSeconds.fill(decay.lateSeconds, g * classes, (g + 1) * classes);
    }
    const heldShare = this.#heldShares(ids, users, ttlSeconds);
    this.load.setColumns({ groups: ids, region, demand, ttlSeconds, lateShare, lateSeconds, heldShare });
  }

  /** A cache that is asked all the time asks once a TTL; one that asks less often has no answer in between. */
  #heldShares(ids: Uint32Array, users: AnswerTimes, ttlSeconds: Float32Array): Float32Array {
    const classes = this.#model.classes.length;
    const held = new Float32Array(ttlSeconds.length).fill(USUAL_HELD);
    for (let c = 0; c < classes; c++) {
      const service = this.#model.services.findIndex((its) => its.class === c);
      if (service < 0) continue;
      for (let g = 0; g < ids.length; g++) {
        const item = g * classes + c;
        const rate = users.rateOf(ids[g], service);
        if (rate > 0) held[item] = Math.min(held[item], rate * ttlSeconds[item]);
      }
    }
    return held;
  }
}

/** Of a resolver: how long users keep to its answers, and how often it asks. */
interface AnswerTimes extends Pick<ResolverUsers, 'decayOf'> {
  /** Queries a second without a client subnet; 0: none are known. */
  rateOf(resolver: number, service: number): number;
}

function isTarget({ site, splits }: Target, item: number, at: number): boolean {
  return site[item] === at || (splits.get(item)?.some(({ site: its }) => its === at) ?? false);
}
