import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseConfig } from '../../../config/parse.ts';
import { formatRecordData } from '../presentation/record.ts';
import { parseName, ROOT_NAME } from '../wire/name.ts';
import { parseType } from '../wire/numbers.ts';
import { compileZones } from '../zone-compile.ts';
import { readZoneText } from './access.ts';
import { loadZoneFiles, zonePaths } from './load.ts';
import type { IncludedText } from './read.ts';

const AUTHORITY = '@ 2h SOA ns1 host\\.master 7 1h 15m 14d 90\n@ 2h NS ns1\nns1 A 192.0.2.53\n';

function configure(zoneLines: readonly string[]): string {
  return [
    'name: files',
    'sites: { a: { location: { latitude: 0, longitude: 0 } } }',
    'balancers: { b1: { site: a, addresses: [10.0.0.1] }, b2: { site: a, addresses: [10.0.0.2] } }',
    'backends: { c1: { site: a, address: 10.0.1.1 }, c2: { site: a, address: 10.0.1.2 } }',
    'services: { web: { dnsName: example.test, vips: { a: [192.0.2.1] }, ports: [443/tcp], health: { through: direct } } }',
    'dns:',
    '  servers: { n: { listen: [192.0.2.53] } }',
    '  zones:',
    '    example.test:',
    ...zoneLines.map((line) => `      ${line}`),
  ].join('\n');
}

/** A configuration with one zone file, and the folder of files in memory. */
function load(files: Readonly<Record<string, string>>, zoneLines: readonly string[] = []) {
  const parsed = parseConfig(configure(['file: zones/main.zone', ...zoneLines]), 'conf/portico.yaml');
  assert.ok(parsed.ok, JSON.stringify(parsed));
  const opened: string[] = [];
  const read = (path: string, inside: string | null): IncludedText => {
    opened.push(`${path} ${inside}`);
    const text = files[path];
    return text === undefined
      ? { ok: false, message: `${path} does not exist`, remedy: 'name one' }
      : { ok: true, text };
  };
  return { ...loadZoneFiles(parsed.config, 'conf/portico.yaml', read), opened };
}

const MAIN = 'conf/zones/main.zone';

/** Records of a name after compiling, and the problems if it is refused. */
function compile(files: Readonly<Record<string, string>>, zoneLines: readonly string[] = []) {
  const { config, problems } = load(files, zoneLines);
  assert.deepEqual(problems, []);
  const compiled = compileZones(config);
  const recordsOf = (name: string, type: string) => {
    assert.ok(compiled.ok, compiled.ok ? '' : JSON.stringify(compiled.problems));
    const parsed = parseName(name, ROOT_NAME);
    assert.ok(parsed.ok);
    const number = parseType(type) ?? 0;
    const set = compiled.zones.names.get(parsed.name)?.sets.get(number);
    return set?.records.map((data) => `${set.ttlSeconds} ${formatRecordData(number, data)}`) ?? [];
  };
  return { compiled, recordsOf, config };
}

test('the files that a zone comes from are known, whether or not they can be read', () => {
  const inner = 'conf/zones/more/mail.inc';
  const { config } = load({ [MAIN]: `${AUTHORITY}$INCLUDE more/mail.inc`, [inner]: 'mail A 192.0.2.25\n' });
  assert.deepEqual([...new Set(zonePaths(config, 'conf/portico.yaml'))], [MAIN, inner]);
  assert.deepEqual(zonePaths(load({}).config, 'conf/portico.yaml'), [MAIN]);
});

test('records of a zone file and of the configuration make one zone', () => {
  const text = `${AUTHORITY}$TTL 5m\nwww TXT file\n$INCLUDE more/mail.inc`;
  const files = { [MAIN]: text, 'conf/zones/more/mail.inc': '@ MX 10 mail\nmail A 192.0.2.25\n' };
  const { recordsOf, config } = compile(files, ['ttl: 10m', 'records: { www: { A: 192.0.2.80 }, "@": { TXT: yaml } }']);
  assert.deepEqual(recordsOf('example.test', 'SOA'), [
    '7200 ns1.example.test. host\\.master.example.test. 7 3600 900 1209600 90',
  ]);
  assert.deepEqual(recordsOf('example.test', 'NS'), ['7200 ns1.example.test.']);
  // Without a TTL of its own and before $TTL, a record has that of the record before it.
  assert.deepEqual(recordsOf('ns1.example.test', 'A'), ['7200 192.0.2.53']);
  assert.deepEqual(recordsOf('www.example.test', 'TXT'), ['300 "file"']);
  assert.deepEqual(recordsOf('www.example.test', 'A'), ['600 192.0.2.80']);
  assert.deepEqual(recordsOf('example.test', 'TXT'), ['600 "yaml"']);
  assert.deepEqual(recordsOf('example.test', 'MX'), ['300 10 mail.example.test.']);
  const [zone] = config.zones;
  assert.deepEqual([zone.serial, zone.nameServers, zone.file?.records?.length], [7, ['ns1.example.test'], 6]);
});

test('negative answers hold for the lower of TTL and last field of SOA', () => {
  const { compiled } = compile({ [MAIN]: AUTHORITY });
  assert.ok(compiled.ok);
  assert.equal(compiled.zones.zones[0].negativeSoa.ttlSeconds, 90);
  assert.equal(compiled.zones.zones[0].steeredNegativeSoa.ttlSeconds, 60);
});

