/** Primes near a number: a Maglev table needs a prime size. */

/** By division; up to 2^32 that is at most 32,768 steps. */
export function isPrime(candidate: number): boolean {
  if (candidate < 4) return candidate === 2 || candidate === 3;
  if (candidate % 2 === 0) return false;
  for (let divisor = 3; divisor * divisor <= candidate; divisor += 2) if (candidate % divisor === 0) return false;
  return true;
}

/** The largest prime below and the smallest above a number of at least 3. */
export function nearestPrimes(around: number): { readonly below: number; readonly above: number } {
  let below = around - 1;
  while (!isPrime(below)) below--;
  let above = around + 1;
  while (!isPrime(above)) above++;
  return { below, above };
}
