/** A whole run, and what it found. */
import { MeasuredSteering } from '../decide/steer/measured-loop.ts';
import { checkRun } from './checks.ts';
import { compareEstimates } from './estimators.ts';
import { Simulation } from './loop.ts';
import { presetParameters } from './presets.ts';
import type { EstimatorResult, SimulationResult } from './report/result.ts';
import type { Scenario } from './scenario.ts';
import { describeEvent } from './schedule.ts';
import { steeringModelOf } from './steering-model.ts';
import type { World } from './types.ts';
import { createWorld } from './world.ts';

export interface Progress {
  readonly hour: number;
  /** Mean round trips now, and the best of DNS as it was last worked out. */
  readonly steeredMs: number;
  readonly bestMs: number;
}

/** Hours after which estimates are compared, and the error of demand that is allowed then; the end of the run is one more. */
const LOOKS = [
  { hour: 1, demandError: 0.2 },
  { hour: 6, demandError: 0.1 },
] as const;

export function worldOf({ preset, prefixes, resolvers, sites, seed }: Scenario): World {
  return createWorld(presetParameters(preset, { prefixes, resolvers, sites }), seed);
}

/** Gives progress after each step. `realMs`: a clock, for cost and limits. */
export function* runSimulation(
  world: World,
  scenario: Scenario,
  realMs: () => number,
): Generator<Progress, SimulationResult> {
  const steering = new MeasuredSteering(steeringModelOf(world), world.facts, scenario.seed, realMs);
  const simulation = new Simulation(world, scenario, steering, realMs);
  const estimators: EstimatorResult[] = [];
  let looked = 0;
  while (!simulation.isOver) {
    simulation.advance();
    const hour = simulation.nowMs / 3_600_000;
    const look = LOOKS[looked];
    if (look !== undefined && hour >= look.hour) {
      estimators.push(...lookAt(simulation, steering, look.demandError, hour >= 6));
      looked++;
    }
    yield { hour, steeredMs: simulation.score.lastRttMs, bestMs: simulation.lastComparison.bestOfDns.rttMs };
  }
  if (scenario.hours > 6) estimators.push(...lookAt(simulation, steering, null, true));
  return resultOf(simulation, estimators);
}

function lookAt(
  { world, internet }: Simulation,
  steering: MeasuredSteering,
  demandError: number | null,
  all: boolean,
): EstimatorResult[] {
  const { book } = steering;
  return compareEstimates(world, book, internet, { demandError, withPlaces: all, withViolators: all });
}

function resultOf(simulation: Simulation, estimators: readonly EstimatorResult[]): SimulationResult {
  const { scenario, world, score, moves } = simulation;
  const { name, preset, seed, hours, stepSeconds, decideSeconds } = scenario;
  const rtt = score.rtt();
  const load = score.load();
  const moved = moves.result(hours);
  return {
    name,
    preset,
    seed,
    prefixes: world.users,
    resolvers: world.resolvers,
    classes: world.parameters.services.map((service) => `${service.name} (${service.class})`),
    hours,
    stepSeconds,
    decideSeconds,
    ran: simulation.cost(),
    events: score.events((event) => describeEvent(world, event)),
    rtt,
    load,
    ...moved,
    estimators,
    map: simulation.cities(),
    checks: checkRun(rtt, load, moved.moves, estimators),
  };
}
