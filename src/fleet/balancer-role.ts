/** A balancer: the forwarder in its kernel, the prober behind it, and the BGP speaker that draws packets to it. */
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Announcer, type AnnouncerOptions, openAnnouncer, type RouterSession } from '../announce/bird.ts';
import type { Backend, Balancer, Service } from '../config/model.ts';
import { serverIdsOf } from '../decide/server-ids.ts';
import type { SlotTable as Slots } from '../decide/slots.ts';
import { formatHostOrPrefix, type Prefix, sameAddress, samePrefix } from '../net/address.ts';
import type { ProbeResult } from '../observe/probe-target.ts';
import { type Prober, startProber } from '../observe/prober.ts';
import { type Forwarder, openForwarder } from '../serve/vip/forwarder.ts';
import { BACKEND_ALIVE, TICK_SHIFT, VIP_ECHO } from '../serve/vip/layout.gen.ts';
import { MAX_LIFETIME_TICKS } from '../serve/vip/limits.ts';
import { inNamespace } from '../serve/vip/netns.ts';
import { type NextHop, resolveNextHop, sameNextHop } from '../serve/vip/next-hop.ts';
import type { SlotTable } from '../serve/vip/slot-table.ts';
import { SlowPath } from '../serve/vip/slow-path.ts';
import { forEachAtMost } from './at-most.ts';
import { warnOfAttachments } from './attachment-notes.ts';
import { BalancerPeers } from './balancer-peers.ts';
import { isReachedDirectly, setNatReplies } from './forwarding-plan.ts';
import { tellInheritance } from './inheritance-text.ts';
import type { Log } from './log.ts';
import type { Folders, Machine } from './machine.ts';
import { probeSource } from './probe-plan.ts';
import { SaidOnce } from './said-once.ts';
import { handshakeFlag, kernelScheduler, kernelWeight, serviceFlags } from './scheduling.ts';
import {
  type PlannedBackend,
  type PlannedKey,
  type PlannedService,
  type PlannedVip,
  plannedKeys,
  type SitePlan,
} from './site-plan.ts';
import type { SlotChange, TableTarget } from './table-target.ts';
import { VipAnnouncing } from './vip-announcing.ts';

const TICK_MS = 2 ** TICK_SHIFT / 1e6;
const BUCKET_ENTRIES = 8;
/** From the end of the BGP sessions until routers send elsewhere. */
const WITHDRAWN_MS = 200;
/** Ways asked for at a time; each costs three processes. */
const RESOLVED_AT_ONCE = 8;
/** By the rule that only SYNs make entries young (docs/vip.md). */
/** Two ticks that looks at several balancers are apart, two that data leaves an age behind, one of rounding. */
const LIFETIME_MARGIN_TICKS = 5;

export interface BalancerOptions {
  readonly balancer: Balancer;
  readonly machine: Machine;
  readonly hashKey: Uint8Array;
  readonly folders: Folders;
  readonly log: Log;
  readonly onProbe: (balancer: string, result: ProbeResult) => void;
  /** Folder of the compiled kernel programs; undefined: build/bpf of this tree. */
  readonly objects?: string | undefined;
}

interface Reached extends PlannedBackend {
  readonly nextHop: NextHop;
  /** It leads over no gateway, because `l2` must not. */
  readonly direct: boolean;
  /** As the kernel has it. */
  readonly weight: number;
}

export class BalancerRole implements TableTarget {
  readonly name: string;
  readonly site: string;
  readonly balancer: Balancer;
  readonly machine: Machine;
  readonly forwarder: Forwarder;
  readonly prober: Prober | null;
  readonly slowPath: SlowPath | null;
  readonly peers: BalancerPeers;
  readonly #said: SaidOnce;
  readonly #announcing: VipAnnouncing;
  readonly #tables = new Map<number, SlotTable>();
  readonly #salts = new Map<number, number>();
  readonly #reached = new Map<number, Reached>();
  readonly #alive = new Map<number, boolean>();
  /** Indices whose way could not be found when it was last looked for. */
  readonly #stale = new Set<number>();
  /** Subjects of services of the plan that could not be set up here: nothing of them is. */
  readonly lacking = new Set<number>();
  #known: readonly PlannedBackend[] = [];
  #services: readonly Service[] = [];
  #vips: readonly PlannedVip[] = [];
  /** VIPs that nobody serves, as text: who pings one shall see that it is down. */
  #down: ReadonlySet<string> = new Set();
  #closed = false;

