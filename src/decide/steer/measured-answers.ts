/**
 * From a measured map to what DNS is compiled from: asking prefixes as segments of addresses, each with a row of orders of sites, one for
 * each class. Rows and orders that say the same are one, so that neighbours merge and answers are few.
 */
import type { MeasuredAnswers, MeasuredOrder } from '../../config/steering-model.ts';
import { flattenPrefixes, PrefixColumns } from '../../net/address-segments.ts';
import { shareSegments } from '../../net/segment-overlay.ts';
import { type MeasuredMap, NO_SITE, type SiteShare } from './measured.ts';
import type { PrefixNumbers } from './prefix-numbers.ts';

/** Shares are told in 64ths: cycles of answers stay short, and plans few. */
const SHARE_PARTS = 64;
export const NO_ORDER = -1;

export interface AnswerSource {
  readonly map: MeasuredMap;
  readonly numbers: PrefixNumbers;
  /** By the numbers of the map. */
  readonly sites: readonly string[];
  /** Class by name of service. */
  readonly classes: ReadonlyMap<string, number>;
  /** By item: the site that comes next when the item's is not open; NO_SITE: nobody knows. */
  readonly second: Uint16Array;
  /** By place in `map.groups`: weight of the prefix, for queries that name a wider one. */
  readonly demand: Float64Array;
}

/** Cost: some passes over the groups; 0.1 s for 100,000 of them. Groups whose number is nobody's any more are left out. */
export function measuredAnswers({ map, numbers, sites, classes, second, demand }: AnswerSource): MeasuredAnswers {
  const orders = new Orders();
  const rows = new Rows(map.classes);
  const columns = { 4: new PrefixColumns(4), 6: new PrefixColumns(6) };
  const row = new Int32Array(map.classes);
  for (let group = 0; group < map.groups.length; group++) {
    const number = map.groups[group];
    if (!numbers.has(number)) continue;
    for (let c = 0; c < map.classes; c++) {
      const item = group * map.classes + c;
      row[c] = orders.numberOf(map.site[item], second[item], map.splits.get(item));
    }
    if (row.every((order) => order === NO_ORDER)) continue;
    const { address, length } = numbers.prefixOf(number);
    columns[address.family].add(address.bytes, 0, length, rows.numberOf(row), Math.max(demand[group], 1e-9));
  }
  return {
    version: map.version,
    groups: columns[4].count + columns[6].count,
    sites,
    classes,
    classCount: map.classes,
    orders: orders.list,
    rows: rows.shared(),
    ipv4: shareSegments(flattenPrefixes(columns[4])),
    ipv6: shareSegments(flattenPrefixes(columns[6])),
  };
}

/** What a service gets at a row of the answers; null: nothing was measured for it. */
export function orderAt(answers: MeasuredAnswers, row: number, c: number): MeasuredOrder | null {
  const order = answers.rows[row * answers.classCount + c];
  return order === NO_ORDER ? null : answers.orders[order];
}

class Orders {
  readonly list: MeasuredOrder[] = [];
  readonly #single = new Map<number, number>();
  readonly #split = new Map<string, number>();

  numberOf(site: number, second: number, split: readonly SiteShare[] | undefined): number {
    if (split !== undefined && split.length > 1) return this.#ofSplit(split);
    const first = split?.[0]?.site ?? site;
    if (first === NO_SITE) return NO_ORDER;
    const key = first * 0x1_0000 + second;
    let known = this.#single.get(key);
    if (known === undefined) {
      const sites = second === NO_SITE || second === first ? [first] : [first, second];
      known = this.list.push([{ sites, share: 1 }]) - 1;
      this.#single.set(key, known);
    }
    return known;
  }

  /** The largest part is what comes next when another's site is not open. */
  #ofSplit(split: readonly SiteShare[]): number {
    const parts = inParts(split);
    const key = parts.map(({ site, share }) => `${site} ${share}`).join();
    let known = this.#split.get(key);
    if (known === undefined) {
      const order = parts.map(({ site, share }, index) => {
        const next = parts[index === 0 ? 1 : 0]?.site;
        return { sites: next === undefined ? [site] : [site, next], share };
      });
      known = this.list.push(order) - 1;
      this.#split.set(key, known);
    }
    return known;
  }
}

/** Whole 64ths that add up to 1, the largest first, by largest remainders. Parts that round to nothing are left out. */
function inParts(split: readonly SiteShare[]): SiteShare[] {
  const sum = split.reduce((all, { share }) => all + share, 0);
  const exact = split.map(({ site, share }) => ({ site, exact: (share / sum) * SHARE_PARTS }));
  const counts = exact.map((one) => Math.floor(one.exact));
  let left = SHARE_PARTS - counts.reduce((all, count) => all + count, 0);
  const byRemainder = [...exact.keys()].sort((a, b) => exact[b].exact - counts[b] - (exact[a].exact - counts[a]));
  for (const index of byRemainder) if (left-- > 0) counts[index]++;
  const parts = exact.map(({ site }, index) => ({ site, share: counts[index] / SHARE_PARTS }));
  return parts.filter(({ share }) => share > 0).sort((a, b) => b.share - a.share || a.site - b.site);
}

/** Different rows of orders, in columns. */
class Rows {
  readonly #width: number;
  readonly #known = new Map<string, number>();
  #cells: Int32Array;

  constructor(width: number) {
    this.#width = width;
    this.#cells = new Int32Array(Math.max(1, width) * 64);
  }

  numberOf(row: Int32Array): number {
    const key = row.join();
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const number = this.#known.size;
    this.#known.set(key, number);
    if ((number + 1) * this.#width > this.#cells.length) {
      const larger = new Int32Array(this.#cells.length * 2);
      larger.set(this.#cells);
      this.#cells = larger;
    }
    this.#cells.set(row, number * this.#width);
    return number;
  }

  shared(): Int32Array {
    const length = this.#known.size * this.#width;
    const cells = new Int32Array(new SharedArrayBuffer(length * 4));
    cells.set(this.#cells.subarray(0, length));
    return cells;
  }
}
