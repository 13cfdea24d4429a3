/** What location databases say of clients: records of an MMDB file to the few things that steering asks. */
import type { DatabaseKind } from '../../../config/location-files.ts';
import type { ClientGroup } from '../../../config/model.ts';
import type { AddressSegments } from '../../../net/address-segments.ts';
import { type Mmdb, openMmdb } from './mmdb.ts';
import type { MmdbValue } from './mmdb-data.ts';

export type Known = Partial<Pick<ClientGroup, 'continent' | 'country' | 'asn' | 'location'>>;

/** Places are told to a tenth of a degree: 11 km at most, less than databases know, and there are fewer groups to make plans for. */
const PLACE_STEPS = 10;

export type DatabaseResult = { readonly ok: true; readonly layer: DatabaseLayer } | Refused;
interface Refused {
  readonly ok: false;
  readonly reason: string;
}

export interface DatabaseLayer {
  /** The first knows nothing. Values of the segments are indexes into it. */
  readonly known: readonly Known[];
  readonly ipv4: AddressSegments;
  readonly ipv6: AddressSegments;
}

export function readDatabase(bytes: Uint8Array, kind: DatabaseKind): DatabaseResult {
  const opened = openMmdb(bytes);
  if (!opened.ok) return opened;
  const { database } = opened;
  const known: Known[] = [{}];
  const byText = new Map([['{}', 0]]);
  const byOffset = new Map<number, number>();
  let reason: string | null = null;
  const numberAt = (offset: number): number => {
    const seen = byOffset.get(offset);
    if (seen !== undefined) return seen;
    const read = readKnown(database, offset, kind);
    if ('reason' in read) reason ??= read.reason;
    const what = 'reason' in read ? {} : read;
    const text = JSON.stringify(what);
    const index = byText.get(text) ?? known.push(what) - 1;
    byText.set(text, index);
    byOffset.set(offset, index);
    return index;
  };
  const ipv4 = database.segments(4, numberAt, 0);
  const ipv6 = database.segments(6, numberAt, 0);
  if (ipv4 === null || ipv6 === null) return { ok: false, reason: 'its tree leads into itself' };
  if (reason !== null) return { ok: false, reason };
  if (known.length === 1) {
    const what = kind === 'asn' ? 'autonomous systems' : 'continents, countries or places';
    return { ok: false, reason: `it tells no ${what}` };
  }
  return { ok: true, layer: { known, ipv4, ipv6 } };
}

/** What stands at an offset, as steering sees it. */
export function readKnown(database: Mmdb, offset: number, kind: DatabaseKind): Known | Refused {
  const read = database.data.read(offset);
  if (!read.ok) return read;
  if (kind === 'asn') {
    const asn = asnOf(at(read.value, 'autonomous_system_number') ?? at(read.value, 'asn'));
    return asn === null ? {} : { asn };
  }
  const country = codeOf(
    read.value,
    ['country', 'iso_code'],
    ['registered_country', 'iso_code'],
    ['country_code'],
    ['country'],
  );
  const continent = codeOf(read.value, ['continent', 'code'], ['continent_code'], ['continent']);
  const location = kind === 'city' ? locationOf(read.value) : null;
  return {
    ...(continent === null ? {} : { continent }),
    ...(country === null ? {} : { country }),
    ...(location === null ? {} : { location }),
  };
}

function at(value: MmdbValue, ...path: readonly string[]): MmdbValue | undefined {
  let inner: MmdbValue | undefined = value;
  for (const key of path) inner = inner instanceof Map ? inner.get(key) : undefined;
  return inner;
}

/** Two letters, from the first place that has them. */
function codeOf(value: MmdbValue, ...paths: readonly (readonly string[])[]): string | null {
  for (const path of paths) {
    const code = at(value, ...path);
    if (typeof code === 'string' && /^[A-Z]{2}$/.test(code)) return code;
  }
  return null;
}

function asnOf(value: MmdbValue | undefined): number | null {
  const number = typeof value === 'string' && /^AS[0-9]{1,10}$/.test(value) ? Number(value.slice(2)) : value;
  return typeof number === 'number' && number > 0 ? number : null;
}

function locationOf(value: MmdbValue): ClientGroup['location'] {
  const rounded = (key: string, limit: number) => {
    const degrees = at(value, 'location', key);
    if (typeof degrees !== 'number' || !(Math.abs(degrees) <= limit)) return null;
    return Math.round(degrees * PLACE_STEPS) / PLACE_STEPS;
  };
  const [latitudeDegrees, longitudeDegrees] = [rounded('latitude', 90), rounded('longitude', 180)];
  return latitudeDegrees === null || longitudeDegrees === null ? null : { latitudeDegrees, longitudeDegrees };
}
