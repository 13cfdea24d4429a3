/** Brings the lab up and takes it down: a small internet in network namespaces, with real routers, web servers and a resolver. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { BirdProcess } from '../announce/bird-process.ts';
import { startBird } from '../announce/bird-process.ts';
import { writePidFile } from '../announce/pid-file.ts';
import type { Config } from '../config/model.ts';
import { inNamespace } from '../serve/vip/netns.ts';
import { cleanLab, killByPidFiles, labOwner, OWNER_FILE } from './clean.ts';
import { interfaceLines, linkLines, machineLines, settingsOf } from './commands.ts';
import type { DelayLine } from './delay-line.ts';
import { startDelayLine } from './delay-line.ts';
import { type LabPlace, labPlace } from './place.ts';
import type { Program } from './program.ts';
import { startProgram, unconfined } from './program.ts';
import { renderUnboundConfig } from './resolver.ts';
import { renderRouterConfig, sessionTo } from './router-bird.ts';
import type { LabMachine, LabPlan, MachineRole } from './topology.ts';
import { planLab } from './topology.ts';
import { renderNginxConfig } from './web-server.ts';

const PASS_OBJECT = fileURLToPath(new URL('../../build/bpf/pass.bpf.o', import.meta.url));
const SESSIONS_LIMIT_MS = 10_000;
const POLL_MS = 20;

export interface LabOptions {
  readonly config: Config;
  /** The default place if none is given. */
  readonly place?: LabPlace;
  /** One way, between any two sites; 20 by default. */
  readonly delayMs?: number;
  /** True by default: SIGINT, SIGTERM and SIGHUP take the lab down and end the process. */
  readonly signals?: boolean;
}

export interface Lab {
  readonly config: Config;
  readonly machines: ReadonlyMap<string, LabMachine>;
  readonly delayLines: readonly DelayLine[];
  machinesOf(role: MachineRole): LabMachine[];
  /** Where a machine's files are. What has a pidfile there dies with the machine. */
  folderOf(machine: string): string;
  /** Runs a command in a machine's namespace; resolves with its standard output, rejects if it fails. */
  run(machine: string, command: readonly string[], limitMs?: number): Promise<string>;
  /** The machine dies: its programs are killed, its links go down. Nobody is told. */
  killBackend(name: string): Promise<void>;
  killBalancer(name: string): Promise<void>;
  /** Links up again, with addresses and routes; the web server too. What others ran there is theirs to start. */
  restoreBackend(name: string): Promise<void>;
  restoreBalancer(name: string): Promise<void>;
  /** The uplink of the site's router goes down. Inside, everything goes on. */
  loseSite(site: string): Promise<void>;
  restoreSite(site: string): Promise<void>;
  /** Takes everything down. Can be called again. */
  stop(): Promise<void>;
}

