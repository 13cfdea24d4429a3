/**
 * The users of a region: a process of its own inside a client's namespace. Keeps connections open and asks on them, begins
 * short ones at a steady rate, resolves the name for each new connection, and reports on standard output. Its options are
 * its first argument, as JSON; it ends when its standard input is closed.
 */
import { Resolver } from 'node:dns/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Target } from './traffic-connection.ts';
import { askOnce, KeptConnection } from './traffic-connection.ts';
import type { ConnectionFacts, TrafficClientOptions, TrafficReport } from './traffic-report.ts';

const PULSE_MS = 500;
const REOPEN_MS = 100;
/** All connections are opened within about this time, not in one burst. */
const RAMP_MS = 500;

const options = JSON.parse(process.argv[2]) as TrafficClientOptions;
const resolvers = options.resolvers.map((address) => {
  const resolver = new Resolver({ timeout: 1500, tries: 2 });
  resolver.setServers([address]);
  resolver.setLocalAddress(options.sources4[0], options.sources6[0]);
  return resolver;
});

let stopped = false;
let answers = 0;
let slowestMs = 0;
const kept = new Set<KeptConnection>();

function report(line: TrafficReport): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Spreads the share evenly over consecutive ordinals: of 4 at a share of 0.25, exactly one. */
function usesIpv6(ordinal: number): boolean {
  return Math.floor((ordinal + 1) * options.ipv6Share) > Math.floor(ordinal * options.ipv6Share);
}

/** Asks a resolver, always anew: how long an answer holds is the resolver's to decide. */
async function findTarget(ordinal: number): Promise<Target> {
  const ipv6 = usesIpv6(ordinal);
  const resolver = resolvers[ordinal % resolvers.length];
  const found = await (ipv6 ? resolver.resolve6(options.name) : resolver.resolve4(options.name)).catch((error) => {
    throw new Error(`dns: ${(error as NodeJS.ErrnoException).code ?? error}`);
  });
  const address = found[Math.floor(Math.random() * found.length)];
  const sources = ipv6 ? options.sources6 : options.sources4;
  const { name, path, limitMs } = options;
  return { address, localAddress: sources[ordinal % sources.length], name, path, limitMs };
}

/** One life of a kept connection, from resolving the name to its loss. */
async function keepOnce(id: number): Promise<void> {
  let target: Target | null = null;
  let facts: ConnectionFacts | null = null;
  let connection: KeptConnection | null = null;
  try {
    target = await findTarget(id);
    connection = new KeptConnection(target, (why) => {
      if (facts !== null && !stopped) report({ kind: 'broken', atMs: Date.now(), id, why, ...facts });
    });
    kept.add(connection);
    facts = await connection.open();
    report({ kind: 'opened', atMs: Date.now(), id, ...facts });
    while (!stopped) {
      // Not in step with the others, and not exactly periodic.
      await sleep(options.pauseMs * (0.8 + 0.4 * Math.random()));
      const tookMs = await connection.again();
      if (tookMs === null) break;
      answers++;
      slowestMs = Math.max(slowestMs, tookMs);
    }
  } catch (error) {
    if (!stopped) {
      report({
        kind: 'unopened',
        atMs: Date.now(),
        id,
        address: target?.address ?? null,
        why: (error as Error).message,
      });
    }
  } finally {
    if (connection !== null) kept.delete(connection);
  }
}

async function keep(id: number): Promise<void> {
  await sleep((id / options.kept) * RAMP_MS);
  while (!stopped) {
    await keepOnce(id);
    await sleep(REOPEN_MS);
  }
}

async function tryOnce(ordinal: number): Promise<void> {
  const atMs = Date.now();
  let target: Target | null = null;
  try {
    target = await findTarget(ordinal);
    const { facts, tookMs } = await askOnce(target);
    if (!stopped) report({ kind: 'new', atMs: Date.now(), tookMs, ...facts });
  } catch (error) {
    if (!stopped) report({ kind: 'failed', atMs, address: target?.address ?? null, why: (error as Error).message });
  }
}

for (let id = 0; id < options.kept; id++) void keep(id);

let ordinal = 0;
if (options.newPerSecond > 0) setInterval(() => void tryOnce(ordinal++), 1000 / options.newPerSecond);

setInterval(() => {
  report({ kind: 'pulse', atMs: Date.now(), answers, slowestMs });
  answers = 0;
  slowestMs = 0;
}, PULSE_MS);

function stop(): void {
  stopped = true;
  for (const connection of kept) connection.close();
  process.exit(0);
}
process.stdin.on('end', stop).on('close', stop).resume();
process.stdout.on('error', stop); // the parent is gone
