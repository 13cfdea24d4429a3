/**
 * The model of several balancers: random histories of a small site, played with the real selection (select.ts) and the
 * real slot transitions (decide/slots.ts). One claim is checked at every delivered packet: no packet of a live
 * connection ends on another live backend; and where nothing is under way, none is lost.
 *
 * A history is a list of 32-bit numbers, one a step: which operation, and three bytes that it uses as it likes. A step
 * that makes no sense in the state it meets does nothing, so that any part of a history is a history: that is how a
 * failing one is made short.
 */
import { advance, bury, look, readmit, restartController, settle, wish } from './cluster-controller.ts';
import { closeConnection, openConnection, sendData } from './cluster-flows.ts';
import {
  acknowledge,
  fillTable,
  joinBalancer,
  killBalancer,
  killMachine,
  progressBalancer,
  replaceMachine,
  reshuffle,
  reviveMachine,
  withdrawBalancer,
} from './cluster-machines.ts';
import {
  type Cluster,
  type ClusterFaults,
  createCluster,
  NO_FAULTS,
  pick,
  resetCluster,
  SILENCE_TICKS,
} from './cluster-state.ts';
import { createRandom } from './random.ts';

type Step = (cluster: Cluster, a: number, b: number, c: number) => void;

interface Operation {
  readonly name: string;
  /** Share of the steps in each of CLIMATES. */
  readonly weights: readonly [number, number, number, number];
  readonly run: Step;
}

/** What a history has much of: some of everything, changes, settling, deaths. Rare chains need the right weather. */
const CLIMATES = 4;

const OPERATIONS: readonly Operation[] = [
  {
    name: 'SYN of flow',
    weights: [28, 30, 36, 28],
    run: (cluster, a, b) => openConnection(cluster, flowOf(cluster, a), b),
  },
  { name: 'packet of flow', weights: [50, 50, 44, 50], run: (cluster, a) => sendData(cluster, flowOf(cluster, a)) },
  { name: 'FIN of flow', weights: [10, 8, 16, 8], run: (cluster, a) => closeConnection(cluster, flowOf(cluster, a)) },
  {
    name: 'reshuffle flow',
    weights: [10, 14, 8, 10],
    run: (cluster, a, b) => reshuffle(cluster, flowOf(cluster, a), b),
  },
  { name: 'time', weights: [18, 10, 30, 12], run: passTime },
  { name: 'balancer writes', weights: [26, 24, 14, 26], run: writeSome },
  {
    name: 'acknowledgement',
    weights: [18, 16, 8, 18],
    run: (cluster, a) => acknowledge(cluster, balancerOf(cluster, a)),
  },
  { name: 'all caught up', weights: [6, 20, 16, 10], run: (cluster) => catchUp(cluster) },
  { name: 'pressure', weights: [6, 4, 8, 4], run: press },
  { name: 'wish for slot', weights: [10, 22, 10, 10], run: (cluster, a, b) => wish(cluster, slotOf(cluster, a), b) },
  { name: 'advance slot', weights: [22, 40, 24, 20], run: advanceSome },
  { name: 'look at slot', weights: [8, 2, 16, 6], run: (cluster, a, b) => look(cluster, slotOf(cluster, a), b) },
  { name: 'settle slot', weights: [8, 2, 16, 6], run: settleSome },
  { name: 'kill backend', weights: [5, 1, 0, 10], run: (cluster, a) => killMachine(cluster, indexOf(cluster, a)) },
  { name: 'bury backend', weights: [8, 2, 0, 14], run: (cluster, a) => bury(cluster, indexOf(cluster, a)) },
  { name: 'revive backend', weights: [5, 2, 0, 8], run: (cluster, a) => reviveMachine(cluster, indexOf(cluster, a)) },
  { name: 'readmit backend', weights: [5, 2, 0, 8], run: (cluster, a) => readmit(cluster, indexOf(cluster, a)) },
  { name: 'index again', weights: [4, 3, 4, 2], run: (cluster, a) => replaceMachine(cluster, indexOf(cluster, a)) },
  {
    name: 'withdraw balancer',
    weights: [2, 1, 0, 2],
    run: (cluster, a, b) => withdrawBalancer(cluster, balancerOf(cluster, a), b),
  },
  {
    name: 'kill balancer',
    weights: [2, 1, 2, 2],
    run: (cluster, a, b) => killBalancer(cluster, balancerOf(cluster, a), b),
  },
  { name: 'join balancer', weights: [4, 2, 4, 2], run: (cluster, a) => joinBalancer(cluster, balancerOf(cluster, a)) },
  { name: 'restart controller', weights: [1, 0, 0, 0], run: (cluster) => restartController(cluster) },
];

/** By climate: which operation the lowest byte of a step means. */
const OPERATION_OF_BYTE: readonly (readonly Operation[])[] = Array.from({ length: CLIMATES }, (_, climate) =>
  OPERATIONS.flatMap((operation) => Array.from({ length: operation.weights[climate] }, () => operation)),
);

function flowOf(cluster: Cluster, random: number): number {
  return pick(random, cluster.flowCount);
}

function slotOf(cluster: Cluster, random: number): number {
  return pick(random, cluster.slotCount);
}

function balancerOf(cluster: Cluster, random: number): number {
  return pick(random, cluster.balancerCount);
}

function indexOf(cluster: Cluster, random: number): number {
  return 1 + pick(random, cluster.indexCount);
}

function writeSome(cluster: Cluster, a: number, b: number, c: number): void {
  progressBalancer(cluster, balancerOf(cluster, a), b, (c & 3) !== 0);
}

