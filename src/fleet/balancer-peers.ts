/** The site's other balancers, as one of them knows them: which fragments they own, and the way to them. */
import type { Balancer } from '../config/model.ts';
import { fragmentOwners } from '../decide/fragment-owners.ts';
import { type Address, sameAddress } from '../net/address.ts';
import type { Forwarder } from '../serve/vip/forwarder.ts';
import { MAX_BALANCERS, OWNER_SLOTS } from '../serve/vip/layout.gen.ts';
import { type NextHop, resolveNextHop, sameNextHop } from '../serve/vip/next-hop.ts';
import { forEachAtMost } from './at-most.ts';
import type { Log } from './log.ts';
import { directProbeSource } from './probe-plan.ts';
import { SaidOnce } from './said-once.ts';

const RESOLVED_AT_ONCE = 8;

interface Way {
  readonly address: Address;
  readonly nextHop: NextHop;
}

export class BalancerPeers {
  readonly #own: Balancer;
  readonly #netns: string | null;
  readonly #forwarder: Forwarder;
  readonly #said: SaidOnce;
  /** All balancers of the site in the order of their names, this one too. Its number in the kernel is the place in here, from 1. */
  #all: readonly Balancer[] = [];
  /** By number. */
  readonly #ways = new Map<number, Way>();
  /** As the kernel has them; null: not known yet, as an earlier process left them. */
  #owners: Uint16Array | null = null;
  #closed = false;

  constructor(own: Balancer, netns: string | null, forwarder: Forwarder, log: Log) {
    this.#own = own;
    this.#netns = netns;
    this.#forwarder = forwarder;
    this.#said = new SaidOnce(log);
  }

  /**
   * `balancers`: of the site, by the configuration. `live`: names of those that take fragments. Sources and numbers change first, owners at
   * last, so that no fragment goes to a balancer that does not take it; while they differ within the site, some are lost.
   */
  set(balancers: readonly Balancer[], live: ReadonlySet<string>): void {
    if (this.#closed) return;
    const all = [...balancers].sort((a, b) => (a.name < b.name ? -1 : 1)).slice(0, MAX_BALANCERS - 1);
    const isSame =
      all.length === this.#all.length && all.every((one, i) => isSameMachine(one, this.#all[i] as Balancer));
    if (!isSame) {
      this.#setOwners(new Uint16Array(OWNER_SLOTS));
      for (const number of [...this.#ways.keys()]) this.#forget(number);
      this.#all = all;
      const others = all.filter(({ name }) => name !== this.#own.name);
      const probing = directProbeSource(this.#own);
      this.#forwarder.acceptFragments(
        probing === null ? this.#own.addresses : [...this.#own.addresses, probing],
        others.flatMap(({ addresses }) => addresses),
      );
      void this.resolve(); // never rejects; a silent machine takes 1.5 s
    }
    const names = all.map(({ name }) => name);
    this.#setOwners(fragmentOwners(OWNER_SLOTS, names, live, this.#own.name));
  }

  #setOwners(owners: Uint16Array): void {
    if (this.#owners !== null && owners.every((owner, slot) => owner === this.#owners?.[slot])) return;
    this.#owners = owners;
    this.#forwarder.setFragmentOwners(owners);
  }

  #forget(number: number): void {
    this.#ways.delete(number);
    this.#forwarder.clearBalancer(number);
  }

  /** Finds the ways anew. Fragments that a balancer without a way owns stay here meanwhile. */
  async resolve(): Promise<void> {
    const all = this.#all;
    await forEachAtMost(RESOLVED_AT_ONCE, [...all.keys()], async (place) => {
      const peer = all[place] as Balancer;
      if (peer.name !== this.#own.name) await this.#resolveOne(peer, place + 1, all);
    });
  }

  async #resolveOne(peer: Balancer, number: number, all: readonly Balancer[]): Promise<void> {
    const trouble = `balancer ${this.#own.name} has no way to balancer ${peer.name}`;
    const fields = { balancer: this.#own.name, peer: peer.name };
    try {
      const address = peer.addresses.find(({ family }) => this.#sourceOf(family) !== null);
      if (address === undefined) throw new Error('they have no addresses of the same family');
      const source = this.#sourceOf(address.family);
      const found = await resolveNextHop(this.#netns, address, { source });
      if (this.#closed || this.#all !== all) return;
      this.#said.over(trouble, fields);
      const said = [this.#own.mtuBytes, peer.mtuBytes].filter((bytes) => bytes !== null);
      const nextHop = said.length === 0 ? found : { ...found, mtuBytes: Math.min(...said) };
      const known = this.#ways.get(number);
      if (known !== undefined && sameAddress(known.address, address) && sameNextHop(known.nextHop, nextHop)) return;
      this.#forwarder.setBalancer(number, address, nextHop);
      this.#ways.set(number, { address, nextHop });
    } catch (error) {
      if (this.#closed || this.#all !== all) return;
      this.#forget(number);
      this.#said.trouble(trouble, fields, (error as Error).message);
    }
  }

  #sourceOf(family: 4 | 6): Address | null {
    return this.#own.addresses.find((address) => address.family === family) ?? null;
  }

  /** Writes nothing any more: the forwarder is being closed. */
  close(): void {
    this.#closed = true;
  }
}

function isSameMachine(a: Balancer, b: Balancer): boolean {
  return (
    a.name === b.name &&
    a.mtuBytes === b.mtuBytes &&
    a.addresses.length === b.addresses.length &&
    a.addresses.every((address, i) => sameAddress(address, b.addresses[i] as Address))
  );
}
