/**
 * Divides a whole number of slots by weights: the method of largest remainders. Everybody gets the whole part of what is due,
 * and the slots that are left go, one each, to the largest fractions; equal fractions go by order. So every count is less than
 * one away from what is due, and equal weights differ by at most one.
 */

/**
 * Writes to `counts` how many of `slots` (at least 1) each of `weights` (finite, above 0) gets; the counts add up to `slots`.
 * Both arrays have the same length, at least 1. The arithmetic is IEEE double in the order given, so it is the same on every
 * machine. Cost: a sort of the weights when they differ.
 */
export function apportionSlots(slots: number, weights: Float64Array, counts: Uint32Array): void {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) sum += weights[i] as number;
  let left = slots;
  const fractions = new Float64Array(weights.length);
  for (let i = 0; i < weights.length; i++) {
    const due = slots * ((weights[i] as number) / sum);
    const whole = Math.floor(due);
    counts[i] = whole;
    fractions[i] = due - whole;
    left -= whole;
  }
  const order = Uint32Array.from(weights.keys());
  if (fractions.some((fraction) => fraction !== fractions[0])) {
    order.sort((a, b) => (fractions[b] as number) - (fractions[a] as number) || a - b);
  }
  // Rounding can leave one slot more than there are members, or take one too many; going round again settles both.
  const step = left < 0 ? -1 : 1;
  for (let turn = 0; left !== 0; turn++) {
    const i = order[step > 0 ? turn % order.length : order.length - 1 - (turn % order.length)] as number;
    if (step < 0 && counts[i] === 0) continue;
    counts[i] = (counts[i] as number) + step;
    left -= step;
  }
}
