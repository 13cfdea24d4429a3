/** Real connections by l2 and by nat, in the lab: balancers and backends at a switch. Needs root. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FleetSource } from '../../src/api/fleet-source.ts';
import { Journal } from '../../src/api/journal.ts';
import type { Config } from '../../src/config/model.ts';
import type { Runtime } from '../../src/fleet/runtime.ts';
import { type Lab, startLab } from '../../src/lab/build.ts';
import { startPorticoInLab } from '../../src/lab/portico.ts';
import { startTraffic } from '../../src/lab/traffic.ts';
import { formatAddress } from '../../src/net/address.ts';
import { exampleConfig, place } from './lab-config.ts';

const LIMIT_MS = 30_000;
const PER_REGION = 30;
/** Time for probes, routes and repeated packets after what is done. */
const AFTER_MS = 3_000;
const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** The example in that mode. By nat only VIPs of the backends' family: IPv4. */
function configOf(forwarding: 'l2' | 'nat'): Config {
  const example = exampleConfig();
  const services = [...example.services].map(([name, service]) => {
    const vips = [...service.vips].map(([site, all]) => {
      return [site, forwarding === 'nat' ? all.filter(({ address }) => address.family === 4) : all] as const;
    });
    return [name, { ...service, forwarding, vips: new Map(vips) }] as const;
  });
  const balancers = [...example.balancers].map(([name, balancer]) => {
    return [name, { ...balancer, interfaces: ['eth0', 'lan0'] }] as const;
  });
  return { ...example, services: new Map(services), balancers: new Map(balancers) };
}

async function open(config: Config): Promise<{ lab: Lab; runtime: Runtime; source: FleetSource }> {
  const lab = await startLab({ config, place });
  closers.push(() => lab.stop());
  const journal = new Journal({ info: () => {}, warn: () => {}, error: console.error });
  const runtime = await startPorticoInLab(lab, config, journal);
  closers.push(() => runtime.stop(false));
  await runtime.untilServing(LIMIT_MS);
  return { lab, runtime, source: new FleetSource({ runtime, journal, load: null }) };
}

/** Fetches a page from every VIP of eu some times; gives the names of the backends that answered. */
async function fetchFrom(lab: Lab, config: Config, times: number): Promise<Set<string>> {
  const names = new Set<string>();
  for (const { address: vip } of config.services.get('www')!.vips.get('eu')!) {
    const host = vip.family === 6 ? `[${formatAddress(vip)}]` : formatAddress(vip);
    for (let i = 0; i < times; i++) {
      const page = await lab.run('client-eu', ['curl', '-sS', '--max-time', '5', `http://${host}/`]);
      names.add(page.trim());
    }
  }
  return names;
}

for (const mode of ['l2', 'nat'] as const) {
  test(`by ${mode} pages are served, and connections outlive a drain`, async () => {
    const config = configOf(mode);
    const { lab, source } = await open(config);
    assert.ok((await fetchFrom(lab, config, 12)).size > 1, 'several backends answer');
    const traffic = startTraffic(lab, { perRegion: PER_REGION, newPerSecond: 5 });
    closers.push(() => traffic.stop());
    await traffic.untilOpen(PER_REGION * lab.machinesOf('client').length, LIMIT_MS);
    assert.ok((await source.drain('backend', 'eu-1')).ok);
    await sleep(AFTER_MS);
    const { broken, brokenCount, byBackend, newFailed } = traffic.snapshot();
    assert.equal(brokenCount, 0, JSON.stringify(broken.slice(0, 3)));
    assert.equal(newFailed, 0);
    for (const backend of ['eu-1', 'eu-2', 'eu-3']) assert.ok((byBackend[backend] ?? 0) > 0, backend);
  });
}
