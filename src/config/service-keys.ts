/**
 * Which service gets the packets to an address: the VIP that is this address, then VIPs that are prefixes, the longest first; of each
 * the service with that port, then one with any port.
 */
import { type Address, formatPrefix, hostPrefix, maskAddress, type Prefix } from '../net/address.ts';
import type { ServicePort } from './model.ts';

/** Something that is reached by VIPs and ports. */
export interface Reached {
  readonly vips: readonly Prefix[];
  readonly ports: readonly ServicePort[];
}

export interface ServiceKey<S> extends ServicePort {
  readonly vip: Prefix;
  readonly service: S;
}

/** Finds VIPs around addresses; as many steps as VIPs have different lengths, however many there are. */
export class VipIndex<T> {
  readonly #byText = new Map<string, T>();
  readonly #lengths: Record<4 | 6, number[]> = { 4: [], 6: [] };

  get(vip: Prefix): T | undefined {
    return this.#byText.get(formatPrefix(vip));
  }

  set(vip: Prefix, value: T): void {
    const lengths = this.#lengths[vip.address.family];
    if (!lengths.includes(vip.length)) lengths.push(vip.length);
    lengths.sort((a, b) => b - a);
    this.#byText.set(formatPrefix(vip), value);
  }

  /** Of the VIPs that contain all of it, the longest first. */
  around({ address, length }: Prefix): T[] {
    return this.#lengths[address.family].flatMap((vipLength) => {
      if (vipLength > length) return [];
      return this.get({ address: maskAddress(address, vipLength), length: vipLength }) ?? [];
    });
  }
}

interface Served<S> {
  readonly vip: Prefix;
  readonly services: S[];
}

function indexOf<S extends Reached>(services: readonly S[]): { index: VipIndex<Served<S>>; all: Served<S>[] } {
  const index = new VipIndex<Served<S>>();
  const all: Served<S>[] = [];
  for (const service of services) {
    for (const vip of service.vips) {
      const known = index.get(vip);
      if (known !== undefined) {
        known.services.push(service);
        continue;
      }
      const served = { vip, services: [service] };
      index.set(vip, served);
      all.push(served);
    }
  }
  return { index, all };
}

/** Of the services of one site, with the VIP that leads there. Null: none. */
export function serviceAt<S extends Reached>(
  services: readonly S[],
  address: Address,
  protocol: ServicePort['protocol'],
  port: number,
): ServiceKey<S> | null {
  for (const { vip, services: here } of indexOf(services).index.around(hostPrefix(address))) {
    for (const wanted of [port, 0]) {
      const has = ({ ports }: S) => ports.some((one) => one.protocol === protocol && one.port === wanted);
      const service = here.find(has);
      if (service !== undefined) return { vip, port: wanted, protocol, service };
    }
  }
  return null;
}

/**
 * What stands in the kernel's map of services, by VIP, port and protocol, where an address is looked up with the longest VIP that
 * contains it alone: so each VIP also has the ports of the shorter ones around it that it does not serve itself.
 */
export function serviceKeys<S extends Reached>(services: readonly S[]): ServiceKey<S>[] {
  const { index, all } = indexOf(services);
  return all.flatMap(({ vip }) => {
    const keys = new Map<string, ServiceKey<S>>();
    for (const { services: here } of index.around(vip)) {
      const hasAny = { tcp: keys.has('0/tcp'), udp: keys.has('0/udp') };
      for (const service of here)
        for (const { port, protocol } of service.ports)
          if (!hasAny[protocol] && !keys.has(`${port}/${protocol}`))
            keys.set(`${port}/${protocol}`, { vip, port, protocol, service });
    }
    return [...keys.values()];
  });
}
