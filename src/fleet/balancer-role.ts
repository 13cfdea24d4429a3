/** A balancer: the forwarder in its kernel, the prober behind it, and the BGP speaker that draws packets to it. */
import { join } from 'node:path';
import { type Announcer, type AnnouncerOptions, openAnnouncer, type RouterSession } from '../announce/bird.ts';
import type { Balancer } from '../config/model.ts';
import type { SlotTable as Slots } from '../decide/slots.ts';
import { type Address, formatAddress, sameAddress } from '../net/address.ts';
import type { ProbeResult } from '../observe/probe-target.ts';
import { type Prober, startProber } from '../observe/prober.ts';
import { type Forwarder, openForwarder } from '../serve/vip/forwarder.ts';
import { VIP_ECHO } from '../serve/vip/layout.gen.ts';
import { inNamespace } from '../serve/vip/netns.ts';
import { type NextHop, resolveNextHop, sameNextHop } from '../serve/vip/next-hop.ts';
import type { SlotTable } from '../serve/vip/slot-table.ts';
import type { Log } from './log.ts';
import type { Folders, Machine } from './machine.ts';
import { probeSource } from './probe-plan.ts';
import type { PlannedBackend, PlannedService, SitePlan } from './site-plan.ts';
import type { SlotChange, TableTarget } from './site-tables.ts';

const TICK_MS = 2 ** 32 / 1e6;
const BUCKET_ENTRIES = 8;
/** Bounds of bpf/layout.h and of the rule that only SYNs make entries young (docs/vip.md). */
const MIN_LIFETIME_TICKS = 4;
const MAX_LIFETIME_TICKS = 3000;

export interface BalancerOptions {
  readonly balancer: Balancer;
  readonly machine: Machine;
  readonly hashKey: Uint8Array;
  readonly folders: Folders;
  readonly log: Log;
  readonly onProbe: (balancer: string, result: ProbeResult) => void;
}

interface Reached extends PlannedBackend {
  readonly nextHop: NextHop;
}

export class BalancerRole implements TableTarget {
  readonly name: string;
  readonly site: string;
  readonly balancer: Balancer;
  readonly machine: Machine;
  readonly forwarder: Forwarder;
  announcer: Announcer | null;
  readonly prober: Prober | null;
  readonly #log: Log;
  readonly #announcerOptions: AnnouncerOptions;
  readonly #tables = new Map<number, SlotTable>();
  readonly #reached = new Map<number, Reached>();
  readonly #alive = new Map<number, boolean>();
  #plan: SitePlan = { site: '', vips: [], services: [], backends: [] };
  #known: readonly PlannedBackend[] = [];
  #announced: readonly Address[] = [];
  drained = false;
  /** Why its VIPs are taken back; null: they are not. */
  withdrawnFor: string | null = null;
  #sessions: readonly RouterSession[] = [];

  constructor(options: BalancerOptions, forwarder: Forwarder, announcer: Announcer | null, prober: Prober | null) {
    this.name = options.balancer.name;
    this.site = options.balancer.site;
    this.balancer = options.balancer;
    this.machine = options.machine;
    this.forwarder = forwarder;
    this.announcer = announcer;
    this.prober = prober;
    this.#log = options.log;
    this.#announcerOptions = announcerOptions(options);
  }

  /** Kernel entries of backends (those of the configuration and those that leave), VIPs and services. */
  async setPlan(plan: SitePlan, known: readonly PlannedBackend[]): Promise<void> {
    const before = this.#plan;
    this.#plan = plan;
    this.#known = known;
    await this.resolveBackends();
    for (const vip of plan.vips) this.forwarder.setVip(vip.address, vip.subject, VIP_ECHO);
    for (const planned of plan.services) this.#setService(planned);
    this.#removeServices(before, plan);
    for (const vip of before.vips)
      if (!plan.vips.some((one) => sameAddress(one.address, vip.address))) this.forwarder.removeVip(vip.address);
  }

