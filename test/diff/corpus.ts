/**
 * Inputs of the differential test that are kept, because each reached something in the packet path that those before it did not:
 * found by `fuzz.ts`, run by `corpus.test.ts`. An input is a random state, by its seed, and packets that meet it in turn.
 */
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createDice } from './dice.ts';
import { createWorld, passTime, type World } from './world.ts';

const FOLDER = join(import.meta.dirname, 'corpus');
/** Of a file: large ones are hard to look at. */
const MAX_FILE_BYTES = 100_000;

export interface Input {
  /** Seed of the state, and of what time does between packets. */
  readonly world: number;
  readonly frames: readonly Uint8Array[];
}

/** Shorter runs of zeros stand as they are. */
const MIN_RUN = 4;

/** Hexadecimal, with `*N.` for N zeros in a row. */
export function toText(frame: Uint8Array): string {
  let text = '';
  for (let i = 0; i < frame.length; ) {
    let end = i;
    while (end < frame.length && frame[end] === 0) end++;
    if (end - i >= MIN_RUN) {
      text += `*${end - i}.`;
      i = end;
    } else {
      text += frame[i++].toString(16).padStart(2, '0');
    }
  }
  return text;
}

export function fromText(text: string): Uint8Array {
  const hex = text.replace(/\*(\d+)\./g, (_, zeros: string) => '00'.repeat(Number(zeros)));
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

/** One line each. */
export function readCorpus(): Input[] {
  const files = globSync('*.jsonl', { cwd: FOLDER }).sort();
  const lines = files.flatMap((file) => readFileSync(join(FOLDER, file), 'utf8').trim().split('\n'));
  return lines.map((line) => {
    const { world, frames } = JSON.parse(line) as { world: number; frames: string[] };
    return { world, frames: frames.map(fromText) };
  });
}

export function writeCorpus(inputs: readonly Input[]): void {
  const lines = inputs.map(({ world, frames }) => JSON.stringify({ world, frames: frames.map(toText) }));
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER);
  for (let [number, at] = [1, 0]; at < lines.length; number++) {
    let text = '';
    do text += `${lines[at++]}\n`;
    while (at < lines.length && text.length + lines[at].length < MAX_FILE_BYTES);
    writeFileSync(join(FOLDER, `${number}.jsonl`), text);
  }
}

/** Calls `run` for each packet of the input, with the state as it then is. */
export function runInput({ world: seed, frames }: Input, run: (world: World, frame: Uint8Array) => void): void {
  const dice = createDice(seed);
  const world = createWorld(dice);
  for (const frame of frames) {
    passTime(dice, world);
    run(world, frame);
  }
}
