/** The lab's resolver, and traffic from its clients straight to the backends, without Portico. Needs root. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab } from '../../src/lab/build.ts';
import { startLab } from '../../src/lab/build.ts';
import type { Traffic, TrafficSnapshot } from '../../src/lab/traffic.ts';
import { startTraffic } from '../../src/lab/traffic.ts';
import { exampleConfig, place } from './lab-config.ts';
import type { SeenQuery, TestNameServer } from './lab-name-server.ts';
import { startNameServer } from './lab-name-server.ts';

const TTL_SECONDS = 2;
const NAME = 'www.example.test';
const TYPE_AAAA = 28;
let lab: Lab;
let server: TestNameServer;
let traffic: Traffic;
/** Backends that the name server answers with, in turn, by site. */
let backends: Record<string, string[]>;
let turn = 0;

/** The site nearest to the subnet; anything unknown goes to eu. */
function siteOf(subnet: string | null): string {
  return subnet === '203.0.113.128/25' || subnet?.startsWith('2001:db8:f:') ? 'us' : 'eu';
}

function answer(query: SeenQuery): string | null {
  const names = backends[siteOf(query.subnet)];
  const machine = lab.machines.get(names[turn++ % names.length])!;
  return query.type === TYPE_AAAA ? machine.ipv6 : machine.ipv4;
}

before(async () => {
  const config = exampleConfig();
  backends = { eu: ['eu-1', 'eu-2'], us: ['us-1', 'us-2'] };
  lab = await startLab({ config, place });
  const places = lab.machinesOf('nameserver').map(({ netns, ipv4 }) => ({ netns, address: ipv4 }));
  server = await startNameServer(places, TTL_SECONDS, answer);
});
after(async () => {
  await traffic?.stop();
  server?.close();
  await lab?.stop();
});

async function dig(client: string, source: string, type: string, options: readonly string[] = []): Promise<string> {
  const { ipv4, ipv6 } = lab.machines.get('resolver')!;
  const resolver = source.includes(':') ? ipv6 : ipv4;
  const text = await lab.run(client, ['dig', `@${resolver}`, '-b', source, '+short', ...options, NAME, type]);
  return text.trim();
}

async function untilSnapshot(what: string, limitMs: number, holds: (now: TrafficSnapshot) => boolean) {
  const limitAt = performance.now() + limitMs;
  for (;;) {
    const now = traffic.snapshot();
    if (holds(now)) return now;
    if (performance.now() > limitAt) assert.fail(`${what}: not within ${limitMs} ms: ${JSON.stringify(now.regions)}`);
    await sleep(20);
  }
}

test('the resolver tells the name server the network that its client is in', async () => {
  await dig('client-eu', '203.0.113.77', 'A');
  await dig('client-us', '203.0.113.200', 'A');
  await dig('client-us', '2001:db8:f::5', 'AAAA');
  const subnets = server.seen.map((query) => query.subnet);
  assert.deepEqual(subnets, ['203.0.113.0/25', '203.0.113.128/25', '2001:db8:f::/56']);
});

test('clients of both regions get answers of their own from the same resolver at the same time', async () => {
  const [near, far] = await Promise.all([dig('client-eu', '203.0.113.9', 'A'), dig('client-us', '203.0.113.209', 'A')]);
  assert.match(near, /^10\.10\.2\.\d$/);
  assert.match(far, /^10\.20\.2\.\d$/);
});

// Unbound counts whole seconds: an answer may be kept for up to one more.
test('an answer is kept for its lifetime and no longer', async () => {
  await sleep(TTL_SECONDS * 1000 + 1200);
  const before = server.seen.length;
  const first = await dig('client-eu', '203.0.113.9', 'A');
  assert.equal(await dig('client-eu', '203.0.113.10', 'A'), first, 'the same for the whole network');
  assert.equal(server.seen.length, before + 1);
  await sleep(TTL_SECONDS * 1000 + 1200);
  await dig('client-eu', '203.0.113.9', 'A');
  assert.equal(server.seen.length, before + 2);
});

