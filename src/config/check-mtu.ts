/** Warnings of paths that clients' longest packets do not fit through, with the numbers that would avoid it. */
import type { Config } from './model.ts';
import { listMtuPaths, type MtuPath } from './path-mtu.ts';
import { listNames, type Path, type Report } from './problem.ts';

/** RFC 8200 section 5: no sender of IPv6 makes its packets smaller, whatever a router says. */
const IPV6_MIN_MTU_BYTES = 1280;

/** For each place in the file that says an MTU that is too small, the worst of what passes there. */
export function checkMtu(config: Config, report: Report): void {
  const groups = new Map<string, { readonly place: Path; readonly paths: MtuPath[] }>();
  for (const path of listMtuPaths(config)) {
    if (path.fits) continue;
    const place = placeOf(path, report);
    const group = groups.get(place.join('.')) ?? { place, paths: [] };
    group.paths.push(path);
    groups.set(place.join('.'), group);
  }
  for (const { place, paths } of groups.values()) {
    warn(place, paths, report);
    checkIpv6Floor(place, paths, report);
  }
}

/** What stands in the file for the narrowest link of a path. */
function placeOf({ site, linkMtuFrom: { kind, name } }: MtuPath, report: Report): Path {
  const ofSite = ['sites', site, 'mtu'];
  if (kind === 'assumed') return ['sites', site];
  const own = [kind === 'balancer' ? 'balancers' : 'backends', name, 'mtu'];
  return report.isWritten(own) || !report.isWritten(ofSite) ? own : ofSite;
}

function warn(place: Path, paths: readonly MtuPath[], report: Report): void {
  const worst = paths.reduce((a, b) => (b.overheadBytes > a.overheadBytes ? b : a));
  const { site, clientMtuBytes, overheadBytes, linkMtuBytes, effectiveMtuBytes, forwarding } = worst;
  const needed = clientMtuBytes + overheadBytes;
  const services = [...new Set(paths.map((path) => path.service))];
  const grow = overheadBytes === 0 ? '' : ` become ${needed} by ${forwarding}`;
  const limit =
    worst.linkMtuFrom.kind === 'assumed'
      ? `nothing here says that more than ${linkMtuBytes} pass between balancers and backends`
      : `${linkMtuBytes} pass`;
  const subject = `packets of ${clientMtuBytes} bytes from clients of ${listNames(services)} at ${site}${grow}`;
  const message = `${subject}, and ${limit}: those above ${effectiveMtuBytes} are fragmented or refused with an ICMP error`;
  const remedy = `write mtu: ${needed} ${place.at(-1) === 'mtu' ? 'here' : 'for the site'} once the links carry it, or let the backends announce an MSS of ${mssText(worst, paths)} at most`;
  report.warn(place, message, remedy, place.at(-1) === 'mtu' ? 'value' : 'key');
}

/** A sender of IPv6 that is told of less does nothing about it. */
function checkIpv6Floor(place: Path, paths: readonly MtuPath[], report: Report): void {
  const starved = paths.filter(({ vipFamilies, effectiveMtuBytes }) => {
    return vipFamilies.includes(6) && effectiveMtuBytes < IPV6_MIN_MTU_BYTES;
  });
  if (starved.length === 0) return;
  const overheadBytes = Math.max(...starved.map((path) => path.overheadBytes));
  const least = Math.min(...starved.map((path) => path.effectiveMtuBytes));
  const backends = listNames([...new Set(starved.map((path) => path.backend))]);
  const message = `IPv6 senders may always send ${IPV6_MIN_MTU_BYTES} bytes, and ${least} fit to ${backends}: the rest is fragmented packet by packet, slowly`;
  report.warn(place, message, `let the links carry ${IPV6_MIN_MTU_BYTES + overheadBytes} bytes at least`);
}

function mssText({ mssBytes }: MtuPath, paths: readonly MtuPath[]): string {
  const families = ([4, 6] as const).filter((family) => paths.some((path) => path.vipFamilies.includes(family)));
  const texts = families.map((family) => `${family === 4 ? mssBytes.ipv4 : mssBytes.ipv6} (IPv${family})`);
  return texts.join(' and ');
}
