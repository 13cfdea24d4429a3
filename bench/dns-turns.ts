/** Nanoseconds that the kernel program takes for a query, by test-run: many different queries in turn, the cost of making them taken off. */
import { type RunResult, runProgram, updateElement } from '../src/serve/vip/bpf.ts';
import { mapMemory } from '../src/serve/vip/libc.ts';
import { BpfObject } from '../src/serve/vip/object.ts';

const FRAME_BYTES = 248;
const ELEMENT_BYTES = FRAME_BYTES + 8;

export interface TurnResult {
  /** Of each round. */
  readonly ns: readonly number[];
  /** Of the last turn: another than `tx` is no measurement. */
  readonly verdict: string;
}

/** One object each for the program and for nothing: changing its target would wait for the kernel's grace period. */
class Turn {
  readonly #object: BpfObject;

  constructor(objects: string, frames: readonly Uint8Array[], targetFd: number | null) {
    this.#object = new BpfObject(`${objects}/dns-turn.bpf.o`);
    this.#object.setMaxEntries('frames', frames.length);
    const constants = this.#object.initialValue('.rodata');
    new DataView(constants.buffer, constants.byteOffset).setUint32(0, frames.length - 1, true);
    this.#object.load();
    const memory = mapMemory(this.#object.mapFd('frames'), frames.length * ELEMENT_BYTES, 'map frames');
    const view = new DataView(memory.buffer);
    for (const [index, frame] of frames.entries()) {
      view.setUint32(index * ELEMENT_BYTES, frame.length, true);
      new Uint8Array(memory.buffer).set(frame, index * ELEMENT_BYTES + 8);
    }
    memory.unmap();
    const fd = new Uint32Array([targetFd ?? this.#object.programFd('nothing')]);
    updateElement(this.#object.mapFd('target'), new Uint8Array(4), new Uint8Array(fd.buffer));
  }

  run(frame: Uint8Array, repeat: number): RunResult {
    return runProgram(this.#object.programFd('turn'), frame, { repeat });
  }

  close(): void {
    this.#object.close();
  }
}

/** `frames`: a power of two of them. Short runs in turns, those of a round right behind each other. */
export function timeTurns(
  objects: string,
  programFd: number,
  frames: readonly Uint8Array[],
  repeat: number,
  rounds: number,
): TurnResult {
  const idle = new Turn(objects, frames, null);
  const whole = new Turn(objects, frames, programFd);
  try {
    const ns: number[] = [];
    let verdict: string = '';
    for (let round = -1; round < rounds; round++) {
      const idleNs = idle.run(frames[0], repeat).durationNs;
      const result = whole.run(frames[0], repeat);
      verdict = result.verdict;
      // The first brings tables into caches.
      if (round >= 0) ns.push(result.durationNs - idleNs);
    }
    return { ns, verdict };
  } finally {
    idle.close();
    whole.close();
  }
}