  #setService(planned: PlannedService): void {
    const { service, subject, vips } = planned;
    const { tracking } = service;
    let table = this.#tables.get(subject);
    if (table === undefined) {
      table = this.forwarder.createTable(subject, service.slots, tracking.adoptionMs);
      this.#tables.set(subject, table);
    }
    table.adoptionMs = tracking.adoptionMs;
    const fields = {
      subject,
      slots: service.slots,
      // Entries must not outlive the silence after which a slot may settle.
      lifetimeTicks: Math.min(
        MAX_LIFETIME_TICKS,
        Math.max(MIN_LIFETIME_TICKS, Math.floor(tracking.settleAfterMs / TICK_MS)),
      ),
      newPerSecond: Math.min(tracking.newPerSecond, 0xffffffff),
      shareEntries: Math.floor(tracking.tableShare * this.balancer.connections),
    };
    for (const vip of vips)
      for (const { protocol, port } of service.ports)
        this.forwarder.setService({ vip: vip.subject, port, protocol }, fields);
  }

  #removeServices(before: SitePlan, after: SitePlan): void {
    const keys = (plan: SitePlan) =>
      plan.services.flatMap(({ service, vips }) =>
        vips.flatMap((vip) => service.ports.map(({ protocol, port }) => ({ vip: vip.subject, port, protocol }))),
      );
    const stay = new Set(keys(after).map((key) => JSON.stringify(key)));
    for (const key of keys(before)) if (!stay.has(JSON.stringify(key))) this.forwarder.removeService(key);
    for (const { subject } of before.services) {
      if (after.services.some((one) => one.subject === subject)) continue;
      this.#tables.get(subject)?.close();
      this.#tables.delete(subject);
      this.forwarder.removeTable(subject);
      this.forwarder.clearSubject(subject);
    }
  }

  /** Finds the way to every backend anew. A backend that cannot be reached now keeps its last entry, if it has one. */
  async resolveBackends(): Promise<void> {
    await Promise.all(this.#known.map((planned) => this.#resolveBackend(planned)));
  }

  async #resolveBackend(planned: PlannedBackend): Promise<void> {
    const { backend, index } = planned;
    const source = this.balancer.addresses.find((address) => address.family === backend.address.family) ?? null;
    try {
      const nextHop = await resolveNextHop(this.machine.netns, backend.address, source);
      const known = this.#reached.get(index);
      if (known !== undefined && known.backend === backend && sameNextHop(known.nextHop, nextHop)) return;
      const alive = this.#alive.get(index) ?? true;
      this.forwarder.setBackend(index, { address: backend.address, nextHop, alive, agent: backend.agent });
      this.#reached.set(index, { ...planned, nextHop });
      const from = probeSource(this.balancer, index);
      if (from !== null) this.forwarder.setProbeSource(from, index);
    } catch (error) {
      this.#log.warn(
        { balancer: this.name, backend: backend.name, reason: (error as Error).message },
        'no way to the backend',
      );
    }
  }

  setAlive(index: number, alive: boolean): void {
    this.#alive.set(index, alive);
    if (this.#reached.has(index)) this.forwarder.setBackendAlive(index, alive);
  }

  /** Nothing refers to the index any more: its entries go, and it may be given out again. */
  purgeBackend(index: number): void {
    const from = probeSource(this.balancer, index);
    if (from !== null) this.forwarder.removeProbeSource(from);
    this.forwarder.waitForPackets();
    this.forwarder.connections.purgeBackend(index);
    this.forwarder.clearBackend(index);
    this.#reached.delete(index);
    this.#alive.delete(index);
  }

  async writeSlots(subject: number, slots: Slots, indices: readonly number[], _change: SlotChange): Promise<void> {
    const table = this.#tables.get(subject);
    if (table === undefined) throw new Error(`no lookup table for subject ${subject}`);
    table.writeFrom(slots, indices);
  }

  async closeSlots(subject: number, slots: Slots, indices: readonly number[], silenceMs: number): Promise<number[]> {
    const table = this.#tables.get(subject);
    if (table === undefined) throw new Error(`no lookup table for subject ${subject}`);
    const { current, previous, third } = slots;
    return indices.filter(
      (i) => !table.closeIfSilent(i, current[i] as number, previous[i] as number, third[i] as number, silenceMs),
    );
  }

  async vetoSettling(subject: number, silenceMs: number, may: Uint8Array): Promise<void> {
    this.#tables.get(subject)?.vetoSettling(silenceMs, may);
  }

  table(subject: number): SlotTable | undefined {
    return this.#tables.get(subject);
  }

  nextHopOf(index: number): NextHop | undefined {
    return this.#reached.get(index)?.nextHop;
  }

  /** The VIPs that this balancer may draw packets for; a drained or withdrawn one announces as that demands. */
  async announce(vips: readonly Address[]): Promise<void> {
    this.#announced = vips;
    await this.#publish();
  }

  async setDrained(drained: boolean): Promise<void> {
    this.drained = drained;
    await this.#publish();
  }

  async withdraw(reason: string): Promise<void> {
    this.withdrawnFor = reason;
    await this.#publish();
  }

  async #publish(): Promise<void> {
    if (this.announcer === null) return;
    const vips = this.withdrawnFor === null ? this.#announced : [];
    const now = this.announcer.announcement;
    try {
      if (now.drained !== this.drained) await this.announcer.setDrained(this.drained);
      const texts = (list: readonly Address[]): string => list.map(formatAddress).sort().join(' ');
      if (texts(now.vips) !== texts(vips)) await this.announcer.setAnnounced(vips);
    } catch (error) {
      this.#log.error({ balancer: this.name, reason: (error as Error).message }, 'cannot announce');
    }
  }

  get announced(): readonly Address[] {
    return this.announcer === null ? [] : this.announcer.announcement.vips;
  }

  get sessions(): readonly RouterSession[] {
    return this.#sessions;
  }

  async lookAtSessions(): Promise<void> {
    if (this.announcer === null) return;
    try {
      if (!this.announcer.isRunning()) {
        this.#log.warn({ balancer: this.name }, 'BIRD has ended and is started again');
        this.announcer = await openAnnouncer(this.#announcerOptions);
        await this.#publish();
      }
      this.#sessions = await this.announcer.sessions();
    } catch (error) {
      const info = (error as Error).message;
      this.#sessions = this.balancer.routers.map((router) => ({ router: router.address, established: false, info }));
    }
  }

  /** `keep`: forwarding and announcements go on without this process. */
  async close(keep: boolean): Promise<void> {
    await this.prober?.stop();
    if (!keep) await this.announcer?.stop();
    for (const table of this.#tables.values()) table.close();
    this.forwarder.close({ keep });
  }
}

function announcerOptions({ balancer, machine, folders }: BalancerOptions): AnnouncerOptions {
  return { balancer, netns: machine.netns, folder: join(folders.run, balancer.name) };
}

export async function startBalancer(options: BalancerOptions): Promise<BalancerRole> {
  const { balancer, machine } = options;
  const forwarder = openForwarder({
    name: machine.pins,
    netns: machine.netns,
    interfaces: balancer.interfaces,
    probeInterface: machine.probeInterface,
    addresses: balancer.addresses,
    buckets: balancer.connections / BUCKET_ENTRIES,
    hashKey: options.hashKey,
  });
  try {
    const announcer = balancer.routers.length === 0 ? null : await openAnnouncer(announcerOptions(options));
    const { probeNetns } = machine;
    const prober =
      probeNetns === null
        ? null
        : startProber({
            enter: (run) => inNamespace(probeNetns, run),
            onResult: (result) => options.onProbe(balancer.name, result),
            onProblem: (problem) => options.log.warn({ balancer: balancer.name }, problem),
          });
    return new BalancerRole(options, forwarder, announcer, prober);
  } catch (error) {
    forwarder.close({ keep: false });
    throw error;
  }
}
