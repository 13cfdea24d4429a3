import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type MeasuredMap, NO_SITE, type SiteShare } from '../decide/steer/measured.ts';
import type { Decision, SteeringHealth } from '../decide/steer/measured-model.ts';
import { judge } from './assignment.ts';
import type { Internet } from './internet.ts';
import { Simulation, type Steering } from './loop.ts';
import { Optimum } from './optimum.ts';
import { type Partition, partitionByAsker, partitionByPrefix } from './partition.ts';
import { renderPage } from './report/page.ts';
import { runSimulation, worldOf } from './run.ts';
import type { Scenario } from './scenario.ts';
import { takeSnapshot } from './snapshot.ts';
import type { World } from './types.ts';

const SCENARIO: Scenario = {
  name: 'a test',
  preset: 'typical',
  prefixes: 800,
  resolvers: 120,
  sites: 6,
  hours: 1.5,
  seed: 7,
  stepSeconds: 60,
  decideSeconds: 300,
  compareSeconds: 1800,
  events: [{ atMs: 4_200_000, untilMs: 4_800_000, kind: 'site-down', site: 0 }],
};
const WORLD = worldOf(SCENARIO);

function decision(map: MeasuredMap): Decision {
  const none = new Float64Array(0);
  return {
    map,
    stages: [],
    isComplete: true,
    siteLoad: none,
    linkLoad: none,
    meanRttMs: 0,
    movedShare: 0,
    exploredShare: 0,
    reasons: [],
  };
}

/** Knows the truth, and answers with the best of DNS; services that do not wait go with the others. */
class AllKnowing implements Steering {
  readonly #world: World;
  readonly #partition: Partition;
  readonly #optimum: Optimum;
  readonly #internet: () => Internet;
  #version = 0;

  constructor(world: World, internet: () => Internet) {
    this.#world = world;
    this.#internet = internet;
    this.#partition = partitionByAsker(world);
    this.#optimum = new Optimum(world, this.#partition, () => performance.now(), 10_000);
  }

  observe(): void {}

