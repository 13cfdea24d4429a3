/** Round trips, read for tests. */
import { formatAddress } from '../../src/net/address.ts';

const IPV6 = 0x1_0000;

type Take = (each: (high: number, low: number, microseconds: number) => void) => void;

/** By client prefix: round trips in ms, rising. */
export function takeByPrefix(take: Take): Map<string, number[]> {
  const found = new Map<string, number[]>();
  take((high, low, microseconds) => {
    const v4 = Uint8Array.of(low >>> 16, low >>> 8, low, 0);
    const v6 = new Uint8Array(16);
    v6.set([high >>> 8, high, low >>> 24, low >>> 16, low >>> 8, low]);
    const text = formatAddress((high & IPV6) === 0 ? { family: 4, bytes: v4 } : { family: 6, bytes: v6 });
    found.set(
      text,
      [...(found.get(text) ?? []), microseconds / 1000].sort((a, b) => a - b),
    );
  });
  return found;
}
