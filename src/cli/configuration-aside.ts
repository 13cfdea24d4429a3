/** The configuration read by a thread of its own: files with a million networks take seconds, which queries would wait. */
import { Worker } from 'node:worker_threads';
import type { ApiResult } from '../api/source.ts';
import type { Config } from '../config/model.ts';
import type { SteeringState } from '../config/steering-model.ts';

export interface LoadOrder {
  readonly file: string;
  readonly state: SteeringState;
}

export type LoadNews = { readonly ok: true; readonly config: Config } | { readonly ok: false; readonly error: string };

/** As `loadConfig`, with the steering state that counts. Maps from prefixes to plans are made by the thread too, and come in shared memory. */
export function loadConfigAside(file: string, state: SteeringState): Promise<ApiResult<Config>> {
  const remedy = `portico check ${file} names every error`;
  return new Promise((resolve) => {
    const worker = new Worker(new URL('./configuration-worker.ts', import.meta.url), {
      workerData: { file, state } satisfies LoadOrder,
    });
    worker.on('message', (news: LoadNews) => {
      resolve(news.ok ? { ok: true, value: news.config } : { ok: false, error: news.error, remedy });
    });
    worker.on('error', (error) => {
      const reason = error instanceof Error ? error.message : String(error);
      resolve({ ok: false, error: `the configuration could not be read: ${reason}`, remedy });
    });
    // After a message it comes too late to matter.
    worker.on('exit', () => resolve({ ok: false, error: 'the configuration could not be read', remedy }));
  });
}
