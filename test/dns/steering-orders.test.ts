/** Pins, freeze and the bound on moved demand in a running process, through its API, the command line and real queries. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { FleetSource } from '../../src/api/fleet-source.ts';
import { Journal } from '../../src/api/journal.ts';
import { type Api, startApi } from '../../src/api/server.ts';
import { loadConfig } from '../../src/cli/configuration.ts';
import { Runtime } from '../../src/fleet/runtime.ts';
import { decodeMessage, encodeQuery } from '../../src/serve/dns/wire/message.ts';
import { parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';
import { CLASS, RECORD_TYPE } from '../../src/serve/dns/wire/numbers.ts';
import { exchange, freePort } from './fixture.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'portico-steer-'));
const file = join(folder, 'portico.yaml');
const QUIET = { info: () => {}, warn: () => {}, error: () => {} };
const VIPS = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];
const SITES = ['eu', 'us', 'jp'];

function write(port: number, weights: string, maxMoved = '100%'): void {
  const networks = Array.from(
    { length: 40 },
    (_, i) => `    n${i}: { prefixes: [10.${i}.0.0/16], site: eu, demand: 1 }`,
  );
  writeFileSync(
    file,
    `name: steer-test
sites:
  eu: { location: { latitude: 52, longitude: 5 } }
  us: { location: { latitude: 40, longitude: -74 } }
  jp: { location: { latitude: 35, longitude: 139 } }
balancers:
  eu-b1: { site: eu, addresses: [10.255.1.9], probes: 10.255.9.0/26 }
  us-b1: { site: us, addresses: [10.255.2.9], probes: 10.255.9.64/26 }
  jp-b1: { site: jp, addresses: [10.255.3.9], probes: 10.255.9.128/26 }
backends:
  eu-1: { site: eu, address: 10.255.1.1 }
  us-1: { site: us, address: 10.255.2.1 }
  jp-1: { site: jp, address: 10.255.3.1 }
services:
  www:
    dnsName: www.example.test
    policy: { weighted: ${weights} }
    # Never probed while the test runs: nothing listens there.
    health: { interval: 1h }
    vips: { ${SITES.map((site, i) => `${site}: [${VIPS[i]}]`).join(', ')} }
    ports: [80/tcp]
dns:
  servers: { ns1: { listen: ["127.0.0.1:${port}"] } }
  steering: { maxMoved: ${maxMoved} }
  rateLimit: { answers: off }
  networks:
${networks.join('\n')}
  zones:
    example.test:
      nameServers: [ns1.elsewhere.test]
      soa: { primary: ns1.elsewhere.test, contact: hostmaster@example.test, serial: 1 }
state: ${join(folder, 'state')}
`,
  );
}

let port = 0;
let running: { runtime: Runtime; api: Api; journal: Journal } | null = null;
const events: string[] = [];

async function start(): Promise<void> {
  const config = loadConfig(file);
  const journal = new Journal(QUIET);
  journal.subscribe(({ message }) => void events.push(message));
  const machine = { name: 'ns1', netns: null, pins: 'steer-test-ns1', probeNetns: null, probeInterface: null };
  const folders = { state: config.stateFolder, run: join(folder, 'run') };
  const roles = new Set(['dns', 'controller'] as const);
  const runtime = new Runtime({ config, machines: new Map([['ns1', machine]]), roles, folders, log: journal });
  await runtime.start();
  const source = new FleetSource({
    runtime,
    journal,
    load: async (state) => ({ ok: true, value: loadConfig(file, state) }),
  });
  running = { runtime, journal, api: await startApi({ host: '127.0.0.1', port: 0, source, log: QUIET }) };
}

async function stop(): Promise<void> {
  await running?.api.close();
  await running?.runtime.stop(false);
  running = null;
}

before(async () => {
  port = await freePort();
  write(port, '{ eu: 50, us: 50 }');
  await start();
});
after(async () => {
  await stop();
  rmSync(folder, { recursive: true });
});

/** Of a client in 10.INDEX.5.0/24, as it asks by its resolver. */
async function siteFor(index: number): Promise<string> {
  const name = parseName('www.example.test.', ROOT_NAME);
  assert.ok(name.ok);
  const subnet = Uint8Array.of(0, 8, 0, 7, 0, 1, 24, 0, 10, index, 5);
  const edns = { payloadBytes: 1232, flags: 0, options: subnet };
  const query = encodeQuery(index, { name: name.name, type: RECORD_TYPE.A, class: CLASS.IN }, edns);
  const decoded = decodeMessage((await exchange(port, query)) ?? new Uint8Array());
  assert.ok(decoded.ok, `no answer for ${index}`);
  return SITES[decoded.message.answers[0].data.bytes[3] - 1];
}

