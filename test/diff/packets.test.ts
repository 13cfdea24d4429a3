/**
 * Random and mutated packets through the model and the kernel program (BPF_PROG_TEST_RUN): verdict, bytes, counters, slots,
 * connection table and pressure windows must be equal after every packet. PORTICO_SEED repeats a run. Needs root.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type KernelEngine, openKernelEngine } from '../../src/cli/replay-kernel.ts';
import { EVENTS, OUTCOMES } from '../../src/model/layout.ts';
import { processFrame } from '../../src/model/packet-path.ts';
import { pinToCpu } from '../../src/serve/vip/libc.ts';
import { compareCounters, compareFrame, describeDifference, shortenFrame, TEST_CPU } from './compare.ts';
import { createDice, type Dice } from './dice.ts';
import { randomFrame } from './frames.ts';
import { BUCKETS, createWorld, PREFIX_SETS, passTime, perturb, type World } from './world.ts';

const PACKETS = Number(process.env.PORTICO_PACKETS ?? 200_000);
const FIXED_SEED = 20261121;
const PACKETS_PER_WORLD = 2_000;
const PACKETS_PER_STATE = 40;

const objects = join(import.meta.dirname, '../../build/bpf');
let kernel: KernelEngine;

before(() => {
  pinToCpu(TEST_CPU);
  kernel = openKernelEngine(objects, BUCKETS, PREFIX_SETS);
});

after(() => kernel?.close());

/** What a world of this seed meets, packet by packet: the state changes first, then the frame. */
function* packetsOf(seed: number, count: number, refresh: (world: World) => void): Generator<[World, Uint8Array]> {
  const dice: Dice = createDice(seed);
  const world = createWorld(dice);
  for (let number = 0; number < count; number++) {
    passTime(dice, world);
    if (number % PACKETS_PER_STATE === 0) {
      if (number > 0) perturb(dice, world);
      refresh(world);
    }
    yield [world, randomFrame(dice, world)];
  }
}

/** Packets of one world; the text of the first difference, or null. */
function runWorld(seed: number, count: number, shares: Map<string, number>): string | null {
  let isLoaded = false;
  const refresh = (world: World): void => {
    if (isLoaded) kernel.refresh(world.engine);
    else kernel.load(world.engine);
    isLoaded = true;
  };
  let number = 0;
  let last: World | null = null;
  for (const [world, frame] of packetsOf(seed, count, refresh)) {
    const { difference, model } = compareFrame(world.engine, kernel, frame, world.clock);
    if (difference !== null) return explain(seed, number, frame);
    add(shares, model.outcome);
    EVENTS.forEach((event, bit) => {
      if (((model.events >>> bit) & 1) !== 0) add(shares, event);
    });
    number++;
    last = world;
  }
  return last === null ? null : compareAllCounters(last);
}

function add(shares: Map<string, number>, name: string): void {
  shares.set(name, (shares.get(name) ?? 0) + 1);
}

function compareAllCounters(world: World): string | null {
  for (let subject = 0; subject < 32; subject++) {
    const difference = compareCounters(world.engine, kernel, subject);
    if (difference !== null) return difference;
  }
  return null;
}

/** The state before packet `number`, by the model alone. */
function stateBefore(seed: number, number: number, frame: Uint8Array): World {
  let count = 0;
  for (const [world, each] of packetsOf(seed, number + 1, () => {})) {
    if (count++ === number) return world;
    compareFrameInModel(world, each);
  }
  throw new Error(`no packet ${number} of ${frame.length} bytes`);
}

function compareFrameInModel(world: World, frame: Uint8Array): void {
  processFrame(world.engine, frame, 1, world.clock);
}

function explain(seed: number, number: number, frame: Uint8Array): string {
  const world = stateBefore(seed, number, frame);
  const run = (candidate: Uint8Array) => {
    const engine = structuredClone(world.engine);
    engine.counters.clear();
    kernel.load(engine);
    return compareFrame(engine, kernel, candidate, world.clock).difference;
  };
  if (run(frame) === null) return `packet ${number} of world ${seed}: differs only after those before it`;
  const shortest = shortenFrame(frame, (candidate) => run(candidate) !== null);
  const difference = run(shortest);
  assert.ok(difference !== null);
  return `packet ${number} of world ${seed}\n${describeDifference(shortest, world.clock, difference)}`;
}

function runPackets(seed: number, packets: number): string {
  const shares = new Map<string, number>();
  const beginMs = performance.now();
  const worlds = createDice(seed);
  for (let done = 0; done < packets; done += PACKETS_PER_WORLD) {
    const worldSeed = worlds.bits();
    const difference = runWorld(worldSeed, Math.min(PACKETS_PER_WORLD, packets - done), shares);
    assert.equal(difference, null, `seed ${seed}: ${difference}`);
  }
  // What hardly happens is hardly tested. Nobody else swaps words here, so none is lost; and the ring is emptied at once.
  const names = [...OUTCOMES, ...EVENTS].filter((name) => name !== 'cas-lost' && name !== 'hand-up-full');
  if (packets >= 100_000) for (const name of names) assert.ok((shares.get(name) ?? 0) > packets / 5_000, name);
  const seconds = (performance.now() - beginMs) / 1000;
  const text = names.map((name) => `${name} ${(((shares.get(name) ?? 0) / packets) * 100).toFixed(2)} %`);
  return `${packets} packets, seed ${seed}, ${seconds.toFixed(0)} s, 0 differences: ${text.join(', ')}`;
}

test(`model and kernel program agree on ${PACKETS} random packets`, (context) => {
  context.diagnostic(runPackets(FIXED_SEED, PACKETS));
});

test('and on packets that were never tried before', (context) => {
  const given = process.env.PORTICO_SEED;
  context.diagnostic(runPackets(given === undefined ? randomInt(2 ** 32) : Number(given) >>> 0, PACKETS / 4));
});
