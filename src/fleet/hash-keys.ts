/**
 * The SipHash keys of the sites. A key stays for a site's life: another key would send every flow elsewhere. A site
 * whose configuration names none gets a random one, kept in the state folder, readable by its owner only.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config/model.ts';

const KEY_BYTES = 16;

/** The key of every site, 16 bytes each. Throws where a kept key cannot be read back or written. */
export function loadHashKeys(config: Config, stateFolder: string): Map<string, Uint8Array> {
  const keys = new Map<string, Uint8Array>();
  for (const site of config.sites.values())
    keys.set(site.name, site.hashKey ?? keptKey(join(stateFolder, 'hash-keys'), site.name));
  return keys;
}

function keptKey(folder: string, site: string): Uint8Array {
  const file = join(folder, `${site}.hex`);
  const kept = readKept(file);
  if (kept !== null) return kept;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  // Written beside and linked, so that a crash leaves a whole key or none, and of two processes that start at a time one key stays.
  const next = `${file}.${process.pid}.new`;
  writeFileSync(next, `${randomBytes(KEY_BYTES).toString('hex')}\n`, { mode: 0o600, flush: true });
  try {
    linkSync(next, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(next, { force: true });
  }
  const now = readKept(file);
  if (now === null) throw new Error(`${file} was removed while it was made`);
  return now;
}

function readKept(file: string): Uint8Array | null {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  if (!/^[0-9a-f]{32}$/.test(text))
    throw new Error(
      `${file} does not hold a hash key of 32 hexadecimal digits; restore it, or remove it to get a new one`,
    );
  return Buffer.from(text, 'hex');
}