  decide(_nowMs: number, health: SteeringHealth): Decision {
    const snapshot = takeSnapshot(this.#world, this.#internet());
    const siteUp = Uint8Array.from(health.sites, (share) => (share > 0 ? 1 : 0));
    const siteCapacity = snapshot.siteCapacity.map((capacity, site) => capacity * health.sites[site]);
    const best = this.#optimum.find({ ...snapshot, siteUp, siteCapacity });
    const { services } = snapshot;
    const order = Array.from(this.#partition.asker.keys());
    order.sort((a, b) => this.#partition.asker[a] - this.#partition.asker[b]);
    const site = new Uint16Array(order.length * services);
    const splits = new Map<number, readonly SiteShare[]>();
    for (const [index, group] of order.entries()) {
      site.fill(best.site[group * services], index * services, (index + 1) * services);
      const shares = best.splits.get(group * services);
      for (let c = 0; c < services && shares !== undefined; c++) splits.set(index * services + c, shares);
    }
    const groups = Uint32Array.from(order, (group) => this.#partition.asker[group]);
    return decision({ version: ++this.#version, groups, classes: services, site, splits });
  }
}

/** Never has an opinion. */
const SILENT: Steering = {
  observe() {},
  decide: () =>
    decision({ version: 1, groups: new Uint32Array(0), classes: 3, site: new Uint16Array(0), splits: new Map() }),
};

function run(steeringOf: (internet: () => Internet) => Steering): Simulation {
  const simulation: Simulation = new Simulation(
    WORLD,
    SCENARIO,
    steeringOf(() => simulation.internet),
    () => performance.now(),
  );
  while (!simulation.isOver) simulation.advance();
  return simulation;
}

test('who knows the truth gets what the best of DNS promises, through caches and all', () => {
  const simulation = run((internet) => new AllKnowing(WORLD, internet));
  const { mean, steered, bestOfDns, hours } = simulation.score.rtt();
  assert(Math.abs(mean.steered / mean.bestOfDns - 1) < 0.03, JSON.stringify(mean));
  const quiet = hours.findIndex((hour) => hour >= 1);
  assert(Math.abs(steered[quiet] / bestOfDns[quiet] - 1) < 0.03);
  // The event cost something, and it was over before the end.
  const lost = hours.findIndex((hour) => hour >= 1.3);
  assert(bestOfDns[lost] > bestOfDns[quiet], `${bestOfDns[lost]} beside ${bestOfDns[quiet]}`);
  const [event] = simulation.score.events(() => 'lost');
  assert(event.convergedMinutes !== null, 'converged');
  const { moves, churn } = simulation.moves.result(SCENARIO.hours);
  assert.equal(moves.prefixDays, SCENARIO.prefixes);
  assert(churn.perHour[1] > 0.01, 'the lost site moved users');
});

const SILENCE = run(() => SILENT);

test('without an opinion users get what geography gives', () => {
  const { mean } = SILENCE.score.rtt();
  assert(Math.abs(mean.steered / mean.geography - 1) < 0.03, JSON.stringify(mean));
  assert(mean.perUser <= mean.bestOfDns && mean.bestOfDns < mean.steered, JSON.stringify(mean));
});

test('the optima are as good as trying all sites, where there is room for all', () => {
  const { internet } = SILENCE;
  const snapshot = takeSnapshot(WORLD, internet);
  const roomy = {
    ...snapshot,
    siteCapacity: snapshot.siteCapacity.map(() => 1e9),
    linkCapacity: snapshot.linkCapacity.map(() => 1e15),
  };
  for (const partition of [partitionByAsker(WORLD), partitionByPrefix(WORLD)]) {
    const found = new Optimum(WORLD, partition, () => performance.now(), 10_000).find(roomy);
    const sums = new Float64Array(partition.groups * snapshot.sites);
    let total = 0;
    for (const [pair, group] of partition.groupOfPair.entries()) {
      const prefix = WORLD.pairPrefix[pair];
      const wanted = snapshot.demand[prefix * snapshot.services] * WORLD.pairShare[pair];
      total += wanted;
      for (let site = 0; site < snapshot.sites; site++)
        sums[group * snapshot.sites + site] += wanted * snapshot.rttMs[prefix * snapshot.sites + site];
    }
    let least = 0;
    for (let group = 0; group < partition.groups; group++)
      least += Math.min(...sums.subarray(group * snapshot.sites, (group + 1) * snapshot.sites));
    const { rttMs } = judge(WORLD, partition, roomy, found);
    assert(Math.abs(rttMs / (least / total) - 1) < 1e-3, `${rttMs} instead of ${least / total}`);
  }
});

test('what is judged adds up: loads are the demand, and overload is what is above capacity', () => {
  const { internet } = SILENCE;
  const snapshot = takeSnapshot(WORLD, internet);
  const partition = partitionByAsker(WORLD);
  const items = partition.groups * snapshot.services;
  const site = new Uint16Array(items).fill(2);
  const all = judge(WORLD, partition, snapshot, { site, splits: new Map() });
  assert(Math.abs(all.siteLoad[2] / snapshot.total - 1) < 1e-5);
  const links = all.linkLoad.reduce((sum, load, link) => sum + Math.max(0, load - snapshot.linkCapacity[link]), 0);
  const bits = WORLD.parameters.services.reduce((sum, service, index) => {
    let wanted = 0;
    for (let prefix = 0; prefix < WORLD.users; prefix++) wanted += snapshot.demand[prefix * snapshot.services + index];
    return sum + wanted * service.bitsPerConnection;
  }, 0);
  const expected = 1 - snapshot.siteCapacity[2] / snapshot.total + links / bits;
  assert(Math.abs(all.overload - expected) < 1e-4, `${all.overload} instead of ${expected}`);
  const half = new Map(
    Array.from(site, (_, item) => [
      item,
      [
        { site: 2, share: 0.5 },
        { site: 3, share: 0.5 },
      ],
    ]),
  );
  const split = judge(WORLD, partition, snapshot, { site, splits: half });
  assert(Math.abs(split.siteLoad[3] / snapshot.total - 0.5) < 1e-5);
  const nowhere = judge(WORLD, partition, snapshot, { site: site.map(() => NO_SITE), splits: new Map() });
  assert.deepEqual(
    [...nowhere.siteLoad],
    WORLD.sites.map(() => 0),
  );
});

test('steering by what is measured beats geography within an hour, and takes the loss of a site', () => {
  const scenario = { ...SCENARIO, decideSeconds: 600 };
  const run = runSimulation(WORLD, scenario, () => performance.now());
  let next = run.next();
  while (next.done !== true) next = run.next();
  const { rtt, checks, churn, ran } = next.value;
  const hour = rtt.hours.findIndex((each) => each >= 1);
  const told = `steered ${rtt.steered[hour]}, geography ${rtt.geography[hour]}, best ${rtt.bestOfDns[hour]}`;
  assert(rtt.steered[hour] < rtt.geography[hour], told);
  assert(rtt.steered[hour] >= rtt.bestOfDns[hour] * 0.97, told);
  assert.equal(ran.decisions, 9);
  assert.equal(churn.perHour.length, 2);
  assert(checks.length > 4);
  const page = renderPage(next.value);
  assert(page.includes('</html>') && !/<script|https?:|url\(/.test(page), 'the page needs nothing else');
});
