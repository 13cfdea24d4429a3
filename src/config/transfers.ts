/** Keys and secondaries, as the rest of Portico gets them. */
import type { Address, Prefix } from '../net/address.ts';

/** RFC 8945 section 6, without those whose hash is broken or too short for new use (MD5, SHA-1). */
export const KEY_ALGORITHMS = ['hmac-sha256', 'hmac-sha512', 'hmac-sha384', 'hmac-sha224'] as const;
export type KeyAlgorithm = (typeof KEY_ALGORITHMS)[number];

/** A secret that two servers share to sign messages with (TSIG, RFC 8945). */
export interface TransferKey {
  /** Lower case, no trailing dot: both sides have to call it so. */
  readonly name: string;
  readonly algorithm: KeyAlgorithm;
  /** Never to be printed. */
  readonly secret: Uint8Array;
}

/** Who may have whole zones, and is told when they change. */
export interface Secondary {
  readonly name: string;
  /** Where it asks from; none: anywhere, with the key. */
  readonly from: readonly Prefix[];
  /** Where it is told of changes. */
  readonly notify: readonly { readonly address: Address; readonly port: number }[];
  /** Of `keys`; null: it signs nothing, and its address is all that it shows. */
  readonly key: string | null;
  /** Null: all. */
  readonly zones: readonly string[] | null;
}

export interface Transfers {
  /** By name. */
  readonly keys: ReadonlyMap<string, TransferKey>;
  readonly secondaries: ReadonlyMap<string, Secondary>;
  readonly limits: {
    /** Transfers that run at once; one more is told to come again. */
    readonly maxAtOnce: number;
    /** Differences that are kept of one zone. */
    readonly journalBytes: number;
  };
}
