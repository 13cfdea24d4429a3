/** Checks of sites, balancers and backends: names, references, addresses, sizes. */
import {
  type Address,
  addressBits,
  formatAddress,
  formatPrefix,
  hostPrefix,
  isHost,
  type Prefix,
  parsePrefix,
  prefixContains,
  prefixesOverlap,
} from '../net/address.ts';
import { nearestName } from './nearest.ts';
import { listNames, type Path, type Report } from './problem.ts';
import { NAME_REMEDY, readName } from './readers.ts';
import { entriesOf, type Roster } from './roster.ts';
import type { BackendValues, BalancerValues, FileValues } from './schema.ts';

/** Index 0 is "none": bpf/layout.h, MAX_BACKENDS. */
const MAX_BACKENDS_OF_SITE = 4095;

export function checkMachines(values: FileValues, roster: Roster, report: Report): void {
  checkNames(values, report);
  for (const [name, balancer] of entriesOf(values.balancers))
    checkBalancer(['balancers', name], balancer, values, report);
  for (const [name, backend] of entriesOf(values.backends)) {
    checkReference(['backends', name, 'site'], backend.site, 'site', values.sites, report);
  }
  for (const [site, { balancers, backends }] of roster) {
    checkOuterFamilies(balancers, backends, report);
    if (backends.size > MAX_BACKENDS_OF_SITE) {
      const message = `the site has ${backends.size} backends, and a site can have ${MAX_BACKENDS_OF_SITE}`;
      report.error(['sites', site], message, 'divide the site into two', 'key');
    }
  }
  checkAddressOwners(values, report);
  checkProbePrefixes(values, roster, report);
}

function checkNames(values: FileValues, report: Report): void {
  const sections: [Path, object | undefined][] = [
    [['sites'], values.sites],
    [['balancers'], values.balancers],
    [['backends'], values.backends],
    [['services'], values.services],
    [['dns', 'servers'], values.dns?.servers],
    [['dns', 'networks'], values.dns?.networks],
  ];
  for (const [path, section] of sections) {
    // Zod leaves this key out of what it gives.
    const dropped = report.isWritten([...path, '__proto__']) ? ['__proto__'] : [];
    for (const name of [...Object.keys(section ?? {}), ...dropped]) {
      if (!readName(name).ok) report.error([...path, name], `"${name}" cannot be a name`, NAME_REMEDY, 'key');
    }
  }
  for (const name of Object.keys(values.backends ?? {})) {
    if (values.balancers === undefined || !Object.hasOwn(values.balancers, name)) continue;
    const message = `"${name}" is a balancer and a backend, and a machine is one of them`;
    report.error(['backends', name], message, 'give the backend a name and an address of its own', 'key');
  }
}

/** Reports a name that is not in its section; nothing where the section itself could not be read. */
export function checkReference(
  path: Path,
  name: string | undefined,
  noun: string,
  section: object | undefined,
  report: Report,
): boolean {
  if (name === undefined || section === undefined || Object.hasOwn(section, name)) return true;
  const known = Object.keys(section);
  const nearest = nearestName(name, known);
  const choice = known.length === 0 ? '' : `, or name ${listNames(known, 'or')}`;
  const remedy = nearest === null ? `add "${name}" under ${noun}s${choice}` : `did you mean "${nearest}"?`;
  report.error(path, `there is no ${noun} "${name}"`, remedy);
  return false;
}

function checkBalancer(path: Path, balancer: BalancerValues, values: FileValues, report: Report): void {
  checkReference([...path, 'site'], balancer.site, 'site', values.sites, report);
  const families = new Set<number>();
  for (const [index, address] of (balancer.addresses ?? []).entries()) {
    if (address === undefined) continue;
    if (families.has(address.family)) {
      const message = `the balancer has a second IPv${address.family} address`;
      report.error(
        [...path, 'addresses', index],
        message,
        'keep one address of each family: the source of what it sends',
      );
    }
    families.add(address.family);
  }
  const { connections } = balancer;
  if (connections !== undefined && !Number.isInteger(Math.log2(connections))) {
    const lower = 2 ** Math.floor(Math.log2(connections));
    const remedy = `write ${lower} or ${lower * 2}`;
    report.error([...path, 'connections'], 'the size of the connection table is not a power of two', remedy);
  }
  const seen = new Set<string>();
  for (const [index, router] of (balancer.bgp?.routers ?? []).entries()) {
    if (router?.address === undefined) continue;
    const text = formatAddress(router.address);
    const routerPath = [...path, 'bgp', 'routers', index, 'address'];
    if (seen.has(text)) report.error(routerPath, `the router ${text} stands twice`, 'take one of the two away');
    seen.add(text);
    if (!(balancer.addresses ?? []).some((own) => own !== undefined && formatAddress(own) === text)) continue;
    report.error(routerPath, `${text} is the balancer itself`, "write the router's address");
  }
}

