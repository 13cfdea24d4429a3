/** A backend machine's agent: decapsulation, second chance, VIPs on loopback. */
import type { Backend, Balancer, Config, Service } from '../config/model.ts';
import { overheadBytes } from '../config/overhead.ts';
import { serverIdOf } from '../decide/server-ids.ts';
import { type Address, sameAddress } from '../net/address.ts';
import { type Agent, openAgent, type QuicPort } from '../serve/vip/agent.ts';
import { FastOpen, fastOpenKey } from '../serve/vip/fast-open.ts';
import { AGENT_OUTCOME, AGENT_OUTCOME_COUNT } from '../serve/vip/layout.gen.ts';
import { linkMtu, resolveNextHop } from '../serve/vip/next-hop.ts';
import type { OnRtt } from '../serve/vip/rtt-sets.ts';
import { SlotReader, type SlotReports } from '../serve/vip/slot-report.ts';
import { forEachAtMost } from './at-most.ts';
import { warnOfAttachments } from './attachment-notes.ts';
import { tellInheritance } from './inheritance-text.ts';
import type { Log } from './log.ts';
import type { Machine } from './machine.ts';
import { SaidOnce } from './said-once.ts';
import { type PlannedBackend, type PlannedService, plannedKeys, type SitePlan } from './site-plan.ts';

/** Each costs three processes. */
const RESOLVED_AT_ONCE = 8;

export class BackendRole {
  readonly name: string;
  readonly site: string;
  readonly machine: Machine;
  readonly agent: Agent;
  readonly #backend: Backend;
  readonly #fastOpen: FastOpen;
  readonly #said: SaidOnce;
  readonly #outcomes = new Float64Array(AGENT_OUTCOME_COUNT);
  readonly #sockets: SlotReader;
  #others: readonly PlannedBackend[] = [];
  #turn = 0;
  #closed = false;

  constructor(backend: Backend, machine: Machine, agent: Agent, log: Log) {
    this.name = backend.name;
    this.site = backend.site;
    this.machine = machine;
    this.agent = agent;
    this.#backend = backend;
    this.#fastOpen = new FastOpen(machine.netns);
    this.#sockets = new SlotReader(machine.netns, () => performance.now());
    this.#said = new SaidOnce(log);
  }

  get adopted(): boolean {
    return this.agent.adopted;
  }

  get address(): Address {
    return this.#backend.address;
  }

  /** Who may send to it, whom it may pass a second chance on to, and the VIPs that it serves. */
  async setPlan(
    plan: SitePlan,
    known: readonly PlannedBackend[],
    config: Config,
    hashKey: Uint8Array | undefined,
  ): Promise<void> {
    const balancers = [...config.balancers.values()].filter((balancer) => balancer.site === this.site);
    this.#others = known.filter(({ backend }) => !sameAddress(backend.address, this.address));
    this.agent.setMembers(
      [...balancers.flatMap(({ addresses }) => addresses), ...this.#others.map(({ backend }) => backend.address)],
      balancers.flatMap(({ sourcePrefix }) => sourcePrefix ?? []),
    );
    this.agent.setQuic(this.#quicPorts(plan, known));
    await this.#limitSegments(plan, balancers, config);
    this.#shareCookies(plan, hashKey);
    await this.agent.setVips(plan.vips.map((vip) => vip.prefix));
    await forEachAtMost(RESOLVED_AT_ONCE, this.#others, (other) => this.#setCandidate(other));
  }

  /** Where connection IDs tell what is this machine's: the services of QUIC that it serves. */
  #quicPorts(plan: SitePlan, known: readonly PlannedBackend[]): QuicPort[] {
    const own = known.find(({ backend }) => sameAddress(backend.address, this.address));
    return plannedKeys(plan).flatMap(({ vip, protocol, port, service: { service } }) => {
      const { quic } = service;
      if (quic === null || own === undefined) return [];
      const serverId = serverIdOf(own.backend, own.index, quic.serverIdBytes);
      if (serverId === null || !(service.backends.get(this.site) ?? []).includes(own.backend.name)) return [];
      return protocol === 'udp' ? [{ vip: vip.prefix, port, ids: quic, serverId }] : [];
    });
  }

  /** Clients' packets shall fit on the way here, with whatever is put around them. Without encapsulation sockets know best. */
  async #limitSegments(plan: SitePlan, balancers: readonly Balancer[], config: Config): Promise<void> {
    const { clamp, clampTrouble } = this.agent;
    const backend = config.backends.get(this.name) ?? this.#backend;
    const trouble = `backend ${this.name} cannot lower the segments that its VIPs announce`;
    if (clampTrouble !== null) this.#said.trouble(trouble, { backend: this.name }, clampTrouble);
    const modes = this.#servedHere(plan).map((service) => backend.forwarding ?? service.forwarding);
    const overhead = Math.max(0, ...modes.map((mode) => overheadBytes(mode, backend.address.family, true)));
    const links = await Promise.all(backend.interfaces.map((name) => linkMtu(this.machine.netns, name)));
    const given = [backend, ...balancers].flatMap(({ mtuBytes }) => (mtuBytes === null ? [] : [mtuBytes]));
    const mtuBytes = Math.min(...links, ...given);
    clamp?.setLimit(overhead === 0 || !Number.isFinite(mtuBytes) ? null : mtuBytes - overhead);
  }

  /** One TCP Fast Open key for the backends of a site, where a service of this machine asks for it. */
  #shareCookies(plan: SitePlan, hashKey: Uint8Array | undefined): void {
    const asks = this.#servedHere(plan).some((service) => service.tcpFastOpen);
    const trouble = `backend ${this.name} cannot set the TCP Fast Open key`;
    try {
      this.#fastOpen.set(asks && hashKey !== undefined ? fastOpenKey(hashKey, this.site) : null);
      this.#said.over(trouble, { backend: this.name });
    } catch (error) {
      this.#said.trouble(trouble, { backend: this.name }, (error as Error).message);
    }
  }

