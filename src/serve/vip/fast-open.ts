/**
 * One TCP Fast Open key for the backends of a site (RFC 7413): a cookie that one of them gave is good at all of them, as the
 * next connection of its client may reach any. Of a machine's namespace, so for every service on it.
 */
import { hkdfSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { inNamespace } from './netns.ts';

const KEY_BYTES = 16;
const KEY_PATH = '/proc/sys/net/ipv4/tcp_fastopen_key';
const MODE_PATH = '/proc/sys/net/ipv4/tcp_fastopen';
/** Bit of `tcp_fastopen`: sockets that listen and ask for it take cookies. */
const SERVER = 2;

/**
 * Follows from the site's hash key (HKDF of RFC 5869, SHA-256), so that no machine has to be told one; whoever knows it learns nothing of
 * the hash key. It lives as long as that one, for the site's life. As the kernel writes it: four times eight hexadecimal digits.
 */
export function fastOpenKey(hashKey: Uint8Array, site: string): string {
  const key = hkdfSync('sha256', hashKey, new Uint8Array(0), `portico tcp fast open ${site}`, KEY_BYTES);
  return (Buffer.from(key).toString('hex').match(/.{8}/g) as string[]).join('-');
}

/** The settings of one namespace, changed for as long as a service asks for it. */
export class FastOpen {
  readonly #netns: string | null;
  #before: { readonly key: string; readonly mode: string } | null = null;

  constructor(netns: string | null) {
    this.#netns = netns;
  }

  /** Null: as it was before. Throws where the kernel refuses. */
  set(key: string | null): void {
    inNamespace(this.#netns, () => {
      if (key === null) {
        this.#restore();
        return;
      }
      const mode = readFileSync(MODE_PATH, 'utf8').trim();
      this.#before ??= { key: readFileSync(KEY_PATH, 'utf8').trim(), mode };
      if (readFileSync(KEY_PATH, 'utf8').trim() !== key) writeFileSync(KEY_PATH, key);
      if ((Number(mode) & SERVER) === 0) writeFileSync(MODE_PATH, String(Number(mode) | SERVER));
    });
  }

  #restore(): void {
    if (this.#before === null) return;
    writeFileSync(KEY_PATH, this.#before.key);
    writeFileSync(MODE_PATH, this.#before.mode);
    this.#before = null;
  }
}
