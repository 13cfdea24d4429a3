/** What a server tells about itself: TXT records of class CH (RFC 4892; `version.bind` by custom). */
import { lowerName, type Name, parseName, ROOT_NAME } from './wire/name.ts';
import type { RecordData } from './wire/record-data.ts';

type Fact = 'product' | 'server' | 'epoch';

const facts = new Map<string, Fact>();
function define(text: string, fact: Fact): void {
  const parsed = parseName(text, ROOT_NAME);
  if (parsed.ok) facts.set(parsed.name.join(), fact);
}
define('version.bind', 'product');
define('version.server', 'product');
define('id.server', 'server');
define('hostname.bind', 'server');
define('epoch.portico', 'epoch');

/** No version: it would help only those who look for old ones. */
const PRODUCT = new TextEncoder().encode('Portico');

/** Null: nothing is told under this name. `serverName`, `epoch`: at most 255 bytes. */
export function serverRecord(name: Name, serverName: Uint8Array | null, epoch: Uint8Array | null): RecordData | null {
  const fact = facts.get(lowerName(name).join());
  if (fact === undefined) return null;
  const text = { product: PRODUCT, server: serverName, epoch }[fact];
  return text === null ? null : { bytes: Uint8Array.of(text.length, ...text), names: [] };
}