  constructor(
    options: BalancerOptions,
    forwarder: Forwarder,
    announcer: Announcer | null,
    prober: Prober | null,
    slowPath: SlowPath | null = null,
  ) {
    this.name = options.balancer.name;
    this.site = options.balancer.site;
    this.balancer = options.balancer;
    this.machine = options.machine;
    this.forwarder = forwarder;
    this.prober = prober;
    this.slowPath = slowPath;
    this.peers = new BalancerPeers(options.balancer, options.machine.netns, forwarder, options.log);
    this.#said = new SaidOnce(options.log);
    this.#announcing = new VipAnnouncing({ ...options, announcer: announcerOptions(options) }, announcer);
    // An adopted table goes on with its salt.
    for (const { subject, salt } of forwarder.services.list()) this.#salts.set(subject, salt ?? 0);
  }

  /** An earlier process left its kernel state, which was taken over. */
  get adopted(): boolean {
    return this.forwarder.adopted;
  }

  /**
   * Kernel entries of backends (those of the configuration and those that leave), VIPs and services; whatever else is there goes. A service
   * that cannot be set up is left out (`lacking`), the others are; then it rejects. May be called again after it failed half-way.
   */
  async setPlan(plan: SitePlan, known: readonly PlannedBackend[]): Promise<void> {
    this.#known = known;
    this.#services = plan.services.map(({ service }) => service);
    // The ways to those that are known already are looked at by the slow round; a dead machine takes 1.5 s.
    const unknown = known.filter((planned) => !this.#refit(planned));
    await forEachAtMost(RESOLVED_AT_ONCE, unknown, (planned) => this.#resolveBackend(planned));
    this.#vips = plan.vips;
    for (const vip of plan.vips) this.#writeVip(vip);
    const keys = plannedKeys(plan);
    const byService = Map.groupBy(keys, ({ service }) => service);
    const failures = plan.services.flatMap((planned) => this.#trySetService(planned, byService.get(planned) ?? []));
    setNatReplies(this.forwarder, plan, this.#known);
    this.#removeOthers(plan, keys);
    const subjects = new Set(plan.services.map(({ subject }) => subject));
    for (const subject of this.lacking) if (!subjects.has(subject)) this.lacking.delete(subject);
    if (failures.length > 0) throw new Error(failures.join('; '));
  }

  /** Empty, or the reason why it is left out. */
  #trySetService(planned: PlannedService, keys: readonly PlannedKey[]): string[] {
    try {
      this.#setService(planned, keys);
      this.lacking.delete(planned.subject);
      return [];
    } catch (error) {
      this.lacking.add(planned.subject);
      return [`balancer ${this.name} leaves out service ${planned.service.name}: ${(error as Error).message}`];
    }
  }

  /** Writes an entry with the way that is known for it. False: none is known. */
  #refit(planned: PlannedBackend): boolean {
    const { backend, index } = planned;
    const reached = this.#reached.get(index);
    if (reached === undefined || !sameAddress(reached.backend.address, backend.address)) return false;
    if (reached.direct !== isReachedDirectly(backend, this.#services)) return false;
    const isOther =
      reached.backend.agent !== backend.agent ||
      reached.backend.forwarding !== backend.forwarding ||
      reached.backend.mtuBytes !== backend.mtuBytes ||
      reached.weight !== this.#weightOf(backend);
    if (isOther) this.#write(planned, reached.nextHop, reached.direct);
    else this.#reached.set(index, { ...reached, ...planned });
    return true;
  }

  /** For least-connections, in proportion to the largest. */
  #weightOf({ weight }: Backend): number {
    const largest = this.#known.reduce((most, { backend }) => Math.max(most, backend.weight), weight);
    return kernelWeight(weight, largest);
  }

  #write(planned: PlannedBackend, nextHop: NextHop, direct: boolean): void {
    const { backend, index } = planned;
    const alive = this.#alive.get(index) ?? true;
    const { address, agent, forwarding } = backend;
    const way = { ...nextHop, mtuBytes: pathMtu(this.balancer, backend, nextHop.mtuBytes) };
    const weight = this.#weightOf(backend);
    this.forwarder.setBackend(index, { address, nextHop: way, alive, agent, forwarding, weight });
    this.#stale.delete(index);
    this.#reached.set(index, { ...planned, nextHop, direct, weight });
  }

  #writeVip({ prefix, subject }: PlannedVip): void {
    this.forwarder.setVip(prefix, subject, this.#down.has(formatHostOrPrefix(prefix)) ? 0 : VIP_ECHO);
  }

  #setService(planned: PlannedService, keys: readonly PlannedKey[]): void {
    const { service, subject } = planned;
    const { tracking } = service;
    let table = this.#tables.get(subject);
    if (table === undefined) {
      table = this.#openTable(planned);
      this.#tables.set(subject, table);
    }
    table.adoptionMs = tracking.adoptionMs;
    const fields = {
      subject,
      slots: service.slots,
      forwarding: service.forwarding,
      lifetimeTicks: this.lifetimeTicks(service),
      newPerSecond: Math.min(tracking.newPerSecond, 0xffffffff),
      shareEntries: Math.floor(tracking.tableShare * this.balancer.connections),
      salt: this.saltOf(subject),
      flags: serviceFlags(service) | handshakeFlag(service.backends.get(this.site) ?? [], this.#known),
      scheduler: kernelScheduler(service),
      natPort: service.backendPort,
      quic: service.quic,
      prefixNewPerSecond: tracking.prefixNewPerSecond,
    };
    this.#writeServerIds(planned);
    for (const { vip, protocol, port } of keys) this.forwarder.setService({ vip: vip.subject, port, protocol }, fields);
  }

  /** IDs of backends that have left the service stay while anything may be sent to them: their connections go on. */
  #writeServerIds({ service, subject }: PlannedService): void {
    const { serverIds } = this.forwarder;
    const names = service.backends.get(this.site) ?? [];
    const isKnown = (index: number): boolean => this.#known.some((planned) => planned.index === index);
    const ids = new Map([...serverIds.list(subject)].filter(([, index]) => service.quic !== null && isKnown(index)));
    const members = this.#known.filter(({ backend }) => names.includes(backend.name));
    for (const [id, index] of serverIdsOf(service.quic, members)) ids.set(id, index);
    const refused = serverIds.setService(subject, ids);
    const trouble = `balancer ${this.name} has no room for server IDs of ${service.name}: their connections go by flow`;
    if (refused === 0) this.#said.over(trouble, { balancer: this.name });
    else this.#said.trouble(trouble, { balancer: this.name }, `${refused} of ${ids.size}`);
  }

  /**
   * After so many ticks of 4.29 s a connection entry is expired. Entries outlive the silence after which a slot may settle, by the ticks
   * that ages and looks may be off: else a connection that was idle for less than that would be forgotten while its slot is unsettled.
   */
  lifetimeTicks({ tracking }: Service): number {
    return Math.min(MAX_LIFETIME_TICKS, Math.ceil(tracking.settleAfterMs / TICK_MS) + LIFETIME_MARGIN_TICKS);
  }

  /** Mixed into the fingerprints of a service's flows. */
  saltOf(subject: number): number {
    return this.#salts.get(subject) ?? 0;
  }

  #openTable({ service, subject }: PlannedService): SlotTable {
    let table: SlotTable;
    try {
      table = this.forwarder.createTable(subject, service.slots, service.tracking.adoptionMs);
    } catch (error) {
      throw new Error(
        `services.${service.name}.slots: balancer ${this.name} forwards with ${(error as Error).message}; another size would break connections, so take the balancer down first (portico down)`,
      );
    }
    // Entries of flows that an earlier service of this subject tracked must not match.
    if (!table.adopted || !this.#salts.has(subject)) this.#salts.set(subject, randomInt(2 ** 32));
    return table;
  }

  /** Services and VIPs that are not in the plan, whoever made them: this process, or an earlier one by another configuration. */
  #removeOthers(plan: SitePlan, planned: readonly PlannedKey[]): void {
    const { forwarder } = this;
    const keyOf = (vip: number, port: number, protocol: string): string => `${vip} ${port} ${protocol}`;
    const keys = new Set(planned.map(({ vip, port, protocol }) => keyOf(vip.subject, port, protocol)));
    for (const { key } of forwarder.services.list())
      if (!keys.has(keyOf(key.vip, key.port, key.protocol))) forwarder.removeService(key);
    const subjects = new Set(plan.services.map(({ subject }) => subject));
    for (const { subject } of forwarder.listTables()) {
      if (subjects.has(subject)) continue;
      this.#tables.get(subject)?.close();
      this.#tables.delete(subject);
      this.#salts.delete(subject);
      forwarder.removeTable(subject);
      forwarder.serverIds.setService(subject, new Map());
      forwarder.clearSubject(subject);
    }
    for (const { prefix, subject } of forwarder.vips.list()) {
      if (subject === 0) continue; // an address of the balancer's own, where fragments come to
      if (plan.vips.some((one) => samePrefix(one.prefix, prefix))) continue;
      forwarder.removeVip(prefix);
      if (!plan.vips.some((one) => one.subject === subject) && !subjects.has(subject)) forwarder.clearSubject(subject);
    }
  }

