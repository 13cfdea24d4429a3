/** Where clients are, from files, over the wire: lists and databases that change while the server answers. */
import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { loadConfigAside } from '../../src/cli/configuration-aside.ts';
import { watchFiles } from '../../src/cli/file-watch.ts';
import { NO_STEERING_STATE } from '../../src/config/steering-model.ts';
import { locationPaths } from '../../src/serve/dns/locations/load.ts';
import { type SampleMap, writeMmdb } from '../../src/serve/dns/locations/mmdb-sample.ts';
import { dig, type RunningServer, startServer } from './fixture.ts';

const folder = mkdtempSync(join(tmpdir(), 'portico-places-'));
const FILE = join(folder, 'portico.yaml');
const LIST = join(folder, 'networks.csv');
const CITY = join(folder, 'city.mmdb');
const ASN = join(folder, 'asn.mmdb');

writeFileSync(
  FILE,
  [
    'name: places',
    'sites: { eu: { location: { latitude: 52, longitude: 5 } }, us: { location: { latitude: 40, longitude: -74 } }, jp: { location: { latitude: 36, longitude: 140 } } }',
    'balancers: { b1: { site: eu, addresses: [10.0.0.1] }, b2: { site: us, addresses: [10.0.0.2] }, b3: { site: jp, addresses: [10.0.0.3] } }',
    'backends: { c1: { site: eu, address: 10.0.1.1 }, c2: { site: us, address: 10.0.1.2 }, c3: { site: jp, address: 10.0.1.3 } }',
    'services:',
    '  near: { dnsName: near.example.test, vips: { eu: [192.0.2.1], us: [192.0.2.2], jp: [192.0.2.3] }, ports: [443/tcp], health: { through: direct } }',
    '  geo:',
    '    dnsName: geo.example.test',
    '    vips: { eu: [198.51.100.1], us: [198.51.100.2], jp: [198.51.100.3] }',
    '    ports: [443/tcp]',
    '    health: { through: direct }',
    '    policy: { geo: [{ asn: [64500], use: jp }, { country: [BR], use: us }, { continent: [AS], use: jp }, { use: eu }] }',
    'dns:',
    '  servers: { n: { listen: [192.0.2.53] } }',
    '  networks: { office: { prefixes: [61.0.9.0/24], site: eu } }',
    '  networkLists: [networks.csv]',
    '  geo: { city: city.mmdb, asn: asn.mmdb }',
    '  zones:',
    '    example.test:',
    '      nameServers: [ns1.example.test]',
    '      soa: { primary: ns1.example.test, contact: host@example.test, serial: 1 }',
    '      records: { ns1: { A: 192.0.2.53 } }',
  ].join('\n'),
);

const place = (continent: string, country: string, latitude: number, longitude: number): SampleMap => ({
  continent: { code: continent },
  country: { iso_code: country },
  location: { latitude, longitude },
});

function writeFiles(): void {
  writeFileSync(LIST, '61.0.0.0/16, us\n61.0.7.0/24, eu\n');
  writeFileSync(
    CITY,
    writeMmdb({ '61.0.0.0/8': place('AS', 'JP', 35.7, 139.7), '2001:db8::/32': place('SA', 'BR', 40, -74) }),
  );
  writeFileSync(ASN, writeMmdb({ '62.0.0.0/16': { autonomous_system_number: 64500 } }));
}

let running: RunningServer;
before(async () => {
  writeFiles();
  const loaded = await loadConfigAside(FILE, NO_STEERING_STATE);
  assert.ok(loaded.ok, loaded.ok ? '' : loaded.error);
  running = await startServer({ config: loaded.value });
});
after(async () => {
  await running.server.stop();
  rmSync(folder, { recursive: true });
});

/** Last number of the address, and the scope. */
async function ask(name: 'near' | 'geo', subnet: string): Promise<string> {
  const { answer, subnet: echo } = await dig(running.port, `${name}.example.test +subnet=${subnet}`);
  return `${answer[0]?.split('.').at(-1)} /${echo?.split('/').at(-1)}`;
}

test('lists come before databases, databases before the default, and scopes follow all of them', async () => {
  assert.equal(await ask('near', '61.0.200.0/24'), '2 /17');
  assert.equal(await ask('near', '61.0.7.0/24'), '1 /24');
  assert.equal(await ask('near', '61.0.9.0/24'), '1 /24');
  assert.equal(await ask('near', '61.7.0.0/24'), '3 /14');
  assert.equal(await ask('near', '62.0.0.0/24'), '1 /7');
  assert.equal(await ask('near', '2001:db8::/48'), '2 /32');
});

test('policies ask for countries, continents and systems of databases, also where a list says the place', async () => {
  assert.equal(await ask('geo', '61.0.7.0/24'), '3 /8');
  assert.equal(await ask('geo', '2001:db8::/48'), '2 /32');
  assert.equal(await ask('geo', '62.0.1.0/24'), '3 /16');
  assert.equal(await ask('geo', '62.1.0.0/24'), '1 /16');
});

test('a list that is replaced counts as soon as it was read; one with an error changes nothing', async () => {
  const changes: (() => void)[] = [];
  const watch = watchFiles(
    () => changes.shift()?.(),
    (place, reason) => assert.fail(`${place}: ${reason}`),
  );
  const replace = async (path: string, text: string) => {
    const changed = new Promise<void>((resolve) => changes.push(resolve));
    writeFileSync(`${path}.new`, text);
    renameSync(`${path}.new`, path);
    await changed;
    return loadConfigAside(FILE, NO_STEERING_STATE);
  };
  try {
    const first = await loadConfigAside(FILE, NO_STEERING_STATE);
    assert.ok(first.ok);
    assert.deepEqual(locationPaths(first.value, FILE), [LIST, CITY, ASN]);
    watch.follow([FILE, ...locationPaths(first.value, FILE)]);
    const next = await replace(LIST, '61.0.0.0/16, jp\n61.0.7.0/24, eu\n');
    assert.ok(next.ok && (await running.server.reload(next.value)).ok);
    assert.equal(await ask('near', '61.0.200.0/24'), '3 /17');
    const bad = await replace(LIST, '61.0.0.0/16, jp\n61.0.7.0/24\n');
    assert.ok(!bad.ok);
    assert.match(bad.error, /networks\.csv:2: dns\.networkLists\[0\]: the line has 1 fields/);
    const cut = await replace(CITY, 'no database');
    assert.ok(!cut.ok);
    assert.equal(await ask('near', '61.0.200.0/24'), '3 /17');
  } finally {
    watch.close();
    writeFiles();
  }
});
