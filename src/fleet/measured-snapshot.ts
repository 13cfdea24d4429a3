/** All that measured steering has learned, in one row of bytes with a checksum; and files that are either the old or the new one. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import type { MeasuredAnswers } from '../config/steering-model.ts';
import type { SteeringNumbers } from '../decide/steer/measured-setup.ts';
import { shareSegments } from '../net/segment-overlay.ts';

export interface MeasuredSnapshot {
  readonly numbers: SteeringNumbers;
  readonly prefixes: Uint8Array;
  readonly steering: Uint8Array;
}

const MAGIC = Buffer.from('portico measured 1\n');
const HASH_BYTES = 32;
/** More than a million prefixes and four million round trips take. */
const MAX_BYTES = 1 << 30;

function sealed(value: unknown): Uint8Array {
  const body = serialize(value);
  return Buffer.concat([MAGIC, createHash('sha256').update(body).digest(), body]);
}

/** Null: it is something else, or damaged. */
function opened(bytes: Uint8Array): unknown {
  const start = MAGIC.length + HASH_BYTES;
  if (bytes.length < start || bytes.length > MAX_BYTES || Buffer.compare(bytes.subarray(0, MAGIC.length), MAGIC) !== 0)
    return null;
  const body = bytes.subarray(start);
  const hash = createHash('sha256').update(body).digest();
  return Buffer.compare(hash, bytes.subarray(MAGIC.length, start)) === 0 ? deserialize(body) : null;
}

export function joinSnapshot(snapshot: MeasuredSnapshot): Uint8Array {
  return sealed(snapshot);
}

/** Null: it is none. */
export function splitSnapshot(bytes: Uint8Array): MeasuredSnapshot | null {
  const value = opened(bytes) as MeasuredSnapshot | null;
  if (value === null || !(value.prefixes instanceof Uint8Array) || !(value.steering instanceof Uint8Array)) return null;
  return value;
}

export function answersToBytes(answers: MeasuredAnswers): Uint8Array {
  const { rows, ipv4, ipv6 } = answers;
  const plain = (segments: MeasuredAnswers['ipv4']) => {
    const { starts, values, densities } = segments;
    return { ...segments, starts: starts.slice(), values: values.slice(), densities: densities.slice() };
  };
  return sealed({ ...answers, rows: rows.slice(), ipv4: plain(ipv4), ipv6: plain(ipv6) });
}

/** Null: they are none. */
export function answersFromBytes(bytes: Uint8Array): MeasuredAnswers | null {
  const value = opened(bytes) as MeasuredAnswers | null;
  if (value === null || !(value.rows instanceof Int32Array) || !(value.classes instanceof Map)) return null;
  const rows = new Int32Array(new SharedArrayBuffer(value.rows.byteLength));
  rows.set(value.rows);
  return { ...value, rows, ipv4: shareSegments(value.ipv4), ipv6: shareSegments(value.ipv6) };
}

/** Null: there is no such file. Throws where it cannot be read. */
export function readKept(file: string): Uint8Array | null {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

export async function writeKept(file: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(`${file}.new`, bytes, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/** When the process ends. */
export function writeKeptNow(file: string, bytes: Uint8Array): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(`${file}.new`, bytes, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}
