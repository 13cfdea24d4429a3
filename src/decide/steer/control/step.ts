/**
 * One decision: which items get another answer now. The solver says where everybody should be in the end; a step says who goes there next,
 * judged by the load that is predicted at every time ahead, with the users who still go by answers of before.
 */
import { type MeasuredMap, NO_SITE, type SiteShare } from '../measured.ts';
import {
  type ControlLimits,
  ITEM_STATES,
  type ItemState,
  MOVE_REASONS,
  type MoveBudget,
  type MoveReason,
  type SiteDrain,
  type SiteHealth,
  stateNumber,
} from './limits.ts';
import { byValue } from './move-order.ts';
import { type LoadProfile, PATH_LINKS, type PredictedLoad, SPLIT, sameShares } from './predicted-load.ts';
import { type Capacity, Room } from './room.ts';

export interface StepInput {
  /** Where everybody should be; its groups are those of the load's columns. */
  readonly target: MeasuredMap;
  /** What is answered now, and what follows. Not changed: tell it with `answered` when the step is taken over. */
  readonly load: PredictedLoad;
  readonly capacity: Capacity;
  readonly health: SiteHealth;
  readonly limits: ControlLimits;
  /** Notes what is moved. */
  readonly budget: MoveBudget;
  /**
   * What a unit of demand costs at a site: milliseconds, best with the prices of what is scarce, so that who makes room for others gains too.
   * Infinity: the site does not serve the item.
   */
  readonly cost: (item: number, site: number) => number;
  readonly nowMs: number;
}

export interface ControlStep {
  /** What should be answered from now on. */
  readonly map: MeasuredMap;
  /** [item]: index in `ITEM_STATES`. */
  readonly states: Uint8Array;
  /** Demand that moves, as a share of all, by reason. */
  readonly movedShare: Readonly<Record<MoveReason, number>>;
  /** Demand that does not get what the target says, as a share of all, by what holds it. */
  readonly heldShare: Readonly<Partial<Record<ItemState, number>>>;
  /** Loads after the step. */
  readonly profile: LoadProfile;
}

/** Cost: some 100 ns an item that is not at its target, and more for those that move. */
export function nextStep(input: StepInput): ControlStep {
  if (input.target.site.length !== input.load.items) throw new Error('a target of other groups');
  const step = new Step(input);
  step.leaveDeadSites();
  step.emptyDrained();
  step.relieve();
  step.improve();
  return step.finish();
}

const [AT_TARGET, LITTLE_GAIN, MOVED_LATELY, STEP_FULL, HOUR_FULL, NOWHERE] = (
  ['at its target', 'too little gain', 'moved lately', 'step is full', 'hour is full', 'nowhere to go'] as const
).map(stateNumber);
/** An item that takes so much more than the excess of a site is passed over as long as others are there. */
const TOO_LARGE = 1.25;

class Step {
  readonly #input: StepInput;
  readonly #room: Room;
  readonly #states: Uint8Array;
  readonly #site: Uint16Array;
  readonly #splits: Map<number, readonly SiteShare[]>;
  readonly #moved: Record<MoveReason, number>;
  readonly #total: number;

  constructor(input: StepInput) {
    const { load, capacity, health, limits, nowMs } = input;
    this.#input = input;
    this.#room = new Room(load, capacity, health, limits, nowMs);
    this.#states = new Uint8Array(load.items);
    this.#site = load.site.slice();
    this.#splits = new Map();
    for (let item = 0; item < load.items; item++) {
      if (this.#site[item] === SPLIT) this.#splits.set(item, load.sharesOf(item));
    }
    this.#moved = Object.fromEntries(MOVE_REASONS.map((reason) => [reason, 0])) as Record<MoveReason, number>;
    this.#total = load.columns.demand.reduce((sum, demand) => sum + demand, 0);
  }

  #current(item: number): readonly SiteShare[] {
    const site = this.#site[item];
    if (site === SPLIT) return this.#splits.get(item) as readonly SiteShare[];
    return site === NO_SITE ? [] : [{ site, share: 1 }];
  }

