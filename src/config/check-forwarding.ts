/** Checks of how packets reach backends: what each mode needs of addresses, subnets and links. */
import {
  type Address,
  addressBits,
  formatAddress,
  formatHostOrPrefix,
  formatPrefix,
  hostPrefix,
  isHost,
  type Prefix,
  prefixContains,
  prefixCovers,
  prefixesOverlap,
} from '../net/address.ts';
import type { ForwardingMode } from './model.ts';
import { isEncapsulating } from './overhead.ts';
import { listNames, type Path, type Report } from './problem.ts';
import { entriesOf, type Roster, servedAt } from './roster.ts';
import type { BackendValues, BalancerValues, FileValues, ServiceValues } from './schema.ts';

/** Names that Linux and its programs give to links without MAC addresses. */
const POINT_TO_POINT_NAME = /^(ppp|tun|wg|hdlc|gre|ipip|sit|tunl|ip6tnl|wwan)[0-9]+$/;

export function checkForwarding(values: FileValues, roster: Roster, report: Report): void {
  for (const [name, service] of entriesOf(values.services)) {
    checkFamilies(['services', name], service, roster, report);
    checkFastOpen(['services', name], service, roster, report);
  }
  for (const [site, { balancers }] of roster) {
    const byMac = backendsByMac(values, site, roster);
    if (byMac.size === 0) continue;
    for (const [name, balancer] of balancers) checkLinks(['balancers', name], balancer, byMac, report);
    checkSubnets(balancers, byMac, report);
  }
  checkSourcePrefixes(values, report);
}

/** How the packets of a service reach a backend; undefined: the file says it wrong. */
export function modeOf(service: ServiceValues, backend: BackendValues): ForwardingMode | undefined {
  return backend.forwarding ?? service.forwarding;
}

/** Where the mode of a backend stands in the file. */
function modePathOf(path: Path, backend: string, values: BackendValues): Path {
  return values.forwarding === undefined ? [...path, 'forwarding'] : ['backends', backend, 'forwarding'];
}

/** `l2` and `nat` leave one IP header, so both addresses are of its family. */
function checkFamilies(path: Path, service: ServiceValues, roster: Roster, report: Report): void {
  const told = new Set<string>();
  for (const [site, vips] of entriesOf(service.vips)) {
    for (const [name, backend] of servedAt(service, site, roster)) {
      const mode = modeOf(service, backend);
      const family = backend.address?.family;
      if (mode === undefined || isEncapsulating(mode) || family === undefined) continue;
      const vip = vips.find((each) => each !== undefined && each.address.family !== family);
      if (vip === undefined || told.has(`${site} ${mode} ${family}`)) continue;
      told.add(`${site} ${mode} ${family}`);
      const message = `${mode} does not change the family of packets: those for ${formatHostOrPrefix(vip)} cannot reach ${name} by IPv${family}`;
      const remedy = `write gre, ipip or gue, or give the IPv${vip.address.family} VIP to a service with backends of IPv${vip.address.family}`;
      report.error(modePathOf(path, name, backend), message, remedy);
    }
  }
}

function checkFastOpen(path: Path, service: ServiceValues, roster: Roster, report: Report): void {
  if (service.tcpFastOpen !== true) return;
  const fastOpenPath = [...path, 'tcpFastOpen'];
  const ports = service.ports ?? [];
  if (service.ports !== undefined && ports.every((port) => port !== undefined && port.protocol !== 'tcp')) {
    report.warn(fastOpenPath, 'the service has no TCP port', 'take it away');
    return;
  }
  const sites = Object.keys(service.vips ?? {});
  const plain = sites.flatMap((site) => servedAt(service, site, roster)).filter(([, { agent }]) => agent === false);
  if (plain.length === 0) return;
  const names = listNames(plain.map(([name]) => name));
  const message = `only the agent sets the key, and ${names} ${plain.length === 1 ? 'runs' : 'run'} without it: cookies are not valid there`;
  report.warn(fastOpenPath, message, 'set the same key there by hand (net.ipv4.tcp_fastopen_key)');
}

interface ByMac {
  readonly backend: BackendValues;
  /** Where `l2` is written. */
  readonly path: Path;
}

/** Backends of a site that some service reaches by MAC address, by name. */
function backendsByMac(values: FileValues, site: string, roster: Roster): Map<string, ByMac> {
  const found = new Map<string, ByMac>();
  for (const [service, serviceValues] of entriesOf(values.services)) {
    if (serviceValues.vips === undefined || !Object.hasOwn(serviceValues.vips, site)) continue;
    for (const [name, backend] of servedAt(serviceValues, site, roster)) {
      if (found.has(name) || modeOf(serviceValues, backend) !== 'l2') continue;
      found.set(name, { backend, path: modePathOf(['services', service], name, backend) });
    }
  }
  return found;
}

