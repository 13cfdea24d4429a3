/** A backend machine's agent: decapsulation, second chance, VIPs on loopback. */
import type { Backend, Config } from '../config/model.ts';
import { type Agent, openAgent } from '../serve/vip/agent.ts';
import { resolveNextHop } from '../serve/vip/next-hop.ts';
import type { Log } from './log.ts';
import type { Machine } from './machine.ts';
import type { PlannedBackend, SitePlan } from './site-plan.ts';

export class BackendRole {
  readonly name: string;
  readonly site: string;
  readonly machine: Machine;
  readonly agent: Agent;
  readonly #backend: Backend;
  readonly #log: Log;

  constructor(backend: Backend, machine: Machine, agent: Agent, log: Log) {
    this.name = backend.name;
    this.site = backend.site;
    this.machine = machine;
    this.agent = agent;
    this.#backend = backend;
    this.#log = log;
  }

  /** Who may send to it, whom it may pass a second chance on to, and the VIPs that it serves. */
  async setPlan(plan: SitePlan, known: readonly PlannedBackend[], config: Config): Promise<void> {
    const balancers = [...config.balancers.values()].filter((balancer) => balancer.site === this.site);
    const others = known.filter(({ backend }) => backend.name !== this.name);
    this.agent.setMembers([
      ...balancers.flatMap((balancer) => balancer.addresses),
      ...others.map(({ backend }) => backend.address),
    ]);
    await this.agent.setVips(plan.vips.map((vip) => vip.address));
    await Promise.all(others.map((other) => this.#setCandidate(other)));
  }

  async #setCandidate({ backend, index }: PlannedBackend): Promise<void> {
    if (!backend.agent || backend.address.family !== this.#backend.address.family) {
      this.agent.setCandidate(index, null);
      return;
    }
    try {
      const nextHop = await resolveNextHop(this.machine.netns, backend.address, this.#backend.address);
      this.agent.setCandidate(index, { address: backend.address, nextHop });
    } catch (error) {
      this.#log.warn(
        { backend: this.name, candidate: backend.name, reason: (error as Error).message },
        'no way to the candidate',
      );
    }
  }

  forget(index: number): void {
    this.agent.setCandidate(index, null);
  }

  /** `keep`: decapsulation goes on without this process. */
  async close(keep: boolean): Promise<void> {
    await this.agent.close({ keep });
  }
}

export async function startBackend(backend: Backend, machine: Machine, log: Log): Promise<BackendRole> {
  const agent = await openAgent({
    name: machine.pins,
    netns: machine.netns,
    interfaces: backend.interfaces,
    addresses: [backend.address],
  });
  return new BackendRole(backend, machine, agent, log);
}
