import type { Config } from '../config/model.ts';
import type { SteeringState } from '../config/steering-model.ts';
import type { Runtime } from '../fleet/runtime.ts';
import type { Journal } from './journal.ts';
import type { ApiResult } from './source.ts';

/** What the API of a running fleet is made of. */
export interface FleetSourceOptions {
  readonly runtime: Runtime;
  readonly journal: Journal;
  /** Reads the configuration again, with what steering knows besides it; null: there is no file to read. */
  readonly load: ((state: SteeringState) => Promise<ApiResult<Config>>) | null;
}
