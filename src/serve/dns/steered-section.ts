/** Ready-made answer sections of steered names: what `answer.ts` would write record by record, when everything fits. */
import { setOfSites } from './choice-sets.ts';
import type { SteeredSet } from './dnssec/signed-zone.ts';
import { CLASS, RECORD_TYPE } from './wire/numbers.ts';
import type { RecordSet } from './zones.ts';

/** The name of the question, whose place is the same in every message (RFC 1035 4.1.4). */
const QUESTION_POINTER = 0xc00c;
const FIXED_BYTES = 12;

export interface Section {
  readonly bytes: Uint8Array;
  readonly answers: number;
}

/** `sets`: one a site, of one type (`steeredSets`); `sites`: those of a choice. Data of steered types has no names that are compressed. */
export function encodeSection(sets: readonly RecordSet[], sites: readonly number[]): Section {
  return encodeRecords([setOfSites(sets, sites)]);
}

/** The same with the signature. */
export function encodeSignedSection({ set, signature }: SteeredSet): Section {
  const { ttlSeconds } = set;
  return encodeRecords([set, { type: RECORD_TYPE.RRSIG, ttlSeconds, records: signature.records }]);
}

function encodeRecords(sets: readonly Pick<RecordSet, 'type' | 'ttlSeconds' | 'records'>[]): Section {
  const all = sets.flatMap(({ records }) => records);
  const bytes = new Uint8Array(all.reduce((sum, data) => sum + FIXED_BYTES + data.bytes.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const { type, ttlSeconds, records } of sets) {
    for (const data of records) {
      view.setUint16(at, QUESTION_POINTER);
      view.setUint16(at + 2, type);
      view.setUint16(at + 4, CLASS.IN);
      view.setUint32(at + 6, ttlSeconds);
      view.setUint16(at + 10, data.bytes.length);
      bytes.set(data.bytes, at + FIXED_BYTES);
      at += FIXED_BYTES + data.bytes.length;
    }
  }
  return { bytes, answers: all.length };
}
