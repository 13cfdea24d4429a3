/** Where a log goes. Never waits, never throws: what finds no room is dropped and counted. */
export interface LogSink {
  /** Whole frames or lines; kept until they are written. `records`: how many it holds. */
  write(chunk: Buffer, records: number): void;
  /** Writes what waits, as far as a second suffices. */
  close(): Promise<void>;
  readonly status: SinkStatus;
}

export interface SinkStatus {
  readonly target: string;
  readonly isOpen: boolean;
  /** Why it is not open, or was not; null: it always was. */
  readonly reason: string | null;
  /** Records, since the start. */
  readonly written: number;
  readonly dropped: number;
}

/** Bytes that wait for a receiver or a disk. */
export const MAX_WAITING_BYTES = 8 * 1024 * 1024;
export const CLOSE_LIMIT_MS = 1_000;

export interface SinkLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

interface Waiting {
  readonly chunk: Buffer;
  readonly records: number;
}

/** What waits to be written, in order, up to a limit. */
export class WaitingChunks {
  #chunks: Waiting[] = [];
  #bytes = 0;
  dropped = 0;

  add(chunk: Buffer, records: number): void {
    if (this.#bytes + chunk.length > MAX_WAITING_BYTES) {
      this.dropped += records;
      return;
    }
    this.#chunks.push({ chunk, records });
    this.#bytes += chunk.length;
  }

  /** All of it, as one. Null: there is nothing. */
  takeAll(): Waiting | null {
    if (this.#chunks.length === 0) return null;
    const all = this.#chunks;
    this.#chunks = [];
    this.#bytes = 0;
    return {
      chunk: all.length === 1 ? (all[0] as Waiting).chunk : Buffer.concat(all.map(({ chunk }) => chunk)),
      records: all.reduce((sum, { records }) => sum + records, 0),
    };
  }

  dropAll(): void {
    this.dropped += this.takeAll()?.records ?? 0;
  }
}
