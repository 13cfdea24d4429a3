/** The order in which round robin gives new flows to backends. */
import { apportionSlots } from './apportion.ts';

export interface Turn {
  readonly name: string;
  /** 1 to 4095. */
  readonly index: number;
  /** Above 0; only proportions matter. */
  readonly weight: number;
}

/**
 * One round of turns, smooth: a member of weight 5 among two of weight 1 has its turns spread over the round. Whole weights that
 * add up to at most `limit` (after division by what divides them all) have exactly that many turns, others the share of `limit`
 * turns nearest to theirs. By name, so that every balancer has the same order. Without members: empty. `limit` is at least the
 * number of members. Cost: members x turns where weights differ.
 */
export function pickOrder(members: readonly Turn[], limit: number): Uint16Array {
  const sorted = [...members].sort((a, b) => (a.name < b.name ? -1 : 1));
  const counts = turnsOf(sorted, limit);
  const turns = counts.reduce((sum, count) => sum + count, 0);
  if (turns === sorted.length) return Uint16Array.from(sorted, ({ index }) => index);
  const order = new Uint16Array(turns);
  const credit = new Float64Array(sorted.length);
  for (let turn = 0; turn < turns; turn++) {
    let next = 0;
    for (let i = 0; i < sorted.length; i++) {
      credit[i] = (credit[i] as number) + (counts[i] as number);
      if ((credit[i] as number) > (credit[next] as number)) next = i;
    }
    credit[next] = (credit[next] as number) - turns;
    order[turn] = sorted[next]?.index ?? 0;
  }
  return order;
}

function turnsOf(sorted: readonly Turn[], limit: number): Uint32Array {
  const weights = Float64Array.from(sorted, ({ weight }) => weight);
  if (weights.every((weight) => weight === weights[0])) return new Uint32Array(sorted.length).fill(1);
  if (weights.every(Number.isInteger)) {
    const divisor = weights.reduce(commonDivisor);
    const sum = weights.reduce((all, weight) => all + weight / divisor, 0);
    if (sum <= limit) return Uint32Array.from(weights, (weight) => weight / divisor);
  }
  const counts = new Uint32Array(sorted.length);
  apportionSlots(limit, weights, counts);
  return counts;
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}
