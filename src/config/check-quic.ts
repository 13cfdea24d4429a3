/** Checks of QUIC: connection IDs name backends, so the IDs of a site's servers must be there, of one length, and unlike each other. */
import { listNames, type Report } from './problem.ts';
import { entriesOf, type Roster, servedAt } from './roster.ts';
import type { FileValues } from './schema.ts';

export function checkQuic(values: FileValues, roster: Roster, report: Report): void {
  const asked = new Set<string>();
  for (const [name, service] of entriesOf(values.services)) {
    if (service.quic === undefined) continue;
    const path = ['services', name, 'quic'];
    const ports = service.ports ?? [];
    if (service.ports !== undefined && ports.every((port) => port !== undefined && port.protocol !== 'udp')) {
      report.error(path, 'QUIC runs over UDP, and the service has no UDP port', 'add a port like 443/udp', 'key');
    }
    const { serverIdBytes } = service.quic;
    for (const site of Object.keys(service.vips ?? {})) {
      const backends = servedAt(service, site, roster);
      const without: string[] = [];
      for (const [backend, { serverId }] of backends) {
        asked.add(backend);
        const idPath = ['backends', backend, 'serverId'];
        if (serverId === undefined && !report.isWritten(idPath)) without.push(backend);
        if (serverId === undefined || serverIdBytes === undefined || serverId.length === serverIdBytes) continue;
        const message = `the server ID is ${serverId.length} bytes long, and those of ${name} are ${serverIdBytes}`;
        report.error(idPath, message, `write ${serverIdBytes * 2} digits, or serverIdBytes: ${serverId.length}`);
      }
      if (without.length === 0) continue;
      const isAll = without.length === backends.length;
      const message = isAll
        ? `no backend at ${site} has a server ID, so no connection ID names one`
        : `connections of ${listNames(without)} do not survive a new client address: ${without.length === 1 ? 'it has' : 'they have'} no server ID`;
      const remedy = `add serverId to backends, each its own: serverId: "${'0'.repeat((serverIdBytes ?? 2) * 2 - 1)}1"`;
      if (isAll) report.error(path, message, remedy, 'key');
      else report.warn(path, message, remedy, 'key');
    }
  }
  for (const { backends } of roster.values()) checkServerIds(backends, asked, report);
}

/** A packet's ID is looked up for the whole site. */
function checkServerIds(
  backends: ReadonlyMap<string, { readonly serverId: Uint8Array | undefined }>,
  asked: ReadonlySet<string>,
  report: Report,
): void {
  const owners = new Map<string, string>();
  for (const [name, { serverId }] of backends) {
    if (serverId === undefined) continue;
    const path = ['backends', name, 'serverId'];
    const text = [...serverId].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    const owner = owners.get(text);
    if (owner !== undefined)
      report.error(path, `${text} is the server ID of ${owner} too`, 'give every backend of a site its own');
    else owners.set(text, name);
    if (!asked.has(name)) report.warn(path, 'no service of this backend has quic', 'add quic to one, or take it away');
  }
}
