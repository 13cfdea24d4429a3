import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '../../../config/model.ts';
import { parseConfig } from '../../../config/parse.ts';
import { compileSteering } from '../../../decide/steer/policy.ts';
import { addressBits, parseAddress } from '../../../net/address.ts';
import { lookupPrefix, prefixScope, prefixValue } from '../../../net/prefix-map.ts';
import { segmentAt } from '../../../net/segment-overlay.ts';
import type { FileBytes } from '../bounded-file.ts';
import { testConfig } from '../sample.ts';
import { loadLocations } from './load.ts';
import { writeMmdb } from './mmdb-sample.ts';
import { placeSources } from './place-sources.ts';

const NETWORKS = ['networks:', '  office: { prefixes: [61.0.7.0/24], site: eu }'];

function configure(dns: readonly string[]): string {
  return [
    'name: places',
    'sites: { eu: { location: { latitude: 52, longitude: 5 } }, us: { location: { latitude: 40, longitude: -74 } }, jp: { location: { latitude: 35.7, longitude: 139.7 } } }',
    'dns:',
    ...dns.map((line) => `  ${line}`),
  ].join('\n');
}

function load(files: Readonly<Record<string, string | Uint8Array>>, dns: readonly string[]) {
  const parsed = parseConfig(configure(dns), 'conf/portico.yaml');
  assert.ok(parsed.ok, JSON.stringify(parsed));
  const read = (path: string): FileBytes => {
    const file = files[path];
    if (file === undefined) return { ok: false, message: `${path} does not exist`, remedy: 'name one' };
    return { ok: true, bytes: typeof file === 'string' ? new TextEncoder().encode(file) : file };
  };
  return loadLocations({ ...parsed.config, services: testConfig().services }, 'conf/portico.yaml', read);
}

function known({ clients }: Config, text: string) {
  const address = parseAddress(text);
  assert.ok(address !== null && clients !== null);
  const row = address.family === 4 ? clients.ipv4 : clients.ipv6;
  const { entry, ...group } = clients.groups[row.values[segmentAt(row, address.bytes)]];
  return { ...group, name: entry?.name ?? null };
}

function siteOf(config: Config, text: string) {
  const address = parseAddress(text);
  const steering = compileSteering(config).get('www');
  assert.ok(address !== null && steering !== undefined);
  const found = lookupPrefix(steering.map, address.family, address.bytes, 0, addressBits(address.family));
  const plan = steering.plans[prefixValue(found)];
  assert.ok(plan.kind === 'first');
  return `${steering.sites[plan.sites[0]]}/${prefixScope(found)}`;
}

const CITY = writeMmdb({
  '61.0.0.0/8': {
    continent: { code: 'AS' },
    country: { iso_code: 'JP' },
    location: { latitude: 35.7, longitude: 139.7 },
  },
  '2001:db8::/32': {
    continent: { code: 'NA' },
    country: { iso_code: 'US' },
    location: { latitude: 40, longitude: -74 },
  },
});
const ASN = writeMmdb({ '61.0.0.0/16': { autonomous_system_number: 64500 } });

const NOTHING = { location: null, site: null, continent: null, country: null, asn: null, name: null };

test('of each thing the first source that says it counts: networks and lists by longest prefix, then the databases', () => {
  const { config, problems } = load(
    {
      'conf/lists/own.csv':
        '# ours\n61.0.0.0/16, us\n61.0.7.128/25, 52.37, 4.9, 12.5 # a resolver\n\n2001:db8:7::/48,jp',
      'conf/city.mmdb': CITY,
      '/geo/asn.mmdb': ASN,
    },
    [...NETWORKS, 'networkLists: [lists/own.csv]', 'geo: { city: city.mmdb, asn: /geo/asn.mmdb }'],
  );
  assert.deepEqual(problems, []);
  const japan = { continent: 'AS', country: 'JP' };
  assert.deepEqual(known(config, '61.0.1.1'), { ...NOTHING, ...japan, site: 'us', asn: 64500 });
  assert.deepEqual(known(config, '61.0.7.1'), { ...NOTHING, ...japan, site: 'eu', asn: 64500, name: 'office' });
  const location = { latitudeDegrees: 52.37, longitudeDegrees: 4.9 };
  assert.deepEqual(known(config, '61.0.7.200'), { ...NOTHING, ...japan, location, asn: 64500, name: 'own.csv' });
  const tokyo = { latitudeDegrees: 35.7, longitudeDegrees: 139.7 };
  assert.deepEqual(known(config, '61.7.0.0'), { ...NOTHING, ...japan, location: tokyo });
  assert.deepEqual(known(config, '62.0.0.0'), NOTHING);
  assert.equal(known(config, '2001:db8:7::1').site, 'jp');
  assert.equal(known(config, '2001:db8:8::1').country, 'US');
  assert.deepEqual(config.clients?.groups[0].entry, null);
  assert.equal(siteOf(config, '61.0.1.1'), 'us/22');
  assert.equal(siteOf(config, '61.0.7.200'), 'eu/24');
  assert.equal(siteOf(config, '61.7.0.0'), 'jp/14');
  assert.equal(siteOf(config, '62.0.0.0'), 'eu/7');
  assert.equal(siteOf(config, '2001:db8:7::1'), 'jp/48');
  assert.equal(siteOf(config, '2001:db8:8::1'), 'us/45');
});