test('a hundred connections from each region are open soon and stay where they are', async () => {
  traffic = startTraffic(lab, { perRegion: 100, newPerSecond: 20 });
  await traffic.untilOpen(200, 8000);
  const { answers } = traffic.snapshot();
  const open = traffic.openConnections();
  await sleep(2500);
  const later = traffic.snapshot();
  assert.equal(later.brokenCount, 0, JSON.stringify(later.broken[0]));
  assert.deepEqual(traffic.openConnections(), open);
  const each = (later.answers - answers) / 200;
  assert.ok(each > 5 && each < 12, `${each} answers on each connection in 2.5 s, one every 250 to 300 ms`);
});

test('each region is served by its own site, a third of it over IPv6', () => {
  const { regions } = traffic.snapshot();
  assert.deepEqual(Object.keys(regions['client-eu'].bySite), ['eu']);
  assert.deepEqual(Object.keys(regions['client-us'].bySite), ['us']);
  const six = traffic.openConnections().filter((connection) => connection.address.includes(':'));
  assert.equal(six.length, 66);
  const ports = new Set(traffic.openConnections().map((one) => `${one.localAddress} ${one.localPort}`));
  assert.equal(ports.size, 200);
});

test('short connections are begun at a steady rate and answered', async () => {
  const before = traffic.snapshot();
  await sleep(2000);
  const after = traffic.snapshot();
  const begun = after.newOk - before.newOk;
  assert.ok(begun > 60 && begun < 100, `${begun} in 2 s, of 20 a second from 2 regions`);
  assert.equal(after.newFailed, 0, JSON.stringify(after.failures[0]));
});

test('when a backend dies its connections break, all of them and no others, and are opened anew elsewhere', async () => {
  const doomed = traffic.openConnections().filter((connection) => connection.backend === 'eu-1');
  assert.ok(doomed.length > 0);
  backends.eu = ['eu-2'];
  await sleep(TTL_SECONDS * 1000 + 1200); // until the resolver has forgotten it
  const before = traffic.snapshot();
  await lab.killBackend('eu-1');
  const after = await untilSnapshot('all broken', 6000, (now) => now.brokenCount >= doomed.length);
  assert.deepEqual(
    after.broken.map((broken) => `${broken.region} ${broken.id}`).sort(),
    doomed.map((connection) => `${connection.region} ${connection.id}`).sort(),
  );
  assert.ok(after.broken.every((broken) => broken.backend === 'eu-1' && broken.why === 'no answer in 3000 ms'));
  assert.equal(after.newFailed, before.newFailed);
  const healed = await untilSnapshot('200 open', 3000, (now) => now.open === 200);
  assert.equal(healed.brokenCount, doomed.length);
  assert.equal(healed.byBackend['eu-1'], undefined);
});

test('a lost site breaks its connections and fails new ones, with reasons, until it is back', async () => {
  const before = traffic.snapshot();
  await lab.loseSite('us');
  const lost = await untilSnapshot('all of us broken', 8000, (now) => now.regions['client-us'].open === 0);
  assert.equal(lost.regions['client-eu'].broken, before.regions['client-eu'].broken);
  const failed = await untilSnapshot('new ones fail', 5000, (now) => now.newFailed > before.newFailed);
  assert.equal(failed.failures.at(-1)!.region, 'client-us');
  assert.match(failed.failures.at(-1)!.why, /^(E[A-Z]+|no connection in 3000 ms)$/);
  await lab.restoreSite('us');
  await traffic.untilOpen(200, 8000);
});

test('traffic that is stopped ends its processes and reports nothing more', async () => {
  await traffic.stop();
  for (const client of lab.machinesOf('client')) {
    assert.equal(execFileSync('ip', ['netns', 'pids', client.netns], { encoding: 'utf8' }), '');
  }
  assert.equal(typeof traffic.snapshot().open, 'number');
});
