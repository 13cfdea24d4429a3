/** Nanoseconds that the kernel program takes for a query, by test-run: many different queries in turn, the cost of making them taken off. */
import { runProgram, updateElement } from '../src/serve/vip/bpf.ts';
import { mapMemory } from '../src/serve/vip/libc.ts';
import { BpfObject } from '../src/serve/vip/object.ts';

const FRAME_BYTES = 248;
const ELEMENT_BYTES = FRAME_BYTES + 8;

export interface TurnResult {
  readonly ns: number;
  /** Of the runs, the share that the program answered; less than 1: it is no measurement. */
  readonly verdict: string;
}

/** `frames`: a power of two of them. Best of `rounds`. */
export function timeTurns(
  objects: string,
  programFd: number,
  frames: readonly Uint8Array[],
  turns = 20_000,
  rounds = 60,
): TurnResult {
  const object = new BpfObject(`${objects}/dns-turn.bpf.o`);
  try {
    object.setMaxEntries('frames', frames.length);
    new DataView(object.initialValue('.rodata').buffer, object.initialValue('.rodata').byteOffset).setUint32(
      0,
      frames.length - 1,
      true,
    );
    object.load();
    const memory = mapMemory(object.mapFd('frames'), frames.length * ELEMENT_BYTES, 'map frames');
    const view = new DataView(memory.buffer);
    for (const [index, frame] of frames.entries()) {
      view.setUint32(index * ELEMENT_BYTES, frame.length, true);
      new Uint8Array(memory.buffer).set(frame, index * ELEMENT_BYTES + 8);
    }
    const measure = (fd: number) => {
      updateElement(object.mapFd('target'), new Uint8Array(4), new Uint8Array(new Uint32Array([fd]).buffer));
      return runProgram(object.programFd('turn'), frames[0], { repeat: turns });
    };
    let idle = Number.POSITIVE_INFINITY;
    let whole = Number.POSITIVE_INFINITY;
    let verdict = '';
    // Short runs in turns, and the best of each: other work on the machine falls into some of them only.
    for (let round = 0; round < rounds; round++) {
      idle = Math.min(idle, measure(object.programFd('nothing')).durationNs);
      const result = measure(programFd);
      verdict = result.verdict;
      whole = Math.min(whole, result.durationNs);
    }
    memory.unmap();
    return { ns: whole - idle, verdict };
  } finally {
    object.close();
  }
}