test('who says what of a client is told, with list and line, and the network of each database', () => {
  const files: Record<string, string | Uint8Array> = {
    'conf/own.csv': '# ours\n61.0.0.0/16, us\n61.0.7.128/25, -, 12.5',
    'conf/city.mmdb': CITY,
    'conf/asn.mmdb': ASN,
  };
  const { config } = load(files, [...NETWORKS, 'networkLists: [own.csv]', 'geo: { city: city.mmdb, asn: asn.mmdb }']);
  const { clients } = config;
  assert.ok(clients !== null);
  const sourcesOf = (text: string) => {
    const address = parseAddress(text);
    assert.ok(address !== null);
    const row = address.family === 4 ? clients.ipv4 : clients.ipv6;
    const group = clients.groups[row.values[segmentAt(row, address.bytes)]];
    const bytes = (path: string): FileBytes => ({ ok: true, bytes: files[path] as Uint8Array });
    return placeSources(config, group, address, bytes).map(({ where, prefix, says }) => `${where} ${prefix} ${says}`);
  };
  const city = 'conf/city.mmdb 61.0.0.0/8 AS, JP, at 35.7 139.7';
  const asn = 'conf/asn.mmdb 61.0.0.0/16 AS64500';
  assert.deepEqual(sourcesOf('61.0.1.1'), ['conf/own.csv:2 61.0.0.0/16 site us', city, asn]);
  assert.deepEqual(sourcesOf('61.0.7.200'), ['conf/own.csv:3 61.0.7.128/25 demand 12.5', city, asn]);
  assert.deepEqual(sourcesOf('61.0.7.1'), ['dns.networks.office 61.0.7.0/24 site eu', city, asn]);
  assert.deepEqual(sourcesOf('62.0.0.0'), [
    'dns.networks and dns.networkLists null ',
    'conf/city.mmdb null ',
    'conf/asn.mmdb null ',
  ]);
});

test('all that is wrong in all files is told at once, with file, line, value and remedy', () => {
  const { config, problems } = load(
    {
      'conf/a.csv': [
        '61.0.0.0/16, us',
        '61.0.0.1/16, us',
        '61.0.0.0, us',
        'x',
        '62.0.0.0/8, ue',
        '63.0.0.0/8, 91, 0',
        '64.0.0.0/8, 9, 0, -1',
        '65.0.0.0/8, us, many',
        '66.0.0.0/8, us, 1, 2',
        '67.0.0.0/8, -',
        '61.0.7.0/24, us',
      ].join('\n'),
      'conf/b.csv': '# a\r\n61.0.0.0/16, us\r\n',
      'conf/latin.csv': Uint8Array.of(0x23, 0xe4, 0x0a),
      'conf/asn.mmdb': ASN,
    },
    [...NETWORKS, 'networkLists: [a.csv, b.csv, latin.csv, none.csv]', 'geo: { city: asn.mmdb, country: b.csv }'],
  );
  assert.equal(config.clients, null);
  const told = problems.map(({ path, file, line, value, message, remedy }) => {
    assert.ok(remedy !== '' && message !== '');
    return `${file ?? 'portico.yaml'}:${line} ${path} [${value}] ${message}`;
  });
  const list = 'dns.networkLists[0]';
  assert.deepEqual(told, [
    `conf/a.csv:2 ${list} [61.0.0.1/16] the address has bits beyond the first 16`,
    `conf/a.csv:3 ${list} [61.0.0.0] the prefix has no length`,
    `conf/a.csv:4 ${list} [x] this is not a prefix`,
    `conf/a.csv:5 ${list} [ue] there is no site "ue"`,
    `conf/a.csv:6 ${list} [91] the number is out of range`,
    `conf/a.csv:7 ${list} [-1] the number is out of range`,
    `conf/a.csv:8 ${list} [many] this is not a number`,
    `conf/a.csv:9 ${list} [66.0.0.0/8, us, 1, 2] the line has 4 fields`,
    `conf/a.csv:10 ${list} [-] there is no site "-"`,
    'portico.yaml:6 dns.networkLists[2] [latin.csv] conf/latin.csv is not UTF-8',
    'portico.yaml:6 dns.networkLists[3] [none.csv] conf/none.csv does not exist',
    'portico.yaml:7 dns.geo.city [asn.mmdb] conf/asn.mmdb: it tells no continents, countries or places',
    'portico.yaml:7 dns.geo.country [b.csv] conf/b.csv: it is no MMDB file: its metadata are missing',
    'conf/b.csv:2 dns.networkLists [61.0.0.0/16] the prefix stands in conf/a.csv:1 too',
    'conf/a.csv:11 dns.networkLists [61.0.7.0/24] the prefix stands in dns.networks of the configuration too',
  ]);
});

test('no more than 200 problems of a file are told', () => {
  const { problems } = load({ 'conf/a.csv': 'x\n'.repeat(1000) }, ['networkLists: [a.csv]']);
  assert.equal(problems.length, 200);
});

test('a source that is too short is answered for the most demand that lists tell', () => {
  const { config } = load({ 'conf/a.csv': '61.0.0.0/16, us, 5\n61.0.7.0/24, jp, 9\n62.0.0.0/16, us' }, [
    'networkLists: [a.csv]',
  ]);
  const steering = compileSteering(config).get('www');
  assert.ok(steering !== undefined);
  const first = (bytes: Uint8Array, source: number) => {
    const plan = steering.plans[prefixValue(lookupPrefix(steering.map, 4, bytes, 0, source))];
    return plan.kind === 'first' ? steering.sites[plan.sites[0]] : null;
  };
  assert.equal(first(Uint8Array.of(61, 0), 16), 'jp');
  assert.equal(first(Uint8Array.of(61, 0, 128), 17), 'us');
  assert.equal(first(Uint8Array.of(60), 6), 'jp');
});
