import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClientGroup, ClientPlaces } from '../../../config/model.ts';
import { parseAddress } from '../../../net/address.ts';
import { AMSTERDAM, address, network, testConfig } from '../sample.ts';
import { clientGroups } from './client-groups.ts';

const UNKNOWN: ClientGroup = {
  entry: null,
  location: null,
  site: null,
  continent: null,
  country: null,
  asn: null,
};

/** `starts` in text, ascending, with indexes of groups. */
function segments(family: 4 | 6, list: readonly (readonly [string, number])[]): ClientPlaces['ipv4'] {
  const words = list.flatMap(([text]) => {
    const { bytes } = parseAddress(text) ?? assert.fail(text);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(i * 4));
  });
  return {
    family,
    count: list.length,
    starts: Uint32Array.from(words),
    values: Uint32Array.from(list, ([, group]) => group),
    densities: new Float64Array(list.length),
  };
}

test('clients are counted by the network that covers them, else by country, else among the others', () => {
  const config = testConfig({ networks: [network('10.0.0.0/8', AMSTERDAM), network('2001:db8::/32', AMSTERDAM)] });
  const [office] = config.networks;
  assert.ok(office !== undefined);
  const plain = clientGroups(config);
  assert.equal(plain.nameOf(address('10.9.8.7'), 32), office.name);
  assert.equal(plain.nameOf(address('10.9.0.0'), 16), office.name);
  assert.equal(plain.nameOf(address('2001:db8::1'), 128), config.networks[1]?.name);
  assert.equal(plain.nameOf(address('192.0.2.1'), 32), 'other');
  const clients = {
    groups: [UNKNOWN, { ...UNKNOWN, entry: office, country: 'NL' }, { ...UNKNOWN, country: 'DE' }],
    ipv4: segments(4, [
      ['0.0.0.0', 0],
      ['10.0.0.0', 1],
      ['11.0.0.0', 0],
      ['192.0.2.0', 2],
      ['192.0.3.0', 0],
    ]),
    ipv6: segments(6, [
      ['::', 0],
      ['2001:db8::', 2],
      ['2001:db8:0:1::', 0],
    ]),
    maps: [],
  } as unknown as ClientPlaces;
  const placed = clientGroups({ ...config, clients });
  const names = [
    '0.0.0.0',
    '9.255.255.255',
    '10.0.0.0',
    '10.255.255.255',
    '11.0.0.0',
    '192.0.2.255',
    '255.255.255.255',
  ];
  assert.deepEqual(
    names.map((text) => placed.nameOf(address(text), 32)),
    ['other', 'other', office.name, office.name, 'other', 'DE', 'other'],
  );
  const longer = ['::', '2001:db8::', '2001:db8::ffff:ffff:ffff:ffff', '2001:db8:0:1::', 'ffff::'];
  assert.deepEqual(
    longer.map((text) => placed.nameOf(address(text), 128)),
    ['other', 'DE', 'DE', 'other', 'other'],
  );
});
