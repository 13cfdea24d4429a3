/** What a server tells about itself: by NSID (RFC 5001) and in TXT records of class CH (RFC 4892; `version.bind` by custom). */
import { lowerName, type Name, parseName, ROOT_NAME } from './wire/name.ts';
import type { RecordData } from './wire/record-data.ts';

/** Null: not told. UTF-8. */
export interface ServerIdentity {
  readonly product: Uint8Array | null;
  readonly server: Uint8Array | null;
  readonly epoch: Uint8Array | null;
  /** Server and epoch, for NSID. */
  readonly nsid: Uint8Array | null;
}

export const TELLS_NOTHING: ServerIdentity = { product: null, server: null, epoch: null, nsid: null };

/** NSID has room beside the longest question without EDNS size: 512 bytes hold it with subnet and cookie. */
const MAX_SERVER_BYTES = 64;
const MAX_EPOCH_BYTES = 64;
/** One string of a TXT record. */
const MAX_PRODUCT_BYTES = 255;

/** Throws when a text is too long. Null: not to be told. */
export function createIdentity(product: string | null, server: string | null, epoch: string | null): ServerIdentity {
  const told = [server, epoch === null ? null : `epoch ${epoch}`].filter((text) => text !== null);
  return {
    product: shortText(product, MAX_PRODUCT_BYTES),
    server: shortText(server, MAX_SERVER_BYTES),
    epoch: shortText(epoch, MAX_EPOCH_BYTES),
    nsid: shortText(told.length === 0 ? null : told.join(' '), MAX_SERVER_BYTES + MAX_EPOCH_BYTES + 7),
  };
}

function shortText(text: string | null, maxBytes: number): Uint8Array | null {
  if (text === null) return null;
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > maxBytes) throw new Error(`"${text}" has more than ${maxBytes} bytes`);
  return bytes;
}

const facts = new Map<string, keyof ServerIdentity>();
function define(text: string, fact: keyof ServerIdentity): void {
  const parsed = parseName(text, ROOT_NAME);
  if (parsed.ok) facts.set(parsed.name.join(), fact);
}
define('version.bind', 'product');
define('version.server', 'product');
define('id.server', 'server');
define('hostname.bind', 'server');
define('epoch.portico', 'epoch');

/** Null: nothing is told under this name. */
export function serverRecord(name: Name, identity: ServerIdentity): RecordData | null {
  const fact = facts.get(lowerName(name).join());
  const text = fact === undefined ? null : identity[fact];
  return text === null ? null : { bytes: Uint8Array.of(text.length, ...text), names: [] };
}
