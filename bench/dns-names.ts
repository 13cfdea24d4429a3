/** What every server of `dns.ts` serves, and what is asked: 1,000 names, two sites, and a list of networks that are nearer to the second. */
import type { QueryList } from './dns-generator.ts';

export const ZONE = 'bench.test';
export const NAMES = 1000;
export const TTL_SECONDS = 30;
/** The clients of these are at the second site; everybody else is at the first. */
export const SECOND_SITE_NETWORKS: readonly string[] = Array.from(
  { length: 100 },
  (_, i) => `10.${(i * 37) % 256}.${(i * 7) % 256}.0/24`,
);

/** Of one length all: h000 to h999. */
export function hostOf(index: number): string {
  return `h${String(index).padStart(3, '0')}`;
}

/** One address of each at each site, of the prefix for benchmarks (RFC 2544). */
export function addressOf(index: number, site: 0 | 1): string {
  return `198.${18 + site}.${index >> 8}.${index & 255}`;
}

/** Numbers below a bound, the same each time (mulberry32). */
function dice(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
}

/** Of a multiple of the client's batches, below 65,536. */
const QUERIES = 32_000;

/** `hasSubnet`: each with a /24 of its own, half of them at the second site. */
export function queryList(hasSubnet: boolean): QueryList {
  const roll = dice(1);
  const queries: number[] = [];
  const answers: number[] = [];
  let subnet: QueryList['subnet'] = null;
  for (let number = 0; number < QUERIES; number++) {
    const index = roll(NAMES);
    const host = hostOf(index);
    const name = [host, ...ZONE.split('.')].flatMap((label) => [label.length, ...Buffer.from(label)]);
    const isSecond = hasSubnet && roll(2) === 1;
    const question = [...name, 0, 0, 1, 0, 1];
    const message = [number >> 8, number & 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, hasSubnet ? 1 : 0, ...question];
    if (hasSubnet) {
      subnet = { start: message.length + 15, bytes: 7 };
      const prefix = isSecond
        ? SECOND_SITE_NETWORKS[roll(SECOND_SITE_NETWORKS.length)].split(/[./]/).slice(0, 3).map(Number)
        : [172, 16 + roll(16), roll(256)];
      message.push(0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0, ...prefix);
    }
    queries.push(...message);
    const address = addressOf(index, isSecond ? 1 : 0)
      .split('.')
      .map(Number);
    answers.push(0xc0, 12, 0, 1, 0, 1, 0, 0, 0, TTL_SECONDS, 0, 4, ...address);
  }
  return {
    count: QUERIES,
    queryBytes: queries.length / QUERIES,
    queries: Uint8Array.from(queries),
    answers: Uint8Array.from(answers),
    subnet,
  };
}
