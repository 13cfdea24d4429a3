/**
 * The loop closed over caches, one by one: groups with many caches each, which refresh at their own times, some late; demand and load that are
 * told late; a solver that knows no delay; control. Seeded.
 */

import assert from 'node:assert/strict';
import { secondsUntil } from '../../src/decide/steer/control/decay.ts';
import { type ControlLimits, DEFAULT_CONTROL_LIMITS, MoveBudget } from '../../src/decide/steer/control/limits.ts';
import { type LoadModel, type LoadProfile, PredictedLoad } from '../../src/decide/steer/control/predicted-load.ts';
import { nextStep } from '../../src/decide/steer/control/step.ts';
import type { MeasuredMap } from '../../src/decide/steer/measured.ts';
import { createRandom } from '../../src/model/random.ts';

export interface StabilityCase {
  readonly seed: number;
  readonly ttlSeconds: number;
  /** Of the caches; each keeps an answer beyond its TTL for a time with this mean. */
  readonly lateShare: number;
  readonly lateSeconds: number;
  readonly event: 'surge' | 'loss';
  readonly stepShare: number;
  readonly reliefShare: number;
  /** Control by what is measured now, as if answers were obeyed at once: what must fail. */
  readonly measuredOnly: boolean;
}

export interface StabilityOutcome {
  /** Seconds after the event until no site has more than it can take. */
  readonly overloadedSeconds: number;
  /** Sites that went above their capacity after they had come below it. */
  readonly crossings: number;
  /** Demand moved after the event, as a share of all. */
  readonly movedShare: number;
  /** The least that had to move. */
  readonly neededShare: number;
}

/** Runs a case and holds it to what control promises. */
export function checkStability(options: StabilityCase): void {
  const outcome = runStability(options);
  const told = JSON.stringify({ ...options, ...outcome });
  assert.equal(outcome.crossings, 0, `above capacity again: ${told}`);
  // Time to know of the event, then until the answers of before are gone.
  const limitSeconds = 3 * LAG_SECONDS + DECIDE_SECONDS + secondsUntil(options, 0.05);
  assert.ok(outcome.overloadedSeconds <= limitSeconds, `not settled after ${limitSeconds} s: ${told}`);
  assert.ok(outcome.movedShare <= 1.5 * outcome.neededShare + 0.02, `moved too much: ${told}`);
  assert.ok(outcome.movedShare >= 0.5 * outcome.neededShare, `nothing happened: ${told}`);
}

export function stabilityGrid(
  seeds: readonly number[],
  ttls: readonly number[],
  lateShares: readonly number[],
  reliefShares: readonly number[],
): StabilityCase[] {
  const cases: StabilityCase[] = [];
  for (const seed of seeds)
    for (const ttlSeconds of ttls)
      for (const lateShare of lateShares)
        for (const reliefShare of reliefShares)
          for (const event of ['surge', 'loss'] as const) {
            const lateSeconds = lateShare > 0 ? 200 : 0;
            const stepShare = reliefShare / 5;
            cases.push({
              seed,
              ttlSeconds,
              lateShare,
              lateSeconds,
              event,
              stepShare,
              reliefShare,
              measuredOnly: false,
            });
          }
  return cases;
}

const SITES = 4;
const GROUPS = 80;
const CACHES = 30;
const EVENT_SECONDS = 300;
const DECIDE_SECONDS = 15;
/** Of the estimate of demand. */
const LAG_SECONDS = 30;

/** Sees no delay. */
class MeasuredLoad extends PredictedLoad {
  now = new Float64Array(SITES);

  override profile(_nowMs: number, aheadSeconds: Float64Array): LoadProfile {
    const site = Float64Array.from({ length: aheadSeconds.length * SITES }, (_, n) => this.now[n % SITES]);
    return { aheadSeconds, site, link: new Float64Array(0) };
  }
}

