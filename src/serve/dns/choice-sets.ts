/** Records of a choice of several sites, made of those of each site. */
import { encodeParameters, PARAMETER } from './presentation/parameters.ts';
import { RECORD_TYPE } from './wire/numbers.ts';
import { joinBytes, type RecordData } from './wire/record-data.ts';
import type { RecordSet } from './zones.ts';

/** `sets`: of each site, as in `SteeredName`; `sites`: indexes, at least one. Of one site it is that site's set itself. */
export function setOfSites(sets: readonly RecordSet[], sites: readonly number[]): RecordSet {
  const first = sets[sites[0]];
  if (sites.length === 1) return first;
  const chosen = sites.map((site) => sets[site].records);
  const records = first.type === RECORD_TYPE.HTTPS ? [mergedHttps(chosen.map(([data]) => data))] : inTurns(chosen);
  return { ...first, records };
}

/** One of each site, then the second of each: an answer that has no room for all still names every site. */
function inTurns(chosen: readonly (readonly RecordData[])[]): RecordData[] {
  const most = Math.max(...chosen.map((records) => records.length));
  const records: RecordData[] = [];
  for (let turn = 0; turn < most; turn++) {
    for (const own of chosen) if (turn < own.length) records.push(own[turn]);
  }
  return records;
}

/** Priority (2 bytes) and target (".", 1 byte), which all sites have alike. */
const FIXED_BYTES = 3;

/** One record with the hints of all: several would be alternatives of one priority, of which a client takes one (RFC 9460 2.4.1). */
function mergedHttps(records: readonly RecordData[]): RecordData {
  const merged = new Map<number, Uint8Array>();
  for (const { bytes } of records) {
    for (const [key, value] of parametersOf(bytes)) {
      const isHint = key === PARAMETER.IPV4HINT || key === PARAMETER.IPV6HINT;
      const before = isHint ? merged.get(key) : undefined;
      merged.set(key, before === undefined ? value : joinBytes([before, value], before.length + value.length));
    }
  }
  const parameters = encodeParameters(merged);
  const bytes = joinBytes([records[0].bytes.subarray(0, FIXED_BYTES), parameters], FIXED_BYTES + parameters.length);
  return { bytes, names: [] };
}

function* parametersOf(bytes: Uint8Array): Iterable<readonly [key: number, value: Uint8Array]> {
  for (let at = FIXED_BYTES; at < bytes.length; ) {
    const key = (bytes[at] << 8) | bytes[at + 1];
    const length = (bytes[at + 2] << 8) | bytes[at + 3];
    yield [key, bytes.subarray(at + 4, at + 4 + length)];
    at += 4 + length;
  }
}
