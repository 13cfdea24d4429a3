/** What `portico explain` says is what happens: in the lab, for flows in settled and unsettled slots, and for DNS. Needs root. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { FleetSource } from '../../src/api/fleet-source.ts';
import { Journal } from '../../src/api/journal.ts';
import type { Config } from '../../src/config/model.ts';
import { explainFlow } from '../../src/fleet/explain-flow.ts';
import type { Runtime } from '../../src/fleet/runtime.ts';
import type { Lab } from '../../src/lab/build.ts';
import { startLab } from '../../src/lab/build.ts';
import { startPorticoInLab } from '../../src/lab/portico.ts';
import { type Address, formatAddress, parseAddress, parsePrefix } from '../../src/net/address.ts';
import type { ExplainedDns } from '../../src/serve/dns/explain.ts';
import { exampleConfig, place } from './lab-config.ts';

const FLOWS = 24;
const LIMIT_MS = 20_000;
const CLIENT = 'client-eu';

let config: Config;
let lab: Lab;
let runtime: Runtime;
let source: FleetSource;
const children: ChildProcess[] = [];

before(async () => {
  config = exampleConfig();
  lab = await startLab({ config, place });
  const journal = new Journal({ info: () => {}, warn: () => {}, error: console.error });
  runtime = await startPorticoInLab(lab, config, journal);
  source = new FleetSource({ runtime, journal, load: null });
  await runtime.untilServing(LIMIT_MS);
});

after(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
  await runtime?.stop(false);
  await lab?.stop();
});

function vipOf(site: string, family: 4 | 6): Address {
  return config.services
    .get('www')
    ?.vips.get(site)
    ?.find(({ address }) => address.family === family)?.address as Address;
}

function clientAddress(family: 4 | 6): string {
  const machine = lab.machines.get(CLIENT)!;
  return (family === 4 ? machine.ipv4 : machine.ipv6) as string;
}

/** One request on each connection when it opens, and one on each for every line of standard input; prints a line of JSON: port -> backend. */
const CONNECTIONS = `
const { Agent, request } = require('node:http');
const [host, localAddress, first, count] = process.argv.slice(1);
const ask = (agent, localPort) => new Promise((resolve) => {
  const sent = request({ host, localAddress, localPort, agent, path: '/', timeout: 5000 }, (answer) => {
    answer.resume().on('end', () => resolve([localPort, answer.headers['x-backend']]));
  });
  sent.on('timeout', () => sent.destroy(new Error('no answer')));
  sent.on('error', (error) => resolve([localPort, error.message]));
  sent.end();
});
const ports = Array.from({ length: Number(count) }, (_, i) => Number(first) + i);
const agents = ports.map(() => new Agent({ keepAlive: true, maxSockets: 1 }));
const round = async () => console.log(JSON.stringify(await Promise.all(ports.map((port, i) => ask(agents[i], port)))));
process.stdin.on('data', round);
process.stdin.on('end', () => process.exit(0));
round();
`;

interface Connections {
  /** Asks once more on each connection. */
  again(): Promise<Map<number, string>>;
  readonly first: Map<number, string>;
}

