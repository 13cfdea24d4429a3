import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareDelegation, type Delegation, fits, keyTag, type ServedZone } from './delegation.ts';
import { parseName, ROOT_NAME } from './wire/name.ts';

function name(text: string) {
  const parsed = parseName(text, ROOT_NAME);
  assert.ok(parsed.ok);
  return parsed.name;
}

/** RFC 4034 section 5.4 and RFC 4509 section 2.3. */
const KEY = Buffer.concat([
  Buffer.from([1, 0, 3, 5]),
  Buffer.from(
    'AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd/M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==',
    'base64',
  ),
]);
const ZONE = name('dskey.example.com');
const ds = (type: number, digest: string) => Buffer.from(`ec45050${type}${digest}`, 'hex');
const SHA1 = ds(1, '2BB183AF5F22588179A53B0A98631FAD1A292118');
const SHA256 = ds(2, 'D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A');

test('a DS record fits the key that it was made of, as the RFCs show, and no other', () => {
  assert.equal(keyTag(KEY), 60_485);
  assert.ok(fits(ZONE, SHA1, KEY));
  assert.ok(fits(name('DSKEY.example.COM'), SHA256, KEY));
  assert.ok(!fits(name('other.example.com'), SHA256, KEY));
  const other = Buffer.from(KEY);
  other[20] ^= 1;
  assert.ok(!fits(ZONE, SHA256, other));
  for (const broken of [SHA256.subarray(0, 4), SHA256.subarray(0, 30), Buffer.alloc(0)])
    assert.ok(!fits(ZONE, broken, KEY));
});

const PARENT: Delegation = {
  nameServers: ['ns1.dskey.example.com', 'ns2.example.net'],
  addresses: new Map([['ns1.dskey.example.com', ['192.0.2.1', '2001:db8::1']]]),
  ds: [SHA256],
};
const SERVED: ServedZone = { nameServers: PARENT.nameServers, addresses: PARENT.addresses, keys: [KEY], cds: [] };

function differences(parent: Partial<Delegation>, served: Partial<ServedZone> = {}): string[] {
  return compareDelegation(ZONE, { ...PARENT, ...parent }, { ...SERVED, ...served });
}

test('what is the same is not told', () => {
  assert.deepEqual(differences({}), []);
  assert.deepEqual(differences({ ds: [] }, { keys: [] }), []);
  assert.deepEqual(differences({}, { cds: [SHA256] }), []);
  assert.deepEqual(differences({ ds: [] }, { cds: [Buffer.from('0000000000', 'hex')] }), []);
  assert.deepEqual(differences({ ds: [SHA1, SHA256] }), []);
});

test('every difference of name servers, glue and keys is told', () => {
  const glue = (...list: string[]) => ({ addresses: new Map([['ns1.dskey.example.com', list]]) });
  const cases: [string[], RegExp][] = [
    [differences({ nameServers: [...PARENT.nameServers, 'old.example.net'] }), /the parent names old\.example\.net/],
    [differences({ nameServers: ['ns1.dskey.example.com'] }), /the zone names ns2\.example\.net/],
    [differences(glue()), /no glue for ns1/],
    [differences(glue('192.0.2.1')), /glue for ns1\S+ is 192\.0\.2\.1, the zone has 192\.0\.2\.1, 2001:db8::1/],
    [differences({}, glue()), /the zone has no address of it/],
    [differences({ ds: [] }), /signed, the parent has no DS/],
    [differences({}, { keys: [] }), /the zone is not signed/],
    [differences({ ds: [Buffer.from('0001050200', 'hex')] }), /no DS of the parent fits/],
    [differences({ ds: [SHA256, Buffer.from('00010502aa', 'hex')] }), /a DS of key 1, which/],
    [differences({}, { cds: [Buffer.from('0000000000', 'hex')] }), /asks for no DS any more/],
    [differences({}, { cds: [Buffer.from('0001050200', 'hex')] }), /CDS of key 1\) than the parent has \(key 60485\)/],
  ];
  for (const [found, wanted] of cases) {
    assert.equal(found.length, 1, String(wanted));
    assert.match(found[0] as string, wanted);
  }
});
