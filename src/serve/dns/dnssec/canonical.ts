/** Record sets in canonical form (RFC 4034 section 6): what signatures are made of. */
import { LOWER_CASE, lowerName, type Name } from '../wire/name.ts';
import { CLASS, RECORD_TYPE } from '../wire/numbers.ts';
import { type FieldKind, layoutOf, type RecordData, readField } from '../wire/record-data.ts';

/** Of a signature's data: what stands before the signer's name (RFC 4034 section 3.1). */
export const SIGNATURE_HEAD_BYTES = 18;
/** ECDSA P-256 with SHA-256 (RFC 6605). */
export const ALGORITHM = 13;

/** Types whose names are put into lower case (RFC 4034 section 6.2, RFC 6840 section 5.1); null: laid out as `record-data.ts` has it. */
const LOWERED: ReadonlyMap<number, readonly FieldKind[] | null> = new Map<number, readonly FieldKind[] | null>([
  [RECORD_TYPE.NS, null],
  [RECORD_TYPE.CNAME, null],
  [RECORD_TYPE.SOA, null],
  [RECORD_TYPE.PTR, null],
  [RECORD_TYPE.MX, null],
  [RECORD_TYPE.RP, null],
  [RECORD_TYPE.NAPTR, null],
  [RECORD_TYPE.SRV, null],
  [RECORD_TYPE.DNAME, null],
  // Types that are opaque elsewhere: MD, MF, MB, MG, MR, MINFO, AFSDB, RT, PX, KX.
  [3, ['name']],
  [4, ['name']],
  [7, ['name']],
  [8, ['name']],
  [9, ['name']],
  [14, ['name', 'name']],
  [18, ['u16', 'name']],
  [21, ['u16', 'name']],
  [26, ['u16', 'name', 'name']],
  [36, ['u16', 'name']],
]);

/** The data of a record in canonical form: itself, or a copy with names in lower case. */
export function canonicalData(type: number, bytes: Uint8Array): Uint8Array {
  const layout = LOWERED.get(type);
  if (layout === undefined) return bytes;
  const fields = layout ?? layoutOf(type)?.fields ?? [];
  const copy = bytes.slice();
  let position = 0;
  for (const kind of fields) {
    if (kind !== 'name') {
      const read = readField(kind, bytes, position, bytes.length);
      // Opaque data that is not as its type says: validators take it as it stands, too.
      if (!read.ok) return bytes;
      position = read.next;
      continue;
    }
    for (; bytes[position] !== 0; ) {
      const next = position + 1 + bytes[position];
      if (bytes[position] > 63 || next >= bytes.length) return bytes;
      for (position++; position < next; position++) copy[position] = LOWER_CASE[bytes[position]];
    }
    position++;
  }
  return copy;
}

/** Orders names as RFC 4034 section 6.1 does; both in lower case. */
export function compareNames(a: Name, b: Name): number {
  const [aLabels, bLabels] = [labelsOf(a), labelsOf(b)];
  for (let i = 1; i <= Math.min(aLabels.length, bLabels.length); i++) {
    const order = compareBytes(aLabels[aLabels.length - i], bLabels[bLabels.length - i]);
    if (order !== 0) return order;
  }
  return aLabels.length - bLabels.length;
}

function labelsOf(name: Name): Uint8Array[] {
  const labels: Uint8Array[] = [];
  for (let at = 0; name[at] !== 0; at += name[at] + 1) labels.push(name.subarray(at + 1, at + 1 + name[at]));
  return labels;
}

/** As left-justified unsigned octets: what is absent sorts first. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

/** Labels of a name without the root, and without a leading `*` (RFC 4034 section 3.1.3). */
export function signedLabels(owner: Name): number {
  let labels = 0;
  for (let at = 0; owner[at] !== 0; at += owner[at] + 1) labels++;
  return owner[0] === 1 && owner[1] === 0x2a ? labels - 1 : labels;
}

export interface SignatureFields {
  readonly type: number;
  readonly labels: number;
  /** Of the set, the largest with which it is ever sent. */
  readonly ttlSeconds: number;
  /** Unix time; on the wire of 32 bits (RFC 4034 section 3.1.5). */
  readonly inceptionSeconds: number;
  readonly expirationSeconds: number;
  readonly keyTag: number;
  readonly signer: Name;
}

/** A signature's data without the signature; room for one of `signatureBytes` follows. */
export function signatureHead(fields: SignatureFields, signatureBytes: number): Uint8Array {
  const { type, labels, ttlSeconds, inceptionSeconds, expirationSeconds, keyTag, signer } = fields;
  const bytes = new Uint8Array(SIGNATURE_HEAD_BYTES + signer.length + signatureBytes);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, type);
  bytes[2] = ALGORITHM;
  bytes[3] = labels;
  view.setUint32(4, ttlSeconds);
  view.setUint32(8, expirationSeconds >>> 0);
  view.setUint32(12, inceptionSeconds >>> 0);
  view.setUint16(16, keyTag);
  bytes.set(lowerName(signer), SIGNATURE_HEAD_BYTES);
  return bytes;
}

/** What is signed (RFC 4034 section 3.1.8.1): the head, then each record, in order and without doubles. */
export function signedBytes(
  head: Uint8Array,
  owner: Name,
  type: number,
  ttlSeconds: number,
  records: readonly RecordData[],
): Uint8Array {
  const name = lowerName(owner);
  const all = records.map(({ bytes }) => canonicalData(type, bytes)).sort(compareBytes);
  const sorted = all.filter((bytes, index) => index === 0 || compareBytes(all[index - 1], bytes) !== 0);
  const recordBytes = sorted.reduce((sum, bytes) => sum + name.length + 10 + bytes.length, 0);
  const out = new Uint8Array(head.length + recordBytes);
  const view = new DataView(out.buffer);
  out.set(head);
  let position = head.length;
  for (const bytes of sorted) {
    out.set(name, position);
    position += name.length;
    view.setUint16(position, type);
    view.setUint16(position + 2, CLASS.IN);
    view.setUint32(position + 4, ttlSeconds);
    view.setUint16(position + 8, bytes.length);
    out.set(bytes, position + 10);
    position += 10 + bytes.length;
  }
  return out;
}
