/** The kept inputs through the model and the kernel program: all that either leaves behind must be equal. Needs root. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openKernelEngine } from '../../src/cli/replay-kernel.ts';
import { OUTCOMES } from '../../src/model/layout.ts';
import { pinToCpu } from '../../src/serve/vip/libc.ts';
import { compareFrame, describeDifference, TEST_CPU } from './compare.ts';
import { readCorpus, runInput } from './corpus.ts';
import { BUCKETS, PREFIX_SETS } from './world.ts';

test('model and kernel program agree on the inputs that were found to reach new ways', (context) => {
  pinToCpu(TEST_CPU);
  const kernel = openKernelEngine(join(import.meta.dirname, '../../build/bpf'), BUCKETS, PREFIX_SETS);
  const reached = new Set<string>();
  let packets = 0;
  try {
    for (const [number, input] of readCorpus().entries()) {
      let isLoaded = false;
      runInput(input, (world, frame) => {
        if (!isLoaded) kernel.load(world.engine);
        isLoaded = true;
        const { difference, model } = compareFrame(world.engine, kernel, frame, world.clock);
        if (difference !== null) {
          assert.fail(`input ${number + 1} of the corpus: ${describeDifference(frame, world.clock, difference)}`);
        }
        reached.add(model.outcome);
        packets++;
      });
    }
  } finally {
    kernel.close();
  }
  // When the generator of states changes, the packets meet others: then make a new corpus (fuzz.ts --fresh).
  assert.ok(reached.size >= OUTCOMES.length - 4, `only ${reached.size} of ${OUTCOMES.length} outcomes are reached`);
  context.diagnostic(`${packets} packets, ${reached.size} of ${OUTCOMES.length} outcomes`);
});