test('files are opened in the folder of the configuration, included ones inside the folder of the zone file', () => {
  const files = { [MAIN]: `${AUTHORITY}$INCLUDE a/b.inc`, 'conf/zones/a/b.inc': 'x TXT x\n' };
  assert.deepEqual(load(files).opened, ['conf/zones/main.zone null', 'conf/zones/a/b.inc conf/zones']);
});

test('what stands in both places is refused, with both places', () => {
  const { compiled } = compile({ [MAIN]: `${AUTHORITY}www TXT file\n` }, ['records: { www: { TXT: yaml } }']);
  assert.ok(!compiled.ok);
  const [problem] = compiled.problems;
  assert.equal(problem.path, 'dns.zones["example.test"].records.www.TXT');
  assert.match(problem.message, /www\.example\.test TXT stands in the zone file too \(conf\/zones\/main\.zone:4\)/);
});

test('rules between names name the line of the zone file', () => {
  const text = `${AUTHORITY}c CNAME x\nc TXT y\nout.side. TXT z\nsub NS ns.sub\n@ A 192.0.2.9\n@ DNSKEY 257 3 13 AAAA\n`;
  const { compiled } = compile({ [MAIN]: text });
  assert.ok(!compiled.ok);
  const told = compiled.problems.map(({ file, line, message }) => `${file}:${line} ${message}`).sort();
  assert.deepEqual(
    told.map((each) => each.replace(`${MAIN}:`, '')),
    [
      '4 c.example.test has a CNAME beside TXT',
      '6 out.side is not in the zone example.test',
      '7 the name server ns.sub.example.test of sub.example.test has no address in the zone',
      '8 example.test has static A records and is the name of service web',
      '9 a zone here has no DNSKEY records of its own',
    ],
  );
});

test('a file without SOA or NS at the apex, or with two SOA, is refused', () => {
  const told = (text: string) =>
    load({ [MAIN]: text }).problems.map(({ file, line, message }) => `${file}:${line} ${message}`);
  assert.deepEqual(told('x TXT y\n'), [`${MAIN}:1 the zone file has no SOA record at example.test`]);
  assert.deepEqual(told('@ SOA a b 1 2 3 4 5\n'), [`${MAIN}:1 the zone file has no NS record at example.test`]);
  assert.deepEqual(told(`${AUTHORITY}x SOA a b 1 2 3 4 5\n`), [`${MAIN}:4 a zone has one SOA record, at its own name`]);
  assert.deepEqual(load({}).problems, [
    {
      path: 'dns.zones["example.test"].file',
      column: 1,
      line: 10,
      value: 'zones/main.zone',
      message: 'conf/zones/main.zone does not exist',
      remedy: 'name one',
    },
  ]);
});

test('SOA and name servers stand either in the file or in the configuration', () => {
  const errors = (lines: readonly string[]) => {
    const parsed = parseConfig(configure(lines), 'x.yaml');
    return parsed.ok ? [] : parsed.problems.map(({ path, message }) => `${path} ${message}`);
  };
  const at = 'dns.zones["example.test"]';
  assert.deepEqual(errors(['ttl: 1h']), [`${at}.nameServers "nameServers" is missing`, `${at}.soa "soa" is missing`]);
  assert.deepEqual(errors(['file: a.zone', 'nameServers: [ns.x.test]']), [
    `${at}.nameServers "nameServers" stands beside "file": the zone file has its own`,
  ]);
  assert.deepEqual(errors(['file: ""']), [`${at}.file this is not the path of a file`]);
});

test('a configuration whose zone files were not read is refused', () => {
  const parsed = parseConfig(configure(['file: a.zone']), 'x.yaml');
  assert.ok(parsed.ok);
  const compiled = compileZones(parsed.config);
  assert.ok(!compiled.ok && /was not read/.test(compiled.problems[0].message));
});

test('links out of the folder, folders, other encodings and missing files are told', () => {
  const folder = mkdtempSync(join(tmpdir(), 'zones-'));
  try {
    mkdirSync(join(folder, 'in'));
    writeFileSync(join(folder, 'out.zone'), 'x');
    writeFileSync(join(folder, 'in/latin.zone'), Uint8Array.of(0x78, 0xe4));
    writeFileSync(join(folder, 'in/own.zone'), '\ufeffx');
    symlinkSync('../out.zone', join(folder, 'in/link.zone'));
    symlinkSync('own.zone', join(folder, 'in/fine.zone'));
    const told = (name: string, inside: string | null = join(folder, 'in')) => {
      const read = readZoneText(join(folder, 'in', name), inside);
      return read.ok ? read.text : read.message.replaceAll(folder, 'F');
    };
    assert.equal(told('fine.zone'), '\ufeffx');
    assert.equal(told('link.zone'), 'F/in/link.zone is a link that leads out of F/in');
    assert.equal(told('link.zone', null), 'x');
    assert.equal(told('latin.zone'), 'F/in/latin.zone is not UTF-8');
    assert.equal(told('none.zone'), 'F/in/none.zone does not exist');
    assert.equal(told('../in', null), 'F/in is a folder');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