async function call(path: string, body?: object): Promise<{ status: number; value: Record<string, unknown> }> {
  const response = await fetch(`${running?.api.url}${path}`, {
    ...(body === undefined
      ? {}
      : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  return { status: response.status, value: (await response.json()) as Record<string, unknown> };
}

function portico(...args: string[]): Promise<{ status: number; output: string }> {
  const env = { ...process.env, PORTICO_API: running?.api.url };
  return new Promise((settle) => {
    const child = execFile(join(ROOT, 'portico'), args, { cwd: ROOT, env }, (_error, stdout, stderr) => {
      settle({ status: child.exitCode ?? -1, output: stdout + stderr });
    });
  });
}

const everyone = () => Promise.all(Array.from({ length: 40 }, (_, index) => siteFor(index)));

test('a pin holds at once, over a restart, until it is taken away; explain tells it', async () => {
  const others = (await everyone()).slice(1);
  const pinned = await portico('steer', 'pin', 'jp', '--prefix', '10.0.0.0/16', '--for', '1h');
  assert.equal(pinned.status, 0, pinned.output);
  assert.equal(await siteFor(0), 'jp');
  assert.deepEqual((await everyone()).slice(1), others, 'nobody else moves');
  assert.ok(events.includes('pinned'));
  await stop();
  await start();
  assert.equal(await siteFor(0), 'jp');
  const explained = await portico('explain', 'dns', 'www.example.test', '--from', '127.0.0.1', '--ecs', '10.0.5.0/24');
  assert.match(explained.output, /pinned to jp \(10\.0\.0\.0\/16\) until 20/);
  assert.match(
    explained.output,
    /policy weighted: the unit 10\.0\.0\.0\/16 is at (eu|us); predicted demand eu 50\.0 % of 50\.0 %/,
  );
  assert.equal((await call('/steer/unpin', { prefix: '10.0.0.0/16' })).status, 200);
  assert.notEqual(await siteFor(0), 'jp');
  assert.equal((await call('/steer/unpin', { prefix: '10.0.0.0/16' })).status, 400, 'it is gone');
});

test('a pin of a service to a site that has none of it is refused, and so is nonsense', async () => {
  for (const body of [
    {},
    { site: 'mars' },
    { site: 'eu', service: 'mail' },
    { site: 'eu', prefix: '10.0.0.1/8' },
    { site: 'eu', for: '5' },
  ]) {
    const { status, value } = await call('/steer/pin', body);
    assert.equal(status, 400, JSON.stringify(body));
    assert.ok(typeof value.error === 'string' && typeof value.remedy === 'string');
  }
});

test('a reload that moves more demand than it may is refused; the diff tells why, and the operator may insist', async () => {
  const first = await everyone();
  write(port, '{ eu: 75, us: 25 }', '10%');
  const refused = await call('/reload', {});
  assert.equal(refused.status, 400);
  assert.match(String(refused.value.error), /25 % of the demand of www would move at once/);
  assert.deepEqual(await everyone(), first, 'nobody moved');
  const shown = await portico('steer', 'diff');
  assert.match(shown.output, /service www: 25\.0 % of the known demand would move/);
  assert.match(shown.output, /10\.\d+\.0\.0\/16: 2\.5 % of the demand, us -> eu/);
  assert.match(shown.output, /a reload would be refused/);
  assert.equal((await call('/reload', { anyway: 'yes' })).status, 200);
  const second = await everyone();
  assert.equal(second.filter((site) => site === 'eu').length, 30);
  assert.equal(second.filter((site, i) => site !== first[i]).length, 10, 'as few as possible moved');
});

test('a frozen map takes over what moves nobody, and refuses the rest until it is free', async () => {
  const first = await everyone();
  assert.equal((await call('/steer/freeze', {})).status, 200);
  write(port, '{ eu: 70, us: 30 }');
  const refused = await call('/reload', {});
  assert.equal(refused.status, 400);
  assert.match(String(refused.value.error), /frozen/);
  assert.equal((await call('/steer/pin', { site: 'jp' })).status, 400);
  write(port, '{ eu: 75, us: 25 }', '50%');
  assert.equal((await call('/reload', {})).status, 200);
  assert.deepEqual(await everyone(), first);
  await stop();
  await start();
  const status = (await call('/steer')).value;
  assert.ok(typeof status.frozenSinceMs === 'number', 'kept over the restart');
  assert.deepEqual(await everyone(), first, 'units are where they were');
  assert.equal((await call('/steer/unfreeze', {})).status, 200);
  write(port, '{ eu: 70, us: 30 }');
  assert.equal((await call('/reload', {})).status, 200);
  const kept = readFileSync(join(folder, 'state', 'steering', 'steer-test-ns1.json'), 'utf8');
  assert.equal(Object.keys(JSON.parse(kept).assignments.www['']).length, 40);
});
