/** Steady traffic from every region of the lab, and what became of it. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { removePidFile, writePidFile } from '../announce/pid-file.ts';
import { addressInPrefix, formatAddress, parsePrefix } from '../net/address.ts';
import type { Lab } from './build.ts';
import { spawnIn } from './program.ts';
import type { LabMachine } from './topology.ts';
import type { ConnectionFacts, TrafficClientOptions, TrafficReport } from './traffic-report.ts';

const CLIENT = fileURLToPath(new URL('./traffic-client.ts', import.meta.url));
/** Own addresses that each client uses in turn, of each family. */
const SOURCES = 60;
/** Breaks and failures that are kept in full; beyond that they are only counted. */
const MAX_KEPT = 10_000;
const STOP_LIMIT_MS = 3_000;
const POLL_MS = 20;

export interface TrafficOptions {
  /** Connections kept open from each region: 100 by default. */
  readonly perRegion?: number;
  /** Short connections begun each second from each region: 20 by default. */
  readonly newPerSecond?: number;
  /** Host name to resolve and ask for: by default the first service that has one. */
  readonly name?: string;
  readonly path?: string;
  /** Share of connections over IPv6, 0 to 1: by default a third, and 0 where the service has no IPv6 VIP. */
  readonly ipv6Share?: number;
  /** Pause between an answer and the next request: 250 by default. */
  readonly pauseMs?: number;
  /** 3,000 by default. */
  readonly limitMs?: number;
  /** Names of client machines: all by default. */
  readonly regions?: readonly string[];
  /** Addresses of the resolvers of a client machine, asked in turn; by default the lab's one. */
  readonly resolversOf?: (client: LabMachine) => readonly string[];
}

export interface OpenConnection extends ConnectionFacts {
  /** The client machine's name. */
  readonly region: string;
  readonly id: number;
  readonly openedAtMs: number;
}

export interface BrokenConnection extends OpenConnection {
  readonly atMs: number;
  readonly why: string;
}

export interface FailedConnection {
  readonly region: string;
  /** When it was begun. */
  readonly atMs: number;
  /** Null: the name was not resolved. */
  readonly address: string | null;
  readonly why: string;
}

/** Counts are since the start, so that what happened between two snapshots is their difference. */
export interface RegionSnapshot {
  /** Kept connections that are open now, and by whom they are answered. */
  readonly open: number;
  readonly byBackend: Readonly<Record<string, number>>;
  readonly bySite: Readonly<Record<string, number>>;
  readonly broken: number;
  /** Attempts to open a kept connection that failed. */
  readonly unopened: number;
  readonly newOk: number;
  readonly newFailed: number;
  /** Short connections that were answered, by site and by backend. */
  readonly newBySite: Readonly<Record<string, number>>;
  readonly newByBackend: Readonly<Record<string, number>>;
  /** Answers on kept connections. */
  readonly answers: number;
  /** Longest time that an answer on a kept connection took in the last half second, in ms. */
  readonly slowestMs: number;
}

export interface TrafficSnapshot extends Omit<RegionSnapshot, 'broken'> {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  /** Every break and failure since the start, oldest first, the first 10,000; the counts go on. */
  readonly broken: readonly BrokenConnection[];
  readonly brokenCount: number;
  readonly failures: readonly FailedConnection[];
  readonly regions: Readonly<Record<string, RegionSnapshot>>;
}

export interface Traffic {
  /** Throws when a client process has ended by itself. */
  snapshot(): TrafficSnapshot;
  openConnections(): OpenConnection[];
  /** Calls the listener with every report of every region; returns a function that ends that. */
  onReport(listener: (region: string, report: TrafficReport) => void): () => void;
  /** Resolves when so many connections are open; rejects after the limit. */
  untilOpen(count: number, limitMs: number): Promise<void>;
  stop(): Promise<void>;
}

type Counts = Record<string, number>;

function addTo(counts: Counts, key: string, value = 1): void {
  counts[key] = (counts[key] ?? 0) + value;
}

/** What the reports of one region add up to. */
class RegionRecord {
  readonly open = new Map<number, OpenConnection>();
  readonly #region: string;
  #broken = 0;
  #unopened = 0;
  #newOk = 0;
  #newFailed = 0;
  #answers = 0;
  #slowestMs = 0;
  readonly #newBySite: Counts = {};
  readonly #newByBackend: Counts = {};