  /** A namespace that is gone took its key along. */
  #leaveCookies(): void {
    try {
      this.#fastOpen.set(null);
    } catch (error) {
      this.#said.trouble(`backend ${this.name} keeps the TCP Fast Open key`, {}, (error as Error).message);
    }
  }

  #servedHere(plan: SitePlan): Service[] {
    const isOurs = (service: Service) => (service.backends.get(this.site) ?? []).includes(this.name);
    return plan.services.map(({ service }) => service).filter(isOurs);
  }

  /** Finds the way to some candidates anew, each in its turn: neighbours change, and one that was silent may answer now. */
  async resolveCandidates(): Promise<void> {
    const all = this.#others;
    const some = all.slice(this.#turn, this.#turn + RESOLVED_AT_ONCE);
    this.#turn = this.#turn + some.length < all.length ? this.#turn + some.length : 0;
    await Promise.all(some.map((other) => this.#setCandidate(other)));
  }

  async #setCandidate(candidate: PlannedBackend): Promise<void> {
    if (this.#closed) return;
    const { backend, index } = candidate;
    if (!backend.agent || backend.address.family !== this.address.family) {
      this.agent.setCandidate(index, null);
      return;
    }
    const trouble = `backend ${this.name} has no way to candidate ${backend.name}`;
    const fields = { backend: this.name, candidate: backend.name };
    try {
      const nextHop = await resolveNextHop(this.machine.netns, backend.address, { source: this.address });
      this.#said.over(trouble, fields);
      // It may have left, or the number may be another's, while the neighbour was asked.
      if (this.#closed || !this.#others.includes(candidate)) return;
      this.agent.setCandidate(index, { address: backend.address, nextHop });
    } catch (error) {
      this.#said.trouble(trouble, fields, (error as Error).message);
    }
  }

  /** The connections of these services on this machine, by slot, from the kernel's list of sockets. */
  listConnections(services: readonly PlannedService[], hashKey: Uint8Array): Promise<SlotReports> {
    return this.#sockets.read(
      services.map(({ service, vips }) => ({
        service: service.name,
        slots: service.slots,
        vips: vips.map(({ prefix }) => prefix),
        ports: service.ports,
        hashesSource: service.scheduler === 'source-hash',
      })),
      hashKey,
    );
  }

  /** Packets that got their second chance elsewhere, since the agent was made. */
  passedOn(): number {
    return this.agent.counters.read(this.#outcomes)[AGENT_OUTCOME.FORWARDED] as number;
  }

  /** Round trips between its VIPs and clients since the last call, in microseconds: for `SteeringRows.readRtt`. */
  takeRtt(each: OnRtt): void {
    this.agent.rtt?.take(each);
  }

  forget(index: number): void {
    this.#others = this.#others.filter((other) => other.index !== index);
    this.agent.setCandidate(index, null);
  }

  /** `keep`: decapsulation goes on without this process. */
  async close(keep: boolean): Promise<void> {
    this.#closed = true;
    if (!keep) this.#leaveCookies();
    await this.agent.close({ keep });
  }
}

export async function startBackend(
  backend: Backend,
  machine: Machine,
  log: Log,
  objects?: string,
): Promise<BackendRole> {
  const agent = openAgent({
    name: machine.pins,
    netns: machine.netns,
    interfaces: backend.interfaces,
    addresses: [backend.address],
    ...(objects === undefined ? {} : { objects }),
  });
  warnOfAttachments(agent.attachments, { backend: backend.name }, log);
  tellInheritance(log, { backend: backend.name }, agent.inheritance);
  if (agent.rttTrouble !== null)
    log.warn({ backend: backend.name, reason: agent.rttTrouble }, 'the agent cannot measure round trips');
  return new BackendRole(backend, machine, agent, log);
}
