/** The thread of `configuration-aside.ts`. */
import { parentPort, workerData } from 'node:worker_threads';
import { loadConfig } from './configuration.ts';
import type { LoadNews, LoadOrder } from './configuration-aside.ts';

function load({ file, state }: LoadOrder): LoadNews {
  try {
    return { ok: true, config: loadConfig(file, state) };
  } catch (error) {
    return { ok: false, error: (error as Error).message };
  }
}

parentPort?.postMessage(load(workerData as LoadOrder));
