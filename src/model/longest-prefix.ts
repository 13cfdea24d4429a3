/** Which of several prefixes an address is in: what the kernel's tries by longest prefix answer. */

export interface MappedPrefix {
  /** 16 bytes, IPv4-mapped; those beyond `bits` do not count. */
  readonly address: Uint8Array;
  /** 0 to 128. */
  readonly bits: number;
}

/** `address`: an `addressKey` (engine.ts). */
export function isInPrefix(address: string, prefix: MappedPrefix): boolean {
  for (let bit = 0; bit < prefix.bits; bit += 16) {
    const at = bit >> 3;
    const word = (prefix.address[at] << 8) | prefix.address[at + 1];
    const ignored = Math.max(0, 16 - (prefix.bits - bit));
    if ((address.charCodeAt(bit >> 4) ^ word) >>> ignored !== 0) return false;
  }
  return true;
}

/** `address`: an `addressKey` (engine.ts). */
export function longestPrefix<P extends MappedPrefix>(prefixes: Iterable<P>, address: string): P | undefined {
  let longest: P | undefined;
  for (const prefix of prefixes)
    if (isInPrefix(address, prefix) && prefix.bits > (longest?.bits ?? -1)) longest = prefix;
  return longest;
}
