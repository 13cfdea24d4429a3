/**
 * Looks for inputs that reach what none of the corpus reaches, in the blocks of the model's code as the engine counts them
 * (how often, by powers of two, matters too) and in outcomes and events; each also goes through the kernel program. Writes what
 * it found into the corpus, least inputs first. Needs root.
 *
 *   node test/diff/fuzz.ts [--seconds 60] [--seed N] [--fresh]
 */
import { randomInt } from 'node:crypto';
import { Session } from 'node:inspector/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type KernelEngine, openKernelEngine } from '../../src/cli/replay-kernel.ts';
import { processFrame } from '../../src/model/packet-path.ts';
import { pinToCpu } from '../../src/serve/vip/libc.ts';
import { compareFrame, describeDifference, TEST_CPU } from './compare.ts';
import { type Input, readCorpus, runInput, toText, writeCorpus } from './corpus.ts';
import { createDice, type Dice } from './dice.ts';
import { mutate, randomFrame } from './frames.ts';
import { BUCKETS, createWorld, PREFIX_SETS } from './world.ts';

const LOOPBACK = 1;
const MAX_FRAMES = 6;
/** Seeds of states are few, so that inputs can be crossed. */
const WORLDS = 512;
const MODEL = /\/src\/(model|net)\//;

/** Counts the blocks of the model that ran since it was last asked. */
class Coverage {
  readonly #session = new Session();

