/** What a run was like, step by step, and what is concluded from it at the end. */
import { waitingServices } from './assignment.ts';
import type { Comparison } from './compare.ts';
import type { EventResult, LoadResult, ResourceResult, RttMeans, RttResult } from './report/result.ts';
import type { Scenario, ScenarioEvent } from './scenario.ts';
import type { TrueState, Truth, World } from './types.ts';

const HOUR_MS = 3_600_000;
/** What happens before is learning. */
export const LEARNING_MS = HOUR_MS;
/** Above the best of DNS by so much is near enough. */
export const NEAR = 1.05;

/** How a surge of demand began: what the old answers would have meant. */
interface Surge {
  readonly event: ScenarioEvent;
  /** [site]: load over capacity had nothing been done. */
  readonly untouched: Float64Array;
}

type Way = 'geography' | 'nearestToResolver' | 'bestOfDns' | 'perUser';

export class Score {
  readonly #world: World;
  readonly #scenario: Scenario;
  readonly #endsMs: number[] = [];
  readonly #waiting: readonly number[];
  /** [step]. */
  readonly #connections: number[] = [];
  readonly #rttMs: number[] = [];
  readonly #overload: number[] = [];
  /** [service][step]. */
  readonly #serviceRttMs: number[][];
  readonly #serviceConnections: number[][];
  /** [site or link][step]; NaN: down. */
  readonly #sites: number[][];
  readonly #links: number[][];
  readonly #comparisons: Omit<Comparison, 'snapshot'>[] = [];
  readonly #surges: Surge[] = [];
  /** [second up to the longest]: share of users who still go by an answer given before. */
  #remaining: (seconds: number) => number = () => 0;
  #decayP95Seconds = 0;

  constructor(world: World, scenario: Scenario) {
    this.#world = world;
    this.#scenario = scenario;
    this.#waiting = waitingServices(world);
    const lists = (count: number) => Array.from({ length: count }, (): number[] => []);
    this.#serviceRttMs = lists(world.parameters.services.length);
    this.#serviceConnections = lists(world.parameters.services.length);
    this.#sites = lists(world.sites.length);
    this.#links = lists(world.links.length);
  }

  /** A step of `stepSeconds` that ended now. `state`: at its end. */
  step(truth: Truth, state: TrueState): void {
    const { sites, parameters } = this.#world;
    let [waited, arrived] = [0, 0];
    for (let service = 0; service < parameters.services.length; service++) {
      const from = service * sites.length;
      const connections = truth.arrived.subarray(from, from + sites.length).reduce((sum, value) => sum + value, 0);
      this.#serviceConnections[service].push(connections);
      this.#serviceRttMs[service].push(truth.rttSumMs[service] / connections);
      if (!this.#waiting.includes(service)) continue;
      waited += truth.rttSumMs[service];
      arrived += connections;
    }
    this.#endsMs.push(state.nowMs);
    this.#connections.push(arrived);
    this.#rttMs.push(waited / arrived);
    this.#overload.push(this.#stepLoads(truth, state));
  }

  /** Gives what is above capacity: share of the connections, and of the bits. */
  #stepLoads(truth: Truth, state: TrueState): number {
    const { sites, parameters } = this.#world;
    const seconds = this.#scenario.stepSeconds;
    let beyondSites = 0;
    for (let site = 0; site < sites.length; site++) {
      let load = 0;
      for (let service = 0; service < parameters.services.length; service++)
        load += truth.arrived[service * sites.length + site];
      load /= seconds;
      if (state.siteUp[site] === 1) beyondSites += Math.max(0, load - state.siteCapacity[site]);
      this.#sites[site].push(state.siteUp[site] === 1 ? load / state.siteCapacity[site] : Number.NaN);
    }
    let [beyondLinks, bits] = [0, 0];
    for (const [link, lists] of this.#links.entries()) {
      const capacity = state.linkCapacity[link];
      bits += truth.offeredBps[link];
      if (capacity > 0) beyondLinks += Math.max(0, truth.offeredBps[link] - capacity);
      lists.push(capacity > 0 ? truth.offeredBps[link] / capacity : Number.NaN);
    }
    return (beyondSites * seconds) / (truth.wanted || 1) + beyondLinks / (bits || 1);
  }

  /** Before and after everything that happens, and now and then between. */
  compared({ snapshot: _, ...comparison }: Comparison): void {
    this.#comparisons.push(comparison);
  }