/** A packet to an IPv6 backend needs an IPv6 source. */
function checkOuterFamilies(
  balancers: ReadonlyMap<string, BalancerValues>,
  backends: ReadonlyMap<string, BackendValues>,
  report: Report,
): void {
  for (const [name, backend] of backends) {
    const family = backend.address?.family;
    if (family === undefined) continue;
    const lacking = [...balancers].filter(([, { addresses }]) => {
      return addresses?.every((address) => address !== undefined && address.family !== family);
    });
    if (lacking.length === 0) continue;
    const names = lacking.map(([balancer]) => balancer);
    const message = `the backend has an IPv${family} address, and ${listNames(names)} ${names.length === 1 ? 'has' : 'have'} none to send from`;
    const remedy = `add an IPv${family} address to ${listNames(names)}, or write an IPv${family === 4 ? 6 : 4} address here`;
    report.error(['backends', name, 'address'], message, remedy);
  }
}

export interface OwnedAddress {
  readonly path: Path;
  readonly owner: string;
  readonly address: Address;
}

/** All addresses of machines, in the order of the file's sections. */
export function ownedAddresses(values: FileValues): OwnedAddress[] {
  const owned: OwnedAddress[] = [];
  for (const [name, balancer] of entriesOf(values.balancers)) {
    for (const [index, address] of (balancer.addresses ?? []).entries()) {
      if (address !== undefined)
        owned.push({ path: ['balancers', name, 'addresses', index], owner: `balancer ${name}`, address });
    }
  }
  for (const [name, { address }] of entriesOf(values.backends)) {
    if (address !== undefined) owned.push({ path: ['backends', name, 'address'], owner: `backend ${name}`, address });
  }
  return owned;
}

function checkAddressOwners(values: FileValues, report: Report): void {
  const owners = new Map<string, string>();
  for (const { path, owner, address } of ownedAddresses(values)) {
    const text = formatAddress(address);
    const first = owners.get(text);
    if (first !== undefined)
      report.error(path, `${text} is also an address of ${first}`, 'give every machine an address of its own');
    else owners.set(text, owner);
    checkUsable(path, hostPrefix(address), report);
  }
}

/** Where no address is routed to one machine, or to one site. */
const UNUSABLE: readonly (readonly [prefix: string, kind: string])[] = [
  ['0.0.0.0/8', 'of no host'],
  ['127.0.0.0/8', 'a loopback address'],
  ['169.254.0.0/16', 'a link-local address'],
  ['224.0.0.0/4', 'a multicast address'],
  ['240.0.0.0/4', 'reserved'],
  ['::/80', 'a loopback, mapped or reserved address'],
  ['fe80::/10', 'a link-local address'],
  ['ff00::/8', 'a multicast address'],
];

/** Addresses that cannot be routed to one machine. */
export function checkUsable(path: Path, prefix: Prefix, report: Report): void {
  const found = UNUSABLE.find(([text]) => prefixesOverlap(parsePrefix(text) as Prefix, prefix));
  if (found === undefined) return;
  const message = isHost(prefix)
    ? `${formatAddress(prefix.address)} is ${found[1]}`
    : `${formatPrefix(prefix)} has addresses of ${found[0]}, each ${found[1]}`;
  report.error(path, message, isHost(prefix) ? 'write a routed address' : 'write a routed prefix');
}

function checkProbePrefixes(values: FileValues, roster: Roster, report: Report): void {
  const earlier: { name: string; prefix: Prefix }[] = [];
  const owned = ownedAddresses(values);
  for (const [name, balancer] of entriesOf(values.balancers)) {
    const prefix = balancer.probes;
    if (prefix === undefined) continue;
    const path = ['balancers', name, 'probes'];
    const overlapping = earlier.find((other) => prefixesOverlap(other.prefix, prefix));
    if (overlapping !== undefined) {
      const message = `the prefix overlaps ${formatPrefix(overlapping.prefix)} of ${overlapping.name}`;
      report.error(path, message, 'give every balancer a prefix of its own: answers to its probes are routed by it');
    }
    earlier.push({ name, prefix });
    const inside = owned.find(({ address }) => prefixContains(prefix, address));
    if (inside !== undefined) {
      const message = `the prefix contains ${formatAddress(inside.address)}, an address of ${inside.owner}`;
      report.error(path, message, 'use a prefix that nothing else is in');
    }
    const backends = roster.get(balancer.site ?? '')?.backends.size ?? 0;
    // The first address and the last stay free: the prober's own side of the prefix, and a broadcast address.
    const freeBits = addressBits(prefix.address.family) - prefix.length;
    if (2 ** freeBits - 2 >= backends) continue;
    const length = addressBits(prefix.address.family) - Math.ceil(Math.log2(backends + 2));
    const message = `the prefix is too small for ${backends} backends: a probe's source says which one it is for`;
    report.error(path, message, `use a prefix of length ${length} or shorter`);
  }
}
