/**
 * The forecast of a drain against what comes, with real packets: users behind caches of a TTL, each filled at its own moment, and behind the
 * lab's resolver with client subnets. Needs root and four minutes.
 */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FleetSource } from '../../src/api/fleet-source.ts';
import { Journal } from '../../src/api/journal.ts';
import { followedLines, forecastLines } from '../../src/cli/plan-text.ts';
import type { Config } from '../../src/config/model.ts';
import { type Lab, startLab } from '../../src/lab/build.ts';
import { startPorticoInLab } from '../../src/lab/portico.ts';
import { spawnIn, startProgram, unconfined } from '../../src/lab/program.ts';
import { startTraffic } from '../../src/lab/traffic.ts';
import { exampleConfig, place } from './lab-config.ts';

const LIMIT_MS = 30_000;
const TTL_SECONDS = 70;
const CACHES = 10;
const BASELINE_SECONDS = 20;
const MINUTES = 3;
const POINTS = 2;
const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A resolver without client subnets among the users of the far site, at an address of its own. */
async function startCache(lab: Lab, n: number): Promise<string> {
  const address = `203.0.113.${200 + n}`;
  const folder = join(lab.folderOf('client-us'), `cache-${n}`);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'unbound.conf');
  writeFileSync(
    file,
    `server:
  directory: "${folder}"
  pidfile: "${folder}/ready"
  chroot: ""
  username: ""
  do-daemonize: no
  use-syslog: no
  num-threads: 1
  msg-cache-size: 64k
  rrset-cache-size: 64k
  interface: ${address}
  outgoing-interface: ${address}
  access-control: 0.0.0.0/0 allow
  module-config: "iterator"
  local-zone: "test." nodefault
  prefetch: no
remote-control:
  control-enable: no
stub-zone:
  name: "example.test"
  stub-addr: 10.53.0.1
  stub-addr: 10.53.0.2
`,
  );
  const { netns } = lab.machines.get('client-us')!;
  const command = unconfined(['unbound', '-c', file]);
  await startProgram({ netns, folder, name: `cache-${n}`, command, readyFile: join(folder, 'ready') });
  return address;
}

async function ask(lab: Lab, resolver: string): Promise<void> {
  const { netns } = lab.machines.get('client-us')!;
  const child = spawnIn(
    netns,
    ['dig', `@${resolver}`, 'www.example.test', 'A', '+tries=3', '+time=2'],
    ['ignore', 'ignore', 'ignore'],
  );
  const status = await new Promise((resolve) => child.once('exit', resolve));
  assert.equal(status, 0, `dig @${resolver}`);
}

test(`a drain comes as forecast, within ${POINTS} points at every minute`, async (t) => {
  const example = exampleConfig();
  const services = [...example.services].map(
    ([name, service]) => [name, { ...service, ttlSeconds: TTL_SECONDS }] as const,
  );
  const config: Config = { ...example, services: new Map(services) };
  const lab = await startLab({ config, place });
  closers.push(() => lab.stop());
  const journal = new Journal({ info: () => {}, warn: () => {}, error: console.error });
  const runtime = await startPorticoInLab(lab, config, journal);
  closers.push(() => runtime.stop(false));
  await runtime.untilServing(LIMIT_MS);
  const caches = await Promise.all(Array.from({ length: CACHES }, (_, n) => startCache(lab, n)));
  const idle = runtime.steering.forecasts;
  for (const cache of caches) {
    await ask(lab, cache);
    await sleep((TTL_SECONDS * 1000) / CACHES);
  }
  const [service] = config.services.keys();
  for (const site of ['eu', 'us'])
    assert.ok(idle.rateOf(service, site) < 1, `probes are no users: ${idle.rateOf(service, site)} a second at ${site}`);
  const traffic = startTraffic(lab, {
    perRegion: 5,
    newPerSecond: 50,
    ipv6Share: 0,
    resolversOf: ({ name }) => (name === 'client-us' ? caches : [lab.machinesOf('resolver')[0].ipv4]),
  });
  closers.push(() => traffic.stop());
  await sleep(BASELINE_SECONDS * 1000);

  const source = new FleetSource({ runtime, journal, load: null });
  const planned = await source.plans.forecast({ change: { kind: 'drain', site: 'us' }, minutes: MINUTES });
  assert.ok(planned.ok);
  t.diagnostic(`\n${forecastLines(planned.value).join('\n')}`);
  assert.ok((await source.drain('site', 'us')).ok);
  const limitAt = performance.now() + (MINUTES * 60 + 10) * 1000;
  for (;;) {
    const [followed] = source.plans.followed();
    if ((followed?.actual.length ?? 0) >= MINUTES) break;
    assert.ok(performance.now() < limitAt, 'minutes are not told');
    await sleep(500);
  }
  const [{ forecast, actual }] = source.plans.followed();
  t.diagnostic(`\n${followedLines(source.plans.followed()).join('\n')}`);
  const us = forecast.sites.findIndex(({ site }) => site === 'us');
  const began = forecast.sites[us].before / forecast.sites.reduce((sum, { before }) => sum + before, 0);
  assert.ok(began > 0.4 && began < 0.6, `half of the users are at the site: ${began}`);
  for (let minute = 0; minute < MINUTES; minute++) {
    const share = actual[minute][us] / actual[minute].reduce((sum, count) => sum + count, 0);
    const off = Math.abs(share - forecast.sites[us].share[minute]) * 100;
    assert.ok(off <= POINTS, `minute ${minute + 1}: ${share} came, ${forecast.sites[us].share[minute]} was forecast`);
  }
  assert.equal(traffic.snapshot().brokenCount, 0, 'connections that are open stay');
});
