/** Domain names in the operator's text. Inside a `Config` they are lower case, absolute, without the final dot. */
import { type Reading, wrong } from './units.ts';

const MAX_LABEL_OCTETS = 63; // RFC 1035 2.3.4
const MAX_NAME_OCTETS = 253; // in text, without the final dot: 255 on the wire

/**
 * Reads a name of letters, digits, hyphens and underscores (hosts' names and service labels; others are for static data only).
 * `allowWildcard`: the first label may be `*`. With or without final dot; the result has none and is lower case.
 */
export function readDomainName(raw: unknown, allowWildcard = false): Reading<string> {
  const remedy = 'write a full domain name like www.example.net';
  if (typeof raw !== 'string' || raw === '') return wrong('this is not a domain name', remedy);
  const name = raw.toLowerCase().replace(/\.$/, '');
  if (name.length > MAX_NAME_OCTETS) return wrong('the name has more than 253 characters', remedy);
  for (const [index, label] of name.split('.').entries()) {
    if (label === '*' && index === 0 && allowWildcard) continue;
    if (label === '') return wrong('the name has an empty label', 'take the extra dot away');
    if (label.length > MAX_LABEL_OCTETS) return wrong('a label has more than 63 characters', 'shorten the label');
    if (!/^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/.test(label)) {
      return wrong(
        `the label "${label}" has characters that a name may not have`,
        'use letters, digits, underscores, and hyphens inside; international names in their xn-- form',
      );
    }
  }
  return { ok: true, value: name };
}

/** Whether `name` is `zone` or below it. Both lower case, without final dot. */
export function isWithin(name: string, zone: string): boolean {
  return zone === '' || name === zone || name.endsWith(`.${zone}`);
}

/** The zone of `zones` that `name` belongs to: the longest that it is within; null: none. */
export function zoneOf<Z extends string>(name: string, zones: Iterable<Z>): Z | null {
  let best: Z | null = null;
  for (const zone of zones) if (isWithin(name, zone) && (best === null || zone.length > best.length)) best = zone;
  return best;
}

/** As in a zone file: `@` is the zone, a final dot makes a name absolute, others are relative to the zone. Lower case. */
export function absoluteName(text: string, zone: string): string {
  const name = text.toLowerCase();
  if (name === '@') return zone;
  if (name.endsWith('.')) return name.slice(0, -1);
  return zone === '' ? name : `${name}.${zone}`;
}
