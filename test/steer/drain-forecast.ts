/** A drain in the synthetic internet: what was forecast when it began, and what came, minute by minute. */
import type { Forecast } from '../../src/decide/steer/forecast/forecast.ts';
import { MeasuredSteering } from '../../src/decide/steer/measured-loop.ts';
import { DEFAULT_LIMITS, type SteeringModel } from '../../src/decide/steer/measured-model.ts';
import { Answers } from '../../src/simulate/answers.ts';
import { Internet } from '../../src/simulate/internet.ts';
import { type PresetName, presetParameters, type WorldSize } from '../../src/simulate/presets.ts';
import type { World } from '../../src/simulate/types.ts';
import { createWorld } from '../../src/simulate/world.ts';

const STEP_SECONDS = 10;
const DECIDE_SECONDS = 30;

export interface DrainOutcome {
  readonly forecast: Forecast;
  readonly site: number;
  /** By minute: share of connections that arrived at the site that is drained. */
  readonly actual: readonly number[];
  /** In points, over all sites and minutes. */
  readonly worstPoints: number;
}

export interface DrainCase {
  readonly preset: PresetName;
  readonly size: WorldSize;
  readonly seed: number;
  readonly learnMinutes: number;
  readonly minutes: number;
}

function modelOf(world: World): SteeringModel {
  const { services } = world.parameters;
  const sites = world.sites.map((_, site) => site);
  return {
    sites: world.sites,
    links: world.links.map(({ name, capacityBps }) => ({ name, capacity: capacityBps })),
    classes: services.map(({ name, class: kind, bitsPerConnection, ttlSeconds }) => {
      return { name, kind, sites, bitsPerConnection, ttlSeconds };
    }),
    services: services.map(({ name }, index) => ({ name, class: index })),
    regions: world.regions.length,
    regionOf: (prefix) => world.places.region[world.placeOf[prefix]],
    paths: world.paths,
    ttlSeconds: Math.max(...services.map(({ ttlSeconds }) => ttlSeconds)),
    limits: { ...DEFAULT_LIMITS, prefixes: world.users + world.resolvers },
  };
}

export function runDrain({ preset, size, seed, learnMinutes, minutes }: DrainCase): DrainOutcome {
  const world = createWorld(presetParameters(preset, size), seed);
  const internet = new Internet(world, seed);
  const steering = new MeasuredSteering(modelOf(world), world.facts, seed);
  const services = world.parameters.services.length;
  let drawn = seed;
  const random = () => {
    drawn = (Math.imul(drawn, 1664525) + 1013904223) >>> 0;
    return drawn / 2 ** 32;
  };
  const answers = new Answers(
    world,
    world.parameters.services.map((_, index) => index),
    services,
    random,
  );
  const sites = world.sites.length;
  const health = { sites: new Float64Array(sites).fill(1), links: new Float64Array(world.links.length).fill(1) };
  const step = (): Float64Array => {
    const { observations, truth } = internet.step(answers.answer, STEP_SECONDS);
    steering.observe(observations);
    if (internet.nowMs % (DECIDE_SECONDS * 1000) === 0) answers.take(steering.decide(internet.nowMs, health).map);
    const arrived = new Float64Array(sites);
    for (let n = 0; n < truth.arrived.length; n++) arrived[n % sites] += truth.arrived[n];
    return arrived;
  };
  let last: Float64Array = new Float64Array(sites);
  for (let s = 0; s < learnMinutes * 60; s += STEP_SECONDS) last = step();
  const site = last.indexOf(Math.max(...last));
  const time = { nowMs: internet.nowMs, wallMs: 0, intervalSeconds: DECIDE_SECONDS };
  const forecast = steering.forecast(
    { kind: 'drain', site: world.sites[site].name },
    minutes,
    health,
    time,
  ) as Forecast;
  health.sites[site] = 0;
  answers.setServing(Uint8Array.from(health.sites));
  answers.take(steering.decide(internet.nowMs, health).map);
  const actual: number[] = [];
  let worstPoints = 0;
  for (let minute = 0; minute < minutes; minute++) {
    const came = new Float64Array(sites);
    for (let s = 0; s < 60; s += STEP_SECONDS) for (const [at, count] of step().entries()) came[at] += count;
    const total = came.reduce((sum, count) => sum + count, 0);
    actual.push(came[site] / total);
    for (let s = 0; s < sites; s++)
      worstPoints = Math.max(worstPoints, 100 * Math.abs(came[s] / total - forecast.sites[s].share[minute]));
  }
  return { forecast, site, actual, worstPoints };
}
