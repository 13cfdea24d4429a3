/**
 * The closed loop: users ask and connect, steering sees what it would see in production and decides, DNS answers by that. Beside it, at
 * some moments, what else could have been done in the same world.
 */
import { NO_SITE, type SiteShare } from '../decide/steer/measured.ts';
import type { MeasuredSteering } from '../decide/steer/measured-loop.ts';
import { Answers } from './answers.ts';
import { type Assignment, judge } from './assignment.ts';
import { Comparer, type Comparison } from './compare.ts';
import { Draws } from './draws.ts';
import { Internet } from './internet.ts';
import { Moves } from './moves.ts';
import type { RunCost, SimulationResult } from './report/result.ts';
import type { Scenario } from './scenario.ts';
import { healthAt, isExplained, turns, worldEvents } from './schedule.ts';
import { LEARNING_MS, Score } from './score.ts';
import { classNames } from './steering-model.ts';
import type { World } from './types.ts';

/** Of a solve of an optimum, at most. */
const OPTIMUM_LIMIT_MS = 60_000;
/** Resolvers and services by which decay is known. */
const DECAY_SAMPLE = 200;
/** On the map: the largest. */
const SHOWN_CITIES = 1500;

/** What is tried: `MeasuredSteering`, or in tests one that knows better. */
export type Steering = Pick<MeasuredSteering, 'observe' | 'decide'>;

export class Simulation {
  readonly world: World;
  readonly scenario: Scenario;
  readonly steering: Steering;
  readonly internet: Internet;
  readonly score: Score;
  readonly moves: Moves;
  readonly answers: Answers;
  readonly #comparer: Comparer;
  readonly #realMs: () => number;
  readonly #beganMs: number;
  readonly #turns: readonly number[];
  readonly #decisionMs: number[] = [];
  #last: Comparison;
  #nowMs = 0;
  #serves: Uint8Array;
  /** The answers of before a turn, until the step after it. */
  #untouched: Assignment | null = null;

