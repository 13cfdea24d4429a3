/** Which backends of a site are drained, by the operator or by the file, and when their last flows are given up. */
import type { Config } from '../config/model.ts';

export interface DrainDeadline {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  /** The time that the file gave when this was set; null: the operator did, or an earlier version that did not note it. */
  readonly fileMs: number | null;
}

export class SiteDrains {
  /** Those of the operator. */
  readonly byOperator = new Set<string>();
  readonly #site: string;
  readonly #wallMs: () => number;
  readonly #deadlines = new Map<string, DrainDeadline>();
  /** Drains whose end has been told. */
  readonly #told = new Set<string>();
  #byFile: ReadonlySet<string> = new Set();

  constructor(site: string, wallMs: () => number) {
    this.#site = site;
    this.#wallMs = wallMs;
  }

  get deadlines(): ReadonlyMap<string, DrainDeadline> {
    return this.#deadlines;
  }

  isDrained(backend: string): boolean {
    return this.byOperator.has(backend) || this.#byFile.has(backend);
  }

  /** It is drained, and the time for that is over. */
  isGivenUp(backend: string): boolean {
    return (
      this.isDrained(backend) && this.#wallMs() >= (this.#deadlines.get(backend)?.atMs ?? Number.POSITIVE_INFINITY)
    );
  }

  /** The operator drains a backend, with the time that it has (null: all that it needs), or takes that back. */
  set(backend: string, drained: boolean, deadlineMs: number | null): void {
    if (drained) this.byOperator.add(backend);
    else this.byOperator.delete(backend);
    const atMs = this.#wallMs() + (deadlineMs ?? 0);
    this.setDeadline(backend, drained && deadlineMs !== null ? { atMs, fileMs: null } : null);
  }

  setDeadline(backend: string, deadline: DrainDeadline | null): void {
    this.#told.delete(backend);
    if (deadline === null) this.#deadlines.delete(backend);
    else this.#deadlines.set(backend, deadline);
  }

  /**
   * Drains of backends that are gone end; those of the file begin, with their deadlines. One that the file changes counts from when
   * its drain began.
   */
  follow(config: Config): void {
    const here = [...config.backends.values()].filter(({ site }) => site === this.#site);
    this.#byFile = new Set(here.filter(({ drain }) => drain).map(({ name }) => name));
    for (const name of this.byOperator) if (!config.backends.has(name)) this.byOperator.delete(name);
    for (const name of [...this.#deadlines.keys()]) if (!this.isDrained(name)) this.setDeadline(name, null);
    for (const { name, drain, drainDeadlineMs } of here) if (drain) this.#followFile(name, drainDeadlineMs);
  }

  #followFile(backend: string, fileMs: number | null): void {
    const known = this.#deadlines.get(backend);
    // What the operator has said counts.
    if (known?.fileMs === null && this.byOperator.has(backend)) return;
    if (fileMs === null) {
      if (known !== undefined) this.setDeadline(backend, null);
      return;
    }
    const beganMs = known === undefined ? this.#wallMs() : known.atMs - (known.fileMs ?? fileMs);
    const atMs = beganMs + fileMs;
    if (known?.atMs !== atMs || known.fileMs !== fileMs) this.setDeadline(backend, { atMs, fileMs });
  }

  /** Backends whose time has come since the last call. */
  takeOver(): string[] {
    const over = [...this.#deadlines.keys()].filter((name) => this.isGivenUp(name) && !this.#told.has(name));
    for (const backend of over) this.#told.add(backend);
    return over;
  }
}
