/** Kept zones in files: one a zone, with its image and journal, replaced as a whole. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { recordEnd, serialOf, type ZoneImage } from './zone-image.ts';
import type { KeptZone, ZoneVersion } from './zone-versions.ts';

const FORMAT = 'portico-zone-1';
/** The first line: lengths of what follows, in order. */
interface Head {
  readonly format: string;
  readonly text: string;
  readonly count: number;
  readonly problem: string | null;
  readonly image: readonly [soa: number, records: number];
  /** Lengths of the SOA records before and after, of what went and what came. */
  readonly versions: readonly (readonly [number, number, number, number])[];
}

function fileOf(folder: string, zone: string): string {
  return join(folder, `${zone === '' ? 'root' : zone}.zone`);
}

/** A reader sees the old file or the new one, never half. */
export function writeKept(folder: string, { image, versions, problem }: KeptZone): void {
  const head: Head = {
    format: FORMAT,
    text: image.text,
    count: image.count,
    problem,
    image: [image.soa.length, image.records.length],
    versions: versions.map(({ fromSoa, toSoa, removed, added }) => {
      return [fromSoa.length, toSoa.length, removed.length, added.length];
    }),
  };
  const parts = versions.flatMap(({ fromSoa, toSoa, removed, added }) => [fromSoa, toSoa, removed, added]);
  const file = fileOf(folder, image.text);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(
    `${file}.new`,
    Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), image.soa, image.records, ...parts]),
  );
  renameSync(`${file}.new`, file);
}

/** What `writeKept` wrote of a zone; null: no file. Throws where it cannot be read or is something else. `name`: the zone's, on the wire. */
export function readKept(folder: string, zone: string, name: Uint8Array): KeptZone | null {
  const file = fileOf(folder, zone);
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const kept = parseKept(bytes, zone, name);
    if (kept !== null) return kept;
  } catch {
    // told below
  }
  throw new Error(`${file} does not hold a zone; remove it`);
}

function parseKept(bytes: Buffer, zone: string, name: Uint8Array): KeptZone | null {
  const headEnd = bytes.indexOf(0x0a);
  const head = JSON.parse(bytes.subarray(0, headEnd).toString()) as Head;
  if (head.format !== FORMAT || head.text !== zone) return null;
  let position = headEnd + 1;
  const take = (length: number): Uint8Array => {
    position += length;
    return Uint8Array.prototype.slice.call(bytes, position - length, position);
  };
  const [soa, records] = [take(head.image[0]), take(head.image[1])];
  const versions = head.versions.map((lengths): ZoneVersion => {
    const [fromSoa, toSoa, removed, added] = lengths.map(take) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    return { from: serialOf(fromSoa), to: serialOf(toSoa), fromSoa, toSoa, removed, added };
  });
  const areWhole = [soa, records, ...versions.flatMap(({ removed, added }) => [removed, added])].every(isPacked);
  if (position !== bytes.length || !areWhole) return null;
  const image: ZoneImage = { text: zone, name, soa, serial: serialOf(soa), records, count: head.count };
  return { image, versions, problem: head.problem };
}

function isPacked(bytes: Uint8Array): boolean {
  let position = 0;
  // Always ahead: by eleven bytes at least, or beyond the end.
  while (position < bytes.length) position = recordEnd(bytes, position);
  return position === bytes.length;
}
