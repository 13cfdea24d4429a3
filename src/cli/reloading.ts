/** When a running process takes its configuration over again. */
import type { FleetSource } from '../api/fleet-source.ts';
import type { Journal } from '../api/journal.ts';
import type { Config } from '../config/model.ts';
import type { Runtime } from '../fleet/runtime.ts';
import { locationPaths } from '../serve/dns/locations/load.ts';
import { zonePaths } from '../serve/dns/zone-file/load.ts';
import { type FileWatch, watchFiles } from './file-watch.ts';

/**
 * Reads the file again when told to, or when it, a zone file or a file of locations changes: one at a time, and once more for all that came
 * meanwhile.
 */
export class Reloading {
  readonly #source: FleetSource;
  readonly #runtime: Runtime;
  readonly #log: Journal;
  readonly #file: string;
  readonly #began: Config;
  readonly #watch: FileWatch;
  #isRunning = false;
  #isWanted = false;

  constructor(source: FleetSource, runtime: Runtime, log: Journal, file: string) {
    this.#source = source;
    this.#runtime = runtime;
    this.#log = log;
    this.#file = file;
    this.#began = runtime.config;
    const tell = (folder: string, reason: string) => {
      log.warn({ folder, reason }, 'files there are not watched; SIGHUP reloads them');
    };
    this.#watch = watchFiles(() => this.reload(), tell);
    this.#follow();
  }

  reload(): void {
    this.#isWanted = true;
    if (!this.#isRunning) void this.#run();
  }

  close(): void {
    this.#isWanted = false;
    this.#watch.close();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#isWanted) {
      this.#isWanted = false;
      const result = await this.#source.reload();
      if (!result.ok) continue;
      this.#follow();
      const { api } = this.#runtime.config;
      if (api.host !== this.#began.api.host || api.port !== this.#began.api.port)
        this.#log.warn({}, 'the address of the API changes with the next start only');
    }
    this.#isRunning = false;
  }

  #follow(): void {
    const { config } = this.#runtime;
    this.#watch.follow([this.#file, ...locationPaths(config, this.#file), ...zonePaths(config, this.#file)]);
  }
}
