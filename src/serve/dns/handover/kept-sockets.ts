/** What a caretaker is given and gives on: a server's sockets, by where they are bound. */
import type { Config } from '../../../config/model.ts';
import type { BoundAddress } from '../sockets.ts';

export interface KeptSocket extends BoundAddress {
  readonly kind: 'udp' | 'tcp';
  readonly family: 4 | 6;
}

/** What a caretaker reads from its standard input (v8.deserialize); the sockets are its descriptors from 3 on. */
export interface Caretaking {
  readonly config: Config;
  readonly serverName: string;
  readonly epoch: string;
  readonly sockets: readonly KeptSocket[];
  /** `siteUp`, `siteFull` and `siteWasUp` as they were last, by service and site. */
  readonly sites: readonly { readonly service: string; readonly site: string; readonly state: readonly boolean[] }[];
  /** Where the successor asks. */
  readonly path: string;
  /** For a successor to come. */
  readonly waitMs: number;
}

/** What the successor says when it serves. */
export const TAKEN = 'taken';

/** The same without shared memory, which only threads can be given. */
export function withoutSharing<T>(value: T): T {
  return copy(value) as T;
}

function copy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (ArrayBuffer.isView(value)) {
    if (!(value.buffer instanceof SharedArrayBuffer)) return value;
    return (value as Uint8Array).slice();
  }
  if (Array.isArray(value)) return value.map(copy);
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [copy(key), copy(item)]));
  if (value instanceof Set) return new Set([...value].map(copy));
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, copy(item)]));
}
