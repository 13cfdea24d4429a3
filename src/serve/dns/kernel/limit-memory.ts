/** Memory of the rate limits: shared between threads, or the kernel's, which each thread maps for itself. */
import { type MappedMemory, mapMemory } from '../../vip/libc.ts';
import { LIMIT_REGION_BYTES } from '../rate-limit.ts';

export type LimitMemory = { readonly seed: number } & (
  | { readonly memory: SharedArrayBuffer }
  /** Of the map `dns_limits`, which is open for as long as a thread uses it. */
  | { readonly fd: number }
);

/** `close` gives back what was mapped. */
export function openLimitMemory(limits: LimitMemory): { readonly buffer: ArrayBufferLike; close(): void } {
  if ('memory' in limits) return { buffer: limits.memory, close: () => {} };
  const mapped: MappedMemory = mapMemory(limits.fd, LIMIT_REGION_BYTES, 'map dns_limits');
  return { buffer: mapped.buffer, close: () => mapped.unmap() };
}