export function runStability(options: StabilityCase): StabilityOutcome {
  const world = new CacheWorld(options);
  const loop = new Loop(options, world);
  const untilSeconds = EVENT_SECONDS + 900 + 3 * options.ttlSeconds + 4 * options.lateSeconds;
  const stepSeconds = Math.min(5, options.ttlSeconds / 4);
  const wasOver = new Uint8Array(SITES);
  let [overloadedSeconds, crossings] = [0, 0];
  const cameBelow = new Uint8Array(SITES).fill(1);
  for (let now = 0; now < untilSeconds; now += stepSeconds) {
    if (now >= EVENT_SECONDS && !world.hasHappened) world.happen();
    world.refresh(now, loop.map);
    loop.estimate(stepSeconds);
    if (now % DECIDE_SECONDS < stepSeconds) loop.decide(now);
    if (now < EVENT_SECONDS) continue;
    const since = now - EVENT_SECONDS;
    for (let s = 0; s < SITES; s++) {
      const isOver = world.load[s] > world.capacity[s];
      if (isOver) overloadedSeconds = Math.max(overloadedSeconds, since);
      if (since === 0) cameBelow[s] = isOver ? 0 : 1;
      if (isOver && !wasOver[s] && since > 0 && cameBelow[s]) crossings++;
      if (!isOver) cameBelow[s] = 1;
      wasOver[s] = isOver ? 1 : 0;
    }
  }
  return { overloadedSeconds, crossings, movedShare: loop.movedShare, neededShare: world.neededShare };
}

/** What is true. */
class CacheWorld {
  readonly demand = new Float64Array(GROUPS);
  readonly rttMs = new Float64Array(GROUPS * SITES);
  readonly capacity = new Float64Array(SITES);
  readonly load = new Float64Array(SITES);
  hasHappened = false;
  neededShare = 0;
  readonly #options: StabilityCase;
  readonly #draw: () => number;
  /** [group * CACHES + n]. */
  readonly #site = new Uint16Array(GROUPS * CACHES);
  readonly #refreshAt = new Float64Array(GROUPS * CACHES);