/** Every balancer gets the newest state and says so: nothing is delayed for once. */
function catchUp(cluster: Cluster): void {
  for (let b = 0; b < cluster.balancerCount; b++) {
    progressBalancer(cluster, b, 0, true);
    progressBalancer(cluster, b, 0, true);
    acknowledge(cluster, b);
  }
}

/** A phase of a slot's change; where agents report, now and then both with everybody caught up: settling is what is tried there. */
function advanceSome(cluster: Cluster, a: number, b: number): void {
  const slot = slotOf(cluster, a);
  advance(cluster, slot);
  if (cluster.settlesBy !== 'reports' || (b & 3) !== 0) return;
  catchUp(cluster);
  advance(cluster, slot);
  catchUp(cluster);
}

/** A settling step; where agents report, now and then right after a look, and with everybody caught up. */
function settleSome(cluster: Cluster, a: number, b: number): void {
  const slot = slotOf(cluster, a);
  const isQuick = cluster.settlesBy === 'reports' && (b & 1) !== 0;
  if (isQuick) look(cluster, slot, 0);
  settle(cluster, slot);
  if (isQuick) catchUp(cluster);
}

function passTime(cluster: Cluster, a: number): void {
  cluster.now += a % 8 === 0 ? SILENCE_TICKS : 1 + (a % 2);
}

function press(cluster: Cluster, a: number, b: number): void {
  const balancer = balancerOf(cluster, a);
  if ((b & 1) !== 0) cluster.balancers[balancer].isPressed = (b & 2) !== 0;
  else fillTable(cluster, balancer, (b & 2) !== 0);
}

export interface History {
  /** The number that the sizes of the site come from. */
  readonly shape: number;
  readonly steps: readonly number[];
}

export interface Failure {
  readonly seed: number;
  /** Number of the history under that seed. */
  readonly number: number;
  readonly violation: string;
  /** As short as dropping steps makes it. */
  readonly history: History;
  /** What happened in it, a line each. */
  readonly lines: readonly string[];
}

export interface RunOptions {
  readonly seed: number;
  readonly histories: number;
  /** Steps of each history. */
  readonly steps?: number;
  readonly faults?: ClusterFaults;
  /** Told now and then how many are done. */
  readonly onProgress?: (done: number) => void;
}

const DEFAULT_STEPS = 120;
const PROGRESS_EVERY = 50_000;

/** Plays histories until one fails; null: none did. About 100 ns a step. */
export function runHistories(options: RunOptions): Failure | null {
  const { seed, histories, steps = DEFAULT_STEPS, faults = NO_FAULTS, onProgress } = options;
  const cluster = createCluster(steps, faults);
  const history = new Array<number>(steps).fill(0);
  const random = createRandom(seed);
  for (let number = 0; number < histories; number++) {
    const shape = random();
    for (let i = 0; i < steps; i++) history[i] = random();
    if (playHistory(cluster, shape, history) !== null) return explain(cluster, seed, number, { shape, steps: history });
    if (onProgress !== undefined && (number + 1) % PROGRESS_EVERY === 0) onProgress(number + 1);
  }
  return null;
}

/** The violation that the history leads to, or null. */
function playHistory(cluster: Cluster, shape: number, steps: readonly number[]): string | null {
  resetCluster(cluster, shape);
  const operations = OPERATION_OF_BYTE[shape >>> 30];
  for (let i = 0; i < steps.length; i++) {
    const step = steps[i];
    const operation = operations[step & 0xff];
    cluster.trace?.(`${operation.name} ${(step >>> 8) & 0xff}`);
    operation.run(cluster, (step >>> 8) & 0xff, (step >>> 16) & 0xff, step >>> 24);
    if (cluster.violation !== null) return cluster.violation;
  }
  return null;
}

function explain(cluster: Cluster, seed: number, number: number, history: History): Failure {
  const steps = shorten(cluster, history);
  const lines: string[] = [];
  cluster.trace = (text) => lines.push(text);
  const violation = playHistory(cluster, history.shape, steps) as string;
  cluster.trace = null;
  lines.unshift(
    `${cluster.balancerCount} balancers, ${cluster.indexCount} backends ${cluster.hasAgents ? 'with' : 'without'} agents, ` +
      `${cluster.slotCount} slots, ${cluster.flowCount} flows; settled by ${cluster.settlesBy}`,
  );
  return { seed, number, violation, history: { shape: history.shape, steps }, lines };
}

/** Drops steps as long as some violation stays; from the end, until nothing can go. */
function shorten(cluster: Cluster, history: History): number[] {
  let steps = [...history.steps];
  for (let hasChanged = true; hasChanged; ) {
    hasChanged = false;
    for (let i = steps.length - 1; i >= 0; i--) {
      const without = steps.toSpliced(i, 1);
      if (playHistory(cluster, history.shape, without) === null) continue;
      steps = without;
      hasChanged = true;
    }
  }
  return steps;
}

/** Plays a history again, for what `Failure` printed. */
export function replayHistory(history: History, faults: ClusterFaults = NO_FAULTS): string | null {
  return playHistory(createCluster(history.steps.length, faults), history.shape, history.steps);
}

/** The failure as text for people. */
export function describeFailure(failure: Failure): string {
  return [
    `${failure.violation} (seed ${failure.seed}, history ${failure.number}, ${failure.history.steps.length} steps)`,
    ...failure.lines.map((line) => `  ${line}`),
  ].join('\n');
}
