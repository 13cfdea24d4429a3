/** A file that begins anew at a size: FILE, the one before is FILE.1, and so on. A disk that fails loses records, counted, and nothing else. */
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CLOSE_LIMIT_MS, type LogSink, type SinkLog, type SinkStatus, WaitingChunks } from './sink.ts';

export interface RotatedFileOptions {
  readonly path: string;
  /** A chunk is never cut, so a file may have one chunk more. */
  readonly maxBytes: number;
  /** Files besides the one that is written. */
  readonly keep: number;
  /** Begins each file. Where it is not empty, files are not continued by the next process. */
  readonly head: Buffer;
  /** Ends each. */
  readonly tail: Buffer;
  readonly log: SinkLog;
}

const RETRY_MS = 1_000;

export class RotatedFile implements LogSink {
  readonly #options: RotatedFileOptions;
  readonly #waiting = new WaitingChunks();
  #file: FileHandle | null = null;
  #fileBytes = 0;
  #pumping: Promise<void> | null = null;
  #isClosing = false;
  #failedMs = Number.NEGATIVE_INFINITY;
  #reason: string | null = null;
  #isTold = false;
  #written = 0;
  #lost = 0;

  constructor(options: RotatedFileOptions) {
    this.#options = options;
  }

  get status(): SinkStatus {
    return {
      target: this.#options.path,
      isOpen: !this.#isTold,
      reason: this.#reason,
      written: this.#written,
      dropped: this.#waiting.dropped + this.#lost,
    };
  }

  write(chunk: Buffer, records: number): void {
    this.#waiting.add(chunk, records);
    if (performance.now() - this.#failedMs >= RETRY_MS) this.#pumping ??= this.#pump();
  }

  async #pump(): Promise<void> {
    for (let all = this.#waiting.takeAll(); all !== null; all = this.#waiting.takeAll()) {
      try {
        await this.#append(all.chunk);
        this.#written += all.records;
        this.#isTold = false;
      } catch (error) {
        this.#lost += all.records;
        this.#fail((error as Error).message);
        break;
      }
    }
    this.#pumping = null;
  }

  async #append(chunk: Buffer): Promise<void> {
    const { head, maxBytes } = this.#options;
    if (this.#file !== null && this.#fileBytes + chunk.length > maxBytes && this.#fileBytes > head.length)
      await this.#end();
    this.#file ??= await this.#begin();
    await this.#file.appendFile(chunk);
    this.#fileBytes += chunk.length;
  }

  async #begin(): Promise<FileHandle> {
    const { path, head, maxBytes } = this.#options;
    await mkdir(dirname(path), { recursive: true });
    let file = await open(path, 'a', 0o640);
    this.#fileBytes = (await file.stat()).size;
    if (this.#fileBytes >= maxBytes || (head.length > 0 && this.#fileBytes > 0)) {
      await file.close();
      await this.#rotate();
      file = await open(path, 'a', 0o640);
      this.#fileBytes = 0;
    }
    if (this.#fileBytes === 0) {
      await file.appendFile(head);
      this.#fileBytes = head.length;
    }
    return file;
  }

  /** Ends the file and makes it the one before. */
  async #end(): Promise<void> {
    await this.#closeFile();
    await this.#rotate();
  }

  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    if (file === null) return;
    try {
      await file.appendFile(this.#options.tail);
    } finally {
      await file.close();
    }
  }

  async #rotate(): Promise<void> {
    const { path, keep } = this.#options;
    if (keep === 0) {
      await rm(path, { force: true });
      return;
    }
    for (let i = keep - 1; i >= 0; i--) {
      const from = i === 0 ? path : `${path}.${i}`;
      await rename(from, `${path}.${i + 1}`).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
    }
  }

  #fail(reason: string): void {
    this.#failedMs = performance.now();
    this.#reason = reason;
    if (!this.#isTold)
      this.#options.log.warn({ file: this.#options.path, reason }, 'query log: the file cannot be written');
    this.#isTold = true;
    void this.#file?.close().catch(() => {});
    this.#file = null;
  }

  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#pumping ??= this.#pump();
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_LIMIT_MS);
    });
    await Promise.race([this.#pumping.then(() => this.#closeFile()).catch(() => {}), limit]);
    clearTimeout(timer);
    this.#waiting.dropAll();
  }
}