  surge(event: ScenarioEvent, untouched: Float64Array): void {
    this.#surges.push({ event, untouched });
  }

  /** `remaining`: seconds after a change of all answers -> share of users who still go where they went. Falls. */
  decay(remaining: (seconds: number) => number): void {
    this.#remaining = remaining;
    let [low, high] = [0, 86_400];
    while (high - low > 1) {
      const middle = (low + high) / 2;
      if (remaining(middle) > 0.05) low = middle;
      else high = middle;
    }
    this.#decayP95Seconds = Math.ceil(high);
  }

  rtt(): RttResult {
    const hours = this.#endsMs.map((ms) => ms / HOUR_MS);
    const curve = (way: Way) => this.#endsMs.map((ms) => this.#between(ms, (comparison) => comparison[way].rttMs));
    const curves = {
      geography: curve('geography'),
      nearestToResolver: curve('nearestToResolver'),
      bestOfDns: curve('bestOfDns'),
      perUser: curve('perUser'),
    };
    const highest = (way: Way) => Math.max(0, ...this.#comparisons.map((comparison) => comparison[way].overload));
    return {
      hours,
      steered: this.#rttMs,
      ...curves,
      mean: this.#means(this.#rttMs, this.#connections, curves),
      byService: this.#world.parameters.services.map(({ name, class: kind }, service) => ({
        name: `${name} (${kind})`,
        ...this.#meansOfService(service),
      })),
      overloadOfGeography: highest('geography'),
      overloadOfNearest: highest('nearestToResolver'),
    };
  }

  #meansOfService(service: number): RttMeans {
    const curve = (way: Way) =>
      this.#endsMs.map((ms) => this.#between(ms, (comparison) => comparison[way].rttByService[service]));
    const means = this.#means(this.#serviceRttMs[service], this.#serviceConnections[service], {
      geography: curve('geography'),
      nearestToResolver: curve('nearestToResolver'),
      bestOfDns: curve('bestOfDns'),
      perUser: curve('perUser'),
    });
    // The optima are of services that wait.
    return this.#waiting.includes(service) ? means : { ...means, bestOfDns: Number.NaN, perUser: Number.NaN };
  }

  #means(steered: readonly number[], weights: readonly number[], curves: Record<Way, number[]>): RttMeans {
    const mean = (values: readonly number[]) => {
      let [sum, weight] = [0, 0];
      for (const [step, value] of values.entries()) {
        if (this.#endsMs[step] <= LEARNING_MS || !Number.isFinite(value)) continue;
        sum += value * weights[step];
        weight += weights[step];
      }
      return sum / (weight || 1);
    };
    return {
      steered: mean(steered),
      geography: mean(curves.geography),
      nearestToResolver: mean(curves.nearestToResolver),
      bestOfDns: mean(curves.bestOfDns),
      perUser: mean(curves.perUser),
    };
  }

  /** On the straight line between the comparisons before and after; of two at one time, the one on the side of the time. */
  #between(ms: number, pick: (comparison: Omit<Comparison, 'snapshot'>) => number): number {
    const list = this.#comparisons;
    const next = list.findIndex(({ atMs }) => atMs >= ms);
    if (next < 0) return list.length > 0 ? pick(list[list.length - 1]) : Number.NaN;
    if (next === 0) return pick(list[0]);
    const [before, after] = [list[next - 1], list[next]];
    const share = (ms - before.atMs) / (after.atMs - before.atMs || 1);
    return pick(before) * (1 - share) + pick(after) * share;
  }

  load(): LoadResult {
    const { sites, links } = this.#world;
    const resources = (names: readonly string[], capacities: readonly number[], lists: readonly number[][]) =>
      lists.map(
        (list, at): ResourceResult => ({
          name: names[at],
          capacity: capacities[at],
          utilisation: list.map((value) => (Number.isFinite(value) ? value : null)),
        }),
      );
    return {
      hours: this.#endsMs.map((ms) => ms / HOUR_MS),
      sites: resources(
        sites.map(({ name }) => name),
        sites.map(({ capacity }) => capacity),
        this.#sites,
      ),
      links: resources(
        links.map(({ name }) => name),
        links.map(({ capacityBps }) => capacityBps),
        this.#links,
      ),
      overload: this.#overload,
      ...this.#outsideDecay(),
      decayP95Seconds: this.#decayP95Seconds,
      unavoidable: Math.max(0, ...this.#comparisons.map(({ unavoidable }) => unavoidable)),
      surgeOvershoot: this.#overshoot(),
    };
  }

  /** What cannot be avoided is no fault: caches, and demand beyond all capacity. */
  #outsideDecay(): Pick<LoadResult, 'outsideDecay' | 'outsideDecayAt'> {
    let [worst, at] = [0, -1];
    for (const [step, overload] of this.#overload.entries()) {
      const ms = this.#endsMs[step];
      if (ms <= LEARNING_MS || this.#decays(ms)) continue;
      const excess = overload - this.#between(ms, ({ unavoidable }) => unavoidable);
      if (excess > worst) [worst, at] = [excess, step];
    }
    if (at < 0) return { outsideDecay: 0, outsideDecayAt: '' };
    const fullest = (names: readonly { readonly name: string }[], lists: readonly number[][]) =>
      names.filter((_, index) => lists[index][at] > 1).map(({ name }) => name);
    const where = [...fullest(this.#world.sites, this.#sites), ...fullest(this.#world.links, this.#links)];
    const hour = (this.#endsMs[at] / HOUR_MS).toFixed(2);
    return { outsideDecay: worst, outsideDecayAt: `at hour ${hour}: ${where.slice(0, 4).join(', ')}` };
  }

  /** Whether answers from before an event may still send users somewhere. The step and the decision that see it come first. */
  #decays(ms: number): boolean {
    const { events, stepSeconds, decideSeconds } = this.#scenario;
    const lengthMs = (this.#decayP95Seconds + stepSeconds + decideSeconds) * 1000;
    const isAfter = (turnMs: number) => ms > turnMs && ms - turnMs <= lengthMs;
    return events.some(({ atMs, untilMs }) => isAfter(atMs) || isAfter(untilMs));
  }

  /** Highest load of any site, over its capacity, beyond what old answers explain. */
  #overshoot(): number | null {
    if (this.#surges.length === 0) return null;
    const { decideSeconds, stepSeconds } = this.#scenario;
    let worst = 0;
    for (const { event, untouched } of this.#surges) {
      for (const [step, ms] of this.#endsMs.entries()) {
        if (ms <= event.atMs || ms > event.untilMs) continue;
        const seconds = (ms - event.atMs) / 1000 - decideSeconds - stepSeconds;
        const left = this.#remaining(Math.max(0, seconds));
        for (const [site, loads] of this.#sites.entries()) {
          const allowed = 1 + Math.max(0, untouched[site] - 1) * left;
          worst = Math.max(worst, (loads[step] || 0) - allowed);
        }
      }
    }
    return worst;
  }

  events(describe: (event: ScenarioEvent) => string): EventResult[] {
    const { events, hours } = this.#scenario;
    return events.map((event) => ({
      hour: event.atMs / HOUR_MS,
      untilHour: Math.min(hours, event.untilMs / HOUR_MS),
      text: describe(event),
      convergedMinutes: this.#converged(event.atMs),
    }));
  }

  /** From the begin of an event to the last step before the next turn in which users waited too long, or a site was too full. */
  #converged(fromMs: number): number | null {
    const next = this.#scenario.events
      .flatMap(({ atMs, untilMs }) => [atMs, untilMs])
      .filter((ms) => ms > fromMs)
      .reduce((least, ms) => Math.min(least, ms), Number.POSITIVE_INFINITY);
    let lastBadMs = fromMs;
    let lastMs = fromMs;
    for (const [step, ms] of this.#endsMs.entries()) {
      if (ms <= fromMs || ms > next) continue;
      lastMs = ms;
      const best = this.#between(ms, ({ bestOfDns }) => bestOfDns.rttMs);
      if (this.#rttMs[step] > best * NEAR || this.#overload[step] > 1e-6) lastBadMs = ms;
    }
    return lastBadMs === lastMs && lastMs > fromMs ? null : (lastBadMs - fromMs) / 60_000;
  }

  /** Of the last step. */
  get lastRttMs(): number {
    return this.#rttMs[this.#rttMs.length - 1] ?? Number.NaN;
  }

  /** Minutes from the begin of the run. */
  learned(): number | null {
    return this.#converged(0);
  }
}
