/** Files that say where clients are: what the operator's file names, and what was read of lists. */
import type { AddressSegments } from '../net/address-segments.ts';

/** What a database is asked for, in the order in which they count. */
export const DATABASE_KINDS = ['city', 'country', 'asn'] as const;
export type DatabaseKind = (typeof DATABASE_KINDS)[number];

/** A file that the operator's file names. */
export interface FileReference {
  /** As it stands there: from its folder, or absolute. */
  readonly path: string;
  /** Line in the operator's file, for errors. */
  readonly line: number;
}

/** Files that say where clients are; null: none. */
export interface LocationFiles {
  /** Lists of the operator's, beside `networks`. */
  readonly lists: readonly FileReference[];
  readonly city: FileReference | null;
  readonly country: FileReference | null;
  readonly asn: FileReference | null;
}

/** Entries of `networks` and of the lists, in columns: there may be millions. */
export interface ListedEntries {
  /** Values are indexes of entries. */
  readonly ipv4: AddressSegments;
  readonly ipv6: AddressSegments;
  readonly files: readonly string[];
  /** Index into `files`; `files.length`: the entry stands in `networks`. */
  readonly fileOf: Uint16Array;
  /** From 1; of one in `networks` its index there. */
  readonly lineOf: Uint32Array;
  readonly lengthOf: Uint8Array;
}
