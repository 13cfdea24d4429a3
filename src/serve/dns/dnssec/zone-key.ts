/** Keys of a zone: ECDSA P-256 (RFC 6605). One key signs all of a zone (a CSK); a second one is there during a roll only. */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { lowerName, type Name } from '../wire/name.ts';
import { joinBytes } from '../wire/record-data.ts';
import { ALGORITHM, SIGNATURE_HEAD_BYTES, type SignatureFields, signatureHead, signedBytes } from './canonical.ts';

export const SIGNATURE_BYTES = 64;
/** Zone key and secure entry point (RFC 4034 section 2.1.1). */
const FLAGS = 257;
const PROTOCOL = 3;
const DIGEST_SHA256 = 2;
/** P-256's parameters and point, before X and Y, in SubjectPublicKeyInfo. */
const COORDINATE_BYTES = 32;

/** Plain data: threads get copies of it. */
export interface ZoneKey {
  readonly tag: number;
  /** X and Y, 64 bytes. */
  readonly publicKey: Uint8Array;
  /** 32 bytes; secret. */
  readonly privateKey: Uint8Array;
  /** Unix time. */
  readonly createdMs: number;
}

/** Makes a key whose tag is none of `taken`: two keys of a zone must not be mistaken for each other. */
export function createZoneKey(nowMs: number, taken: readonly number[] = []): ZoneKey {
  for (;;) {
    const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
    const part = (text: string | undefined) => new Uint8Array(Buffer.from(text ?? '', 'base64url'));
    const publicKey = joinBytes([part(jwk.x), part(jwk.y)], 2 * COORDINATE_BYTES);
    const tag = keyTag(dnskeyData(publicKey));
    if (!taken.includes(tag)) return { tag, publicKey, privateKey: part(jwk.d), createdMs: nowMs };
  }
}

function jsonWebKey(publicKey: Uint8Array) {
  const text = (start: number) =>
    Buffer.from(publicKey.subarray(start, start + COORDINATE_BYTES)).toString('base64url');
  return { kty: 'EC', crv: 'P-256', x: text(0), y: text(COORDINATE_BYTES) };
}

/** For `SetSigner`. Throws when the key is none. */
export function secretOf({ publicKey, privateKey }: ZoneKey): KeyObject {
  const key = { ...jsonWebKey(publicKey), d: Buffer.from(privateKey).toString('base64url') };
  return createPrivateKey({ key, format: 'jwk' });
}

/** Data of a DNSKEY or CDNSKEY record. */
export function dnskeyData(publicKey: Uint8Array): Uint8Array {
  return joinBytes([Uint8Array.of(FLAGS >> 8, FLAGS & 0xff, PROTOCOL, ALGORITHM), publicKey], 4 + publicKey.length);
}

/** Data of the DS or CDS record of a zone's key (RFC 4509). */
export function dsData(zone: Name, { tag, publicKey }: Pick<ZoneKey, 'tag' | 'publicKey'>): Uint8Array {
  const digest = createHash('sha256').update(lowerName(zone)).update(dnskeyData(publicKey)).digest();
  return joinBytes([Uint8Array.of(tag >> 8, tag & 0xff, ALGORITHM, DIGEST_SHA256), digest], 4 + digest.length);
}

/** RFC 4034 appendix B. */
export function keyTag(data: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += (i & 1) === 0 ? data[i] << 8 : data[i];
  return (sum + (sum >> 16)) & 0xffff;
}

/** Signs with one key. About 60 us a signature. */
export class SetSigner {
  readonly key: ZoneKey;
  readonly #secret: { key: KeyObject; dsaEncoding: 'ieee-p1363' };

  constructor(key: ZoneKey) {
    this.key = key;
    this.#secret = { key: secretOf(key), dsaEncoding: 'ieee-p1363' };
  }

  /** Data of the RRSIG record of a set. */
  sign(
    owner: Name,
    set: { readonly type: number; readonly ttlSeconds: number; readonly records: Parameters<typeof signedBytes>[4] },
    fields: Omit<SignatureFields, 'type' | 'ttlSeconds' | 'keyTag'>,
  ): Uint8Array {
    const { type, ttlSeconds } = set;
    const data = signatureHead({ ...fields, type, ttlSeconds, keyTag: this.key.tag }, SIGNATURE_BYTES);
    const head = data.subarray(0, data.length - SIGNATURE_BYTES);
    data.set(sign('sha256', signedBytes(head, owner, type, ttlSeconds, set.records), this.#secret), head.length);
    return data;
  }
}

/** Whether RRSIG data is a signature of the set by the key; times are not looked at. For checks and tests. */
export function isSignedBy(
  publicKey: Uint8Array,
  data: Uint8Array,
  owner: Name,
  set: { readonly type: number; readonly ttlSeconds: number; readonly records: Parameters<typeof signedBytes>[4] },
): boolean {
  const head = data.subarray(0, data.length - SIGNATURE_BYTES);
  if (head.length <= SIGNATURE_HEAD_BYTES) return false;
  const key = createPublicKey({ key: jsonWebKey(publicKey), format: 'jwk' });
  const signed = signedBytes(head, owner, set.type, set.ttlSeconds, set.records);
  return verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, data.subarray(head.length));
}