  /** `realMs`: a clock for the cost of the run and the limits of solves; what is simulated has its own, from 0. */
  constructor(world: World, scenario: Scenario, steering: Steering, realMs: () => number) {
    const kinds = classNames(world);
    const classOf = world.parameters.services.map((service) => kinds.indexOf(service.class));
    const draws = new Draws(scenario.seed, 100);
    this.world = world;
    this.scenario = scenario;
    this.#realMs = realMs;
    this.#beganMs = realMs();
    this.steering = steering;
    this.internet = new Internet(world, scenario.seed);
    this.internet.schedule(worldEvents(scenario.events));
    this.answers = new Answers(world, classOf, kinds.length, () => draws.uniform());
    this.score = new Score(world, scenario);
    this.#comparer = new Comparer(world, realMs, OPTIMUM_LIMIT_MS);
    this.moves = new Moves(world, this.#comparer.byAsker);
    this.#turns = turns(scenario.events);
    this.#serves = new Uint8Array(world.sites.length).fill(1);
    this.#last = this.#comparer.compare(this.internet, this.#serves);
    this.score.compared(this.#last);
    this.score.decay(this.#remaining());
    this.moves.weigh(this.#last.snapshot);
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  get isOver(): boolean {
    return this.#nowMs >= this.scenario.hours * 3_600_000;
  }

  /** The truth as it was last looked at. */
  get lastComparison(): Comparison {
    return this.#last;
  }

  /** One step, and what is due after it. */
  advance(): void {
    const { scenario, internet, score } = this;
    const { observations, truth } = internet.step(this.answers.answer, scenario.stepSeconds);
    const beforeMs = this.#nowMs;
    this.#nowMs = observations.nowMs;
    score.step(truth, internet);
    this.steering.observe(observations);
    const isDue = (seconds: number) => {
      const length = seconds * 1000;
      return Math.floor(this.#nowMs / length) > Math.floor(beforeMs / length);
    };
    const isTurn = this.#turns.some((ms) => ms > beforeMs && ms <= this.#nowMs);
    const wasTurn = this.#untouched !== null;
    if (isTurn || wasTurn || isDue(scenario.compareSeconds)) this.#compare();
    if (wasTurn) this.#meetSurges(beforeMs);
    this.#untouched = isTurn ? this.#assignment() : null;
    if (isTurn || isDue(scenario.decideSeconds)) this.#decide();
  }

  #compare(): void {
    this.#last = this.#comparer.compare(this.internet, this.#serves);
    this.score.compared(this.#last);
    this.moves.weigh(this.#last.snapshot);
  }

  /** Of a surge that began in the step before: the load that the answers of then would have brought. */
  #meetSurges(beforeMs: number): void {
    const { snapshot } = this.#last;
    for (const event of this.scenario.events) {
      const isNew = event.atMs <= beforeMs && event.atMs > beforeMs - this.scenario.stepSeconds * 1000;
      if (event.kind !== 'flash-crowd' || !isNew || this.#untouched === null) continue;
      const { siteLoad } = judge(this.world, this.#comparer.byAsker, snapshot, this.#untouched);
      this.score.surge(
        event,
        siteLoad.map((load, site) => load / snapshot.siteCapacity[site]),
      );
    }
    this.score.decay(this.#remaining());
  }

  #decide(): void {
    const { scenario, world } = this;
    const health = healthAt(world, scenario.events, this.#nowMs, this.internet.paths);
    this.#serves = Uint8Array.from(health.sites, (share, site) => (share > 0 && !health.drains?.has(site) ? 1 : 0));
    const beganMs = this.#realMs();
    const { map } = this.steering.decide(this.#nowMs, health);
    this.#decisionMs.push(this.#realMs() - beganMs);
    this.answers.setServing(this.#serves);
    this.answers.take(map);
    this.moves.record(this.#nowMs, this.answers, isExplained(scenario.events, this.#nowMs), this.#nowMs > LEARNING_MS);
  }

  /** What all groups are answered with now. */
  #assignment(): Assignment {
    const { groups, asker } = this.#comparer.byAsker;
    const services = this.world.parameters.services.length;
    const site = new Uint16Array(groups * services).fill(NO_SITE);
    const splits = new Map<number, readonly SiteShare[]>();
    for (let group = 0, item = 0; group < groups; group++) {
      for (let service = 0; service < services; service++, item++) {
        site[item] = this.answers.mainSite(asker[group], service);
        const shares = this.answers.sharesOf(asker[group], service);
        if (shares !== undefined) splits.set(item, shares);
      }
    }
    return { site, splits };
  }

  /** Share of the users who still go where an answer sent them that was changed so many seconds ago: mean over all demand. */
  #remaining(): (seconds: number) => number {
    const { internet } = this;
    const { resolvers, parameters } = this.world;
    const services = parameters.services.length;
    const demand = Float64Array.from({ length: resolvers * services }, (_, item) =>
      internet.demandOfResolver(Math.floor(item / services), item % services),
    );
    const total = demand.reduce((sum, value) => sum + value, 0);
    // Each item of the sample stands for the same demand.
    const curves: { readonly times: number; at(seconds: number): number }[] = [];
    const width = total / DECAY_SAMPLE;
    let next = width / 2;
    for (let item = 0, sum = 0; item < demand.length; item++) {
      sum += demand[item];
      if (next >= sum) continue;
      const times = Math.ceil((sum - next) / width);
      next += times * width;
      curves.push({ times, at: internet.remainingOf(Math.floor(item / services), item % services) });
    }
    const all = curves.reduce((sum, { times }) => sum + times, 0);
    return fallingCurve((seconds) => curves.reduce((sum, { times, at }) => sum + times * at(seconds), 0) / (all || 1));
  }

  /** Where the users of each city are, and what they would wait by the answers of now. */
  cities(): SimulationResult['map'] {
    const { world } = this;
    const { snapshot } = this.#last;
    const { rttOfPrefix } = judge(world, this.#comparer.byAsker, snapshot, this.#assignment(), true);
    const weight = new Float64Array(world.cities.length);
    const wait = new Float64Array(world.cities.length);
    for (let prefix = 0; prefix < world.users; prefix++) {
      const city = world.places.city[world.placeOf[prefix]];
      weight[city] += world.weight[prefix];
      wait[city] += world.weight[prefix] * rttOfPrefix[prefix];
    }
    const shown = world.cities
      .map((city, at) => ({ ...city.location, share: weight[at], rttMs: wait[at] / weight[at] }))
      .filter(({ share }) => share > 0)
      .sort((a, b) => b.share - a.share)
      .slice(0, SHOWN_CITIES);
    return {
      latitude: shown.map(({ latitudeDegrees }) => latitudeDegrees),
      longitude: shown.map(({ longitudeDegrees }) => longitudeDegrees),
      share: shown.map(({ share }) => share),
      rttMs: shown.map(({ rttMs }) => rttMs),
      sites: world.sites.map(({ name, location }) => ({
        name,
        latitude: location.latitudeDegrees,
        longitude: location.longitudeDegrees,
      })),
    };
  }

  cost(): RunCost {
    const sorted = [...this.#decisionMs].sort((a, b) => a - b);
    return {
      seconds: (this.#realMs() - this.#beganMs) / 1000,
      decisions: sorted.length,
      medianDecisionMs: sorted[Math.floor(sorted.length / 2)] ?? 0,
      longestDecisionMs: sorted[sorted.length - 1] ?? 0,
    };
  }
}

/** A function that is dear, as straight lines between moments that lie ever farther apart; it ends at a day. */
function fallingCurve(at: (seconds: number) => number): (seconds: number) => number {
  const moments: number[] = [];
  for (let seconds = 0; seconds < 86_400; seconds += Math.max(20, seconds * 0.35)) moments.push(seconds);
  const values = moments.map(at);
  return (seconds) => {
    const next = moments.findIndex((moment) => moment >= seconds);
    if (next < 0) return values[values.length - 1];
    if (next === 0) return values[0];
    const share = (seconds - moments[next - 1]) / (moments[next] - moments[next - 1]);
    return values[next - 1] + (values[next] - values[next - 1]) * share;
  };
}