  constructor(region: string) {
    this.#region = region;
  }

  /** Takes a report in; returns the break or failure that it tells of. */
  take(report: TrafficReport): { broken?: BrokenConnection; failed?: FailedConnection } {
    const region = this.#region;
    if (report.kind === 'opened') {
      const { kind: _, atMs: openedAtMs, ...facts } = report;
      this.open.set(report.id, { region, openedAtMs, ...facts });
    } else if (report.kind === 'broken') {
      const { kind: _, ...facts } = report;
      const openedAtMs = this.open.get(report.id)?.openedAtMs ?? report.atMs;
      this.open.delete(report.id);
      this.#broken++;
      return { broken: { region, openedAtMs, ...facts } };
    } else if (report.kind === 'unopened') {
      this.#unopened++;
    } else if (report.kind === 'new') {
      this.#newOk++;
      addTo(this.#newBySite, report.site);
      addTo(this.#newByBackend, report.backend);
    } else if (report.kind === 'failed') {
      const { kind: _, ...facts } = report;
      this.#newFailed++;
      return { failed: { region, ...facts } };
    } else {
      this.#answers += report.answers;
      this.#slowestMs = report.slowestMs;
    }
    return {};
  }

  snapshot(): RegionSnapshot {
    const byBackend: Counts = {};
    const bySite: Counts = {};
    for (const connection of this.open.values()) {
      addTo(byBackend, connection.backend);
      addTo(bySite, connection.site);
    }
    return {
      open: this.open.size,
      byBackend,
      bySite,
      broken: this.#broken,
      unopened: this.#unopened,
      newOk: this.#newOk,
      newFailed: this.#newFailed,
      newBySite: { ...this.#newBySite },
      newByBackend: { ...this.#newByBackend },
      answers: this.#answers,
      slowestMs: this.#slowestMs,
    };
  }
}

function sumOf(
  regions: readonly RegionSnapshot[],
  key: 'open' | 'broken' | 'unopened' | 'newOk' | 'newFailed' | 'answers',
) {
  return regions.reduce((sum, region) => sum + region[key], 0);
}

function mergeCounts(
  regions: readonly RegionSnapshot[],
  key: 'byBackend' | 'bySite' | 'newBySite' | 'newByBackend',
): Counts {
  const merged: Counts = {};
  for (const region of regions) for (const [name, count] of Object.entries(region[key])) addTo(merged, name, count);
  return merged;
}

/** Addresses of a client, spread over the prefix of each family that is its own. */
function sourcesOf(client: LabMachine, family: 4 | 6): string[] {
  const prefix = client.ownPrefixes.map(parsePrefix).find((one) => one?.address.family === family);
  if (!prefix) return [family === 4 ? client.ipv4 : client.ipv6];
  return Array.from({ length: SOURCES }, (_, index) => formatAddress(addressInPrefix(prefix, index + 1)!));
}

function clientOptions(lab: Lab, client: LabMachine, options: TrafficOptions): TrafficClientOptions {
  const services = [...lab.config.services.values()];
  const name = options.name ?? services.find((service) => service.dnsName !== null)?.dnsName;
  const vips = services
    .filter(({ dnsName }) => dnsName === name)
    .flatMap((service) => [...service.vips.values()].flat());
  const isIpv4Only = vips.length > 0 && vips.every(({ address }) => address.family === 4);
  if (!name) throw new Error('lab: no service has a DNS name, so traffic needs one to be given');
  return {
    resolvers: options.resolversOf?.(client) ?? [lab.machinesOf('resolver')[0].ipv4],
    name,
    path: options.path ?? '/',
    kept: options.perRegion ?? 100,
    newPerSecond: options.newPerSecond ?? 20,
    ipv6Share: options.ipv6Share ?? (isIpv4Only ? 0 : 1 / 3),
    pauseMs: options.pauseMs ?? 250,
    limitMs: options.limitMs ?? 3000,
    sources4: sourcesOf(client, 4),
    sources6: sourcesOf(client, 6),
  };
}

class RunningTraffic implements Traffic {
  readonly #regions = new Map<string, RegionRecord>();
  readonly #clients: { readonly process: ChildProcess; readonly pidPath: string }[] = [];
  readonly #broken: BrokenConnection[] = [];
  readonly #failures: FailedConnection[] = [];
  readonly #listeners = new Set<(region: string, report: TrafficReport) => void>();
  #stopping = false;
  #problem: string | null = null;

  addClient(lab: Lab, client: LabMachine, options: TrafficOptions): void {
    const region = client.name;
    const record = new RegionRecord(region);
    this.#regions.set(region, record);
    const folder = lab.folderOf(region);
    const log = openSync(join(folder, 'traffic.log'), 'a');
    const command = [process.execPath, CLIENT, JSON.stringify(clientOptions(lab, client, options))];
    const child = spawnIn(client.netns, command, ['pipe', 'pipe', log]);
    closeSync(log);
    const pidPath = join(folder, `traffic-${child.pid}.pid`);
    if (child.pid !== undefined) writePidFile(pidPath, child.pid);
    this.#clients.push({ process: child, pidPath });
    child.stdin?.on('error', () => {}); // it has ended: 'exit' tells
    child.once('error', (error) => this.#fail(region, error.message));
    child.once('exit', (code, signal) =>
      this.#fail(region, `ended with ${signal ?? `status ${code}`}, see ${folder}/traffic.log`),
    );
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const report = JSON.parse(line) as TrafficReport;
      const { broken, failed } = record.take(report);
      if (broken && this.#broken.length < MAX_KEPT) this.#broken.push(broken);
      if (failed && this.#failures.length < MAX_KEPT) this.#failures.push(failed);
      for (const listener of this.#listeners) listener(region, report);
    });
  }

  snapshot(): TrafficSnapshot {
    if (this.#problem !== null) throw new Error(this.#problem);
    const named = [...this.#regions].map(([name, record]) => [name, record.snapshot()] as const);
    const regions = named.map(([, region]) => region);
    return {
      atMs: Date.now(),
      open: sumOf(regions, 'open'),
      byBackend: mergeCounts(regions, 'byBackend'),
      bySite: mergeCounts(regions, 'bySite'),
      broken: [...this.#broken],
      brokenCount: sumOf(regions, 'broken'),
      unopened: sumOf(regions, 'unopened'),
      newOk: sumOf(regions, 'newOk'),
      newFailed: sumOf(regions, 'newFailed'),
      failures: [...this.#failures],
      newBySite: mergeCounts(regions, 'newBySite'),
      newByBackend: mergeCounts(regions, 'newByBackend'),
      answers: sumOf(regions, 'answers'),
      slowestMs: Math.max(0, ...regions.map((region) => region.slowestMs)),
      regions: Object.fromEntries(named),
    };
  }

  openConnections(): OpenConnection[] {
    return [...this.#regions.values()].flatMap((record) => [...record.open.values()]);
  }

  onReport(listener: (region: string, report: TrafficReport) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async untilOpen(count: number, limitMs: number): Promise<void> {
    const limitAt = performance.now() + limitMs;
    for (;;) {
      const { open, failures } = this.snapshot();
      if (open >= count) return;
      if (performance.now() > limitAt) {
        const last = failures.at(-1);
        const why =
          last === undefined
            ? ''
            : `; the last failure: ${last.region} to ${last.address ?? 'the resolver'}: ${last.why}`;
        throw new Error(`lab: ${open} of ${count} connections are open after ${limitMs} ms${why}`);
      }
      await sleep(POLL_MS);
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(
      this.#clients.map(async ({ process: child, pidPath }) => {
        if (child.exitCode === null && child.signalCode === null) {
          const kill = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
          const ended = once(child, 'exit');
          child.stdin?.end();
          await ended;
          clearTimeout(kill);
        }
        removePidFile(pidPath);
      }),
    );
  }

  #fail(region: string, why: string): void {
    if (!this.#stopping) this.#problem ??= `lab: the traffic client ${region} ${why}`;
  }
}

/**
 * Starts traffic from every client machine: `perRegion` kept connections each, opened within about half a second and opened
 * anew when they break, and short ones at a steady rate. Returns at once; `untilOpen` tells when it is steady.
 */
export function startTraffic(lab: Lab, options: TrafficOptions = {}): Traffic {
  const traffic = new RunningTraffic();
  for (const client of lab.machinesOf('client'))
    if (options.regions?.includes(client.name) ?? true) traffic.addClient(lab, client, options);
  return traffic;
}