  constructor(options: StabilityCase) {
    this.#options = options;
    const random = createRandom(options.seed);
    this.#draw = () => (random() + 0.5) / 2 ** 32;
    for (let g = 0; g < GROUPS; g++) {
      this.demand[g] = 1 / (g + 8);
      for (let s = 0; s < SITES; s++) this.rttMs[g * SITES + s] = 5 + 150 * this.#draw();
    }
    this.#site.fill(0xffff);
    for (let n = 0; n < this.#refreshAt.length; n++) this.#refreshAt[n] = this.#draw() * options.ttlSeconds;
    const near = new Float64Array(SITES);
    for (let g = 0; g < GROUPS; g++) near[this.nearest(g)] += this.demand[g];
    for (let s = 0; s < SITES; s++) this.capacity[s] = near[s] * 1.35 + 0.05;
  }

  nearest(group: number): number {
    const row = this.rttMs.subarray(group * SITES, (group + 1) * SITES);
    return row.indexOf(Math.min(...row));
  }

  happen(): void {
    this.hasHappened = true;
    const total = this.demand.reduce((sum, demand) => sum + demand, 0);
    if (this.#options.event === 'loss') this.capacity[0] *= 0.5;
    else for (let g = 0; g < GROUPS; g++) if (this.nearest(g) === 0) this.demand[g] *= 1.8;
    let at = 0;
    for (let g = 0; g < GROUPS; g++) if (this.nearest(g) === 0) at += this.demand[g];
    this.neededShare = Math.max(0, at - this.capacity[0]) / total;
  }

  refresh(nowSeconds: number, map: MeasuredMap): void {
    const { ttlSeconds, lateShare, lateSeconds } = this.#options;
    this.load.fill(0);
    for (let g = 0; g < GROUPS; g++) {
      const answer = map.site[g];
      for (let n = g * CACHES; n < (g + 1) * CACHES; n++) {
        if (this.#site[n] === 0xffff) this.#site[n] = answer;
        if (this.#refreshAt[n] <= nowSeconds) {
          this.#site[n] = answer;
          const late = n % 10 < lateShare * 10 ? -Math.log(this.#draw()) * lateSeconds : 0;
          this.#refreshAt[n] += ttlSeconds + late;
        }
        this.load[this.#site[n]] += this.demand[g] / CACHES;
      }
    }
  }
}

/** What is known of it, and what is done. */
class Loop {
  map: MeasuredMap;
  movedShare = 0;
  readonly #world: CacheWorld;
  readonly #load: PredictedLoad;
  readonly #demand: Float64Array;
  readonly #limits: ControlLimits;
  readonly #budget = new MoveBudget();
  readonly #groups = Uint32Array.from({ length: GROUPS }, (_, g) => g);
  readonly #options: StabilityCase;

  constructor(options: StabilityCase, world: CacheWorld) {
    this.#options = options;
    this.#world = world;
    this.#demand = world.demand.slice();
    const { stepShare, reliefShare } = options;
    this.#limits = { ...DEFAULT_CONTROL_LIMITS, stepShare, reliefShare, hourShare: 1, holdSeconds: 60 };
    const model: LoadModel = {
      sites: SITES,
      links: 0,
      classes: 1,
      siteLoad: Float64Array.of(1),
      linkLoad: Float64Array.of(0),
      paths: new Int32Array(SITES * 2).fill(-1),
    };
    this.#load = options.measuredOnly ? new MeasuredLoad(model) : new PredictedLoad(model);
    this.#setColumns();
    const site = Uint16Array.from(this.#groups, (group) => world.nearest(group));
    this.map = { version: 1, groups: this.#groups, classes: 1, site, splits: new Map() };
    this.#load.answered(this.map, 0);
  }

  #setColumns(): void {
    const { ttlSeconds, lateShare, lateSeconds } = this.#options;
    this.#load.setColumns({
      groups: this.#groups,
      region: new Int32Array(GROUPS),
      demand: this.#demand,
      ttlSeconds: new Float32Array(GROUPS).fill(ttlSeconds),
      // What is known of late caches is wrong by a fifth.
      lateShare: new Float32Array(GROUPS).fill(lateShare * 0.8),
      lateSeconds: new Float32Array(GROUPS).fill(lateSeconds),
    });
  }

  estimate(seconds: number): void {
    const { demand } = this.#world;
    const share = 1 - Math.exp(-seconds / LAG_SECONDS);
    for (let g = 0; g < GROUPS; g++) this.#demand[g] += (demand[g] - this.#demand[g]) * share;
  }

  decide(nowSeconds: number): void {
    const { rttMs, capacity, load, hasHappened } = this.#world;
    const nowMs = nowSeconds * 1000;
    this.#setColumns();
    if (this.#load instanceof MeasuredLoad) this.#load.now = load.slice();
    else this.#load.correct(load, nowMs);
    const step = nextStep({
      target: this.#solve(),
      load: this.#load,
      capacity: { site: capacity, link: new Float64Array(0) },
      health: {
        up: new Uint8Array(SITES).fill(1),
        upSinceMs: new Float64Array(SITES).fill(-Infinity),
        drains: new Map(),
      },
      limits: this.#limits,
      budget: this.#budget,
      cost: (group, site) => rttMs[group * SITES + site],
      nowMs,
    });
    this.#load.answered(step.map, nowMs);
    this.map = step.map;
    if (hasHappened) this.movedShare += step.movedShare.overload + step.movedShare.better;
  }

  /** Everybody to the nearest site with room, those first who would lose most. It has no idea of delays. */
  #solve(): MeasuredMap {
    const { rttMs, capacity } = this.#world;
    const room = capacity.map((full) => full * 0.9);
    if (this.#load instanceof MeasuredLoad) {
      // By what is measured: who is there is there.
      for (let s = 0; s < SITES; s++) room[s] -= this.#load.now[s];
      for (let g = 0; g < GROUPS; g++) room[this.map.site[g]] += this.#demand[g];
    }
    const byRegret = [...this.#groups].map((group) => {
      const row = [...rttMs.subarray(group * SITES, (group + 1) * SITES)].sort((a, b) => a - b);
      return { group, regret: row[1] - row[0] };
    });
    byRegret.sort((a, b) => b.regret - a.regret);
    const site = new Uint16Array(GROUPS);
    for (const { group } of byRegret) {
      const order = [...room.keys()].sort((a, b) => rttMs[group * SITES + a] - rttMs[group * SITES + b]);
      const best = order.find((s) => room[s] >= this.#demand[group]) ?? order[0];
      site[group] = best;
      room[best] -= this.#demand[group];
    }
    return { version: 1, groups: this.#groups, classes: 1, site, splits: new Map() };
  }
}
