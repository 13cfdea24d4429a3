/**
 * MurmurHash3, the x86 32-bit variant (A. Appleby, public domain), of a name's UTF-8 bytes. It has no key: every machine gets the
 * same value for the same name. Names come from the operator, so nobody gains by a collision; flows are hashed with SipHash.
 */

const encoder = new TextEncoder();
let scratch = new Uint8Array(256);

/** UTF-8 of `name` into the scratch; its length. Names are nearly always ASCII, which needs no encoder. */
function encodeName(name: string): number {
  if (name.length * 3 > scratch.length) scratch = new Uint8Array(name.length * 3);
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code > 0x7f) return encoder.encodeInto(name, scratch).written;
    scratch[i] = code;
  }
  return name.length;
}

/** 32 bits, as an unsigned number, of `name` under `seed` (32 bits). Two seeds give two independent halves of 64 bits. */
export function hashName(name: string, seed: number): number {
  const length = encodeName(name);
  const whole = length & ~3;
  let h = seed | 0;
  let k = 0;
  for (let i = 0; i < whole; i += 4) {
    k =
      (scratch[i] as number) |
      ((scratch[i + 1] as number) << 8) |
      ((scratch[i + 2] as number) << 16) |
      ((scratch[i + 3] as number) << 24);
    h ^= scramble(k);
    h = (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
  }
  k = 0;
  for (let i = length - 1; i >= whole; i--) k = (k << 8) | (scratch[i] as number);
  h ^= scramble(k) ^ length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** 0 stays 0, so an empty tail changes nothing. */
function scramble(k: number): number {
  const mixed = Math.imul(k, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}
