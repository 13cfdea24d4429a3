/** Prefix numbers as bytes and back: every prefix has the number that it had, since what was learned stands under it. */
import { PrefixNumbers } from './prefix-numbers.ts';

const ROW_BYTES = 20;
const IPV6 = 1;
const FREE = 2;

/** 20 bytes a number that was ever given out. */
export function keepNumbers(numbers: PrefixNumbers): Uint8Array {
  const bytes = new Uint8Array(numbers.end * ROW_BYTES);
  const view = new DataView(bytes.buffer);
  for (let number = 0; number < numbers.end; number++) {
    const at = number * ROW_BYTES;
    if (!numbers.has(number)) {
      view.setUint32(at, FREE);
      continue;
    }
    const { address } = numbers.prefixOf(number);
    view.setUint32(at, address.family === 6 ? IPV6 : 0);
    bytes.set(address.bytes.subarray(0, address.family === 6 ? 6 : 3), at + 4);
    view.setFloat64(at + 12, numbers.importance[number]);
  }
  return bytes;
}

/** Null: these are no numbers, or more than `bound`. */
export function restoreNumbers(bytes: Uint8Array, bound: number, seed: number): PrefixNumbers | null {
  const count = bytes.length / ROW_BYTES;
  if (!Number.isInteger(count) || count > bound) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const numbers = new PrefixNumbers(bound, seed);
  const free: number[] = [];
  const filler = new Uint8Array(6).fill(0xff);
  for (let number = 0; number < count; number++) {
    const at = number * ROW_BYTES;
    const kind = view.getUint32(at);
    // Of a multicast prefix, which nobody asks from: holds the place until all numbers are given out.
    if (kind === FREE) new DataView(filler.buffer).setUint32(2, number);
    const got = kind === FREE ? numbers.numberOf(6, filler, 0) : numbers.numberOf(kind === IPV6 ? 6 : 4, bytes, at + 4);
    if (got !== number) return null;
    if (kind === FREE) free.push(number);
    else numbers.importance[number] = view.getFloat64(at + 12);
  }
  numbers.forget(free);
  return numbers;
}
