/** How close a service is to the limits above which nothing more is tracked for it; and its adoption time. */
import { PressureView } from './layout.gen.ts';

export interface Pressure {
  /** Flows tracked in the running second (2^30 ns). */
  readonly inSecond: number;
  /** Flows tracked within a lifetime: the last four quarters of it. */
  readonly inLifetime: number;
}

/** Of a window word: which window in the upper 32 bits, how many in the lower. */
function countIn(word: bigint, isCurrent: (window: number) => boolean): number {
  return isCurrent(Number(word >> 32n)) ? Number(word & 0xffffffffn) : 0;
}

/** Over the map `pressures`, by subject. */
export class PressureReader {
  readonly #view: PressureView;

  constructor(buffer: ArrayBuffer) {
    this.#view = new PressureView(buffer);
  }

  /** `lifetimeTicks` as in the service's fields; `nowNs` by the programs' clock. */
  read(subject: number, lifetimeTicks: number, nowNs: bigint): Pressure {
    const view = this.#view.at(subject);
    const second = Number((nowNs >> 30n) & 0xffffffffn);
    const period = Math.floor(Number(nowNs >> 32n) / Math.max(1, Math.floor(lifetimeTicks / 4)));
    let inLifetime = 0;
    for (let i = 0; i < 4; i++) inLifetime += countIn(view.period(i), (window) => period - window < 4);
    return { inSecond: countIn(view.second, (window) => window === second), inLifetime };
  }

  /** UDP: in unsettled slots unknown flows count as old until then; the low 32 bits of `clock >> FINE_SHIFT`. */
  setAdoptUntil(subject: number, deadline: number): void {
    this.#view.at(subject).adoptUntil = deadline;
  }

  adoptUntil(subject: number): number {
    return this.#view.at(subject).adoptUntil;
  }

  /** How long a UDP flow that could not be tracked prolongs that time: `clock >> FINE_SHIFT`. */
  setAdoptFor(subject: number, duration: number): void {
    this.#view.at(subject).adoptFor = duration;
  }

  /** Length of the pick table. */
  setPicks(subject: number, picks: number): void {
    this.#view.at(subject).picks = picks;
  }

  picks(subject: number): number {
    return this.#view.at(subject).picks;
  }

  clear(subject: number): void {
    const view = this.#view.at(subject);
    view.memory.fill(0, view.start, view.start + view.strideBytes);
  }
}
