/** Checks of the mode `nat`: ports of backends, and whether the source of a reply tells which VIP and port it is for. */
import { formatHostOrPrefix, isHost } from '../net/address.ts';
import { modeOf } from './check-forwarding.ts';
import { listNames, type Path, type Report } from './problem.ts';
import { entriesOf, type Roster, servedAt } from './roster.ts';
import type { FileValues, ServiceValues } from './schema.ts';

export function checkNat(values: FileValues, roster: Roster, report: Report): void {
  for (const [name, service] of entriesOf(values.services)) checkNatKeys(['services', name], service, roster, report);
  for (const site of roster.keys()) checkReplies(site, values, roster, report);
}

function checkNatKeys(path: Path, service: ServiceValues, roster: Roster, report: Report): void {
  const { backendPort, nat, ports } = service;
  const hasPort = report.isWritten([...path, 'backendPort']);
  if (!hasPort && nat === undefined) return;
  const sites = Object.keys(service.vips ?? {});
  const served = sites.flatMap((site) => servedAt(service, site, roster));
  const byNat = served.filter(([, backend]) => modeOf(service, backend) === 'nat');
  const areKnown = service.forwarding !== undefined && served.length > 0;
  if (hasPort && areKnown && byNat.length === 0) {
    const message = `only nat changes the port of packets, and ${service.forwarding} does not`;
    report.error(
      [...path, 'backendPort'],
      message,
      'write forwarding: nat, or let backends listen on the port of the VIP',
    );
  } else if (hasPort && backendPort !== undefined && byNat.length < served.length && areKnown) {
    const others = served.filter((entry) => !byNat.includes(entry)).map(([name]) => name);
    const message = `${listNames(others)} ${others.length === 1 ? 'gets' : 'get'} packets by another mode, which keeps the port of the VIP`;
    report.warn([...path, 'backendPort'], message, 'let them listen on both ports, or write nat for them');
  }
  const anyPort = (ports ?? []).find((port) => port?.port === 0);
  if (hasPort && anyPort !== undefined) {
    const message = `all ports of any/${anyPort.protocol} would end on one, and replies would not tell which`;
    report.error([...path, 'backendPort'], message, 'list the ports one by one, or take backendPort away');
  }
  if (nat === undefined) return;
  if (areKnown && byNat.length === 0) {
    report.warn(
      [...path, 'nat'],
      `${service.forwarding} has no use for it`,
      'write forwarding: nat, or take it away',
      'key',
    );
  } else if (nat.tuples === true && sites.some((site) => (roster.get(site)?.balancers.size ?? 0) > 1)) {
    const message =
      'with full tuples a reply has to pass the balancer that forwarded its packet, and the site has more than one';
    const remedy =
      'lead the default route of each backend to that one, or give each VIP ports of its own and leave nat out';
    report.warn([...path, 'nat', 'tuples'], message, remedy);
  }
}

/** What is on the other side of a backend's port. */
interface Claim {
  readonly service: string;
  readonly hasTuples: boolean;
  readonly backend: string;
  readonly vip: string;
  readonly isPrefix: boolean;
  /** 0: any, left as it is. */
  readonly vipPort: number;
  /** 0: any. */
  readonly backendPort: number;
}

/** The claims on one backend by one protocol. */
interface Claims {
  readonly byPort: Map<number, Claim>;
  any: Claim | null;
}

/** The reply of a backend is rewritten by (backend, port) alone: two VIPs or ports behind one are ambiguous. */
function checkReplies(site: string, values: FileValues, roster: Roster, report: Report): void {
  const all = new Map<string, Claims>();
  for (const [service, serviceValues] of entriesOf(values.services)) {
    const clash = findClash(site, service, serviceValues, roster, all);
    if (clash === null) continue;
    const [one, other] = clash;
    if (one === other) {
      const message = `replies of ${one.backend} to packets for ${one.vip} do not tell from which of its addresses they are`;
      report.error(['services', service, 'forwarding'], message, 'write nat: { tuples: true }');
      continue;
    }
    const port = one.backendPort || other.backendPort;
    const source = port === 0 ? 'every port' : `port ${port}`;
    const message = `replies of ${one.backend} from ${source} may be from ${endOf(one, port)} or from ${endOf(other, port)}, and nothing tells which`;
    const both = one.service === other.service ? '' : ` here and in ${one.service}`;
    const remedy = `give each a backendPort or backends of its own, or write nat: { tuples: true }${both}`;
    report.error(['services', service, 'forwarding'], message, remedy);
  }
}

function endOf(claim: Claim, port: number): string {
  const ownPort = claim.vipPort || port;
  const end =
    ownPort === 0 ? claim.vip : claim.vip.includes(':') ? `[${claim.vip}]:${ownPort}` : `${claim.vip}:${ownPort}`;
  return `${end} (${claim.service})`;
}

/** Enters the claims of a service; the first that contradicts an earlier one, with that, or itself. */
function findClash(
  site: string,
  name: string,
  service: ServiceValues,
  roster: Roster,
  all: Map<string, Claims>,
): [Claim, Claim] | null {
  let clash: [Claim, Claim] | null = null;
  for (const [backend, values] of servedAt(service, site, roster)) {
    if (modeOf(service, values) !== 'nat') continue;
    for (const port of service.ports ?? []) {
      if (port === undefined) continue;
      const key = `${backend} ${port.protocol}`;
      const claims = all.get(key) ?? { byPort: new Map(), any: null };
      all.set(key, claims);
      for (const vip of service.vips?.[site] ?? []) {
        if (vip === undefined || vip.address.family !== values.address?.family) continue;
        const claim: Claim = {
          service: name,
          hasTuples: service.nat?.tuples === true,
          backend,
          vip: formatHostOrPrefix(vip),
          isPrefix: !isHost(vip),
          vipPort: port.port,
          backendPort: port.port === 0 ? 0 : (service.backendPort ?? port.port),
        };
        if (claim.isPrefix && !claim.hasTuples) clash ??= [claim, claim];
        const other = enterClaim(claim, claims);
        if (other !== null) clash ??= [other, claim];
      }
    }
  }
  return clash;
}

/** The earlier claim that contradicts; null: there is none. */
function enterClaim(claim: Claim, claims: Claims): Claim | null {
  const rivals = claim.backendPort === 0 ? [...claims.byPort.values()] : [claims.byPort.get(claim.backendPort)];
  rivals.push(claims.any ?? undefined);
  const found = rivals.find((rival) => rival !== undefined && contradicts(rival, claim));
  if (claim.backendPort === 0) claims.any ??= claim;
  else if (!claims.byPort.has(claim.backendPort)) claims.byPort.set(claim.backendPort, claim);
  return found ?? null;
}

/** Two claims that overlap. Without tuples on both sides the stateless one could take the other's replies. */
function contradicts(a: Claim, b: Claim): boolean {
  if (a.hasTuples && b.hasTuples) return false;
  if (a.vip !== b.vip) return true;
  const port = a.backendPort || b.backendPort;
  return (a.vipPort || port) !== (b.vipPort || port);
}
