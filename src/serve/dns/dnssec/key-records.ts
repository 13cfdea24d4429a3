/** Records of a zone's keys as text, for whoever has to give them to the parent. */
import { parseName, ROOT_NAME } from '../wire/name.ts';
import { ALGORITHM } from './canonical.ts';
import { delegatedKeys, publishedKeys, type ZoneKeys } from './key-roll.ts';
import { dsData } from './zone-key.ts';

/** DS of what the parent shall have, and DNSKEY of what the zone has; in master format, with remarks. */
export function dnssecRecords(keys: ZoneKeys, dsTtlSeconds: number): string {
  const parsed = parseName(keys.zone, ROOT_NAME);
  if (!parsed.ok) throw new Error(`${keys.zone} is no name`);
  const delegated = delegatedKeys(keys);
  const lines = [
    delegated.length === 0 ? '; at the parent: no DS record' : '; at the parent (CDS and CDNSKEY tell the same)',
  ];
  for (const key of delegated) {
    const digest = Buffer.from(dsData(parsed.name, key).subarray(4)).toString('hex');
    lines.push(`${keys.zone}. ${dsTtlSeconds} IN DS ${key.tag} ${ALGORITHM} 2 ${digest}`);
  }
  lines.push('; in the zone');
  for (const { tag, publicKey } of publishedKeys(keys)) {
    const text = Buffer.from(publicKey).toString('base64');
    lines.push(`${keys.zone}. IN DNSKEY 257 3 ${ALGORITHM} ${text} ; ${tag}`);
  }
  return `${lines.join('\n')}\n`;
}
