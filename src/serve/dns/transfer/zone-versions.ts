/** What a zone was before, and which serial it has now. Pure: what was kept and what is loaded go in. */
import { formatName } from '../wire/name.ts';
import { isNewer, nextSerial, serialOfHour } from './serial.ts';
import { type Difference, differenceOf, withSerial, type ZoneImage } from './zone-image.ts';

/** From one serial to another. */
export interface ZoneVersion extends Difference {
  readonly from: number;
  readonly to: number;
  /** Packed SOA records. */
  readonly fromSoa: Uint8Array;
  readonly toSoa: Uint8Array;
}

export interface KeptZone {
  readonly image: ZoneImage;
  /** Each begins where the one before it ends, and the last ends with the image. */
  readonly versions: readonly ZoneVersion[];
  /** What is wrong with its serial, in a sentence; null: nothing. */
  readonly problem: string | null;
}

export interface SerialRule {
  /** Portico counts; else the zone says it. */
  readonly isCounted: boolean;
  readonly nowMs: number;
  /** Bytes of differences that are kept. */
  readonly journalBytes: number;
}

const MAX_VERSIONS = 1000;
const NO_DIFFERENCE: Difference = { removed: new Uint8Array(0), added: new Uint8Array(0) };

/**
 * Follows a zone from what was kept (null: nothing) to what is loaded, whose serial is what the operator wrote, or with a zone file what it says.
 * A serial that stood still, or went back, while the zone changed ends the journal: secondaries must not be led astray.
 */
export function followZone(kept: KeptZone | null, loaded: ZoneImage, rule: SerialRule): KeptZone {
  if (kept === null) {
    const first = rule.isCounted ? larger(serialOfHour(rule.nowMs), loaded.serial) : loaded.serial;
    return { image: numbered(loaded, first), versions: [], problem: null };
  }
  const before = kept.image;
  const difference = sameBytes(before.records, loaded.records)
    ? NO_DIFFERENCE
    : differenceOf(before.records, loaded.records);
  const hasMoved =
    difference.removed.length + difference.added.length > 0 ||
    !sameBytes(withSerial(before.soa, 0), withSerial(loaded.soa, 0));
  const serial = rule.isCounted ? countedSerial(before.serial, loaded.serial, hasMoved, rule.nowMs) : loaded.serial;
  const image = numbered(loaded, serial);
  if (serial === before.serial) {
    // Once told it stays told: a second load of the same file does not make it good.
    if (!hasMoved) return { ...kept, image };
    return { image, versions: [], problem: stoodStill(loaded, serial) };
  }
  if (!isNewer(serial, before.serial)) return { image, versions: [], problem: wentBack(loaded, before.serial, serial) };
  const version = { from: before.serial, to: serial, fromSoa: before.soa, toSoa: image.soa, ...difference };
  return { image, versions: bounded([...kept.versions, version], rule.journalBytes), problem: null };
}

function stoodStill({ name }: ZoneImage, serial: number): string {
  return `zone ${formatName(name)} has changed and its serial is still ${serial}: secondaries do not learn of it; raise the serial, or write serial: auto`;
}

function wentBack({ name }: ZoneImage, before: number, serial: number): string {
  return `the serial of zone ${formatName(name)} went back from ${before} to ${serial}: secondaries stay with what they have; write one above ${before}`;
}

function larger(a: number, b: number): number {
  return isNewer(b, a) ? b : a;
}

/** What the zone file says counts when it is ahead. */
function countedSerial(before: number, said: number, hasMoved: boolean, nowMs: number): number {
  if (!hasMoved) return before;
  return larger(larger(nextSerial(before), serialOfHour(nowMs)), said);
}

function numbered(image: ZoneImage, serial: number): ZoneImage {
  return serial === image.serial ? image : { ...image, serial, soa: withSerial(image.soa, serial) };
}

/** The newest that have room. */
function bounded(versions: readonly ZoneVersion[], journalBytes: number): ZoneVersion[] {
  let bytes = 0;
  let first = versions.length;
  while (first > 0 && versions.length - first < MAX_VERSIONS) {
    bytes += versionBytes(versions[first - 1]);
    if (bytes > journalBytes) break;
    first--;
  }
  return versions.slice(first);
}

function versionBytes({ removed, added, fromSoa, toSoa }: ZoneVersion): number {
  return removed.length + added.length + fromSoa.length + toSoa.length;
}

/**
 * Packed records that bring a secondary from its serial to ours, in the order of RFC 1995 section 4; null: they are not known, or are more than the
 * zone itself. For a serial that is ours, or newer, the SOA alone.
 */
export function incrementFrom({ image, versions }: KeptZone, serial: number): Uint8Array[] | null {
  const { soa } = image;
  if (!isNewer(image.serial, serial)) return [soa];
  const first = versions.findIndex(({ from }) => from === serial);
  if (first < 0) return null;
  const steps = versions.slice(first);
  const bytes = steps.reduce((sum, version) => sum + versionBytes(version), 0);
  if (bytes > image.records.length + soa.length) return null;
  const parts = steps.flatMap(({ fromSoa, removed, toSoa, added }) => [fromSoa, removed, toSoa, added]);
  return [soa, ...parts, soa].filter(({ length }) => length > 0);
}

/** All packed records, SOA first and last (RFC 5936 section 2.2). */
export function wholeZone({ image }: KeptZone): Uint8Array[] {
  return [image.soa, image.records, image.soa].filter(({ length }) => length > 0);
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}