  async start(): Promise<void> {
    this.#session.connect();
    await this.#session.post('Profiler.enable');
    await this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  async take(): Promise<Set<string>> {
    const { result } = await this.#session.post('Profiler.takePreciseCoverage');
    const features = new Set<string>();
    for (const { url, scriptId, functions } of result) {
      if (!MODEL.test(url)) continue;
      for (const { ranges } of functions)
        for (const { startOffset, endOffset, count } of ranges)
          if (count > 0) features.add(`${scriptId}:${startOffset}:${endOffset}:${32 - Math.clz32(count)}`);
    }
    return features;
  }
}

function randomInput(dice: Dice): Input {
  const world = dice.below(WORLDS);
  const state = createWorld(createDice(world));
  return { world, frames: Array.from({ length: 1 + dice.below(3) }, () => randomFrame(dice, state)) };
}

function changed(dice: Dice, corpus: readonly Input[]): Input {
  const { world, frames } = dice.pick(corpus);
  const at = dice.below(frames.length);
  const state = () => createWorld(createDice(world));
  const others = (): readonly Uint8Array[] => dice.pick(corpus).frames;
  const kinds = [
    () => frames.map((frame, i) => (i === at ? mutate(dice, frame, 14) : frame)),
    () => frames.map((frame, i) => (i === at ? mutate(dice, mutate(dice, frame, 14), 14) : frame)),
    () => [...frames, dice.pick(frames)],
    () => [...frames, randomFrame(dice, state())],
    () => [...frames.slice(0, at), ...others()],
    () => frames.filter((_, i) => i !== at),
    () =>
      frames.map((frame, i) => (i === at ? frame.slice(0, 14 + dice.below(Math.max(1, frame.length - 14))) : frame)),
  ];
  const made = dice.pick(kinds)().slice(0, MAX_FRAMES);
  return { world: dice.chance(20) ? dice.below(WORLDS) : world, frames: made.length === 0 ? frames : made };
}

/** Headers are in here; what follows is mostly payload. */
const HEADER_BYTES = 100;

/** The same with zeros for payload: shorter to write down. */
function plainer({ world, frames }: Input): Input {
  return { world, frames: frames.map((frame) => frame.map((byte, i) => (i < HEADER_BYTES ? byte : 0))) };
}

/** What the input reaches; throws where model and kernel differ. */
async function examine(input: Input, kernel: KernelEngine, coverage: Coverage): Promise<Set<string>> {
  const results = new Set<string>();
  await coverage.take();
  runInput(input, (world, frame) => {
    world.engine.handedUp.length = 0;
    const { verdict, outcome, events } = processFrame(world.engine, frame, LOOPBACK, world.clock);
    results.add(`${verdict} ${outcome} ${events}`);
  });
  const features = await coverage.take();
  let isLoaded = false;
  runInput(input, (world, frame) => {
    if (!isLoaded) kernel.load(world.engine);
    isLoaded = true;
    const { difference } = compareFrame(world.engine, kernel, frame, world.clock);
    if (difference !== null) {
      const text = JSON.stringify({ ...input, frames: input.frames.map(toText) });
      throw new Error(`${describeDifference(frame, world.clock, difference)}\ninput: ${text}`);
    }
  });
  for (const result of results) features.add(result);
  return features;
}

/** Of the file, about. */
function costOf({ frames }: Input): number {
  return frames.reduce((sum, frame) => sum + toText(frame).length, 30);
}

/** Few and short inputs, chosen greedily, that reach all that the given ones reach. */
function fewest(examined: readonly { readonly input: Input; readonly features: ReadonlySet<string> }[]): Input[] {
  const missing = new Set(examined.flatMap(({ features }) => [...features]));
  const worthOf = (input: Input, features: ReadonlySet<string>): number => {
    let gain = 0;
    for (const feature of features) if (missing.has(feature)) gain++;
    return gain / costOf(input);
  };
  const kept: Input[] = [];
  const left = examined.map((each) => ({ ...each, worth: worthOf(each.input, each.features) }));
  while (missing.size > 0) {
    // What an input is worth only shrinks, so one that still has its old worth is the best.
    left.sort((a, b) => b.worth - a.worth);
    const [best] = left;
    const worth = worthOf(best.input, best.features);
    if (worth < best.worth) {
      best.worth = worth;
      continue;
    }
    kept.push(best.input);
    for (const feature of best.features) missing.delete(feature);
    left.shift();
  }
  return kept;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { seconds: { type: 'string' }, seed: { type: 'string' }, fresh: { type: 'boolean' } },
  });
  const seed = values.seed === undefined ? randomInt(2 ** 32) : Number(values.seed) >>> 0;
  const dice = createDice(seed);
  const endMs = performance.now() + 1000 * Number(values.seconds ?? 60);
  pinToCpu(TEST_CPU);
  const kernel = openKernelEngine(join(import.meta.dirname, '../../build/bpf'), BUCKETS, PREFIX_SETS);
  const coverage = new Coverage();
  await coverage.start();
  const seen = new Set<string>();
  const examined: { input: Input; features: Set<string> }[] = [];
  let tried = 0;
  const attempt = async (input: Input): Promise<void> => {
    tried++;
    const features = await examine(input, kernel, coverage);
    if ([...features].every((feature) => seen.has(feature))) return;
    const plain = plainer(input);
    const plainFeatures = await examine(plain, kernel, coverage);
    const isAsGood = [...features].every((feature) => plainFeatures.has(feature));
    examined.push(isAsGood ? { input: plain, features: plainFeatures } : { input, features });
    for (const feature of examined[examined.length - 1].features) seen.add(feature);
    if (tried % 500 === 0)
      process.stderr.write(`fuzz: ${tried} inputs, ${examined.length} kept, ${seen.size} reached\n`);
  };
  try {
    if (!values.fresh) for (const input of readCorpus()) await attempt(input);
    while (performance.now() < endMs || examined.length === 0) {
      const isNew = examined.length < 50 || dice.chance(20);
      await attempt(
        isNew
          ? randomInput(dice)
          : changed(
              dice,
              examined.map(({ input }) => input),
            ),
      );
    }
  } finally {
    kernel.close();
  }
  const kept = fewest(examined);
  writeCorpus(kept);
  process.stdout.write(
    `fuzz: seed ${seed}, ${tried} inputs, ${seen.size} reached, ${kept.length} in the corpus, 0 differences\n`,
  );
}

await main();