/** PPP, HDLC, tunnels and links numbered as two ends have no MAC address to forward by. */
function checkLinks(path: Path, balancer: BalancerValues, byMac: ReadonlyMap<string, ByMac>, report: Report): void {
  const [[first]] = byMac;
  const remedy =
    'give the balancer an interface in the broadcast domain of the backends, or write gre, ipip, gue or nat';
  const { interfaces, networks } = balancer;
  if (interfaces?.every((name) => POINT_TO_POINT_NAME.test(name))) {
    const message = `l2 forwards to ${first} by MAC address, and ${listNames(interfaces)} ${interfaces.length === 1 ? 'is a point-to-point link' : 'are point-to-point links'} without any`;
    report.error([...path, 'interfaces'], message, remedy);
  }
  for (const [index, network] of (networks ?? []).entries()) {
    if (network === undefined || addressBits(network.address.family) - network.length > 1) continue;
    const message = `${formatPrefix(network)} has two ends at most, a point-to-point link, and l2 needs a broadcast domain with ${first} in it`;
    report.error([...path, 'networks', index], message, remedy);
  }
}

/** Whether backends are in a subnet of every balancer of the site, as far as the file says the subnets. */
function checkSubnets(
  balancers: ReadonlyMap<string, BalancerValues>,
  byMac: ReadonlyMap<string, ByMac>,
  report: Report,
): void {
  const silent: string[] = [];
  for (const [name, { networks }] of balancers) {
    if (networks === undefined) {
      if (!report.isWritten(['balancers', name, 'networks'])) silent.push(name);
      continue;
    }
    if (networks.includes(undefined)) continue;
    for (const [backend, { backend: values, path }] of byMac) {
      const { address } = values;
      if (address === undefined || networks.some((network) => prefixContains(network as Prefix, address))) continue;
      const message = `l2 reaches no other subnet: ${backend} (${formatAddress(address)}) is in none of the networks of ${name}`;
      report.error(path, message, 'write gre, ipip, gue or nat, or add the subnet to networks of the balancer');
    }
  }
  const [first] = byMac.values();
  if (silent.length === 0 || first === undefined) return;
  const message = `nothing here says that ${listNames([...byMac.keys()])} ${byMac.size === 1 ? 'is' : 'are'} in a subnet of ${listNames(silent)}, and l2 reaches no other`;
  report.warn(first.path, message, 'write networks: [PREFIX] for each balancer; otherwise only portico up can tell');
}

interface Other {
  readonly owner: string;
  readonly prefix: Prefix;
}

function othersThan(values: FileValues, balancer: string): Other[] {
  const others: Other[] = [];
  const add = (owner: string, address: Address | undefined) =>
    address && others.push({ owner, prefix: hostPrefix(address) });
  for (const [name, { addresses }] of entriesOf(values.balancers))
    if (name !== balancer) for (const address of addresses ?? []) add(`balancer ${name}`, address);
  for (const [name, { address }] of entriesOf(values.backends)) add(`backend ${name}`, address);
  for (const [name, { vips }] of entriesOf(values.services))
    for (const [, list] of entriesOf(vips))
      for (const vip of list) if (vip !== undefined) others.push({ owner: `service ${name}`, prefix: vip });
  return others;
}

/** ICMP errors about encapsulated packets come back to these sources. */
function checkSourcePrefixes(values: FileValues, report: Report): void {
  const earlier: { readonly owner: string; readonly prefix: Prefix }[] = [];
  for (const [name, { probes }] of entriesOf(values.balancers))
    if (probes !== undefined) earlier.push({ owner: `the probes of ${name}`, prefix: probes });
  for (const [name, balancer] of entriesOf(values.balancers)) {
    const prefix = balancer.sourcePrefix;
    if (prefix === undefined) continue;
    const path = ['balancers', name, 'sourcePrefix'];
    const { family } = prefix.address;
    const { addresses } = balancer;
    if (addresses?.every((address) => address !== undefined && address.family !== family)) {
      const message = `the balancer has no IPv${family} address, and sends nothing from this prefix`;
      report.error(path, message, 'write a prefix of the family of its addresses');
    }
    const overlapping = earlier.find((other) => prefixesOverlap(other.prefix, prefix));
    if (overlapping !== undefined) {
      const message = `the prefix overlaps ${formatPrefix(overlapping.prefix)}, ${overlapping.owner}`;
      report.error(path, message, 'use a prefix that nothing else is in, routed to this balancer');
    }
    earlier.push({ owner: `the sources of ${name}`, prefix });
    const inside = othersThan(values, name).find((other) => prefixesOverlap(prefix, other.prefix));
    if (inside !== undefined) {
      const message = `the prefix ${prefixCovers(prefix, inside.prefix) ? 'contains' : 'is in'} ${formatHostOrPrefix(inside.prefix)}, ${isHost(inside.prefix) ? 'an address' : 'a VIP'} of ${inside.owner}`;
      report.error(path, message, 'use a prefix that nothing else is in, routed to this balancer');
    }
  }
}
