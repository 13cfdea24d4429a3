/**
 * From observations to a steering map: one pure pipeline for production, `plan` and the simulator. Give it each interval's observations,
 * then ask for a decision as often as maps may change.
 */
import type { MeasuredMap, Observations, PrefixFacts } from './measured.ts';
import { NO_PREFIX, NO_SITE } from './measured.ts';
import type {
  CandidateExplanation,
  Decision,
  GroupExplanation,
  SteeringHealth,
  SteeringModel,
} from './measured-model.ts';
import { fibreRttMs } from './rtt/fibre.ts';

/** After this time an asker counts for 1/e. */
const QUERY_MEMORY_MS = 3_600_000;

export class MeasuredSteering {
  readonly model: SteeringModel;
  readonly facts: PrefixFacts;
  readonly seed: number;
  /** Asking prefix -> queries, faded. */
  readonly #askers = new Map<number, number>();
  #map: MeasuredMap = {
    version: 0,
    groups: new Uint32Array(0),
    classes: 0,
    site: new Uint16Array(0),
    splits: new Map(),
  };

  /** `seed`: of exploration; the same observations with the same seed give the same maps. */
  constructor(model: SteeringModel, facts: PrefixFacts, seed: number) {
    this.model = model;
    this.facts = facts;
    this.seed = seed;
  }

  /** Cost: by row. The columns are read at once and not kept. */
  observe(observations: Observations): void {
    const { queries, intervalMs } = observations;
    const keep = Math.exp(-intervalMs / QUERY_MEMORY_MS);
    for (const [asker, count] of this.#askers) this.#askers.set(asker, count * keep);
    for (let row = 0; row < queries.length; row++) {
      const asker = queries.subnet[row] === NO_PREFIX ? queries.resolver[row] : queries.subnet[row];
      const before = this.#askers.get(asker);
      if (before === undefined && this.#askers.size >= this.model.limits.groups) continue;
      this.#askers.set(asker, (before ?? 0) + queries.queries[row]);
    }
  }

  decide(_nowMs: number, health: SteeringHealth): Decision {
    const { model } = this;
    const classes = model.classes.length;
    const groups = Uint32Array.from(this.#askers.keys()).sort();
    const site = new Uint16Array(groups.length * classes);
    let sum = 0;
    let total = 0;
    const siteLoad = new Float64Array(model.sites.length);
    for (let g = 0; g < groups.length; g++) {
      const demand = (this.#askers.get(groups[g]) ?? 0) / classes;
      for (let c = 0; c < classes; c++) {
        const best = this.#nearest(groups[g], c, health);
        site[g * classes + c] = best;
        if (best === NO_SITE) continue;
        siteLoad[best] += demand;
        sum += demand * this.#rttMs(groups[g], best);
        total += demand;
      }
    }
    this.#map = { version: this.#map.version + 1, groups, classes, site, splits: new Map() };
    return {
      map: this.#map,
      stages: [],
      isComplete: true,
      siteLoad,
      linkLoad: new Float64Array(model.links.length),
      meanRttMs: total > 0 ? sum / total : 0,
      movedShare: 0,
      exploredShare: 0,
      reasons: [],
    };
  }

  /** Why a group has what it has; null: the group is not in the map. */
  explain(group: number, c: number): GroupExplanation | null {
    const at = this.#map.groups.indexOf(group);
    if (at < 0) return null;
    const chosen = this.#map.site[at * this.#map.classes + c];
    const candidates = this.model.classes[c].sites.map((site): CandidateExplanation => {
      const rttMs = this.#rttMs(group, site);
      return {
        site,
        rttMs,
        lowMs: 0,
        highMs: Infinity,
        source: 'distance',
        share: site === chosen ? 1 : 0,
        cost: rttMs,
        notes: [site === chosen ? 'chosen' : 'slower'],
      };
    });
    return {
      group,
      class: c,
      demand: this.#askers.get(group) ?? 0,
      places: [{ prefix: group, share: 1 }],
      candidates: candidates.sort((a, b) => a.cost - b.cost),
    };
  }

  /** All that was learned. Prefixes are in it by their numbers: whoever keeps it keeps their order too. */
  snapshot(): Uint8Array {
    return new TextEncoder().encode(JSON.stringify({ version: 1, askers: [...this.#askers] }));
  }

  /** False: this is no snapshot of this version; nothing has changed then. */
  restore(bytes: Uint8Array): boolean {
    try {
      const { version, askers } = JSON.parse(new TextDecoder().decode(bytes));
      if (version !== 1) return false;
      this.#askers.clear();
      for (const [asker, count] of askers as [number, number][]) this.#askers.set(asker, count);
      return true;
    } catch {
      return false;
    }
  }

  #rttMs(prefix: number, site: number): number {
    return fibreRttMs(this.facts.distanceKm(prefix, site));
  }

  #nearest(prefix: number, c: number, health: SteeringHealth): number {
    let best = NO_SITE;
    let least = Infinity;
    for (const site of this.model.classes[c].sites) {
      const ms = this.#rttMs(prefix, site);
      if (health.sites[site] <= 0 || ms >= least) continue;
      best = site;
      least = ms;
    }
    return best;
  }
}
