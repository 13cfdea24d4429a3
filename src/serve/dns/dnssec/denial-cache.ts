/** Signed denials of names that do not exist, so that who asks again costs nothing. Bounded; a newcomer takes its place's former holder out. */
import { LOWER_CASE, type Name } from '../wire/name.ts';
import type { RecordSet } from '../zones.ts';
import type { Signature } from './signed-zone.ts';

export interface SignedDenial {
  /** The name that it is about, in lower case. */
  readonly subject: Name;
  /** Of the NSEC record. */
  readonly owner: Name;
  readonly nsec: RecordSet;
  readonly signature: Signature;
  /** Of the types in it: equal bitmaps are the same object. */
  readonly bitmap: Uint8Array;
  /** The key set with which it was signed. */
  readonly signedBy: object;
}

const PLACES = 8192;

export class DenialCache {
  readonly #places: (SignedDenial | undefined)[] = new Array<SignedDenial | undefined>(PLACES).fill(undefined);

  /** `name`: from `start` to `end`, in any letter case. Allocates nothing. */
  find(name: Uint8Array, start: number, end: number, kind: number): SignedDenial | undefined {
    const held = this.#places[placeOf(name, start, end, kind)];
    if (held === undefined || held.subject.length !== end - start) return undefined;
    for (let i = start; i < end; i++) if (LOWER_CASE[name[i]] !== held.subject[i - start]) return undefined;
    return held;
  }

  keep(kind: number, denial: SignedDenial): void {
    const { subject } = denial;
    this.#places[placeOf(subject, 0, subject.length, kind)] = denial;
  }
}

function placeOf(name: Uint8Array, start: number, end: number, kind: number): number {
  let hash = 0x811c9dc5 ^ kind;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ LOWER_CASE[name[i]], 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) & (PLACES - 1);
}
