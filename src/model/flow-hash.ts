/** The keyed hash of a flow and what is cut out of it: slot, flow label, buckets, fingerprint. */
import type { FlowPlaces } from './connections.ts';
import type { IpHeader, Transport } from './parse.ts';
import { SIPHASH_1_3_128, sipHash } from './siphash.ts';

/** Both halves of 64 bits, as 32-bit words. */
export interface FlowHash {
  readonly firstLow: number;
  readonly firstHigh: number;
  readonly secondLow: number;
  readonly secondHigh: number;
}

const message = new Uint8Array(37);
const output = new Uint32Array(4);

/**
 * SipHash-1-3-128 of source address, destination address, source port, destination port and protocol, as on the wire:
 * 13 or 37 bytes. `key`: see `sipHashKey`. The addresses, each of `addressBytes`, stand one behind the other.
 */
export function hashAddresses(
  key: Uint32Array,
  bytes: Uint8Array,
  offset: number,
  addressBytes: 4 | 16,
  ports: { readonly sourcePort: number; readonly destinationPort: number; readonly protocol: number },
): FlowHash {
  const end = 2 * addressBytes;
  for (let i = 0; i < end; i++) message[i] = bytes[offset + i];
  message[end] = ports.sourcePort >>> 8;
  message[end + 1] = ports.sourcePort;
  message[end + 2] = ports.destinationPort >>> 8;
  message[end + 3] = ports.destinationPort;
  message[end + 4] = ports.protocol;
  sipHash(key, message, output, SIPHASH_1_3_128, end + 5);
  return { firstLow: output[0], firstHigh: output[1], secondLow: output[2], secondHigh: output[3] };
}

export function hashFlow(key: Uint32Array, frame: Uint8Array, ip: IpHeader, transport: Transport): FlowHash {
  return hashAddresses(key, frame, ip.sourceOffset, ip.addressBytes, transport);
}

/** The slot that 32 bits of a hash name in a table of `slots` (at most 2^21). */
export function slotOfHash(hash: number, slots: number): number {
  return Math.floor((hash * slots) / 0x100000000);
}

/** Slot of the flow where it is hashed whole. */
export function slotOf(hash: FlowHash, slots: number): number {
  return slotOfHash(hash.firstHigh, slots);
}

/** Least-connections: the flow's other slot. */
export function secondSlotOf(hash: FlowHash, slots: number): number {
  return slotOfHash((hash.firstLow ^ hash.secondHigh) >>> 0, slots);
}

/** 32 bits for a slot, from the client's address alone. */
export function hashSource(key: Uint32Array, bytes: Uint8Array, offset: number, addressBytes: 4 | 16): number {
  for (let i = 0; i < addressBytes; i++) message[i] = bytes[offset + i];
  sipHash(key, message, output, SIPHASH_1_3_128, addressBytes);
  return output[1];
}

/** 20 bits for the flow label of an outer IPv6 header. */
export function flowLabelOf(hash: FlowHash): number {
  return hash.firstLow & 0xfffff;
}

/** Where the connection table keeps the flow. `salt`: of the service; `generation`: of the slot. */
export function placesOf(hash: FlowHash, salt: number, generation: number, bucketMask: number): FlowPlaces {
  const firstBucket = (hash.firstLow & bucketMask) >>> 0;
  let secondBucket = (hash.secondLow & bucketMask) >>> 0;
  if (secondBucket === firstBucket) secondBucket = (secondBucket ^ 1) >>> 0;
  const mix = BigInt.asUintN(64, ((BigInt(salt) << 16n) | BigInt(generation)) * 0x9e3779b97f4a7c15n);
  const mixLow = Number(mix & 0xffffffffn);
  const mixHigh = Number(mix >> 32n);
  return {
    firstBucket,
    secondBucket,
    fingerprintLow: (hash.secondLow ^ mixLow) >>> 28,
    fingerprintHigh: (hash.secondHigh ^ mixHigh) >>> 0,
  };
}
