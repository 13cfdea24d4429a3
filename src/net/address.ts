/** IPv4 and IPv6 addresses and prefixes. */

export interface Address {
  readonly family: 4 | 6;
  /** 4 or 16 bytes, wire order. */
  readonly bytes: Uint8Array;
}

export interface Prefix {
  readonly address: Address;
  /** 0 to 32 or 0 to 128; bits beyond it are zero. */
  readonly length: number;
}
