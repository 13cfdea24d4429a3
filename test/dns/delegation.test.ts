/** Delegations as others tell them: Unbound is the parent, and the resolver that finds it; a name server of ours has the zone below. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Config } from '../../src/config/model.ts';
import { type DelegationFinding, lookAtDelegation } from '../../src/fleet/delegation-look.ts';
import { DelegationWatch } from '../../src/fleet/delegation-watch.ts';
import { address, testConfig } from '../../src/serve/dns/sample.ts';
import type { DnsServer } from '../../src/serve/dns/server.ts';
import { parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';
import { startServer } from './fixture.ts';
import { dsLine, startSigned } from './signed-fixture.ts';
import { startAuthority, type Unbound } from './unbound.ts';

// Port 53 of an address that is this process's own.
const PARENT = `127.66.${(process.pid >> 8) & 0xff}.${process.pid & 0xff}`;
const folder = mkdtempSync(join(tmpdir(), 'portico-delegation-'));
const closers: (() => Promise<void>)[] = [];
let unbound: Unbound;
let own: { server: DnsServer; port: number };

const GOOD = `
example NS ns1.example
example NS ns2.example
ns1.example A 192.0.2.53
ns1.example AAAA 2001:db8::53
ns2.example A 198.51.100.53
`;

function writeZone(delegation: string): string {
  const file = join(folder, 'test.zone');
  writeFileSync(
    file,
    `$ORIGIN test.\n$TTL 60\n@ SOA ns hostmaster 1 3600 900 86400 60\n@ NS ns\nns A ${PARENT}\n${delegation}`,
  );
  return file;
}

const startParent = () => startAuthority('test', join(folder, 'test.zone'), PARENT, 53);

async function delegate(delegation: string): Promise<void> {
  await unbound.stop();
  writeZone(delegation);
  unbound = await startParent();
}

before(async () => {
  writeZone(GOOD);
  unbound = await startParent();
  own = await startServer();
  closers.push(
    () => own.server.stop(),
    () => unbound.stop(),
  );
});

after(async () => {
  for (const close of closers) await close();
  rmSync(folder, { recursive: true, force: true });
});

const parent = { address: address(PARENT), port: 53 };

function look(
  options: { parents?: (typeof parent)[] | null; resolver?: typeof parent | null; own?: typeof parent } = {},
) {
  const parsed = parseName('example.test', ROOT_NAME);
  assert.ok(parsed.ok);
  const here = { address: address('127.0.0.1'), port: own.port };
  return lookAtDelegation(parsed.name, { netns: null, own: here, parents: [parent], resolver: null, ...options });
}

function assertFinding(finding: DelegationFinding, ...wanted: RegExp[]): void {
  assert.equal(finding.differences.length, wanted.length, JSON.stringify(finding));
  for (const [index, pattern] of wanted.entries()) assert.match(finding.differences[index] as string, pattern);
}

test('a parent that says what is served differs in nothing, asked by its address or found by a resolver', async () => {
  const nothing = { differences: [], unknown: [], asked: [PARENT] };
  assert.deepEqual(await look(), nothing);
  assert.deepEqual(await look({ parents: null, resolver: parent }), nothing);
});

test('what a parent says otherwise is told, and a parent that does not answer is not taken for one that differs', async () => {
  await delegate(`
example NS ns1.example
example NS ns9.elsewhere.test.
example DS 60485 13 2 ${'ab'.repeat(32)}
ns1.example A 192.0.2.54
`);
  const silent = { address: address('127.66.255.255'), port: 53 };
  const finding = await look({ parents: [silent, parent] });
  assertFinding(
    finding,
    /^the parent names ns9\.elsewhere\.test as name server/,
    /^the zone names ns2\.example\.test as name server/,
    /glue for ns1\.example\.test is 192\.0\.2\.54, the zone has 192\.0\.2\.53, 2001:db8::53/,
    /the parent has a DS, the zone is not signed/,
  );
  assert.match(finding.unknown.join(), /^127\.66\.255\.255: /);
  await delegate('other A 192.0.2.1\n');
  assertFinding(await look(), /^the parent answers NXDOMAIN about example\.test \(says /);
});

test('the keys of a signed zone are held against the DS records of its parent', async () => {
  const signed = await startSigned();
  try {
    const ds = dsLine('example.test', signed.keysOf('example.test').active);
    const here = { address: address('127.0.0.1'), port: signed.port };
    await delegate(`${GOOD}${ds}\n`);
    assertFinding(await look({ own: here }));
    await delegate(`${GOOD}${ds.slice(0, -2)}${ds.endsWith('00') ? '01' : '00'}\n`);
    assertFinding(await look({ own: here }), /no DS of the parent fits a key/);
    await delegate(GOOD);
    assertFinding(await look({ own: here }), /the zone is signed, the parent has no DS/);
  } finally {
    await signed.stop();
  }
});

test('the watch tells a difference once, and when it is over', async () => {
  await delegate(GOOD.replace('198.51.100.53', '198.51.100.54'));
  const said: string[] = [];
  const note = (_fields: object, message: string): void => void said.push(message);
  const listen = [{ address: address('127.0.0.1'), port: own.port }];
  const config: Config = testConfig({
    nameServers: new Map([['ns1', { name: 'ns1', listen, interfaces: null, anycast: null }]]),
    delegation: { intervalMs: 3_600_000, resolver: null, parents: new Map([['example.test', [parent]]]) },
  });
  const log = { info: note, warn: note, error: note };
  const watch = new DelegationWatch(log, () => ({ name: 'ns1', machine: { netns: null } }));
  watch.setConfig(config);
  await watch.lookAtAll();
  await watch.lookAtAll();
  assert.equal(said.length, 1);
  assert.match(said[0] as string, /^delegation of example\.test: the parent's glue for ns2/);
  assert.deepEqual(
    watch.states.map(({ zone }) => zone),
    ['example.test'],
  );
  await unbound.stop();
  await watch.lookAtAll();
  assert.match(said[1] as string, /cannot be looked at whole/);
  assert.equal(watch.states[0]?.differences.length, 1, 'silence makes nothing right');
  await delegate(GOOD);
  await watch.lookAtAll();
  assert.match(said[2] as string, /the parent says what is served/);
  watch.setConfig({ ...config, delegation: null });
  assert.deepEqual(watch.states, []);
  watch.close();
});
