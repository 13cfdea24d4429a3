/** A delegation as zonemaster sees it: no error and no warning, for a plain zone and a signed one, by IPv4 and IPv6. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parseConfig } from '../../src/config/parse.ts';
import { writeKeys } from '../../src/serve/dns/dnssec/key-folder.ts';
import { dnssecRecords } from '../../src/serve/dns/dnssec/key-records.ts';
import { firstKeys } from '../../src/serve/dns/dnssec/key-roll.ts';
import { type DelegationLab, NAME_SERVERS, startDelegationLab } from './delegation-lab.ts';

const isMissing = spawnSync('zonemaster-cli', ['--version']).error !== undefined;
const skip =
  process.getuid?.() !== 0
    ? 'needs root: it makes a network namespace'
    : isMissing
      ? 'zonemaster-cli is not installed'
      : false;

/** Names of services at the apex and below, other records beside them, and a name that only a wildcard has. */
function configText(keys: string): string {
  const quoted = (addresses: readonly string[]) => addresses.map((address) => `"${address}"`).join(', ');
  const records = (server: readonly string[]) => `{ A: ${server[0]}, AAAA: "${server[1]}" }`;
  const soa =
    'soa: { primary: ns1.steer.net, contact: hostmaster@steer.net, serial: 2026010101, refresh: 4h, retry: 1h, negativeTtl: 5m }';
  const service = (name: string, last: number) =>
    `{ dnsName: ${name}, vips: { eu: [185.9.9.${last}, "2a00:9::${last}"], us: [37.9.9.${last}, "2a04:9::${last}"] }, ports: [443/tcp], https: { alpn: [h2] }, health: { through: direct } }`;
  return [
    'name: delegated',
    'sites: { eu: { location: { latitude: 52, longitude: 5 } }, us: { location: { latitude: 40, longitude: -74 } } }',
    'balancers: { b1: { site: eu, addresses: [10.0.0.1] }, b2: { site: us, addresses: [10.0.1.1] } }',
    'backends: { c1: { site: eu, address: 10.0.0.2 }, c2: { site: us, address: 10.0.1.2 } }',
    'services:',
    `  www: ${service('www.steer.net', 1)}`,
    `  apex: ${service('steer.net', 2)}`,
    `  signed: ${service('signed.net', 3)}`,
    'dns:',
    `  servers: { ns1: { listen: [${quoted(NAME_SERVERS.ns1)}] }, ns2: { listen: [${quoted(NAME_SERVERS.ns2)}] } }`,
    `  dnssec: { keys: "${keys}" }`,
    '  zones:',
    '    steer.net:',
    '      nameServers: [ns1.steer.net, ns2.steer.net]',
    '      ttl: 1d',
    `      ${soa}`,
    '      records:',
    '        "@": { MX: 10 mail, TXT: \'"v=spf1 mx -all"\' }',
    '        mail: { A: 185.9.9.9, AAAA: "2a00:9::9" }',
    '        "*.any": { TXT: \'"any"\' }',
    `        ns1: ${records(NAME_SERVERS.ns1)}`,
    `        ns2: ${records(NAME_SERVERS.ns2)}`,
    '    signed.net:',
    '      dnssec: true',
    '      nameServers: [ns1.steer.net, ns2.steer.net]',
    '      ttl: 1d',
    `      ${soa}`,
    '      records:',
    '        "@": { MX: 10 mail, TXT: \'"v=spf1 mx -all"\' }',
    '        mail: { A: 185.9.9.9, AAAA: "2a00:9::9" }',
    '',
  ].join('\n');
}

let lab: DelegationLab | null = null;
const keys = mkdtempSync(join(tmpdir(), 'portico-keys-'));
before(async () => {
  if (skip !== false) return;
  const zoneKeys = firstKeys('signed.net', Date.now());
  writeKeys(keys, zoneKeys);
  const parsed = parseConfig(configText(keys), 'delegated.yaml');
  assert.ok(parsed.ok, JSON.stringify(parsed));
  const delegations = ['steer.net', 'signed.net'].flatMap((zone) =>
    Object.keys(NAME_SERVERS).map((name) => `${zone}. 86400 NS ${name}.steer.net.`),
  );
  const ds = dnssecRecords(zoneKeys, 86_400)
    .split('\n')
    .filter((line) => /\sDS\s/.test(line));
  assert.ok(ds.length > 0);
  lab = await startDelegationLab(parsed.config, [...delegations, ...ds]);
});
after(async () => {
  await lab?.stop();
  rmSync(keys, { recursive: true });
});

interface Finding {
  readonly level: string;
  readonly tag: string;
  readonly module: string;
}

/** Of that on connectivity nothing is told when all is well. */
const MODULES = ['ADDRESS', 'BASIC', 'CONSISTENCY', 'DELEGATION', 'DNSSEC', 'NAMESERVER', 'SYNTAX', 'SYSTEM', 'ZONE'];

/** What zonemaster says of a zone. */
async function examine(zone: string): Promise<Finding[]> {
  assert.ok(lab !== null);
  const args = ['--hints', lab.hints, '--level', 'INFO', '--json', '--no-progress', '--locale', 'C.UTF-8', zone];
  // Versions differ in whether the list stands alone.
  const told = JSON.parse(await lab.run('zonemaster-cli', args)) as Finding[] | { readonly results: Finding[] };
  return Array.isArray(told) ? told : told.results;
}

/** Of the plain zone, that it is not signed is worth a notice. */
const ALLOWED_NOTICES = ['NOT_SIGNED', 'NEITHER_DNSKEY_NOR_DS'];

for (const zone of ['steer.net', 'signed.net']) {
  test(`zonemaster finds nothing wrong with ${zone}`, { skip }, async () => {
    const findings = await examine(zone);
    // Every module has run, at both servers by both families.
    assert.deepEqual([...new Set(findings.map(({ module }) => module.toUpperCase()))].sort(), MODULES);
    for (const address of Object.values(NAME_SERVERS).flat())
      assert.ok(JSON.stringify(findings).includes(address), `${address} was not asked`);
    const wrong = findings.filter(({ level }) => !['INFO', 'DEBUG'].includes(level));
    const others = wrong.filter(({ tag, level }) => level !== 'NOTICE' || !ALLOWED_NOTICES.includes(tag));
    assert.deepEqual(others, []);
  });
}