  /** Finds the way to every backend anew. A backend that cannot be reached now keeps its last entry, if it has one. */
  async resolveBackends(): Promise<void> {
    await forEachAtMost(RESOLVED_AT_ONCE, this.#known, (planned) => this.#resolveBackend(planned));
  }

  async #resolveBackend(planned: PlannedBackend): Promise<void> {
    if (this.#closed) return;
    const { backend, index } = planned;
    const trouble = `balancer ${this.name} has no way to backend ${backend.name}`;
    const fields = { balancer: this.name, backend: backend.name };
    const source = this.balancer.addresses.find((address) => address.family === backend.address.family) ?? null;
    // Also for those that cannot be reached: without it their probes would be any packets, and reach somebody else.
    const from = probeSource(this.balancer, index);
    if (from !== null) this.forwarder.setProbeSource(from, index);
    const direct = isReachedDirectly(backend, this.#services);
    try {
      const nextHop = await resolveNextHop(this.machine.netns, backend.address, { source, direct });
      this.#said.over(trouble, fields);
      // It may have left, or the number may be another's, while the neighbour was asked.
      if (this.#closed || !this.#known.includes(planned)) return;
      const known = this.#reached.get(index);
      const isSame = known !== undefined && known.backend === backend && sameNextHop(known.nextHop, nextHop);
      if (isSame && known.direct === direct && !this.#stale.has(index)) return;
      this.#write(planned, nextHop, direct);
    } catch (error) {
      this.#said.trouble(trouble, fields, (error as Error).message);
      const known = this.#reached.get(index);
      if (this.#closed || known === undefined) return;
      // Over a gateway: with the backend's own MAC address alone, packets would come to somebody else, or back.
      if (direct && !known.direct) {
        this.forwarder.clearBackend(index);
        this.#reached.delete(index);
        this.#stale.delete(index);
        return;
      }
      // The last entry stays, but where the kernel knows a way by now, packets take that.
      this.#stale.add(index);
      this.forwarder.setBackendStale(index);
    }
  }

  setAlive(index: number, alive: boolean): void {
    this.#alive.set(index, alive);
    this.forwarder.setBackendAlive(index, alive);
  }

  /** As the kernel sees it. */
  isAlive(index: number): boolean {
    return (this.forwarder.backends.view.at(index).flags & BACKEND_ALIVE) !== 0;
  }

  /** 1 for each backend that entries of services that track every flow name. */
  followed(): Uint8Array {
    return this.forwarder.connections.followed();
  }

  /** Nothing refers to the index any more: its entries go, and it may be given out again. */
  purgeBackend(index: number): void {
    const leaving = this.#known.find((planned) => planned.index === index);
    if (leaving !== undefined) this.forwarder.natReplies.removeBackend(leaving.backend.address);
    this.#known = this.#known.filter((planned) => planned.index !== index);
    const from = probeSource(this.balancer, index);
    if (from !== null) this.forwarder.removeProbeSource(from);
    this.forwarder.serverIds.removeBackend(index);
    this.forwarder.waitForPackets();
    this.forwarder.connections.purgeBackend(index);
    this.forwarder.clearBackend(index);
    this.#reached.delete(index);
    this.#stale.delete(index);
    this.#alive.delete(index);
  }

  /** Undefined: that service is left out here. */
  #tableOf(subject: number): SlotTable | undefined {
    const table = this.#tables.get(subject);
    if (table === undefined && !this.lacking.has(subject)) throw new Error(`no lookup table for subject ${subject}`);
    return table;
  }

  async writeSlots(subject: number, slots: Slots, indices: ArrayLike<number>, _change: SlotChange): Promise<void> {
    const table = this.#tableOf(subject);
    table?.writeFrom(slots, indices);
  }

  async writePicks(subject: number, picks: Uint16Array): Promise<void> {
    if (this.#tableOf(subject) !== undefined) this.forwarder.setPicks(subject, picks);
  }

  async closeSlots(subject: number, slots: Slots, indices: readonly number[], silenceMs: number): Promise<number[]> {
    const table = this.#tableOf(subject);
    if (table === undefined) return [];
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

  /** Also one that leaves. */
  backendOf(index: number): Backend | undefined {
    return this.#known.find((planned) => planned.index === index)?.backend;
  }

  nextHopOf(index: number): NextHop | undefined {
    return this.#reached.get(index)?.nextHop;
  }

  /**
   * The VIPs that this balancer may draw packets for; a drained or withdrawn one announces as that demands. The others are down: they
   * answer no echo.
   */
  async announce(vips: readonly Prefix[]): Promise<void> {
    this.#answerEcho(new Set(vips.map(formatHostOrPrefix)));
    await this.#announcing.set(vips);
  }

  #answerEcho(up: ReadonlySet<string>): void {
    const before = this.#down;
    this.#down = new Set(this.#vips.map(({ prefix }) => formatHostOrPrefix(prefix)).filter((text) => !up.has(text)));
    for (const vip of this.#vips) {
      const text = formatHostOrPrefix(vip.prefix);
      if (before.has(text) !== this.#down.has(text)) this.#writeVip(vip);
    }
  }

  get announcer(): Announcer | null {
    return this.#announcing.announcer;
  }

  get announced(): readonly Prefix[] {
    return this.#announcing.announced;
  }

  get drained(): boolean {
    return this.#announcing.drained;
  }

  /** As it shall begin; later: `setDrained`. */
  set drained(drained: boolean) {
    this.#announcing.drained = drained;
  }

  /** Why its VIPs are taken back; null: they are not. */
  get withdrawnFor(): string | null {
    return this.#announcing.withdrawnFor;
  }

  get sessions(): readonly RouterSession[] {
    return this.#announcing.sessions;
  }

  /** Rejects, and stays as it was, where BIRD does not take it. */
  setDrained(drained: boolean): Promise<void> {
    return this.#announcing.setDrained(drained);
  }

  withdraw(reason: string): Promise<void> {
    return this.#announcing.withdraw(reason);
  }

  /** It takes changes again. */
  restore(): Promise<void> {
    return this.#announcing.restore();
  }

  lookAtSessions(): Promise<void> {
    return this.#announcing.lookAtSessions();
  }

  /** `keep`: forwarding and announcements go on without this process. */
  async close(keep: boolean): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.peers.close();
    await this.prober?.stop();
    const hasWithdrawn = await this.#announcing.close(keep);
    if (hasWithdrawn) await sleep(WITHDRAWN_MS); // packets under way still find the programs
    this.slowPath?.stop();
    for (const table of this.#tables.values()) table.close();
    this.forwarder.close({ keep });
  }
}

/** In bytes of IP: what the configuration says of both ends, or the route's. */
function pathMtu(balancer: Balancer, backend: Backend, routeBytes: number): number {
  const said = [balancer.mtuBytes, backend.mtuBytes].filter((bytes) => bytes !== null);
  return said.length === 0 ? routeBytes : Math.min(...said);
}

function announcerOptions({ balancer, machine, folders }: BalancerOptions): AnnouncerOptions {
  return { speaker: balancer, netns: machine.netns, folder: join(folders.run, balancer.name) };
}

export async function startBalancer(options: BalancerOptions): Promise<BalancerRole> {
  const { balancer, machine } = options;
  const forwarder = openForwarder({
    name: machine.pins,
    netns: machine.netns,
    interfaces: balancer.interfaces,
    probeInterface: machine.probeInterface,
    addresses: balancer.addresses,
    sourcePrefix: balancer.sourcePrefix,
    buckets: balancer.connections / BUCKET_ENTRIES,
    hashKey: options.hashKey,
    ...(options.objects === undefined ? {} : { objects: options.objects }),
  });
  warnOfAttachments(forwarder.attachments, { balancer: balancer.name }, options.log);
  tellInheritance(options.log, { balancer: balancer.name }, forwarder.inheritance);
  let announcer: Announcer | null = null;
  let slowPath: SlowPath | null = null;
  try {
    const said = new SaidOnce(options.log);
    slowPath = new SlowPath({
      forwarder,
      netns: machine.netns,
      onError: (error) => said.trouble('the slow path fails', { balancer: balancer.name }, error.message),
    });
    announcer = balancer.routers.length === 0 ? null : await openAnnouncer(announcerOptions(options));
    const { probeNetns } = machine;
    const prober =
      probeNetns === null
        ? null
        : startProber({
            enter: (run) => inNamespace(probeNetns, run),
            onResult: (result) => options.onProbe(balancer.name, result),
            onProblem: (problem) => options.log.warn({ balancer: balancer.name }, problem),
          });
    return new BalancerRole(options, forwarder, announcer, prober, slowPath);
  } catch (error) {
    slowPath?.stop();
    // What went on before this start goes on after its failure.
    if (!forwarder.adopted) await announcer?.stop();
    forwarder.close({ keep: forwarder.adopted });
    throw error;
  }
}
