/** Starts the server of the backends and the client that holds connections to them, and asks how they are. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { writePidFile } from '../../announce/pid-file.ts';
import type { Config } from '../../config/model.ts';
import { addressInPrefix, formatAddress, formatHostOrPrefix, parsePrefix } from '../../net/address.ts';
import type { Lab } from '../build.ts';
import { spawnIn } from '../program.ts';
import type { AnswerServerOptions } from './answer-server.ts';
import type { HeldAmount, HeldClientOptions, HeldOrder, HeldSnapshot, HeldTarget } from './held-report.ts';

const SERVER = fileURLToPath(new URL('./answer-server.ts', import.meta.url));
const CLIENT = fileURLToPath(new URL('./held-client.ts', import.meta.url));
/** Own addresses that the client uses in turn, of each family. */
const SOURCES = 100;
const POLL_MS = 100;
const ANSWER_MS = 30_000;
const STOP_LIMIT_MS = 3_000;

export interface HeldTrafficOptions {
  readonly variants: readonly string[];
  readonly periodMs: number;
  readonly limitMs: number;
  readonly openPerSecond: number;
  readonly closedLoop: boolean;
}

/** Both of the programs end with the lab, by their pidfiles, whatever happens to this process. */
function start(netns: string, folder: string, name: string, script: string, options: object): ChildProcess {
  const log = openSync(join(folder, `${name}.log`), 'a');
  const child = spawnIn(netns, [process.execPath, script, JSON.stringify(options)], ['pipe', 'pipe', log]);
  closeSync(log);
  child.stdin?.on('error', () => {}); // it has ended: 'exit' tells
  if (child.pid !== undefined) writePidFile(join(folder, `${name}-${child.pid}.pid`), child.pid);
  return child;
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const kill = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
  const ended = once(child, 'exit');
  child.stdin?.end();
  await ended;
  clearTimeout(kill);
}

function targetsOf(config: Config, variants: readonly string[]): HeldTarget[] {
  return variants.map((variant) => ({
    variant,
    vips: [...(config.services.get(variant)?.vips.values() ?? [])].flat().map(formatHostOrPrefix),
  }));
}

function serverOptions(lab: Lab, config: Config, targets: readonly HeldTarget[]): AnswerServerOptions {
  const [first] = config.services.values();
  return {
    backends: [...config.backends.values()].map(({ name, serverId }) => ({
      number: backendNumber(name),
      netns: lab.machines.get(name)?.netns as string,
      serverId: Buffer.from(serverId ?? new Uint8Array(2)).toString('hex'),
    })),
    vips: targets.flatMap(({ vips }) => vips),
    quicConfigId: first?.quic?.configId ?? 0,
  };
}

/** `n7` is 7: the number that a backend of the breakage lab answers with. */
export function backendNumber(name: string): number {
  return Number(name.replaceAll(/\D/g, ''));
}

export class HeldTraffic {
  readonly #server: ChildProcess;
  readonly #client: ChildProcess;
  readonly #waiting = new Map<number, (snapshot: HeldSnapshot) => void>();
  #asked = 0;
  #stopping = false;
  #problem: string | null = null;

  /** Use `startHeldTraffic`. */
  constructor(server: ChildProcess, client: ChildProcess) {
    this.#server = server;
    this.#client = client;
    for (const [name, child] of Object.entries({ server, client })) {
      child.once('error', (error) => this.#fail(`${name}: ${error.message}`));
      child.once('exit', (code, signal) => this.#fail(`the ${name} ended with ${signal ?? `status ${code}`}`));
    }
    createInterface({ input: client.stdout! }).on('line', (line) => {
      const snapshot = JSON.parse(line) as HeldSnapshot;
      this.#waiting.get(snapshot.ask)?.(snapshot);
      this.#waiting.delete(snapshot.ask);
    });
  }

  #fail(why: string): void {
    if (!this.#stopping) this.#problem ??= `lab: held traffic: ${why}`;
  }

  order(order: HeldOrder): void {
    if (this.#problem !== null) throw new Error(this.#problem);
    this.#client.stdin?.write(`${JSON.stringify(order)}\n`);
  }

  async snapshot(): Promise<HeldSnapshot> {
    const ask = ++this.#asked;
    const answer = new Promise<HeldSnapshot>((resolve) => this.#waiting.set(ask, resolve));
    this.order({ do: 'snapshot', ask });
    const late = sleep(ANSWER_MS, null, { ref: false });
    const snapshot = await Promise.race([answer, late]);
    if (snapshot === null) throw new Error(this.#problem ?? `lab: held traffic: no answer within ${ANSWER_MS} ms`);
    return snapshot;
  }

  /**
   * Opens so many, by variant; resolves when each is open or has failed, of which the snapshot tells. Rejects after the
   * limit with how far it came.
   */
  async open(amounts: Readonly<Record<string, HeldAmount>>, limitMs: number): Promise<void> {
    const done = (snapshot: HeldSnapshot, variant: string): number => {
      const counts = snapshot.variants[variant];
      return counts === undefined ? 0 : counts.opened + counts.flowsOpened + counts.refused;
    };
    const before = await this.snapshot();
    this.order({ do: 'open', amounts });
    const limitAt = performance.now() + limitMs;
    for (;;) {
      await sleep(POLL_MS);
      const now = await this.snapshot();
      const told = Object.entries(amounts).flatMap(([variant, { connections, flows }]) => {
        const far = done(now, variant) - done(before, variant);
        return far < connections + flows ? [`${variant} ${far} of ${connections + flows}`] : [];
      });
      if (told.length === 0) return;
      if (performance.now() > limitAt) throw new Error(`lab: not all are open after ${limitMs} ms: ${told.join('; ')}`);
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all([stopChild(this.#client), stopChild(this.#server)]);
  }
}

function sourcesOf(prefixes: readonly string[], family: 4 | 6): string[] {
  const prefix = prefixes.map(parsePrefix).find((one) => one?.address.family === family);
  if (!prefix) throw new Error(`lab: the client has no IPv${family} prefix of its own`);
  return Array.from({ length: SOURCES }, (_, index) => formatAddress(addressInPrefix(prefix, index + 1)!));
}

/** For the services named in `variants`; `config` has every backend that may ever be there. */
export async function startHeldTraffic(lab: Lab, config: Config, options: HeldTrafficOptions): Promise<HeldTraffic> {
  const client = lab.machinesOf('client')[0];
  const backend = lab.machinesOf('backend')[0];
  if (client === undefined || backend === undefined) throw new Error('lab: there is no client or no backend');
  const { variants, ...rest } = options;
  const targets = targetsOf(config, variants);
  const run = dirname(lab.folderOf(client.name));
  // It enters the namespaces itself; where it starts does not matter.
  const server = start(client.netns, run, 'answer-server', SERVER, serverOptions(lab, config, targets));
  const clientOptions: HeldClientOptions = {
    ...rest,
    targets,
    sources4: sourcesOf(client.ownPrefixes, 4),
    sources6: sourcesOf(client.ownPrefixes, 6),
  };
  const ready = once(server.stdout!, 'data');
  const ended = once(server, 'exit').then(([code]) => {
    const log = readFileSync(join(run, 'answer-server.log'), 'utf8').trim();
    throw new Error(`lab: the answer server ended with status ${code}: ${log.slice(-500)}`);
  });
  await Promise.race([ready, ended]);
  ended.catch(() => {});
  return new HeldTraffic(server, start(client.netns, run, 'held-client', CLIENT, clientOptions));
}
