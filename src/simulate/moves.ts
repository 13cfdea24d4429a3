/** What maps moved: shares of the true demand, streams between sites, and prefixes that were sent far away without a cause. */
import { distanceKm } from '../decide/steer/distance.ts';
import { NO_SITE, type SiteShare } from '../decide/steer/measured.ts';
import type { Answers } from './answers.ts';
import type { Partition } from './partition.ts';
import type { ChurnResult, MoveResult } from './report/result.ts';
import type { Snapshot } from './snapshot.ts';
import type { World } from './types.ts';

export const FAR_KM = 1000;
const HOUR_MS = 3_600_000;
/** Streams that are told. */
const STREAMS = 40;

export class Moves {
  readonly #world: World;
  readonly #partition: Partition;
  readonly #services: number;
  /** [group * services + service]: where most of it goes; and all shares, of what is split. */
  readonly #site: Uint16Array;
  #splits = new Map<number, readonly SiteShare[]>();
  /** [group * services + service]: share of all demand. */
  #demand: Float64Array;
  readonly #isFar: Uint8Array;
  /** [from * sites + to]. */
  readonly #streams: Float64Array;
  readonly #perHour: number[] = [];
  /** Hours that an event explains. */
  readonly #loud: boolean[] = [];
  /** [group]: 1: went far without a cause today. */
  readonly #wentFar: Uint8Array;
  readonly #mainGroup: Uint32Array;
  #day = 0;
  #prefixDays = 0;
  #far = 0;

  constructor(world: World, partition: Partition) {
    this.#world = world;
    this.#partition = partition;
    this.#services = world.parameters.services.length;
    const items = partition.groups * this.#services;
    this.#site = new Uint16Array(items).fill(NO_SITE);
    this.#demand = new Float64Array(items);
    this.#streams = new Float64Array(world.sites.length ** 2);
    this.#wentFar = new Uint8Array(partition.groups);
    this.#isFar = farSites(world);
    this.#mainGroup = mainGroups(world, partition);
  }

  /** By which demand moves are weighed from now on. */
  weigh({ demand, services, total }: Snapshot): void {
    const { groupOfPair } = this.#partition;
    const { pairPrefix } = this.#world;
    this.#demand = new Float64Array(this.#demand.length);
    for (let pair = 0; pair < groupOfPair.length; pair++) {
      const share = this.#world.pairShare[pair] / total;
      for (let service = 0; service < services; service++)
        this.#demand[groupOfPair[pair] * services + service] += demand[pairPrefix[pair] * services + service] * share;
    }
  }

  /** After answers changed. `counts`: far moves without a cause are counted. Gives the share of the demand that moved. */
  record(nowMs: number, answers: Answers, isExplained: boolean, counts: boolean): number {
    const hour = Math.floor(nowMs / HOUR_MS);
    while (this.#perHour.length <= hour) {
      this.#perHour.push(0);
      this.#loud.push(false);
    }
    this.#loud[hour] ||= isExplained;
    this.#beginDay(Math.floor(hour / 24));
    const splits = new Map<number, readonly SiteShare[]>();
    let moved = 0;
    for (let group = 0, item = 0; group < this.#partition.groups; group++) {
      for (let service = 0; service < this.#services; service++, item++) {
        const asker = this.#partition.asker[group];
        const shares = answers.sharesOf(asker, service);
        if (shares !== undefined) splits.set(item, shares);
        moved += this.#recordItem(item, group, answers.mainSite(asker, service), shares, counts && !isExplained);
      }
    }
    this.#splits = splits;
    this.#perHour[hour] += moved;
    return moved;
  }

  #recordItem(
    item: number,
    group: number,
    site: number,
    shares: readonly SiteShare[] | undefined,
    counts: boolean,
  ): number {
    const before = this.#site[item];
    const sharesBefore = this.#splits.get(item);
    this.#site[item] = site;
    if (before === NO_SITE || (before === site && shares === undefined && sharesBefore === undefined)) return 0;
    const share = movedShare(before, sharesBefore, site, shares);
    const demand = this.#demand[item] * share;
    if (before !== site && site !== NO_SITE) {
      const stream = before * this.#world.sites.length + site;
      this.#streams[stream] += demand;
      if (counts && this.#isFar[stream] === 1) this.#wentFar[group] = 1;
    }
    return demand;
  }

  #beginDay(day: number): void {
    while (this.#day < day) {
      this.#endDay();
      this.#day++;
    }
  }

  #endDay(): void {
    for (let prefix = 0; prefix < this.#world.users; prefix++) {
      this.#prefixDays++;
      this.#far += this.#wentFar[this.#mainGroup[prefix]];
    }
    this.#wentFar.fill(0);
  }

  /** Once, at the end of the run. */
  result(hours: number): { churn: ChurnResult; moves: MoveResult } {
    this.#endDay();
    const count = Math.ceil(hours);
    const perHour = Array.from({ length: count }, (_, hour) => this.#perHour[hour] ?? 0);
    const later = perHour.slice(1);
    const quiet = later.filter((_, index) => this.#loud[index + 1] !== true);
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / (values.length || 1);
    return {
      churn: { perHour, quietPerHour: mean(quiet), meanPerHour: mean(later) },
      moves: { prefixDays: this.#prefixDays, farUnexplained: this.#far, streams: this.#largestStreams() },
    };
  }

  #largestStreams() {
    const sites = this.#world.sites.length;
    const streams = Array.from(this.#streams, (share, at) => ({ from: Math.floor(at / sites), to: at % sites, share }));
    return streams
      .filter(({ share }) => share > 0)
      .sort((a, b) => b.share - a.share)
      .slice(0, STREAMS);
  }
}

/** Half of the sum of differences: 1 when nothing stays. */
function movedShare(
  site: number,
  shares: readonly SiteShare[] | undefined,
  nextSite: number,
  nextShares: readonly SiteShare[] | undefined,
): number {
  const before = shares ?? [{ site, share: 1 }];
  const after = nextShares ?? [{ site: nextSite, share: 1 }];
  let kept = 0;
  for (const one of before)
    for (const other of after) if (one.site === other.site) kept += Math.min(one.share, other.share);
  return Math.max(0, 1 - kept);
}

/** [from * sites + to]: 1: more than 1,000 km apart. */
function farSites({ sites }: World): Uint8Array {
  return Uint8Array.from({ length: sites.length ** 2 }, (_, at) => {
    const [from, to] = [sites[Math.floor(at / sites.length)], sites[at % sites.length]];
    return distanceKm(from.location, to.location) > FAR_KM ? 1 : 0;
  });
}

/** [user prefix]: the group that most of its demand is in. */
function mainGroups({ users, pairsOf, pairShare }: World, { groupOfPair }: Partition): Uint32Array {
  return Uint32Array.from({ length: users }, (_, prefix) => {
    const shares = new Map<number, number>();
    for (let pair = pairsOf[prefix]; pair < pairsOf[prefix + 1]; pair++)
      shares.set(groupOfPair[pair], (shares.get(groupOfPair[pair]) ?? 0) + pairShare[pair]);
    let best = 0;
    for (const [group, share] of shares) if (share > (shares.get(best) ?? -1)) best = group;
    return best;
  });
}
