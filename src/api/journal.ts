/** What happens, once told: to the log, and to everybody who watches. */
import type { Log } from '../fleet/log.ts';
import type { StateChange } from './source.ts';

type Level = StateChange['level'];

export class Journal implements Log {
  readonly #log: Log;
  readonly #listeners = new Set<(change: StateChange) => void>();

  constructor(log: Log) {
    this.#log = log;
  }

  info(fields: object, message: string): void {
    this.#log.info(fields, message);
    this.#tell('info', fields, message);
  }

  warn(fields: object, message: string): void {
    this.#log.warn(fields, message);
    this.#tell('warn', fields, message);
  }

  error(fields: object, message: string): void {
    this.#log.error(fields, message);
    this.#tell('error', fields, message);
  }

  #tell(level: Level, fields: object, message: string): void {
    if (this.#listeners.size === 0) return;
    const plain = Object.entries(fields).map(([name, value]) => [
      name,
      value === null || ['string', 'number', 'boolean'].includes(typeof value) ? value : String(value),
    ]);
    const change: StateChange = { atMs: Date.now(), level, message, fields: Object.fromEntries(plain) };
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        // Whoever watches must not hold up what happens.
        this.#listeners.delete(listener);
        this.#log.error({ reason: (error as Error).message }, 'a watcher of events failed and gets no more');
      }
    }
  }

  subscribe(listener: (change: StateChange) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