function runCommand(file: string, args: readonly string[], input: string, limitMs = 30_000): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(file, args, { timeout: limitMs, maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${file} ${args.join(' ')}: ${stderr.trim() || error.message}`));
      else resolve(stdout);
    });
    child.stdin?.on('error', () => {}); // it ended before it read everything: its status tells
    child.stdin?.end(input);
  });
}

function runIp(netns: string | null, lines: readonly string[]): Promise<string> {
  const namespace = netns === null ? [] : ['-n', netns];
  return runCommand('ip', [...namespace, '-batch', '-'], lines.map((line) => `${line}\n`).join(''));
}

function applySettings(machine: LabMachine): void {
  inNamespace(machine.netns, () => {
    for (const [name, value] of settingsOf(machine)) writeFileSync(`/proc/sys/${name}`, value);
  });
}

async function buildMachine(plan: LabPlan, machine: LabMachine): Promise<void> {
  const passes = machine.interfaces.filter((own) => own.needsXdpPass);
  await runIp(machine.netns, [
    ...machineLines(plan, machine),
    ...passes.map((own) => `link set dev ${own.name} xdpdrv object "${PASS_OBJECT}" section xdp.frags`),
  ]);
  // Checksums that are left to a network card that is not there would be wrong after XDP has sent the packet on.
  const veths = machine.interfaces.filter((own) => own.kind === 'veth');
  const script = veths.map((own) => `ethtool -K ${own.name} tx off >/dev/null`).join(' && ');
  await runCommand('ip', ['netns', 'exec', machine.netns, 'sh', '-c', script], '');
}

/** Resolves when all have; if any failed, rejects with the first failure, but not before the others have come to their end. */
async function settleAll(attempts: readonly Promise<unknown>[]): Promise<void> {
  for (const result of await Promise.allSettled(attempts)) {
    if (result.status === 'rejected') throw result.reason;
  }
}

class RunningLab implements Lab {
  readonly config: Config;
  readonly machines: ReadonlyMap<string, LabMachine>;
  readonly delayLines: DelayLine[] = [];
  readonly #plan: LabPlan;
  readonly #place: LabPlace;
  readonly #webServers = new Map<string, Program>();
  readonly #routers: BirdProcess[] = [];
  readonly #atExit = (): void => void cleanLab(this.#place);
  readonly #signals = new Map<NodeJS.Signals, () => void>();
  #stopping: Promise<void> | null = null;

  constructor(config: Config, plan: LabPlan, place: LabPlace) {
    this.config = config;
    this.machines = plan.machines;
    this.#plan = plan;
    this.#place = place;
  }

  machinesOf(role: MachineRole): LabMachine[] {
    return [...this.machines.values()].filter((machine) => machine.role === role);
  }

  folderOf(machine: string): string {
    return join(this.#place.runFolder, this.#machine(machine).name);
  }

  run(machine: string, command: readonly string[], limitMs?: number): Promise<string> {
    return runCommand('ip', ['netns', 'exec', this.#machine(machine).netns, ...command], '', limitMs);
  }

  /** However this process ends, except by SIGKILL, the lab goes with it. */
  watchProcess(signals: boolean): void {
    process.once('exit', this.#atExit);
    if (!signals) return;
    for (const [signal, number] of [
      ['SIGINT', 2],
      ['SIGTERM', 15],
      ['SIGHUP', 1],
    ] as const) {
      const handler = (): void => {
        void this.stop().finally(() => {
          cleanLab(this.#place); // what a start under way has made in the meantime
          process.exit(128 + number);
        });
      };
      this.#signals.set(signal, handler);
      process.once(signal, handler);
    }
  }

  async build(delayMs: number): Promise<void> {
    const machines = [...this.machines.values()];
    await runIp(
      null,
      machines.map((machine) => `netns add ${machine.netns}`),
    );
    for (const machine of machines) {
      applySettings(machine);
      mkdirSync(this.folderOf(machine.name), { recursive: true });
    }
    await runIp(null, linkLines(this.#plan));
    await settleAll([
      ...machines.map((machine) => buildMachine(this.#plan, machine)),
      ...this.#plan.delayLines.map(async ({ ends: [one, other] }) => {
        const toEnd = (end: typeof one) => ({ netns: this.#machine(end.machine).netns, device: end.device });
        this.delayLines.push(await startDelayLine({ ends: [toEnd(one), toEnd(other)], delayMs }));
      }),
    ]);
    for (const machine of this.machinesOf('core')) {
      await this.#raise(
        machine.name,
        machine.interfaces.filter((own) => own.kind === 'tun').map((own) => own.name),
      );
    }
    await settleAll([
      ...[...this.machinesOf('core'), ...this.machinesOf('router')].map((machine) => this.#startRouter(machine)),
      ...this.machinesOf('backend').map((machine) => this.#startWebServer(machine)),
      ...this.machinesOf('resolver').map((machine) => this.#startResolver(machine)),
    ]);
    await this.#untilRouted();
  }

  async killBackend(name: string): Promise<void> {
    this.#machine(name, 'backend');
    await this.#die(name);
    await this.#webServers.get(name)?.kill();
    this.#webServers.delete(name);
  }

  async killBalancer(name: string): Promise<void> {
    this.#machine(name, 'balancer');
    await this.#die(name);
  }

  async restoreBackend(name: string): Promise<void> {
    const machine = this.#machine(name, 'backend');
    await this.#revive(name);
    if (!this.#webServers.has(name)) await this.#startWebServer(machine);
  }

  async restoreBalancer(name: string): Promise<void> {
    this.#machine(name, 'balancer');
    await this.#revive(name);
  }

  async loseSite(site: string): Promise<void> {
    const router = this.#machine(`router-${site}`);
    const uplink = router.interfaces.find((own) => own.name === 'uplink')!;
    await Promise.all([
      runIp(router.netns, ['link set dev uplink down']),
      runIp(this.#machine(uplink.peer.machine).netns, [`link set dev ${uplink.peer.interface} down`]),
    ]);
  }

  async restoreSite(site: string): Promise<void> {
    const router = this.#machine(`router-${site}`);
    const uplink = router.interfaces.find((own) => own.name === 'uplink')!;
    await Promise.all([
      this.#raise(router.name, ['uplink']),
      this.#raise(uplink.peer.machine, [uplink.peer.interface]),
    ]);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#takeDown();
    return this.#stopping;
  }

  async #takeDown(): Promise<void> {
    await Promise.all(this.delayLines.map((line) => line.stop()));
    const problems = cleanLab(this.#place);
    process.removeListener('exit', this.#atExit);
    for (const [signal, handler] of this.#signals) process.removeListener(signal, handler);
    if (problems.length > 0) throw new Error(`lab: not everything could be taken down: ${problems.join('; ')}`);
  }

  #machine(name: string, role?: MachineRole): LabMachine {
    const machine = this.machines.get(name);
    if (machine === undefined || (role !== undefined && machine.role !== role)) {
      const known = role === undefined ? [...this.machines.values()] : this.machinesOf(role);
      throw new Error(`lab: no ${role ?? 'machine'} ${name}; there are ${known.map((one) => one.name).join(', ')}`);
    }
    return machine;
  }

  /** Brings these interfaces of a machine up, with their addresses and routes. */
  async #raise(name: string, interfaces: readonly string[]): Promise<void> {
    const machine = this.#machine(name);
    const chosen = machine.interfaces.filter((own) => interfaces.includes(own.name));
    await runIp(
      machine.netns,
      chosen.flatMap((own) => interfaceLines(this.#plan, machine, own)),
    );
  }

  async #die(name: string): Promise<void> {
    const machine = this.#machine(name);
    // Links first: the kernel would say good-bye on behalf of killed programs.
    await runIp(
      machine.netns,
      machine.interfaces.map((own) => `link set dev ${own.name} down`),
    );
    killByPidFiles(this.folderOf(name));
  }

  async #revive(name: string): Promise<void> {
    const machine = this.#machine(name);
    await this.#raise(
      name,
      machine.interfaces.map((own) => own.name),
    );
    // The kernel took the neighbours' routes away when the link lost its other end.
    await Promise.all(machine.interfaces.map((own) => this.#raise(own.peer.machine, [own.peer.interface])));
  }

  async #startRouter(machine: LabMachine): Promise<void> {
    if (machine.asn === null) return; // no balancer names it: nothing to learn
    const config = renderRouterConfig(this.#plan, machine);
    this.#routers.push(await startBird({ netns: machine.netns, folder: this.folderOf(machine.name), config }));
  }

  async #startWebServer(machine: LabMachine): Promise<void> {
    const folder = this.folderOf(machine.name);
    writeFileSync(join(folder, 'nginx.conf'), renderNginxConfig(machine, folder));
    const command = ['nginx', '-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')];
    const options = { netns: machine.netns, folder, name: 'nginx', command, readyFile: join(folder, 'ready') };
    this.#webServers.set(machine.name, await startProgram(options));
  }

  async #startResolver(machine: LabMachine): Promise<void> {
    const folder = this.folderOf(machine.name);
    const path = join(folder, 'unbound.conf');
    writeFileSync(path, renderUnboundConfig(this.#plan, machine, this.config, folder));
    const command = unconfined(['unbound', '-d', '-c', path]);
    await startProgram({ netns: machine.netns, folder, name: 'unbound', command, readyFile: join(folder, 'ready') });
  }

  /** Resolves when the routers and cores have their sessions with each other; those with balancers come later. */
  async #untilRouted(): Promise<void> {
    const limitAt = performance.now() + SESSIONS_LIMIT_MS;
    const balancers = new Set(this.machinesOf('balancer').map((machine) => sessionTo(machine.name)));
    for (;;) {
      const protocols = (await Promise.all(this.#routers.map((router) => router.protocols()))).flat();
      const missing = protocols.filter(
        (one) => one.type === 'BGP' && !balancers.has(one.name) && one.info !== 'Established',
      );
      if (missing.length === 0) return;
      if (performance.now() > limitAt) {
        throw new Error(`lab: no BGP session ${missing.map((one) => `${one.name} (${one.info})`).join(', ')}`);
      }
      await sleep(POLL_MS);
    }
  }
}

/**
 * Starts the lab for a configuration: sites, routers, backends with a web server, clients and the resolver, but nothing of
 * Portico. First takes away what an earlier lab at the same place has left. Resolves within some seconds, when routers
 * have found each other; on an error takes everything down and rejects. Needs root, iproute2, ethtool, BIRD 2, nginx and Unbound.
 */
export async function startLab(options: LabOptions): Promise<Lab> {
  const place = options.place ?? (labPlace() as LabPlace);
  const plan = planLab(options.config, place.prefix);
  const owner = labOwner(place);
  if (owner !== null) throw new Error(`lab: one is running already, by process ${owner}; end that first`);
  if (!existsSync(PASS_OBJECT)) throw new Error(`lab: ${PASS_OBJECT} is missing: build the kernel programs first`);
  const problems = cleanLab(place);
  if (problems.length > 0) throw new Error(`lab: what an earlier lab left cannot be removed: ${problems.join('; ')}`);
  mkdirSync(place.runFolder, { recursive: true });
  writePidFile(join(place.runFolder, OWNER_FILE), process.pid);
  const lab = new RunningLab(options.config, plan, place);
  lab.watchProcess(options.signals ?? true);
  try {
    await lab.build(options.delayMs ?? 20);
    return lab;
  } catch (error) {
    await lab.stop();
    throw error;
  }
}