  #target(item: number): readonly SiteShare[] {
    const { target } = this.#input;
    const site = target.site[item];
    return target.splits.get(item) ?? (site === NO_SITE ? [] : [{ site, share: 1 }]);
  }

  #isAtTarget(item: number): boolean {
    const { target } = this.#input;
    const site = this.#site[item];
    if (site !== SPLIT) return target.site[item] === site && !target.splits.has(item);
    return sameShares(this.#current(item), this.#target(item));
  }

  #classOf(item: number): number {
    return item % this.#input.load.model.classes;
  }

  #isUp(item: number, site: number): boolean {
    return this.#input.health.up[this.#classOf(item) * this.#input.load.model.sites + site] !== 0;
  }

  /** Takes new users. */
  #isOpen(item: number, site: number): boolean {
    return this.#isUp(item, site) && !this.#input.health.drains.has(site);
  }

  #demand(item: number): number {
    return this.#input.load.columns.demand[item];
  }

  /** Books a move. */
  #move(item: number, to: readonly SiteShare[], reason: MoveReason): void {
    const from = this.#current(item);
    this.#room.move(item, from, to);
    const before = new Map(from.map(({ site, share }) => [site, share]));
    const moved = to.reduce((sum, { site, share }) => sum + Math.max(0, share - (before.get(site) ?? 0)), 0);
    this.#moved[reason] += moved * this.#demand(item);
    this.#states[item] = stateNumber(reason);
    if (to.length === 1) {
      this.#site[item] = to[0].site;
      this.#splits.delete(item);
    } else {
      this.#site[item] = SPLIT;
      this.#splits.set(item, to);
    }
  }

  /** The cheapest site with room for all of an item; its target, if that has. Null: none. */
  #placeFor(item: number, fill: number, mayUse: (site: number) => boolean): readonly SiteShare[] | null {
    const from = this.#current(item);
    const target = this.#target(item);
    const fits = (to: SiteShare) =>
      mayUse(to.site) && this.#isOpen(item, to.site) && this.#room.lack(item, from, to, fill) === null;
    if (target.length > 0 && target.every(fits)) return target;
    let [best, least] = [NO_SITE, Infinity];
    for (let site = 0; site < this.#input.load.model.sites; site++) {
      const cost = this.#input.cost(item, site);
      if (cost < least && fits({ site, share: 1 })) [best, least] = [site, cost];
    }
    return best === NO_SITE ? null : [{ site: best, share: 1 }];
  }

  /** The least full of open sites; full as they are. */
  #leastFull(item: number): readonly SiteShare[] | null {
    let [best, least] = [NO_SITE, Infinity];
    for (let site = 0; site < this.#input.load.model.sites; site++) {
      if (!this.#isOpen(item, site) || this.#input.cost(item, site) === Infinity) continue;
      const share = this.#room.settledShare(item, site);
      if (share < least || best === NO_SITE) [best, least] = [site, share];
    }
    return best === NO_SITE ? null : [{ site: best, share: 1 }];
  }

  /** At once and whatever it costs: no answer is worse than one that leads to nobody. */
  leaveDeadSites(): void {
    const { load, limits } = this.#input;
    for (let item = 0; item < load.items; item++) {
      const site = this.#site[item];
      if (site < SPLIT && this.#isUp(item, site)) continue;
      const current = this.#current(item);
      if (current.length > 0 && current.every(({ site }) => this.#isUp(item, site))) continue;
      const anywhere = () => true;
      const to = this.#placeFor(item, limits.reliefFrom, anywhere) ?? this.#leastFull(item);
      if (to !== null) this.#move(item, to, current.length === 0 ? 'first answer' : 'site is down');
      else this.#states[item] = current.length === 0 && this.#target(item).length === 0 ? AT_TARGET : NOWHERE;
    }
  }

  emptyDrained(): void {
    const { load, limits, health, nowMs } = this.#input;
    if (health.drains.size === 0) return;
    for (let item = 0; item < load.items; item++) {
      const current = this.#current(item);
      const drains = current.flatMap(({ site }) => health.drains.get(site) ?? []);
      if (drains.length === 0) continue;
      const over = drains.some(({ sinceMs, overMs }) => nowMs >= sinceMs + overMs);
      if (!over && !drains.some((drain) => this.#isDue(item, drain))) continue;
      const to = this.#placeFor(item, limits.reliefFrom, () => true) ?? (over ? this.#leastFull(item) : null);
      if (to !== null) this.#move(item, to, 'drain');
      else this.#states[item] = NOWHERE;
    }
  }

  /** Each item has its moment in the time of a drain. */
  #isDue(item: number, { sinceMs, overMs }: SiteDrain): boolean {
    const { load, nowMs } = this.#input;
    const { classes } = load.model;
    const mixed = Math.imul(load.columns.groups[Math.floor(item / classes)] ^ 0x5eed, 0x9e3779b1) + (item % classes);
    const moment = (Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b) >>> 0) / 2 ** 32;
    return nowMs - sinceMs >= moment * overMs;
  }

  /** Takes off sites and links what they will have too much, when all that was answered has arrived. */
  relieve(): void {
    const { load, capacity, limits } = this.#input;
    let left = limits.reliefShare * this.#total;
    for (let site = 0; site < load.model.sites; site++) {
      if (capacity.site[site] === Infinity) continue;
      const settled = () => this.#room.settledSite(site);
      const uses = (_item: number, its: number) => its === site;
      const loads = load.model.siteLoad;
      left -= this.#relieveOne(capacity.site[site], settled, uses, loads, left);
    }
    for (let link = 0; link < load.model.links; link++) {
      if (capacity.link[link] === Infinity) continue;
      const settled = () => this.#room.settledLink(link);
      const uses = (item: number, its: number) => this.#isOnWay(item, its, link);
      left -= this.#relieveOne(capacity.link[link], settled, uses, load.model.linkLoad, left);
    }
  }

  #isOnWay(item: number, site: number, link: number): boolean {
    const { model, columns } = this.#input.load;
    const path = (columns.region[Math.floor(item / model.classes)] * model.sites + site) * PATH_LINKS;
    for (let n = 0; n < PATH_LINKS; n++) if (model.paths[path + n] === link) return true;
    return false;
  }

  /** Gives the demand that was moved. */
  #relieveOne(
    full: number,
    settled: () => number,
    uses: (item: number, site: number) => boolean,
    loads: Float64Array,
    limit: number,
  ): number {
    const { load, limits } = this.#input;
    if (settled() <= full * limits.reliefFrom) return 0;
    const ordered = this.#cheapestToMove(uses);
    let moved = 0;
    for (const isLastRound of [false, true]) {
      for (const item of ordered) {
        const excess = settled() - full * limits.reliefTo;
        if (excess <= 0 || moved >= limit) return moved;
        if (this.#states[item] !== AT_TARGET || this.#demand(item) <= 0) continue;
        const its = this.#demand(item) * loads[this.#classOf(item)] * load.scale;
        if (!isLastRound && its > excess * TOO_LARGE) continue;
        if (isLastRound && settled() <= full * limits.reliefFrom) return moved;
        const elsewhere = (site: number) => !uses(item, site);
        const to =
          this.#placeFor(item, limits.fillShare, elsewhere) ?? this.#placeFor(item, limits.reliefFrom, elsewhere);
        if (to === null) continue;
        this.#move(item, to, 'overload');
        moved += this.#demand(item);
      }
    }
    return moved;
  }

  /** Items of a site or link: those whose target is elsewhere, then by what another site costs more. */
  #cheapestToMove(uses: (item: number, site: number) => boolean): Uint32Array {
    const { load, cost } = this.#input;
    const items = new Uint32Array(load.items);
    const values = new Float64Array(load.items);
    let count = 0;
    for (let item = 0; item < load.items; item++) {
      if (this.#states[item] !== AT_TARGET || (this.#site[item] < SPLIT && !uses(item, this.#site[item]))) continue;
      const current = this.#current(item);
      if (!current.some(({ site }) => uses(item, site))) continue;
      const target = this.#target(item);
      let more = 0;
      if (target.length === 0 || target.some(({ site }) => uses(item, site))) {
        let least = Infinity;
        for (let site = 0; site < load.model.sites; site++)
          if (!uses(item, site) && this.#isOpen(item, site)) least = Math.min(least, cost(item, site));
        more = 1 + Math.max(0, least - cost(item, current[0].site));
      }
      items[count] = item;
      values[count++] = more === Infinity ? 0 : 1000 / (0.01 + more);
    }
    return byValue(items, values, count);
  }

  /** Towards the target: who gains most by each unit of demand moves first. */
  improve(): void {
    const { load, limits, budget, nowMs } = this.#input;
    const items = new Uint32Array(load.items);
    const gains = new Float64Array(load.items);
    let count = 0;
    for (let item = 0; item < load.items; item++) {
      if (this.#states[item] !== AT_TARGET || this.#isAtTarget(item)) continue;
      const gain = this.#gain(item);
      if (gain === null) continue;
      items[count] = item;
      gains[count++] = gain;
    }
    let step = limits.stepShare * this.#total;
    let hour = limits.hourShare * this.#total - budget.movedLastHour(nowMs);
    let hasMoved = false;
    for (const item of byValue(items, gains, count)) {
      const demand = this.#demand(item);
      // What is larger than the limit moves alone.
      if (demand > hour && (hasMoved || hour <= 0)) this.#states[item] = HOUR_FULL;
      else if (demand > step && (hasMoved || step <= 0)) this.#states[item] = STEP_FULL;
      else {
        const lack = this.#lackAt(item);
        if (lack !== null) {
          this.#states[item] = lack;
          continue;
        }
        this.#move(item, this.#target(item), 'better');
        [step, hour] = [step - demand, hour - demand];
        hasMoved ||= demand > 0;
      }
    }
  }

  /** Null: it stays, and its state says why. */
  #gain(item: number): number | null {
    const { load, limits, nowMs, cost } = this.#input;
    const target = this.#target(item);
    if (target.length === 0 || target.some(({ site }) => !this.#isOpen(item, site))) return null;
    const costOf = (shares: readonly SiteShare[]) =>
      shares.reduce((sum, { site, share }) => sum + share * cost(item, site), 0);
    const now = costOf(this.#current(item));
    const gain = now - costOf(target);
    if (!(gain >= Math.max(limits.minGainMs, limits.minGainShare * now))) {
      this.#states[item] = LITTLE_GAIN;
      return null;
    }
    const holdSeconds = limits.holdSeconds * (limits.holdTimes?.[item % load.model.classes] ?? 1);
    const holdMs = Math.max(holdSeconds, limits.holdTtls * load.columns.ttlSeconds[item]) * 1000;
    if (nowMs - load.sinceMs[item] >= holdMs) return gain;
    this.#states[item] = MOVED_LATELY;
    return null;
  }

  #lackAt(item: number): number | null {
    const from = this.#current(item);
    for (const to of this.#target(item)) {
      const lack = this.#room.lack(item, from, to, this.#input.limits.fillShare);
      if (lack !== null) return stateNumber(lack);
    }
    return null;
  }

  finish(): ControlStep {
    const { target, load, budget, nowMs } = this.#input;
    const splits = new Map(this.#splits);
    const site = this.#site.slice();
    for (const [item, shares] of splits) site[item] = largest(shares);
    const held: Partial<Record<ItemState, number>> = {};
    const share = (demand: number) => (this.#total === 0 ? 0 : demand / this.#total);
    for (let item = 0; item < load.items; item++) {
      const state = ITEM_STATES[this.#states[item]];
      if (this.#states[item] === AT_TARGET || Object.hasOwn(this.#moved, state)) continue;
      held[state] = (held[state] ?? 0) + share(this.#demand(item));
    }
    const movedShare = { ...this.#moved };
    budget.moved(movedShare.better, nowMs);
    for (const reason of MOVE_REASONS) movedShare[reason] = share(movedShare[reason]);
    const map = { version: target.version, groups: load.columns.groups, classes: load.model.classes, site, splits };
    return { map, states: this.#states, movedShare, heldShare: held, profile: this.#room.profile };
  }
}

function largest(shares: readonly SiteShare[]): number {
  return shares.reduce((best, its) => (its.share > best.share ? its : best)).site;
}
