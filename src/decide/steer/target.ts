/** Where each group should be, by estimates, capacities and what classes want. */
import type { SteeredGroups } from './demand/groups.ts';
import { NO_SITE, type SiteShare } from './measured.ts';
import type { StageSummary, SteeringModel } from './measured-model.ts';

export interface TargetInput {
  readonly model: SteeringModel;
  readonly groups: SteeredGroups;
  /** [group * sites + site]. */
  readonly rttMs: Float32Array;
  /** [class * sites + site]: 0: down, or does not serve. */
  readonly up: Uint8Array;
  /** [site], [link]: as they are now. */
  readonly siteCapacity: Float64Array;
  readonly linkCapacity: Float64Array;
  readonly linkBackground: Float64Array;
  readonly paths: Int32Array;
  /** [class]. */
  readonly bitsPerConnection: Float64Array;
  /** [item]: site that has it; NO_SITE: none. */
  readonly previous: Uint16Array;
  /** Of CPU, for the limit of a solve. */
  readonly clock: () => number;
}

export interface Target {
  /** [item]; NO_SITE: none serves it. */
  readonly site: Uint16Array;
  readonly splits: ReadonlyMap<number, readonly SiteShare[]>;
  readonly stages: readonly StageSummary[];
  readonly isComplete: boolean;
  /** [item class kind]: milliseconds that a site's or link's scarcity adds. */
  readonly sitePriceMs: Float64Array;
}

export function nearestTarget({ model, groups, rttMs, up }: TargetInput): Target {
  const sites = model.sites.length;
  const classes = model.classes.length;
  const site = new Uint16Array(groups.ids.length * classes).fill(NO_SITE);
  for (let g = 0; g < groups.ids.length; g++) {
    for (let c = 0; c < classes; c++) {
      let least = Infinity;
      for (let s = 0; s < sites; s++) {
        if (up[c * sites + s] === 0 || rttMs[g * sites + s] >= least) continue;
        least = rttMs[g * sites + s];
        site[g * classes + c] = s;
      }
    }
  }
  return { site, splits: new Map(), stages: [], isComplete: true, sitePriceMs: new Float64Array(sites) };
}
