/** Which machines of a configuration this host is. */
import { networkInterfaces } from 'node:os';
import type { Config } from '../config/model.ts';
import { type Address, parseAddress, sameAddress } from '../net/address.ts';

/** Addresses of this host's interfaces, in the process's network namespace. */
export function localAddresses(): Address[] {
  const addresses: Address[] = [];
  for (const list of Object.values(networkInterfaces()))
    for (const { address } of list ?? []) {
      const parsed = parseAddress(address.split('%')[0] as string);
      if (parsed !== null) addresses.push(parsed);
    }
  return addresses;
}

/** Names of the balancers, backends and name servers that have one of `own` as their address. */
export function findLocalMachines(config: Config, own: readonly Address[]): string[] {
  const isOwn = (address: Address): boolean => own.some((one) => sameAddress(one, address));
  const names = new Set<string>();
  for (const { name, addresses } of config.balancers.values()) if (addresses.some(isOwn)) names.add(name);
  for (const { name, address } of config.backends.values()) if (isOwn(address)) names.add(name);
  for (const { name, listen, anycast } of config.nameServers.values()) {
    const isShared = (address: Address): boolean =>
      anycast?.addresses.some((one) => sameAddress(one, address)) ?? false;
    if (listen.some(({ address }) => isOwn(address) && !isShared(address))) names.add(name);
  }
  return [...names];
}

/** Name of the pins of a machine. */
export function pinsOf(config: Config, machine: string): string {
  return `${config.name}-${machine}`;
}

/** Name of the namespace of a balancer's prober. */
export function probeNamespaceOf(config: Config, balancer: string): string {
  return `portico-${config.name}-${balancer}-probe`;
}
