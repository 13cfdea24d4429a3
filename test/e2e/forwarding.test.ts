/** Real connections by IP in IP and GUE, in the lab: what changes of backends and the death of a balancer do to them. Needs root. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FleetSource } from '../../src/api/fleet-source.ts';
import { Journal } from '../../src/api/journal.ts';
import type { Config, ForwardingMode } from '../../src/config/model.ts';
import { explainFlow } from '../../src/fleet/explain-flow.ts';
import type { Runtime } from '../../src/fleet/runtime.ts';
import { type Lab, startLab } from '../../src/lab/build.ts';
import { startPorticoInLab } from '../../src/lab/portico.ts';
import { startTraffic, type Traffic } from '../../src/lab/traffic.ts';
import { parseAddress } from '../../src/net/address.ts';
import { exampleConfig, place } from './lab-config.ts';

const LIMIT_MS = 30_000;
const PER_REGION = 30;
/** Time for probes, routes and repeated packets after what is done. */
const AFTER_MS = 3_000;
const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Bed {
  readonly lab: Lab;
  readonly runtime: Runtime;
  readonly source: FleetSource;
  /** More connections from all regions, open when it resolves. */
  connect(): Promise<Traffic>;
}

/** The example's lab with a mode for its service, and for single backends. */
async function open(forwarding: ForwardingMode, own: Readonly<Record<string, ForwardingMode>> = {}): Promise<Bed> {
  const example = exampleConfig();
  const config: Config = {
    ...example,
    services: new Map([...example.services].map(([name, service]) => [name, { ...service, forwarding }])),
    backends: new Map(
      [...example.backends].map(([name, backend]) => [name, { ...backend, forwarding: own[name] ?? null }]),
    ),
  };
  const lab = await startLab({ config, place });
  closers.push(() => lab.stop());
  const journal = new Journal({ info: () => {}, warn: () => {}, error: console.error });
  const runtime = await startPorticoInLab(lab, config, journal);
  closers.push(() => runtime.stop(false));
  await runtime.untilServing(LIMIT_MS);
  const connect = async (): Promise<Traffic> => {
    const traffic = startTraffic(lab, { perRegion: PER_REGION, newPerSecond: 5 });
    closers.push(() => traffic.stop());
    await traffic.untilOpen(PER_REGION * lab.machinesOf('client').length, LIMIT_MS);
    return traffic;
  };
  return { lab, runtime, source: new FleetSource({ runtime, journal, load: null }), connect };
}

/** The modes that settled packets of some flows to eu leave in, by backend. */
function modesOf({ lab, runtime }: Bed): Map<string, string | undefined> {
  const { ipv4 } = lab.machines.get('client-eu')!;
  const modes = new Map<string, string | undefined>();
  for (let sourcePort = 40_000; sourcePort < 40_060; sourcePort++) {
    const [source, destination] = [parseAddress(ipv4)!, parseAddress('192.0.2.10')!];
    const result = explainFlow(runtime, { source, sourcePort, destination, destinationPort: 80, protocol: 'tcp' });
    assert.ok(result.ok);
    for (const view of result.value.balancers) modes.set(view.toBackend ?? 'nobody', view.encapsulation?.mode);
  }
  return modes;
}

function assertNoneBroke(traffic: Traffic): void {
  const { broken, brokenCount } = traffic.snapshot();
  assert.equal(brokenCount, 0, JSON.stringify(broken.slice(0, 3)));
}

test('by IP in IP, and by GUE to a backend that wants it, connections open and outlive a drain', async () => {
  const bed = await open('ipip', { 'eu-2': 'gue' });
  assert.deepEqual(Object.fromEntries(modesOf(bed)), { 'eu-1': 'ipip', 'eu-2': 'gue', 'eu-3': 'ipip' });
  const traffic = await bed.connect();
  assert.ok((await bed.source.drain('backend', 'eu-1')).ok);
  await sleep(AFTER_MS);
  assertNoneBroke(traffic);
  const { byBackend, newFailed } = traffic.snapshot();
  assert.equal(newFailed, 0);
  for (const backend of ['eu-1', 'eu-2', 'eu-3']) assert.ok((byBackend[backend] ?? 0) > 0, backend);
});

test('by GUE no connection breaks when a balancer dies after a change: packets get their second chance', async () => {
  const bed = await open('gue');
  const before = await bed.connect();
  assert.ok((await bed.source.drain('backend', 'eu-1')).ok);
  // Only the balancer that these pass tracks them: at another they look older than the change.
  const between = await bed.connect();
  await bed.lab.killBalancer('eu-b1');
  await sleep(AFTER_MS);
  for (const traffic of [before, between]) assertNoneBroke(traffic);
  const agents = [...bed.runtime.sites.get('eu')!.backends.values()];
  const passedOn = agents.reduce((sum, agent) => sum + agent.passedOn(), 0);
  assert.ok(passedOn > 0, 'second chances were needed');
});
