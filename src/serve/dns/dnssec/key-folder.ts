/** Key files: one a zone, readable by their owner only. Name servers that share a zone share its file. */
import {
  chmodSync,
  closeSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { RollStep, ZoneKeys } from './key-roll.ts';
import { dnskeyData, keyTag, secretOf, type ZoneKey } from './zone-key.ts';

const key = z.object({
  tag: z.number().int(),
  created: z.iso.datetime(),
  public: z.base64(),
  private: z.base64(),
});
const file = z.object({
  zone: z.string(),
  step: z.enum(['steady', 'published', 'switched', 'retiring'] satisfies RollStep[]),
  since: z.iso.datetime(),
  withdrawn: z.boolean(),
  active: key,
  other: key.nullable(),
});

export type KeysResult =
  | { readonly ok: true; readonly keys: ZoneKeys }
  | { readonly ok: false; readonly path: string; readonly isMissing: boolean; readonly reason: string };

export function keyPath(folder: string, zone: string): string {
  // Names may hold any byte; of those that mean something to file systems only the slash can stand in a configured one.
  return join(folder, `${zone.replaceAll('/', '%2F')}.keys.json`);
}

/** Changes whenever the file does; null: there is none. */
export function keyFileVersion(folder: string, zone: string): string | null {
  try {
    const { mtimeMs, size, ino } = statSync(keyPath(folder, zone));
    return `${mtimeMs} ${size} ${ino}`;
  } catch {
    return null;
  }
}

export function readKeys(folder: string, zone: string): KeysResult {
  const path = keyPath(folder, zone);
  const refuse = (reason: string, isMissing = false): KeysResult => ({ ok: false, path, isMissing, reason });
  let text: string;
  try {
    if ((statSync(path).mode & 0o077) !== 0) return refuse('others than its owner may read it: chmod 600');
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' ? refuse('there is no such file', true) : refuse(`it cannot be read: ${code}`);
  }
  const parsed = file.safeParse(parseJson(text));
  if (!parsed.success) return refuse('it is no key file');
  const { data } = parsed;
  const [active, other] = [readKey(data.active), data.other === null ? null : readKey(data.other)];
  if (data.zone !== zone) return refuse(`it is of the zone ${data.zone}`);
  if (active === 'bad' || other === 'bad') return refuse('a key in it is none, or its parts do not belong together');
  if ((data.step === 'steady') !== (other === null)) return refuse('its step and its keys do not belong together');
  const { step, withdrawn: isWithdrawn } = data;
  return { ok: true, keys: { zone, step, sinceMs: Date.parse(data.since), active, other, isWithdrawn } };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function readKey(values: z.output<typeof key>): ZoneKey | 'bad' {
  const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64'));
  const [publicKey, privateKey] = [bytes(values.public), bytes(values.private)];
  const isComplete = publicKey.length === 64 && privateKey.length === 32;
  if (!isComplete || keyTag(dnskeyData(publicKey)) !== values.tag) return 'bad';
  const read = { tag: values.tag, publicKey, privateKey, createdMs: Date.parse(values.created) };
  try {
    secretOf(read);
    return read;
  } catch {
    return 'bad';
  }
}

/** Replaces the file as a whole: a reader sees the old one or the new one. Throws when the system refuses. */
export function writeKeys(folder: string, keys: ZoneKeys): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const path = keyPath(folder, keys.zone);
  const text = JSON.stringify(
    {
      zone: keys.zone,
      step: keys.step,
      since: new Date(keys.sinceMs).toISOString(),
      withdrawn: keys.isWithdrawn,
      active: keyValues(keys.active),
      other: keys.other === null ? null : keyValues(keys.other),
    },
    null,
    2,
  );
  const fd = openSync(`${path}.new`, 'w', 0o600);
  try {
    fchmodSync(fd, 0o600);
    writeSync(fd, `${text}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(`${path}.new`, path);
}

function keyValues({ tag, createdMs, publicKey, privateKey }: ZoneKey) {
  return {
    tag,
    created: new Date(createdMs).toISOString(),
    public: Buffer.from(publicKey).toString('base64'),
    private: Buffer.from(privateKey).toString('base64'),
  };
}
