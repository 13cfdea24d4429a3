/** The data of NSEC records (RFC 4034 section 4.1): the next name, and which types a name has. */
import type { Name } from '../wire/name.ts';
import { RECORD_TYPE } from '../wire/numbers.ts';
import { joinBytes } from '../wire/record-data.ts';
import { steeredSets, type ZoneNode } from '../zones.ts';

/** That there is no such name (RFC 9824 section 3.2). Never a type of data. */
export const NXNAME = 128;

const ALWAYS = [RECORD_TYPE.RRSIG, RECORD_TYPE.NSEC];
const APEX = [RECORD_TYPE.DNSKEY, RECORD_TYPE.CDS, RECORD_TYPE.CDNSKEY];
const STEERED = [RECORD_TYPE.A, RECORD_TYPE.AAAA, RECORD_TYPE.HTTPS];

/** Windows of 256 types, each with a bitmap as long as needed. */
export function typeBitmap(types: readonly number[]): Uint8Array {
  const sorted = [...new Set(types)].sort((a, b) => a - b);
  const windows: Uint8Array[] = [];
  for (let i = 0; i < sorted.length; ) {
    const window = sorted[i] >> 8;
    const bits = new Uint8Array(32);
    let bytes = 0;
    for (; i < sorted.length && sorted[i] >> 8 === window; i++) {
      const bit = sorted[i] & 0xff;
      bytes = (bit >> 3) + 1;
      bits[bit >> 3] |= 0x80 >> (bit & 7);
    }
    windows.push(Uint8Array.of(window, bytes, ...bits.subarray(0, bytes)));
  }
  return joinBytes(
    windows,
    windows.reduce((sum, { length }) => sum + length, 0),
  );
}

/** Of a name that has nothing: an empty non-terminal, or one that is only there to end a range. */
export const EMPTY_BITMAP = typeBitmap(ALWAYS);
export const NO_NAME_BITMAP = typeBitmap([...ALWAYS, NXNAME]);

/** Of a name that exists. Never depends on the client: a service has the same types everywhere. */
export function nodeBitmap(node: ZoneNode): Uint8Array {
  const types = [...node.sets.keys()];
  // Glue belongs to the zone below (RFC 4035 section 2.3).
  if (node.cut !== null) return typeBitmap([...types.filter(isOfParent), ...ALWAYS]);
  const { steered } = node;
  if (steered !== null) types.push(...STEERED.filter((type) => steeredSets(steered, type) !== null));
  const isApex = node.zone.name.length === node.name.length;
  return typeBitmap([...types, ...ALWAYS, ...(isApex ? APEX : [])]);
}

function isOfParent(type: number): boolean {
  return type === RECORD_TYPE.NS || type === RECORD_TYPE.DS;
}

/** Of a zone that is served here too, as the zone around it tells it. */
export function childBitmap(hasDs: boolean): Uint8Array {
  return typeBitmap([RECORD_TYPE.NS, ...(hasDs ? [RECORD_TYPE.DS] : []), ...ALWAYS]);
}

export function nsecData(next: Name, bitmap: Uint8Array): Uint8Array {
  return joinBytes([next, bitmap], next.length + bitmap.length);
}
