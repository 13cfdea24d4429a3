/** Users and the resolvers that asked for them, gathered into columns by the keys of prefixes. */
import { type AskedPrefix, highOf, lowOf } from './query-rows.ts';

export interface KeyedBeacons {
  readonly length: number;
  /** Of the user. */
  readonly high: Uint32Array;
  readonly low: Uint32Array;
  readonly resolverHigh: Uint32Array;
  readonly resolverLow: Uint32Array;
}

export function keyBeacons(
  joined: readonly { readonly resolver: AskedPrefix; readonly user: AskedPrefix }[],
): KeyedBeacons {
  return {
    length: joined.length,
    high: Uint32Array.from(joined, ({ user }) => highOf(user)),
    low: Uint32Array.from(joined, ({ user }) => lowOf(user)),
    resolverHigh: Uint32Array.from(joined, ({ resolver }) => highOf(resolver)),
    resolverLow: Uint32Array.from(joined, ({ resolver }) => lowOf(resolver)),
  };
}