/** Opens connections from fixed ports, which stay open. */
async function connect(vip: Address, firstPort: number): Promise<Connections> {
  const { netns } = lab.machines.get(CLIENT)!;
  const command = [process.execPath, '-e', CONNECTIONS, formatAddress(vip)];
  const args = [...command, clientAddress(vip.family), String(firstPort), String(FLOWS)];
  const child = spawn('nsenter', [`--net=/run/netns/${netns}`, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const read = async () => new Map(JSON.parse((await lines.next()).value as string) as [number, string][]);
  const again = () => {
    child.stdin!.write('\n');
    return read();
  };
  return { first: await read(), again };
}

function explain(vip: Address, sourcePort: number) {
  const result = explainFlow(runtime, {
    source: parseAddress(clientAddress(vip.family)) as Address,
    sourcePort,
    destination: vip,
    destinationPort: 80,
    protocol: 'tcp',
  });
  assert.ok(result.ok);
  return result.value;
}

test('the backend that is named for a settled slot answers, on IPv4 and IPv6', async () => {
  const seen = new Set<string>();
  for (const family of [4, 6] as const) {
    const vip = vipOf('eu', family);
    const said = new Map<number, string | null>();
    for (let port = 41_000; port < 41_000 + FLOWS; port++) {
      const { balancers } = explain(vip, port);
      assert.equal(balancers.length, 2);
      assert.ok(balancers.every((view) => view.settled && view.tracked === null));
      assert.deepEqual(balancers[0]?.newToBackend, balancers[1]?.newToBackend, 'balancers agree');
      said.set(port, balancers[0]?.newToBackend ?? null);
    }
    const { first } = await connect(vip, 41_000);
    assert.deepEqual(first, said);
    for (const name of first.values()) seen.add(name);
  }
  assert.ok(seen.size > 1, 'not always the same one');
});

test('in unsettled slots the backends that are named for open and for new connections answer', async () => {
  const vip = vipOf('eu', 4);
  const before = await connect(vip, 42_000);
  assert.deepEqual(await source.drain('backend', 'eu-1'), {
    ok: true,
    value: { kind: 'backend', name: 'eu-1', drained: true, deadlineMs: null },
  });
  const answers = await before.again();
  assert.deepEqual(answers, before.first, 'no connection moves');
  let unsettled = 0;
  for (const [port, backend] of answers)
    for (const view of explain(vip, port).balancers) {
      assert.equal(view.toBackend, backend, `port ${port} at ${view.balancer}`);
      if (!view.settled) unsettled++;
      if (backend === 'eu-1') assert.notEqual(view.newToBackend, 'eu-1');
    }
  assert.ok(unsettled > 0, 'some were in slots of eu-1');
  // New ones: as said before they begin, and then tracked where they passed.
  const said = new Map<number, string | null>();
  for (let port = 43_000; port < 43_000 + FLOWS; port++)
    said.set(port, explain(vip, port).balancers[0]?.newToBackend ?? null);
  const fresh = await connect(vip, 43_000);
  assert.deepEqual(fresh.first, said);
  for (const [port, backend] of fresh.first) {
    const views = explain(vip, port).balancers.filter((view) => !view.settled);
    if (views.length === 0) continue;
    assert.deepEqual(
      views.filter((view) => view.tracked !== null).map((view) => [view.tracked, view.toBackend]),
      [[backend, backend]],
      `port ${port}: one balancer has it`,
    );
  }
  assert.ok((await source.undrain('backend', 'eu-1')).ok);
  assert.deepEqual(await before.again(), before.first, 'nor when the drain is taken back');
});

async function dig(client: string, type: string): Promise<string> {
  const { ipv4 } = lab.machines.get('resolver')!;
  const from = lab.machines.get(client)!.ipv4 as string;
  return (await lab.run(client, ['dig', `@${ipv4}`, '-b', from, '+short', 'www.example.test', type])).trim();
}

async function explained(subnet: string, type: string): Promise<ExplainedDns> {
  const from = parseAddress(lab.machines.get('resolver')!.ipv4 as string) as Address;
  const result = await source.explainDns({ name: 'www.example.test', type, from, ecs: parsePrefix(subnet) });
  assert.ok(result.ok);
  return result.value as ExplainedDns;
}

test('the site that is named for a client subnet is the one whose VIP the resolver answers', async () => {
  const subnets = { 'client-eu': '203.0.113.0/25', 'client-us': '203.0.113.128/25' };
  const siteOf = async (client: keyof typeof subnets, type: 'A' | 'AAAA'): Promise<string> => {
    const { steering } = await explained(subnets[client], type);
    const chosen = steering?.candidates.filter((one) => one.excluded === null).map((one) => one.site) ?? [];
    assert.equal(chosen.length, 1);
    const site = chosen[0] as string;
    assert.equal(await dig(client, type), formatAddress(vipOf(site, type === 'A' ? 4 : 6)));
    return site;
  };
  assert.equal(await siteOf('client-eu', 'A'), 'eu');
  assert.equal(await siteOf('client-us', 'A'), 'us');
  // AAAA has not been asked for yet, so that no cache answers.
  assert.ok((await source.drain('site', 'us')).ok);
  assert.equal(await siteOf('client-us', 'AAAA'), 'eu');
  assert.equal((await source.drain('site', 'eu')).ok, false, 'the last site is not drained');
  assert.ok((await source.undrain('site', 'us')).ok);
});
