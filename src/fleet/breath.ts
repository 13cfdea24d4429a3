/** Long work in pieces: timers, answers and packets of the slow path wait for no more than one piece. */
import { setImmediate as turn } from 'node:timers/promises';

const PIECE_MS = 10;

export class Breath {
  #sinceMs = performance.now();

  /** Call between steps: lets others have their turn when it is time. */
  async take(): Promise<void> {
    if (performance.now() - this.#sinceMs < PIECE_MS) return;
    await turn();
    this.#sinceMs = performance.now();
  }
}
