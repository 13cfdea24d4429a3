/** A balancer with a kernel: what a configuration puts there, and that nothing of it stays. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Config } from '../config/model.ts';
import { createSlotTable } from '../decide/slots.ts';
import { listKeys, lookupElement, mapInfo, openPinned } from '../serve/vip/bpf.ts';
import { closeFd } from '../serve/vip/libc.ts';
import { cannotLoad, makeNetwork, type TestNetwork } from '../serve/vip/test-network.ts';
import { type BalancerRole, startBalancer } from './balancer-role.ts';
import { fixtureConfig } from './fleet-fixture.ts';
import { HealthBook } from './health-book.ts';
import { SiteRuntime } from './site-runtime.ts';

const log = { info: () => {}, warn: () => {}, error: () => {} };

/** Two services; the second comes and goes. */
function config(withMail: boolean): Config {
  const mail = `  mail:
    vips: { eu: [192.0.2.11] }
    ports: [25/tcp, 465/tcp]
    backends: [eu-2, eu-3]
    slots: 307
    tracking: { perPrefix: 1000/s }
    health: { type: tcp, port: 25 }
`;
  return fixtureConfig((text) =>
    text
      .replace(/10\.1\.2\./g, '10.77.0.1')
      .replace('addresses: [10.1.1.1], interfaces: [eth0]', 'addresses: [10.77.0.2], interfaces: [far0]')
      .replace('services:\n', `services:\n${withMail ? mail : ''}`),
  );
}

/** Maps that the control side writes, with every entry. */
const WRITTEN = [
  'active_connections',
  'backends',
  'pick_tables',
  'pressures',
  'probe_sources',
  'services',
  'slot_tables',
  'vips',
];

function dumpMaps(pins: string): Map<string, string> {
  const dumps = new Map<string, string>();
  for (const name of WRITTEN) {
    const fd = openPinned(join('/sys/fs/bpf/portico', pins, name));
    assert.ok(fd !== null, name);
    const { keySizeBytes, valueSizeBytes } = mapInfo(fd);
    const value = new Uint8Array(Math.ceil(valueSizeBytes / 8) * 8);
    const entries: string[] = [];
    for (const key of listKeys(fd, keySizeBytes)) {
      value.fill(0);
      // What is all zeros in an array is not there.
      if (lookupElement(fd, key, value) && value.some((byte) => byte !== 0))
        entries.push(`${Buffer.from(key).toString('hex')} ${Buffer.from(value).toString('hex')}`);
    }
    closeFd(fd);
    dumps.set(name, entries.sort().join('\n'));
  }
  return dumps;
}

interface World {
  readonly site: SiteRuntime;
  readonly role: BalancerRole;
  readonly pins: string;
}

/** A balancer in the far namespace; `label` names both. */
async function startWorld(
  t: TestContext,
  label: string,
  start: Config,
  prepare: (network: TestNetwork) => void = () => {},
): Promise<World> {
  const network = makeNetwork(label);
  const folder = mkdtempSync(join(tmpdir(), 'portico-kernel-'));
  const pins = `${label}-${process.pid}`;
  const health = new HealthBook(
    () => 0,
    () => {},
  );
  const site = new SiteRuntime({
    site: 'eu',
    health,
    nowMs: () => performance.now(),
    wallMs: Date.now,
    hashKey: () => undefined,
    log,
  });
  t.after(async () => {
    await site.close(() => false);
    network.remove();
    rmSync(folder, { recursive: true });
  });
  prepare(network);
  const balancer = start.balancers.get('eu-b1');
  assert.ok(balancer !== undefined);
  const role = await startBalancer({
    balancer,
    machine: { name: 'eu-b1', netns: network.far, pins, probeInterface: null, probeNetns: null },
    hashKey: new Uint8Array(16).fill(7),
    folders: { run: folder, state: folder },
    log,
    onProbe: () => {},
  });
  site.addBalancer(role, start);
  await site.apply(start);
  return { site, role, pins };
}

test('a service that is removed leaves nothing behind in the kernel', { skip: cannotLoad }, async (t) => {
  const before = config(false);
  const { site, role, pins } = await startWorld(t, 'bk', before);
  const first = dumpMaps(pins);
  await site.apply(config(true));
  assert.equal(role.forwarder.services.list().length, 3, 'two ports more');
  const during = dumpMaps(pins);
  for (const name of ['services', 'slot_tables', 'vips']) assert.notEqual(during.get(name), first.get(name), name);
  await site.apply(before);
  const after = dumpMaps(pins);
  for (const name of WRITTEN) assert.equal(after.get(name), first.get(name), name);
});

test('a service without room in the kernel is left out, the others go on, and it comes with the slow round', {
  skip: cannotLoad,
}, async (t) => {
  const { site, role } = await startWorld(t, 'bl', config(false));
  const { forwarder } = role;
  const createTable = forwarder.createTable.bind(forwarder);
  forwarder.createTable = () => {
    throw new Error('no memory');
  };
  await assert.rejects(site.apply(config(true)), /eu-b1 leaves out service mail: .*no memory/);
  assert.equal(forwarder.services.list().length, 1);
  assert.ok(site.tables.hasTarget('eu-b1'));
  assert.equal(role.withdrawnFor, null);
  forwarder.createTable = createTable;
  await site.maintain();
  assert.equal(forwarder.services.list().length, 3);
  const mail = role.table(site.tables.summary('mail')?.subject ?? 0);
  const [inKernel, wanted] = [createSlotTable(307), site.tables.table('mail')];
  mail?.readInto(inKernel);
  assert.deepEqual(inKernel.current, wanted?.current);
});

test('a backend behind a gateway is sent nothing by its MAC address alone, after a reload either', {
  skip: cannotLoad,
}, async (t) => {
  const by = (mode: string) =>
    fixtureConfig((text) =>
      text
        .replace('10.1.2.1 ', '203.0.113.7 ')
        .replace('10.1.2.2', '10.77.0.1')
        .replace('10.1.2.3', '203.0.113.8')
        .replace('addresses: [10.1.1.1], interfaces: [eth0]', 'addresses: [10.77.0.2], interfaces: [far0]')
        .replace('slots: 307', `slots: 307\n    forwarding: ${mode}`),
    );
  const { site, role } = await startWorld(t, 'bg', by('gre'), ({ far }) => {
    execFileSync('ip', ['-n', far, 'route', 'add', '203.0.113.0/24', 'via', '10.77.0.1']);
  });
  const index = site.indices.numberOf('eu-1') ?? 0;
  const hasEntry = () => role.forwarder.listBackends().some((entry) => entry.index === index);
  assert.ok(hasEntry() && role.nextHopOf(index) !== undefined);
  await site.apply(by('l2'));
  assert.equal(hasEntry(), false);
  await site.maintain();
  assert.equal(hasEntry(), false);
  assert.ok(role.nextHopOf(site.indices.numberOf('eu-2') ?? 0) !== undefined, 'a neighbour is reached');
  await site.apply(by('gre'));
  assert.ok(hasEntry());
});
