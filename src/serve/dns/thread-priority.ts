/** Who answers goes before who prepares: on Linux the priority that is set is the calling thread's (setpriority(2)). */
import { setPriority } from 'node:os';

const ANSWERING = -5;
const PREPARING = 10;

/** Only who may raise it again lowers it. */
const mayRaise = process.getuid?.() === 0;

export function prepareInBackground(): void {
  set(0, PREPARING);
}

export function answerFirst(): void {
  set(0, ANSWERING);
}

/** The main thread of another process; those that it starts inherit it. */
export function startInBackground(pid: number): void {
  set(pid, PREPARING);
}

function set(pid: number, priority: number): void {
  if (!mayRaise) return;
  try {
    setPriority(pid, priority);
  } catch {
    // A container may forbid it: then all are alike.
  }
}
